"""What a server may answer to which bytes, clause by clause: RFC 9113, RFC 7541, RFC 8441. Data for a test beside it.

Each case is sent on a connection of its own once both sides have taken each other's settings. ``PAGE`` is answered at
once, ``HELD`` for ever, ``TAKES`` takes a body.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from http2_outcomes import Answers, Dies, Resets

from raw_http2 import (
    ACK,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    MOST,
    PADDED,
    PREFACE,
    PRIORITY,
    Code,
    Kind,
    Setting,
    continuation,
    data,
    fields,
    frame,
    headers,
    integer,
    literal,
    ping,
    priority,
    request,
    rst,
    settings,
    string,
    window,
)

PAGE, HELD, TAKES = "/polling", "/sse", "/events"

LIVES = Answers()
ANSWERS = Answers((1,))


def dies(*codes: Code) -> Dies:
    return Dies(codes)


def resets(*codes: Code, stream: int = 1) -> Resets:
    return Resets(stream, codes)


MALFORMED = Resets(1, (Code.PROTOCOL_ERROR,), (400,))
WRONG = dies(Code.PROTOCOL_ERROR)
CLOSED = resets(Code.STREAM_CLOSED)
GONE = Resets(1, (Code.STREAM_CLOSED,), ignores=True)
NO_PREFACE = Dies((Code.PROTOCOL_ERROR,), unsaid=True)
SIZE = dies(Code.FRAME_SIZE_ERROR)
FLOW = Code.FLOW_CONTROL_ERROR
UNCODED = dies(Code.COMPRESSION_ERROR)


@dataclass(frozen=True)
class Case:
    """What is sent, and what may come of it."""

    section: str
    words: str
    sent: bytes
    may: Dies | Resets | Answers
    bare: bool = False  # the bytes begin with the preface

    @property
    def id(self) -> str:
        return f"{self.section}: {self.words}"


def held(stream: int = 1) -> bytes:
    """A stream that is half-closed (remote): its answer goes on."""
    return headers(stream, request(path=HELD))


def sending(stream: int = 1, *more: tuple[str, str]) -> bytes:
    """A stream that is open: its request's body is still to come."""
    return headers(stream, request("POST", TAKES, *more), end=False)


def without(name: str) -> bytes:
    return headers(1, tuple(pair for pair in request() if pair[0] != name))


def plus(name: str | bytes, value: str | bytes) -> bytes:
    return headers(1, (*request(), (name, value)))


def replaced(name: str, value: str) -> bytes:
    return headers(1, tuple((n, value if n == name else v) for n, v in request()))


WHOLE = fields(*request())
THIRD = len(WHOLE) // 3
KEPT = b"".join(literal(*pair, kept=True) for pair in request())  # :authority is 62 then, :method 65
AGAIN = bytes([0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62])

