"""An HTTP/2 client over a bare socket, for tests of what a server makes of each byte.

Frames (RFC 9113 section 4) and header fields (RFC 7541 section 6.2.2, no table, no Huffman code) are written here by
the RFCs: the judge shares no code with the server. Of an answer's fields only the status is read, which comes first;
the client grants a table of no bytes, so it is never an index into one.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from conftest import UNIT

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MOST = (1 << 31) - 1
FRAME_BYTES = 16384

END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITY = 0x4, 0x8, 0x20


class Kind(IntEnum):
    """RFC 9113 section 6."""

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


class Code(IntEnum):
    """RFC 9113 section 7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class Setting(IntEnum):
    """RFC 9113 section 6.5.2, RFC 8441 section 3."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6
    ENABLE_CONNECT_PROTOCOL = 8


# -- frames out ------------------------------------------------------------------------------------------------------


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """One frame; *length* says another one than the payload has."""
    size = len(payload) if length is None else length
    return struct.pack(">BHBBI", size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def data(stream: int, content: bytes = b"", *, end: bool = False) -> bytes:
    return frame(Kind.DATA, END_STREAM if end else 0, stream, content)


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(Kind.SETTINGS, payload=b"".join(struct.pack(">HI", *pair) for pair in pairs))


def ping(opaque: bytes = b"12345678", flags: int = 0) -> bytes:
    return frame(Kind.PING, flags, payload=opaque)


def rst(stream: int, code: int = Code.CANCEL) -> bytes:
    return frame(Kind.RST_STREAM, 0, stream, struct.pack(">I", code))


def window(stream: int, increment: int) -> bytes:
    return frame(Kind.WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def priority(stream: int, on: int = 0, weight: int = 15) -> bytes:
    return frame(Kind.PRIORITY, 0, stream, struct.pack(">IB", on, weight))


def goaway(last: int = 0, code: int = Code.NO_ERROR) -> bytes:
    return frame(Kind.GOAWAY, payload=struct.pack(">II", last, code))


# -- header fields out -----------------------------------------------------------------------------------------------


def integer(value: int, bits: int, above: int = 0) -> bytes:
    """A prefixed integer (RFC 7541 section 5.1) under the bits *above*."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([above | value])
    out, value = bytearray([above | most]), value - most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return integer(len(raw), 7) + raw


def literal(name: str | bytes, value: str | bytes, *, kept: bool = False) -> bytes:
    """A field with its name written out; *kept*: the table takes it (RFC 7541 section 6.2.1)."""
    return bytes([0x40 if kept else 0]) + string(name) + string(value)


Fields = tuple[tuple[str | bytes, str | bytes], ...]


def fields(*pairs: tuple[str | bytes, str | bytes]) -> bytes:
    return b"".join(literal(*pair) for pair in pairs)


def request(method: str = "GET", path: str = "/polling", *more: tuple[str | bytes, str | bytes]) -> Fields:
    """The fields of a request, pseudo-header fields first."""
    return ((":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost"), *more)


def headers(stream: int, block: bytes | Fields | None = None, *, end: bool = True, flags: int = END_HEADERS) -> bytes:
    """A HEADERS frame; without a block: that of a GET that is answered at once."""
    if block is None:
        block = request()
    content = block if isinstance(block, bytes) else fields(*block)
    return frame(Kind.HEADERS, flags | (END_STREAM if end else 0), stream, content)


def continuation(stream: int, block: bytes = b"", *, last: bool = False) -> bytes:
    return frame(Kind.CONTINUATION, END_HEADERS if last else 0, stream, block)


# -- what comes back -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Got:
    """A frame as it came."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    def __str__(self) -> str:
        name = Kind(self.kind).name if self.kind in iter(Kind) else f"type {self.kind}"
        if self.kind == Kind.HEADERS:
            name += f" {status(self)}"
        elif self.kind in (Kind.RST_STREAM, Kind.GOAWAY):
            name += f" {self.code.name}"
        elif self.kind == Kind.DATA:
            name += f" {len(self.payload)} bytes"
        return f"{name} on {self.stream}, flags {self.flags:#x}"

    @property
    def ends(self) -> bool:
        return self.kind in (Kind.DATA, Kind.HEADERS) and bool(self.flags & END_STREAM)

    @property
    def code(self) -> Code:
        """Why, of RST_STREAM and GOAWAY."""
        start = 0 if self.kind == Kind.RST_STREAM else 4
        return Code(int.from_bytes(self.payload[start : start + 4]))

    @property
    def settings(self) -> dict[int, int]:
        return dict(struct.iter_unpack(">HI", self.payload))  # type: ignore[arg-type]


_STATIC = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}  # RFC 7541 appendix A
_DIGITS = {f"{number:05b}": str(number) for number in range(3)} | {  # RFC 7541 appendix B
    f"{0x19 + number - 3:06b}": str(number) for number in range(3, 10)
}


def status(head: Got) -> int | None:
    """The status that an answer's head begins with; None of one that has none (trailer fields)."""
    block = head.payload[5 if head.flags & PRIORITY else 0 :]
    while block[0] >> 5 == 1:  # an update of the table's size
        block = block[1:] if block[0] & 31 < 31 else block[1:].lstrip(bytes(range(128, 256)))[1:]
    if block[0] & 0x80:
        return _STATIC.get(block[0] & 0x7F)
    if block[0] & 0x0F != 8:
        return None
    coded, size = block[1] & 0x80, block[1] & 0x7F
    value = block[2 : 2 + size]
    return int(digits(value) if coded else value)


