"""What bytes were for: the runs that decoders report, and the marks that they become where those bytes lay.

A decoder knows lengths, not places. Beside what it decodes it reports *runs*, one behind the other without a hole:
so many bytes, of this category, under this label, of that event. Where the bytes lay is known to whoever read them: a
body is cut by chunks, a message by frames, so that a thing's bytes are a list of ranges of one direction. Runs laid
over those ranges (``lane``) are *marks*.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qs, quote

from labkit.wire.http1 import PROTOCOL, Head, origin_form

Direction = Literal["out", "in"]
Category = Literal["payload", "envelope", "framing", "headers", "tls"]
CATEGORIES: tuple[Category, ...] = ("payload", "envelope", "framing", "headers", "tls")

UNREAD = "unread"
"""What never became whole."""
TOO_LONG = "too long to read"
MAX_HELD_BYTES = 2 << 20
"""What is held of one direction, at most: a longer item is payload, and nothing in it is read."""
MAX_ITEM_BYTES = 64 << 20
"""The longest line, part, block or answer that a client of ours takes."""


@dataclass(slots=True, eq=False)
class Sighting:
    """One event as it stood on the wire, shared by all its marks.

    Attributes:
        wire_id: its id as it was sent, if one was.
        number: its place among the events of its exchange, from 1; 0 until it is marked.
    """

    wire_id: str | None = None
    number: int = 0

    @property
    def id(self) -> int:
        """The number of a lab's event (17 of ``17@k3f9``); of another's, its place."""
        digits = (self.wire_id or "").partition("@")[0]
        return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else self.number

    @property
    def label(self) -> str:
        """``event 17``, by its id where it has one, without the epoch."""
        return f"event {(self.wire_id or str(self.number)).partition('@')[0]}"


Run = tuple[int, Category, str, Sighting | None]
"""So many bytes, what they were for, under which label (empty: the event's), and of which event."""

Item = tuple[Any, list[Run]]
"""What a decoder gives: a value (None where there is nothing to hand over), and the runs of all its bytes."""


@dataclass(slots=True, eq=False)
class Exchange:
    """A request and what came back, of one connection; a WebSocket is one, a plugin socket too.

    Attributes:
        number: its place on the connection, from 1.
        path: without the query.
        status: of its answer; 0 while there is none.
        events: how many were seen in it.
        by_category: its bytes both ways.
        is_whole: whether its answer has come to its end.
        request, response: the heads, where there are any.
        complaint: why not all of it could be read; empty where it was.
        subscriber: whose it is, where several share a connection.
    """

    number: int
    method: str = ""
    path: str = ""
    query: str = ""
    topic: str = ""
    status: int = 0
    events: int = 0
    by_category: dict[Category, int] = field(default_factory=lambda: dict.fromkeys(CATEGORIES, 0))
    is_whole: bool = False
    request: Head | None = None
    response: Head | None = None
    complaint: str = ""
    subscriber: int | None = None

    @property
    def is_socket(self) -> bool:
        """Whether it has become a WebSocket: by a change of protocol, or by an extended CONNECT (RFC 8441)."""
        extended = self.request is not None and self.request.values.get(":protocol") == PROTOCOL
        return self.status == 101 or (extended and 200 <= self.status < 300)

    def ask(self, head: Head) -> None:
        """Put down what a request asks for."""
        self.request, self.method = head, head.method
        self.path, _, self.query = origin_form(head.target).partition("?")
        in_ascii = quote(self.query, safe=string.punctuation, encoding="latin-1", errors="replace")
        topics = parse_qs(in_ascii).get("topic")  # as UTF-8, in which servers read it
        self.topic = topics[-1] if topics else ""


class Mark(NamedTuple):
    """What the bytes from ``start`` to ``stop`` of one direction were for."""

    direction: Direction
    start: int
    stop: int
    category: Category
    own_label: str
    """Empty: it is called as its event."""
    event: Sighting | None = None
    exchange: Exchange | None = None

    @property
    def label(self) -> str:
        return self.own_label or ("" if self.event is None else self.event.label)


def begins_head(mark: Mark) -> bool:
    """Whether a head begins there: in HTTP/1 it is one mark, in HTTP/2 there is one for each field."""
    return mark.category == "headers" and (" " in mark.label or mark.label in (":method", ":status"))


def spliced(runs: list[Run], inner: list[Run]) -> list[Run]:
    """*runs* with *inner* in the place of their payload, which may be cut by other runs.

    So the reader of a body says which bytes it carries, and the reader of what is carried says what those were for.
    """
    first = [index for index, run in enumerate(runs) if run[1] == "payload"]
    if len(first) == 1 and runs[first[0]][0] == sum(run[0] for run in inner):  # as nearly all are
        return [*runs[: first[0]], *inner, *runs[first[0] + 1 :]]
    found: list[Run] = []
    left = iter(inner)
    count, category, label, event = 0, *_NOTHING
    for run in runs:
        if run[1] != "payload":
            found.append(run)
            continue
        wanted = run[0]
        while wanted:
            if not count:
                count, category, label, event = next(left, (wanted, *_NOTHING))
                if not count:
                    found.append((0, category, label, event))
                    continue
            taken = min(count, wanted)
            found.append((taken, category, label, event))
            count -= taken
            wanted -= taken
    found += (run for run in left if not run[0])
    return found


_NOTHING: tuple[Category, str, Sighting | None] = ("payload", "", None)
