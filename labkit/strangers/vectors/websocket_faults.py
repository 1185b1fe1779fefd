"""WebSockets that are refused, cut, or break RFC 6455: the client fails the connection. Pure."""

from __future__ import annotations

from labkit.strangers.vectors.case import SOCKET, Answer, Case, Outcome, empty, head, whole
from labkit.strangers.vectors.socket_case import (
    ACCEPT,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    UPGRADE,
    close,
    closed,
    failed,
    frame,
    socket_case,
    text,
    upgraded,
    written,
)

APART_S = 1.0
"""Between what a client has in hand and a fault: long enough that a busy one has it in hand."""
END = close(1000)
AFTER = text("no") + END
_MASKED_NO = bytes([0x81, 0x82, 1, 2, 3, 4, ord("n") ^ 1, ord("o") ^ 2])


SENDERS_RULE = "The rule is the sender's: it does not say that a client has to fail the connection."


def _broken(name: str, about: str, section: str, *frames: bytes | float, or_else: Outcome | None = None) -> Case:
    """A message and what breaks the rules; what follows is not heard."""
    outcomes = (failed("one"),) if or_else is None else (failed("one"), or_else)
    return socket_case(name, about, section, upgraded(text("one"), APART_S, *frames, AFTER), *outcomes)


_TAKEN = closed("one", "no", "no", why=SENDERS_RULE)


def _told(code: int) -> Outcome:
    """A bad code was told as it came."""
    had = {**failed("one").had, "close": {"code": code, "clean": True}}
    return Outcome(had, {"requests": [None]}, SENDERS_RULE)


_BREAKS = (
    _broken("masked", "A server's frame is masked.", "6455 section 5.1", _MASKED_NO),
    _broken(
        "reserved-bit",
        "A reserved bit is set, but no extension was agreed.",
        "6455 section 5.2",
        frame(TEXT, b"no", bits=0x20),
    ),
    _broken("reserved-opcode", "A data frame of an unknown kind.", "6455 section 5.2", frame(0x3, b"no")),
    _broken("reserved-control-opcode", "A control frame of an unknown kind.", "6455 section 5.2", frame(0xB)),
    _broken(
        "length-not-shortest",
        "16 bits for a length that needs 7.",
        "6455 section 5.2",
        frame(TEXT, b"no", length=b"\x7e\x00\x02"),
        or_else=_TAKEN,
    ),
    _broken(
        "length-not-shortest-64",
        "64 bits for a length that needs 7.",
        "6455 section 5.2",
        frame(TEXT, b"no", length=b"\x7f" + bytes(7) + b"\x02"),
        or_else=_TAKEN,
    ),
    _broken(
        "length-top-bit",
        "The top bit of a 64-bit length is set.",
        "6455 section 5.2",
        frame(TEXT, b"no", length=b"\x7f\x80" + bytes(6) + b"\x02"),
    ),
    _broken("ping-of-126-bytes", "A control frame of over 125 bytes.", "6455 section 5.5", frame(PING, b"x" * 126)),
    _broken(
        "ping-in-fragments",
        "A control frame is a fragment.",
        "6455 section 5.5",
        frame(PING, b"n", fin=False),
        frame(CONTINUATION, b"o"),
    ),
    _broken("continuation-alone", "A continuation of nothing.", "6455 section 5.4", frame(CONTINUATION, b"no")),
    _broken(
        "message-inside-a-message",
        "A message begins before the last one has ended.",
        "6455 section 5.4",
        frame(TEXT, b"n", fin=False),
        frame(TEXT, b"o"),
    ),
    _broken("not-utf-8", "A text is not UTF-8.", "6455 section 8.1", frame(TEXT, b"n\xff")),
    _broken("half-a-character", "A text ends inside of a character.", "6455 section 8.1", frame(TEXT, b"n\xe2\x82")),
    _broken("surrogate", "A text has a surrogate.", "6455 section 8.1", frame(TEXT, b"\xed\xa0\x80")),
    _broken("overlong", "A text has a character in too many bytes.", "6455 section 8.1", frame(TEXT, b"\xc0\xaf")),
    _broken(
        "close-of-one-byte",
        "A close frame of one byte.",
        "6455 section 5.5.1",
        frame(CLOSE, b"\x03"),
        or_else=_told(1005),
    ),
    _broken("close-reason-not-utf-8", "A reason is not UTF-8.", "6455 section 5.5.1", frame(CLOSE, b"\x03\xe8\xff")),
    *(
        _broken(
            f"close-{code}-on-the-wire",
            f"{code} never travels in a frame.",
            "6455 section 7.4.1",
            close(code),
            or_else=_told(code),
        )
        for code in (1005, 1006, 1015)
    ),
    _broken("close-999", "999 is no code.", "6455 section 7.4.2", close(999), or_else=_told(999)),
)

