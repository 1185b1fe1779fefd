"""One stream of an HTTP/2 connection: what came over it and waits to be taken, and how it ended."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

from labkit.errors import ConnectionLost, LabkitError, WireError
from labkit.wire.http1 import Head
from labkit.wire.lane import Carrier
from labkit.wire.spans import UNREAD, Exchange, Mark

MOST_HEADS = 200
"""Of one stream that are kept while nobody takes them: an answer has one, and interim ones before it."""


class Piece(NamedTuple):
    """What one DATA frame carried.

    Attributes:
        received_ns: when the read that completed it returned.
        start: where its first byte lies.
        flow_bytes: what it takes of the windows, its padding included (RFC 9113 section 6.1).
    """

    received_ns: int
    start: int
    data: bytes
    flow_bytes: int


class HTTP2Stream:
    """A request and what comes back.

    Attributes:
        number: its identifier on the connection.
        heads: what has come of heads, interim ones and trailers included, and nobody has taken.
        has_ended: whether nothing more comes: END_STREAM, RST_STREAM or the connection's end.
        is_said: whether nothing more is sent either.
        is_partial: whether that would leave a body without its end.
        error: why it has not ended as it should; None if it has, or has not ended.
    """

    def __init__(self, number: int, exchange: Exchange) -> None:
        self.number = number
        self.exchange = exchange
        self.heads: deque[Head] = deque()
        self.has_ended = False
        self.is_said = self.is_partial = False
        self._pieces: deque[Piece] = deque()
        self.error: LabkitError | None = None
        self._waiter: asyncio.Future[None] | None = None

    # -- what the connection tells it ---------------------------------------------------------------------------------

    def answered(self, head: Head) -> None:
        """The next head has come.

        Raises:
            WireError: it is one too many.
        """
        if len(self.heads) == MOST_HEADS:
            raise WireError(f"over {MOST_HEADS} heads of one answer", clause="RFC 9110 section 15.2")
        self.heads.append(head)
        self._wake()

    def came(self, piece: Piece) -> None:
        self._pieces.append(piece)
        self._wake()

    def ended(self) -> None:
        self.has_ended = True
        self._wake()

    def fail(self, error: LabkitError) -> None:
        """It has ended, and not as it should; what came before that can still be taken."""
        if not self.has_ended:
            self.has_ended, self.error = True, error
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- what is asked of it -----------------------------------------------------------------------------------------

    async def head(self) -> Head:
        """The next head. Raises what ended the stream, if there is none."""
        while not self.heads:
            if self.has_ended:
                raise self.error or ConnectionLost("the stream ended without an answer")
            await self._news(None)
        return self.heads.popleft()

    async def piece(self, silence_s: float | None) -> Piece | None:
        """What came next; None when it has ended as it should.

        Raises:
            ConnectionLost: cut, reset, or nothing came for *silence_s*.
            WireError: the connection has broken a rule.
        """
        while not self._pieces:
            if self.error is not None:
                raise self.error
            if self.has_ended:
                return None
            await self._news(silence_s)
        return self._pieces.popleft()

    async def _news(self, silence_s: float | None) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(silence_s):
                await self._waiter
        except TimeoutError:
            raise ConnectionLost(f"nothing came for {silence_s:.3g} s") from None

    def check_open(self) -> None:
        """Raise what ended the stream, if something has."""
        if self.error is not None:
            raise self.error

    def taken(self) -> list[Piece]:
        """All that waits, once."""
        pieces = list(self._pieces)
        self._pieces.clear()
        return pieces

    def let_go(self, marks: list[Mark]) -> None:
        """Append the marks of what nobody has taken."""
        carrier = Carrier("in", self.exchange)
        for piece in self._pieces:
            carrier.beside(piece.start, piece.start + len(piece.data), "envelope", UNREAD, marks)
