"""The HTTP exchanges of a recorded connection, read with h11, and its WebSocket messages, with ``wire.frames``.

Not here: a plugin socket, which is not HTTP.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import h11

from labkit.client.ledger import ConnectionRecord, Transfer
from labkit.errors import WireError
from labkit.wire.frames import Frame, FrameDecoder, Message, MessageAssembler
from labkit.wire.spans import Direction


class _Stream:
    """One direction of a connection, read message by message; ``at`` is the offset of the next one."""

    def __init__(self, record: ConnectionRecord, direction: Direction) -> None:
        self.transfers = [t for t in record.transfers if t.direction == direction]
        self.at = self.transfers[0].start if self.transfers else 0
        self._is_ended = record.closed_by == "server"

    @property
    def is_over(self) -> bool:
        return not self.transfers or self.at >= self.transfers[-1].stop

    def _index(self, offset: int) -> int:
        return max(0, bisect_right(self.transfers, offset, key=lambda t: t.start) - 1)

    def t_ns(self, offset: int) -> int:
        """When the byte at *offset* was written or read."""
        return self.transfers[self._index(offset)].t_ns

    def pieces(self) -> Iterator[Transfer]:
        """What there is from ``at`` on, read by read or write by write."""
        for t in self.transfers[self._index(self.at) :]:
            skipped = max(0, self.at - t.start)
            if skipped < len(t.data):
                yield Transfer(t.t_ns, t.direction, t.start + skipped, t.data[skipped:])

    def read(self, parser: h11.Connection) -> list[Any]:
        """The events of one message; ``at`` moves behind it, or to the end of what there is."""
        events: list[Any] = []
        for piece in self.pieces():
            parser.receive_data(piece.data)
            is_whole = _drain(parser, events)
            self.at = piece.stop - (len(parser.trailing_data[0]) if is_whole else 0)
            if is_whole:
                return events
        if self._is_ended and events:  # the close ends a body that has no length (RFC 9112 section 6.3)
            parser.receive_data(b"")
            _drain(parser, events)
        return events


def _drain(parser: h11.Connection, events: list[Any]) -> bool:
    """Move what the parser has to *events*; whether the message is whole."""
    while True:
        try:
            event = parser.next_event()
        except h11.RemoteProtocolError:
            if not events:
                raise
            return False  # cut in the middle of a body
        if event is h11.NEED_DATA:
            return False
        if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
            return True
        events.append(event)
        if isinstance(event, h11.EndOfMessage):
            return True


@dataclass(slots=True)
class Exchange:
    """A request and what came back. Spans are offsets of the two streams; times are the first and last byte's."""

    request: h11.Request
    request_body: bytes
    request_span: tuple[int, int]
    sent_ns: tuple[int, int]
    response: h11.Response | h11.InformationalResponse | None = None
    body: bytes = b""
    span: tuple[int, int] = (0, 0)
    read_ns: tuple[int, int] | None = None
    is_whole: bool = False
    messages: list[CapturedMessage] = field(default_factory=list)
    complaint: str = ""


@dataclass(frozen=True, slots=True)
class CapturedMessage:
    """A WebSocket message or control frame, and when its last byte was written or read."""

    t_ns: int
    direction: Direction
    opcode: int
    data: str | bytes


def exchanges(record: ConnectionRecord) -> tuple[list[Exchange], str]:
    """The exchanges of one connection, and why there are not more if that is not by itself clear."""
    sent, came = _Stream(record, "out"), _Stream(record, "in")
    if record.dropped_bytes and not _resume(record, sent, came):
        return [], "its heads were among the bytes that were let go"
    found: list[Exchange] = []
    while not sent.is_over:
        try:
            exchange = _exchange(sent, came)
        except (h11.RemoteProtocolError, h11.LocalProtocolError):
            exchange = None
        if exchange is None:
            return found, f"what follows {len(found)} exchanges is no whole HTTP request" if found else "not HTTP"
        found.append(exchange)
        if exchange.response is not None and exchange.response.status_code == 101:
            exchange.messages, exchange.complaint = _messages(exchange.response, sent, came)
            break
        if not exchange.is_whole:
            break
    return found, ""


