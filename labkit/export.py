"""A run's connections for other people's tools: a capture for Wireshark, an archive for a browser's.

``to_pcapng`` writes each client connection as the packets that would carry its stream. Payload bytes and times
are those of the ledger; the IP and TCP headers are synthetic, and the file says so. ``to_har`` derives HTTP
exchanges from the same bytes with h11, and WebSocket messages with ``wire.frames``.

Not here: relays' captures (the same streams again), and a plugin socket in the HAR (it is not HTTP).
"""

from __future__ import annotations

import base64
import ipaddress
import json
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import h11

from labkit.errors import WireError
from labkit.ledger import ConnectionRecord, Direction, Transfer

if TYPE_CHECKING:
    from labkit.runs import Run

LINKTYPE_RAW = 101  # packets begin with their IP header
_SYNTHETIC = (
    "Payload bytes and times were recorded by labkit at the client's socket. All IP and TCP headers, the handshakes, "
    "acknowledgements and segment boundaries in this file are synthetic."
)
_FIN, _SYN, _RST, _PSH, _ACK = 1, 2, 4, 8, 16
_LARGEST_SEGMENT = 65_495  # with 40 bytes of headers as large as an IPv4 packet gets
_WINDOW_SHIFT = 7


def to_pcapng(run: Run, path: str | Path) -> Path:
    """Write the run's client connections as a pcapng capture (draft-ietf-opsawg-pcapng), times in nanoseconds."""
    mss = min(run.settings.get("mss") or _LARGEST_SEGMENT, _LARGEST_SEGMENT)
    packets = [packet for record in run.ledger.of() for packet in _Conversation(record, mss).packets()]
    packets.sort(key=lambda packet: packet.t_ns)  # stable: packets of one moment stay in their order
    path = Path(path)
    with path.open("wb") as file:
        file.write(_section_header() + _interface())
        for packet in packets:
            file.write(_enhanced_packet(packet, run.wall_ns(packet.t_ns)))
    return path


@dataclass(frozen=True, slots=True)
class _Packet:
    t_ns: int
    data: bytes
    comment: str = ""


@dataclass(slots=True)
class _End:
    """One end of a connection: its address, and its next sequence number as an offset of its stream."""

    host: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int
    first_seq: int
    offset: int = -1  # the SYN takes the number before the first byte
    packets: int = 0

    @property
    def seq(self) -> int:
        return (self.first_seq + 1 + self.offset) & 0xFFFFFFFF


class _Conversation:
    """The packets of one connection, as its client saw them."""

    def __init__(self, record: ConnectionRecord, mss: int) -> None:
        self._record = record
        self._mss = mss
        self._client = _End(_address(record.local[0]), record.local[1], 0x1000_0000)
        self._server = _End(_address(record.remote[0]), record.remote[1], 0x2000_0000)
        self._t_ns = record.opened_ns

    def packets(self) -> list[_Packet]:
        record = self._record
        made = list(self._resumed() if record.dropped_bytes else self._handshake())
        for transfer in record.transfers:
            made += self._data(transfer)
        made += self._end()
        who = f"{record.technique}, subscriber {record.subscriber}"
        if record.dropped_bytes:
            who += (
                f". Starts later: of this connection only the newest {record.held_bytes} bytes were kept, "
                f"{record.dropped_bytes} earlier ones were let go."
            )
            made = made or [self._packet(self._client, _ACK)]
        return [_Packet(made[0].t_ns, made[0].data, who), *made[1:]] if made else []

    def _handshake(self) -> Iterator[_Packet]:
        client, server = self._client, self._server
        yield self._packet(client, _SYN)
        client.offset = 0
        if self._record.connected_ns is None and not self._record.transfers:
            return
        self._at(self._record.connected_ns)
        yield self._packet(server, _SYN | _ACK)
        server.offset = 0
        yield self._packet(client, _ACK)

    def _resumed(self) -> Iterator[_Packet]:
        record = self._record
        for end, direction, total in ((self._client, "out", record.bytes_out), (self._server, "in", record.bytes_in)):
            end.offset = next((t.start for t in record.transfers if t.direction == direction), total)
        yield from ()

    def _data(self, transfer: Transfer) -> Iterator[_Packet]:
        self._at(transfer.t_ns)
        sender, receiver = self._ends(transfer.direction)
        for at in range(0, len(transfer.data), self._mss):
            segment = transfer.data[at : at + self._mss]
            is_last = at + self._mss >= len(transfer.data)
            yield self._packet(sender, _ACK | (_PSH if is_last else 0), segment)
            sender.offset += len(segment)
        yield self._packet(receiver, _ACK)

    def _end(self) -> Iterator[_Packet]:
        if self._record.closed_ns is None:
            return
        self._at(self._record.closed_ns)
        first, second = self._ends("out" if self._record.closed_by == "client" else "in")
        if self._record.closed_by == "reset" or self._server.offset < 0:
            yield self._packet(first, _RST | _ACK)
            return
        yield self._packet(first, _FIN | _ACK)
        first.offset += 1
        yield self._packet(second, _FIN | _ACK)
        second.offset += 1
        yield self._packet(first, _ACK)

    def _at(self, t_ns: int | None) -> None:
        self._t_ns = max(self._t_ns, t_ns or 0)

    def _ends(self, direction: Direction) -> tuple[_End, _End]:
        return (self._client, self._server) if direction == "out" else (self._server, self._client)

    def _packet(self, sender: _End, flags: int, data: bytes = b"") -> _Packet:
        receiver = self._server if sender is self._client else self._client
        sender.packets += 1
        return _Packet(self._t_ns, _ip(sender, receiver, _tcp(sender, receiver, flags, data, self._mss)))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(host.partition("%")[0])


