"""WebSocket on the wire: frames and masking (RFC 6455 sections 5.2, 5.3 and 5.5).

Not here: the opening handshake (``handshake.py``), what fragments amount to (``fragments.py``), and what a close frame
says (``close_codes.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from labkit.errors import WireError

MASKING = "RFC 6455 section 5.1"
FRAMING = "RFC 6455 section 5.2"
FRAGMENTATION = "RFC 6455 section 5.4"
CONTROL = "RFC 6455 section 5.5"
UTF8 = "RFC 6455 section 8.1"
LIMITS = "RFC 6455 section 10.4"
COMPRESSION = "RFC 7692 section 6"

_FIN = 0x80
_RSV = {"rsv1": 0x40, "rsv2": 0x20, "rsv3": 0x10}


class Opcode(IntEnum):
    """What a frame carries (RFC 6455 section 5.2); from 8 on they are control frames."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA

    @property
    def is_control(self) -> bool:
        """Whether it may travel between the fragments of a message."""
        return self >= Opcode.CLOSE


_OPCODES = {int(opcode): opcode for opcode in Opcode}


def header_bytes(payload_bytes: int, masked: bool) -> int:
    """Bytes of a frame's header: 2, 4 or 10, and 4 more for a masking key (RFC 6455 section 5.2)."""
    length_bytes = 0 if payload_bytes < 126 else 2 if payload_bytes < 1 << 16 else 8
    return 2 + length_bytes + (4 if masked else 0)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. ``payload`` is never masked here; ``mask`` is the masking key that it travels with."""

    opcode: Opcode
    payload: bytes = b""
    fin: bool = True
    rsv1: bool = False
    rsv2: bool = False
    rsv3: bool = False
    mask: bytes | None = None

    @property
    def header_bytes(self) -> int:
        """Bytes of its header on the wire, masking key included."""
        return header_bytes(len(self.payload), self.mask is not None)


def apply_mask(data: bytes, mask: bytes) -> bytes:
    """Mask or unmask: octet i is xored with octet i modulo 4 of the key (RFC 6455 section 5.3).

    As one big integer, since a loop over the bytes takes some twenty times as long.
    """
    key = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "little") ^ int.from_bytes(key, "little")).to_bytes(len(data), "little")


def check_control(opcode: Opcode, payload_bytes: int, fin: bool) -> None:
    if opcode < Opcode.CLOSE:
        return
    if not fin:
        raise WireError(f"a {opcode.name} frame cannot be a fragment", clause=CONTROL)
    if payload_bytes > 125:
        raise WireError(f"a {opcode.name} frame carries at most 125 bytes", clause=CONTROL)


def encode_frame(frame: Frame) -> bytes:
    """The frame's bytes, masked if it has a masking key.

    Raises:
        WireError: a control frame that is a fragment or over 125 bytes (RFC 6455 section 5.5), or a masking key
            that is not 4 bytes long (section 5.3).
    """
    size = len(frame.payload)
    check_control(frame.opcode, size, frame.fin)
    first = frame.opcode | _FIN * frame.fin | 0x40 * frame.rsv1 | 0x20 * frame.rsv2 | 0x10 * frame.rsv3
    length = size if size < 126 else 126 if size < 1 << 16 else 127
    extended = b"" if length < 126 else size.to_bytes(2 if length == 126 else 8, "big")
    if frame.mask is None:
        return bytes((first, length)) + extended + frame.payload
    if len(frame.mask) != 4:
        raise WireError(f"a masking key has 4 bytes, not {len(frame.mask)}", clause="RFC 6455 section 5.3")
    return bytes((first, 0x80 | length)) + extended + frame.mask + apply_mask(frame.payload, frame.mask)


@dataclass(frozen=True, slots=True)
class _Head:
    opcode: Opcode
    first: int
    masked: bool
    payload_bytes: int
    header_bytes: int


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Some bytes of a data frame that is too long to be held: its header first, ``fin`` with a message's last."""

    opcode: Opcode
    rsv1: bool
    header_bytes: int
    payload_bytes: int
    fin: bool


