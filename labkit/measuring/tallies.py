"""Who got what: a run's deliveries by technique and subscriber, each event counted once.

Pure counting, without pandas; the tables of it are in ``summaries.py``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
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
    """One row of a summary: what its subscribers got, their connections, gaps as (subscriber, topic, last id lost).

    Of a page, the connections are a relay's, if it comes through one; ``topics`` says for what it asked on them.
    """

    technique: str
    browser: bool
    subscribers: dict[int, list[Arrival]]
    connections: list[ConnectionRecord]
    gaps: list[tuple[int, str, int]]
    topics: set[str] = field(default_factory=set)

    @property
    def label(self) -> int | str:
        """The number of its subscriber; those that share what a relay saw are told together."""
        numbers = sorted(self.subscribers)
        return f"{', '.join(map(str, numbers))} (shared)" if len(numbers) > 1 else min(numbers, default=0)

    @property
    def routes(self) -> set[str]:
        """As a relay counts what a page asked for."""
        return {f"/{self.technique} {topic}" for topic in self.topics}

    def split(self) -> Iterator[Group]:
        """The same, for each subscriber; those that a relay cannot tell apart stay together."""
        for numbers in self._told_apart():
            mine = {number: self.subscribers[number] for number in sorted(numbers)}
            topics = {arrival.topic for arrivals in mine.values() for arrival in arrivals} & self.topics
            gaps = [gap for gap in self.gaps if gap[0] in numbers]
            part = Group(self.technique, self.browser, mine, [], gaps, topics)
            part.connections.extend(filter(part._has, self.connections))
            yield part

    def _told_apart(self) -> list[set[int]]:
        """Numbers of subscribers, together where they share a connection, or where a relay saw them ask
        for the same technique and topic."""
        if any(record.shared for record in self.connections):
            return [set(self.subscribers)]
        parts = [{number} for number in sorted(self.subscribers)]
        for topic in self.topics:
            if any(f"/{self.technique} {topic}" in record.by_route for record in self.connections):
                asked = {n for n, arrivals in self.subscribers.items() if any(a.topic == topic for a in arrivals)}
                together = set[int]().union(*(part for part in parts if part & asked))
                parts = [together, *(part for part in parts if not part & asked)]
        return sorted(parts, key=min)

    def _has(self, record: ConnectionRecord) -> bool:
        if self.browser:
            return bool(self.routes & record.by_route.keys())
        return record.subscriber in self.subscribers

    def tallies(self, run: Recording) -> list[Tally]:
        """Of each subscriber. What an interrupted run has not waited for is pending, unless the technique failed."""
        waits = run.interrupted and self.technique not in run.failures
        return self.tallied(set(run.published), waits=waits)

    def tallied(self, published: set[tuple[str, int]], *, waits: bool = False) -> list[Tally]:
        """Of each subscriber, with what came again and its client has held back."""
        found, held_back = [], Counter[int]()
        for record in () if self.browser else self.connections:
            held_back[record.subscriber] += record.duplicates
        for number, arrivals in self.subscribers.items():
            one, again = tally(arrivals, published, self._told(number) if waits else None), held_back[number]
            found.append(replace(one, duplicated=one.duplicated + again) if again else one)
        return found

    def _told(self, subscriber: int) -> dict[str, int]:
        told: dict[str, int] = {}
        for number, topic, last in self.gaps:
            if number == subscriber:
                told[topic] = max(last, told.get(topic, 0))
        return told


@dataclass(frozen=True, slots=True)
class Tally:
    """What one subscriber got, each event once."""

    received: int  # with events that the run did not publish: their bytes are in the ledger too
    events: int
    lost: int
    pending: int  # of an interrupted run: nothing later has come, and nobody has asked for it yet
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
        if client == "browser":
            group(technique, True).topics.add(topic)
    for gap in run.missing if only is None else ():
        told = (gap.get("subscriber", 0), gap.get("topic", ""), gap.get("next", 1) - 1)
        group(gap["technique"], gap.get("client") == "browser").gaps.append(told)
    for known in found.values():
        if known.browser:
            known.connections.extend(filter(known._has, run.ledger.near()))
        else:
            _add_silent(known.subscribers, run.settings.get("subscribers") or 1)
    return list(found.values())


def _add_silent(subscribers: dict[int, list[Arrival]], count: int) -> None:
    """Put in the subscribers that neither connected nor received anything: they have lost everything."""
    for number in range(count):
        if len(subscribers) < count:
            subscribers.setdefault(number, [])


def tally(arrivals: list[Arrival], published: set[tuple[str, int]], told: Mapping[str, int] | None = None) -> Tally:
    """Count one subscriber's deliveries, in the order of arrival, against what was *published*.

    Args:
        told: of a run that did not wait for what was on its way: topic -> the newest id that a gap has told of.
    """
    seen: set[tuple[str, int]] = set()
    skipped: set[tuple[str, int]] = set()
    newest: dict[str, int] = {}
    first: list[Arrival] = []
    duplicated = out_of_order = pending = 0
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
    missing = published - seen - conflated
    if told is not None:
        at = {topic: max(newest.get(topic, 0), told.get(topic, 0)) for topic, _ in missing}
        pending = sum(event_id > at[topic] for topic, event_id in missing)
    lost = len(missing) - pending
    return Tally(len(first), len(counted), lost, pending, duplicated, out_of_order, len(conflated), latencies_ms)
