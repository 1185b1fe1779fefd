"""The experiments of 02_long_polling that poll by hand: hold time-outs under an idle limit (L6), no cursor (L8)."""

from __future__ import annotations

import asyncio
import json
import random
import time
from datetime import UTC, datetime

from labkit.client.connection import Wiring
from labkit.client.http import HTTPClient
from labkit.client.ledger import Ledger
from labkit.course.case_server import shown
from labkit.course.long_polling.seen import LONG
from labkit.course.long_polling.seen_held import Unaware, Valley
from labkit.errors import ConnectionLost
from labkit.lab.lab import Lab
from labkit.network.intermediary import Intermediary
from labkit.network.link import Link

ONE_WAY_S = 0.05


def client_of(port: int, path: str, topic: str = "") -> HTTPClient:
    """A client of a technique's address, behind a relay on *port*."""
    wiring = Wiring(Ledger(0), LONG, 0)
    return HTTPClient(f"http://127.0.0.1:{port}{path}", topic=topic, token=None, wiring=wiring)


# L6: the hold time-out


def valley(
    lab: Lab,
    *,
    idle_timeout_s: float = 0.6,
    holds_s: tuple[float, ...] = (0.1, 0.2, 0.4, 0.9, 1.8),
    duration_s: float = 3.6,
    one_way_s: float = 0.01,
) -> Valley:
    """Hold time-outs below and above the idle limit of an intermediary, on a clock fifty times too fast.

    Nothing is published: what is counted is what waiting costs. An intermediary that says nothing leaves its client
    deaf until the hold and a moment more have passed.

    Raises:
        ValueError: a hold so long that *duration_s* does not see the end of it.
    """
    if max(map(patience_s, holds_s)) > duration_s:
        raise ValueError(f"duration_s must be {patience_s(max(holds_s)):g} or more, to see the longest hold end")
    relay = Intermediary(idle_timeout_s=idle_timeout_s, idle_end="silent")
    link = Link(one_way_s=one_way_s, handshake=False)
    with relay.bind(lab), link.bind(relay):
        polling = _all_holds(link.address[1], holds_s, duration_s, idle_timeout_s)
        rows = shown(polling, f"{len(holds_s)} clients wait")
    return Valley(idle_timeout_s, rows, {"started": datetime.now(UTC).isoformat(), "one_way_s": one_way_s})


def patience_s(hold_s: float) -> float:
    """When a client gives up that hears nothing: after half a hold more, or half a second."""
    return hold_s + max(0.5 * hold_s, 0.5)


async def _all_holds(
    port: int, holds_s: tuple[float, ...], duration_s: float, idle_s: float
) -> tuple[dict[str, float], ...]:
    return tuple(await asyncio.gather(*(_hold(port, hold_s, duration_s, idle_s) for hold_s in holds_s)))


async def _hold(port: int, hold_s: float, duration_s: float, idle_s: float) -> dict[str, float]:
    """Poll for *duration_s*. A client that gives up has been deaf since the limit, *idle_s* after its request."""
    clock = asyncio.get_running_loop().time
    until_s, requests, broken, deaf_s = clock() + duration_s, 0, 0, 0.0
    while clock() < until_s:
        client = client_of(port, "/long-polling", topic="02-nothing")
        try:
            while (left_s := until_s - clock()) > 0:
                asked_s, requests = clock(), requests + 1
                try:
                    async with asyncio.timeout(min(patience_s(hold_s), left_s)):
                        await client.ask({"after": "0", "timeout": f"{hold_s:g}"})
                        await client.answer()
                except (TimeoutError, ConnectionLost):
                    deaf_s += max(0.0, clock() - asked_s - idle_s)
                    broken += clock() < until_s
                    break
        finally:
            client.close()
    return {
        "hold_s": hold_s, "requests_per_min": requests * 60 / duration_s, "broken_per_min": broken * 60 / duration_s,
        "deaf_share": deaf_s / duration_s,
    }  # fmt: skip


# L8: no cursor


def unaware(lab: Lab, *, rate_per_s: float = 10.0, events: int = 40, one_way_s: float = ONE_WAY_S) -> Unaware:
    """A client that asks for "the next event" each time, beside one that says which it has."""
    topic, rng = f"02-unaware-{time.monotonic_ns()}", random.Random(8)
    waits_s = [rng.expovariate(rate_per_s) for _ in range(events)]
    with Link(lab, one_way_s=one_way_s) as link:
        clients = _unaware(lab, link.address[1], topic, waits_s, one_way_s)
        published, at_s, came = shown(clients, f"two clients, {events} events")
    settings = {"started": datetime.now(UTC).isoformat(), "one_way_s": one_way_s, "rate_per_s": rate_per_s}
    return Unaware(published, came[0], came[1], rate_per_s, one_way_s, settings, at_s)


async def _unaware(
    lab: Lab, port: int, topic: str, waits_s: list[float], one_way_s: float
) -> tuple[tuple[int, ...], tuple[float, ...], tuple[tuple[int, ...], ...]]:
    """The ids, when each was published, and what came: without a cursor and with one."""
    clock = asyncio.get_running_loop().time
    await asyncio.to_thread(lab.publish, "before", topic)
    lists: tuple[list[int], list[int]] = [], []
    waiting = [
        asyncio.ensure_future(_poll_for_ever(port, topic, cursor, came))
        for cursor, came in zip((None, lab.cursor(topic)), lists, strict=True)
    ]
    try:
        await asyncio.sleep(6 * one_way_s)  # both are parked
        began_s, ids, at_s = clock(), [], []
        for wait_s in waits_s:
            await asyncio.sleep(wait_s)
            at_s.append(clock() - began_s)
            ids.append(await asyncio.to_thread(lab.publish, "tick", topic))
        await asyncio.sleep(8 * one_way_s)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return tuple(ids), tuple(at_s), tuple(map(tuple, lists))


async def _poll_for_ever(port: int, topic: str, cursor: str | None, came: list[int]) -> None:
    """Long polls, one after another; without a cursor each asks for what comes next."""
    keeps, client = cursor is not None, client_of(port, "/long-polling", topic=topic)
    try:
        while True:
            await client.ask({"after": cursor, "timeout": "30"})
            answer = json.loads((await client.answer())[1])
            came += [event["id"] for event in answer["events"]]
            cursor = answer["cursor"] if keeps else None
    finally:
        client.close()