def digits(coded: bytes) -> str:
    """Digits out of their Huffman code."""
    bits, found, text = "".join(f"{byte:08b}" for byte in coded), "", ""
    for bit in bits:
        found += bit
        if found in _DIGITS:
            text, found = text + _DIGITS[found], ""
    return text


class Peer:
    """A connection that sends whatever bytes it is told to, and keeps each frame that comes.

    Args:
        bare: nothing is sent by itself, not the preface either.
        grant: settings beside a header table of no bytes.
    """

    def __init__(
        self,
        port: int,
        *grant: tuple[int, int],
        bare: bool = False,
        timeout_s: float = 5 * UNIT,
        receive_bytes: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.sock = socket.socket()
        if receive_bytes:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.sock.settimeout(timeout_s)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self.timeout_s = timeout_s
        self.got: list[Got] = []
        self.rest = b""
        self.ended = False
        self.announced: dict[int, int] = {}
        if not bare:
            self.send(PREFACE + settings((Setting.HEADER_TABLE_SIZE, 0), *grant))
            self.announced = self.until(lambda got: got.kind == Kind.SETTINGS and not got.flags & ACK).settings
            self.send(frame(Kind.SETTINGS, ACK))
            self.until(lambda got: got.kind == Kind.SETTINGS and bool(got.flags & ACK))

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, *parts: bytes) -> bool:
        """Send it all; whether the other side still took it."""
        try:
            self.sock.sendall(b"".join(parts))
        except (ConnectionError, ssl.SSLError):
            return False
        return True

    def read(self) -> Got | None:
        """The next frame, kept in ``got`` as well; None at the end.

        Raises:
            TimeoutError: nothing came.
        """
        while len(self.rest) < 9 or len(self.rest) < 9 + int.from_bytes(self.rest[:3]):
            if self.ended:
                return None
            try:
                more = self.sock.recv(1 << 16)
            except ConnectionError:
                more = b""
            self.ended = not more
            self.rest += more
        size = int.from_bytes(self.rest[:3])
        kind, flags, stream = struct.unpack(">BBI", self.rest[3:9])
        got = Got(kind, flags, stream & MOST, self.rest[9 : 9 + size])
        self.rest = self.rest[9 + size :]
        self.got.append(got)
        return got

    def look(self) -> list[Got]:
        """What has come by now, without waiting for more."""
        self.sock.settimeout(0)
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
            while self.read() is not None:
                pass
        self.sock.settimeout(self.timeout_s)
        return self.got

    def until(self, wanted: Callable[[Got], bool]) -> Got:
        """The first frame from here on that is wanted.

        Raises:
            AssertionError: the end, or too long without it; with what came.
        """
        deadline = time.monotonic() + self.timeout_s
        try:
            while (got := self.read()) is not None and time.monotonic() < deadline:
                if wanted(got):
                    return got
        except TimeoutError:
            pass
        raise AssertionError(f"not what was awaited: {self.story()}")

    def story(self) -> str:
        end = "; the end" if self.ended else ""
        return ("; ".join(map(str, self.got[-8:])) or "nothing") + end

    def of(self, stream: int, kind: int | None = None) -> list[Got]:
        """What has come on a stream."""
        return [got for got in self.got if got.stream == stream and kind in (None, got.kind)]

    def body(self, stream: int) -> bytes:
        return b"".join(got.payload for got in self.of(stream, Kind.DATA))

    def echo(self, opaque: bytes = b"are you ") -> None:
        """Wait until the server answers a PING: whatever it would do at once it has done."""
        assert self.send(ping(opaque)), self.story()
        self.until(lambda got: got.kind == Kind.PING and got.payload == opaque)

    def answer(self, stream: int) -> int:
        """The status of a stream's final answer, once it has ended."""
        self.until(lambda got: got.stream == stream and got.ends)
        heads = [code for got in self.of(stream, Kind.HEADERS) if (code := status(got)) is not None and code >= 200]
        return heads[0]

    def ask(self, stream: int, block: Fields | None = None) -> int:
        """Have a request without a body answered."""
        self.send(headers(stream, block))
        return self.answer(stream)


@contextlib.contextmanager
def peers(port: int, count: int, *grant: tuple[int, int]) -> Iterator[list[Peer]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Peer(port, *grant)) for _ in range(count)]
