"""What one client has of an HTTP/2 connection: its exchanges, asked and read as ``http_connection`` has them.

The connection may be the client's own, and ends with it; or several share it, and only the client's streams end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any

from labkit.client.http2_connection import HTTP2Connection
from labkit.client.http2_fields import request_fields
from labkit.client.http2_stream import HTTP2Stream
from labkit.client.http_connection import MOST_INTERIM, Response, as_it_comes, coded
from labkit.client.wiring import Wiring
from labkit.errors import ConnectionLost, LabkitError, Refused, WireError
from labkit.wire.bodies import Reading, coding_error
from labkit.wire.http1 import Head
from labkit.wire.http2 import VERSION, Places
from labkit.wire.lane import Carrier
from labkit.wire.spans import MAX_ITEM_BYTES, TOO_LONG, UNREAD, Exchange, Mark, Run


class HTTP2Exchanges:
    """Requests out and responses in, in the order in which they were asked.

    Args:
        http2: the connection.
        scheme: ``http`` or ``https``.
        let_go: of a connection that others use as well, what is done when this client leaves it.
        wiring: likewise, whose exchanges these are.
    """

    def __init__(
        self,
        http2: HTTP2Connection,
        scheme: str,
        let_go: Callable[[], None] | None = None,
        wiring: Wiring | None = None,
    ) -> None:
        self.http2 = http2
        self.connection = http2.connection
        self.record = http2.record
        self.received_ns = 0
        self.says_its_end = True
        self._scheme = scheme
        self._let_go = let_go
        self._subscriber = None if wiring is None else wiring.subscriber
        self._ledger = None if wiring is None else wiring.ledger
        self._has_left = False
        self._asked: deque[HTTP2Stream] = deque()
        self._has_body = False

    @property
    def waiting(self) -> int:
        """Requests that have been sent and whose responses have not been read to their ends."""
        return len(self._asked)

    @property
    def exchange(self) -> Exchange:
        """The oldest that is not read to its end."""
        return self._asked[0].exchange

    @property
    def closed(self) -> bool:
        return self._has_left or self.http2.closed

    async def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str | bytes],
        *,
        body: bytes = b"",
        version: str = "1.1",
        protocol: str = "",
    ) -> None:
        """Send one request, beside those that are unanswered.

        Args:
            version: no matter here.
            protocol: of an extended CONNECT (RFC 8441 section 4), which stays open both ways.

        Raises:
            WireError: something in it has no place in a head; nothing was sent.
            ConnectionLost: the connection has ended, or takes no further stream.
        """
        fields = dict(headers)
        if body or method in ("POST", "PUT"):
            fields["Content-Length"] = str(len(body))
        coded_fields = request_fields(method, self._scheme, target, fields, protocol)
        exchange = Exchange(self.record.requests + 1, subscriber=self._subscriber)
        told = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in coded_fields)
        exchange.ask(Head(VERSION, told, 0, method=method, target=target))
        stream = await self.http2.begin(coded_fields, exchange, ends=not body and not protocol)
        self._asked.append(stream)
        if not body:
            return
        try:
            await self.http2.send(stream, body, [(len(body), "payload", "request body", None)], ends=True)
        except ConnectionLost:
            if not stream.has_ended or stream.error is not None:
                raise  # else the answer is whole, and nobody wants the rest (RFC 9113 section 8.1)

    async def answer(self, begins: Any, within_s: float | None = None) -> Any:
        """What *begins* an answer, as long as it may take; after that the stream is left, and no other.

        Raises:
            ConnectionLost: it took longer. Or as *begins* raises.
        """
        try:
            return await self.connection.in_time(begins, within_s)
        except ConnectionLost:
            self.close()
            raise

    async def response(self) -> Response:
        """The head of the next response.

        Raises:
            ConnectionLost: the stream or the connection ended before it.
            WireError: the server broke a rule.
        """
        stream = self._asked[0]
        for _ in range(MOST_INTERIM):
            head = await stream.head()
            if head.status >= 200:
                break
            if head.status == 101:
                raise self._fail(WireError("a change of protocol in HTTP/2", clause="RFC 9113 section 8.6"))
        else:
            ends = f"{MOST_INTERIM} interim answers, and none that ends them"
            raise self._fail(WireError(ends, clause="RFC 9110 section 15.2"))
        exchange = stream.exchange
        exchange.status, exchange.response, self._has_body = head.status, head, True
        self.record.responses += 1
        if head.status < 300 or head.status == 304:
            self.connection.accepted(self._ledger)
        return Response(head.status, "", "2", dict(head.values))

    async def values(self, reading: Reading) -> AsyncGenerator[Any, None]:
        """What the body of the present response says, as it arrives; of one that is no 200, the body as it comes.

        Raises:
            ConnectionLost: the stream was reset, or the connection ended: END_STREAM had not come.
            WireError: the server broke a rule, or the body's coding is broken.
        """
        stream, marks = self._asked[0], list[Mark]()
        if not self._has_body:
            return
        self._has_body, carrier, taken = False, Carrier("in", stream.exchange), None
        try:
            reading = coded(stream.exchange, reading)
            while not stream.exchange.is_whole:
                taken = piece = await stream.piece(self.connection.silence_s)
                if piece is not None:
                    carrier.add(piece.start, piece.start + len(piece.data))
                    self.received_ns = piece.received_ns
                items = reading.end() if piece is None else reading.items(piece.data)
                for _, runs in items:
                    carrier.lay(runs, marks)
                stream.exchange.is_whole = piece is None
                self._put_down(marks)
                for value, _ in items:
                    if value is not None:
                        yield value
                if any(value is None and run[2] == TOO_LONG for value, runs in items for run in runs):
                    raise WireError(f"one item of over {MAX_ITEM_BYTES >> 20} MiB", clause="RFC 9110 section 8.6")
                if (error := coding_error(reading)) is not None:
                    raise error
                if piece is not None:
                    taken = None
                    await self.http2.consumed(stream, piece)
        except LabkitError as error:
            self._fail(error)
            raise
        finally:
            if taken is not None:
                self.http2.give_back(stream, taken)
            carrier.lay_rest("envelope", UNREAD, marks)
            self._put_down(marks)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body of the present response as it arrives, frame by frame."""
        async for piece in self.values(as_it_comes(self.exchange)):
            yield piece

    async def read_body(self) -> bytes:
        """The whole body of the present response."""
        return b"".join([piece async for piece in self.pieces()])

    def next_cycle(self) -> bool:
        """Make ready for the next exchange; False when the connection cannot carry another."""
        if not self._asked or not self.exchange.is_whole:
            return False
        self.http2.leave(self._asked.popleft())
        return not self.closed and self.http2.goes_away is None

    async def is_free(self) -> bool:
        """Whether something can be asked: nothing waits, and the server has neither ended it nor gone away."""
        return not self._asked and not self.closed and self.http2.goes_away is None

    def close(self) -> None:
        """End the connection; where others stay on it, the client's own streams."""
        if self._has_left:
            return
        self._has_left = True
        if self._let_go is None:
            self.http2.close()
        while self._asked:
            self.http2.leave(self._asked.popleft())
        if self._let_go is not None:
            self._let_go()

    def _put_down(self, marks: list[Mark]) -> None:
        self.record.mark_all(marks)
        marks.clear()

    def _fail(self, error: LabkitError) -> LabkitError:
        self.close()
        return error

    # -- RFC 8441 ----------------------------------------------------------------------------------------------------

    async def allow_sockets(self) -> None:
        """Wait until the server has said that it takes an extended CONNECT.

        Raises:
            Refused: it does not.
            ConnectionLost: it did not say in time.
        """
        await self.http2.flush()
        await self.answer(self.http2.settled.wait())
        if self.http2.closed:
            raise self.http2.error or ConnectionLost("the server closed the connection")
        if not self.http2.allows_connect:
            raise Refused(
                "the server takes no WebSocket over HTTP/2: its SETTINGS have no ENABLE_CONNECT_PROTOCOL "
                "(RFC 8441 section 3); ask for http=1"
            )

    def tunnel(self) -> HTTP2Tunnel:
        """What goes on both ways behind an extended CONNECT that was answered with 200."""
        return HTTP2Tunnel(self, self._asked[0])


