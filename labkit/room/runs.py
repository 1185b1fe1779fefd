"""The runs of one panel: the one under way, with its charts and its network, and the last that have ended."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from labkit.lab.lab import Lab
from labkit.measuring.endless import LiveRun
from labkit.measuring.run import Run
from labkit.measuring.settings import Settings
from labkit.network.link import Link
from labkit.room.drawn_run import DrawnRun
from labkit.room.screen import Screen

KEPT = 5


class Runs:
    """At most one of them is under way. Whoever calls from several threads has a lock.

    Args:
        clicked: told (technique, event id) of a dot that was clicked.
        keep_events: how many of the newest events a run remembers at most.

    Attributes:
        live: the run under way; None while there is none.
        drawn: its charts, which stay when it has ended; None before the first.
        ended: the last, at most five, the newest last.
        link: the network of all of them; None until one is needed.
    """

    def __init__(self, lab: Lab, screen: Screen, clicked: Callable[[str, int], None], keep_events: int) -> None:
        self._lab = lab
        self._screen = screen
        self._clicked = clicked
        self._keep_events = keep_events
        self.live: LiveRun | None = None
        self.drawn: DrawnRun | None = None
        self.ended: deque[Run] = deque(maxlen=KEPT)
        self.link: Link | None = None

    @property
    def newest(self) -> Run | None:
        """The run under way as it is now, or else the last."""
        if self.live is not None:
            return self.live.snapshot()
        return self.ended[-1] if self.ended else None

    def linked(self, settings: Settings) -> Link:
        """The network, begun with these settings where there is none yet."""
        if self.link is None:
            self.link = Link(self._lab, one_way_s=settings.one_way_s, jitter_s=settings.jitter_s).start()
        return self.link

    def start(self, settings: Settings) -> None:
        """Begin a run, with charts that follow it."""
        self.drawn = DrawnRun(
            self._lab, settings, self._screen, self._clicked,
            keep_events=self._keep_events, link=self.linked(settings),
        )  # fmt: skip
        self.live = self.drawn.live
        self._screen.controls.running(True)

    def end(self, *, settle: bool = True) -> Run:
        """End the run under way, and keep it: whatever becomes of its charts, an interrupt included.

        Args:
            settle: whether what is on its way is waited for.
        """
        drawn = self.drawn
        assert drawn is not None
        try:
            try:
                drawn.draw_no_more()
            finally:
                run = drawn.live.stop(settle=settle)
                self.ended.append(run)
            drawn.look_back()
        finally:
            self.live = None
            self._screen.controls.running(False)
            drawn.rest()
        return run

    def sleep_until(self, second: float) -> None:
        """Wait for that second of the run under way, or for its end."""
        live = self.live
        end_s = live.started_ns / 1e9 + second if live is not None else 0.0
        while self.live is live and live is not None and (left_s := end_s - time.perf_counter_ns() / 1e9) > 0:
            time.sleep(min(left_s, 0.1))

    def close(self) -> None:
        """End the run under way, if there is one, and its network."""
        if self.live is not None:
            self.end(settle=False)
        link, self.link = self.link, None
        if link is not None:
            link.close()
