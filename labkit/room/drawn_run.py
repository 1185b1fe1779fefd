"""A run without an end and its charts: what feeds them, and the thread that draws them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from labkit.charts.style import joined
from labkit.lab.lab import Lab
from labkit.measuring.endless import LiveRun
from labkit.measuring.sampling import Sample
from labkit.measuring.settings import Settings
from labkit.measuring.source import source_title
from labkit.room.board import Board
from labkit.room.charts import LiveCharts
from labkit.room.screen import Screen

UPDATES_PER_S = 5.0
"""Draws a second, at most; fewer where drawing takes long."""
DRAWING_SHARE = 0.2


class DrawnRun:
    """One run under way on the panel's screen, from its start on.

    Args:
        clicked: told (technique, event id) of a dot that was clicked.
        options: of :class:`LiveRun`.

    Attributes:
        draws: how often the charts were drawn.
    """

    def __init__(
        self, lab: Lab, settings: Settings, screen: Screen, clicked: Callable[[str, int], None], **options: Any
    ) -> None:
        self.draws = 0
        self.live = LiveRun(lab, settings, **options)
        self._screen = screen
        self._told: list[str] = []
        self._stop = threading.Event()
        self.live.start()
        try:
            self.board = Board(self.live)
            self.charts = LiveCharts(self.board, clicked)
            screen.show_chart(self.charts.open_widget())
        except BaseException:
            self.live.stop(settle=False)
            raise
        self._thread = threading.Thread(target=self._draw_all, name="labkit-panel", daemon=True)
        self._thread.start()

    def draw_no_more(self) -> None:
        """End the thread that draws, which may be the one that asks, with the board as the run still is."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()
        self.board.feed(self.live.sample())

    def look_back(self) -> None:
        """Put on the board what arrived while the run ended."""
        were_open = self.board.open
        self.board.feed(self.live.sample())
        self.board.open = were_open

    def rest(self) -> None:
        """Put a plain figure in the place of the widget, which is let go."""
        widget, self.charts.widget = self.charts.widget, None
        self._screen.show_chart(self.charts.figure())
        if widget is not None:
            widget.let_go()
        self._screen.stand(self._standing("Stopped"))

    def _draw_all(self) -> None:
        wait_s = 1 / UPDATES_PER_S
        while not self._stop.wait(wait_s):
            began_s = time.perf_counter()
            try:
                self._draw()
            except Exception as error:
                self._screen.failed(error)
                return
            took_s = time.perf_counter() - began_s
            wait_s = max(1 / UPDATES_PER_S, took_s / DRAWING_SHARE) - took_s

    def _draw(self) -> None:
        sample = self.live.sample()
        self.board.feed(sample)
        self.charts.draw()
        self.draws += 1
        self._tell(sample)
        if self.draws % int(UPDATES_PER_S) == 1:
            self._screen.stand(self._standing("Running"))

    def _tell(self, sample: Sample) -> None:
        """Say what has ended before its time, once."""
        ended = [f"{self.board.natures.short(name)}: {why}" for name, why in sample.failures.items()]
        if self.live.publisher.failure:
            ended.append(f"The source has ended: {self.live.publisher.failure}")
        if ended and ended != self._told:
            self._told = ended
            self._screen.say("; ".join(ended))

    def _standing(self, word: str) -> str:
        """How the run stands, in one sentence."""
        live = self.live
        arrived = sum(live.arrived.values())
        return (
            f"{word}: {joined(t.short for t in live.techniques)}; {source_title(live.settings)}; "
            f"{live.publisher.count} published, {arrived} delivered; the link is {live.link_state}."
        )
