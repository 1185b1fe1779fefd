"""The packets of a capture that :func:`labkit.measuring.export.to_pcapng` wrote, read back. Pure.

Not here: captures of other programs (other link types, big-endian sections, more than one interface).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from labkit.errors import WireError
from labkit.measuring.export.pcapng import LINKTYPE_RAW

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_FLAGS = {0x02: "SYN", 0x01: "FIN", 0x04: "RST", 0x08: "PSH", 0x10: "ACK"}
_LINE = 16
_COMMENT, _BEFORE_OPTIONS = 1, 16  # of a section: byte order, version, length


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet.

    Attributes:
        number: from 1, as Wireshark counts.
        t_ns: when, in ns since 1970.
        source, target: address and port.
        seq: relative sequence number of its first byte, as Wireshark shows it: 1 is the first byte of that side.
        flags: such as ``("FIN", "ACK")``.
        data: what TCP carries; ``header_bytes`` of IP and TCP headers stand before it.
    """

    number: int
    t_ns: int
    source: tuple[str, int]
    target: tuple[str, int]
    seq: int
    flags: tuple[str, ...]
    data: bytes
    header_bytes: int

    def __str__(self) -> str:
        head = (
            f"packet {self.number}, port {self.source[1]} to {self.target[1]}, {' '.join(self.flags)}, seq {self.seq}"
        )
        return "\n".join([f"{head}, {len(self.data)} bytes of data", *hexdump(self.data)])


def hexdump(data: bytes) -> Iterator[str]:
    """Lines of 16 bytes: the offset of the first one in hexadecimal, the bytes, and what of them is ASCII.

    A line of ``*`` stands for lines that repeat the one before it, as with ``hexdump -C``.
    """
    before, starred = b"", False
    for at in range(0, len(data), _LINE):
        row = data[at : at + _LINE]
        if row == before:
            if not starred:
                yield "*"
            starred = True
            continue
        before, starred = row, False
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{at:04x}  {row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}  {text}"


def read_pcapng(data: bytes) -> list[Packet]:
    """The packets of a capture, in the order of the file.

    Raises:
        WireError: it is no capture of this kit's, or is cut short.
    """
    if len(data) < 12 or struct.unpack_from("<I", data)[0] != _SECTION or data[8:12] != b"\x4d\x3c\x2b\x1a":
        raise WireError("no pcapng capture of a little-endian machine", clause="draft-ietf-opsawg-pcapng 4.1")
    packets: list[Packet] = []
    firsts: dict[tuple[tuple[str, int], tuple[str, int]], int] = {}
    try:
        for kind, body in _blocks(data):
            if kind == _INTERFACE and struct.unpack_from("<H", body)[0] != LINKTYPE_RAW:
                raise WireError("its packets do not begin with an IP header", clause="draft-ietf-opsawg-pcapng 4.2")
            if kind == _PACKET:
                packets.append(_packet(len(packets) + 1, body, firsts))
    except (struct.error, IndexError, ValueError):
        raise WireError("the capture is cut short", clause="draft-ietf-opsawg-pcapng 4") from None
    return packets


def comments_of(data: bytes) -> list[str]:
    """The comments on the whole file, in order; none if it is no capture of this kit's."""
    found = []
    try:
        kind, body = next(_blocks(data))
        at = _BEFORE_OPTIONS
        while kind == _SECTION and at + 4 <= len(body):
            code, size = struct.unpack_from("<HH", body, at)
            if code == _COMMENT:
                found.append(body[at + 4 : at + 4 + size].decode("utf-8", "replace"))
            at += 4 + size + -size % 4
    except (struct.error, ValueError, StopIteration):
        return []
    return found


def _blocks(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        if size < 12 or size % 4 or at + size > len(data):
            raise ValueError(size)
        yield kind, data[at + 8 : at + size - 4]
        at += size


def _packet(number: int, body: bytes, firsts: dict[tuple[tuple[str, int], tuple[str, int]], int]) -> Packet:
    _, high, low, size, _ = struct.unpack_from("<IIIII", body)
    raw = body[20 : 20 + size]
    six = raw[0] >> 4 == 6
    ip_bytes = 40 if six else (raw[0] & 15) * 4
    hosts = (raw[8:24], raw[24:40]) if six else (raw[12:16], raw[16:20])
    source_port, target_port, seq, _, offset, bits = struct.unpack_from("!HHIIBB", raw, ip_bytes)
    source, target = (str(ip_address(hosts[0])), source_port), (str(ip_address(hosts[1])), target_port)
    first = firsts.setdefault((source, target), seq)
    header_bytes = ip_bytes + (offset >> 4) * 4
    flags = tuple(name for bit, name in _FLAGS.items() if bits & bit)
    relative = (seq - first) & 0xFFFFFFFF
    return Packet(number, high << 32 | low, source, target, relative, flags, raw[header_bytes:], header_bytes)
