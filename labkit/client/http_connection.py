"""HTTP over one counted connection: what an answer's body said, and in the ledger what each byte was for.

``HTTPConnection`` speaks HTTP/1.0 and 1.1, keeps the connection alive and pipelines when asked to. h11 checks requests
and reads the heads of answers (RFC 9112); bodies are read once, by the decoders of ``wire``, which say both.

Not here: redirects and decompression. A lab client that hid those would hide what it measures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import h11

from labkit.client.connection import Connection
from labkit.errors import ConnectionLost, WireError
from labkit.wire.bodies import AsItComes, Reading, Whole
from labkit.wire.http1 import Head, body_length
from labkit.wire.lane import Carrier, Lane
from labkit.wire.spans import Exchange, Mark


@dataclass(frozen=True, slots=True)
class Response:
    """Status and header fields of one response (names in lower case)."""

    status: int
    reason: str
    http_version: str
    headers: Mapping[str, str]


class HTTPConnection:
    """HTTP/1.x over one counted connection: requests out, responses in, in order."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.record = connection.record
        self._asked: deque[tuple[Exchange, h11.Request]] = deque()  # the first is the one that is being answered
        self._lane = Lane("in", _nothing_yet)
        self._length: int | str | None = None
        """Of a body whose head has been read, and that nobody has begun to read."""

    @property
    def waiting(self) -> int:
        """Requests that have been written and whose responses have not been read to their ends."""
        return len(self._asked)

    async def request(
        self, method: str, target: str, headers: Mapping[str, str], *, body: bytes = b"", version: str = "1.1"
    ) -> None:
        """Write one request. While an earlier one is unanswered, the new one is pipelined behind it."""
        fields = list(headers.items())
        if body or method in ("POST", "PUT"):
            fields.append(("Content-Length", str(len(body))))
        request = h11.Request(method=method, target=target, headers=fields)
        head = b"".join(
            [f"{method} {target} HTTP/{version}\r\n".encode("ascii")]
            + [f"{name}: {value}\r\n".encode("latin-1") for name, value in fields]
            + [b"\r\n"]
        )
        self.record.requests += 1
        exchange = Exchange(self.record.requests)
        exchange.ask(Head(f"HTTP/{version}", tuple(fields), len(head), method=method, target=target))
        self._asked.append((exchange, request))
        start, marks, carrier = self.record.bytes_out, list[Mark](), Carrier("out", exchange)
        try:
            await self.connection.write(head + body)
        finally:  # a write that fails has sent a part
            sent = self.record.bytes_out
            middle = min(start + len(head), sent)
            carrier.beside(start, middle, "headers", f"{method} {exchange.path}", marks)
            carrier.beside(middle, sent, "payload", "request body", marks)
            self.record.mark_all(marks)

    async def response(self) -> Response:
        """Read the head of the next response.

        Raises:
            ConnectionLost: the connection ended before it, or it is not HTTP.
        """
        exchange, request = self._asked[0]
        parser, lane = h11.Connection(h11.CLIENT), self._lane
        parser.send(request)
        if lane.buffer:
            parser.receive_data(bytes(lane.buffer))
        while True:
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError as error:
                raise self._cut(error) from None
            if event is h11.NEED_DATA:
                parser.receive_data(await self._read())
                continue
            if not isinstance(event, (h11.Response, h11.InformationalResponse)):
                raise ConnectionLost("the server closed the connection before answering")
            lane.mark_head(len(lane.buffer) - len(parser.trailing_data[0]), f"{event.status_code}, headers", exchange)
            if isinstance(event, h11.Response):
                return self._answered(exchange, event)

    def _answered(self, exchange: Exchange, event: h11.Response) -> Response:
        fields = tuple((name.decode(), value.decode("latin-1")) for name, value in event.headers)
        version, reason = event.http_version.decode(), event.reason.decode("latin-1")
        head = Head(f"HTTP/{version}", fields, 0, status=event.status_code, reason=reason)
        exchange.status, exchange.response = head.status, head
        try:
            self._length = body_length(head, exchange.method)
        except WireError as error:
            raise self._cut(error) from None
        exchange.is_whole = not self._length
        self.record.responses += 1
        if head.status < 300 or head.status == 304:
            self.connection.accepted()
        self._put_down()
        return Response(head.status, reason, version, dict(fields))

    async def values(self, reading: Reading) -> AsyncIterator[Any]:
        """What the body of the present response says, as it arrives; of one that is no 200, the body as it is.

        Raises:
            ConnectionLost: cut in the middle of a chunked or counted body. A body ended by the close cannot
                tell a cut from an end (RFC 9112 section 8).
        """
        exchange, lane = self._asked[0][0], self._lane
        if self._length:
            no_event = None if exchange.status == 200 else Whole(f"body of a {exchange.status}", "envelope")
            lane.begin_body(exchange, no_event or reading, self._length, _nothing_yet)
            self._length = None
        while not exchange.is_whole:
            if not lane.buffer and not await self._read():
                lane.end()
            while lane.buffer and lane.step():
                pass
            self._put_down()
            values, lane.values = lane.values, []
            for _, value in values:
                yield value
            if lane.is_lost and not exchange.is_whole:
                raise self._cut(exchange.complaint or "its body had not ended")

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body of the present response as it arrives. Pieces are reads, not chunks and not events."""
        method = self._asked[0][0].method
        raw = AsItComes() if method == "GET" else AsItComes(f"answer to {method}", "envelope")
        async for piece in self.values(raw):
            yield piece

    async def read_body(self) -> bytes:
        """The whole body of the present response."""
        return b"".join([piece async for piece in self.pieces()])

    def next_cycle(self) -> bool:
        """Make ready for the next exchange; False when the connection cannot carry another."""
        exchange = self._asked[0][0] if self._asked else None
        if exchange is None or not exchange.is_whole or self._lane.is_lost or self.connection.closed:
            return False
        assert exchange.request is not None and exchange.response is not None
        if exchange.response.version == "HTTP/1.0" or any(
            head.has("connection", "close") for head in (exchange.request, exchange.response)
        ):
            return False
        self._asked.popleft()
        return True

    def close(self, by: str = "client") -> None:
        """End the connection; bytes that were read and are part of nothing whole get their marks."""
        self.connection.close(by)
        self._lane.give_up(None, "")
        self._put_down()

    async def _read(self) -> bytes:
        data = await self.connection.read()
        self._lane.buffer += data
        self._lane.seen += len(data)
        return data

    def _put_down(self) -> None:
        marks, self._lane.marks = self._lane.marks, []
        self.record.mark_all(marks)

    def _cut(self, why: object) -> ConnectionLost:
        self.close(by="server")
        return ConnectionLost(f"the answer was cut or is not HTTP: {why}")


def _nothing_yet() -> bool:
    """The step between two bodies: heads are read when they are asked for."""
    return False
