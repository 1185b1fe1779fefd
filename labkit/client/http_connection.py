"""HTTP over one counted connection, with each byte told apart: header, framing or body.

``HTTPConnection`` speaks HTTP/1.0 and 1.1 with h11's Sans-I/O parser (RFC 9112), keeps the connection alive and
pipelines when asked to. Which bytes of a body were payload is known to the technique alone, which marks them in
``Body``.

Not here: redirects and decompression. A lab client that hid those would hide what it measures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import h11

from labkit.client.connection import Connection
from labkit.client.ledger import Category, ConnectionRecord
from labkit.errors import ConnectionLost


@dataclass(frozen=True, slots=True)
class Response:
    """Status and header fields of one response (names in lower case)."""

    status: int
    reason: str
    http_version: str
    headers: Mapping[str, str]


class Body:
    """Where each byte of a response body lies in the connection's stream, so that it can be marked later."""

    def __init__(self, record: ConnectionRecord) -> None:
        self._record = record
        self._pieces: deque[tuple[int, int]] = deque()  # (start, stop) in the stream, not yet marked
        self._held: list[bytes] = []

    def add(self, start: int, stop: int) -> None:
        self._pieces.append((start, stop))

    def mark(self, count: int, category: Category, label: str = "", event_id: int | None = None) -> None:
        """Say what the next *count* body bytes are."""
        while count > 0 and self._pieces:
            start, stop = self._pieces.popleft()
            end = min(stop, start + count)
            self._record.mark("in", start, end, category, label, event_id)
            count -= end - start
            if end < stop:
                self._pieces.appendleft((end, stop))

    def hold(self, raw: bytes) -> None:
        """Keep body bytes until it is known what they are."""
        self._held.append(raw)

    def holds_blank_line(self) -> bool:
        """Whether what is kept ends with an empty line; the LF of a CRLF that was cut in two is none."""
        before, last = (b"\n", *self._held)[-2:]
        return last in (b"\n", b"\r", b"\r\n") and before.endswith((b"\n", b"\r")) and before[-1:] + last != b"\r\n"

    def holds_comment(self) -> bool:
        """Whether what is kept is a comment line of an event stream, such as a heartbeat: no event waits for it."""
        return bool(self._held) and self._held[0].startswith(b":") and self._held[-1].endswith((b"\n", b"\r"))

    def held(self) -> bytes:
        """The bytes that were kept, once."""
        raw, self._held = b"".join(self._held), []
        return raw

    def mark_rest(self) -> None:
        """The connection has ended: what was read and never became an event is envelope, since it is no payload."""
        self._held.clear()
        self.mark(self._record.bytes_in, "envelope", "unread")


class HTTPConnection:
    """HTTP/1.x over one counted connection: requests out, responses in, in order."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.record = connection.record
        self.body = Body(connection.record)
        self._h11 = h11.Connection(h11.CLIENT)
        self._ahead: deque[h11.Request] = deque()  # written, not yet announced to h11 (pipelined)
        self._consumed = 0
        self.waiting = 0
        """Requests that have been written and whose responses have not been read to their ends."""

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
        self.waiting += 1
        if self._h11.our_state is h11.IDLE:
            self._announce(request)
        else:
            self._ahead.append(request)
        start = self.record.bytes_out
        self.record.requests += 1
        try:
            await self.connection.write(head + body)
        finally:  # a write that fails has sent a part
            sent = self.record.bytes_out
            middle = min(start + len(head), sent)
            self.record.mark("out", start, middle, "headers", f"{method} {target.partition('?')[0]}")
            self.record.mark("out", middle, sent, "payload", "request body")

    def _announce(self, request: h11.Request) -> None:
        self._h11.send(request)
        if dict(request.headers).get(b"content-length") in (None, b"0"):
            self._h11.send(h11.EndOfMessage())
        else:
            self._h11.send(h11.Data(data=b"\0" * int(dict(request.headers)[b"content-length"])))
            self._h11.send(h11.EndOfMessage())

    async def response(self) -> Response:
        """Read the head of the next response.

        Raises:
            ConnectionLost: the connection ended before it.
        """
        while True:
            event, _ = await self._next()
            if isinstance(event, h11.InformationalResponse) and event.status_code != 101:
                continue
            if isinstance(event, (h11.Response, h11.InformationalResponse)):
                self.record.responses += 1
                if 200 <= event.status_code < 300 or event.status_code == 304:
                    self.connection.accepted()
                return Response(
                    event.status_code,
                    event.reason.decode("latin-1"),
                    event.http_version.decode(),
                    {k.decode(): v.decode("latin-1") for k, v in event.headers},
                )
            raise ConnectionLost("the server closed the connection before answering")

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body of the present response as it arrives. Pieces are reads, not chunks and not events.

        Raises:
            ConnectionLost: cut in the middle of a chunked or counted body. A body ended by the close cannot
                tell a cut from an end (RFC 9112 section 8).
        """
        while True:
            event, data = await self._next()
            if isinstance(event, h11.Data):
                yield data
            else:
                break

    async def read_body(self) -> bytes:
        """The whole body of the present response."""
        return b"".join([piece async for piece in self.pieces()])

    def next_cycle(self) -> bool:
        """Make ready for the next exchange; False when the connection cannot carry another."""
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE and not self.connection.closed:
            self._h11.start_next_cycle()
            self.waiting -= 1
            if self._ahead:
                self._announce(self._ahead.popleft())
            return True
        return False

    @property
    def unparsed(self) -> bytes:
        """Bytes that were read and do not belong to HTTP: what follows a 101."""
        return self._h11.trailing_data[0]

    def close(self, by: str = "client") -> None:
        """End the connection; bytes that were read and are part of nothing whole get their marks."""
        self.connection.close(by)
        self.body.mark_rest()
        self.record.mark("in", self._consumed, self.record.bytes_in, "framing", "unread")
        self._consumed = self.record.bytes_in

    async def _next(self) -> tuple[Any, bytes]:
        """The next h11 event; the bytes it consumed are marked as headers, framing or kept for the body."""
        while True:
            before = len(self._h11.trailing_data[0])
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                self.close(by="server")
                raise ConnectionLost(f"the answer was cut or is not HTTP: {error}") from None
            start = self._consumed
            self._consumed += before - len(self._h11.trailing_data[0])
            data = bytes(event.data) if isinstance(event, h11.Data) else b""
            if isinstance(event, (h11.Response, h11.InformationalResponse)):
                self.record.mark("in", start, self._consumed, "headers", f"{event.status_code}, headers")
            else:
                self.record.mark("in", start, self._consumed - len(data), "framing", "chunk")
                if data:
                    self.body.add(self._consumed - len(data), self._consumed)
            if event is not h11.NEED_DATA:
                if isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                    self.connection.close(by="server")
                return event, data
            received = await self.connection.read()
            self._h11.receive_data(received)
