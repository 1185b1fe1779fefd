"""P5: the overhead of one message through polling and WebSocket, on this wire and in two published tables."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from labkit.course.shown import Shown, as_table
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Overheads(Shown):
    """The published tables, and this wire's own bytes.

    ``polling`` and ``websocket``: headers and framing of one message, and TCP/IP headers (derived), each a list with a
    value for each subscriber; ``run`` what they were counted in.
    """

    polling: tuple[tuple[float, float], ...]
    websocket: tuple[tuple[float, float], ...]
    events: int
    run: Run | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def ratios(self, tcp_ip: bool) -> list[float]:
        """Overhead of a poll over that of a WebSocket message, for each subscriber."""
        pairs = zip(self.polling, self.websocket, strict=True)
        return [(p[0] + p[1] * tcp_ip) / (w[0] + w[1] * tcp_ip) for p, w in pairs]

    def table(self) -> pd.DataFrame:
        """Bytes of overhead for each message."""
        rows = {}
        for name, found in (("polling", self.polling), ("websocket", self.websocket)):
            bare, derived = (sum(values) / len(found) for values in zip(*found, strict=True))
            rows[name] = {"headers and framing": bare, "TCP/IP (derived)": derived, "together": bare + derived}
        rows["ratio"] = {name: rows["polling"][name] / rows["websocket"][name] for name in rows["polling"]}
        return as_table(rows).T


def overheads(
    lab: Lab, *, each: int = 4, every_s: float = 0.2, duration_s: float = 2.4, one_way_s: float = 0.05
) -> Overheads:
    """One message for each poll, as in the published tables, through polling and WebSocket."""
    schedule = schedules.periodic(1 / every_s, duration_s, seed=5)
    run = measure(
        lab, ["polling", "websocket"], schedule, one_way_s=one_way_s, poll_interval_s=every_s, subscribers=each
    )
    found: dict[str, list[tuple[float, float]]] = {"polling": [], "websocket": []}
    for technique, mine in found.items():
        mine += [_overhead(run, technique, subscriber) for subscriber in range(each)]
    pairs = tuple(found["polling"]), tuple(found["websocket"])
    return Overheads(*pairs, len(run.published), run, dict(run.settings))


def _overhead(run: Run, technique: str, subscriber: int) -> tuple[float, float]:
    """Headers and framing of one message, and its TCP/IP headers.

    Of a WebSocket only the frames that carried events: not its opening, though the segments of that are counted.
    """
    records = [record for record in run.ledger.of(technique) if record.subscriber == subscriber]
    derived = sum(math.nan if record.tcp_ip_bytes is None else record.tcp_ip_bytes for record in records)
    marks = [mark for record in records for mark in record.marks]
    if technique == "polling":
        counts = {"out": sum(r.requests for r in records), "in": sum(r.responses for r in records)}
        heads = [mark for mark in marks if mark.category in ("headers", "framing")]
        each = sum((mark.stop - mark.start) / counts[mark.direction] for mark in heads)
        return each, derived / counts["in"]
    # a frame's header is known to be an event's by what follows it
    frames = [mark for mark in marks if mark.direction == "in"]
    bare = sum(
        mark.stop - mark.start
        for mark, after in pairwise(frames)
        if mark.category == "framing" and after.event is not None
    )
    return bare / len(run.published), derived / len(run.published)


@dataclass(frozen=True)
class Published:
    """One row of somebody else's table: the inputs and the figure that they print (``printed_mbps``)."""

    source: str
    case: str
    clients: int
    every_s: float
    bytes_each: float
    printed_mbps: float
    decimals: int

    @property
    def mbit_per_s(self) -> float:
        return self.clients * self.bytes_each * 8 / self.every_s / 1e6

    @property
    def mibit_per_s(self) -> float:
        return self.clients * self.bytes_each * 8 / self.every_s / 2**20

    def prints(self, value: float) -> bool:
        """Whether *value* rounds, or is cut, to the printed figure."""
        scaled = value * 10**self.decimals
        return round(self.printed_mbps * 10**self.decimals) in (round(scaled), int(scaled))


KAAZING, HPBN = "Lubbers and Greco (Kaazing)", "High Performance Browser Networking"
PUBLISHED = (
    Published(KAAZING, "polling", 1_000, 1, 871, 6.6, 1),
    Published(KAAZING, "polling", 10_000, 1, 871, 66, 0),
    Published(KAAZING, "polling", 100_000, 1, 871, 665, 0),
    Published(KAAZING, "WebSocket", 1_000, 1, 2, 0.015, 3),
    Published(KAAZING, "WebSocket", 10_000, 1, 2, 0.153, 3),
    Published(KAAZING, "WebSocket", 100_000, 1, 2, 1.526, 3),
    Published(HPBN, "polling", 10_000, 60, 850, 1.13, 2),
)


@dataclass(frozen=True, repr=False)
class Tables(Shown):
    """The published figures beside what their inputs give, and what the same clients cost with this wire's bytes."""

    seen: Overheads | None = None

    def table(self) -> pd.DataFrame:
        """One row for each figure: as printed, in Mbit/s, in Mibit/s, and in Mbit/s on this wire, TCP/IP included."""
        rows = []
        for row in PUBLISHED:
            own = self._own(row)
            rows.append(
                {
                    "whose": row.source,
                    "what": row.case,
                    "clients": row.clients,
                    "every (s)": row.every_s,
                    "bytes": row.bytes_each,
                    "printed 'Mbps'": f"{row.printed_mbps:g}",
                    "Mbit/s": row.mbit_per_s,
                    "Mibit/s": row.mibit_per_s,
                    **({} if own is None else {"this wire (Mbit/s)": own}),
                }
            )
        return as_table(rows).set_index(["whose", "what", "clients"])

    def _own(self, row: Published) -> float | None:
        if self.seen is None:
            return None
        each = self.seen.polling if row.case == "polling" else self.seen.websocket
        bytes_each = sum(bare + derived for bare, derived in each) / len(each)
        return row.clients * bytes_each * 8 / row.every_s / 1e6


def published(seen: Overheads | None = None) -> Tables:
    """The two published tables recomputed; with what :func:`overheads` gave, also from this wire's bytes."""
    return Tables(seen)