_CUTS = (
    socket_case(
        "fin",
        "The connection ends without a close frame.",
        "6455 section 7.1.5",
        Answer((*upgraded(text("one"), APART_S).steps,), end="fin"),
        failed("one"),
    ),
    socket_case(
        "fin-inside-a-frame",
        "It ends inside of a frame.",
        "6455 section 7.1.5",
        Answer((*upgraded(text("one"), text("two and more")[:-4], APART_S).steps,), end="fin"),
        failed("one"),
    ),
    socket_case(
        "fin-inside-a-message",
        "It ends between the fragments of a message.",
        "6455 section 7.1.5",
        Answer((*upgraded(text("one"), frame(TEXT, b"two", fin=False), APART_S).steps,), end="fin"),
        failed("one"),
    ),
    socket_case(
        "reset",
        "The connection is reset.",
        "6455 section 7.1.5",
        Answer((*upgraded(text("one"), APART_S).steps,), end="reset"),
        failed("one"),
    ),
)


def _refused(name: str, about: str, answer: Answer, *or_else: Outcome) -> Case:
    return socket_case(name, about, "6455 section 4.1", answer, failed(), *or_else)


_REFUSALS = (
    _refused("403", "The handshake is refused.", whole(b"no", "text/plain", status="403 Forbidden")),
    _refused("200", "The server answers as if it were any request.", whole(b"no", "text/plain")),
    _refused("502", "A gateway answers.", whole(b"<h1>502</h1>", "text/html", status="502 Bad Gateway")),
    _refused("426", "Another version is asked for.", empty("426 Upgrade Required", "Sec-WebSocket-Version: 99")),
    _refused(
        "no-answer",
        "The connection ends in the handshake.",
        Answer(written(0.1), end="fin"),
        Outcome(failed().had, {"requests": [None, None]}, "A GET may be sent again (RFC 9110 section 9.2.2)."),
    ),
    _refused(
        "wrong-accept",
        "The accept key answers another request.",
        Answer(
            (
                head("101 Switching Protocols", *UPGRADE, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
                *written(AFTER),
            )
        ),
    ),
    _refused(
        "no-accept", "There is no accept key.", Answer((head("101 Switching Protocols", *UPGRADE), *written(AFTER)))
    ),
    _refused(
        "no-upgrade",
        "The 101 has no Upgrade field.",
        Answer((head("101 Switching Protocols", UPGRADE[1], ACCEPT), *written(AFTER))),
    ),
    _refused(
        "no-connection-upgrade",
        "Nor has Connection an `upgrade`.",
        Answer((head("101 Switching Protocols", UPGRADE[0], ACCEPT), *written(AFTER))),
    ),
    _refused(
        "unasked-subprotocol",
        "The server takes a subprotocol that nobody offered.",
        upgraded(AFTER, fields=("Sec-WebSocket-Protocol: chat",)),
    ),
    _refused(
        "unasked-extension",
        "The server takes an extension that nobody offered.",
        upgraded(AFTER, fields=("Sec-WebSocket-Extensions: x-vectors",)),
    ),
    Case(
        "ws-redirect",
        SOCKET,
        "A redirect fails the handshake, or is followed.",
        "RFC 6455 section 4.1",
        (empty("302 Found", "Location: /websocket/ws-redirect?visit=%VISIT%"), upgraded(text("one") + END)),
        (failed(), Outcome(closed("one").had, {"requests": [None, None], "close": True}, "A client may follow it.")),
    ),
)


CASES: tuple[Case, ...] = (*_BREAKS, *_CUTS, *_REFUSALS)
