"""Pages as clients: what the pages that hold a ``/browser`` WebSocket have told about themselves.

A page subscribes with its own EventSource, WebSocket and fetch, and tells the lab here which events arrived when, by
its own clock; how it is (visible, hidden, slowed down, waiting for a connection); and, by round trips, how its clock
stands to the lab's. Nothing is known here of widgets or notebooks. What is kept is bounded.
The messages are in ``page_socket``.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from labkit.lab.page_clock import Clock
from labkit.wire.events import now_ns

MAX_PAGES = 64
MAX_STREAMS = 12  # of one page
MAX_ARRIVALS = 400_000  # of all pages; what is older is forgotten, and counted
MAX_GAPS = 1000
MAX_TEXT = 300
MAX_MS = 4e12  # of a page's clock, years since 1970: the sum of two such times, in ns, has 63 bits
MAX_NUMBER = 1 << 63  # of ids, sizes and serial numbers: what a table of a run holds


@dataclass(slots=True)
class Stream:
    """What one technique has brought to one page."""

    technique: str
    cursor: str
    number: int
    """Which subscriber of the technique and the topic it is, from 0, over all pages."""
    state: str = "connecting"
    why: str = ""
    arrivals: deque[tuple[int, int, float, int]] = field(default_factory=deque)
    """Event id, when it was received (ns of the lab's clock), how far off that may be (ms), payload bytes."""
    forgotten: int = 0
    gaps: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=MAX_GAPS))


@dataclass(slots=True)
class Page:
    """A page that has attached."""

    id: str
    subscriber: str
    topic: str
    through: str
    version: str
    came_ns: int
    socket: object = None
    kept: int = 0
    streams: dict[str, Stream] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    presence: dict[str, Any] = field(default_factory=dict)
    left_ns: int | None = None
    absences: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=100))
    hidden_ns: int | None = None
    hidings: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=100))


class Malformed(ValueError):
    """A message that no page of ours sends; its text goes back to the sender."""


