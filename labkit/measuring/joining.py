"""Which event of a connection a delivery is: by its id as it stood on the wire, or by its place where it had none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from labkit.client.ledger import ConnectionRecord
from labkit.wire.spans import Exchange, Mark

Arrival = tuple[ConnectionRecord, list[Mark]]
Row = dict[str, Any]
_ANY = None
"""Topic of a client's own connections, which are of one subscriber, and where ids alone were saved."""


def arrivals(records: Iterable[ConnectionRecord], row: Row) -> list[Arrival]:
    """Each time that the event of a row of ``run.deliveries`` came in over these connections of one subscriber."""
    return _Index(records).of(row)


def joined(records: Iterable[ConnectionRecord], rows: Sequence[Row]) -> list[list[Mark]]:
    """The marks of the first arrival of each row's event; none where there is none."""
    index = _Index(records)
    return [found[0][1] if (found := index.of(row)) else [] for row in rows]


class _Index:
    """The events of some connections by topic, and by id or place."""

    def __init__(self, records: Iterable[ConnectionRecord]) -> None:
        self._named: defaultdict[tuple[str | None, str], list[Arrival]] = defaultdict(list)
        self._placed: defaultdict[tuple[str | None, int], list[Arrival]] = defaultdict(list)
        before, is_known = defaultdict[str, int](int), True  # how many events of a topic came before
        for record in sorted(records, key=lambda record: record.opened_ns):
            events: dict[int, list[Mark]] = {}
            exchanges: dict[int, Exchange] = {}
            for mark in sorted((m for m in record.marks if m.direction == "in"), key=lambda m: m.start):
                if mark.exchange is not None:
                    exchanges[mark.exchange.number] = mark.exchange
                if mark.event is not None:
                    events.setdefault(id(mark.event), []).append(mark)
            places, is_known = _places(exchanges, before, is_known)
            for marks in events.values():
                self._add(record, marks, places)

    def _add(self, record: ConnectionRecord, marks: list[Mark], places: dict[int, int]) -> None:
        event, exchange = marks[0].event, marks[0].exchange
        assert event is not None
        topic = _ANY if exchange is None or record.hop == "client" else exchange.topic
        if event.wire_id is not None:
            for name in {event.wire_id, event.wire_id.partition("@")[0]}:  # an event stream adds the epoch
                self._named[topic, name].append((record, marks))
        elif exchange is not None and exchange.number in places:
            self._placed[topic, places[exchange.number] + event.number].append((record, marks))

    def of(self, row: Row) -> list[Arrival]:
        return [each for each in self._of(row) if _is_of(each, row)]

    def _of(self, row: Row) -> list[Arrival]:
        wire_id, event_id = row.get("wire_id"), row["event_id"]
        if isinstance(wire_id, str):
            return [each for topic in (_ANY, row["topic"]) for each in self._named.get((topic, wire_id), ())]
        found = [each for topic in (_ANY, row["topic"]) for each in self._placed.get((topic, event_id), ())]
        return found or self._named.get((_ANY, str(event_id)), [])


def _is_of(arrival: Arrival, row: Row) -> bool:
    """Whether it came to that subscriber, where several share the connection."""
    exchange = arrival[1][0].exchange
    return exchange is None or exchange.subscriber in (None, row.get("subscriber"))


def _places(exchanges: dict[int, Exchange], before: dict[str, int], is_known: bool) -> tuple[dict[int, int], bool]:
    """How many events there were before those of each exchange; not known behind one whose marks were let go."""
    places: dict[int, int] = {}
    for place, number in enumerate(sorted(exchanges), 1):
        is_known = is_known and place == number
        if is_known:
            places[number] = before[exchanges[number].topic]
        before[exchanges[number].topic] += exchanges[number].events
    return places, is_known