def _tcp(sender: _End, receiver: _End, flags: int, data: bytes, mss: int) -> bytes:
    """One segment (RFC 9293 section 3.1), checksum included; a SYN offers MSS and window scale."""
    options = struct.pack("!BBHBBBB", 2, 4, mss, 1, 3, 3, _WINDOW_SHIFT) if flags & _SYN else b""
    ack = receiver.seq if flags & _ACK else 0
    offset_and_flags = (5 + len(options) // 4) << 12 | flags
    head = struct.pack("!HHIIHHHH", sender.port, receiver.port, sender.seq, ack, offset_and_flags, 65535, 0, 0)
    segment = head + options + data
    pseudo = sender.host.packed + receiver.host.packed
    pseudo += (
        struct.pack("!BBH", 0, 6, len(segment)) if sender.host.version == 4 else struct.pack("!II", len(segment), 6)
    )
    return segment[:16] + struct.pack("!H", checksum(pseudo + segment)) + segment[18:]


def _ip(sender: _End, receiver: _End, segment: bytes) -> bytes:
    """An IPv4 packet (RFC 791) or IPv6 packet (RFC 8200)."""
    addresses = sender.host.packed + receiver.host.packed
    if sender.host.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(segment), 6, 64) + addresses + segment
    identity = sender.packets & 0xFFFF
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), identity, 0x4000, 64, 6, 0) + addresses
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + segment


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071): the complement of the sum of 16-bit words, carries added back."""
    if len(data) % 2:
        data += b"\0"
    whole = int.from_bytes(data, "big")
    total = whole % 0xFFFF  # 2**16 is 1 modulo 2**16 - 1, so that the carries come back by themselves
    return 0 if whole and not total else 0xFFFF - total


def _block(kind: int, body: bytes) -> bytes:
    size = 12 + len(body)
    return struct.pack("<II", kind, size) + body + struct.pack("<I", size)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


_END_OF_OPTIONS = struct.pack("<HH", 0, 0)


def _section_header() -> bytes:
    options = _option(1, _SYNTHETIC.encode()) + _option(4, b"labkit") + _END_OF_OPTIONS
    return _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + options)


def _interface() -> bytes:
    options = _option(2, b"labkit") + _option(9, b"\x09") + _END_OF_OPTIONS  # if_name, if_tsresol: 10**-9 s
    return _block(1, struct.pack("<HHI", LINKTYPE_RAW, 0, 0) + options)


def _enhanced_packet(packet: _Packet, wall_ns: int) -> bytes:
    size, wall_ns = len(packet.data), max(0, wall_ns)
    body = struct.pack("<IIIII", 0, (wall_ns >> 32) & 0xFFFFFFFF, wall_ns & 0xFFFFFFFF, size, size)
    comment = _option(1, packet.comment.encode()) + _END_OF_OPTIONS if packet.comment else b""
    return _block(6, body + packet.data + b"\0" * (-size % 4) + comment)


def to_har(run: Run, path: str | Path) -> Path:
    """Write the run's HTTP exchanges as HAR 1.2, WebSocket messages as ``_webSocketMessages``.

    An exchange that had not ended is an entry of what had come. What has no entry is counted in the log's comment.
    """
    entries: list[dict[str, Any]] = []
    left_out: list[str] = []
    for record in run.ledger.of():
        found, complaint = _exchanges(record)
        entries += [_entry(run, record, exchange, i == 0) for i, exchange in enumerate(found)]
        left_out += [f"{record.technique}, port {record.local[1]}: {complaint}"] if complaint else []
    entries.sort(key=lambda entry: entry["startedDateTime"])
    version = run.versions.get("labkit", "0")
    log = {"version": "1.2", "creator": {"name": "labkit", "version": version}, "pages": [], "entries": entries}
    if left_out:
        log["comment"] = "Left out: " + "; ".join(left_out)
    path = Path(path)
    path.write_text(json.dumps({"log": log}, ensure_ascii=False, indent=1), encoding="utf-8")
    return path


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
class _Exchange:
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
    messages: list[_Message] = field(default_factory=list)
    complaint: str = ""


@dataclass(frozen=True, slots=True)
class _Message:
    t_ns: int
    direction: Direction
    opcode: int
    data: str | bytes


def _exchanges(record: ConnectionRecord) -> tuple[list[_Exchange], str]:
    """The exchanges of one connection, and why there are not more if that is not by itself clear."""
    sent, came = _Stream(record, "out"), _Stream(record, "in")
    if record.dropped_bytes and not _resume(record, sent, came):
        return [], "its heads were among the bytes that were let go"
    found: list[_Exchange] = []
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


def _exchange(sent: _Stream, came: _Stream) -> _Exchange | None:
    start = sent.at
    asked = sent.read(h11.Connection(h11.SERVER))
    if not asked or not isinstance(asked[-1], h11.EndOfMessage):
        return None
    request, body = asked[0], _body(asked)
    times = (sent.t_ns(start), sent.t_ns(sent.at - 1))
    exchange = _Exchange(request, body, (start, sent.at), times)
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
) -> tuple[list[_Message], str]:
    extensions = b",".join(value for name, value in response.headers if name == b"sec-websocket-extensions").decode()
    found: list[_Message] = []
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


def _messages_one_way(stream: _Stream, direction: Direction, inflate: _Inflate | None) -> Iterator[_Message]:
    from labkit.wire.frames import Frame, FrameDecoder, Message, MessageAssembler

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
                yield _Message(piece.t_ns, direction, 1 if item.text else 2, item.data)
            elif isinstance(item, Frame):
                yield _Message(piece.t_ns, direction, int(item.opcode), item.payload)
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


def _entry(run: Run, record: ConnectionRecord, exchange: _Exchange, is_first: bool) -> dict[str, Any]:
    timings = _timings(record, exchange, is_first)
    begin_ns = record.opened_ns if timings["connect"] >= 0 else exchange.sent_ns[0]
    notes = [f"{record.technique}, subscriber {record.subscriber}", exchange.complaint]
    if not exchange.is_whole and not exchange.messages:
        notes.append("the answer had not ended" if exchange.response is not None else "not answered")
    entry: dict[str, Any] = {
        "startedDateTime": datetime.fromtimestamp(run.wall_ns(begin_ns) / 1e9, UTC).isoformat(timespec="microseconds"),
        "time": sum(value for value in timings.values() if value >= 0),
        "request": _har_request(record, exchange),
        "response": _har_response(record, exchange),
        "cache": {},
        "timings": timings,
        "serverIPAddress": record.remote[0],
        "connection": str(record.local[1]),
        "comment": "; ".join(filter(None, notes)),
    }
    if exchange.response is not None and exchange.response.status_code == 101:
        entry["_resourceType"] = "websocket"
        entry["_webSocketMessages"] = [_har_message(run, message) for message in exchange.messages]
    return entry


def _timings(record: ConnectionRecord, exchange: _Exchange, is_first: bool) -> dict[str, float]:
    connected_ns = record.connected_ns if is_first and not record.dropped_bytes else None
    sent_ns = exchange.sent_ns
    ended_ns = max(t.t_ns for t in record.transfers) if record.closed_ns is None else record.closed_ns
    read_ns = exchange.read_ns or (ended_ns, ended_ns)
    return {
        "blocked": -1.0,
        "dns": -1.0,
        "connect": -1.0 if connected_ns is None else (connected_ns - record.opened_ns) / 1e6,
        "send": (sent_ns[1] - sent_ns[0]) / 1e6,
        "wait": max(0, read_ns[0] - sent_ns[1]) / 1e6,
        "receive": (read_ns[1] - read_ns[0]) / 1e6,
        "ssl": -1.0,
    }


def _har_request(record: ConnectionRecord, exchange: _Exchange) -> dict[str, Any]:
    request, size = exchange.request, exchange.request_span[1] - exchange.request_span[0]
    headers = _har_headers(request.headers)
    values = {field["name"].lower(): field["value"] for field in headers}
    target = request.target.decode("latin-1")
    is_socket = values.get("upgrade", "").lower() == "websocket"
    host = values.get("host") or f"{record.remote[0]}:{record.remote[1]}"
    shown: dict[str, Any] = {
        "method": request.method.decode("latin-1"),
        "url": f"{'ws' if is_socket else 'http'}://{host}{target}",
        "httpVersion": f"HTTP/{request.http_version.decode()}",
        "cookies": [],
        "headers": headers,
        "queryString": [
            {"name": name, "value": value} for name, value in parse_qsl(urlsplit(target).query, keep_blank_values=True)
        ],
        "headersSize": size - len(exchange.request_body),
        "bodySize": len(exchange.request_body),
    }
    if exchange.request_body:
        text = exchange.request_body.decode("utf-8", "replace")
        shown["postData"] = {"mimeType": values.get("content-type", ""), "text": text, "params": []}
    return shown


def _har_response(record: ConnectionRecord, exchange: _Exchange) -> dict[str, Any]:
    response, (start, stop) = exchange.response, exchange.span
    headers = _har_headers(response.headers) if response is not None else []
    values = {field["name"].lower(): field["value"] for field in headers}
    head_bytes = _head_bytes(record, start, stop) if response is not None else -1
    return {
        "status": response.status_code if response is not None else 0,
        "statusText": response.reason.decode("latin-1") if response is not None else "",
        "httpVersion": f"HTTP/{response.http_version.decode()}" if response is not None else "",
        "cookies": [],
        "headers": headers,
        "content": _har_content(exchange.body, values.get("content-type", "")),
        "redirectURL": values.get("location", ""),
        "headersSize": head_bytes,
        "bodySize": stop - start - head_bytes if response is not None else -1,
    }


def _head_bytes(record: ConnectionRecord, start: int, stop: int) -> int:
    held = b""
    for t in record.transfers:
        if t.direction == "in" and t.start < stop and start < t.stop:
            held += t.data[max(0, start - t.start) : stop - t.start]
            if (end := held.find(b"\r\n\r\n")) >= 0:
                return end + 4
    return -1


def _har_headers(headers: Any) -> list[dict[str, str]]:
    return [{"name": name.decode("latin-1"), "value": value.decode("latin-1")} for name, value in headers.raw_items()]


def _har_content(body: bytes, mime_type: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"size": len(body), "mimeType": mime_type or "x-unknown"}
    try:
        return {**shown, "text": body.decode("utf-8")}
    except UnicodeDecodeError:
        return {**shown, "text": base64.b64encode(body).decode(), "encoding": "base64"}


def _har_message(run: Run, message: _Message) -> dict[str, Any]:
    data = message.data
    return {
        "type": "send" if message.direction == "out" else "receive",
        "time": run.wall_ns(message.t_ns) / 1e9,
        "opcode": message.opcode,
        "data": data if isinstance(data, str) else base64.b64encode(data).decode(),
    }
