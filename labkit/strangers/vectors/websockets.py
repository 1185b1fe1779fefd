"""WebSocket messages as RFC 6455 allows them: kinds, sizes, fragments, cuts. Pure."""

from __future__ import annotations

from labkit.strangers.vectors.case import SOCKET, Answer, Case, Outcome, Write
from labkit.strangers.vectors.socket_case import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    close,
    closed,
    frame,
    pinged,
    socket_case,
    text,
    upgraded,
)

END = close(1000)


def _messages(
    name: str, about: str, section: str, *frames: bytes | float, had: tuple[str | bytes, ...], cut: str = "whole"
) -> Case:
    return socket_case(name, about, section, upgraded(*frames, END, cut=cut), closed(*had))


def _written(answer: Answer) -> list[bytes]:
    return [step.data for step in answer.steps if isinstance(step, Write)]


def _size(size: int) -> Case:
    kinds = text("x" * size) + frame(BINARY, b"\xff" * size)
    form = "7 bits" if size < 126 else "16 bits" if size < 65536 else "64 bits"
    return _messages(
        f"of-{size}-bytes",
        f"A text and a binary message of {size} bytes: a length of {form}.",
        "6455 section 5.2",
        kinds,
        had=("x" * size, b"\xff" * size),
    )


_WORDS = "é한🙂"
_BYTES = _WORDS.encode()

_MESSAGES = (
    Case(
        "ws-what-is-asked",
        SOCKET,
        "The request of a handshake says which version it speaks.",
        "RFC 6455 section 4.1",
        (upgraded(text("one"), END),),
        (
            Outcome(
                closed("one").had,
                {
                    "requests": [None],
                    "close": True,
                    "fields": {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "=="},
                },
            ),
        ),
    ),
    _messages("text", "One message.", "6455 section 5.6", text("hello"), had=("hello",)),
    _messages(
        "binary",
        "One message of bytes, not UTF-8.",
        "6455 section 5.6",
        frame(BINARY, b"\x00\xff\xfe"),
        had=(b"\x00\xff\xfe",),
    ),
    _messages(
        "any-alphabet", "Text of one to four bytes a character.", "6455 section 8.1", text(_WORDS), had=(_WORDS,)
    ),
    _messages(
        "odd-text",
        "NUL, line ends, U+2028 and U+FFFE are characters of a text like others.",
        "6455 section 8.1",
        text("a\0b\r\n\u2028\ufffe\U0010ffff"),
        had=("a\0b\r\n\u2028\ufffe\U0010ffff",),
    ),
    _messages(
        "byte-order-mark",
        "A byte order mark is a character of a text like others.",
        "6455 section 5.6",
        text("\ufeffone"),
        had=("\ufeffone",),
    ),
    _messages(
        "empty",
        "Messages of no bytes are messages.",
        "6455 section 5.6",
        text(""),
        frame(BINARY),
        text("x"),
        had=("", b"", "x"),
    ),
    *(_size(size) for size in (125, 126, 127, 65535, 65536)),
    _messages(
        "many",
        "1 000 messages in one write.",
        "6455 section 5.6",
        b"".join(text(str(n)) for n in range(1000)),
        had=tuple(str(n) for n in range(1000)),
    ),
)

_FRAGMENTS = (
    _messages(
        "fragments",
        "A message of three frames.",
        "6455 section 5.4",
        frame(TEXT, b"one ", fin=False),
        frame(CONTINUATION, b"two ", fin=False),
        frame(CONTINUATION, b"three"),
        had=("one two three",),
    ),
    _messages(
        "fragments-apart",
        "Its frames come apart.",
        "6455 section 5.4",
        frame(BINARY, b"\xff", fin=False),
        0.1,
        frame(CONTINUATION, b"\xfe", fin=False),
        0.1,
        frame(CONTINUATION),
        had=(b"\xff\xfe",),
    ),
    _messages(
        "empty-fragments",
        "Some of its frames are empty, the first and the last among them.",
        "6455 section 5.4",
        frame(TEXT, fin=False),
        frame(CONTINUATION, b"a", fin=False),
        frame(CONTINUATION, fin=False),
        frame(CONTINUATION),
        frame(TEXT, fin=False),
        frame(CONTINUATION),
        had=("a", ""),
    ),
    _messages(
        "character-over-fragments",
        "A character is divided among frames: only the message is UTF-8.",
        "6455 section 8.1",
        frame(TEXT, _BYTES[:1], fin=False),
        frame(CONTINUATION, _BYTES[1:3], fin=False),
        frame(CONTINUATION, _BYTES[3:7], fin=False),
        frame(CONTINUATION, _BYTES[7:]),
        had=(_WORDS,),
    ),
    _messages(
        "fragments-of-one-byte",
        "A message of 1 000 frames.",
        "6455 section 5.4",
        frame(TEXT, b"x", fin=False),
        frame(CONTINUATION, b"x", fin=False) * 998,
        frame(CONTINUATION, b"x"),
        had=("x" * 1000,),
    ),
    pinged(
        "control-between-fragments",
        "Pings and a pong travel between the frames of a message.",
        "6455 section 5.4",
        frame(TEXT, b"one ", fin=False),
        frame(PING, b"p1"),
        0.1,
        frame(CONTINUATION, b"two ", fin=False),
        frame(PONG, b"?"),
        frame(PING),
        0.1,
        frame(CONTINUATION, b"three"),
        had=("one two three",),
        pongs=(b"p1", b""),
    ),
    socket_case(
        "close-between-fragments",
        "A close frame before a message's last: that message never became whole.",
        "6455 section 5.4",
        upgraded(text("one"), frame(TEXT, b"two", fin=False), END),
        closed("one"),
    ),
)

_CUTS = (
    _messages(
        "every-byte",
        "Each byte comes alone: frame heads, the close among them.",
        "6455 section 5.2",
        text(_WORDS),
        frame(PING, b"p"),
        text("x" * 126),
        frame(BINARY, b"\xff", fin=False),
        frame(CONTINUATION, b"\xfe"),
        had=(_WORDS, "x" * 126, b"\xff\xfe"),
        cut="every",
    ),
    _messages(
        "every-byte-of-the-head",
        "Each byte comes alone, those of the answer to the handshake too.",
        "6455 section 4.1",
        text("one"),
        had=("one",),
        cut="all",
    ),
    socket_case(
        "in-one-write",
        "The answer to the handshake, messages and the close come in one write.",
        "6455 section 4.1",
        Answer((Write(b"".join(_written(upgraded(text("one"), text("two"), END))), is_head=True),)),
        closed("one", "two"),
    ),
    _messages(
        "long-length-cut",
        "The eight bytes of a length come in two pieces.",
        "6455 section 5.2",
        frame(TEXT, b"x" * 65536)[:6],
        0.1,
        frame(TEXT, b"x" * 65536)[6:],
        had=("x" * 65536,),
    ),
    socket_case(
        "odd-head",
        "Field names and values of the 101 in any case, among others.",
        "6455 section 4.1",
        Answer(
            (
                Write(
                    b"HTTP/1.1 101 Wait A Moment\r\nX-Empty:\r\nconnection: keep-alive, upgrade\r\n"
                    b"UPGRADE:WebSocket\r\n"
                    b"sec-websocket-accept:  %ACCEPT%  \r\nSet-Cookie: a=b\r\n\r\n",
                    is_head=True,
                ),
                Write(text("one") + END),
            )
        ),
        closed("one"),
    ),
)

CASES: tuple[Case, ...] = (*_MESSAGES, *_FRAGMENTS, *_CUTS)
