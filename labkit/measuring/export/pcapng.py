"""A run's client connections as a pcapng capture (draft-ietf-opsawg-pcapng), for Wireshark.

Each connection becomes the packets that would carry its stream. Payload bytes and times are those of the ledger; the IP
and TCP headers are synthetic, and the file says so.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.client.ledger import ConnectionRecord, Transfer
from labkit.files import whole
from labkit.measuring.masking import without_secrets
from labkit.wire.spans import Direction

if TYPE_CHECKING:
    from labkit.measuring.recording import Recording

LINKTYPE_RAW = 101  # packets begin with their IP header
_SYNTHETIC = (
    "Payload bytes and times were recorded by labkit at the client's socket. All IP and TCP headers, the handshakes, "
    "acknowledgements and segment boundaries in this file are synthetic."
)
_COMMENT = 1  # opt_comment, of any block
_FIN, _SYN, _RST, _PSH, _ACK = 1, 2, 4, 8, 16
_LARGEST_SEGMENT = 65_495  # with 40 bytes of headers as large as an IPv4 packet gets
_WINDOW_SHIFT = 7


def to_pcapng(run: Recording, path: str | Path, *, with_secrets: bool = False, comment: str = "") -> Path:
    """Write the run's client connections as a pcapng capture (draft-ietf-opsawg-pcapng), times in nanoseconds.

    Args:
        with_secrets: as they were sent, what is said in ``Authorization``, ``Cookie`` and the like; by default a
            placeholder of the same length stands for it.
        comment: one more comment on the whole file.

    Raises:
        LabkitError: it cannot be written; nothing is left behind.
    """
    ledger = run.ledger if with_secrets else without_secrets(run)
    mss = min(run.settings.get("mss") or _LARGEST_SEGMENT, _LARGEST_SEGMENT)
    packets = [packet for record in ledger.of() for packet in _Conversation(record, mss).packets()]
    packets.sort(key=lambda packet: packet.t_ns)  # stable: packets of one moment stay in their order
    with whole(path) as file:
        file.write(_section_header(comment) + _interface())
        for packet in packets:
            file.write(_enhanced_packet(packet, run.wall_ns(packet.t_ns)))
    return Path(path)


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
        if record.tls_version:
            who += f". What {record.tls_version} carried: on the wire it was encrypted, and longer."
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
        ends = (self._client, "out", record.carried_out), (self._server, "in", record.carried_in)
        for end, direction, total in ends:
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


def _section_header(comment: str) -> bytes:
    comments = b"".join(_option(_COMMENT, text.encode()) for text in (_SYNTHETIC, comment) if text)
    options = comments + _option(4, b"labkit") + _END_OF_OPTIONS
    return _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + options)


def _interface() -> bytes:
    options = _option(2, b"labkit") + _option(9, b"\x09") + _END_OF_OPTIONS  # if_name, if_tsresol: 10**-9 s
    return _block(1, struct.pack("<HHI", LINKTYPE_RAW, 0, 0) + options)


def _enhanced_packet(packet: _Packet, wall_ns: int) -> bytes:
    size, wall_ns = len(packet.data), max(0, wall_ns)
    body = struct.pack("<IIIII", 0, (wall_ns >> 32) & 0xFFFFFFFF, wall_ns & 0xFFFFFFFF, size, size)
    comment = _option(_COMMENT, packet.comment.encode()) + _END_OF_OPTIONS if packet.comment else b""
    return _block(6, body + packet.data + b"\0" * (-size % 4) + comment)
