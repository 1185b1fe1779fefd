"""WebSocket messages that are compressed, for whoever offers that (RFC 7692). Pure."""

from __future__ import annotations

import zlib

from labkit.strangers.vectors.case import Answer, Case
from labkit.strangers.vectors.socket_case import (
    BINARY,
    CONTINUATION,
    PING,
    TEXT,
    close,
    closed,
    frame,
    socket_case,
    text,
    upgraded,
)

END = close(1000)


def _deflated(*messages: bytes, takeover: bool = True, end: int = zlib.Z_SYNC_FLUSH, bits: int = 15) -> list[bytes]:
    """The payloads of compressed messages (RFC 7692 section 7.2.1)."""
    payloads, coder = [], zlib.compressobj(wbits=-bits)
    for message in messages:
        if not takeover:
            coder = zlib.compressobj(wbits=-bits)
        payloads.append((coder.compress(message) + coder.flush(end)).removesuffix(b"\x00\x00\xff\xff"))
    return payloads


def _offered(name: str, about: str, section: str, payload: bytes, *had: str | bytes, agreed: str = "") -> Case:
    """Deflated for a client that offers it; any other has the same messages plain."""
    plain = b"".join(text(item) if isinstance(item, str) else frame(BINARY, item) for item in had)
    fields = (f"Sec-WebSocket-Extensions: permessage-deflate{agreed}",)
    coded = upgraded(payload + END, fields=fields)
    answer = Answer(coded.steps, needs="permessage-deflate", instead=upgraded(plain + END))
    return socket_case(f"deflate-{name}", about, f"7692 section {section}", answer, closed(*had))


_SAME = "the same words, the same words"
_ONE, _TWO = _deflated(_SAME.encode(), _SAME.encode())
_EMPTY, _AFTER_EMPTY = _deflated(b"", b"x")
_BINARY, _SHORT = _deflated(b"\xff" * 70_000)[0], _deflated(_SAME.encode(), bits=9)[0]

CASES: tuple[Case, ...] = (
    _offered(
        "takeover",
        "The second message refers to the first.",
        "7.2.3.2",
        frame(TEXT, _ONE, bits=0x40) + frame(TEXT, _TWO, bits=0x40),
        _SAME,
        _SAME,
    ),
    _offered(
        "no-takeover",
        "Each message is compressed by itself, as was agreed.",
        "7.1.1.1",
        b"".join(frame(TEXT, item, bits=0x40) for item in _deflated(*[_SAME.encode()] * 2, takeover=False)),
        _SAME,
        _SAME,
        agreed="; server_no_context_takeover",
    ),
    _offered(
        "mixed",
        "A message that is not compressed among those that are.",
        "6",
        frame(TEXT, _ONE, bits=0x40) + text("plain") + frame(TEXT, _TWO, bits=0x40),
        _SAME,
        "plain",
        _SAME,
    ),
    _offered(
        "fragments",
        "A compressed message in fragments: only the first says so; a ping between.",
        "6.1",
        frame(TEXT, _ONE[:5], bits=0x40, fin=False)
        + frame(CONTINUATION, fin=False)
        + frame(PING)
        + frame(CONTINUATION, _ONE[5:]),
        _SAME,
    ),
    _offered(
        "empty",
        "An empty message, compressed.",
        "7.2.3.6",
        frame(TEXT, _EMPTY or b"\x00", bits=0x40) + frame(TEXT, _AFTER_EMPTY, bits=0x40),
        "",
        "x",
    ),
    _offered(
        "stored",
        "A block that is not compressed.",
        "7.2.3.3",
        frame(TEXT, b"\x00\x05\x00\xfa\xffHello\x00", bits=0x40),
        "Hello",
    ),
    _offered(
        "final-block",
        "A block that is marked as the last, and an empty one behind it.",
        "7.2.3.4",
        frame(TEXT, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", bits=0x40),
        "Hello",
    ),
    _offered(
        "large",
        "A message that becomes a thousand times as long.",
        "7.2.2",
        frame(BINARY, _BINARY, bits=0x40),
        b"\xff" * 70_000,
    ),
    _offered(
        "window-of-9-bits",
        "A small window.",
        "7.1.2.1",
        frame(TEXT, _SHORT, bits=0x40),
        _SAME,
        agreed="; server_max_window_bits=9",
    ),
    _offered(
        "window-of-8-bits",
        "The smallest window.",
        "7.1.2.1",
        frame(TEXT, _SHORT, bits=0x40),
        _SAME,
        agreed="; server_max_window_bits=8",
    ),
)
