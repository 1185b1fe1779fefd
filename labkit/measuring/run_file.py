"""A run's file: one Parquet table of its deliveries, with everything else in the table's metadata.

Any Parquet reader can read the table. The metadata is JSON; the ledger with its bytes is compressed in it.
"""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.client.ledger import ConnectionRecord, Ledger, Transfer
from labkit.errors import LabkitError
from labkit.wire.spans import Exchange, Mark, Sighting

if TYPE_CHECKING:
    import pandas as pd

    from labkit.measuring.recording import Recording

FORMAT = 2
"""Version of the file format; a reader refuses a newer one."""

_METADATA = b"labkit"
_PACKED = ("settings", "floor_ms", "failures", "interrupted", "missing", "versions")
_EXCHANGE = ("number", "method", "path", "query", "topic", "status", "events", "is_whole", "complaint")


def save(run: Recording, path: str | Path) -> Path:
    """Write everything to one file, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    table = pa.Table.from_pandas(run.deliveries, preserve_index=False)
    part = path.with_name(f"{path.name}.part")
    # store_schema would put down a second, encoded copy of all metadata
    with pq.ParquetWriter(part, table.schema, store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({**(table.schema.metadata or {}), _METADATA: json.dumps(_pack(run)).encode()})
    os.replace(part, path)
    return path


def read(path: str | Path) -> dict[str, Any]:
    """What the run in a file was made of: the arguments of :class:`labkit.measuring.run.Run`.

    Raises:
        LabkitError: the file cannot be read, is something else, or was saved by a newer format.
    """
    import pyarrow.parquet as pq

    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise LabkitError(f"{path} cannot be read: {error.strerror or error}") from None
    with refusing(path):
        limit = (1 << 31) - 1  # the bytes of a long run go over pyarrow's own limit
        table = pq.read_table(path, thrift_string_size_limit=limit)
        packed = json.loads((table.schema.metadata or {})[_METADATA])
        saved = packed["format"]
        if saved > FORMAT:
            raise LabkitError(
                f"{path} was saved by a newer labkit (format {saved}; this one reads {FORMAT}): upgrade labkit"
            )
        return _unpack(table.to_pandas(), packed)


@contextmanager
def refusing(path: str | Path) -> Iterator[None]:
    """Say of a file that something else stands in it, or something broken, whatever stumbled over that."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError, zlib.error) as error:
        reason = "no labkit metadata" if isinstance(error, KeyError) else type(error).__name__
        raise LabkitError(f"{path} is not a saved run ({reason}); write one with run.save(path)") from None


def _pack(run: Recording) -> dict[str, Any]:
    ledger = {"keep_bytes": run.ledger.keep_bytes, "connections": [_pack_record(c) for c in run.ledger.connections]}
    return {
        "format": FORMAT,
        "published": [[*key, value] for key, value in run.published.items()],
        **{name: getattr(run, name) for name in _PACKED},
        "ledger": base64.b64encode(zlib.compress(json.dumps(ledger).encode())).decode(),
    }


def _pack_record(record: ConnectionRecord) -> dict[str, Any]:
    plain = {f.name: getattr(record, f.name) for f in fields(record) if f.name not in ("transfers", "marks")}
    data = b"".join(transfer.data for transfer in record.transfers)
    return {
        **plain,
        "data": base64.b64encode(data).decode(),
        "transfers": [[t.t_ns, t.direction, t.start, len(t.data)] for t in record.transfers],
        **_pack_marks(record.marks),
    }


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


def _unpack(frame: pd.DataFrame, packed: dict[str, Any]) -> dict[str, Any]:
    plain = json.loads(zlib.decompress(base64.b64decode(packed["ledger"])))
    ledger = Ledger(plain["keep_bytes"])
    ledger.connections = [_unpack_record(record) for record in plain["connections"]]
    published = {(topic, event_id): value for topic, event_id, value in packed["published"]}
    given = {"deliveries": frame, "published": published, "ledger": ledger}
    return {**given, **{name: packed[name] for name in _PACKED}}


def _unpack_record(plain: dict[str, Any]) -> ConnectionRecord:
    known = {f.name for f in fields(ConnectionRecord)} - {"transfers", "marks"}
    own = {name: value for name, value in plain.items() if name in known}
    record = ConnectionRecord(**{**own, "local": tuple(plain["local"]), "remote": tuple(plain["remote"])})
    data, at = base64.b64decode(plain["data"]), 0
    for t_ns, direction, start, size in plain["transfers"]:
        record.transfers.append(Transfer(t_ns, direction, start, data[at : at + size]))
        at += size
    record.marks.extend(_unpack_marks(plain))
    return record


def _unpack_marks(plain: dict[str, Any]) -> Iterator[Mark]:
    if "exchanges" not in plain:
        yield from _unpack_ids(plain["marks"])
        return
    exchanges = {values[0]: Exchange(**dict(zip(_EXCHANGE, values, strict=True))) for values in plain["exchanges"]}
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
