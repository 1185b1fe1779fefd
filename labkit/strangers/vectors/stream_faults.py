"""Event streams: ends, refusals and failures (WHATWG HTML 9.2.2 and 9.2.3). Pure.

What is not an event stream ends an EventSource for good, whatever the status; a library with another promise may ask
again, and then has what the next answer brings: that is as right where it is said so.
"""

from __future__ import annotations

from labkit.strangers.vectors.case import (
    LAST_CHUNK,
    NO_CONTENT,
    Answer,
    Case,
    Outcome,
    Pause,
    Write,
    chunk,
    empty,
    head,
    whole,
)
from labkit.strangers.vectors.stream_carriers import CHUNKED, TYPE
from labkit.strangers.vectors.stream_case import EVENT_STREAM, INTERFACE, PROCESSING, ended, event, stream

_FIRST = b"retry: 50\nid: 1\ndata: one\n\n"
_SECOND = stream(b"id: 2\ndata: two\n\n")
_BOTH = (event("one", "1"), event("two", "2"))
COMES_BACK = "A library may come back where an EventSource does not, with its last event id."


def _opened(*steps: Write | Pause) -> tuple[Write | Pause, ...]:
    return (head("200 OK", TYPE, CHUNKED), *steps)


def _broken(name: str, about: str, *faults: Answer) -> Case:
    """An event, a fault or several that a client must come back from, another event, and the end."""
    answers = (*faults, _SECOND, NO_CONTENT)
    requests = (None, *("1" for _ in faults), "2")
    return Case(name, "event-stream", about, PROCESSING, answers, (ended(*_BOTH, requests=requests),))


def _final(name: str, about: str, refusal: Answer, waits_ms: int = 0) -> Case:
    """An event and then an answer that ends an EventSource, though another event would follow."""
    return Case(
        name,
        "event-stream",
        about,
        INTERFACE,
        (stream(_FIRST), refusal, _SECOND, NO_CONTENT),
        (
            ended(event("one", "1"), requests=(None, "1")),
            ended(*_BOTH, requests=(None, "1", "1", "2"), why=COMES_BACK),
        ),
        (0, waits_ms) if waits_ms else (),
    )


def _refused(name: str, about: str, refusal: Answer) -> Case:
    """An answer to the first request that is no stream."""
    return Case(name, "event-stream", about, INTERFACE, (refusal, NO_CONTENT), (ended(requests=(None,)),))


def _redirect(status: str) -> Case:
    number = status[:3]
    name = f"redirect-{number}"
    there = empty(status, f"Location: /event-stream/{name}?part=there&visit=%VISIT%")
    answers = (there, stream(_FIRST), there, _SECOND, NO_CONTENT)
    return Case(
        name,
        "event-stream",
        f"A {number} is followed, and again when the client comes back, to either address.",
        PROCESSING,
        answers,
        (ended(*_BOTH, requests=(None, None, "1", "1", "2")),),
    )


