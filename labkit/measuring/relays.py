"""The relays of a run: what theory is told of its path, and what they saw, those of subscribers elsewhere included.

A relay may outlive several runs, and a page's connections too: what they had carried before is taken off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy, deepcopy
from dataclasses import asdict, replace
from typing import Any

from labkit.client.ledger import ConnectionRecord
from labkit.network.between import Between, led_through
from labkit.network.relay import Relay
from labkit.network.relay_chain import Hop
from labkit.network.relay_target import HOST, HasPorts, Target
from labkit.theory import Stretch

Routes = dict[str, dict[str, int]]


class Way:
    """The whole path from clients to lab, with what a relay on it leads through besides; from its start on.

    Args:
        path: what stands between, nearest the clients first; the last may lead elsewhere, or be an address.
        lab: where it ends, as far as nothing else is said.
    """

    def __init__(self, path: Sequence[Hop], lab: HasPorts) -> None:
        behind, end = led_through(path[-1]) if path else ([], lab)
        self._relays = [*(hop for hop in path[:-1] if isinstance(hop, Between)), *behind]
        self._begun = [relay.disturbed for relay in self._relays]
        is_lab = end is None or _leads_to(end, lab)
        self.cafile: str | None = getattr(lab, "cafile", None) if is_lab else None
        """Who vouches for what speaks TLS at its end; None: it does not."""
        tls = [Stretch("TLS", handshake=False, tls=True)] if self.cafile else []
        self._beyond = tls if is_lab else [Stretch(obstacle=_ELSEWHERE)]

    @property
    def one_way_s(self) -> float:
        """One network transit, over all relays."""
        return sum(relay.stretch.one_way_s for relay in self._relays)

    @property
    def jitter_s(self) -> float:
        """By how much a read may take longer, over all relays."""
        return sum(relay.stretch.jitter_s for relay in self._relays)

    @property
    def steady(self) -> bool:
        """Whether nothing was cut, stalled or set otherwise since the start."""
        return [relay.disturbed for relay in self._relays] == self._begun

    def told(self) -> list[dict[str, Any]]:
        """What theory is told of each part, in JSON's types."""
        return [asdict(stretch) for stretch in (*(relay.stretch for relay in self._relays), *self._beyond)]


_ELSEWHERE = "the path leads to an address, and what is behind that is unknown"


def _leads_to(end: Target, lab: HasPorts) -> bool:
    """Whether it is the lab's own address."""
    if isinstance(end, tuple):
        return end[0] in (HOST, "localhost") and end[1] in lab.ports.values()
    return not set(end.ports.values()).isdisjoint(lab.ports.values())


class Relays:
    """What the relays of one run see.

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
