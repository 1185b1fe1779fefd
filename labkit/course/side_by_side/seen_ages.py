"""Ages of information (A9): what the experiment gives, and what theory expects of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from labkit.course.side_by_side.seen import Shown

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class AgePoint:
    """One subscriber's age of information at one event rate.

    Attributes:
        blocks_s: the mean age in consecutive blocks of the run, in seconds.
        theory_s: the mean age that theory expects of a stream that delivers every event; none for the others.
        bytes_per_s: bytes until it held the newest event, per second of the schedule.
        received, conflated, lost: events.
    """

    technique: str
    conflate: bool
    rate_per_s: float
    blocks_s: tuple[float, ...]
    theory_s: float
    bytes_per_s: float
    received: int
    conflated: int
    lost: int

    @property
    def mean_s(self) -> float:
        return math.fsum(self.blocks_s) / len(self.blocks_s) if self.blocks_s else math.nan

    @property
    def name(self) -> str:
        return f"{self.technique}, newest only" if self.conflate else self.technique


@dataclass(frozen=True, repr=False)
class Ages(Shown):
    """Age of information over the event rate, through a link of a given rate, with and without conflation."""

    points: tuple[AgePoint, ...]
    rate_bytes_per_s: float
    event_bytes: float
    one_way_s: float
    settings: dict[str, Any]

    @property
    def capacity_per_s(self) -> float:
        """Events a second that the link can carry."""
        return self.rate_bytes_per_s / self.event_bytes

    @property
    def caption(self) -> str:  # type: ignore[override]
        return (
            f"Events of {self.event_bytes:,.0f} bytes through a link of {self.rate_bytes_per_s / 1e3:,.0f} kB/s for "
            f"each subscriber: room for {self.capacity_per_s:.0f} events/s."
        )

    def table(self) -> pd.DataFrame:
        import pandas as pd

        rows = [
            {
                "events/s": point.rate_per_s,
                "technique": point.name,
                "mean age (ms)": point.mean_s * 1e3,
                "theory (ms)": point.theory_s * 1e3,
                "kB/s": point.bytes_per_s / 1e3,
                "received": point.received,
                "conflated": point.conflated,
                "lost": point.lost,
            }
            for point in self.points
        ]
        return pd.DataFrame(rows).set_index(["events/s", "technique"]).round(1)


def age_blocks(arrivals: Iterable[tuple[int, int]], start_ns: int, stop_ns: int, blocks: int) -> tuple[float, ...]:
    """The mean age of information in each of so many equal blocks of time, in seconds.

    The age at a moment is the time since the newest event held then was due; before the first, since *start_ns*.

    Args:
        arrivals: (received_ns, due_ns).
    """
    edges = [start_ns + (stop_ns - start_ns) * i // blocks for i in range(blocks + 1)]
    waiting, newest_ns, found = sorted(arrivals), start_ns, []
    for begin_ns, end_ns in pairwise(edges):
        area, at_ns = 0.0, begin_ns
        while waiting and waiting[0][0] < end_ns:
            received_ns, due_ns = waiting.pop(0)
            area += _area(at_ns, max(received_ns, begin_ns), newest_ns)
            at_ns, newest_ns = max(received_ns, begin_ns), max(newest_ns, due_ns)
        area += _area(at_ns, end_ns, newest_ns)
        found.append(area / (end_ns - begin_ns) / 1e9)
    return tuple(found)


def _area(from_ns: int, to_ns: int, newest_ns: int) -> float:
    return (to_ns - from_ns) * ((from_ns + to_ns) / 2 - newest_ns)


def expected_age_s(
    due_ns: Iterable[int], capacity_per_s: float, one_way_s: float, start_ns: int, stop_ns: int
) -> float:
    """The mean age that theory expects of a trace of which every event is delivered, in seconds.

    A queue with one server of the link's rate C: an event is out 1/C after it came or, if later, after the one before
    it (Lindley's recursion), and a transit later it is there.
    """
    each_ns, free_ns, arrivals = int(1e9 / capacity_per_s), 0, []
    for due in sorted(due_ns):
        free_ns = max(free_ns, due) + each_ns
        arrivals.append((free_ns + int(one_way_s * 1e9), due))
    return age_blocks(arrivals, start_ns, stop_ns, 1)[0]
