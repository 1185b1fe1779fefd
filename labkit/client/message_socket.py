"""A counted connection without HTTP: one request, then what the server says until it ends the connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from labkit.client.connection import Connection
from labkit.client.wiring import Wiring
from labkit.errors import WireError
from labkit.wire.bodies import Reading
from labkit.wire.lane import Carrier, Lane
from labkit.wire.spans import MAX_ITEM_BYTES, Exchange, Mark


class MessageSocket:
    """One connection, which is one exchange."""

    def __init__(self, connection: Connection, topic: str) -> None:
        self.connection = connection
        self._exchange = Exchange(1, topic=topic)
        self._lane = Lane("in", lambda: False)

    @classmethod
    async def open(cls, host: str, port: int, wiring: Wiring, topic: str = "") -> MessageSocket:
        """Connect; raises ConnectionLost where nobody listens."""
        return cls(await Connection.open(host, port, wiring), topic)

    async def ask(self, request: bytes) -> None:
        """Write the request. Raises ConnectionLost when the other side is gone."""
        record, marks = self.connection.record, list[Mark]()
        try:
            await self.connection.write(request)
        finally:
            Carrier("out", self._exchange).beside(0, record.carried_out, "envelope", "subscribe", marks)
            record.mark_all(marks)

    async def values(self, reading: Reading) -> AsyncIterator[Any]:
        """What the server says, as it arrives.

        Raises:
            ConnectionLost: the connection was reset.
            WireError: one message is too long for any client.
        """
        lane = self._lane
        lane.begin_body(self._exchange, reading, "close")
        data = await self.connection.answer(self.connection.read())
        while data:
            self.connection.accepted()
            lane.buffer += data
            lane.seen += len(data)
            lane.step()
            self._put_down()
            values, lane.values = lane.values, []
            for _, value in values:
                yield value
            if lane.has_passed_over:
                raise WireError(f"a message of over {MAX_ITEM_BYTES >> 20} MiB", clause="Adobe Flash XMLSocket")
            data = await self.connection.read()

    def close(self) -> None:
        """End the connection; what never became whole gets its marks."""
        self.connection.close()
        self._lane.end()
        self._put_down()

    def _put_down(self) -> None:
        marks, self._lane.marks = self._lane.marks, []
        self.connection.record.mark_all(marks)
