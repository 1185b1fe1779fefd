"""The runs of one panel: the one under way, with its charts and its network, and the last that have ended."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping

from labkit.lab.lab import Lab
from labkit.measuring.endless import LiveRun
from labkit.measuring.run import Run
from labkit.measuring.settings import SettingError, Settings
from labkit.network.link import Link
from labkit.room.drawn_run import DrawnRun
from labkit.room.screen import Screen
from labkit.theory import durations

KEPT = 5


def timed(seconds: float, at: Mapping[float, Callable[[], object]] | None) -> list[tuple[float, Callable[[], object]]]:
    """What to do during a run of so many seconds, in order: at which second, and what.

    Args:
        seconds: endless as well.

    Raises:
        DurationError, SettingError: no number of seconds; something that cannot be called.
    """
    if not isinstance(at, Mapping | None):
        raise SettingError(f"at={at!r:.60}: expected what to do by the second, as {{2.0: panel.cut}}")
    for name, second in [("seconds", seconds), *(("at", second) for second in at or ())]:
        if second != math.inf:
            durations.seconds(name, second, math.inf)
    for second, act in (at or {}).items():
        if not callable(act):
            raise SettingError(f"at={{{second!r}: {act!r:.60}}}: expected what to call then, as panel.cut, without ()")
    return sorted((at or {}).items(), key=lambda item: item[0])


class Runs:
    """At most one of them is under way. Whoever calls from several threads has a lock.

    Args:
        clicked: told (technique, event id) of a dot that was clicked.
        keep_events: how many of the newest events a run remembers at most.

    Raises:
        SettingError: *keep_events* is no such number.

    Attributes:
        live: the run under way; None while there is none.
        drawn: its charts, which stay when it has ended; None before the first.
        ended: the last, at most five, the newest last.
        link: the network of all of them; None until one is needed.
    """

    def __init__(self, lab: Lab, screen: Screen, clicked: Callable[[str, int], None], keep_events: int) -> None:
        if not isinstance(keep_events, int) or isinstance(keep_events, bool) or keep_events < 1:
            raise SettingError(f"keep_events={keep_events!r:.60}: expected a whole number of events, from 1")
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