STARTING = [
    Case("3.4", "a preface of no settings", PREFACE + settings() + headers(1), ANSWERS, bare=True),
    Case("3.4", "PING where SETTINGS must be first", PREFACE + ping() + settings(), NO_PREFACE, bare=True),
    Case("3.4", "a request where SETTINGS must be first", PREFACE + headers(1) + settings(), NO_PREFACE, bare=True),
    Case("3.4", "an acknowledgement where SETTINGS must be first", PREFACE + frame(4, ACK), NO_PREFACE, bare=True),
]
FRAMES = [
    Case("4.1", "flags that mean nothing", ping()[:4] + b"\xfe" + ping()[5:], LIVES),
    Case("4.1", "the reserved bit", frame(Kind.PING, 0, 1 << 31, b"reserved"), LIVES),
    Case("4.1", "a flag that means nothing on a request", headers(1, flags=END_HEADERS | 0x42), ANSWERS),
    Case("4.2", "DATA as large as may be", sending() + data(1, b"x" * FRAME_BYTES, end=True), ANSWERS),
    Case(
        "4.2", "DATA larger than may be", sending() + data(1, b"x" * (FRAME_BYTES + 1)), resets(Code.FRAME_SIZE_ERROR)
    ),
    Case("4.2", "HEADERS larger than may be", headers(1, WHOLE + literal("x", "y" * FRAME_BYTES)), SIZE),
    Case("4.2", "a type that nobody knows, larger than may be", frame(0x99, payload=bytes(FRAME_BYTES + 1)), SIZE),
    Case("4.3", "a field block that is none", headers(1, b"\x00\x7f\xff\xff\xff\xff\xff\xff\xff"), UNCODED),
    Case(
        "4.3",
        "a field block in pieces",
        headers(1, WHOLE[:THIRD], flags=0)
        + continuation(1, WHOLE[THIRD : 2 * THIRD])
        + continuation(1)
        + continuation(1, WHOLE[2 * THIRD :], last=True),
        ANSWERS,
    ),
    Case("4.3", "a table kept from one request to the next", headers(1, KEPT) + headers(3, AGAIN), Answers((1, 3))),
    Case(
        "4.3",
        "a field block for a stream that was reset changes the table",
        sending() + rst(1) + headers(3, KEPT) + rst(3) + headers(5, AGAIN),
        Answers((5,)),
    ),
]
for kind, other in {
    "PRIORITY": priority(1),
    "HEADERS of another stream": headers(3),
    "DATA": data(1),
    "PING": ping(),
    "a type that nobody knows": frame(0x99),
    "CONTINUATION of another stream": continuation(3, b"", last=True),
}.items():
    FRAMES.append(Case("4.3", f"{kind} in a field block", headers(1, WHOLE[:THIRD], flags=0) + other, WRONG))

STREAMS = [
    Case("5.1", "DATA on an idle stream", data(1, b"x"), WRONG),
    Case("5.1", "RST_STREAM on an idle stream", rst(1), WRONG),
    Case("5.1", "WINDOW_UPDATE on an idle stream", window(1, 1), WRONG),
    Case("5.1", "CONTINUATION on an idle stream", continuation(1, WHOLE, last=True), WRONG),
    Case("5.1", "PRIORITY on an idle stream", priority(1), LIVES),
    Case("5.1", "DATA after the end of the request", held() + data(1, b"x"), CLOSED),
    Case("5.1", "HEADERS after the end of the request", held() + headers(1, fields(("a", "b"))), CLOSED),
    Case("5.1", "CONTINUATION after the end of the request", held() + continuation(1, b"", last=True), WRONG),
    Case("5.1", "WINDOW_UPDATE after the end of the request", held() + window(1, 9), LIVES),
    Case("5.1", "PRIORITY after the end of the request", held() + priority(1), LIVES),
    Case("5.1", "RST_STREAM after the end of the request", held() + rst(1), LIVES),
    Case("5.1", "DATA after RST_STREAM", sending() + rst(1) + data(1, b"x"), GONE),
    Case(
        "5.1",
        "HEADERS after RST_STREAM",
        sending() + rst(1) + headers(1),
        Resets(1, (Code.STREAM_CLOSED, Code.PROTOCOL_ERROR), ignores=True),
    ),
    Case("5.1", "PRIORITY after RST_STREAM", sending() + rst(1) + priority(1), LIVES),
    Case("5.1.1", "an even stream", headers(2), WRONG),
    Case("5.1.1", "stream 0", headers(0), WRONG),
    Case("5.1.1", "a lower stream than before", held(5) + headers(3), dies(Code.PROTOCOL_ERROR, Code.STREAM_CLOSED)),
    Case("5.1.1", "streams left out", held(3) + headers(1001), Answers((1001,))),
    Case(
        "5.1.1",
        "DATA on a stream left out",
        held(5) + data(3, b"x"),
        Resets(3, (Code.PROTOCOL_ERROR, Code.STREAM_CLOSED), ignores=True),
    ),
    Case(
        "5.3",
        "a request with a priority",
        headers(1, bytes(4) + b"\x10" + WHOLE, flags=END_HEADERS | PRIORITY),
        ANSWERS,
    ),
    Case("5.4.2", "RST_STREAM of a stream that ended", headers(1) + rst(1) + rst(1), LIVES),
    Case("5.5", "a type that nobody knows", frame(0x99, 0xFF, 0, b"anything") + frame(0x99, 0xFF, 77), LIVES),
    Case("5.5", "a setting that nobody knows", settings((0x9999, 0xFFFFFFFF)), LIVES),
]

