"""How a connection, or a stream of it, becomes a WebSocket: by Upgrade (RFC 6455 section 4), by CONNECT (RFC 8441)."""

from __future__ import annotations

import os
from typing import Protocol

from labkit.client.http import refuse_unless, words
from labkit.client.http_connection import HTTPConnection, Response
from labkit.client.ledger import ConnectionRecord
from labkit.client.redirects import refuse_to_be_led
from labkit.client.speaking import Exchanges
from labkit.wire import handshake
from labkit.wire.http1 import PROTOCOL
from labkit.wire.lane import Carrier
from labkit.wire.spans import Exchange, Mark, Run


class Pipe(Protocol):
    """Bytes of both directions, behind the handshake.

    Attributes:
        start: where the first one that comes lies, as far as its reader knows.
        received_ns: when the newest read returned.
    """

    exchange: Exchange
    start: int
    record: ConnectionRecord

    @property
    def received_ns(self) -> int: ...

    @property
    def closed(self) -> bool: ...

    async def read(self) -> bytes:
        """The next bytes; empty when the other side has ended. Raises ConnectionLost."""

    async def write(self, data: bytes, runs: list[Run]) -> None:
        """Write all of *data*, and put down what it was for, as far as it has left. Raises ConnectionLost."""

    def put_down(self, marks: list[Mark]) -> None:
        """Put down what bytes that came were for."""

    def close(self) -> None: ...


class Upgraded:
    """A whole connection, behind a change of protocol."""

    def __init__(self, http: HTTPConnection) -> None:
        self.exchange = http.exchange
        self.start, self.first = http.taken_over()
        self._connection = http.connection
        self.record = http.record

    @property
    def received_ns(self) -> int:
        return self._connection.received_ns

    @property
    def closed(self) -> bool:
        return self._connection.closed

    async def read(self) -> bytes:
        return await self._connection.read()

    async def write(self, data: bytes, runs: list[Run]) -> None:
        start, marks, carrier = self.record.carried_out, list[Mark](), Carrier("out", self.exchange)
        try:
            await self._connection.write(data)
        finally:  # a write that fails has sent a part
            for size, category, label, _ in runs:
                stop = min(start + size, self.record.carried_out)
                carrier.beside(start, stop, category, label, marks)
                start = stop
            self.record.mark_all(marks)

    def put_down(self, marks: list[Mark]) -> None:
        self.record.mark_all(marks)

    def close(self) -> None:
        self._connection.close()


async def shaken(
    http: Exchanges, authority: str, path: str, fields: dict[str, str], *, deflate: bool
) -> tuple[Pipe, bytes, bool]:
    """Shake hands: what goes on from there, what has come of it already, and whether messages may be deflated.

    Raises:
        Refused: any answer but the one that agrees.
        WireError: one that agrees and breaks the rules.
        ConnectionLost: the connection ended before that.
    """
    if not isinstance(http, HTTPConnection):
        await http.allow_sockets()
        asked = handshake.asked_of_stream(authority, deflate=deflate)
        await http.request("CONNECT", path, {**asked, **fields}, protocol=PROTOCOL)
        await _agreed(http, await http.answer(http.response()), 200)
        assert http.exchange.request is not None and http.exchange.response is not None
        return http.tunnel(), b"", handshake.agreed_on_stream(http.exchange.request, http.exchange.response)
    await http.request("GET", path, {**handshake.asked(authority, os.urandom(16), deflate=deflate), **fields})
    await _agreed(http, await http.answer(http.response()), 101)
    exchange = http.exchange
    assert exchange.request is not None and exchange.response is not None
    deflated, pipe = handshake.agreed(exchange.request, exchange.response), Upgraded(http)
    return pipe, pipe.first, deflated


async def _agreed(http: Exchanges, response: Response, status: int) -> None:
    if response.status != status:
        refuse_to_be_led(response.status, response.headers)
        refuse_unless(response, (), await words(http))
