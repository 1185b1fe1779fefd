"""Worlds of 02_long_polling."""

from __future__ import annotations

import numpy as np

from labkit.course.long_polling.equal import Equal
from labkit.course.long_polling.event_rates import BIG, RATES, SPAN_S, Rates
from labkit.course.long_polling.exchanges import FRESH, KEPT, Connections, Pipelined
from labkit.course.long_polling.hold_times import HOLDS_S, Holds
from labkit.course.long_polling.no_cursor import Unaware
from power.worlds import Client, D, Rng, long_polled, noisy, poisson, polled, run_of, streamed

# 02


def rated(rng: Rng, *, one_each: bool = False, stream: bool = False, twice: bool = False) -> Rates:
    """Long polling at every rate; planted: an event an answer, a stream in disguise, or a gap twice as long."""
    clients, rates, sizes, span_s = list[Client](), dict[str, float](), dict[str, int](), SPAN_S
    for size, wanted in ((20, RATES), (2000, BIG)):
        for rate, count in wanted.items():
            for number in range(count):
                topic = f"{size}-{rate:g}-{number}"
                due = poisson(rng, rate, span_s)
                latency, answers = long_polled(rng, due, gap_s=(4 if twice else 2) * D, one_each=one_each)
                latency = streamed(rng, due) if stream else latency
                each = round(size + 30 + 300 * answers / len(due))
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
    """Ten clients without a cursor: what comes in a gap of so many times its length is lost."""
    published, kept = list[tuple[int, int]](), list[tuple[int, int]]()
    for topic in range(10):
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
