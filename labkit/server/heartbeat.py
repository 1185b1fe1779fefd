"""When an idle subscriber is due for a heartbeat: as long after the last bytes that it was given as the lab was told.

Parked subscribers of a topic are kept in the order in which they parked, and an event that is sent directly is sent to
all of them at once. So whoever has been parked longest is due first, whatever happened since, and one timer of the
topic is enough. What a heartbeat looks like is each technique's own affair. All of it belongs to the hub's loop.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Protocol

_AT_ONCE = 100  # thousands may be due at the same time; others have their turn in between


class Parked(Protocol):
    """A subscriber that waits."""

    def wake(self) -> None:
        """End its wait."""


class Telling(Protocol):
    """A topic."""

    @property
    def told_s(self) -> float:
        """When an event last went to everybody who is parked, on the loop's clock."""


class Heartbeats:
    """The parked subscribers of one topic. Since when nothing was written for them, it asks the topic."""

    __slots__ = ("_interval_s", "_loop", "_parked", "_timer", "_topic")

    def __init__(self, loop: asyncio.AbstractEventLoop, interval_s: float, topic: Telling) -> None:
        self._loop = loop
        self._interval_s = interval_s
        self._topic = topic
        self._parked: dict[Parked, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def park(self, subscriber: Parked) -> None:
        """From now on, wake the subscriber when a heartbeat is due."""
        self._parked[subscriber] = self._loop.time()
        self._set_timer()

    def unpark(self, subscriber: Parked) -> None:
        self._parked.pop(subscriber, None)

    def stop(self) -> None:
        """Nobody listens any more."""
        self._parked.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if self._timer is None and self._parked:
            self._timer = self._loop.call_at(self._due_s(next(iter(self._parked.values()))), self._wake_due)

    def _due_s(self, parked_s: float) -> float:
        return max(parked_s, self._topic.told_s) + self._interval_s

    def _wake_due(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        for subscriber, parked_s in list(islice(self._parked.items(), _AT_ONCE)):
            if self._due_s(parked_s) > now_s:
                break
            self.unpark(subscriber)
            subscriber.wake()
        self._set_timer()
