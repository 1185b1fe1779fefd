"""The records of one connection on every hop: the client's own, and of each relay the near side and the far one."""

from __future__ import annotations

from collections.abc import Iterable

from labkit.client.ledger import ConnectionRecord


def hops(record: ConnectionRecord, records: Iterable[ConnectionRecord]) -> list[ConnectionRecord]:
    """The connection on every hop, from *record* on towards the server.

    Args:
        record: a client's, or the near side of the relay that a client without a ledger comes through.
        records: of all hops.
    """
    relayed = [each for each in records if each.hop.endswith((".near", ".far"))]
    near = record if record.hop.endswith(".near") else _near(record, relayed)
    found = [] if near is record else [record]
    while near is not None and near not in found:
        far = _far(near, relayed)
        found += [near] if far is None else [near, far]
        near = None if far is None else _near(far, relayed)
    return found


def _near(here: ConnectionRecord, relayed: list[ConnectionRecord]) -> ConnectionRecord | None:
    """The relay's record of the same two ports: either alone may be another connection's at the same time.

    Ports come back into use, so it is the nearest in time.
    """
    ports = (here.remote[1], here.local[1])
    ends = (each for each in relayed if each.hop.endswith(".near") and (each.local[1], each.remote[1]) == ports)
    return min(ends, key=lambda each: abs(each.opened_ns - here.opened_ns), default=None)


def _far(near: ConnectionRecord, relayed: list[ConnectionRecord]) -> ConnectionRecord | None:
    """The other side of a relayed connection: it has the same number. None if the server was never reached."""
    hop = f"{near.hop.removesuffix('.near')}.far"
    twins = (each for each in relayed if each.hop == hop and each.subscriber == near.subscriber)
    return min(twins, key=lambda each: abs(each.opened_ns - near.opened_ns), default=None)
