"""Worlds of 01_polling."""

from __future__ import annotations

import numpy as np
import pandas as pd

from labkit.course.polling import jobs
from labkit.course.polling.intervals import Sweep
from labkit.course.polling.pollers import Poller
from labkit.course.polling.price import Costs
from labkit.course.polling.waiting import Waited
from power.worlds import Client, D, Rng, noisy, poisson, polled, run_of

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
        due = poisson(rng, 2.5 * rare, 5.0 * slower)
        for interval_s in (0.2, 0.4, 0.8, 1.6):
            polls = round(4.8 / interval_s)
            counts, _ = np.histogram(due, np.arange(polls + 1) * interval_s * slower)
            events, full = int(counts.sum()), int((counts > 0).sum())
            size = h * polls + b * events + (events - full) + 0.3 * events
            rows.append({
                "interval_s": interval_s, "topic": f"t{number}", "polls": polls, "span_s": 4.8 * slower,
                "latency_ms": 100.0, "empty": polls - full, "events": events, "bytes": size,
            })  # fmt: skip
    return Costs(pd.DataFrame(rows), 2.5, D, 300.0, 38.0, {"duration_s": 5.2})


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
    return Waited(pd.DataFrame(rows), D, {"duration_s": 9.0})
