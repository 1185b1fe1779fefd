"""HTTP over one counted connection: what an answer's body said, and in the ledger what each byte was for.

``HTTPConnection`` speaks HTTP/1.0 and 1.1, keeps the connection alive and pipelines when asked to. Heads and bodies are
read once, by the decoders of ``wire``, which say both. What breaks a rule ends the connection with a ``WireError`` that
names the clause; what was cut, with a ``ConnectionLost``.

Not here: redirects (``http.py``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from labkit.client.connection import Connection
from labkit.errors import ConnectionLost, WireError
from labkit.wire.bodies import AsItComes, Reading, coding_error, codings_of, decoded
from labkit.wire.chunk_lines import INCOMPLETE
from labkit.wire.codings import BROUGHT_BY, CODINGS, is_readable
from labkit.wire.http1 import Head, body_length, head_end, read_response, request_head
from labkit.wire.lane import Carrier, Lane
from labkit.wire.spans import MAX_ITEM_BYTES, Exchange, Mark

NOT_READ = "a coding that is not read here"
MOST_INTERIM = 100
"""How many interim answers are passed over for one request."""
_NO_HTTP = b"HTTP/1."
_SETTINGS = b"\x04\0\0\0\0\0"  # in the head of the frame that a server of HTTP/2 begins with


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
        self._asked: deque[Exchange] = deque()  # the first is the one that is being answered
        self._lane = Lane("in", _nothing_yet)
        self._lane.at = self._lane.seen = connection.begins_in
        self._length: int | str | None = None
        """Of a body whose head has been read, and that nobody has begun to read."""

    @property
    def waiting(self) -> int:
        """Requests that have been written and whose responses have not been read to their ends."""
        return len(self._asked)

    @property
    def closed(self) -> bool:
        return self.connection.closed

    @property
    def received_ns(self) -> int:
        """When the read returned that brought the newest of what was said."""
        return self.connection.received_ns

    async def answer(self, begins: Any, within_s: float | None = None) -> Any:
        """What *begins* an answer, as long as it may take: see :meth:`Connection.answer`."""
        return await self.connection.answer(begins, within_s)

    @property
    def says_its_end(self) -> bool:
        """Whether the body of the present response has another end than that of the connection."""
        return self._length != "close"

    async def request(
        self, method: str, target: str, headers: Mapping[str, str | bytes], *, body: bytes = b"", version: str = "1.1"
    ) -> None:
        """Write one request. While an earlier one is unanswered, the new one is pipelined behind it.

        Raises:
            WireError: something in it has no place in a head; nothing was sent.
            ConnectionLost: the other side is gone.
        """
        fields = list(headers.items())
        if body or method in ("POST", "PUT"):
            fields.append(("Content-Length", str(len(body))))
        head = request_head(method, target, fields, version)
        self.record.requests += 1
        exchange = Exchange(self.record.requests)
        told = tuple((name, v if isinstance(v, str) else v.decode("latin-1")) for name, v in fields)
        exchange.ask(Head(f"HTTP/{version}", told, len(head), method=method, target=target))
        self._asked.append(exchange)
        label = f"{method} {exchange.path}{', upgrade' * self._changes(exchange)}"
        start, marks, carrier = self.record.carried_out, list[Mark](), Carrier("out", exchange)
        try:
            await self.connection.write(head + body)
        finally:  # a write that fails has sent a part
            sent = self.record.carried_out
            middle = min(start + len(head), sent)
            carrier.beside(start, middle, "headers", label, marks)
            carrier.beside(middle, sent, "payload", "request body", marks)
            self.record.mark_all(marks)

    async def response(self) -> Response:
        """Read the head of the next response.

        Raises:
            ConnectionLost: the connection ended before it.
            WireError: it is not HTTP, or not an answer to what was asked.
        """
        exchange = self._asked[0]
        for _ in range(MOST_INTERIM):
            head = await self._head(exchange)
            if head.status >= 200 or (head.status == 101 and self._changes(exchange)):
                return self._answered(exchange, head)
            if head.status == 101:
                raise self._broken("the protocol was changed, and nobody has asked for it", "RFC 9110 section 15.2.2")
        raise self._broken(f"{MOST_INTERIM} interim answers, and none that ends them", "RFC 9110 section 15.2")

    async def _head(self, exchange: Exchange) -> Head:
        lane, searched = self._lane, 0
        while True:
            try:
                size = head_end(lane.buffer, searched)
                head = None if size is None else read_response(bytes(lane.buffer[:size]))
            except WireError as error:
                raise self._fail(error) from None
            if head is not None:
                lane.mark_head(head.size_bytes, f"{head.status}, headers", exchange)
                return head
            begins = bytes(lane.buffer[: len(_NO_HTTP) + 4]).lstrip(b"\r\n")[: len(_NO_HTTP)]
            if not _NO_HTTP.startswith(begins):
                if lane.buffer[3:9] == _SETTINGS:
                    raise self._broken("the server speaks HTTP/2 alone: ask for http=2", "RFC 9113 section 3.4")
                raise self._broken(f"not a status line: {bytes(lane.buffer[:60])!r}", "RFC 9112 section 4")
            searched = len(lane.buffer)
            if not await self._read():
                begun = "in the middle of an answer's head" if searched else "before answering"
                raise self._cut(f"the server closed the connection {begun}")

    @staticmethod
    def _changes(exchange: Exchange) -> bool:
        """Whether it asks to change the protocol."""
        return exchange.request is not None and "upgrade" in exchange.request.values

    def _answered(self, exchange: Exchange, head: Head) -> Response:
        exchange.status, exchange.response = head.status, head
        self.record.http_version = head.version.removeprefix("HTTP/")
        try:
            self._length = body_length(head, exchange.method)
        except WireError as error:
            raise self._fail(error) from None
        told = {} if exchange.method == "CONNECT" and head.status < 300 else head.values  # RFC 9110 section 9.3.6
        coding = told.get("transfer-encoding", "chunked").strip().lower()
        if self._length and (coding != "chunked" or ("transfer-encoding" in told and self._length != "chunked")):
            raise self._broken(f"a transfer coding that was not asked for: {coding[:40]!r}", "RFC 9112 section 6.1")
        exchange.is_whole = not self._length and head.status != 101
        self.record.responses += 1
        if head.status < 300 or head.status == 304:
            self.connection.accepted()
        self._put_down()
        fields = {name.lower(): value for name, value in head.fields}
        return Response(head.status, head.reason, head.version.removeprefix("HTTP/"), fields)

    async def values(self, reading: Reading) -> AsyncGenerator[Any, None]:
        """What the body of the present response says, as it arrives; of one that is no 200, the body as it comes.

        Raises:
            ConnectionLost: cut in the middle of a chunked, counted or coded body. Another body ended by the close
                cannot tell a cut from an end (RFC 9112 section 8).
            WireError: its chunks, its coding or its length break a rule.
        """
        exchange, lane = self._asked[0], self._lane
        assert exchange.response is not None
        if self._length:
            try:
                reading = coded(exchange, reading)
            except WireError as refused:
                raise self._fail(refused) from None
            lane.begin_body(exchange, reading, self._length, _nothing_yet)
        ends_by_close, self._length = self._length == "close", None
        while not exchange.is_whole:
            if not lane.buffer and not await self._read():
                lane.end()
            while lane.buffer and lane.step():
                pass
            self._put_down()
            values, lane.values = lane.values, []
            for _, value in values:
                yield value
            if lane.error is not None:
                raise self._fail(lane.error)
            if lane.is_lost and not exchange.is_whole:
                raise self._cut(f"its body had not ended ({INCOMPLETE})")
            if lane.has_passed_over:
                raise self._broken(f"one item of over {MAX_ITEM_BYTES >> 20} MiB", "RFC 9110 section 8.6")
            if (error := coding_error(reading)) is not None:
                raise self._cut(error) if ends_by_close and exchange.is_whole else self._fail(error)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body of the present response as it arrives. Pieces are reads, not chunks and not events."""
        async for piece in self.values(as_it_comes(self.exchange)):
            yield piece

    async def read_body(self) -> bytes:
        """The whole body of the present response."""
        return b"".join([piece async for piece in self.pieces()])

    def next_cycle(self) -> bool:
        """Make ready for the next exchange; False when the connection cannot carry another.

        What has come beyond the last answer is not the answer to what is asked next (RFC 9112 section 9.2).
        """
        exchange = self._asked[0] if self._asked else None
        if exchange is None or not exchange.is_whole or self._lane.is_lost or self.connection.closed:
            return False
        assert exchange.request is not None and exchange.response is not None
        said = exchange.response
        if said.version == "HTTP/1.0" or any(head.has("connection", "close") for head in (exchange.request, said)):
            return False
        if said.values.keys() >= {"transfer-encoding", "content-length"}:  # RFC 9112 section 6.3
            return False
        self._asked.popleft()
        return bool(self._asked) or not self._lane.buffer

    async def is_free(self) -> bool:
        """Whether something can be asked: nothing waits, and the server has neither ended it nor spoken unasked."""
        if self._asked or self._lane.buffer or self.connection.ended:
            return False
        if self.connection.speaks:
            await self._read()  # it is no answer (RFC 9112 section 9.2), and is put down as it came
            return False
        return True

    @property
    def exchange(self) -> Exchange:
        """The oldest that is not read to its end."""
        return self._asked[0]

    def taken_over(self) -> tuple[int, bytes]:
        """After a change of protocol: where the first byte behind it lies, and what has come of them."""
        lane = self._lane
        start, lane.at = lane.at, lane.seen
        return start, lane.taken()

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
        return ConnectionLost(f"the answer was cut: {why}")

    def _broken(self, what: str, clause: str) -> WireError:
        return self._fail(WireError(what, clause=clause))

    def _fail(self, error: WireError) -> WireError:
        self.close()
        return error


def as_it_comes(exchange: Exchange) -> Reading:
    """Of an answer that is handed over as it arrives; to anything but a GET it carries no event."""
    return AsItComes() if exchange.method == "GET" else AsItComes(f"answer to {exchange.method}", "envelope")


def coded(exchange: Exchange, reading: Reading) -> Reading:
    """*reading* behind the coding of an answer's body; a refusal's words are handed over as they come.

    Raises:
        WireError: a coding that nobody has asked for.
    """
    assert exchange.response is not None
    coding = exchange.response.values.get("content-encoding", "")
    if exchange.status != 200:
        return decoded(AsItComes(f"body of a {exchange.status}", "envelope"), coding)
    for name in codings_of(coding):
        if not is_readable(name):
            asked = exchange.request is not None and name in exchange.request.values.get("accept-encoding", "").lower()
            how = f"{NOT_READ}: {name[:40]!r}{f', without {BROUGHT_BY}' * (name in CODINGS)}"
            unasked = f"a coding that nobody has asked for: {name[:40]!r}"
            raise WireError(how if asked else unasked, clause="RFC 9110 section 8.4.1")
    return decoded(reading, coding)


def _nothing_yet() -> bool:
    """The step between two bodies: heads are read when they are asked for."""
    return False
