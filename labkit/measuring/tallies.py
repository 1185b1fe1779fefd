"""Who got what: a run's deliveries by technique and subscriber, each event counted once.

Pure counting, without pandas; the tables of it are in ``summaries.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labkit.client.ledger import ConnectionRecord

if TYPE_CHECKING:
    from labkit.measuring.recording import Recording


BROWSER = " (browser)"
"""Behind a technique's name: received by a page, which is a client of its own."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One delivery, as far as it is counted."""

    topic: str
    event_id: int
    counts: bool  # in the statistics
    conflated: int
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Group:
    """One row of a summary: what its subscribers got, their connections, the subscribers that a gap was told.

    Of a page, the connections are a relay's, if it comes through one; ``topics`` says for what it asked on them.
    """

    technique: str
    browser: bool
    subscribers: dict[int, list[Arrival]]
    connections: list[ConnectionRecord]
    gaps: list[int]
    topics: set[str] = field(default_factory=set)

    def split(self) -> Iterator[Group]:
        """The same, for each subscriber."""
        for number in sorted(self.subscribers):
            mine = [record for record in self.connections if record.subscriber == number]
            if self.browser:  # whose a page's connection is, is known where there is one of the technique and topic
                mine = self.connections if len(self.subscribers) == 1 else []
            gaps = [gap for gap in self.gaps if gap == number]
            yield Group(self.technique, self.browser, {number: self.subscribers[number]}, mine, gaps, self.topics)


@dataclass(frozen=True, slots=True)
class Tally:
    """What one subscriber got, each event once."""

    received: int  # with events that the run did not publish: their bytes are in the ledger too
    events: int
    lost: int
    duplicated: int
    out_of_order: int
    conflated: int
    latencies_ms: list[float]


def groups(run: Recording, only: str | None = None) -> list[Group]:
    """What each technique brought, or *only* one, to pages apart, with the subscribers that got nothing."""
    found: dict[tuple[str, bool], Group] = {}

    def group(technique: str, browser: bool = False) -> Group:
        return found.setdefault((technique, browser), Group(technique, browser, {}, [], []))

    for technique in run.settings.get("techniques") or ():
        if only in (None, technique):
            group(technique)
    for record in run.ledger.of() if only is None else run.ledger.of(only):
        group(record.technique).connections.append(record)
        group(record.technique).subscribers.setdefault(record.subscriber, [])
    names = ("technique", "client", "subscriber", "topic", "event_id", "scheduled", "conflated", "latency_ms")
    frame = run.deliveries if only is None else run.deliveries[run.deliveries["technique"] == only]
    columns = (frame[name].tolist() for name in names)
    for technique, client, subscriber, topic, event_id, scheduled, conflated, latency_ms in zip(*columns, strict=True):
        arrival = Arrival(topic, event_id, scheduled or run.foreign, conflated, latency_ms)
        group(technique, client == "browser").subscribers.setdefault(subscriber, []).append(arrival)
        if client == "browser" and topic not in (topics := group(technique, True).topics):
            topics.add(topic)
            group(technique, True).connections.extend(run.ledger.of_route(technique, topic))
    for gap in run.missing if only is None else ():
        group(gap["technique"], gap.get("client") == "browser").gaps.append(gap.get("subscriber", 0))
    for known in found.values():
        if not known.browser:
            _add_silent(known.subscribers, run.settings.get("subscribers") or 1)
    return list(found.values())


def _add_silent(subscribers: dict[int, list[Arrival]], count: int) -> None:
    """Put in the subscribers that neither connected nor received anything: they have lost everything."""
    for number in range(count):
        if len(subscribers) < count:
            subscribers.setdefault(number, [])


def tally(arrivals: list[Arrival], published: set[tuple[str, int]]) -> Tally:
    """Count one subscriber's deliveries, in the order of arrival, against what was *published*."""
    seen: set[tuple[str, int]] = set()
    skipped: set[tuple[str, int]] = set()
    newest: dict[str, int] = {}
    first: list[Arrival] = []
    duplicated = out_of_order = 0
    for arrival in arrivals:
        topic, event_id = arrival.topic, arrival.event_id
        skipped.update((topic, event_id - i) for i in range(1, arrival.conflated + 1))
        if (topic, event_id) in seen:
            duplicated += arrival.counts
            continue
        out_of_order += arrival.counts and event_id < newest.get(topic, 0)
        newest[topic] = max(event_id, newest.get(topic, 0))
        seen.add((topic, event_id))
        first.append(arrival)
    conflated = (skipped & published) - seen
    counted = [arrival for arrival in first if arrival.counts]
    latencies_ms = [arrival.latency_ms for arrival in counted if not math.isnan(arrival.latency_ms)]
    lost = len(published - seen - conflated)
    return Tally(len(first), len(counted), lost, duplicated, out_of_order, len(conflated), latencies_ms)
