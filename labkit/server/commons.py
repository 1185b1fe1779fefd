"""What all topics of a hub have in common: its loop, its limits, what it has counted, the bound of all histories.

All of it belongs to the hub's loop.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(slots=True)
class Counts:
    """What a hub has done since it was made."""

    published: int = 0
    delivered: int = 0
    dropped: int = 0
    conflated: int = 0
    disconnected: int = 0


class Holder(Protocol):
    """A topic."""

    cost_bytes: int
    """What its log takes."""

    def let_go(self, size: int) -> None:
        """Free at least *size* bytes, if that can be."""


class Histories:
    """What all topics hold together: payload, 160 bytes an event, and what is kept encoded.

    Beyond the bound the topic lets go that nobody has published or listened to for longest; one that somebody listens
    to, only when no other holds anything. Every event is let go of once, and whoever has nothing more to give is not
    asked again before it was used: so a publish costs the same, however many topics there are.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0
        self._loop = loop
        self._idle: OrderedDict[Holder, None] = OrderedDict()  # least recently used first
        self._in_use: OrderedDict[Holder, None] = OrderedDict()
        self._trimming: asyncio.TimerHandle | None = None

    def count(self, grown: int) -> None:
        """What is held has grown by so many bytes, or has shrunk where that is below 0."""
        self.held_bytes += grown
        if self.held_bytes > self.max_bytes and grown > 0:
            self._trim_soon()

    def used(self, holder: Holder, grown: int, *, in_use: bool) -> None:
        """Somebody has published to the topic, begun or ceased to listen to it; is *in_use* if anybody listens now."""
        self.held_bytes += grown
        self._idle.pop(holder, None)
        self._in_use.pop(holder, None)
        if holder.cost_bytes:
            (self._in_use if in_use else self._idle)[holder] = None
            if self.held_bytes > self.max_bytes:
                self._trim_soon()  # it may have become able to give

    def close(self) -> None:
        if self._trimming is not None:
            self._trimming.cancel()

    def _trim_soon(self) -> None:
        if self._trimming is None:
            # a timer, not call_soon: whoever fan-out has just woken takes the event before it can be let go
            self._trimming = self._loop.call_later(0, self._trim)

    def _trim(self) -> None:
        self._trimming = None
        while self.held_bytes > self.max_bytes and (order := self._idle or self._in_use):
            holder = next(iter(order))
            holder.let_go(self.held_bytes - self.max_bytes)
            if self.held_bytes > self.max_bytes:  # it has nothing more to give
                del order[holder]


@dataclass(frozen=True, slots=True)
class Commons:
    """Handed by the hub to each topic, and by the topic to each subscriber."""

    loop: asyncio.AbstractEventLoop
    queue: int
    heartbeat_s: float
    histories: Histories
    counts: Counts = field(default_factory=Counts)
