"""Worlds of 03, 04, 05 and 14: streams that end, come back, cross, are deflated, and go on in HTTP/2."""

from __future__ import annotations

import numpy as np

from labkit.course.http_streaming.nagle import STEP_S, WAYS, Steps
from labkit.course.http_streaming.recycling import CLOSED as RECYCLED_CLOSED
from labkit.course.http_streaming.recycling import KEPT as RECYCLED_KEPT
from labkit.course.http_streaming.recycling import Recycled
from labkit.course.later_http.both_versions import SameStream
from labkit.course.later_http.marks import NEW, OLD
from labkit.course.sse.reconnections import RETRIES, Resumption, Returns
from labkit.course.sse.with_page import OURS
from labkit.course.websocket.compression import OFFERS, Deflated
from labkit.course.websocket.crossing import BothWays
from labkit.course.websocket.late import SHADOW_S
from power.worlds import START_NS, Client, D, Rng, noisy, poisson, run_of, streamed

# 03


def recycled(rng: Rng, transits: int) -> Recycled:
    """Streams that end after each burst's third event; planted: what comes right after an end takes a transit more."""
    ends = 8 * D * np.arange(30) + 0.02
    due = np.sort(np.concatenate([ends - 0.02, ends - 0.01, ends, ends + 0.01]))
    clients, is_after = [Client("http-streaming", "", 0, due, streamed(rng, due))], np.arange(len(due)) % 4 == 3
    for name, gap in ((RECYCLED_KEPT, 2), (RECYCLED_CLOSED, 4)):
        latency = D + (gap + transits) * D * is_after - 0.01 * is_after + noisy(rng, len(due), 3)
        clients.append(Client(name, "", 0, due, latency))
    run = run_of(clients)
    asked_ns = [START_NS + round((end_s + D) * 1e9) for end_s in ends.tolist()]
    kept, closed = (next(run.ledger.of(name)) for name in (RECYCLED_KEPT, RECYCLED_CLOSED))
    for at_ns in asked_ns:
        kept.transferred("out", b"GET / HTTP/1.1\r\n\r\n", at_ns)
        run.ledger.opened(closed.technique, 0, local=("", 0), remote=("", 0), t_ns=at_ns)
    return Recycled(run, 3)


def two_writes(rng: Rng, planted: bool) -> Steps:
    """Planted: without Nagle's algorithm the wait is there as well."""
    samples = {}
    for pattern in ("asked", "stream"):
        for way in WAYS:
            step_s = STEP_S if way == "two writes" or (planted and way != "one write") else 0.0
            samples[pattern, way] = tuple((step_s + rng.exponential(3e-4, 24)).tolist())
    return Steps(samples)


# 14


def later_version(rng: Rng, planted: bool) -> SameStream:
    """Planted: over HTTP/2 an event takes half a transit more."""
    ids, late = tuple(range(1, 41)), {OLD: 0.0, NEW: 0.5 * planted}
    took_s = {name: (D + D * more + noisy(rng, len(ids), 3)).tolist() for name, more in late.items()}
    return SameStream(ids, dict.fromkeys(late, ids), took_s, {OLD: {}, NEW: {}}, (), D, 0.002, "simulated")


# 04, 05, 06, 08, 12


def resumed(rng: Rng, planted: bool) -> Resumption:
    """Planted: a client that comes back a quarter later than retry says."""
    later = 1 + 0.25 * planted
    gaps = {retry_s: tuple((later * retry_s + noisy(rng, n, 4)).tolist()) for retry_s, n in RETRIES.items()}
    due = np.arange(0.0, 4.0, 0.1)
    run = run_of([Client("sse", "", 0, due, streamed(rng, due), connections=2)])
    returns = Returns({OURS: gaps}, {OURS: True}, tuple(noisy(rng, 50).tolist()), why="no page")
    return Resumption(returns, run)


def crossing(rng: Rng, *, late: float = 0.0, some: float = 0.0) -> BothWays:
    """Planted: one way half a transit late, or a quarter of it, in the shadow of what came the other way."""
    sent = [poisson(rng, 20.0, 4.0) for _ in range(2)]
    took = [streamed(rng, at_s) for at_s in sent]
    took[0] = took[0] + late * D
    if some:
        arrivals = sent[1] + took[1]
        after = (sent[0][:, None] - arrivals[None, :] >= 0) & (sent[0][:, None] - arrivals[None, :] < SHADOW_S)
        took[0] = took[0] + D * after.any(axis=1)
    ways = [tuple(zip(at_s.tolist(), took_s.tolist(), strict=True)) for at_s, took_s in zip(sent, took, strict=True)]
    return BothWays(D, ways[0], ways[1], 0, 0.001)


def deflated(rng: Rng, planted: bool) -> Deflated:
    """Planted: negotiated, and not applied."""
    left = dict(zip(OFFERS, (1.0, 1.0, 1.0) if planted else (1.0, 0.3, 0.8), strict=True))
    sizes = {"small": 100.0, "page": 9000.0}
    on_wire = {kind: {mode: size * share for mode, share in left.items()} for kind, size in sizes.items()}
    means = dict(zip(OFFERS, (50.0, 90.0, 120.0), strict=True))
    cpu_us = {mode: rng.normal(mean, 2.0, 6).tolist() for mode, mean in means.items()}
    return Deflated(sizes, on_wire, cpu_us, dict(zip(OFFERS, (0.0, 200e3, 30e3), strict=True)), 30)
