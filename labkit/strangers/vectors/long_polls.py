"""Long-poll answers (RFC 6202 section 2): a client asks the same address again and again, until a 410. Pure.

An answer's body is one delivery. 204, 408, 504 and an empty 200 are a poll that ran out.
"""

from __future__ import annotations

from labkit.strangers.vectors.case import (
    GONE,
    LAST_CHUNK,
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

POLLS = "RFC 6202 section 2"
TEXT = "text/plain; charset=utf-8"
ONE, TWO = whole(b"one", TEXT), whole(b"two", TEXT)


def _polls(
    name: str, about: str, clause: str, *answers: Answer, had: tuple[str, ...] = ("one", "two"), waits_ms: int = 0
) -> Case:
    """Polls that are answered so, and then by 410; *waits_ms* is that of the third request."""
    outcome = Outcome({"answers": list(had)}, {"requests": [None] * (len(answers) + 1)})
    waits = (0, waits_ms) if waits_ms else ()
    return Case(f"poll-{name}", "long-poll", about, clause, (*answers, GONE), (outcome,), waits)


_T = f"Content-Type: {TEXT}"

CASES: tuple[Case, ...] = (
    _polls("plain", "Two answers, and then no more.", POLLS, ONE, TWO),
    _polls("held", "An answer is held for two seconds.", POLLS, ONE, Answer((Pause(2.0), *TWO.steps))),
    _polls(
        "held-for-a-minute",
        "An answer is held for a minute.",
        POLLS,
        ONE,
        Answer((Pause(60.0, is_long=True), *TWO.steps)),
    ),
    _polls(
        "every-byte",
        "Each byte of an answer comes alone, its head too.",
        "RFC 9112 section 2.2",
        whole("é🙂".encode(), TEXT, cut="all"),
        whole(b"two", TEXT, cut="all"),
        had=("é🙂", "two"),
    ),
    _polls(
        "chunks",
        "An answer is its whole body, and not a chunk.",
        "RFC 9112 section 7.1",
        ONE,
        Answer(
            (
                head("200 OK", _T, "Transfer-Encoding: chunked"),
                Write(chunk(b"t")),
                Pause(0.1),
                Write(chunk(b"w")),
                Pause(0.1),
                Write(chunk(b"o") + LAST_CHUNK),
            )
        ),
    ),
    _polls(
        "content-length",
        "A body of a known length.",
        "RFC 9112 section 6.2",
        Answer((head("200 OK", _T, "Content-Length: 3"), Write(b"one"))),
        TWO,
    ),
    _polls(
        "ends-with-the-connection",
        "The close ends the body: the next poll needs a connection of its own.",
        "RFC 9112 section 6.3",
        Answer((head("200 OK", _T, "Connection: close"), Write(b"one")), end="fin"),
        TWO,
    ),
    _polls("204", "204 is a poll that ran out.", "RFC 9110 section 15.3.5", ONE, empty("204 No Content"), TWO),
    _polls("408", "408 is a poll that ran out.", "RFC 9110 section 15.5.9", ONE, empty("408 Request Timeout"), TWO),
    _polls("empty", "200 with nothing in it brings nothing.", POLLS, ONE, empty("200 OK", _T), TWO),
    _polls(
        "502",
        "A gateway answers for a server that is on its way back.",
        "RFC 9110 section 15.6.3",
        ONE,
        whole(b"<h1>502</h1>", "text/html", status="502 Bad Gateway"),
        TWO,
    ),
    _polls(
        "503-with-retry-after",
        "A client waits as long as it is asked to.",
        "RFC 9110 section 10.2.3",
        ONE,
        empty("503 Service Unavailable", "Retry-After: 1"),
        TWO,
        waits_ms=1000,
    ),
    _polls(
        "504",
        "A gateway gave up on a held request.",
        "RFC 9110 section 15.6.5",
        ONE,
        whole(b"<h1>504</h1>", "text/html", status="504 Gateway Timeout"),
        TWO,
    ),
    _polls(
        "cut-before-the-answer",
        "A poll is answered by the end of the connection.",
        "RFC 9110 section 9.2.2",
        ONE,
        Answer((Pause(0.1),), end="fin"),
        TWO,
    ),
    _polls(
        "cut-in-the-answer",
        "An answer that is shorter than its length is none.",
        "RFC 9112 section 8",
        ONE,
        Answer((head("200 OK", _T, "Content-Length: 10"), Write(b"tw"), Pause(0.1)), end="fin"),
        TWO,
    ),
    _polls("reset", "A parked poll is reset.", "RFC 9110 section 9.2.2", ONE, Answer((Pause(0.2),), end="reset"), TWO),
    _polls(
        "left-between-polls",
        "The server ends the connection behind an answer, and had not said so.",
        "RFC 9112 section 9.3",
        Answer(ONE.steps, end="fin"),
        TWO,
    ),
    _polls(
        "unasked-answer",
        "What comes behind an answer, unasked, answers no later request.",
        "RFC 9112 section 9.2",
        Answer(
            (
                head("200 OK", _T, "Content-Length: 3"),
                # in one write: what comes after the next request has left cannot be told from its answer
                Write(b"one" + b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nno"),
                Pause(0.2),
            ),
            end="fin",
        ),
        TWO,
    ),
    _polls(
        "informational",
        "102 comes before the answer, to say that somebody is at work.",
        "RFC 9110 section 15.2",
        ONE,
        Answer((Write(b"HTTP/1.1 102 Processing\r\n\r\n", True), Pause(0.2), *TWO.steps)),
    ),
)
