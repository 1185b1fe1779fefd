"""Simulations of the techniques that know nothing of the closed forms: what theory and verdicts are held against."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

EVENTS = 20_000


@dataclass
class World:
    """What a simulated client saw: a latency for each event, and how many events each answer carried."""

    latencies: list[float] = field(default_factory=list)
    parked: list[bool] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    span_s: float = 0.0

    def mean_and_error(self) -> tuple[float, float]:
        """Mean latency and its standard error, with answers as the independent units."""
        sizes = np.array(self.batches)
        latencies = np.array(self.latencies)
        owner = np.repeat(np.arange(len(sizes)), sizes)
        mean = latencies.mean()
        residuals = np.bincount(owner, weights=latencies - mean, minlength=len(sizes))
        return mean, math.sqrt((residuals**2).sum()) / len(latencies)


def poisson_times(rate_per_s: float, seed: int, events: int = EVENTS) -> list[float]:
    return np.random.default_rng(seed).exponential(1 / rate_per_s, events).cumsum().tolist()


def simulate_polling(
    times: list[float], one_way_s: float, interval_s: float, *, waiting: bool, request_transits: int = 1
) -> World:
    """A poll leaves; the server answers at once with all that is due; the next leaves when the client's rule says."""
    world, sent, i = World(), 0.0, 0
    while i < len(times):
        at_server = sent + request_transits * one_way_s
        answered = at_server + one_way_s
        first = i
        while i < len(times) and times[i] <= at_server:
            world.latencies.append(answered - times[i])
            i += 1
        world.batches.append(i - first)
        sent = answered + interval_s if waiting else max(sent + interval_s, answered)
    world.span_s = sent
    return world


def simulate_long_polling(times: list[float], one_way_s: float, hold_s: float, *, request_transits: int = 1) -> World:
    """A poll stays at the server until an event or the hold's end; the next leaves when the answer is there."""
    world, i, at_server = World(), 0, request_transits * one_way_s
    while i < len(times):
        parked = times[i] > at_server
        leaves = min(times[i], at_server + hold_s) if parked else at_server
        first = i
        while i < len(times) and times[i] <= leaves:
            world.latencies.append(leaves + one_way_s - times[i])
            world.parked.append(parked)
            i += 1
        world.batches.append(i - first)
        at_server = leaves + one_way_s + request_transits * one_way_s
    world.span_s = at_server
    return world


def simulate_streaming(times: list[float], one_way_s: float) -> World:
    return World([one_way_s for _ in times], [], [1] * len(times), times[-1])
