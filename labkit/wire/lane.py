"""One direction of a connection that is dissected: what of it is held, where that lies, and the body under way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labkit.errors import WireError
from labkit.wire.bodies import Reading
from labkit.wire.chunks import ChunkDecoder
from labkit.wire.spans import UNREAD, Carrier, Category, Direction, Exchange, Item, Mark

Heard = Callable[[Exchange, Direction, Any], None]
Step = Callable[[], bool]
"""Does something with what a lane holds; False if it needs more for that."""


class _Body:
    """A body under way: where it lies, how it is read, and how it ends."""

    def __init__(self, carrier: Carrier, reading: Reading, length: int | str) -> None:
        self.carrier = carrier
        self.reading = reading
        self.left = length if isinstance(length, int) else None
        self.chunks = ChunkDecoder() if length == "chunked" else None


class Lane:
    """One direction. Marks are collected until they are taken.

    Args:
        direction: which.
        step: what is done with its first bytes.
        heard: told each value that a body carried.

    Attributes:
        buffer: what is held and not told.
        at: where the first byte lies that neither has a mark nor is in the body's carrier.
        seen: how many bytes there have been.
        step: what is done next with what is held.
    """

    def __init__(self, direction: Direction, step: Step, heard: Heard) -> None:
        self.direction = direction
        self.step = step
        self.buffer = bytearray()
        self.at = 0
        self.seen = 0
        self.marks: list[Mark] = []
        self._heard = heard
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
        self._body = _Body(Carrier(self.direction, exchange), reading, length)

        def step() -> bool:
            if self._body is None:
                self.step = then or self.unread
                return True
            return self._read(self._body)

        self.step = step

    def _read(self, body: _Body) -> bool:
        if body.chunks is not None:
            return self._read_chunks(body, body.chunks)
        data = bytes(self.buffer if body.left is None else self.buffer[: body.left])
        del self.buffer[: len(data)]
        self._carry(body, data)
        if body.left is not None:
            body.left -= len(data)
            if not body.left:
                self._body_ends(body)
        return True

    def _read_chunks(self, body: _Body, chunks: ChunkDecoder) -> bool:
        error: WireError | None = None
        try:
            pieces = chunks.pieces(self.taken())
        except WireError as raised:
            pieces, error = chunks.pieces_before_error, raised
        for framing, data in pieces:
            body.carrier.beside(self.at, self.at + framing, "framing", "chunk", self.marks)
            self.at += framing
            if data:
                self._carry(body, data)
        if error is not None:
            return self.give_up(body.carrier.exchange, error)
        if chunks.done:
            self.buffer += chunks.leftover
            self._body_ends(body)
        return True

    def _carry(self, body: _Body, data: bytes) -> None:
        body.carrier.add(self.at, self.at + len(data))
        self.at += len(data)
        self._lay(body, body.reading.items(data))

    def _lay(self, body: _Body, items: list[Item]) -> None:
        exchange = body.carrier.exchange
        for value, runs in items:
            body.carrier.lay(runs, self.marks)
            if value is not None and exchange is not None:
                self._heard(exchange, self.direction, value)

    def _body_ends(self, body: _Body) -> None:
        self._lay(body, body.reading.end())
        if body.carrier.exchange is not None and self.direction == "in":
            body.carrier.exchange.is_whole = True
        self._let_go_of_body()

    def _let_go_of_body(self) -> None:
        if self._body is not None:
            self._body.carrier.lay_rest("envelope", UNREAD, self.marks)
            self._body = None
