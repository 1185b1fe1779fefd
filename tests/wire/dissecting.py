"""Feed a dissector a conversation in every way that reads can cut it, and expect the same marks of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from labkit.wire.dissect import Dissector
from labkit.wire.spans import Direction, Mark

Talk = Sequence[tuple[Direction, bytes]]
Told = tuple[bytes, str, str, str | None]
"""Bytes, category, label, the event's id as it stood (``#2`` for the second without one; None: no event)."""


def told(talk: Talk, reads: Iterator[tuple[Direction, bytes]], make: Callable[[], Dissector]) -> dict[str, list[Told]]:
    """What each byte of both directions was, neighbours that say the same joined. Every byte must be marked once."""
    dissector = make()
    marks = [mark for direction, data in reads for mark in dissector.feed(direction, data)] + dissector.end()
    return {side: joined(b"".join(data for way, data in talk if way == side), marks, side) for side in ("out", "in")}


def joined(stream: bytes, marks: list[Mark], side: str) -> list[Told]:
    found: list[Told] = []
    at, before = 0, None
    for mark in sorted((mark for mark in marks if mark.direction == side), key=lambda mark: (mark.start, mark.stop)):
        assert mark.start == at, f"{side}: {at} to {mark.start} not marked, or twice: {mark}"
        at = mark.stop
        event = None if mark.event is None else mark.event.wire_id or f"#{mark.event.number}"
        what = (mark.category, mark.label, event)
        if found and found[-1][1:] == what and mark.exchange is before:
            found[-1] = (found[-1][0] + stream[mark.start : mark.stop], *what)
        else:
            found.append((stream[mark.start : mark.stop], *what))
        before = mark.exchange
    assert at == len(stream), f"{side}: {at} of {len(stream)} bytes are marked"
    return found


def cuts(talk: Talk) -> Iterator[list[tuple[Direction, bytes]]]:
    """Whole; byte by byte, with empty reads between; each step cut in two at every place."""
    yield list(talk)
    yield [(way, read) for way, data in talk for i in range(len(data)) for read in (data[i : i + 1], b"")]
    for index, (way, data) in enumerate(talk):
        for at in range(1, len(data)):
            yield [*talk[:index], (way, data[:at]), (way, data[at:]), *talk[index + 1 :]]


def assert_told(
    talk: Talk,
    *,
    sent: Sequence[Told] | None = None,
    came: Sequence[Told] | None = None,
    make: Callable[[], Dissector] = Dissector,
) -> None:
    """These bytes are told so, however they are cut; None: whatever, but the same each time."""
    whole = told(talk, iter(talk), make)
    for reads in cuts(talk):
        found = told(talk, iter(reads), make)
        assert found["out"] == (whole["out"] if sent is None else list(sent)), reads
        assert found["in"] == (whole["in"] if came is None else list(came)), reads
