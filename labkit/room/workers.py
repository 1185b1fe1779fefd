"""What works for the control panel behind its controls: the thread that draws, its place at the lab, its sentences."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol

from labkit.charts.style import joined
from labkit.errors import LabkitError
from labkit.lab.attached import Part
from labkit.measuring.endless import LiveRun
from labkit.measuring.sampling import Sample
from labkit.measuring.source import source_title
from labkit.room.board import Board
from labkit.room.charts import LiveCharts
from labkit.theory import Nature

UPDATES_PER_S = 5.0
"""Draws a second, at most; fewer where drawing takes long."""
DRAWING_SHARE = 0.2


class Owner(Protocol):
    """What the panel is to those that work for it."""

    @property
    def running(self) -> bool: ...

    def close(self) -> None: ...

    def say(self, text: str) -> None: ...

    def stand(self, text: str) -> None: ...

    def failed(self, error: BaseException) -> None: ...


class Said:
    """What goes wrong inside is said in the panel too."""

    def __init__(self, panel: Owner) -> None:
        self._panel = panel

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, LabkitError | ValueError | TypeError):
            self._panel.say(str(error))


class Place:
    """The panel's place among what is attached to its lab: it is told when the lab closes."""

    relay = None
    settle_s = 0.0
    natures: Mapping[str, Nature] = {}

    def __init__(self, panel: Owner) -> None:
        self.panel = panel

    def wait(self, timeout_s: float, *, progress: bool) -> bool:
        return True

    def keep(self) -> None:
        pass

    def settled(self, newest: Mapping[str, int]) -> bool:
        return True

    def part(self, published: Any, since_ns: int) -> Part:
        return Part([], [], [], [])

    def lab_closes(self) -> None:
        was_running = self.panel.running
        self.panel.close()
        if was_running:
            self.panel.say("The lab was closed: the run has ended, and what arrived is kept (panel.run).")


class Drawer:
    """The thread that brings the charts up to date."""

    def __init__(self, panel: Owner, live: LiveRun, board: Board, charts: LiveCharts) -> None:
        self.draws = 0
        self._panel, self._live, self._board, self._charts = panel, live, board, charts
        self._told: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._draw_all, name="labkit-panel", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _draw_all(self) -> None:
        wait_s = 1 / UPDATES_PER_S
        while not self._stop.wait(wait_s):
            began_s = time.perf_counter()
            try:
                self._draw()
            except Exception as error:
                self._panel.failed(error)
                return
            took_s = time.perf_counter() - began_s
            wait_s = max(1 / UPDATES_PER_S, took_s / DRAWING_SHARE) - took_s

    def _draw(self) -> None:
        sample = self._live.sample()
        self._board.feed(sample)
        self._charts.draw()
        self.draws += 1
        self._tell(sample)
        if self.draws % int(UPDATES_PER_S) == 1:
            self._panel.stand(standing(self._live, "Running"))

    def _tell(self, sample: Sample) -> None:
        """Say what has ended before its time, once."""
        ended = [f"{self._board.natures.short(name)}: {why}" for name, why in sample.failures.items()]
        if self._live.publisher.failure:
            ended.append(f"The source has ended: {self._live.publisher.failure}")
        if ended and ended != self._told:
            self._told = ended
            self._panel.say("; ".join(ended))


def standing(live: LiveRun, word: str) -> str:
    """How a run stands, in one sentence."""
    arrived = sum(live.arrived.values())
    return (
        f"{word}: {joined(t.short for t in live.techniques)}; {source_title(live.settings)}; "
        f"{live.publisher.count} published, {arrived} delivered; the link is {live.link_state}."
    )
