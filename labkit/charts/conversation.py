"""Ledger records in, the arrows of a sequence diagram out.

What was sent is what the sender wrote: an arrow is one write. The client's writes and reads are in its own
record. The server's are those of the last relay before it, where there is one: the relay's far side writes what
the server reads, and the other way round, within microseconds on one machine. Byte offsets are equal on all hops,
since a relay neither adds nor removes a byte. Without a relay only the client's times are known.

Pure: no plotly, no drawing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from labkit.client.ledger import ConnectionRecord, Transfer
from labkit.measuring.explain import hops
from labkit.theory import Kind
from labkit.wire.spans import Direction, Mark


@dataclass(frozen=True, slots=True)
class Arrow:
    """Bytes that one side wrote at once, from the client (``out``) or to it (``in``).

    Attributes:
        client_ns: when the client wrote, or had read, the last of them.
        server_ns: when the server's end of the last hop read, or had written, them; None without a relay.
        label: what they are, from the ledger's marks; their size where no mark says.
        event_ids: the events whose last byte is among them.
        asks: whether they are a request, or its end.
    """

    direction: Direction
    client_ns: int
    server_ns: int | None
    size_bytes: int
    label: str
    event_ids: tuple[int, ...]
    asks: bool = False

    @property
    def first_ns(self) -> int:
        return min(self.client_ns, self.client_ns if self.server_ns is None else self.server_ns)

    @property
    def last_ns(self) -> int:
        return max(self.client_ns, self.client_ns if self.server_ns is None else self.server_ns)


def conversation(
    records: Sequence[ConnectionRecord], technique: str, subscriber: int | None = None, kind: Kind | None = None
) -> list[Arrow]:
    """The arrows of one subscriber's connections, in the order in which they were sent.

    Args:
        records: of all hops.
        subscriber: its number; the first that has a connection by default.
        kind: of the technique: to a poll, an answer without events is an empty one.
    """
    clients = [r for r in records if r.hop == "client" and r.technique == technique]
    subscriber = min((r.subscriber for r in clients), default=0) if subscriber is None else subscriber
    arrows: list[Arrow] = []
    for client in (r for r in clients if r.subscriber == subscriber):
        far = server_side(client, records)
        arrows += _arrows(client, far, "out", kind) + _arrows(client, far, "in", kind)
    return sorted(arrows, key=lambda arrow: arrow.first_ns)


def server_side(client: ConnectionRecord, records: Iterable[ConnectionRecord]) -> ConnectionRecord | None:
    """The record nearest the server of the connection that *client* is the near end of; None without a relay."""
    far = [record for record in hops(client, records) if record.hop.endswith(".far")]
    return far[-1] if far else None


def _arrows(
    client: ConnectionRecord, far: ConnectionRecord | None, direction: Direction, kind: Kind | None
) -> list[Arrow]:
    sender, receiver = (client, far) if direction == "out" else (far, client)
    writes = _one_way(sender if sender is not None else client, direction)
    reads = _one_way(receiver, direction) if receiver is not None and sender is not None else None
    marks = sorted((m for m in client.marks if m.direction == direction), key=lambda m: m.stop)
    stops = [m.stop for m in marks]
    arrows = []
    for write in writes:
        read_ns = write.t_ns if reads is None else _covering(reads, write.stop)
        if read_ns is None:  # cut on the way, or no longer held
            continue
        client_ns, server_ns = (write.t_ns, read_ns) if direction == "out" else (read_ns, write.t_ns)
        ended = marks[bisect_right(stops, write.start) : bisect_right(stops, write.stop)]
        ids = tuple(dict.fromkeys(m.event.id for m in ended if m.event is not None and m.category == "payload"))
        label = _label(kind, direction, ended, ids) or f"{len(write.data):,} B".replace(",", "\u202f")
        asks = direction == "out" and any(m.category == "headers" or m.label == "subscribe" for m in ended)
        arrows.append(
            Arrow(direction, client_ns, None if far is None else server_ns, len(write.data), label, ids, asks)
        )
    return arrows


def _one_way(record: ConnectionRecord, direction: Direction) -> list[Transfer]:
    return [t for t in record.transfers if t.direction == direction]


def _covering(reads: list[Transfer], stop: int) -> int | None:
    """When the byte before *stop* had been read."""
    index = bisect_right(reads, stop - 1, key=lambda t: t.start) - 1
    return reads[index].t_ns if 0 <= index and stop - 1 < reads[index].stop else None


def _label(kind: Kind | None, direction: Direction, marks: Sequence[Mark], ids: Sequence[int]) -> str:
    """What to call one write: its HTTP part and its events, or whatever its marks say."""
    heads = list(dict.fromkeys(m.label.partition("?")[0] for m in marks if m.category == "headers" and m.label))
    if ids:
        events = f"event {ids[0]}" if len(ids) == 1 else f"events {ids[0]}\u2013{ids[-1]}"
        return ", ".join([h.partition(",")[0] for h in heads] + [events])
    if heads and kind in ("poll", "hold") and direction == "in":
        status = heads[0].partition(",")[0]
        return f"{status}, empty answer" if status == "200" else status
    if heads:
        return ", ".join(heads[:2])
    other = list(dict.fromkeys(m.label for m in marks if m.label and m.label not in ("chunk", "end")))
    return ", ".join(other[:2])
