"""The experiments of 01_polling: P1, P2 and what belongs to them; P3 to P5 and N1 are in modules beside this one."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from itertools import pairwise
from typing import Any

from labkit.client.ledger import ConnectionRecord
from labkit.course.polling.jobs import topic_of, wait_for_jobs
from labkit.course.polling.load import weigh
from labkit.course.polling.overheads import overheads, revalidate
from labkit.course.polling.seen import Aliased, Costs, Herd, Poller, Sweep
from labkit.course.polling.seen_load import Overheads, Tables
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.measuring.schedules import Planned, Schedule
from labkit.techniques import Delivery, Opening, Technique, find
from labkit.wire.events import Gap

__all__ = ["aliasing", "costs", "forgetful", "herd", "overheads", "poller", "published", "revalidate", "sweep",
           "wait_for_jobs", "weigh"]  # fmt: skip

ONE_WAY_S = 0.05
POLLING = find("polling")


def poller(
    interval_s: float, *, phase: Callable[[int], float] = lambda _: 0.0, waiting: bool = False, name: str = ""
) -> Technique:
    """Interval polling with an interval of its own, so that one run can hold several.

    Args:
        phase: share of the interval by which the n-th subscriber starts later.
        waiting: count the interval from the answer.

    Raises:
        ValueError: the interval is not above 0.
    """
    if not interval_s > 0:
        raise ValueError(f"interval_s={interval_s!r}, expected a number of seconds above 0")

    @wraps(POLLING.client)
    def client(opening: Opening, **given: Any) -> AsyncGenerator[Delivery | Gap, None]:
        return POLLING.client(opening, **{**given, "start_delay_s": phase(opening.subscriber) * interval_s})

    title = name or f"every {interval_s:g} s" + (" after the answer" if waiting else "")
    return POLLING.variant(title, client, interval_s=interval_s, wait_after_answer=waiting)


@dataclass(frozen=True)
class Exchange:
    """One request and its answer: when it was sent, when the answer was whole, the bytes of both."""

    asked_ns: int
    answered_ns: int
    bytes: int


def exchanges(records: Iterable[ConnectionRecord]) -> Iterator[Exchange]:
    """The exchanges of connections that ask and are answered in turn, oldest first; unanswered ones are left out."""
    for record in records:
        asked_ns = answered_ns = size = 0
        for transfer in record.transfers:
            if transfer.direction == "out" and answered_ns:
                yield Exchange(asked_ns, answered_ns, size)
                asked_ns = answered_ns = size = 0
            asked_ns = asked_ns or transfer.t_ns
            answered_ns = transfer.t_ns if transfer.direction == "in" else answered_ns
            size += len(transfer.data)
        if answered_ns:
            yield Exchange(asked_ns, answered_ns, size)


# P1: the interval swept


def sweep(
    lab: Lab,
    intervals_s: Sequence[float] = (0.3, 0.6, 1.2),
    *,
    each: int = 10,
    rate_per_s: float = 24.0,
    duration_s: float = 4.0,
    one_way_s: float = ONE_WAY_S,
) -> Sweep:
    """Pollers of several intervals in one run, and of the middle one also such that pause it after each answer.

    Args:
        each: pollers of each interval, at phases iT/K (stratified), so that their mean needs few events.
    """
    careless = sorted(intervals_s)[len(intervals_s) // 2]
    techniques = [poller(interval_s, phase=lambda i: i / each) for interval_s in intervals_s]
    techniques.append(poller(careless, phase=lambda i: i / each, waiting=True))
    schedule = schedules.poisson(rate_per_s, duration_s, seed=1)
    run = measure(lab, techniques, schedule, one_way_s=one_way_s, poll_interval_s=max(intervals_s), subscribers=each)
    kinds = [*((t, False) for t in intervals_s), (careless, True)]
    pollers = tuple(Poller(t.name, *kind) for t, kind in zip(techniques, kinds, strict=True))
    return Sweep(run, pollers)


# P2: what polls cost


def costs(
    lab: Lab,
    intervals_s: Sequence[float] = (0.2, 0.4, 0.8, 1.6),
    *,
    topics: int = 16,
    rate_per_s: float = 2.5,
    span_s: float = 3.2,
    one_way_s: float = ONE_WAY_S,
) -> Costs:
    """Pollers of several intervals, each on topics of their own with events of their own, so that all are independent.

    Args:
        span_s: how long is counted; a multiple of each interval.
    """
    techniques = [poller(interval_s) for interval_s in intervals_s]
    plan = many_topics(topics, rate_per_s, span_s + 0.3, seed=2)
    run = measure(lab, techniques, plan, one_way_s=one_way_s, poll_interval_s=max(intervals_s))
    rows, empties, singles = [], [], []
    for technique, interval_s in zip(techniques, intervals_s, strict=True):
        for topic in sorted({planned.topic for planned in plan.plan()}):
            row, alone = _costs(run, technique.name, topic, round(span_s / interval_s))
            rows.append({"interval_s": interval_s, "topic": topic, **row})
            empties += alone.get(0, [])
            singles += alone.get(1, [])
    import pandas as pd

    summary = run.summary()
    empty = sum(empties) / len(empties) if empties else float("nan")
    single = sum(singles) / len(singles) if singles else float("nan")
    lost = int(summary["lost"].sum())
    return Costs(pd.DataFrame(rows), rate_per_s, one_way_s, empty, single - empty, lost, dict(run.settings))


def many_topics(topics: int, rate_per_s: float, duration_s: float, seed: int) -> Schedule:
    """A Poisson process on each of so many topics, followed from their starts, a little apart."""

    def plan() -> Iterator[Planned]:
        planned = []
        for number in range(topics):
            starts_s = number * 0.02
            for event in schedules.poisson(rate_per_s, duration_s, seed=seed + number).plan():
                planned.append(
                    replace(event, offset_s=starts_s + event.offset_s, topic=f"t{number}", starts_s=starts_s)
                )
        return iter(sorted(planned, key=lambda event: event.offset_s))

    settings = {"topics": topics, "rate_per_s": rate_per_s, "duration_s": duration_s, "seed": seed}
    return Schedule("poisson", settings, duration_s + topics * 0.02, rate_per_s, True, plan)


def _costs(run: Run, technique: str, topic: str, polls: int) -> tuple[dict[str, float], dict[int, list[int]]]:
    """One poller's polls after its first: the row of its costs, and the bytes of exchanges by events carried."""
    frame = run.deliveries
    mine = frame[(frame["technique"] == technique) & (frame["topic"] == topic)]
    records = [r for r in run.ledger.of(technique) if topic_of(r) == topic]
    found = list(exchanges(records))[1 : polls + 1]
    ends = [exchange.answered_ns for exchange in found]
    carried = [0] * len(found)
    latencies_ms = []
    for received_ns, latency_ms in zip(mine["received_ns"], mine["latency_ms"], strict=True):
        at = bisect_right(ends, received_ns) - 1
        if at >= 0 and ends[at] == received_ns:
            carried[at] += 1
            latencies_ms.append(latency_ms)
    steps = [after.asked_ns - before.asked_ns for before, after in pairwise(found)]
    span_s = sum(steps) / max(1, len(steps)) * len(found) / 1e9
    alone: dict[int, list[int]] = {}
    for exchange, events in zip(found, carried, strict=True):
        alone.setdefault(events, []).append(exchange.bytes)
    row = {
        "polls": len(found),
        "span_s": span_s,
        "empty": carried.count(0),
        "events": sum(carried),
        "bytes": sum(exchange.bytes for exchange in found),
        "latency_ms": sum(latencies_ms) / max(1, len(latencies_ms)),
    }
    return row, alone


