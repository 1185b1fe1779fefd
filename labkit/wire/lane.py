"""One direction of a connection: what of it is held, where that lies, the body under way, and what its bytes were for.

A :class:`Carrier` knows where the bytes of one body or message lie, and lays the runs of a decoder over them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from labkit.errors import WireError
from labkit.wire.bodies import Reading
from labkit.wire.chunks import ChunkCutter
from labkit.wire.spans import TOO_LONG, UNREAD, Category, Direction, Exchange, Item, Mark, Run

Step = Callable[[], bool]
"""Does something with what a lane holds; False if it needs more for that."""


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
            if event is not None and not event.number and exchange is not None:
                exchange.events += 1
                event.number = exchange.events
                if not count:
                    marks.append(Mark(direction, at, at, category, label, event, exchange))
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


@dataclass(slots=True)
class _Body:
    """A body under way: where it lies, how it is read, how it ends, and the step after that."""

    carrier: Carrier
    reading: Reading
    then: Step
    left: int | None = None
    chunks: ChunkCutter | None = None


class Lane:
    """One direction. Marks and values are collected until they are taken.

    Args:
        direction: which.
        step: what is done with its first bytes.

    Attributes:
        buffer: what is held and not told.
        at: where the first byte lies that neither has a mark nor is in the body's carrier.
        seen: how many bytes there have been.
        step: what is done next with what is held.
        values: what bodies carried, and of which exchange each is.
        error: the rule that its bytes have broken, if they have.
        has_passed_over: whether something in a body was too long to read.
    """

    def __init__(self, direction: Direction, step: Step) -> None:
        self.direction = direction
        self.step = step
        self.buffer = bytearray()
        self.at = 0
        self.seen = 0
        self.marks: list[Mark] = []
        self.values: list[tuple[Exchange, Any]] = []
        self.error: WireError | None = None
        self.has_passed_over = False
        self._body: _Body | None = None

    @property
    def is_lost(self) -> bool:
        """Whether nothing of it can be read any more."""
        return self.step == self.unread

    def mark(self, count: int, category: Category, label: str, exchange: Exchange | None) -> None:
        """Mark its next bytes."""
        Carrier(self.direction, exchange).beside(self.at, self.at + count, category, label, self.marks)
        self.at += count

    def mark_head(self, size: int, label: str, exchange: Exchange) -> None:
        """Mark what the buffer begins with, and let it go."""
        del self.buffer[:size]
        self.mark(size, "headers", label, exchange)

    def taken(self) -> bytes:
        """All that is held, once."""
        data = bytes(self.buffer)
        self.buffer.clear()
        return data

    def unread(self) -> bool:
        """The step of a lane of which nothing can be read any more."""
        self.buffer.clear()
        self.mark(self.seen - self.at, "framing", UNREAD, None)
        return False

    def give_up(self, exchange: Exchange | None, complaint: object) -> bool:
        """Say that nothing more of it can be read, and why."""
        if exchange is not None:
            exchange.complaint = exchange.complaint or str(complaint)
        self._let_go_of_body()
        self.step = self.unread
        return self.unread()

    def end(self) -> None:
        """The connection has ended. The close ends a body that says no other end (RFC 9112 section 6.3)."""
        if self._body is not None and self._body.left is None and self._body.chunks is None:
            self._body_ends(self._body)
        self.give_up(None, "")

    # -- bodies ------------------------------------------------------------------------------------------------------

    def begin_body(self, exchange: Exchange, reading: Reading, length: int | str, then: Step | None = None) -> None:
        """Read a body next.

        Args:
            length: in bytes, ``chunked``, or ``close`` for all that still comes.
            then: the step after its end.
        """
        body = self._body = _Body(Carrier(self.direction, exchange), reading, then or self.unread)
        if length == "chunked":
            body.chunks = ChunkCutter()
            self.step = self._read_chunks
        else:
            body.left = length if isinstance(length, int) else None
            self.step = self._read

    def _read(self) -> bool:
        body = self._body
        assert body is not None
        data = bytes(self.buffer if body.left is None else self.buffer[: body.left])
        del self.buffer[: len(data)]
        self._carry(body, data)
        if body.left is not None:
            body.left -= len(data)
            if not body.left:
                self._body_ends(body)
        return True

    def _read_chunks(self) -> bool:
        body, error = self._body, None
        assert body is not None and body.chunks is not None
        try:
            pieces = body.chunks.pieces(self.taken())
        except WireError as raised:
            pieces, error = body.chunks.before_error, raised
        for framing, data in pieces:
            body.carrier.beside(self.at, self.at + framing, "framing", "chunk", self.marks)
            self.at += framing
            if data:
                self._carry(body, data)
        if error is not None:
            self.error = error
            return self.give_up(body.carrier.exchange, error)
        if body.chunks.done:
            self.buffer += body.chunks.leftover
            self._body_ends(body)
        return True

    def _carry(self, body: _Body, data: bytes) -> None:
        body.carrier.add(self.at, self.at + len(data))
        self.at += len(data)
        self.lay(body.carrier, body.reading.items(data))

    def lay(self, carrier: Carrier, items: list[Item]) -> None:
        """Lay the items of a body over where it lies; their values are kept."""
        for value, runs in items:
            carrier.lay(runs, self.marks)
            if value is None:
                self.has_passed_over |= any(run[2] == TOO_LONG for run in runs)
            elif carrier.exchange is not None:
                self.values.append((carrier.exchange, value))

    def _body_ends(self, body: _Body) -> None:
        self.lay(body.carrier, body.reading.end())
        if body.carrier.exchange is not None and self.direction == "in":
            body.carrier.exchange.is_whole = True
        self._let_go_of_body()
        self.step = body.then

    def _let_go_of_body(self) -> None:
        if self._body is not None:
            self._body.carrier.lay_rest("envelope", UNREAD, self.marks)
            self._body = None