_ENDS = (
    Case(
        "what-is-asked",
        "event-stream",
        "The request says what it wants, and that no cache is to answer.",
        INTERFACE,
        (stream(_FIRST), NO_CONTENT),
        (
            Outcome(
                ended(event("one", "1"), requests=()).had,
                {"requests": [None, "1"], "fields": {"Accept": "text/event-stream", "Cache-Control": "no-cache"}},
            ),
        ),
    ),
    _refused("204-at-once", "204 ends the source for good, without an event.", NO_CONTENT),
    Case(
        "204-later",
        "event-stream",
        "204 to a client that comes back ends the source for good.",
        INTERFACE,
        (stream(_FIRST), NO_CONTENT, _SECOND),
        (ended(event("one", "1"), requests=(None, "1")),),
    ),
    _broken("ends-whole", "The stream ends as it should: the client comes back.", stream(_FIRST)),
    _broken(
        "fin-in-the-middle",
        "A chunked body has no last chunk: an error of the network, the client comes back.",
        Answer(_opened(Write(chunk(_FIRST)), Pause(0.1)), end="fin"),
    ),
    _broken(
        "fin-inside-a-block",
        "The connection ends inside of a block: its data and its id are dropped.",
        Answer(_opened(Write(chunk(_FIRST + b"id: no\ndata: no\n")), Pause(0.1)), end="fin"),
    ),
    _broken(
        "fin-inside-a-chunk",
        "The connection ends inside of a chunk.",
        Answer(_opened(Write(chunk(_FIRST) + b"ff\r\nid: no\ndata: n"), Pause(0.1)), end="fin"),
    ),
    _broken(
        "fin-before-the-length",
        "The body is shorter than its Content-Length.",
        Answer((head("200 OK", TYPE, "Content-Length: 1000"), Write(_FIRST), Pause(0.1)), end="fin"),
    ),
    _broken(
        "reset",
        "The connection is reset after an event.",
        Answer(_opened(Write(chunk(_FIRST)), Pause(1.0)), end="reset"),
    ),
    _broken(
        "cut-again-and-again",
        "Three streams are cut before anything comes; the last id is kept.",
        stream(_FIRST),
        *(Answer(_opened(Pause(0.1)), end="fin") for _ in range(3)),
    ),
    _broken(
        "cut-before-the-answer",
        "A request is answered by the end of the connection.",
        stream(_FIRST),
        Answer((Pause(0.1),), end="fin"),
    ),
    Case(
        "cut-before-the-first-id",
        "event-stream",
        "The first stream is cut before it has an id: the client comes back without one.",
        PROCESSING,
        (
            Answer(_opened(Write(chunk(b"retry: 50\n\ndata: zero\n\nid: no\n")), Pause(0.1)), end="fin"),
            stream(b"id: 1\ndata: one\n\n"),
            NO_CONTENT,
        ),
        (ended(event("zero"), event("one", "1"), requests=(None, None, "1")),),
    ),
    Case(
        "cut-before-the-first-byte",
        "event-stream",
        "The first stream is cut behind its head.",
        PROCESSING,
        (Answer(_opened(Pause(0.1)), end="fin"), stream(b"id: 1\ndata: one\n\n"), NO_CONTENT),
        (ended(event("one", "1"), requests=(None, None, "1")),),
    ),
    Case(
        "heartbeat-alone",
        "event-stream",
        "A minute of comments alone, and then an event: nothing is wrong with that stream.",
        "WHATWG HTML 9.2.7",
        (
            Answer(
                _opened(
                    *(step for _ in range(12) for step in (Write(chunk(b":\n\n")), Pause(5.0, is_long=True))),
                    Write(chunk(b"id: 1\ndata: one\n\n") + LAST_CHUNK),
                )
            ),
            NO_CONTENT,
        ),
        (ended(event("one", "1"), requests=(None, "1")),),
    ),
    Case(
        "slow-head",
        "event-stream",
        "The head of the answer takes its time.",
        PROCESSING,
        (Answer((Pause(2.0), *_opened(Write(chunk(b"data: one\n\n") + LAST_CHUNK)))), NO_CONTENT),
        (ended(event("one"), requests=(None, None)),),
    ),
)

_REFUSALS = (
    _refused("wrong-type", "Another content type is no event stream.", whole(b"data: no\n\n", "text/plain")),
    _refused(
        "no-type",
        "No content type is no event stream.",
        Answer((head("200 OK", CHUNKED), Write(chunk(b"data: no\n\n") + LAST_CHUNK))),
    ),
    _refused("type-json", "A server's JSON is no event stream.", whole(b'{"data": "no"}\n', "application/json")),
    _refused(
        "404",
        "404 ends it, though the body is an event stream.",
        whole(b"data: no\n\n", EVENT_STREAM, status="404 Not Found"),
    ),
    _refused("201", "So does any other status of success.", whole(b"data: no\n\n", EVENT_STREAM, status="201 Created")),
    _refused(
        "unauthorized",
        "401 with a challenge of no scheme that anybody knows.",
        empty("401 Unauthorized", 'WWW-Authenticate: Vectors realm="x"'),
    ),
    _final(
        "502-and-a-return",
        "A gateway answers for the server for a while: it ends an EventSource.",
        whole(b"<h1>502</h1>", "text/html", status="502 Bad Gateway"),
    ),
    _final("500-and-a-return", "500 ends an EventSource too.", empty("500 Internal Server Error")),
    _final(
        "503-with-retry-after",
        "503 ends an EventSource; who comes back waits as long as it was asked to.",
        empty("503 Service Unavailable", "Retry-After: 1"),
        waits_ms=1000,
    ),
    _final(
        "503-with-a-date",
        "Retry-After may be a date, and this one has passed.",
        empty("503 Service Unavailable", "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT"),
    ),
    _final(
        "wrong-type-later",
        "A proxy's page in place of the stream ends an EventSource.",
        whole(b"<p>Log in first</p>", "text/html"),
    ),
    _redirect("301 Moved Permanently"),
    _redirect("307 Temporary Redirect"),
)

CASES: tuple[Case, ...] = (*_ENDS, *_REFUSALS)
