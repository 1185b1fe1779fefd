"""What a client writes over one HTTP/2 connection, in the order in which ``h2`` has made it, and what it was for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from h2.connection import H2Connection

from labkit.client.connection import Connection
from labkit.wire.hpack import runs_of_fields
from labkit.wire.http2 import LARGEST_OF_ALL, Block, Frame, FrameCutter, Kind
from labkit.wire.lane import Carrier
from labkit.wire.spans import UNREAD, Exchange, Mark, Run


class Outgoing:
    """The direction to the server.

    Args:
        h2: makes the bytes.
        exchange_of: whose stream that is; None if it is nobody's any more.
    """

    def __init__(self, connection: Connection, h2: H2Connection, exchange_of: Callable[[int], Exchange | None]) -> None:
        self._connection, self._record, self._h2 = connection, connection.record, h2
        self._exchange_of = exchange_of
        self._cutter = FrameCutter("out", LARGEST_OF_ALL, connection.record.carried_out)  # as the server may allow
        self._unsent = b""
        self._names: deque[tuple[Exchange, list[str]]] = deque()
        self._carried: deque[tuple[Exchange, list[Run]]] = deque()
        self._block: Block | None = None
        self._writing = asyncio.Lock()
        self._has_ended = False

    def head(self, exchange: Exchange, names: list[str]) -> None:
        """The next HEADERS is of that exchange, and has these fields."""
        self._names.append((exchange, names))

    def data(self, exchange: Exchange, runs: list[Run]) -> None:
        """The next DATA is of that exchange, and its bytes are for this."""
        self._carried.append((exchange, runs))

    @property
    def waits(self) -> bool:
        """Whether there is something to write."""
        self._unsent += self._h2.data_to_send()
        return bool(self._unsent)

    async def flush(self) -> None:
        """Write what there is to write.

        Raises:
            ConnectionLost: the other side is gone, takes nothing for too long, or was sent a part of a frame.
        """
        async with self._writing:
            if not self.waits or self._connection.closed:
                return
            data, self._unsent = self._unsent, b""
            start = self._record.carried_out
            try:
                await self._connection.write(data)
            finally:
                self._wrote(data[: self._record.carried_out - start])
                if self._record.carried_out - start < len(data):  # a part of a frame leaves nothing to go on with
                    self._connection.close()

    def say_last(self) -> None:
        """Write what can be written at once, before the end."""
        if self.waits and not self._writing.locked():
            start = self._record.carried_out
            self._connection.say_last(self._unsent)
            self._wrote(self._unsent[: self._record.carried_out - start])

    def end(self, marks: list[Mark]) -> None:
        """Nothing more is written: the marks of what has left in no whole frame. Who writes yet has still to say."""
        self._has_ended = True
        if self._block is not None:
            self._block.carrier.lay_rest("headers", UNREAD, marks)
        self._cutter.end(marks)

    def _wrote(self, data: bytes) -> None:
        marks: list[Mark] = []
        for frame in self._cutter.feed(data, marks):
            self._frame(frame, marks)
        if self._has_ended:
            self.end(marks)
        self._record.mark_all(marks)

    def _frame(self, frame: Frame, marks: list[Mark]) -> None:
        exchange, runs = self._exchange_of(frame.stream), list[Run]()
        if frame.kind == Kind.DATA:
            exchange, runs = self._carried.popleft()
        elif frame.kind == Kind.HEADERS:
            exchange = self._names[0][0]
            self._block = Block("out", exchange, frame)
        frame.beside(Carrier("out", exchange), marks)
        if frame.kind == Kind.DATA:
            carrier = Carrier("out", exchange)
            carrier.add(*frame.place)
            carrier.lay(runs, marks)
        elif self._block is not None and frame.kind in (Kind.HEADERS, Kind.CONTINUATION):
            self._block.add(frame)
            if frame.ends_block:
                names = self._names.popleft()[1]
                self._block.carrier.lay(runs_of_fields(self._block.coded, names), marks)
                self._block = None


def split_runs(runs: Sequence[Run], size: int) -> tuple[list[Run], list[Run]]:
    """The runs of the next *size* bytes, and those of the rest."""
    taken, left = list[Run](), list(runs)
    while size and left:
        count, category, label, event = left.pop(0)
        part = min(count, size)
        taken.append((part, category, label, event))
        size -= part
        if part < count:
            left.insert(0, (count - part, category, label, event))
    return taken, left
