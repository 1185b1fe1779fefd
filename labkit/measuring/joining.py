"""Which event of a connection a delivery is: by its id as it stood on the wire, or by its place where it had none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from labkit.client.ledger import ConnectionRecord
from labkit.wire.spans import Exchange, Mark, Sighting


def arrivals(records: Iterable[ConnectionRecord], row: dict[str, Any]) -> list[tuple[ConnectionRecord, list[Mark]]]:
    """Each time that the event of a row of ``run.deliveries`` came in over these connections of one subscriber."""
    found: list[tuple[ConnectionRecord, list[Mark]]] = []
    wire_id, before = row.get("wire_id"), 0
    is_known = True  # how many events there were before
    for record in sorted(records, key=lambda record: record.opened_ns):
        marks = sorted((mark for mark in record.marks if mark.direction == "in"), key=lambda mark: mark.start)
        exchanges = {id(mark.exchange): mark.exchange for mark in marks if mark.exchange is not None}
        places, before, is_known = _places(list(exchanges.values()), before, is_known)
        mine: dict[int, list[Mark]] = {}
        for mark in marks:
            if mark.event is None:
                continue
            if mark.exchange is None:  # of a file in which ids alone were saved
                is_it = mark.event.wire_id == str(row["event_id"])
            elif isinstance(wire_id, str):
                is_it = is_named(mark.event, wire_id)
            else:
                place = places.get(id(mark.exchange), -mark.event.number)
                is_it = mark.event.wire_id is None and place + mark.event.number == row["event_id"]
            if is_it:
                mine.setdefault(id(mark.event), []).append(mark)
        found += ((record, each) for each in mine.values())
    return found


def is_named(event: Sighting, wire_id: str) -> bool:
    """Whether this is its id, with the epoch that an event stream adds or without."""
    return event.wire_id is not None and wire_id in (event.wire_id, event.wire_id.partition("@")[0])


def _places(exchanges: list[Exchange], before: int, is_known: bool) -> tuple[dict[int, int], int, bool]:
    """How many events there were before those of each exchange; of the ones behind a let go one that is not known."""
    places: dict[int, int] = {}
    for number, exchange in enumerate(sorted(exchanges, key=lambda exchange: exchange.number), 1):
        is_known = is_known and exchange.number == number
        if is_known:
            places[id(exchange)] = before
        before += exchange.events
    return places, before, is_known
