"""The experiments of 02_long_polling about time and bytes; those about servers and browsers stand beside it."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from labkit import loop, models, schedules
from labkit.checks.long_polling_seen import (
    ENDLESS_S,
    FRESH,
    KEPT,
    LONG,
    Equal,
    Pipelined,
    Rates,
    Sizes,
    Unaware,
    Valley,
)
from labkit.connection import HTTPClient, Wiring
from labkit.errors import ConnectionLost
from labkit.events import Gap
from labkit.experiments.long_polling_servers import held_clients, threads
from labkit.experiments.long_polling_tabs import many_tabs
from labkit.intermediary import Intermediary
from labkit.lab import Lab
from labkit.ledger import Ledger
from labkit.link import Link
from labkit.measurement import measure
from labkit.runs import Run
from labkit.schedules import Planned, Schedule
from labkit.techniques import Delivery, Technique, find

__all__ = ["connections", "equal_requests", "held_clients", "many_tabs", "payloads", "pipelined", "rates", "threads",
           "unaware", "valley"]  # fmt: skip

ONE_WAY_S = 0.05
RATES = {2.0: 4, 4.0: 2, 7.0: 1, 10.0: 1, 15.0: 1, 22.0: 1, 32.0: 1, 50.0: 1}
"""Events a second, and in how many topics: slow ones need several for the same number of events."""
BIG = {2.0: 2, 10.0: 1, 50.0: 1}
SIZES = (1, 20, 200, 1000, 2000)


def several(topics: Mapping[str, Schedule], rate_per_s: float | None = None) -> Schedule:
    """Several schedules at once, each in a topic of its own; a subscriber follows each."""

    def planner() -> Iterator[Planned]:
        plans = [replace(p, topic=topic) for topic, schedule in topics.items() for p in schedule.plan()]
        yield from sorted(plans, key=lambda planned: planned.offset_s)

    duration_s = max(schedule.duration_s for schedule in topics.values())
    return Schedule("several", {"topics": list(topics)}, duration_s, rate_per_s, False, planner)


def variant(name: str, technique: str = LONG, **own: Any) -> Technique:
    """A technique under another name, with options of its own, so that one run can hold several."""
    found = find(technique)

    def connect(url: str, **given: Any) -> AsyncGenerator[Delivery | Gap, None]:
        return found.connect(url, **{**given, **own})

    return replace(found, name=name, connect=connect)


# L1, L2, L3: the event rate swept


def rates(lab: Lab, *, duration_s: float = 10.0, one_way_s: float = ONE_WAY_S) -> Rates:
    """Long polling at eight event rates at once, at three of them with 2000 bytes too."""
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
    run = measure(lab, [LONG], several(topics), one_way_s=one_way_s, hold_s=ENDLESS_S, keep_bytes=4096)
    return Rates(run, rate_of, size_of, duration_s)


# L1b: at equal requests


def equal_requests(
    lab: Lab,
    *,
    low_per_s: float = 4.0,
    high_per_s: float = 40.0,
    duration_s: float = 10.0,
    one_way_s: float = ONE_WAY_S,
) -> Equal:
    """Long polling beside a poller that asks as often as it does, at a low and at a high event rate."""
    rate_of = {"rare": low_per_s, "often": high_per_s}
    interval_s = {t: 1 / models.long_polling_requests_per_s(r, one_way_s, ENDLESS_S) for t, r in rate_of.items()}
    pollers = {topic: f"polling every {s:.3g} s" for topic, s in interval_s.items()}
    variants = [variant(pollers[topic], "polling", interval_s=interval_s[topic]) for topic in rate_of]
    plan = several({t: schedules.poisson(r, duration_s, seed=20 + len(t)) for t, r in rate_of.items()})
    run = measure(
        lab, [LONG, *variants], plan, one_way_s=one_way_s, hold_s=ENDLESS_S, poll_interval_s=max(interval_s.values())
    )
    return Equal(run, rate_of, pollers)


# L4: the payload swept


def payloads(
    lab: Lab, *, sizes: tuple[int, ...] = SIZES, duration_s: float = 4.0, one_way_s: float = ONE_WAY_S
) -> Sizes:
    """Events of several sizes, so rare that each has an answer to itself."""
    topics = {f"{size} bytes": schedules.periodic(2.5, duration_s, payload_bytes=size, seed=size) for size in sizes}
    run = measure(lab, [LONG], several(topics), one_way_s=one_way_s, hold_s=ENDLESS_S)
    return Sizes(run, dict(zip(topics, sizes, strict=True)))


# L5: connections


def connections(lab: Lab, *, rate_per_s: float = 8.0, duration_s: float = 7.0, one_way_s: float = ONE_WAY_S) -> Run:
    """One connection for all polls, beside a connection for each of them."""
    both = [variant(KEPT), variant(FRESH, keep_alive=False)]
    return measure(lab, both, schedules.poisson(rate_per_s, duration_s, seed=5), one_way_s=one_way_s, hold_s=ENDLESS_S)


# L6: the hold time-out


def valley(
    lab: Lab,
    *,
    idle_timeout_s: float = 0.6,
    holds_s: tuple[float, ...] = (0.1, 0.2, 0.4, 0.9, 1.8),
    duration_s: float = 5.0,
    one_way_s: float = 0.01,
) -> Valley:
    """Hold time-outs below and above the idle limit of an intermediary, on a clock fifty times too fast.

    Nothing is published: what is counted is what waiting costs. An intermediary that says nothing leaves its client
    deaf until the hold and a moment more have passed.
    """
    relay = Intermediary(idle_timeout_s=idle_timeout_s, idle_end="silent")
    link = Link(one_way_s=one_way_s, handshake=False)
    with relay.bind(lab), link.bind(relay):
        rows = loop.run(_all_holds(link.address[1], holds_s, duration_s))
    return Valley(idle_timeout_s, rows, {"started": datetime.now(UTC).isoformat(), "one_way_s": one_way_s})


async def _all_holds(port: int, holds_s: tuple[float, ...], duration_s: float) -> tuple[dict[str, float], ...]:
    return tuple(await asyncio.gather(*(_hold(port, hold_s, duration_s) for hold_s in holds_s)))


async def _hold(port: int, hold_s: float, duration_s: float) -> dict[str, float]:
    """Poll for *duration_s*; a poll that is not answered in one and a half holds is given up."""
    clock = asyncio.get_running_loop().time
    until_s, requests, broken, deaf_s = clock() + duration_s, 0, 0, 0.0
    while clock() < until_s:
        client = _client(port, "/long-polling", topic="02-nothing")
        try:
            while clock() < until_s:
                asked_s, requests = clock(), requests + 1
                try:
                    async with asyncio.timeout(1.5 * hold_s + 0.1):
                        await client.ask({"after": "0", "timeout": f"{hold_s:g}"})
                        await client.answer()
                except (TimeoutError, ConnectionLost):
                    broken += 1
                    deaf_s += min(clock(), until_s) - asked_s
                    break
        finally:
            client.close()
    took_s = duration_s
    return {
        "hold_s": hold_s, "requests_per_min": requests * 60 / took_s, "broken_per_min": broken * 60 / took_s,
        "deaf_share": deaf_s / took_s,
    }  # fmt: skip


# L8: no cursor


def unaware(lab: Lab, *, rate_per_s: float = 10.0, events: int = 60, one_way_s: float = ONE_WAY_S) -> Unaware:
    """A client that asks for "the next event" each time, beside one that says which it has."""
    with Link(lab, one_way_s=one_way_s) as link:
        topic = f"02-unaware-{time.monotonic_ns()}"
        published, without, with_cursor = loop.run(_unaware(lab, link.address[1], topic, rate_per_s, events, one_way_s))
    settings = {"started": datetime.now(UTC).isoformat(), "one_way_s": one_way_s, "rate_per_s": rate_per_s}
    return Unaware(published, without, with_cursor, rate_per_s, one_way_s, settings)


async def _unaware(
    lab: Lab, port: int, topic: str, rate_per_s: float, events: int, one_way_s: float
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    rng, lists = random.Random(8), ([], [])  # type: ignore[var-annotated]
    first = await asyncio.to_thread(lab.publish, "before", topic)
    after = lab.cursor(topic)
    waiting = [
        asyncio.ensure_future(_poll_for_ever(port, topic, None, lists[0])),
        asyncio.ensure_future(_poll_for_ever(port, topic, after, lists[1])),
    ]
    try:
        await asyncio.sleep(6 * one_way_s)  # both are parked
        ids = []
        for _ in range(events):
            await asyncio.sleep(rng.expovariate(rate_per_s))
            ids.append(await asyncio.to_thread(lab.publish, "tick", topic))
        await asyncio.sleep(8 * one_way_s)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert ids[0] > first
    return tuple(ids), tuple(lists[0]), tuple(lists[1])


async def _poll_for_ever(port: int, topic: str, cursor: str | None, came: list[int]) -> None:
    """Long polls, one after another; without a cursor each asks for what comes next."""
    keeps, client = cursor is not None, _client(port, "/long-polling", topic=topic)
    try:
        while True:
            await client.ask({"after": cursor, "timeout": "30"})
            answer = json.loads((await client.answer())[1])
            came += [event["id"] for event in answer["events"]]
            cursor = answer["cursor"] if keeps else None
    finally:
        client.close()


def _client(port: int, path: str, topic: str = "") -> HTTPClient:
    wiring = Wiring(Ledger(0), LONG, 0)
    return HTTPClient(f"http://127.0.0.1:{port}{path}", topic=topic, token=None, wiring=wiring)


# L10: pipelining


def pipelined(lab: Lab, *, duration_s: float = 6.0, one_way_s: float = ONE_WAY_S, hold_s: float = 1.0) -> Pipelined:
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
    parked, other = _client(port, f"/long-polling?timeout={hold_s:g}"), _client(port, "/polling")
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


def _alone(experiment: Callable[[Lab], Any]) -> Callable[[], Any]:
    def run() -> Any:
        with Lab("soak-long-polling") as lab:
            return experiment(lab)

    return run


EXPERIMENTS: dict[str, Callable[[], Any]] = {
    "L1": _alone(rates),
    "L1b": _alone(equal_requests),
    "L2": _alone(rates),
    "L3": _alone(rates),
    "L4": _alone(payloads),
    "L5": _alone(connections),
    "L6": _alone(valley),
    "L7": held_clients,
    "L8": _alone(unaware),
    "L10": _alone(pipelined),
    "L12": _alone(threads),
}
