"""The panel's place among what is attached to its lab."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from labkit.lab.attached import Part
from labkit.room.screen import Screen
from labkit.theory import Nature


class Closable(Protocol):
    """What the panel is to its lab."""

    @property
    def running(self) -> bool: ...

    def close(self) -> None: ...


class Place:
    """It is told when the lab closes.

    Args:
        again: how to have another one then.
    """

    relay = None
    settle_s = 0.0
    natures: Mapping[str, Nature] = {}

    def __init__(self, panel: Closable, screen: Screen, again: str) -> None:
        self.panel = panel
        self._again = again
        self._screen = screen

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
            self._screen.say(
                "The lab was closed: the run has ended, and what arrived is kept (panel.run). " + self._again
            )
