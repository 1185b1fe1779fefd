"""One run that holds several of a kind: techniques under other names with options of their own, topics side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any
from urllib.parse import parse_qs

from labkit.client.http import HTTPClient
from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.client.wiring import Wiring
from labkit.measuring.schedules import Planned, Schedule
from labkit.techniques import Technique, find


def variant(name: str, technique: str, **own: Any) -> Technique:
    """A technique under another name, with options of its own, so that one run can hold several."""
    return find(technique).variant(name, **own)


def several(
    topics: Mapping[str, Schedule], rate_per_s: float | None = None, *, name: str = "several", apart_s: float = 0.0
) -> Schedule:
    """Several schedules at once, each in a topic of its own; a subscriber follows each, from *apart_s* after another.

    Args:
        name: ``poisson`` if all of them are.
    """

    def planner() -> Iterator[Planned]:
        planned = []
        for number, (topic, schedule) in enumerate(topics.items()):
            starts_s = number * apart_s
            for event in schedule.plan():
                planned.append(replace(event, topic=topic, starts_s=starts_s, offset_s=starts_s + event.offset_s))
        return iter(sorted(planned, key=lambda event: event.offset_s))

    duration_s = max(schedule.duration_s for schedule in topics.values()) + apart_s * len(topics)
    return Schedule(name, {"topics": list(topics)}, duration_s, rate_per_s, name == "poisson", planner)


def topic_of(record: ConnectionRecord) -> str:
    """The topic that a client's connection asked for, read from its first request."""
    line = b"".join(t.data for t in islice(record.transfers, 4) if t.direction == "out").partition(b"\r\n")[0]
    query = line.split(b" ")[1].partition(b"?")[2].decode() if line.count(b" ") == 2 else ""
    return parse_qs(query).get("topic", [""])[0]


def client_of(
    url: str, technique: str, topic: str = "", ledger: Ledger | None = None, version: str = "1.1"
) -> HTTPClient:
    """A client that asks by hand, in the name of a technique; its bytes are kept only in a *ledger* of yours."""
    wiring = Wiring(Ledger(0) if ledger is None else ledger, technique)
    return HTTPClient(url, topic=topic, token=None, wiring=wiring, version=version)
