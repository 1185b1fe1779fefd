"""The experiments of 02_long_polling about time and bytes; those about servers and browsers stand beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from labkit import loop, theory
from labkit.course.long_polling.by_hand import client_of, unaware, valley
from labkit.course.long_polling.seen import (
    ENDLESS_S,
    FRESH,
    KEPT,
    LONG,
    STREAM,
    Equal,
    Holds,
    Pipelined,
    Rates,
    Sizes,
)
from labkit.course.long_polling.servers import held_clients, threads
from labkit.course.long_polling.tabs import many_tabs
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.measuring.schedules import Planned, Schedule
from labkit.network.link import Link
from labkit.techniques import Technique, find

__all__ = ["connections", "equal_requests", "held_clients", "holds", "many_tabs", "payloads", "pipelined", "rates",
           "threads", "unaware", "valley"]  # fmt: skip

ONE_WAY_S = 0.05
RATES = {2.0: 4, 4.0: 2, 7.0: 1, 10.0: 1, 15.0: 1, 22.0: 1, 32.0: 1, 50.0: 1}
"""Events a second, and in how many topics: slow ones need several for the same number of events."""
BIG = {2.0: 2, 10.0: 1, 50.0: 1}
HOLDS_S = (0.05, 0.15, 0.5, ENDLESS_S)
SIZES = (1, 20, 200, 1000, 2000)


def several(topics: Mapping[str, Schedule], rate_per_s: float | None = None) -> Schedule:
    """Several schedules at once, each in a topic of its own; a subscriber follows each."""

    def planner() -> Iterator[Planned]:
        plans = [replace(planned, topic=topic) for topic, schedule in topics.items() for planned in schedule.plan()]
        yield from sorted(plans, key=lambda planned: planned.offset_s)

    duration_s = max(schedule.duration_s for schedule in topics.values())
    return Schedule("several", {"topics": list(topics)}, duration_s, rate_per_s, False, planner)


def variant(name: str, technique: str = LONG, **own: Any) -> Technique:
    """A technique under another name, with options of its own, so that one run can hold several."""
    return find(technique).variant(name, **own)


# L1, L2, L3: the event rate swept


def rates(lab: Lab, *, duration_s: float = 7.0, one_way_s: float = ONE_WAY_S) -> Rates:
    """Long polling and a stream at eight event rates at once, at three of them with 2000 bytes too."""
    topics: dict[str, Schedule] = {}
    rate_of: dict[str, float] = {}
    size_of: dict[str, int] = {}
    for size, wanted in ((20, RATES), (2000, BIG)):
        for rate, count in wanted.items():
            for number in range(count):
                topic = f"{size} B at {rate:g}/s, {number}"
                seed = len(topics) + 1
                topics[topic] = schedules.poisson(rate, duration_s, payload_bytes=size, seed=seed)
                rate_of[topic], size_of[topic] = rate, size
    run = measure(lab, [LONG, STREAM], several(topics), one_way_s=one_way_s, hold_s=ENDLESS_S, keep_bytes=4096)
    return Rates(run, rate_of, size_of, duration_s)


# L1: the hold time-out swept


def holds(
    lab: Lab,
    *,
    holds_s: tuple[float, ...] = HOLDS_S,
    rate_per_s: float = 4.0,
    topics: int = 12,
    duration_s: float = 5.0,
    one_way_s: float = ONE_WAY_S,
) -> Holds:
    """The same events over long polls that are held for different times."""
    variants = {f"held {hold_s:g} s": hold_s for hold_s in holds_s}
    plan = several({f"{n}": schedules.poisson(rate_per_s, duration_s, seed=40 + n) for n in range(topics)}, rate_per_s)
    chosen = [variant(name, hold_s=hold_s) for name, hold_s in variants.items()]
    return Holds(measure(lab, chosen, plan, one_way_s=one_way_s), variants, rate_per_s, duration_s)


# L1b: at equal requests


def equal_requests(
    lab: Lab,
    *,
    low_per_s: float = 4.0,
    high_per_s: float = 40.0,
    duration_s: float = 7.0,
    one_way_s: float = ONE_WAY_S,
) -> Equal:
    """Long polling beside a poller that asks as often as it does, at a low and at a high event rate."""
    rate_of = {f"rare, {number}": low_per_s for number in range(4)} | {"often": high_per_s}
    interval_s = {r: 1 / theory.long_polling_requests_per_s(r, one_way_s, ENDLESS_S) for r in (low_per_s, high_per_s)}
    pollers = {rate: f"polling every {s:.3g} s" for rate, s in interval_s.items()}
    variants = [variant(pollers[rate], "polling", interval_s=s) for rate, s in interval_s.items()]
    plan = several({t: schedules.poisson(r, duration_s, seed=20 + n) for n, (t, r) in enumerate(rate_of.items())})
    run = measure(
        lab, [LONG, *variants], plan, one_way_s=one_way_s, hold_s=ENDLESS_S, poll_interval_s=max(interval_s.values())
    )
    return Equal(run, rate_of, pollers)


# L4: the payload swept


def payloads(
    lab: Lab, *, sizes: tuple[int, ...] = SIZES, duration_s: float = 2.8, one_way_s: float = ONE_WAY_S
) -> Sizes:
    """Events of several sizes, so rare that each has an answer to itself."""
    topics = {f"{size} bytes": schedules.periodic(2.5, duration_s, payload_bytes=size, seed=size) for size in sizes}
    run = measure(lab, [LONG], several(topics), one_way_s=one_way_s, hold_s=ENDLESS_S)
    return Sizes(run, dict(zip(topics, sizes, strict=True)))


# L5: connections


def connections(lab: Lab, *, rate_per_s: float = 8.0, duration_s: float = 5.0, one_way_s: float = ONE_WAY_S) -> Run:
    """One connection for all polls, beside a connection for each of them."""
    both = [variant(KEPT), variant(FRESH, keep_alive=False)]
    return measure(lab, both, schedules.poisson(rate_per_s, duration_s, seed=5), one_way_s=one_way_s, hold_s=ENDLESS_S)


# L10: pipelining


def pipelined(lab: Lab, *, duration_s: float = 4.8, one_way_s: float = ONE_WAY_S, hold_s: float = 1.0) -> Pipelined:
    """Pipelined polls: pairs of events closer than a gap, and Poisson events; then a GET behind a parked poll."""
    pairs = Schedule("pairs", {}, duration_s, None, False, lambda: _pairs(duration_s, one_way_s))
    plan = several({"pairs": pairs, "poisson": schedules.poisson(10, duration_s, seed=10)})
    options = {LONG: {"pipelined": True}}
    run = measure(lab, [LONG], plan, one_way_s=one_way_s, hold_s=ENDLESS_S, options=options)
    with Link(lab, one_way_s=one_way_s) as link:
        behind_s, beside_s = loop.run(_behind(link.address[1], hold_s))
    return Pipelined(run, behind_s, beside_s, hold_s)


def _pairs(duration_s: float, one_way_s: float) -> Iterator[Planned]:
    """Two events within 2d, then none for longer than that."""
    step_s = 8 * one_way_s
    for number in range(int(duration_s / step_s)):
        yield Planned(number * step_s, f"first of pair {number}")
        yield Planned(number * step_s + 0.6 * one_way_s, f"second of pair {number}")


async def _behind(port: int, hold_s: float) -> tuple[float, float]:
    """How long a GET takes behind a parked poll on the same connection, and on one of its own."""
    clock = asyncio.get_running_loop().time
    parked, other = client_of(port, f"/long-polling?timeout={hold_s:g}"), client_of(port, "/polling")
    try:
        await other.ask({})
        await other.answer()  # connected
        began_s = clock()
        await other.ask({})
        await other.answer()
        beside_s = clock() - began_s
        http = await parked.connected()
        await parked.ask({})
        began_s = clock()
        await http.request("GET", "/polling", parked.headers)
        await parked.answer()
        await parked.answer()
        return clock() - began_s, beside_s
    finally:
        parked.close()
        other.close()


# Each claim by itself
