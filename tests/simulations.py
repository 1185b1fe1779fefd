"""Simulations of the techniques that know nothing of the closed forms: what theory and verdicts are held against."""

from __future__ import annotations

import math
import random
from collections import deque
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


class Line:
    """One direction of a connection: a read takes d and a part of the jitter, and none overtakes another."""

    def __init__(self, one_way_s: float, jitter_s: float, seed: int) -> None:
        self.one_way_s, self.jitter_s = one_way_s, jitter_s
        self._random, self._last_s = random.Random(seed), 0.0

    def carry(self, sent_s: float) -> float:
        """When what is sent then arrives."""
        self._last_s = max(self._last_s, sent_s + self.one_way_s + self.jitter_s * self._random.random())
        return self._last_s


def lines(one_way_s: float, jitter_s: float = 0.0) -> tuple[Line, Line]:
    """Both directions, to the server and back."""
    return Line(one_way_s, jitter_s, 1), Line(one_way_s, jitter_s, 2)


def simulate_polling(
    times: list[float],
    one_way_s: float,
    interval_s: float,
    *,
    waiting: bool,
    request_transits: float = 1,
    jitter_s: float = 0.0,
    conflate: bool = False,
) -> World:
    """A poll leaves; the server answers at once with all that is due; the next leaves when the client's rule says."""
    world, sent, i, (up, down) = World(), 0.0, 0, lines(one_way_s, jitter_s)
    while i < len(times):
        at_server = up.carry(sent + (request_transits - 1) * one_way_s)
        answered = down.carry(at_server)
        due = []
        while i < len(times) and times[i] <= at_server:
            due.append(answered - times[i])
            i += 1
        carried = due[-1:] if conflate else due
        world.latencies += carried
        world.batches.append(len(carried))
        sent = answered + interval_s if waiting else max(sent + interval_s, answered)
    world.span_s = sent
    return world


def simulate_long_polling(
    times: list[float],
    one_way_s: float,
    hold_s: float,
    *,
    request_transits: float = 1,
    jitter_s: float = 0.0,
    pause_s: float = 0.0,
    ahead: int = 0,
    conflate: bool = False,
) -> World:
    """A poll stays at the server until an event or the hold's end; the next leaves when the answer is there.

    Args:
        pause_s: between an answer and the next poll.
        ahead: so many polls more are on their way or wait behind the one that is held.
    """
    world, i, left, (up, down) = World(), 0, 0.0, lines(one_way_s, jitter_s)
    polls = deque(up.carry((request_transits - 1) * one_way_s) for _ in range(1 + ahead))
    while i < len(times):
        at_server = max(polls.popleft(), left)
        parked = times[i] > at_server
        left = min(times[i], at_server + hold_s) if parked else at_server
        answered, due = down.carry(left), []
        while i < len(times) and times[i] <= left:
            due.append(answered - times[i])
            i += 1
        carried = due[-1:] if conflate else due
        world.latencies += carried
        world.parked += [parked] * len(carried)
        world.batches.append(len(carried))
        polls.append(up.carry(answered + pause_s + (request_transits - 1) * one_way_s))
    world.span_s = polls[-1]
    return world


def simulate_streaming(times: list[float], one_way_s: float, *, jitter_s: float = 0.0) -> World:
    """Each event leaves as it comes."""
    down = Line(one_way_s, jitter_s, 2)
    return World([down.carry(at) - at for at in times], [], [1] * len(times), times[-1])


def simulate_recycled(times: list[float], one_way_s: float, every: int, *, request_transits: float = 1) -> World:
    """A stream that ends with the write that brings the N-th event, and is asked for again when its end is there."""
    world, i, (up, down) = World(), 0, lines(one_way_s)
    while i < len(times):
        began, first, leaves = up.carry(world.span_s + (request_transits - 1) * one_way_s), i, 0.0
        while i < len(times) and (times[i] <= began or i - first < every):
            leaves = max(times[i], began)
            world.latencies.append(down.carry(leaves) - times[i])
            i += 1
        world.batches.append(i - first)
        world.span_s = down.carry(leaves)  # the end comes with the last event
    return world
