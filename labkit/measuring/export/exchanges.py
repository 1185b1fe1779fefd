"""The exchanges of a recorded connection, as ``wire.dissect`` tells them, with what they carried and when.

Bodies are handed over as they came, without their chunks and their gzip. Not here: a plugin socket, which is not HTTP.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from labkit.client.ledger import ConnectionRecord, Transfer
from labkit.measuring.rounding import counted
from labkit.wire.bodies import AsItComes
from labkit.wire.dissect import Dissector
from labkit.wire.fragments import Message
from labkit.wire.frames import Frame
from labkit.wire.http1 import is_tunnel
from labkit.wire.spans import MAX_ITEM_BYTES, TOO_LONG, UNREAD, Direction, Exchange, Item, Mark

_WAYS: tuple[Direction, Direction] = ("out", "in")
_LEFT_OUT = f"what was {TOO_LONG} is left out"


@dataclass(frozen=True, slots=True)
class CapturedMessage:
    """A WebSocket message or control frame, and when its last byte was written or read."""

    t_ns: int
    direction: Direction
    opcode: int
    data: str | bytes


@dataclass(slots=True)
class Way:
    """What an exchange had in one direction, up to an upgrade.

    Attributes:
        times_ns: when its first and its last byte were written or read.
        head_bytes, body_bytes: as they went over the wire, chunks included.
        body: what it carried; nothing beyond :data:`~labkit.wire.spans.MAX_ITEM_BYTES`, whatever a coding makes of it.
    """

    times_ns: tuple[int, int] | None = None
    head_bytes: int = 0
    body_bytes: int = 0
    body: bytearray = field(default_factory=bytearray)


@dataclass(slots=True)
class CapturedExchange:
    """A request and what came back: the heads are in ``exchange``."""

    exchange: Exchange
    is_whole: bool = False
    ways: Mapping[Direction, Way] = field(default_factory=lambda: {way: Way() for way in _WAYS})
    messages: list[CapturedMessage] = field(default_factory=list)


def exchanges(record: ConnectionRecord) -> tuple[list[CapturedExchange], str]:
    """The exchanges of one connection, and why there are not more if that is not by itself clear."""
    if record.http_version == "2" and record.dropped_bytes:
        return (
            [],
            "its first bytes were let go, without which the fields of HTTP/2 cannot be read (RFC 7541 section 2.2)",
        )
    begins = _first_whole(record) if record.dropped_bytes else dict.fromkeys(_WAYS, 0)
    if begins is None:
        return [], "its heads were among the bytes that were let go"
    found, is_unread = _Reader(record, begins).read()
    if not is_unread:
        return found, ""
    return found, f"what follows {counted(len(found), 'exchange')} is no whole HTTP request" if found else "not HTTP"


def _first_whole(record: ConnectionRecord) -> dict[Direction, int] | None:
    """Where the first request lies that is held, and its answer: of the same exchange, and no earlier."""
    asked, answered = (_held_heads(record, way) for way in _WAYS)
    for request, asked_ns in asked[:1]:
        for answer, answered_ns in answered:
            if answer.exchange is request.exchange and answered_ns >= asked_ns:
                return {"out": request.start, "in": answer.start}
    return None


def _held_heads(record: ConnectionRecord, direction: Direction) -> list[tuple[Mark, int]]:
    """The heads of one direction that are held, and when they were written or read."""
    held = _transfers(record, direction)
    heads = [m for m in record.marks if (m.category, m.direction) == ("headers", direction)]
    heads.sort(key=lambda mark: mark.start)
    return [(mark, _t_ns(held, mark.start)) for mark in heads if held and mark.start >= held[0].start]


def _transfers(record: ConnectionRecord, direction: Direction) -> list[Transfer]:
    return [t for t in record.transfers if t.direction == direction]


def _t_ns(transfers: list[Transfer], offset: int) -> int:
    """When the byte at *offset* was written or read."""
    return transfers[max(0, bisect_right(transfers, offset, key=lambda t: t.start) - 1)].t_ns


class _Reader:
    """Reads one connection, each direction from where *begins* says on."""

    def __init__(self, record: ConnectionRecord, begins: Mapping[Direction, int]) -> None:
        self._record = record
        self._held = {way: _transfers(record, way) for way in _WAYS}
        self._found: dict[Exchange, CapturedExchange] = {}
        self._now_ns = 0
        self._has_unread = False
        self._begin(begins)

    def _begin(self, begins: Mapping[Direction, int]) -> None:
        self._begins, self._seen = begins, {**begins}
        self._dissector = Dissector(reading=lambda _: AsItComes(), tell=lambda _: _as_a_whole, heard=self._heard)

    def read(self) -> tuple[list[CapturedExchange], bool]:
        """The exchanges, and whether there is something in what was sent that is none."""
        is_proxied = False
        for t in self._record.transfers:
            self._now_ns, self._seen[t.direction] = t.t_ns, max(t.stop, self._seen[t.direction])
            self._lay(self._dissector.feed(t.direction, t.data[max(0, self._begins[t.direction] - t.start) :]))
            if not is_proxied and self._is_tunnel():  # what a client of ours says in one is HTTP again
                is_proxied = True
                self._lay(self._dissector.end())
                self._begin(self._seen)
        self._settle()
        self._lay(self._dissector.end())
        if self._record.closed_by == "server":  # which ends a body that has no length (RFC 9112 section 6.3)
            self._settle()
        found = [each for each in self._found.values() if each.exchange.request is not None]
        return found, self._has_unread or len(found) < len(self._found)

    def _is_tunnel(self) -> bool:
        """Whether a proxy has just opened one (RFC 9110 section 9.3.6)."""
        newest = next(reversed(self._found), None)
        if newest is None or newest.response is None or newest.is_socket:
            return False
        return is_tunnel(newest.response, newest.method)

    def _settle(self) -> None:
        for found in self._found.values():
            found.is_whole = found.exchange.is_whole

    def _of(self, exchange: Exchange) -> CapturedExchange:
        return self._found.setdefault(exchange, CapturedExchange(exchange))

    def _heard(self, exchange: Exchange, direction: Direction, value: Any) -> None:
        found = self._of(exchange)
        if isinstance(value, Message):
            found.messages.append(CapturedMessage(self._now_ns, direction, 1 if value.text else 2, value.data))
        elif isinstance(value, Frame):
            found.messages.append(CapturedMessage(self._now_ns, direction, int(value.opcode), value.payload))
        else:
            body = found.ways[direction].body
            if len(body) + len(value) > MAX_ITEM_BYTES:
                value = value[: MAX_ITEM_BYTES - len(body)]
                exchange.complaint = exchange.complaint or _LEFT_OUT
            body += value

    def _lay(self, marks: list[Mark]) -> None:
        """Put down for each exchange what it had."""
        for mark in marks:
            self._has_unread |= mark.exchange is None and mark.direction == "out" and mark.label == UNREAD
            if mark.exchange is None or mark.start == mark.stop:
                continue
            found = self._of(mark.exchange)
            if mark.label == TOO_LONG:
                mark.exchange.complaint = mark.exchange.complaint or _LEFT_OUT
            if mark.category == "headers" or not mark.exchange.is_socket:
                self._lay_one(found.ways[mark.direction], mark)

    def _lay_one(self, way: Way, mark: Mark) -> None:
        size, begins, held = mark.stop - mark.start, self._begins[mark.direction], self._held[mark.direction]
        if mark.category == "headers":
            way.head_bytes += size
        else:
            way.body_bytes += size
        first_ns = way.times_ns[0] if way.times_ns else _t_ns(held, begins + mark.start)
        way.times_ns = first_ns, _t_ns(held, begins + mark.stop - 1)


def _as_a_whole(message: Message) -> Item:
    data = message.data
    return message, [(len(data if isinstance(data, bytes) else data.encode()), "payload", "", None)]