class Pages:
    """The pages of a lab and their reports. Safe from any thread."""

    def __init__(self) -> None:
        self._pages: dict[tuple[str, str], Page] = {}
        self._arrivals = 0
        self._lock = threading.RLock()

    def attach(self, told: dict[str, Any], socket: object, begin: str) -> tuple[Page, object]:
        """A page is there, or is back. *begin* is the cursor for what it has not had before.

        Returns:
            the page, and the socket that it had until now, if another one still holds its place.
        """
        key = text(told, "subscriber"), text(told, "page")
        topic, streams = text(told, "topic", ""), told.get("streams")
        if not isinstance(streams, list) or not all(isinstance(s, str) and len(s) < MAX_TEXT for s in streams):
            raise Malformed("attach: streams must be a list of names")
        with self._lock:
            now = now_ns()
            page = self._pages.pop(key, None)
            if page is None:
                self._make_room()
                page = Page(key[1], key[0], topic, "", "", now)
            elif page.left_ns is not None:
                page.absences.append((page.left_ns, now))
            before, page.socket, page.left_ns = page.socket, socket, None
            page.topic, page.clock = topic, Clock()  # a page that was reloaded has another clock
            page.through, page.version = text(told, "through", ""), text(told, "version", "")
            for name in streams[:MAX_STREAMS]:
                if name not in page.streams:
                    page.streams[name] = Stream(name, begin, self._number(topic, name))
            self._pages[key] = page
            return page, before

    def _number(self, topic: str, technique: str) -> int:
        """The least number that no other stream of the technique and the topic has."""
        pages = [page for page in self._pages.values() if page.topic == topic]
        taken = {page.streams[technique].number for page in pages if technique in page.streams}
        return next(number for number in range(len(taken) + 1) if number not in taken)

    def _make_room(self) -> None:
        """Forget the page that has been away longest, if there are too many."""
        away = sorted((page.left_ns, key) for key, page in self._pages.items() if page.left_ns is not None)
        if len(self._pages) >= MAX_PAGES:
            if not away:
                raise Malformed(f"{MAX_PAGES} pages are attached: close one")
            self._forget(away[0][1])

    def _forget(self, key: tuple[str, str]) -> None:
        page = self._pages.pop(key)
        self._arrivals -= sum(len(stream.arrivals) for stream in page.streams.values())

    def forget(self, subscriber: str) -> None:
        """Forget all pages of one subscriber."""
        with self._lock:
            for key in [key for key in self._pages if key[0] == subscriber]:
                self._forget(key)

    def detach(self, page: Page, socket: object) -> None:
        """A page's connection has ended."""
        with self._lock:
            if page.socket is socket:
                page.socket, page.left_ns = None, now_ns()

    def report(self, page: Page, told: dict[str, Any]) -> int:
        """Put down what a page tells; the serial number of what is kept."""
        serial = told["report"]
        if not isinstance(serial, int) or not small(serial):
            raise Malformed("report: must be a serial number")
        with self._lock:
            if serial <= page.kept:
                return page.kept
            offset_ms, error_ms = page.clock.estimate
            arrivals, gaps = table(told, "arrivals"), table(told, "gaps")
            cursors, states = table(told, "cursors"), table(told, "states")
            for name, stream in page.streams.items():
                rows = [self._arrival(row, offset_ms, error_ms) for row in listed(arrivals, name)]
                holes = [self._gap(row, stream, offset_ms) for row in listed(gaps, name)]
                state = listed(states, name)
                stream.arrivals.extend(rows)
                stream.gaps.extend(holes)
                self._arrivals += len(rows)
                stream.cursor = text(cursors, name, stream.cursor)
                if len(state) == 2 and all(isinstance(word, str) for word in state):
                    stream.state, stream.why = state[0][:MAX_TEXT], state[1][:MAX_TEXT]
                self._trim(stream)
            self._be(page, table(told, "presence"))
            page.kept = serial
            return serial

    @staticmethod
    def _arrival(row: Any, offset_ms: float, error_ms: float) -> tuple[int, int, float, int]:
        match row:
            case [int(event_id), int() | float() as at_ms, int(size)] if abs(at_ms) < MAX_MS and small(event_id, size):
                if math.isnan(offset_ms):
                    raise Malformed("arrivals before the first round trip: their times mean nothing")
                return event_id, round((at_ms + offset_ms) * 1e6), error_ms, size
        raise Malformed("arrivals: expected [id, at_ms, payload_bytes]")

    @staticmethod
    def _gap(row: Any, stream: Stream, offset_ms: float) -> dict[str, Any]:
        match row:
            case [str(after), int(following), str(cursor), int() | float() as at_ms] if abs(at_ms) < MAX_MS and small(
                following
            ):
                if math.isnan(offset_ms):
                    raise Malformed("gaps before the first round trip: their times mean nothing")
                at_ns = round((at_ms + offset_ms) * 1e6)
                told = {"after": after[:MAX_TEXT], "next": following, "cursor": cursor[:MAX_TEXT], "at_ns": at_ns}
                return {"technique": stream.technique, "subscriber": stream.number, "client": "browser", **told}
        raise Malformed("gaps: expected [after, next, cursor, at_ms]")

    def _trim(self, stream: Stream) -> None:
        while self._arrivals > MAX_ARRIVALS and stream.arrivals:
            stream.arrivals.popleft()
            stream.forgotten += 1
            self._arrivals -= 1

    @staticmethod
    def _be(page: Page, presence: dict[str, Any]) -> None:
        if not presence:
            return
        hidden, late_ms = presence.get("hidden") is True, presence.get("late_ms")
        known = isinstance(late_ms, int | float) and abs(late_ms) < MAX_MS
        page.presence = {"hidden": hidden, "late_ms": late_ms if known else 0}
        if hidden and page.hidden_ns is None:
            page.hidden_ns = now_ns()
        elif not hidden and page.hidden_ns is not None:
            page.hidings.append((page.hidden_ns, now_ns()))
            page.hidden_ns = None

    def of(self, subscriber: str, have: Mapping[str, int] | None = None) -> list[dict[str, Any]]:
        """The pages of one subscriber as plain data, oldest first.

        Args:
            have: how many arrivals of a stream the caller has by now, by ``"PAGE TECHNIQUE"``; only later ones come.
        """
        with self._lock:
            pages = [page for page in self._pages.values() if page.subscriber == subscriber]
            return [self._plain(page, have or {}) for page in sorted(pages, key=lambda page: page.came_ns)]

    @staticmethod
    def _plain(page: Page, have: Mapping[str, int]) -> dict[str, Any]:
        offset_ms, error_ms = page.clock.estimate
        now = now_ns()
        return {
            **{name: getattr(page, name) for name in ("id", "topic", "through", "version", "came_ns")},
            "attached": page.socket is not None,
            "presence": dict(page.presence),
            "away": [*page.absences, *([(page.left_ns, now)] if page.left_ns is not None else [])],
            "hidden": [*page.hidings, *([(page.hidden_ns, now)] if page.hidden_ns is not None else [])],
            "offset_ms": offset_ms,
            "error_ms": error_ms,
            "round_trip_ms": page.clock.round_trip_ms,
            "streams": [
                {
                    **{part: getattr(stream, part) for part in ("technique", "number", "cursor", "state", "why")},
                    "count": len(stream.arrivals) + stream.forgotten,
                    "forgotten": stream.forgotten,
                    "newest": stream.arrivals[-1][0] if stream.arrivals else 0,
                    "arrivals": last_of(
                        stream.arrivals, len(stream.arrivals) + stream.forgotten - have.get(f"{page.id} {name}", 0)
                    ),
                    "gaps": list(stream.gaps),
                }
                for name, stream in page.streams.items()
            ],
        }


def last_of(items: deque[tuple[int, int, float, int]], count: int) -> list[tuple[int, int, float, int]]:
    """The last *count* items, or as many as there are, in order."""
    return list(islice(reversed(items), max(0, count)))[::-1]


def small(*numbers: int) -> bool:
    return all(abs(number) < MAX_NUMBER for number in numbers)


def text(told: dict[str, Any], name: str, default: str | None = None) -> str:
    """A short text of a message. Raises Malformed if it is another thing."""
    value = told.get(name, default)
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise Malformed(f"{name}: expected a short text")
    return value


def table(told: dict[str, Any], name: str) -> dict[str, Any]:
    value = told.get(name, {})
    if not isinstance(value, dict):
        raise Malformed(f"{name}: expected an object")
    return value


def listed(told: dict[str, Any], name: str) -> list[Any]:
    value = told.get(name, [])
    if not isinstance(value, list):
        raise Malformed(f"{name}: expected a list")
    return value
