"""WebSocket on the wire: frames, masking, messages and close codes (RFC 6455 sections 4.2.2, 5, 7.4 and 8.1).

Not here: the HTTP handshake, and compression (RFC 7692), for which :class:`MessageAssembler` takes a function.
"""

from __future__ import annotations

import base64
import codecs
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from labkit.errors import WireError

MASKING = "RFC 6455 section 5.1"
FRAMING = "RFC 6455 section 5.2"
FRAGMENTATION = "RFC 6455 section 5.4"
CONTROL = "RFC 6455 section 5.5"
CLOSE = "RFC 6455 section 5.5.1"
CLOSE_CODES = "RFC 6455 section 7.4"
UTF8 = "RFC 6455 section 8.1"
LIMITS = "RFC 6455 section 10.4"
COMPRESSION = "RFC 7692 section 6"

_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
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


def accept_key(key: str) -> str:
    """The ``Sec-WebSocket-Accept`` that answers a ``Sec-WebSocket-Key`` (RFC 6455 section 4.2.2)."""
    digest = hashlib.sha1(key.encode() + _ACCEPT_GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def _check_control(opcode: Opcode, payload_bytes: int, fin: bool) -> None:
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
    _check_control(frame.opcode, size, frame.fin)
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
            if head is None or head.payload_bytes <= self._max_payload_bytes:
                return None
            header, self._left = head.header_bytes, head.payload_bytes
            del self._buffer[:header]
        assert self._head is not None
        taken = min(self._left, len(self._buffer))
        if not header + taken:
            return None
        del self._buffer[:taken]
        self._left -= taken
        fin = not self._left and bool(self._head.first & _FIN)
        if not self._left:
            self._head = None
        return PassedOver(header, taken, fin)

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
        _check_control(opcode, length, bool(first & _FIN))
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


@dataclass(frozen=True, slots=True)
class Message:
    """One whole message: ``data`` is str if it is text, else bytes."""

    text: bool
    data: str | bytes


class MessageAssembler:
    """Frames in; messages, and the control frames that came between their fragments, out.

    Args:
        max_message_bytes: the largest message, all fragments together, after *inflate*.
        inflate: where compression was agreed: takes the payload of one frame of a compressed message and whether
            it is the last one, and returns it decompressed.
    """

    def __init__(
        self,
        *,
        max_message_bytes: int = 1 << 24,
        inflate: Callable[[bytes, bool], bytes] | None = None,
    ) -> None:
        self._max_message_bytes = max_message_bytes
        self._inflate = inflate
        self._opcode: Opcode | None = None  # of the message under way
        self._compressed = False
        self._texts: list[str] = []
        self._blobs: list[bytes] = []
        self._message_bytes = 0
        self._utf8 = codecs.getincrementaldecoder("utf-8")()

    def feed(self, frame: Frame) -> Message | Frame | None:
        """Take one frame; return the message that it ends, itself if it is a control frame, else None.

        Raises:
            WireError: a continuation with nothing to continue, a new message inside another (RFC 6455 section
                5.4), a message over the limit, and text that is not UTF-8, as soon as that is certain (section
                8.1).
        """
        if frame.opcode.is_control:
            return frame
        self._begin(frame)
        payload = frame.payload
        if self._compressed and self._inflate is not None:
            payload = self._inflate(payload, frame.fin)
        self._message_bytes += len(payload)
        if self._message_bytes > self._max_message_bytes:
            raise WireError(f"message over {self._max_message_bytes} bytes", clause=LIMITS)
        if self._opcode is Opcode.TEXT:
            self._texts.append(self._decode(payload, frame.fin))
        elif payload:
            self._blobs.append(payload)
        return self._end() if frame.fin else None

    def _begin(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CONTINUATION:
            if self._opcode is None:
                raise WireError("a continuation frame, but no message is under way", clause=FRAGMENTATION)
            return
        if self._opcode is not None:
            raise WireError("a new message inside the fragments of another", clause=FRAGMENTATION)
        if frame.rsv1 and self._inflate is None:
            raise WireError("a compressed message, but compression was not agreed", clause=COMPRESSION)
        self._opcode, self._compressed = frame.opcode, frame.rsv1

    def _decode(self, payload: bytes, final: bool) -> str:
        try:
            text = self._utf8.decode(payload, final)
        except UnicodeDecodeError as error:
            raise WireError(f"text is not UTF-8: {error.reason}", clause=UTF8) from None
        if b"\xed\xa0" <= self._utf8.getstate()[0] < b"\xee":  # Python waits for the third byte of a surrogate
            raise WireError("text is not UTF-8: a surrogate", clause=UTF8)
        return text

    def _end(self) -> Message:
        text = self._opcode is Opcode.TEXT
        message = Message(text, "".join(self._texts) if text else b"".join(self._blobs))
        self._opcode, self._texts, self._blobs, self._message_bytes = None, [], [], 0
        return message


def _check_close_code(code: int) -> None:
    if code in (1004, 1005, 1006, 1015):
        raise WireError(f"close code {code} never travels in a frame", clause=f"{CLOSE_CODES}.1")
    if not 1000 <= code <= 4999:
        raise WireError(f"close code {code} is not one of 1000 to 4999", clause=f"{CLOSE_CODES}.2")
    if 1016 <= code <= 2999:
        raise WireError(f"close code {code} is reserved for the protocol's future", clause=f"{CLOSE_CODES}.2")


def encode_close(code: int, reason: str = "") -> bytes:
    """The payload of a close frame: the code in two bytes, then the reason in UTF-8.

    Raises:
        WireError: a code that may not travel (RFC 6455 section 7.4), a reason over 123 bytes (section 5.5).
    """
    _check_close_code(code)
    try:
        text = reason.encode()
    except UnicodeEncodeError:
        raise WireError("a close reason with a lone surrogate cannot be UTF-8", clause=UTF8) from None
    if len(text) > 123:
        raise WireError(f"a reason has at most 123 bytes, not {len(text)}", clause=CONTROL)
    return code.to_bytes(2, "big") + text


def decode_close(payload: bytes) -> tuple[int, str]:
    """The code and reason of a close frame; 1005 when it carries none (RFC 6455 section 7.1.5).

    Raises:
        WireError: a payload of one byte (section 5.5.1), a code that may not travel (7.4), a reason that is not
            UTF-8 (8.1) or over 123 bytes (5.5).
    """
    if not payload:
        return 1005, ""
    if len(payload) == 1:
        raise WireError("a close frame of one byte: a code takes two", clause=CLOSE)
    _check_control(Opcode.CLOSE, len(payload), True)
    code = int.from_bytes(payload[:2], "big")
    _check_close_code(code)
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError as error:
        raise WireError(f"close reason is not UTF-8: {error.reason}", clause=UTF8) from None


def failure_code(error: WireError) -> int:
    """The close code to fail a connection with: 1007 for bad UTF-8, 1009 for too big, else 1002 (section 7.4.1)."""
    return {UTF8: 1007, LIMITS: 1009}.get(error.clause, 1002)
