"""For each claim that a simulation can make: a true world, and worlds that are wrong by the least that must be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from labkit.course.long_polling.equal import Equal
from labkit.course.long_polling.event_rates import BIG, RATES, Rates
from labkit.course.long_polling.exchanges import FRESH, KEPT, Connections, Pipelined
from labkit.course.long_polling.hold_times import HOLDS_S, Holds
from labkit.course.long_polling.no_cursor import Unaware
from labkit.course.polling import jobs
from labkit.course.polling.intervals import Sweep
from labkit.course.polling.pollers import Poller
from labkit.course.polling.price import Costs
from labkit.course.polling.waiting import Waited
from worlds import Client, D, Rng, long_polled, noisy, poisson, polled, run_of, streamed

T = 1.0


@dataclass(frozen=True)
class Planted:
    """One way in which a claim's world may be wrong: the smallest effect that its check states.

    Attributes:
        world: made with a generator, and whether it is planted.
        true: whether its true worlds are others than those of the row before.
    """

    id: str
    effect: str
    world: Callable[[Rng, bool], Any]
    true: bool = False


# 00, and every run like it


def one_poller(rng: Rng, planted: bool) -> Any:
    due = poisson(rng, 8.0, 12.0)
    latency, _ = polled(rng, due, T, phase=rng.uniform())
    schedule = {"schedule": {"name": "poisson", "rate_per_s": 8.0}, "poll_interval_s": T}
    return run_of([Client("polling", "", 0, due, latency + T / 4 * planted)], **schedule)


def one_long_poller(rng: Rng, planted: bool) -> Any:
    due = poisson(rng, 8.0, 12.0)
    latency, answers = long_polled(rng, due)
    schedule = {"schedule": {"name": "poisson", "rate_per_s": 8.0}, "hold_s": 30.0}
    return run_of([Client("long-polling", "", 0, due, streamed(rng, due) if planted else latency, answers)], **schedule)


def one_stream(rng: Rng, planted: bool) -> Any:
    due = poisson(rng, 8.0, 12.0)
    latency = streamed(rng, due) + D / 2 * planted
    return run_of([Client("http-streaming", "", 0, due, latency)], schedule={"name": "poisson", "rate_per_s": 8.0})


def late_ones(rng: Rng, planted: bool) -> Any:
    run = one_stream(rng, False)
    late = rng.permutation(len(run.deliveries))[: len(run.deliveries) // 3] if planted else []
    run.deliveries.loc[late, "latency_ms"] += 3e3 * D
    run.deliveries.loc[late, "received_ns"] += int(3e9 * D)
    return run


# 01


def swept(rng: Rng, planted: bool) -> Sweep:
    """Ten pollers of each kind; planted: the client waits T after each answer, and nobody says so."""
    due, clients = poisson(rng, 24.0, 4.0), []
    kinds = [Poller(f"every {t} s", t) for t in (0.3, 0.6, 1.2)] + [Poller("every 0.6 s after the answer", 0.6, True)]
    for kind in kinds:
        for number in range(10):
            phase = (number + rng.uniform(0, 0.02)) / 10
            latency, _ = polled(rng, due, kind.interval_s, phase=phase, waiting=kind.waiting or planted)
            clients.append(Client(kind.name, "", number, due, latency))
    return Sweep(run_of(clients), tuple(kinds))


def priced(rng: Rng, *, h: float = 300.0, b: float = 38.0, slower: float = 1.0, rare: float = 1.0) -> Costs:
    """Pollers of 16 topics at four intervals; an answer has a comma between events, and longer ids later on."""
    rows = []
    for number in range(16):
        due = poisson(rng, 2.5 * rare, 3.4 * slower)
        for interval_s in (0.2, 0.4, 0.8, 1.6):
            polls = round(3.2 / interval_s)
            counts, _ = np.histogram(due, np.arange(polls + 1) * interval_s * slower)
            events, full = int(counts.sum()), int((counts > 0).sum())
            size = h * polls + b * events + (events - full) + 0.3 * events
            rows.append({
                "interval_s": interval_s, "topic": f"t{number}", "polls": polls, "span_s": 3.2 * slower,
                "latency_ms": 100.0, "empty": polls - full, "events": events, "bytes": size,
            })  # fmt: skip
    return Costs(pd.DataFrame(rows), 2.5, D, 300.0, 38.0, 0, {"duration_s": 3.5})


def waited(rng: Rng, *, late: float = 0.0, others: float = 0.0) -> Waited:
    """Jobs of which one way of waiting tells too late, or asks otherwise than its rule says."""
    rows, way = [], rng.choice([way.name for way in jobs.WAYS])
    for number in range(36):
        took_s = rng.exponential(jobs.MEAN_S)
        for each in jobs.WAYS:
            expected_s, requests, margin_s = jobs.expected_wait(each.name, took_s, D)
            late_s = late * (D / 2 + 0.1 * expected_s) * (each.name == way)
            more = each.name == way and rng.uniform() < others
            rows.append({
                "job": f"j{number}", "durations": "exponential", "how": each.name, "duration_s": took_s,
                "waited_s": expected_s + float(noisy(rng, 1, 4)[0]) + late_s, "requests": requests + more,
                "expected_s": expected_s, "expected_requests": requests, "margin_s": margin_s,
            })  # fmt: skip
    return Waited(pd.DataFrame(rows), D, 0, {"duration_s": 9.0})


# 02


def rated(rng: Rng, *, one_each: bool = False, stream: bool = False, gap_s: float = 2 * D, h: float = 300.0) -> Rates:
    """Long polling at every rate; planted: an event an answer, a stream in disguise, or a gap twice as long."""
    clients, rates, sizes, span_s = list[Client](), dict[str, float](), dict[str, int](), 8.0
    for size, wanted in ((20, RATES), (2000, BIG)):
        for rate, count in wanted.items():
            for number in range(count):
                topic = f"{size}-{rate:g}-{number}"
                due = poisson(rng, rate, span_s)
                latency, answers = long_polled(rng, due, gap_s=gap_s, one_each=one_each)
                latency = streamed(rng, due) if stream else latency
                each = round(size + 30 + h * answers / len(due))
                clients.append(Client("long-polling", topic, 0, due, latency, answers + 1, bytes=each))
                rates[topic], sizes[topic] = rate, size
    return Rates(run_of(clients, hold_s=30.0), rates, sizes, span_s)


def held(rng: Rng, planted: bool) -> Holds:
    """Long polls held for several times; planted: a stream in disguise."""
    variants, clients = {f"held {hold_s:g} s": hold_s for hold_s in HOLDS_S}, []
    sources = [poisson(rng, 4.0, 5.0) for _ in range(12)]
    for name, hold_s in variants.items():
        for topic, due in enumerate(sources):
            latency, answers = long_polled(rng, due, hold_s)
            latency = streamed(rng, due) if planted else latency
            clients.append(Client(name, f"{topic}", 0, due, latency, answers + 1))
    return Holds(run_of(clients), variants, 4.0, 5.0)


class Counted(Equal):
    """Requests as the ledger has them, without a transfer for each."""

    def requests(self, technique: str, rate: float) -> int:
        records = [r for r in self.run.ledger.of(technique) if r.requests]
        return sum(r.requests for r in records if f"rate-{rate:g}-".encode() in r.transfers[0].data)


def equal(rng: Rng, *, low_wrong: bool = False, high_wrong: bool = False) -> Equal:
    """Planted: at the low rate long polling is no nearer than polling; at the high one it is half a transit later."""
    topics = {f"rate-4-{n}": 4.0 for n in range(4)} | {f"rate-40-{n}": 40.0 for n in range(2)}
    interval_s, clients = {4.0: 1 / 3.7366, 40.0: 1 / 9.9548}, list[Client]()
    pollers = {rate: f"poll{rate:g}" for rate in interval_s}
    for topic, rate in topics.items():
        due = poisson(rng, rate, 7.0)
        latency, answers = long_polled(rng, due)
        for other, name in pollers.items():
            polls, there_s = polled(rng, due, interval_s[other], phase=rng.uniform())
            clients.append(Client(name, topic, 0, due, polls, int(((there_s > 0) & (there_s < 7)).sum())))
            if rate == other == 4.0 and low_wrong:
                latency, _ = polled(rng, due, interval_s[other], phase=rng.uniform())
        latency = latency + D / 2 * (high_wrong and rate == 40.0)
        clients.append(Client("long-polling", topic, 0, due, latency, answers))
    return Counted(run_of(clients), topics, pollers)


def connected(rng: Rng, planted: bool) -> Connections:
    """One connection and one for each poll; planted: those that are kept are no nearer, by the half."""
    sources, clients = [poisson(rng, 8.0, 6.0) for _ in range(2)], list[Client]()
    for topic, due in enumerate(sources):
        for name, gap_s in ((KEPT, (4 if planted else 2) * D), (FRESH, 4 * D)):
            latency, answers = long_polled(rng, due, gap_s=gap_s)
            clients.append(Client(name, f"{topic}", 0, due, latency, answers, 1 if name == KEPT else answers))
    return Connections(run_of(clients, schedule={"name": "poisson", "rate_per_s": 8.0}))


def unaware(rng: Rng, gaps: float) -> Unaware:
    """Eight clients without a cursor: what comes in a gap of so many times its length is lost."""
    published, kept = list[tuple[int, int]](), list[tuple[int, int]]()
    for topic in range(8):
        free_s = 0.0
        for event_id, due_s in enumerate(np.cumsum(rng.exponential(0.1, 40)).tolist(), 1):
            published.append((topic, event_id))
            if due_s >= free_s:
                kept.append((topic, event_id))
                free_s = due_s + gaps * 2 * D + float(noisy(rng, 1, 2)[0])
    return Unaware(tuple(published), tuple(kept), tuple(published), 10.0, D)


def pipelined(rng: Rng, planted: bool) -> Pipelined:
    """Pairs and Poisson events over pipelined polls; planted: no second poll is under way behind the first."""
    clients, span_s = list[Client](), 4.8
    for number in range(4):
        firsts = 2 * number * D + np.arange(12) * 8 * D
        due = np.sort(np.concatenate([firsts, firsts + 0.6 * D]))
        latency = long_polled(rng, due)[0] if planted else streamed(rng, due)
        clients.append(Client("long-polling", f"pairs, {number}", 0, due, latency))
    for number in range(2):
        due = poisson(rng, 10.0, span_s)
        clients.append(Client("long-polling", f"poisson, {number}", 0, due, long_polled(rng, due, gap_s=D)[0]))
    schedule = {"name": "several", "settings": {"topics": [client.topic for client in clients]}}
    return Pipelined(run_of(clients, schedule=schedule), 0.95, 0.11, 1.0)


PLANTED = (
    Planted("P1", "sweep: a mean a transit off (T after each answer)", swept, True),
    Planted("P1", "one poller: a mean a quarter of the period off", one_poller, True),
    Planted("P2", "b: 5 bytes", lambda rng, planted: priced(rng, b=38.0 + 7.0 * planted), True),
    Planted("P2", "h: 4 %", lambda rng, planted: priced(rng, h=300.0 * (1 + 0.04 * planted))),
    Planted("P2", "a third fewer polls", lambda rng, planted: priced(rng, slower=1 + 0.33 * planted)),
    Planted("P2", "15 % of the polls not empty", lambda rng, planted: priced(rng, rare=1 - 0.5 * planted)),
    Planted(
        "N1", "half a transit and a tenth of the wait", lambda rng, planted: waited(rng, late=float(planted)), True
    ),
    Planted("N1", "other requests for 3 of 10 jobs", lambda rng, planted: waited(rng, others=0.4 * planted)),
    Planted("L1", "rates: a stream's mean, 10 ms away at 2/s", lambda rng, planted: rated(rng, stream=planted), True),
    Planted("L1", "rates: a gap twice as long", lambda rng, planted: rated(rng, gap_s=2 * D * (1 + planted))),
    Planted("L1", "holds: a stream's mean", held, True),
    Planted("L1", "one client: a stream's mean", one_long_poller, True),
    Planted("L1b", "rare: no nearer", lambda rng, planted: equal(rng, low_wrong=planted), True),
    Planted("L1b", "often: half a transit", lambda rng, planted: equal(rng, high_wrong=planted)),
    Planted("L2", "one event an answer", lambda rng, planted: rated(rng, one_each=planted), True),
    Planted("L2", "a gap twice as long", lambda rng, planted: rated(rng, gap_s=2 * D * (1 + planted))),
    Planted("L3", "one event an answer", lambda rng, planted: rated(rng, one_each=planted), True),
    Planted("L5", "a gap twice as long", connected, True),
    Planted("L8", "a gap half as long", lambda rng, planted: unaware(rng, 0.5 if planted else 1.0), True),
    Planted("L8", "a gap twice as long", lambda rng, planted: unaware(rng, 2.0 if planted else 1.0)),
    Planted("L10", "the second of each pair waits", pipelined, True),
    Planted("S3", "one stream: half a transit", one_stream, True),
    Planted("S3", "one stream: a third late", late_ones),
)

UNSIMULATED: dict[str, str] = {}