class FrameDecoder:
    """Bytes of one direction of a WebSocket connection in, whole frames out.

    Args:
        masked: True where the peer must mask (a server reading from a client), False where it must not,
            None takes either, for an observer.
        max_payload_bytes: the largest payload of one frame.
        reserved: the reserved bits that an extension has given a meaning, such as ``{"rsv1"}``.

    Attributes:
        before_error: when ``feed`` has raised, the frames of that read that came whole before the bad one.
    """

    def __init__(
        self,
        *,
        masked: bool | None = None,
        max_payload_bytes: int = 1 << 24,
        reserved: frozenset[str] = frozenset(),
    ) -> None:
        self.before_error: list[Frame] = []
        self.pieces_before_error: list[Frame | PassedOver] = []
        self._masked = masked
        self._max_payload_bytes = max_payload_bytes
        self._forbidden_bits = sum(bit for name, bit in _RSV.items() if name not in reserved)
        self._buffer = bytearray()
        self._head: _Head | None = None
        self._passes_over = False
        self._left = 0  # of a frame that is passed over
        self._error: WireError | None = None

    def feed(self, data: bytes) -> list[Frame]:
        """Take what one read brought and return the frames that it completed, unmasked.

        Raises:
            WireError: reserved bits, an unknown opcode, a control frame that is a fragment or too long, a length
                not in its shortest form or with its top bit set, wrong masking, a payload over the limit. Every
                later call raises it again: such a connection must be failed (RFC 6455 section 7.1.7).
        """
        if self._error is not None:
            raise self._error
        self._buffer += data
        frames: list[Frame] = []
        try:
            while self._buffer and (frame := self._next()) is not None:
                frames.append(frame)
        except WireError as error:
            self._error, self.before_error = error, frames
            raise
        return frames

    def pieces(self, data: bytes) -> list[Frame | PassedOver]:
        """The same, but a data frame over the limit passes unread as it comes, and does not break the rules.

        Raises:
            WireError: as ``feed``; what came before it is in ``pieces_before_error``.
        """
        if self._error is not None:
            raise self._error
        self._passes_over = True
        self._buffer += data
        found: list[Frame | PassedOver] = []
        try:
            while self._buffer and (piece := self._passed_over() or self._next()) is not None:
                found.append(piece)
        except WireError as error:
            self._error, self.pieces_before_error = error, found
            raise
        return found

    def _passed_over(self) -> PassedOver | None:
        header = 0
        if not self._left:
            head = self._head = self._head or self._read_head()
            if head is None or head.payload_bytes <= self._max_payload_bytes or len(self._buffer) < head.header_bytes:
                return None
            header, self._left = head.header_bytes, head.payload_bytes
            del self._buffer[:header]
        assert self._head is not None
        taken = min(self._left, len(self._buffer))
        if not header + taken:
            return None
        del self._buffer[:taken]
        self._left -= taken
        head, ends = self._head, not self._left
        if ends:
            self._head = None
        return PassedOver(head.opcode, bool(head.first & _RSV["rsv1"]), header, taken, ends and bool(head.first & _FIN))

    def _next(self) -> Frame | None:
        if self._left:
            return None
        head = self._head = self._head or self._read_head()
        if head is None or len(self._buffer) < head.header_bytes + head.payload_bytes:
            return None
        stop = head.header_bytes + head.payload_bytes
        with memoryview(self._buffer) as view:
            mask = bytes(view[head.header_bytes - 4 : head.header_bytes]) if head.masked else None
            payload = bytes(view[head.header_bytes : stop])
        del self._buffer[:stop]
        self._head = None
        rsv1, rsv2, rsv3 = (bool(head.first & bit) for bit in _RSV.values())
        return Frame(
            head.opcode, apply_mask(payload, mask) if mask else payload, bool(head.first & _FIN), rsv1, rsv2, rsv3, mask
        )

    def _read_head(self) -> _Head | None:
        if len(self._buffer) < 2:
            return None
        first, second = self._buffer[0], self._buffer[1]
        opcode = self._read_first(first)
        masked, length = bool(second & 0x80), second & 0x7F
        if self._masked is not None and masked is not self._masked:
            wrong = "masked frame from a server" if masked else "unmasked frame from a client"
            raise WireError(wrong, clause=MASKING)
        check_control(opcode, length, bool(first & _FIN))
        size = self._read_length(length)
        if size is None:
            return None
        if size > self._max_payload_bytes and not self._passes_over:
            raise WireError(f"payload of {size} bytes, over {self._max_payload_bytes}", clause=LIMITS)
        return _Head(opcode, first, masked, size, header_bytes(size, masked))

    def _read_first(self, first: int) -> Opcode:
        if first & self._forbidden_bits:
            raise WireError("a reserved bit is set, but no extension was agreed for it", clause=FRAMING)
        opcode = _OPCODES.get(first & 0x0F)
        if opcode is None:
            raise WireError(f"opcode {first & 0x0F:#x} is reserved", clause=FRAMING)
        if first & _RSV["rsv1"] and opcode not in (Opcode.TEXT, Opcode.BINARY):
            raise WireError("only the first frame of a message says that it is compressed", clause=COMPRESSION)
        return opcode

    def _read_length(self, length: int) -> int | None:
        if length < 126:
            return length
        stop = 4 if length == 126 else 10
        if len(self._buffer) < stop:
            return None
        size = int.from_bytes(self._buffer[2:stop], "big")
        if size >> 63:
            raise WireError("a 64-bit length has its top bit set", clause=FRAMING)
        if size < (126 if length == 126 else 1 << 16):
            raise WireError(f"length {size} is not in its shortest form", clause=FRAMING)
        return size
