"""HTTP/2 frames (RFC 9113 section 4): cut from a connection's bytes, and what each byte of theirs was for.

A frame's header, its padding and all of what is no HTTP message (SETTINGS, WINDOW_UPDATE, PING, GOAWAY, RST_STREAM) are
framing; field blocks are headers, field by field (``hpack``); what DATA carries is read as any other body. Not here:
streams and their states, flow control, what fields say; on the client's side those are ``h2``'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from labkit.errors import WireError
from labkit.wire.http1 import Head
from labkit.wire.lane import Carrier
from labkit.wire.spans import UNREAD, Direction, Exchange, Mark

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""With which a client begins (section 3.4)."""
HEADER_BYTES = 9
LARGEST_FRAME = 1 << 14
"""What a frame may carry unless SETTINGS say otherwise (section 4.2)."""
LARGEST_OF_ALL = (1 << 24) - 1
"""What they may say at most."""
VERSION = "HTTP/2"
END_STREAM, END_HEADERS, PADDED, PRIORITY_FLAG, ACK = 0x1, 0x4, 0x8, 0x20, 0x1
SIZES = "RFC 9113 section 4.2"


class Kind(IntEnum):
    """The types of frames (section 6)."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


_CARRY = {Kind.DATA, Kind.HEADERS, Kind.PUSH_PROMISE, Kind.CONTINUATION}
"""What has something else than framing in it."""
CODES = (
    "NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED FRAME_SIZE_ERROR "
    "REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM INADEQUATE_SECURITY HTTP_1_1_REQUIRED"
).split()
"""Section 7."""


def code_name(code: int) -> str:
    """What an error code is called."""
    return CODES[code] if code < len(CODES) else f"error {code:#x}"


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole frame, and where it lay.

    Attributes:
        kind, flags, stream: of its header; a kind may be unknown.
        start: where its first byte lies in its direction.
        raw: all of it.
        before, padding: bytes around its content: the padding's length, priority, a promised stream; the padding.
    """

    kind: int
    flags: int
    stream: int
    start: int
    raw: bytes
    before: int = 0
    padding: int = 0

    @property
    def stop(self) -> int:
        return self.start + len(self.raw)

    @property
    def payload(self) -> bytes:
        return self.raw[HEADER_BYTES:]

    @property
    def content(self) -> bytes:
        """What DATA carries, or the part of a field block."""
        return self.raw[HEADER_BYTES + self.before : len(self.raw) - self.padding]

    @property
    def place(self) -> tuple[int, int]:
        """Where its content lies."""
        return self.start + HEADER_BYTES + self.before, self.stop - self.padding

    @property
    def name(self) -> str:
        try:
            return Kind(self.kind).name
        except ValueError:
            return f"type {self.kind:#x}"

    @property
    def ends_stream(self) -> bool:
        return self.kind in (Kind.DATA, Kind.HEADERS) and bool(self.flags & END_STREAM)

    @property
    def ends_block(self) -> bool:
        return self.kind in _CARRY and self.kind != Kind.DATA and bool(self.flags & END_HEADERS)

    def beside(self, carrier: Carrier, marks: list[Mark]) -> None:
        """Append the marks of all but its content."""
        if self.kind not in _CARRY:
            label = f"{self.name}, acknowledged" if self.kind in (4, 6) and self.flags & ACK else self.name
            carrier.beside(self.start, self.stop, "framing", label, marks)
            return
        start, stop = self.place
        carrier.beside(self.start, start, "framing", f"{self.name} frame header", marks)
        carrier.beside(stop, self.stop, "framing", "padding", marks)