def _resume(record: ConnectionRecord, sent: _Stream, came: _Stream) -> bool:
    """Put both streams at the first request that is held and at its answer, which came no earlier."""
    heads = sorted((m for m in record.marks if m.category == "headers"), key=lambda m: m.start)
    out = [m.start for m in heads if m.direction == "out" and sent.transfers and m.start >= sent.at]
    if not out:
        return False
    asked_ns = sent.t_ns(out[0])
    answers = [m.start for m in heads if m.direction == "in" and came.transfers and m.start >= came.at]
    later = [start for start in answers if came.t_ns(start) >= asked_ns]
    if not later:
        return False
    sent.at, came.at = out[0], later[0]
    return True


def _exchange(sent: _Stream, came: _Stream) -> Exchange | None:
    start = sent.at
    asked = sent.read(h11.Connection(h11.SERVER))
    if not asked or not isinstance(asked[-1], h11.EndOfMessage):
        return None
    request, body = asked[0], _body(asked)
    times = (sent.t_ns(start), sent.t_ns(sent.at - 1))
    exchange = Exchange(request, body, (start, sent.at), times)
    if came.is_over:
        return exchange
    parser, start = _awaiting(request, body), came.at
    answered = came.read(parser)
    heads = [e for e in answered if isinstance(e, h11.Response) or getattr(e, "status_code", 0) == 101]
    exchange.response = heads[-1] if heads else None
    exchange.body, exchange.span = _body(answered), (start, came.at)
    exchange.read_ns = (came.t_ns(start), came.t_ns(came.at - 1))
    exchange.is_whole = any(isinstance(e, h11.EndOfMessage) for e in answered)
    return exchange


def _awaiting(request: h11.Request, body: bytes) -> h11.Connection:
    """A parser that has sent this request, since that decides how its answer is framed."""
    parser = h11.Connection(h11.CLIENT)
    headers = list(request.headers)
    headers += [] if any(name == b"host" for name, _ in headers) else [(b"host", b"-")]  # HTTP/1.0 may leave it out
    parser.send(h11.Request(method=request.method, target=request.target, headers=headers))
    if body:
        parser.send(h11.Data(data=body))
    parser.send(h11.EndOfMessage())
    return parser


def _body(events: list[Any]) -> bytes:
    return b"".join(bytes(event.data) for event in events if isinstance(event, h11.Data))


def _messages(
    response: h11.Response | h11.InformationalResponse, sent: _Stream, came: _Stream
) -> tuple[list[CapturedMessage], str]:
    extensions = b",".join(value for name, value in response.headers if name == b"sec-websocket-extensions").decode()
    found: list[CapturedMessage] = []
    complaint = ""
    sides: tuple[tuple[_Stream, Direction, str], ...] = ((sent, "out", "client"), (came, "in", "server"))
    for stream, direction, side in sides:
        deflated = "permessage-deflate" in extensions
        inflate = _Inflate() if deflated else None
        try:
            found.extend(_messages_one_way(stream, direction, inflate))  # keeps what came before an error
        except (WireError, zlib.error) as error:
            complaint = f"its messages from the {side} end early: {error}"
    return sorted(found, key=lambda message: message.t_ns), complaint


def _messages_one_way(stream: _Stream, direction: Direction, inflate: _Inflate | None) -> Iterator[CapturedMessage]:
    decoder = FrameDecoder(masked=None, reserved=frozenset({"rsv1"} if inflate else ()))
    assembler = MessageAssembler(inflate=inflate)
    for piece in stream.pieces():
        error = None
        try:
            frames = decoder.feed(piece.data)
        except WireError as raised:
            frames, error = decoder.before_error, raised
        for frame in frames:
            item = assembler.feed(frame)
            if isinstance(item, Message):
                yield CapturedMessage(piece.t_ns, direction, 1 if item.text else 2, item.data)
            elif isinstance(item, Frame):
                yield CapturedMessage(piece.t_ns, direction, int(item.opcode), item.payload)
        if error is not None:
            raise error


class _Inflate:
    """Undo permessage-deflate (RFC 7692 section 7.2.2); a sender that drops its context needs nothing else."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(-15)

    def __call__(self, payload: bytes, final: bool) -> bytes:
        data = self._inflater.decompress(payload + (b"\x00\x00\xff\xff" if final else b""))
        if self._inflater.eof:  # a block may say that it is the last one (section 7.2.3.4)
            self._inflater = zlib.decompressobj(-15)
        return data