FRAME_KINDS = [
    Case("6.1", "DATA on stream 0", data(0, b"x"), WRONG),
    Case("6.1", "DATA with padding", sending() + frame(0, PADDED | END_STREAM, 1, b"\x05abc" + bytes(5)), ANSWERS),
    Case("6.1", "DATA of padding alone", sending() + frame(0, PADDED | END_STREAM, 1, b"\x05" + bytes(5)), ANSWERS),
    Case("6.1", "DATA with as much padding as payload", sending() + frame(0, PADDED, 1, b"\x04abc"), WRONG),
    Case(
        "6.1",
        "DATA too short to say its padding",
        sending() + frame(0, PADDED, 1),
        dies(Code.PROTOCOL_ERROR, Code.FRAME_SIZE_ERROR),
    ),
    Case("6.2", "HEADERS with padding", headers(1, b"\x03" + WHOLE + bytes(3), flags=END_HEADERS | PADDED), ANSWERS),
    Case(
        "6.2", "HEADERS with more padding than payload", headers(1, b"\xff" + WHOLE, flags=END_HEADERS | PADDED), WRONG
    ),
    Case(
        "6.2",
        "HEADERS too short for its priority",
        headers(1, b"\0\0\0", flags=END_HEADERS | PRIORITY),
        dies(Code.PROTOCOL_ERROR, Code.FRAME_SIZE_ERROR),
    ),
    Case("6.3", "PRIORITY on stream 0", priority(0), WRONG),
    Case(
        "6.3", "PRIORITY of four bytes", sending() + frame(Kind.PRIORITY, 0, 1, bytes(4)), resets(Code.FRAME_SIZE_ERROR)
    ),
    Case("6.4", "RST_STREAM on stream 0", rst(0), WRONG),
    Case("6.4", "RST_STREAM of three bytes", sending() + frame(Kind.RST_STREAM, 0, 1, bytes(3)), SIZE),
    Case("6.4", "RST_STREAM with a code that nobody knows", held() + rst(1, 0xFEED), LIVES),
    Case("6.5", "SETTINGS that acknowledges with a payload", frame(4, ACK, 0, bytes(6)), SIZE),
    Case("6.5", "SETTINGS on a stream", frame(4, 0, 1), WRONG),
    Case("6.5", "SETTINGS of five bytes", frame(4, payload=bytes(5)), SIZE),
    Case("6.5.2", "ENABLE_PUSH of 2", settings((Setting.ENABLE_PUSH, 2)), WRONG),
    Case("6.5.2", "INITIAL_WINDOW_SIZE of 2^31", settings((Setting.INITIAL_WINDOW_SIZE, 1 << 31)), dies(FLOW)),
    Case("6.5.2", "MAX_FRAME_SIZE of 16383", settings((Setting.MAX_FRAME_SIZE, 16383)), WRONG),
    Case("6.5.2", "MAX_FRAME_SIZE of 2^24", settings((Setting.MAX_FRAME_SIZE, 1 << 24)), WRONG),
    Case(
        "6.5.2",
        "every setting at its most",
        settings((1, 65536), (2, 0), (3, MOST), (4, MOST), (5, (1 << 24) - 1), (6, MOST)),
        LIVES,
    ),
    Case("6.5.3", "one setting twice in a frame", settings((4, MOST + 1), (4, 1)), dies(FLOW)),
    Case(
        "6.6", "PUSH_PROMISE from a client", sending() + frame(5, END_HEADERS, 1, struct.pack(">I", 2) + WHOLE), WRONG
    ),
    Case("6.7", "PING on a stream", frame(Kind.PING, 0, 1, bytes(8)), WRONG),
    Case("6.7", "PING of seven bytes", frame(Kind.PING, 0, 0, bytes(7)), SIZE),
    Case("6.8", "GOAWAY on a stream", frame(Kind.GOAWAY, 0, 1, bytes(8)), WRONG),
    Case("6.8", "GOAWAY of four bytes", frame(Kind.GOAWAY, 0, 0, bytes(4)), SIZE),
    Case("6.9", "WINDOW_UPDATE of 0 on the connection", window(0, 0), WRONG),
    Case("6.9", "WINDOW_UPDATE of 0 on a stream", held() + window(1, 0), resets(Code.PROTOCOL_ERROR)),
    Case("6.9", "WINDOW_UPDATE of three bytes", frame(8, 0, 0, bytes(3)), SIZE),
    Case("6.9", "WINDOW_UPDATE of a stream that ended", headers(1) + window(1, 9), ANSWERS),
    Case("6.9", "the reserved bit of an increment", frame(8, 0, 0, struct.pack(">I", 1 << 31 | 5)), LIVES),
    Case("6.9.1", "a connection's window above its most", window(0, MOST), dies(FLOW)),
    Case("6.9.1", "a stream's window above its most", held() + window(1, MOST), resets(FLOW)),
    Case(
        "6.9.2",
        "a setting that takes a stream's window above its most",
        held() + window(1, 65536) + settings((4, MOST)),
        dies(FLOW),
    ),
    Case("6.10", "CONTINUATION on stream 0", headers(1, WHOLE[:THIRD], flags=0) + continuation(0), WRONG),
    Case("6.10", "CONTINUATION of a block that is whole", sending() + continuation(1, b"", last=True), WRONG),
    Case("6.10", "CONTINUATION of DATA", sending() + data(1) + continuation(1, b"", last=True), WRONG),
    Case("6.10", "HEADERS that has all and says there is more", headers(1, WHOLE, flags=0) + headers(3), WRONG),
]