class HTTP2Tunnel:
    """Bytes of both directions in the DATA of one stream (RFC 8441 section 5)."""

    start = 0
    """The stream's own first byte: where they lie on the connection is known here alone."""

    def __init__(self, exchanges: HTTP2Exchanges, stream: HTTP2Stream) -> None:
        self.exchange = stream.exchange
        self.record = exchanges.record
        self.received_ns = exchanges.connection.received_ns
        self._exchanges, self._stream, self._places = exchanges, stream, Places()

    @property
    def closed(self) -> bool:
        return self._exchanges.closed

    async def read(self) -> bytes:
        """The next bytes; empty when the server has ended the stream.

        Raises:
            ConnectionLost: reset, cut, or nothing came for too long.
        """
        while True:
            piece = await self._stream.piece(self._exchanges.connection.silence_s)
            if piece is None:
                return b""
            self.received_ns = piece.received_ns
            self._places.add(piece.start, len(piece.data))
            await self._exchanges.http2.consumed(self._stream, piece)
            if piece.data:
                return piece.data

    async def write(self, data: bytes, runs: list[Run]) -> None:
        """Write all of *data*. Raises ConnectionLost when the other side is gone."""
        await self._exchanges.http2.send(self._stream, data, runs)

    def put_down(self, marks: list[Mark]) -> None:
        """Put down marks that count from the stream's own first byte."""
        self.record.mark_all(self._places.laid(marks))

    def close(self) -> None:
        self._exchanges.close()
