"""Worlds of 06, 08 and 12."""

from __future__ import annotations

from typing import Any

import numpy as np

from labkit.course.relatives.manners import Manners
from labkit.course.side_by_side.messages import Upstream
from labkit.course.side_by_side.newest_value import BLOCKS, AgePoint, Ages
from labkit.course.side_by_side.sending import Leg
from labkit.course.where_the_server_lives.homes import WAITS, Home, Seen, Span
from labkit.theory.age import age_blocks, queued_age_s
from power.worlds import Client, D, Rng, long_polled, noisy, poisson, run_of, streamed


def mannered(rng: Rng, planted: bool) -> Manners:
    """Planted: Bayeux is a stream in disguise."""
    schedule = {"schedule": {"name": "poisson", "rate_per_s": 8.0}}

    def run(names: tuple[str, ...], pause_s: float) -> Any:
        clients = []
        for topic in range(2):
            due = poisson(rng, 8.0, 6.0)
            for name in names:
                latency, answers = long_polled(rng, due, gap_s=2 * D + pause_s)
                latency = streamed(rng, due) if planted and name == "bayeux" else latency
                clients.append(Client(name, f"{topic}", 0, due, latency, answers))
        return run_of(clients, **schedule)

    return Manners(run(("bayeux", "bosh"), 0.0), run(("bayeux",), 6 * D), 6 * D, 0.1, 5.0)


def aged(rng: Rng, planted: bool) -> Ages:
    """A link that sends one event after the other, all of them or the newest; planted: the newest are no younger."""
    capacity, stop_ns, points = 40.0, 2 * 10**9, []
    for load in (0.6, 1.4, 2.0):
        due_ns = (poisson(rng, load * capacity, 2.0) * 1e9).astype("int64").tolist()
        every, newest = (_through(due_ns, round(1e9 / capacity), conflate) for conflate in (False, True))
        theory_s = queued_age_s(due_ns, capacity, D, 0, stop_ns)
        for name in ("sse", "websocket"):
            for conflate in (False, True):
                ages_s = age_blocks(newest if conflate and not planted else every, 0, stop_ns, BLOCKS)
                blocks_s = tuple((np.array(ages_s) + noisy(rng, BLOCKS)).tolist())
                bytes_per_s = 1e5 if conflate else 1e6
                points.append(
                    AgePoint(name, conflate, load * capacity, blocks_s, theory_s, bytes_per_s, len(every), 0, 0)
                )
    return Ages(tuple(points), 1e6, 25e3, D, {})


def _through(due_ns: list[int], each_ns: int, conflate: bool) -> list[tuple[int, int]]:
    """When each event is there, and when it was due, over a link that takes so long for each."""
    arrivals, free_ns, i = list[tuple[int, int]](), 0, 0
    while i < len(due_ns):
        starts_ns = max(free_ns, due_ns[i])
        while conflate and i + 1 < len(due_ns) and due_ns[i + 1] <= starts_ns:
            i += 1
        free_ns = starts_ns + each_ns
        arrivals.append((free_ns + round(D * 1e9), due_ns[i]))
        i += 1
    return arrivals


def sent_up(rng: Rng, planted: bool) -> Upstream:
    """Planted: a WebSocket's messages take a tenth more bytes than those of any POST."""
    legs = []
    for mode in ("websocket", "post", "post, connection each"):
        for rate, count in ((1.0, 4), (10.0, 30), (60.0, 120)):
            least = 330 if planted else 90
            size = least if mode == "websocket" else 300
            order = np.arange(count)
            if mode != "websocket" and rate > 1:
                order[[3, 4]] = order[[4, 3]]
            sizes = tuple((size + rng.integers(0, 3, count)).tolist())
            legs.append(Leg(mode, rate, count, tuple(order.tolist()), (D,) * count, sizes, 2))
    return Upstream(tuple(legs), D, {})


def housed(rng: Rng, planted: bool) -> Seen:
    """A cell of three seconds beside two servers; planted: on the kernel's own loop an event waits for half of it."""
    homes = []
    for name in (WAITS, "thread"):
        home = Home(name)
        home.spans.append(Span(10**9, 4 * 10**9, "busy"))
        for event_id, due_s in enumerate(np.arange(0.05, 5.0, 0.05).tolist(), 1):
            due_ns, stop_ns = round(due_s * 1e9), 4 * 10**9
            waits = name == WAITS and 10**9 <= due_ns < stop_ns
            published_ns = due_ns + round((stop_ns - due_ns) * (0.5 if planted else 1.0)) * waits
            home.published[event_id] = (due_ns, published_ns)
            home.received[event_id] = published_ns + 10**6 + round(float(noisy(rng, 1, 2)[0]) * 1e9)
        homes.append(home)
    return Seen(homes, {"technique": "sse"})
