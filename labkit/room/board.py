"""What the live charts show, kept up to date from samples: the newest dots, bytes of each second, the event ladder.

Plain values, bounded whatever the rate. ``charts.py`` draws them.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import asdict
from typing import Any

from labkit.claims import predicting
from labkit.measuring.endless import LiveRun
from labkit.measuring.sampling import Sample
from labkit.measuring.settings import Settings
from labkit.theory import Expectation
from labkit.wire.spans import CATEGORIES, Category

SHOWN_S = 20.0
LADDER_S = 4.0
DOTS_PER_S = 20.0
"""Dots drawn of each technique for each second, on average; a burst of up to BURST_DOTS is drawn whole."""
BURST_DOTS = 60.0
MOST_DOTS = int(SHOWN_S * DOTS_PER_S)
RUNGS_PER_S = 4.0
MOST_RUNGS = 20
BARS = 20

Dot = tuple[float, float, int]
"""(due in s after the start, latency in ms, event id)."""


class Rung:
    """One event of the ladder: when it left the server and when it arrived, in s after the start."""

    __slots__ = ("arrived_s", "event_id", "published_s")

    def __init__(self, event_id: int, published_s: float) -> None:
        self.event_id = event_id
        self.published_s = published_s
        self.arrived_s: dict[str, float] = {}


class Board:
    """The values of all live charts of one run."""

    def __init__(self, run: LiveRun) -> None:
        self.techniques = run.names
        self.natures = run.natures
        self.dots: dict[str, deque[Dot]] = {name: deque(maxlen=MOST_DOTS) for name in self.techniques}
        self.arrived = 0
        """Deliveries, those included whose event somebody else published: when that was due nobody knows."""
        self.left_out = 0
        """Deliveries that have no dot, since the rate is too high for all."""
        self.rungs: deque[Rung] = deque(maxlen=MOST_RUNGS)
        self.bars: deque[tuple[int, list[float]]] = deque(maxlen=BARS)
        """(second after the start, bytes in it by category)."""
        self.open: dict[str, tuple[int, int]] = dict.fromkeys(self.techniques, (0, 0))
        self.theory: dict[str, deque[tuple[float, float]]] = {name: deque(maxlen=40) for name in self.techniques}
        """(from when, mean latency in ms that theory expects from then on)."""
        self.predicted: dict[str, float] = {}
        self.now_s = 0.0
        self.lock = threading.Lock()
        self._run = run
        self._allowed = dict.fromkeys(self.techniques, BURST_DOTS)
        self._totals: dict[Category, int] = {}
        self._settings: Settings | None = None
        self._expect(run.settings)  # not only at the first draw, which may come after a change

    def read_predictions(self) -> None:
        """Take over the learner's newest predictions for a run of these settings."""
        kept = {name: predicting.predicted_latency_s(name, asdict(self._run.settings)) for name in self.techniques}
        self.predicted = {name: seconds * 1e3 for name, seconds in kept.items() if seconds is not None}

    def feed(self, sample: Sample) -> None:
        """Take over what a sample tells."""
        with self.lock:
            self._feed(sample)

    def _feed(self, sample: Sample) -> None:
        before_s, self.now_s = self.now_s, (sample.t_ns - self._run.started_ns) / 1e9
        self._expect(self._run.settings)
        for event_id, (_, published_ns) in sample.published.items():
            published_s = self._seconds(published_ns)
            if not self.rungs or published_s - self.rungs[-1].published_s >= 1 / RUNGS_PER_S:
                self.rungs.append(Rung(event_id, published_s))
        rungs = {rung.event_id: rung for rung in self.rungs}
        for name, arrived in sample.arrived.items():
            if name not in self.dots:  # a page that came after the start: in the next run
                continue
            self.arrived += len(arrived)
            self._allow(name, self.now_s - before_s)
            self._dots(name, arrived)
            for event_id, received_ns in arrived:
                if event_id in rungs:
                    rungs[event_id].arrived_s.setdefault(name, self._seconds(received_ns))
        for t_ns, totals in sample.totals:
            self._bytes(t_ns, totals)
        self.open = sample.open

    def _seconds(self, t_ns: int) -> float:
        return (t_ns - self._run.started_ns) / 1e9

    def _expect(self, settings: Settings) -> None:
        if settings is self._settings:
            return
        self._settings = settings
        self.read_predictions()
        told = self._run.expected()
        for name in self.techniques:
            expected = told.get(name)
            mean_ms = expected.mean_s * 1e3 if isinstance(expected, Expectation) else float("nan")
            self.theory[name].append((max(0.0, self.now_s), mean_ms))

    def _allow(self, name: str, passed_s: float) -> None:
        self._allowed[name] = min(BURST_DOTS, self._allowed[name] + passed_s * DOTS_PER_S)

    def _dots(self, name: str, arrived: list[tuple[int, int]]) -> None:
        """The newest arrivals as dots; of too many only some, evenly, and the slowest of them."""
        timed = []
        for event_id, received_ns in arrived:
            times = self._run.window.published.get(("", event_id))
            if times is not None:
                timed.append((self._seconds(times[0]), (received_ns - times[0]) / 1e6, event_id))
        room = int(self._allowed[name])
        if len(timed) > room:
            slowest = max(timed, key=lambda dot: dot[1])
            step = -(-len(timed) // room) if room else len(timed)
            chosen = sorted({*timed[::step], slowest})
            self.left_out += len(timed) - len(chosen)
            timed = chosen
        self._allowed[name] = max(0.0, self._allowed[name] - len(timed))
        self.dots[name].extend(timed)

    def _bytes(self, t_ns: int, now: dict[Category, int]) -> None:
        """Book what was sent since the last time; no second has ended in between."""
        second = max(0, t_ns - self._run.started_ns - 1) // 1_000_000_000
        if not self.bars or self.bars[-1][0] != second:
            self.bars.append((second, [0.0] * len(CATEGORIES)))
        bar = self.bars[-1][1]
        for place, category in enumerate(CATEGORIES):
            bar[place] += max(0, now.get(category, 0) - self._totals.get(category, 0))
        self._totals = now

    def shown_dots(self, name: str) -> list[Dot]:
        """The dots of the newest SHOWN_S seconds."""
        return [dot for dot in self.dots[name] if dot[0] >= self.now_s - SHOWN_S]

    def event_at(self, name: str, due_s: float, latency_ms: float) -> int | None:
        """Which event a dot of the page stands for: the nearest, since the page may be a draw behind."""
        near = min(self.dots[name], key=lambda d: abs(d[0] - due_s) + abs(d[1] - latency_ms), default=None)
        return None if near is None else near[2]

    def summary(self) -> list[dict[str, Any]]:
        """Least and greatest latency of the dots that are shown, by technique."""
        rows = []
        for name in self.techniques:
            values = [ms for _, ms, _ in self.shown_dots(name)]
            if values:
                rows.append(
                    {"technique": name, "low": min(values), "mean": sum(values) / len(values), "high": max(values)}
                )
        return rows
