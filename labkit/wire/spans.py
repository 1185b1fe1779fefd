"""What bytes were for: the runs that decoders report, and the marks that they become where those bytes lay.

A decoder knows lengths, not places. Beside what it decodes it reports *runs*, one behind the other without a hole:
so many bytes, of this category, under this label, of that event. Where the bytes lay is known to whoever read them: a
body is cut by chunks, a message by frames, so that a thing's bytes are a list of ranges of one direction. A
:class:`Carrier` holds those ranges and lays runs over them; what comes out are *marks*.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qs, urlsplit

from labkit.wire.http1 import Head

Direction = Literal["out", "in"]
Category = Literal["payload", "envelope", "framing", "headers"]
CATEGORIES: tuple[Category, ...] = ("payload", "envelope", "framing", "headers")

UNREAD = "unread"
"""What never became whole."""
TOO_LONG = "too long to read"
MAX_HELD_BYTES = 2 << 20
"""What is held of one direction, at most: a longer item is payload, and nothing in it is read."""


@dataclass(slots=True, eq=False)
class Sighting:
    """One event as it stood on the wire, shared by all its marks.

    Attributes:
        wire_id: its id as it was sent, if one was.
        number: its place among the events of its exchange, from 1; 0 until it is marked.
    """

    wire_id: str | None = None
    number: int = 0

    @property
    def id(self) -> int:
        """The number of a lab's event (17 of ``17@k3f9``); of another's, its place."""
        digits = (self.wire_id or "").partition("@")[0]
        return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else self.number

    @property
    def label(self) -> str:
        """``event 17``, by its id where it has one, without the epoch."""
        return f"event {(self.wire_id or str(self.number)).partition('@')[0]}"


Run = tuple[int, Category, str, Sighting | None]
"""So many bytes, what they were for, under which label (empty: the event's), and of which event."""

Item = tuple[Any, list[Run]]
"""What a decoder gives: a value (None where there is nothing to hand over), and the runs of all its bytes."""


@dataclass(slots=True, eq=False)
class Exchange:
    """A request and what came back, of one connection; a WebSocket is one, a plugin socket too.

    Attributes:
        number: its place on the connection, from 1.
        path: without the query.
        status: of its answer; 0 while there is none.
        events: how many were seen in it.
        by_category: its bytes both ways.
        is_whole: whether its answer has come to its end.
        request, response: the heads, where there are any.
        complaint: why not all of it could be read; empty where it was.
    """

    number: int
    method: str = ""
    path: str = ""
    query: str = ""
    topic: str = ""
    status: int = 0
    events: int = 0
    by_category: dict[Category, int] = field(default_factory=lambda: dict.fromkeys(CATEGORIES, 0))
    is_whole: bool = False
    request: Head | None = None
    response: Head | None = None
    complaint: str = ""

    def ask(self, head: Head) -> None:
        """Put down what a request asks for."""
        target = head.target
        if "://" in target.partition("?")[0]:  # the absolute form, to a proxy (RFC 9112 section 3.2.2)
            parts = urlsplit(target)
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.request, self.method = head, head.method
        self.path, _, self.query = target.partition("?")
        topics = parse_qs(self.query).get("topic")
        self.topic = topics[-1] if topics else ""


class Mark(NamedTuple):
    """What the bytes from ``start`` to ``stop`` of one direction were for."""

    direction: Direction
    start: int
    stop: int
    category: Category
    label: str
    event: Sighting | None = None
    exchange: Exchange | None = None


class Carrier:
    """Where the bytes of one body or one message lie that are not marked yet, in order.

    Args:
        direction: of the connection.
        exchange: whose bytes they are.
    """

    def __init__(self, direction: Direction, exchange: Exchange | None) -> None:
        self.direction = direction
        self.exchange = exchange
        self._ranges: deque[tuple[int, int]] = deque()
        self._end = 0  # of the newest range

    def add(self, start: int, stop: int) -> None:
        """The next bytes lie there."""
        self._end = stop
        if start < stop:
            ranges = self._ranges
            if ranges and ranges[-1][1] == start:  # where a read ended is no place to cut a mark
                start = ranges.pop()[0]
            ranges.append((start, stop))

    def beside(self, start: int, stop: int, category: Category, label: str, marks: list[Mark]) -> None:
        """Append the mark of bytes that are none of the body's: a head, a chunk's size, a frame's header."""
        if start < stop:
            if self.exchange is not None:
                self.exchange.by_category[category] += stop - start
            marks.append(Mark(self.direction, start, stop, category, label, None, self.exchange))

    def lay(self, runs: Iterable[Run], marks: list[Mark]) -> None:
        """Append the marks of the next bytes: one for each run, more where it is cut.

        An event that has no byte of its own still has its place: a mark from there to there.
        """
        direction, exchange, ranges = self.direction, self.exchange, self._ranges
        at, stop = ranges.popleft() if ranges else (self._end, self._end)
        for count, category, label, event in runs:
            if event is not None:
                if not event.number and exchange is not None:
                    exchange.events += 1
                    event.number = exchange.events
                    if not count:
                        marks.append(Mark(direction, at, at, category, label or event.label, event, exchange))
                if not label:
                    label = event.label
            if exchange is not None:
                exchange.by_category[category] += count
            while count > stop - at:
                if at < stop:
                    marks.append(Mark(direction, at, stop, category, label, event, exchange))
                count -= stop - at
                at, stop = ranges.popleft()
            if count:
                marks.append(Mark(direction, at, at + count, category, label, event, exchange))
                at += count
        if at < stop:
            ranges.appendleft((at, stop))

    @property
    def held_bytes(self) -> int:
        """How many bytes have no mark yet."""
        return sum(stop - start for start, stop in self._ranges)

    def lay_rest(self, category: Category, label: str, marks: list[Mark]) -> None:
        """Mark all that is left as one thing."""
        self.lay([(self.held_bytes, category, label, None)], marks)


def spliced(runs: list[Run], inner: list[Run]) -> list[Run]:
    """*runs* with *inner* in the place of their payload, which may be cut by other runs.

    So the reader of a body says which bytes it carries, and the reader of what is carried says what those were for.
    """
    first = [index for index, run in enumerate(runs) if run[1] == "payload"]
    if len(first) == 1 and runs[first[0]][0] == sum(run[0] for run in inner):  # as nearly all are
        return [*runs[: first[0]], *inner, *runs[first[0] + 1 :]]
    found: list[Run] = []
    left = iter(inner)
    count, category, label, event = 0, *_NOTHING
    for run in runs:
        if run[1] != "payload":
            found.append(run)
            continue
        wanted = run[0]
        while wanted:
            if not count:
                count, category, label, event = next(left, (wanted, *_NOTHING))
                if not count:
                    found.append((0, category, label, event))
                    continue
            taken = min(count, wanted)
            found.append((taken, category, label, event))
            count -= taken
            wanted -= taken
    found += (run for run in left if not run[0])
    return found


_NOTHING: tuple[Category, str, Sighting | None] = ("payload", "", None)
