"""Which bytes of a connection are told of one event: of a poll all of both ways, of a stream what is the event's.

Of a stream that is the request that opened it, the head of its answer, and what carries the event: its chunks where the
body has any, its frames on a WebSocket, its own lines or fields elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from labkit.client.ledger import ConnectionRecord
from labkit.wire.http2 import HEADER_BYTES
from labkit.wire.spans import Direction, Mark

_OPENS = ("part head", "script element", "frame header")
"""What stands before an event and is its own, though its marks name no event."""

BytesAt = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes of one direction that belong together.

    Attributes:
        timed: those of them whose times are told.
        events: the ids of all events with bytes in it.
    """

    name: str
    direction: Direction
    start: int
    stop: int
    timed: tuple[int, int]
    events: tuple[str, ...] = ()


def in_order(record: ConnectionRecord, direction: Direction) -> list[Mark]:
    """The marks of one direction."""
    return sorted((m for m in record.marks if m.direction == direction), key=lambda m: (m.start, m.stop))


def extents(record: ConnectionRecord, own: Sequence[Mark], is_poll: bool, bytes_at: BytesAt) -> Iterator[Extent]:
    """Which bytes are told of an event.

    Args:
        own: the event's marks.
        is_poll: whether the answer was made for what it carries.
        bytes_at: what lies between two offsets of what came.
    """
    came = in_order(record, "in")
    answer, asked = _of_exchange(record, "in", own[0]), _of_exchange(record, "out", own[0])
    heads = {way: [m for m in marks if m.category == "headers"] for way, marks in (("out", asked), ("in", answer))}
    if not is_poll:
        asked = heads["out"] or asked[:1]
    if asked:
        yield _extent("request", "out", asked[0].start, asked[-1].stop)
    if is_poll and answer:
        start, stop = answer[0].start, answer[-1].stop
        yield _extent("answer", "in", start, stop, events=_events(came, start, stop))
        return
    if heads["in"]:
        yield _extent("head of the answer", "in", heads["in"][0].start, heads["in"][-1].stop)
    name, start, stop = _carrier(answer or came, own[0].start, own[-1].stop, bytes_at)
    yield Extent(name, "in", start, stop, (own[0].start, own[-1].stop), _events(came, start, stop))


def _extent(name: str, direction: Direction, start: int, stop: int, events: tuple[str, ...] = ()) -> Extent:
    return Extent(name, direction, start, stop, (start, stop), events)


def _of_exchange(record: ConnectionRecord, direction: Direction, own: Mark) -> list[Mark]:
    """The marks of the event's exchange; where none is named, that of the n-th answer is the n-th request."""
    marks = in_order(record, direction)
    if own.exchange is not None:
        return [m for m in marks if m.exchange is not None and m.exchange.number == own.exchange.number]
    if record.dropped_bytes:
        return []
    number = sum(_begins(m) for m in in_order(record, "in") if m.start <= own.start)
    count, found = 0, []
    for mark in marks:
        count += _begins(mark)
        found += [mark] if count == number else []
    return found


def _begins(mark: Mark) -> bool:
    return mark.category == "headers" and not mark.label.startswith(("100,", "102,", "103,"))


def _events(marks: Sequence[Mark], start: int, stop: int) -> tuple[str, ...]:
    inside = (m for m in marks if start <= m.start and m.stop <= stop and m.event is not None)
    return tuple(dict.fromkeys(m.event.label.removeprefix("event ") for m in inside if m.event is not None))


def _carrier(came: Sequence[Mark], start: int, stop: int, bytes_at: BytesAt) -> tuple[str, int, int]:
    """The chunks or the frames that hold these bytes, else the bytes with what opens and ends them."""
    if any(_is_chunk(m) and m.stop <= start for m in came):
        return _chunks(came, start, stop, bytes_at)
    before, after = [m for m in came if m.stop <= start], [m for m in came if m.start >= stop]
    is_ended = any(m.stop == stop and m.category == "framing" and m.start < stop for m in came)
    opening = next((m for m in reversed(before) if m.start < m.stop), None)
    name = "event"
    if opening is not None and opening.stop == start and opening.label.endswith(_OPENS) and opening.event is None:
        name, start = ("frame" if opening.label.endswith("frame header") else name), opening.start
        if any(m.stop == start and m.label == "DATA frame header" for m in before):  # in which a WebSocket's own lies
            start -= HEADER_BYTES
    for mark in [] if is_ended else after:
        if mark.event is not None or mark.start != stop or mark.label.endswith("frame header"):
            break
        stop = mark.stop
        if mark.category == "framing":
            break
    return name, start, stop


def _is_chunk(mark: Mark) -> bool:
    return mark.category == "framing" and mark.label == "chunk"


def _chunks(came: Sequence[Mark], start: int, stop: int, bytes_at: BytesAt) -> tuple[str, int, int]:
    """From the size of the first chunk to the line end behind the last: what lies between two may be one mark."""
    size = [m for m in came if _is_chunk(m) and m.stop <= start]
    first = size[-1].start
    for mark in reversed(size[:-1]):
        if mark.stop != first:
            break
        first = mark.start
    first += 2 * (bytes_at(first, size[-1].stop)[:2] == b"\r\n")  # the line end of the chunk before
    behind = [m for m in came if _is_chunk(m) and m.start >= stop]
    if not behind:
        return "chunk", first, came[-1].stop  # it never became whole
    last, rest = behind[0].start, behind[0].stop
    for mark in behind[1:]:
        rest = mark.stop if mark.start == rest else rest
    is_several = any(_is_chunk(m) and start < m.start and m.stop < stop for m in came)
    return "chunks" if is_several else "chunk", first, min(last + 2, rest)
