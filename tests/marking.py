"""Marks put down by hand, as a test needs them: of events that are named by a number."""

from __future__ import annotations

from labkit.client.ledger import ConnectionRecord
from labkit.wire.spans import Category, Direction, Mark, Sighting


def mark(
    record: ConnectionRecord,
    direction: Direction,
    start: int,
    stop: int,
    category: Category,
    label: str = "",
    event_id: int | None = None,
) -> None:
    """Mark some bytes; neighbours of one number are one event."""
    newest = next((m.event for m in reversed(record.marks) if m.direction == direction), None)
    event = None if event_id is None else Sighting(str(event_id), event_id)
    if event is not None and newest is not None and newest.number == event_id:
        event = newest
    record.mark_all([Mark(direction, start, stop, category, label, event)])
