"""What the relays saw during a run: those of its path, and those that subscribers elsewhere come through.

A relay may outlive several runs, and a page's connections too: what they had carried before is taken off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy, deepcopy
from dataclasses import replace

from labkit.client.ledger import ConnectionRecord
from labkit.network.relay import Relay

Routes = dict[str, dict[str, int]]


class Relays:
    """The relays of one run.

    Args:
        path: those between clients and lab; they leave the kit's own clients to their own ledgers.
        beside: those that subscribers elsewhere come through.
        begun_ns: when the run began.
    """

    def __init__(self, path: Iterable[Relay], beside: Iterable[Relay], begun_ns: int) -> None:
        self._begun_ns, self._path = begun_ns, list(path)
        self._before: dict[Relay, dict[int, Routes]] = {}
        for relay in self._path:
            relay.skips_own = True
            self._before[relay] = {}
        for relay in beside:
            relay.catch_up()
            self._before[relay] = {id(record): deepcopy(record.by_route) for record in relay.ledger.connections}

    def leave(self) -> None:
        """The run is over: the relays of its path dissect again what anybody sends."""
        for relay in self._path:
            relay.skips_own = False

    def records(self) -> Iterator[ConnectionRecord]:
        """Both sides of each connection that was opened during the run, or on which somebody else asked before it."""
        for relay, before in self._before.items():
            relay.catch_up()
            records = [record for record in relay.ledger.connections if record.hop.startswith(f"{relay.name}.")]
            kept = {record.subscriber for record in records if self._concerns(record)}
            yield from (without(r, before.get(id(r), {})) for r in records if r.subscriber in kept)

    def _concerns(self, record: ConnectionRecord) -> bool:
        went_on = record.closed_ns is None or record.closed_ns >= self._begun_ns
        return record.opened_ns >= self._begun_ns or (bool(record.by_route) and went_on)


def without(record: ConnectionRecord, before: Routes) -> ConnectionRecord:
    """The record, less what was counted by route before; itself if that was nothing."""
    if not before:
        return record
    left = {
        route: {name: count - before.get(route, {}).get(name, 0) for name, count in counts.items()}
        for route, counts in record.by_route.items()
    }
    return replace(
        record,
        by_route=left,
        by_category=dict(record.by_category),
        transfers=copy(record.transfers),
        marks=copy(record.marks),
    )
