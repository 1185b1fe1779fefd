"""What a client half hands over, and what the cursor of it says."""

from __future__ import annotations

from dataclasses import dataclass

from labkit.errors import CursorError
from labkit.wire.events import Cursor


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event that arrived at one subscriber.

    Attributes:
        event_id: the event's id; against a server that is not a lab, its number in the order of arrival.
        data: its payload.
        cursor: what any technique of the same server accepts as ``after`` to go on from here.
        received_ns: when the read that completed it returned.
        wire_id: the id as it was sent, if one was.
    """

    event_id: int
    data: str | bytes
    cursor: str
    received_ns: int
    wire_id: str | None = None


def id_and_epoch(cursor: str) -> tuple[int, str]:
    """Id and epoch of a cursor of a lab's; an id before all others where it is none."""
    try:
        found = Cursor.parse(cursor)
    except CursorError:
        return -1, ""
    return found.n, found.epoch or ""
