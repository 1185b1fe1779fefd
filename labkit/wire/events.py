"""Events, cursors and the log of a topic.

A log numbers its events from 1 without holes, keeps a bounded history of them and answers one question: what
comes after this cursor? If it cannot answer, because the history no longer reaches back, because the cursor is
of another epoch or lies in the future, it says so with a :class:`Gap` and goes on from the oldest event held.

Pure: no sockets, no event loop. ``EventLog`` may be used from any thread.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from labkit.errors import CursorError

now_ns = time.perf_counter_ns
"""The kit's one clock, in nanoseconds; monotonic, and the same in every process of this machine."""

ID_LIMIT = 1 << 63
"""No log gets that far, and no table of a run holds it: what has such an id is somebody else's."""

_CURSOR = re.compile(r"(0|[1-9][0-9]{0,18})(?:@([a-z0-9]{4,12}))?", re.ASCII)
_EPOCH_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"

HISTORY_EVENTS = 10_000
HISTORY_BYTES = 8 << 20
"""Bounds of a topic's history, unless a lab is told otherwise."""
EVENT_BYTES = 160  # that a log needs for an event beside its payload
T = TypeVar("T")


def new_epoch() -> str:
    """A short random name for the life of a log."""
    return "".join(secrets.choice(_EPOCH_LETTERS) for _ in range(6))


