"""The source of a run: what it publishes next, and when. A schedule's ends, the other goes on.

It waits for that moment, heeding changes of its settings if it has any, and publishes nothing itself.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator

from labkit.measuring.schedules import Planned, payload
from labkit.measuring.settings import SOURCES, Settings, pause_s, sampler
from labkit.wire.events import now_ns

LEFT_BEHIND_S = 5.0
"""A source that is later than this (the machine slept) goes on from now instead of catching up."""


Due = tuple[int, str | bytes, str]
"""(due_ns, data, topic)."""


class Timetable:
    """The events of a schedule: a source that ends."""

    def __init__(self, planned: Iterable[Planned], topic: str) -> None:
        self._planned = planned
        self._topic = topic
        self._stop = threading.Event()

    def stop(self) -> None:
        self._stop.set()

    def events(self, started_ns: int) -> Iterator[Due]:
        for event in self._planned:
            due_ns = started_ns + int(event.offset_s * 1e9)
            while (left_s := (due_ns - now_ns()) / 1e9) > 0 and not self._stop.wait(left_s):
                pass
            if self._stop.is_set():
                return
            yield due_ns, event.data() if callable(event.data) else event.data, event.topic or self._topic


class Source:
    """The events of a run that goes on, each handed over when it is due. Changed and stopped from any thread.

    Args:
        settings: how it begins.
        seed: of its times.
    """

    def __init__(self, settings: Settings, seed: int) -> None:
        self.settings = settings
        self._rng = random.Random(seed)
        self._number = 0
        self._stop = False
        self._wake = threading.Condition()

    def change(self, settings: Settings) -> None:
        """Go on with these settings, at once."""
        with self._wake:
            self.settings = settings
            self._wake.notify()

    def stop(self) -> None:
        """End :meth:`events`, at once."""
        with self._wake:
            self._stop = True
            self._wake.notify()

    def events(self, started_ns: int) -> Iterator[Due]:
        """Each event when it is due. Waits on the thread that asks, until it is stopped."""
        sample: Callable[[], str] | None = None
        last_ns = started_ns
        while (due_ns := self._next_due(last_ns)) is not None:
            settings = self.settings
            if settings.source == "machine":
                sample = sample or sampler()
            else:
                sample = None
            self._number += 1
            yield due_ns, sample() if sample else payload(self._number, settings.payload_bytes), ""
            last_ns = due_ns

    def _next_due(self, last_ns: int) -> int | None:
        """Wait until the next event is due; a change of the settings is heeded at once. None when it is over."""
        with self._wake:
            while not self._stop:
                settings = self.settings
                pause = pause_s(settings.source, settings.rate_per_s, self._number, self._rng)
                if pause == float("inf"):
                    self._wake.wait()
                    last_ns = now_ns()
                    continue
                due_ns = last_ns + int(pause * 1e9)
                if (now_ns() - due_ns) / 1e9 > LEFT_BEHIND_S:
                    due_ns = now_ns()
                while not self._stop and self.settings is settings:
                    left_s = (due_ns - now_ns()) / 1e9
                    if left_s <= 0:
                        return due_ns
                    self._wake.wait(left_s)
                if settings.source != self.settings.source or self.settings.source == "poisson":
                    last_ns = now_ns()  # it has no memory
                else:
                    last_ns = max(last_ns, now_ns() - int(1e9 / self.settings.rate_per_s))
        return None


def source_title(settings: Settings) -> str:
    """The source and its rate, in words."""
    if settings.source == "none":
        return SOURCES["none"]
    return f"{settings.rate_per_s:g} events/s, {SOURCES[settings.source]}"
