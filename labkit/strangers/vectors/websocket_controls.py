"""WebSocket pings, pongs and closes as RFC 6455 allows them. Pure."""

from __future__ import annotations

from labkit.strangers.vectors.case import SOCKET, Answer, Case, Outcome
from labkit.strangers.vectors.socket_case import PING, PONG, close, closed, frame, pinged, socket_case, text, upgraded

END = close(1000)
_WORDS = "é한🙂"

_PINGS = (
    pinged(
        "ping",
        "A ping is answered with its payload.",
        "6455 section 5.5.3",
        frame(PING, b"hello"),
        had=(),
        pongs=(b"hello",),
    ),
    pinged(
        "ping-sizes",
        "A ping may be empty, of 125 bytes, and no text.",
        "6455 section 5.5.2",
        frame(PING),
        0.1,
        frame(PING, b"x" * 125),
        0.1,
        frame(PING, b"\xff\x00"),
        0.1,
        had=(),
        pongs=(b"", b"x" * 125, b"\xff\x00"),
    ),
    socket_case(
        "ping-flood",
        "Of pings that come at once, the last one has to be answered.",
        "6455 section 5.5.3",
        upgraded(b"".join(frame(PING, b"%d" % n) for n in range(10)), text("one"), END),
        closed("one", pongs=tuple(b"%d" % n for n in range(10))),
        closed("one", pongs=(b"9",), why="A client may answer only the most recent ping."),
    ),
    pinged(
        "pong-unasked",
        "A pong that nobody asked for is a heartbeat, and not answered.",
        "6455 section 5.5.3",
        frame(PONG),
        frame(PONG, b"beat"),
        text("one"),
        had=("one",),
        pongs=(),
    ),
)


def _closes(name: str, about: str, section: str, code: int | None, reason: str = "") -> Case:
    had = closed("one", code=1005 if code is None else code, reason=reason)
    return socket_case(name, about, section, upgraded(text("one"), close(code, reason)), had)


_OF_THE_RFC = dict.fromkeys((1001, 1003, *range(1007, 1012)), "") | {1010: ", which is the client's to send"}
_CLOSES = (
    _closes("close-without-code", "A close of no code is 1005 to the application.", "6455 section 7.1.5", None),
    *(
        _closes(f"close-{code}", f"The server closes with {code}{more}.", "6455 section 7.4.1", code, "bye")
        for code, more in _OF_THE_RFC.items()
    ),
    *(
        _closes(f"close-{code}", f"{code} was registered after the RFC.", "6455 section 7.4.2", code, "bye")
        for code in (1012, 1013, 1014)
    ),
    *(
        _closes(f"close-{code}", f"{code} is a code of frameworks and applications.", "6455 section 7.4.2", code, "bye")
        for code in (3000, 3999, 4000, 4999)
    ),
    _closes("close-reason", "A reason in UTF-8.", "6455 section 5.5.1", 4001, f"{_WORDS}: bye"),
    _closes("close-reason-of-123-bytes", "The longest reason.", "6455 section 5.5", 4001, "é" * 61 + "x"),
    Case(
        "ws-close-by-the-client",
        SOCKET,
        "The client closes at the first message, with a code and a reason.",
        "RFC 6455 section 7.1.2",
        (Answer(upgraded(text("close with 4001")).steps, end="echo"),),
        (
            Outcome(
                closed("close with 4001", code=4001, reason="é: bye").had,
                {"requests": [None], "close": {"code": 4001, "reason": "é: bye"}},
            ),
        ),
        does={"close": {"code": 4001, "reason": "é: bye"}},
    ),
    socket_case(
        "close-then-more",
        "What follows a close frame is not read.",
        "6455 section 1.4",
        upgraded(text("one") + END + text("no") + frame(PING, b"no")),
        closed("one", pongs=()),
    ),
    socket_case(
        "close-late",
        "The close comes long after the last message.",
        "6455 section 5.5.1",
        upgraded(text("one"), 2.0, END),
        closed("one"),
    ),
)

CASES: tuple[Case, ...] = (*_PINGS, *_CLOSES)