class FrameCutter:
    """The bytes of one direction in, whole frames out.

    Args:
        direction: of a client's the preface comes first.
        largest: what a frame may carry at most.

    Attributes:
        at: where the first byte lies that is in no whole frame yet.
        error: why nothing more can be cut; None while it can.
    """

    def __init__(self, direction: Direction, largest: int = LARGEST_FRAME, at: int = 0) -> None:
        self.at = at
        self.largest = largest
        self.error: WireError | None = None
        self._direction: Direction = direction
        self._buffer = bytearray()
        self._wants_preface = direction == "out"

    def feed(self, data: bytes, marks: list[Mark]) -> list[Frame]:
        """The frames that *data* makes whole, up to an ``error``; the mark of the preface is appended."""
        self._buffer += data
        found: list[Frame] = []
        try:
            if self._wants_preface and not self._preface(marks):
                return found
            while self.error is None and (frame := self._next()) is not None:
                found.append(frame)
        except WireError as error:
            self.error = error
        return found

    def _preface(self, marks: list[Mark]) -> bool:
        """Whether it is there."""
        begun, size = bytes(self._buffer[: len(PREFACE)]), len(PREFACE)
        if not PREFACE.startswith(begun):
            raise WireError(f"no client's preface: {begun!r}", clause="RFC 9113 section 3.4")
        if len(begun) < size:
            return False
        self._wants_preface = False
        Carrier(self._direction, None).beside(self.at, self.at + size, "framing", "connection preface", marks)
        self._pass(size)
        return True

    def _pass(self, size: int) -> None:
        del self._buffer[:size]
        self.at += size

    def _next(self) -> Frame | None:
        held = self._buffer
        if len(held) < HEADER_BYTES:
            return None
        size = int.from_bytes(held[:3], "big")
        kind, flags = held[3], held[4]
        if size > self.largest:
            raise WireError(f"a frame that carries {size} bytes, over {self.largest}", clause=SIZES)
        end = HEADER_BYTES + size
        if len(held) < end:
            return None
        before, padding = _around(kind, flags, held, size)
        stream = int.from_bytes(held[5:9], "big") & 0x7FFFFFFF
        frame = Frame(kind, flags, stream, self.at, bytes(held[:end]), before, padding)
        self._pass(end)
        return frame

    def end(self, marks: list[Mark], at: int | None = None) -> None:
        """Nothing more can be read: what is in no whole frame is unread, and all from *at* on."""
        start, stop = self.at if at is None else at, self.at + len(self._buffer)
        Carrier(self._direction, None).beside(start, stop, "framing", UNREAD, marks)
        self._buffer.clear()
        self.at = stop


def _around(kind: int, flags: int, held: bytearray, size: int) -> tuple[int, int]:
    """How many bytes stand before the content of a frame, and how many of padding behind it."""
    if kind not in (Kind.DATA, Kind.HEADERS, Kind.PUSH_PROMISE):
        return 0, 0
    before = padding = 0
    if flags & PADDED:
        if not size:
            raise WireError("a padded frame without the length of its padding", clause=SIZES)
        before, padding = 1, held[HEADER_BYTES]
    before += 5 if kind == Kind.HEADERS and flags & PRIORITY_FLAG else 4 if kind == Kind.PUSH_PROMISE else 0
    if before + padding > size:
        raise WireError("padding that is longer than its frame", clause=f"RFC 9113 section 6.{kind + 1}")
    return before, padding


def head_of(fields: Iterable[tuple[str, str]], size_bytes: int) -> Head:
    """A message's head, of the fields that its block has decoded to, those that begin with a colon included.

    Args:
        size_bytes: of the block as it was coded.
    """
    told = tuple(fields)
    values = dict(told)
    status = values.get(":status", "")
    return Head(
        VERSION,
        told,
        size_bytes,
        method=values.get(":method", ""),
        target=values.get(":path", ""),
        status=int(status) if status.isascii() and status.isdigit() and len(status) == 3 else 0,
    )


class Block:
    """A field block under way: its parts, of HEADERS and each CONTINUATION, and where they lie."""

    def __init__(self, direction: Direction, exchange: Exchange | None, first: Frame) -> None:
        self.carrier = Carrier(direction, exchange)
        self.first = first
        self.coded = b""

    def add(self, frame: Frame) -> None:
        self.carrier.add(*frame.place)
        self.coded += frame.content


class Places:
    """Where the bytes of one stream lie among those of its connection.

    For a reader that counts from the stream's own first byte: its marks are moved to where those bytes are.
    """

    def __init__(self) -> None:
        self._ranges: list[list[int]] = []  # the stream's own offset, where it lies, how many, how many unmarked
        self.size = 0

    def add(self, start: int, size: int) -> None:
        """The next bytes of the stream lie there."""
        if size:
            self._ranges.append([self.size, start, size, size])
            self.size += size

    def laid(self, marks: Sequence[Mark]) -> list[Mark]:
        """The same marks where the bytes are, cut where frames cut them. A range of which all is marked is let go."""
        found: list[Mark] = []
        for mark in marks:
            for each in self._ranges:
                own, start, size, _ = each
                first, last = max(mark.start, own), min(mark.stop, own + size)
                if first < last or first == last == mark.start == mark.stop:
                    found.append(mark._replace(start=start + first - own, stop=start + last - own))
                    each[3] -= last - first
                    if mark.start == mark.stop:
                        break
            self._ranges = [each for each in self._ranges if each[3]]
        return found