def size_bytes(data: str | bytes) -> int:
    """How many bytes *data* has on the wire: text counts in UTF-8."""
    return len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode())


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its id in its topic, its data, and when it was published (ns of :func:`now_ns`)."""

    id: int
    data: str | bytes
    published_ns: int

    @property
    def size_bytes(self) -> int:
        """Payload bytes on the wire: text counts in UTF-8."""
        return size_bytes(self.data)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The id of the last event held, and the epoch of the log that gave it (None: whichever is present)."""

    n: int
    epoch: str | None = None

    def __str__(self) -> str:
        if self.n < 0:
            return self.epoch or ""
        return str(self.n) if self.epoch is None else f"{self.n}@{self.epoch}"

    @classmethod
    def foreign(cls, text: str) -> Cursor:
        """A cursor that no log can have given: going on from it is always a gap."""
        return cls(-1, text)

    @classmethod
    def is_labs(cls, text: str) -> bool:
        """Whether *text* is a cursor as a client of ours sends it: with an epoch, or the 0 for everything held."""
        found = _CURSOR.fullmatch(text)
        return found is not None and (found[2] is not None or text == "0")

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read ``17`` or ``17@k3f9``.

        Raises:
            CursorError: anything else.
        """
        match = _CURSOR.fullmatch(text)
        if not match:
            raise CursorError(f"not a cursor: {text[:40]!r} (expected an event id such as 17 or 17@k3f9)")
        return cls(int(match[1]), match[2])


@dataclass(frozen=True, slots=True)
class Gap:
    """Events that a subscriber asked for and cannot have.

    Attributes:
        after: the cursor as it was received, or that of the last event written before ids were dropped.
        next: the id that is delivered next.
        cursor: ``next - 1`` in the present epoch; a subscriber that resumes from it sees no further gap.
    """

    after: str
    next: int
    cursor: str


@dataclass(frozen=True, slots=True)
class Page:
    """What comes after a cursor: perhaps a gap, then events; ``cursor`` is the one to ask with next.

    Attributes:
        more: the log holds more after ``cursor``.
        conflated: how many events were passed over, because only the newest was asked for.
    """

    gap: Gap | None
    events: list[Event]
    cursor: str
    more: bool = False
    conflated: int = 0


class EventLog:
    """The numbered, bounded history of one topic.

    Args:
        epoch: its name; random by default.
        max_events, max_bytes: the history's bounds. The newest event is always held.
    """

    def __init__(
        self, *, epoch: str | None = None, max_events: int = HISTORY_EVENTS, max_bytes: int = HISTORY_BYTES
    ) -> None:
        self.epoch = epoch or new_epoch()
        self.max_events = max_events
        self.max_bytes = max_bytes
        self.newest = 0
        self.pinned: int | None = None
        """Events after this id are held whatever the bounds say (an ``unbounded`` subscriber's position)."""
        self._held: deque[Event] = deque()
        self._sizes: deque[int] = deque()
        self._held_bytes = 0
        self._lock = threading.RLock()

    @property
    def oldest(self) -> int:
        """The id of the oldest event held; ``newest + 1`` if none is."""
        return self.newest + 1 - len(self._held)

    @property
    def held_bytes(self) -> int:
        """Payload bytes in the history."""
        return self._held_bytes

    @property
    def cost_bytes(self) -> int:
        """What the history takes: its payload, and what each event needs beside it. Safe from any thread."""
        with self._lock:
            return self._held_bytes + EVENT_BYTES * len(self._held)

    def append(self, data: str | bytes, published_ns: int) -> Event:
        """Give *data* the next id and hold it. Safe from any thread."""
        with self._lock:
            event = Event(self.newest + 1, data, published_ns)
            size = size_bytes(data)
            self._held.append(event)
            self._sizes.append(size)
            self._held_bytes += size
            self.newest = event.id
            self._trim()
            return event

    def _trim(self) -> None:
        while len(self._held) > 1 and (len(self._held) > self.max_events or self._held_bytes > self.max_bytes):
            if self.pinned is not None and self._held[0].id > self.pinned:
                return
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._held.popleft()
        self._held_bytes -= self._sizes.popleft()

    def let_go(self, upto: int, cost_bytes: int) -> None:
        """Free at least *cost_bytes*, the oldest event first, the newest too; none above *upto*, and none pinned."""
        with self._lock:
            if self.pinned is not None:
                upto = min(upto, self.pinned)
            enough = self.cost_bytes - cost_bytes
            while self._held and self._held[0].id <= upto and self.cost_bytes > enough:
                self._drop_oldest()

    def pin(self, after: int | None) -> None:
        """Hold every event after that id until told otherwise; None lets the bounds rule again."""
        with self._lock:
            self.pinned = after
            self._trim()

    def cursor(self, n: int | None = None) -> Cursor:
        """The cursor of event *n*, of the newest by default."""
        return Cursor(self.newest if n is None else n, self.epoch)

    def after(self, n: int, *, upto: int | None = None, limit: int = 1 << 62) -> list[Event]:
        """Events with ids above *n*, up to *upto*, at most *limit* of them, that are still held."""
        with self._lock:
            if n + 1 == self.newest and (upto is None or upto >= self.newest) and self._held:
                return [self._held[-1]]  # as each subscriber asks that keeps up
            oldest = self.oldest
            first = max(n + 1, oldest)
            last = min(self.newest if upto is None else upto, self.newest, first + limit - 1)
            if first > last:
                return []
            return _between(self._held, first - oldest, last + 1 - oldest)

    def where(self, cursor: Cursor) -> tuple[Gap | None, int]:
        """Where a subscriber with this cursor goes on: a gap if it must be told one, and the position.

        Delivery goes on with the event after the position. A bare 0 means everything held and is no gap.
        """
        position = self.oldest - 1
        if cursor.epoch in (None, self.epoch) and position <= cursor.n <= self.newest:
            return None, cursor.n
        if cursor == Cursor(0):
            return None, position
        return Gap(str(cursor), position + 1, str(self.cursor(position))), position

    def since(self, cursor: Cursor, *, max_bytes: int | None = None, conflate: bool = False) -> Page:
        """What is held after *cursor*, with the gap if there is one.

        Args:
            max_bytes: of payload; one larger event comes alone. None: everything.
            conflate: only the newest of all that is held.
        """
        with self._lock:
            gap, position = self.where(cursor)
            first = max(position, self.newest - 1) if conflate else position
            events = self.after(first, upto=None if max_bytes is None else self._fitting(first, max_bytes))
            last = events[-1].id if events else position
            return Page(gap, events, str(self.cursor(last)), last < self.newest, first - position)

    def _fitting(self, position: int, max_bytes: int) -> int:
        """The last of the events held after *position* that *max_bytes* of payload leave room for, the first anyway."""
        last, total = position, 0
        for size in _between(self._sizes, position + 1 - self.oldest, len(self._sizes)):
            total += size
            if total > max_bytes and last > position:
                break
            last += 1
        return last


def _between(items: deque[T], start: int, stop: int) -> list[T]:
    """The items from *start* up to *stop*, walking from the nearer end."""
    if len(items) - start > start:
        return list(islice(items, start, stop))
    return list(islice(reversed(items), len(items) - stop, len(items) - start))[::-1]
