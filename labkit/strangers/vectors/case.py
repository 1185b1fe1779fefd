"""What a case is: the bytes that its answers are made of, and what a right client has in hand at the end. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["event-stream", "lines", "parts", "long-poll", "websocket"]
SOCKET: Kind = "websocket"
Had = Mapping[str, Any]
"""What a client has, or what the server saw, as JSON says it."""

CORS = ("Cache-Control: no-store", "Access-Control-Allow-Origin: *")
"""In every answer: pages of other origins may try their clients too."""


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes for the wire; one write, unless they are to be cut. A head is only cut where ``cut`` is ``all``."""

    data: bytes
    is_head: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing, for so many seconds; a long one is shortened by ``--fast``."""

    s: float
    is_long: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request is answered with.

    Attributes:
        steps: what is written, and when; the head first.
        end: ``keep`` the connection for the next request, end it with a ``fin``, or with a ``reset``; a WebSocket is
            ended once the client has closed it, where ``echo`` sends its close back.
        cut: how its bytes are cut unless the request says otherwise, see ``cutting.py``.
        needs: only for a request whose ``Sec-WebSocket-Extensions`` or ``Accept-Encoding`` names this.
        instead: what any other request gets.
    """

    steps: tuple[Write | Pause, ...]
    end: Literal["keep", "fin", "reset", "echo"] = "keep"
    cut: str = "whole"
    needs: str = ""
    instead: Answer | None = None

    @property
    def body(self) -> bytes:
        """All that is written after the head, as it is on the wire."""
        return b"".join(step.data for step in self.steps if isinstance(step, Write) and not step.is_head)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One right end of a case.

    Attributes:
        had: what the client has in hand.
        sees: what the server has seen of it: ``requests`` (a Last-Event-ID each, None where there is none),
            ``fields`` of the first of them, and of a WebSocket ``pongs`` and ``close``.
        why: why this is right as well, of one that is not the first.
    """

    had: Had
    sees: Had
    why: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One address to try a client on.

    Attributes:
        name: the last part of its address; no two cases share it.
        about: what is awkward, and what is right.
        clause: where that is written.
        answers: to the first request of a visit, the second, ...; the last one to all that follow.
        outcomes: what is right; the first is what the specification says, others are as right.
        waits_ms: a request may not follow the answer before it earlier than this: by its place, from the second on.
        does: what a client has to do at the first message: ``close`` with a ``code`` and a ``reason``.
    """

    name: str
    kind: Kind
    about: str
    clause: str
    answers: tuple[Answer, ...]
    outcomes: tuple[Outcome, ...]
    waits_ms: tuple[int, ...] = ()
    does: Had = field(default_factory=dict)

    @property
    def is_slow(self) -> bool:
        """Whether it takes about a minute, without ``--fast``."""
        return any(isinstance(step, Pause) and step.is_long for answer in self.answers for step in answer.steps)

    @property
    def address(self) -> str:
        """Its path."""
        return f"/{self.kind}/{self.name}"


def head(status: str = "200 OK", *fields: str, version: str = "HTTP/1.1") -> Write:
    """The head of an answer: exactly these fields, and :data:`CORS`."""
    lines = (f"{version} {status}", *fields, *CORS, "", "")
    return Write("\r\n".join(lines).encode(), is_head=True)


def chunk(data: bytes, extension: str = "") -> bytes:
    """One chunk (RFC 9112 section 7.1)."""
    return f"{len(data):x}{extension}\r\n".encode() + data + b"\r\n"


LAST_CHUNK = b"0\r\n\r\n"


def whole(
    body: bytes, content_type: str, *, status: str = "200 OK", fields: tuple[str, ...] = (), cut: str = "whole"
) -> Answer:
    """An answer with all of *body* in one chunk, which ends as it should."""
    start = head(status, f"Content-Type: {content_type}", "Transfer-Encoding: chunked", *fields)
    return Answer((start, Write((chunk(body) if body else b"") + LAST_CHUNK)), cut=cut)


def in_pieces(content_type: str, *pieces: bytes | float, end: bytes = LAST_CHUNK) -> Answer:
    """The same with each piece a chunk and a write of its own; a number is a pause in seconds."""
    steps = [Pause(piece) if isinstance(piece, float) else Write(chunk(piece)) for piece in pieces]
    start = head("200 OK", f"Content-Type: {content_type}", "Transfer-Encoding: chunked")
    return Answer((start, *steps, *([Write(end)] if end else [])), end="keep" if end == LAST_CHUNK else "fin")


def empty(status: str, *fields: str) -> Answer:
    """An answer without a body. A 204 has no length (RFC 9110 section 8.6)."""
    length = () if status.startswith("204") else ("Content-Length: 0",)
    return Answer((head(status, *length, *fields),))


NO_CONTENT = empty("204 No Content")
"""With this an event stream is over for good (WHATWG HTML 9.2.2)."""
GONE = empty("410 Gone")
"""With this there is nothing more to poll for."""