TRAILERS = fields(("x-sum", "1"))
MESSAGES = [
    Case("8.1", "trailer fields", sending() + data(1, b"hello") + headers(1, TRAILERS), ANSWERS),
    Case(
        "8.1",
        "a second head that does not end the request",
        sending() + headers(1, TRAILERS, end=False) + data(1, end=True),
        MALFORMED,
    ),
    Case(
        "8.1", "a pseudo-header field in trailer fields", sending() + headers(1, fields((":method", "GET"))), MALFORMED
    ),
    Case("8.1", "an empty body in two frames", sending() + data(1) + data(1, end=True), Answers((1,))),
    Case(
        "8.1.1",
        "less than the content-length",
        sending(1, ("content-length", "9")) + data(1, b"1", end=True),
        MALFORMED,
    ),
    Case(
        "8.1.1",
        "more than the content-length",
        sending(1, ("content-length", "1")) + data(1, b"123", end=True),
        MALFORMED,
    ),
    Case(
        "8.1.1",
        "nothing at all of the content-length",
        headers(1, request("POST", TAKES, ("content-length", "1"))),
        MALFORMED,
    ),
    Case(
        "8.1.1",
        "the content-length in two frames",
        sending(1, ("content-length", "4")) + data(1, b"12") + data(1, b"34", end=True),
        ANSWERS,
    ),
    Case(
        "8.1.1",
        "two content-lengths",
        sending(1, ("content-length", "1"), ("content-length", "2")) + data(1, b"1", end=True),
        MALFORMED,
    ),
    Case(
        "8.1.1",
        "a content-length that is no number",
        sending(1, ("content-length", "+1")) + data(1, b"1", end=True),
        MALFORMED,
    ),
    Case("8.2", "a name in capitals", plus("X-Test", "a"), MALFORMED),
    Case("8.2.1", "an empty name", plus("", "a"), MALFORMED),
    Case("8.2.1", "a colon in a name", plus("x:y", "a"), MALFORMED),
    Case("8.2.1", "a blank in a name", plus("x y", "a"), MALFORMED),
    Case("8.2.1", "a control in a name", plus(b"x\x01", "a"), MALFORMED),
    Case("8.2.1", "a byte above ASCII in a name", plus(b"x\xe9", "a"), MALFORMED),
    Case("8.2.1", "NUL in a value", plus("x", b"a\0b"), MALFORMED),
    Case("8.2.1", "LF in a value", plus("x", b"a\nb"), MALFORMED),
    Case("8.2.1", "CR in a value", plus("x", b"a\rb"), MALFORMED),
    Case("8.2.1", "a blank before a value", plus("x", " a"), MALFORMED),
    Case("8.2.1", "a tab behind a value", plus("x", "a\t"), MALFORMED),
    Case("8.2.1", "an empty value", plus("x", ""), ANSWERS),
    Case("8.2.1", "a byte above ASCII in a value", plus("x", b"caf\xe9"), ANSWERS),
    Case("8.2.1", "LF in a path", replaced(":path", PAGE + "\nx: y"), MALFORMED),
    Case("8.2.1", "CR LF in an authority", replaced(":authority", "localhost\r\nx: y"), MALFORMED),
    Case("8.2.1", "CR LF in a method", replaced(":method", "GET\r\n"), MALFORMED),
    *(
        Case("8.2.2", f"the field {name}: {value}", plus(name, value), MALFORMED)
        for name, value in (
            ("connection", "close"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("te", "gzip"),
            ("te", "trailers, deflate"),
        )
    ),
    Case("8.2.2", "the field te: trailers", plus("te", "trailers"), ANSWERS),
    Case(
        "8.2.3",
        "a cookie in three fields",
        headers(1, (*request(), *(("cookie", f"a={n}") for n in range(3)))),
        ANSWERS,
    ),
    Case("8.3", "a pseudo-header field that nobody knows", headers(1, ((":x", "y"), *request())), MALFORMED),
    Case("8.3", "an answer's pseudo-header field", headers(1, ((":status", "200"), *request())), MALFORMED),
    Case(
        "8.3", "a pseudo-header field behind others", headers(1, (request()[0], ("x", "y"), *request()[1:])), MALFORMED
    ),
    *(Case("8.3", f"{n} twice", headers(1, (*request(), (n, v))), MALFORMED) for n, v in request()),
    *(Case("8.3.1", f"no {n}", without(n), MALFORMED) for n in (":method", ":scheme", ":path")),
    Case("8.3.1", "an empty path", replaced(":path", ""), MALFORMED),
    Case("8.3.1", "a path without its slash", replaced(":path", "polling"), MALFORMED),
    Case("8.3.1", "a path that is an address", replaced(":path", "http://localhost/polling"), MALFORMED),
    Case("8.3.1", "an authority with a user in it", replaced(":authority", "me@localhost"), MALFORMED),
    Case("8.3.1", "Host where the authority is", headers(1, (*request()[:3], ("host", "localhost"))), ANSWERS),
    Case("8.3.1", "Host as the authority", plus("host", "localhost"), ANSWERS),
    Case("8.3.1", "Host unlike the authority", plus("host", "127.0.0.1"), MALFORMED),
    Case(
        "8.5", "CONNECT with a path", headers(1, request("CONNECT")), Resets(1, (Code.PROTOCOL_ERROR,), (400, 405, 501))
    ),
]

EOS = b"\xff\xff\xff\xfc"
CODED = b"\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"  # "www.example.com" (RFC 7541 section C.4.1)
PSEUDO = b"\x82\x86" + b"\x04" + string(PAGE)  # GET, http from the static table, its :path
TABLES = [
    Case("7541 2.3.3", "index 0", headers(1, WHOLE + b"\x80"), UNCODED),
    Case("7541 2.3.3", "an index beyond both tables", headers(1, WHOLE + b"\xc6"), UNCODED),
    Case("7541 2.3.3", "a name's index beyond both tables", headers(1, WHOLE + b"\x7f\x30\x01a"), UNCODED),
    Case("7541 4.2", "a table above its most", headers(1, integer(1 << 20, 5, 0x20) + WHOLE), UNCODED),
    Case("7541 4.2", "two updates of the table's size", headers(1, b"\x20" + integer(4096, 5, 0x20) + WHOLE), ANSWERS),
    Case("7541 4.2", "an update of the table's size behind a field", headers(1, WHOLE + b"\x20"), UNCODED),
    Case("7541 4.3", "an update that empties the table", headers(1, KEPT) + headers(3, b"\x20" + AGAIN), UNCODED),
    Case(
        "7541 4.4",
        "a field larger than the table empties it",
        headers(1, KEPT + literal("x", "y" * 5000, kept=True)) + headers(3, AGAIN),
        UNCODED,
    ),
    Case("7541 5.1", "an integer without end", headers(1, b"\x7f" + b"\xff" * 20), UNCODED),
    Case("7541 5.1", "an integer that is cut off", headers(1, WHOLE + b"\x7f"), UNCODED),
    Case("7541 5.2", "a string that is cut off", headers(1, WHOLE + b"\x00\x05ab"), UNCODED),
    Case("7541 5.2", "Huffman's padding of eight bits", headers(1, WHOLE + b"\x00\x01x" + b"\x82\x07\xff"), UNCODED),
    Case("7541 5.2", "Huffman's padding of zeros", headers(1, WHOLE + b"\x00\x01x" + b"\x81\x00"), UNCODED),
    Case("7541 5.2", "the end of a string coded in it", headers(1, WHOLE + b"\x00\x01x" + b"\x84" + EOS), UNCODED),
    Case("7541 6.1", "fields of the static table", headers(1, PSEUDO + b"\x01" + string("localhost")), ANSWERS),
    Case(
        "7541 6.2.3", "a field that is never to be indexed", headers(1, PSEUDO + b"\x11" + string("localhost")), ANSWERS
    ),
    Case(
        "7541 5.2",
        "a value in Huffman's code",
        headers(1, PSEUDO + b"\x01" + string("localhost") + b"\x00\x01x" + CODED),
        ANSWERS,
    ),
]

CONNECT = ((":method", "CONNECT"), (":protocol", "websocket"), *request(path="/websocket/echo")[1:])
VERSION = ("sec-websocket-version", "13")


def connect(*dropped: str, protocol: str = "websocket", more: Sequence[tuple[str, str]] = ()) -> bytes:
    chosen = tuple((n, protocol if n == ":protocol" else v) for n, v in CONNECT if n not in dropped)
    return headers(1, (*chosen, VERSION, *more), end=False)


SOCKETS = [
    Case("8441 4", "CONNECT and a protocol without a path", connect(":path"), MALFORMED),
    Case("8441 4", "CONNECT and a protocol without a scheme", connect(":scheme"), MALFORMED),
    Case(
        "8441 4",
        "CONNECT and a protocol without an authority",
        connect(":authority"),
        Resets(1, (Code.PROTOCOL_ERROR,), (400, 200)),
    ),
    Case("8441 4", "a protocol without CONNECT", headers(1, ((":protocol", "websocket"), *request())), MALFORMED),
    Case(
        "8441 4",
        "a protocol that nobody knows",
        connect(protocol="carrier-pigeon"),
        Resets(1, (Code.PROTOCOL_ERROR,), (400, 501)),
    ),
    Case(
        "8441 4",
        "CONNECT and a protocol to what is no WebSocket",
        headers(1, (*CONNECT[:3], (":path", PAGE), CONNECT[4], VERSION), end=False),
        Resets(1, (Code.PROTOCOL_ERROR,), (400, 404, 405, 501)),
    ),
    Case("8441 5", "the field upgrade: websocket", connect(more=[("upgrade", "websocket")]), MALFORMED),
    Case("8441 5", "the field connection: upgrade", connect(more=[("connection", "upgrade")]), MALFORMED),
]

CASES = [*STARTING, *FRAMES, *STREAMS, *FRAME_KINDS, *MESSAGES, *TABLES, *SOCKETS]