# Clients that start together


def herd(clients: int = 60, interval_s: float = 0.5, *, duration_s: float = 2.0) -> Herd:
    """As many pollers at a server in a process of its own, first all in step, then each at a random phase."""
    import pandas as pd

    rng, rows, settings = random.Random(3), [], {}
    phases = [rng.random() for _ in range(clients)]
    with Lab("herd", process=True) as lab:
        for who, phase in (("together", lambda _: 0.0), ("at random phases", lambda i: phases[i])):
            technique = poller(interval_s, phase=phase)
            schedule = schedules.periodic(2.0, duration_s)
            run = measure(lab, [technique], schedule, poll_interval_s=interval_s, subscribers=clients)
            settings = dict(run.settings)
            for one in exchanges(run.ledger.of(technique.name)):
                asked_s = (one.asked_ns - run.started_ns) / 1e9
                if 0 <= asked_s <= duration_s:
                    rows.append({"who": who, "asked_s": asked_s, "waited_ms": (one.answered_ns - one.asked_ns) / 1e6})
    return Herd(pd.DataFrame(rows), clients, interval_s, settings)


# Aliasing, and a history that is too short


def aliasing(lab: Lab, interval_s: float = 0.4, *, each: int = 4, duration_s: float = 2.0) -> Aliased:
    """A source with the period of the polls: once in step, once each event put off by up to a period at random."""
    runs = []
    for dither_s in (0.0, interval_s):
        schedule = schedules.periodic(1 / interval_s, duration_s, dither_s=dither_s, seed=4)
        technique = poller(interval_s, phase=lambda i: i / each)
        runs.append(
            measure(lab, [technique], schedule, one_way_s=ONE_WAY_S, poll_interval_s=interval_s, subscribers=each)
        )
    return Aliased(runs[0], runs[1], interval_s)


def forgetful(history_events: int = 8, *, rate_per_s: float = 30.0, interval_s: float = 0.6) -> Run:
    """A server whose history is shorter than what comes between two polls."""
    with Lab("forgetful", history_events=history_events) as lab:
        schedule = schedules.periodic(rate_per_s, 2.5 * interval_s)
        return measure(lab, ["polling"], schedule, one_way_s=ONE_WAY_S, poll_interval_s=interval_s, settle_s=interval_s)


def published(seen: Overheads | None = None) -> Tables:
    """The two published tables recomputed; with what :func:`overheads` gave, also from this wire's bytes."""
    return Tables(seen)
