"""A probe on a busy machine: asked again, more slowly, where it found something else meanwhile.

On a machine with time to spare a probe is asked once, and what it finds is judged as it is.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from labkit.strangers.probe.probing import probe
from labkit.strangers.probe.report import Report

Rows = list[tuple[int, str]]
PACES = (1.0, 3.0, 9.0)
STALL_S = 0.04
"""For so long this process may stand still within a probe, at the first pace: a third of a planted stream's step."""


class Pace:
    """By how much planted servers, and the probes of them, are slower than written down."""

    factor = 1.0


class Stalls:
    """The longest time for which this process stood still."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            self._over.wait(0.005)
            self.longest_s = max(self.longest_s, time.monotonic() - began - 0.005)

    @property
    def mattered(self) -> bool:
        """Whether what was planted may have come otherwise than planned: a stall, or more to run than cores."""
        is_busy = hasattr(os, "getloadavg") and os.getloadavg()[0] > (os.cpu_count() or 1)
        return is_busy or self.longest_s >= STALL_S * Pace.factor

    def __enter__(self) -> Stalls:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def rows(report: Report) -> Rows:
    """Row and grade of each finding."""
    return [(found.row, found.grade) for found in report.findings]


def steadily(ask: Callable[[], Report], wanted: Rows, paces: Sequence[float] = PACES) -> Report:
    """What *ask* brings, at the first pace at which it finds what is *wanted*, or nothing kept it from that."""
    try:
        for Pace.factor in paces:
            with Stalls() as stalls:
                report = ask()
            if rows(report) == wanted or not stalls.mattered:
                break
        return report
    finally:
        Pace.factor = 1.0


def probed(url: str, wanted: Rows, seconds: float = 2.5, *, paces: Sequence[float] = PACES, **options: Any) -> Report:
    """What a probe says.

    Args:
        wanted: rows and grades that should be found.
        seconds: for how long it listens, at the first pace.
    """
    return steadily(lambda: probe(url, seconds=seconds * Pace.factor, say=None, **options), wanted, paces)
