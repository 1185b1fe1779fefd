"""The bulk of a saved run as one stream: what was published and, of each connection, its record and its bytes.

A line of JSON, then for each connection a line of JSON and, behind it, the captured bytes as they were.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from io import BufferedIOBase
from typing import TYPE_CHECKING, Any

from labkit.client.ledger import ConnectionRecord, Ledger, Transfer
from labkit.wire.spans import Exchange, Mark, Sighting

if TYPE_CHECKING:
    from labkit.measuring.recording import Recording

_EXCHANGE = ("number", "method", "path", "query", "topic", "status", "events", "is_whole", "complaint", "subscriber")


def write(run: Recording, ledger: Ledger, out: BufferedIOBase) -> None:
    """Write it all to *out*, with the connections of *ledger* for the run's own."""
    records = ledger.connections
    _put(
        out,
        {
            "published": [[*key, value] for key, value in run.published.items()],
            "floor_ms": run.floor_ms,
            "missing": run.missing,
            "keep_bytes": ledger.keep_bytes,
            "connections": len(records),
        },
    )
    for record in records:
        _put(out, packed(record))
        out.writelines(transfer.data for transfer in record.transfers)


def read(stream: BufferedIOBase) -> dict[str, Any]:
    """The arguments of :class:`labkit.measuring.run.Run` that stand in *stream*.

    Raises:
        ValueError, LookupError, TypeError: something else stands in it, or less.
    """
    head = json.loads(stream.readline())
    ledger = Ledger(head["keep_bytes"])
    for _ in range(head["connections"]):
        plain = json.loads(stream.readline())
        size = sum(transfer[3] for transfer in plain["transfers"])
        ledger.connections.append(unpacked(plain, stream.read(size)))
    published = {(topic, event_id): value for topic, event_id, value in head["published"]}
    return {"published": published, "ledger": ledger, "floor_ms": head["floor_ms"], "missing": head["missing"]}


def _put(out: BufferedIOBase, value: dict[str, Any]) -> None:
    out.write(json.dumps(value).encode() + b"\n")


def packed(record: ConnectionRecord) -> dict[str, Any]:
    """All of a connection but its bytes, as JSON can hold it."""
    plain = {f.name: getattr(record, f.name) for f in fields(record) if f.name not in ("transfers", "marks")}
    transfers = [[t.t_ns, t.direction, t.start, len(t.data)] for t in record.transfers]
    return {**plain, "transfers": transfers, **_pack_marks(record.marks)}


def unpacked(plain: dict[str, Any], data: bytes) -> ConnectionRecord:
    """The connection again, of what ``packed`` gave and its bytes."""
    known = {f.name for f in fields(ConnectionRecord)} - {"transfers", "marks"}
    own = {name: value for name, value in plain.items() if name in known}
    own.setdefault("carried_in", plain["bytes_in"])  # of a file that knows no TLS
    own.setdefault("carried_out", plain["bytes_out"])
    record = ConnectionRecord(**{**own, "local": tuple(plain["local"]), "remote": tuple(plain["remote"])})
    record.by_category.setdefault("tls", 0)
    at = 0
    for t_ns, direction, start, size in plain["transfers"]:
        record.transfers.append(Transfer(t_ns, direction, start, data[at : at + size]))
        at += size
    if at != len(data):
        raise ValueError("the bytes of a connection are not all there")
    record.marks.extend(_unpack_marks(plain))
    return record


def _pack_marks(marks: Iterable[Mark]) -> dict[str, Any]:
    """Of each mark, its event's id and place and the number of its exchange; the exchanges beside them."""
    exchanges = {mark.exchange.number: mark.exchange for mark in marks if mark.exchange is not None}
    return {
        "marks": [
            (
                *mark[:5],
                *((None, None) if mark.event is None else (mark.event.wire_id, mark.event.number)),
                mark.exchange and mark.exchange.number,
            )
            for mark in marks
        ],
        "exchanges": [[getattr(exchange, name) for name in _EXCHANGE] for exchange in exchanges.values()],
    }


def _unpack_marks(plain: dict[str, Any]) -> Iterator[Mark]:
    if "exchanges" not in plain:
        yield from _unpack_ids(plain["marks"])
        return
    exchanges = {values[0]: Exchange(**dict(zip(_EXCHANGE, values, strict=False))) for values in plain["exchanges"]}
    events: dict[tuple[int, int], Sighting] = {}
    for direction, start, stop, category, label, wire_id, number, exchange in plain["marks"]:
        event = None if number is None else events.setdefault((exchange, number), Sighting(wire_id, number))
        yield Mark(direction, start, stop, category, label, event, exchanges.get(exchange))


def _unpack_ids(marks: list[list[Any]]) -> Iterator[Mark]:
    """Of a file that names events by number alone: between two times that one came lies another, or a new answer."""
    event: Sighting | None = None
    for direction, start, stop, category, label, number in marks:
        if number is not None and (event is None or event.number != number):
            event = Sighting(str(number), number)
        elif number is None and (direction, category) == ("in", "headers"):
            event = None
        yield Mark(direction, start, stop, category, label, None if number is None else event)
