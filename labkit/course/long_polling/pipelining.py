"""L10: pipelined polls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit import loop
from labkit.course.long_polling.polls import ENDLESS_S, LONG, ONE_WAY_S
from labkit.course.shown import OfRun, Shown
from labkit.course.variants import client_of, several
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.measuring.schedules import Planned, Schedule
from labkit.network.link import Link

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Pipelined(OfRun, Shown):
    """Pipelined long polls: a run with topics ``pairs`` and ``poisson``, and a GET behind a parked poll.

    ``behind_s``: how long a plain GET took behind a poll held for ``hold_s``; ``beside_s``: on a connection of its own.
    """

    decimals = 0

    run: Run
    behind_s: float
    beside_s: float
    hold_s: float

    def table(self) -> pd.DataFrame:
        """One row for each kind of event, and for the GET on either connection: ms."""
        import pandas as pd

        latency = self.run.deliveries.groupby("topic")["latency_ms"]
        rows = {f"{topic} events": (each.median(), each.max()) for topic, each in latency}
        rows["a GET beside the poll"] = (self.beside_s * 1e3,) * 2
        rows["a GET behind the poll"] = (self.behind_s * 1e3,) * 2
        return pd.DataFrame.from_dict(rows, orient="index", columns=["median (ms)", "longest (ms)"])


def pipelined(lab: Lab, *, duration_s: float = 4.8, one_way_s: float = ONE_WAY_S, hold_s: float = 1.0) -> Pipelined:
    """Pipelined polls: pairs of events closer than a gap, and Poisson events; then a GET behind a parked poll."""
    pairs = Schedule("pairs", {}, duration_s, None, False, lambda: _pairs(duration_s, one_way_s))
    plan = several({"pairs": pairs, "poisson": schedules.poisson(10, duration_s, seed=10)})
    options = {LONG: {"pipelined": True}}
    run = measure(lab, [LONG], plan, one_way_s=one_way_s, hold_s=ENDLESS_S, options=options)
    with Link(lab, one_way_s=one_way_s) as link:
        behind_s, beside_s = loop.run(_behind(link.address[1], hold_s))
    return Pipelined(run, behind_s, beside_s, hold_s)


def _pairs(duration_s: float, one_way_s: float) -> Iterator[Planned]:
    """Two events within 2d, then none for longer than that."""
    step_s = 8 * one_way_s
    for number in range(int(duration_s / step_s)):
        yield Planned(number * step_s, f"first of pair {number}")
        yield Planned(number * step_s + 0.6 * one_way_s, f"second of pair {number}")


async def _behind(port: int, hold_s: float) -> tuple[float, float]:
    """How long a GET takes behind a parked poll on the same connection, and on one of its own."""
    clock = asyncio.get_running_loop().time
    paths = f"/long-polling?timeout={hold_s:g}", "/polling"
    parked, other = (client_of(f"http://127.0.0.1:{port}{path}", LONG) for path in paths)
    try:
        await other.ask({})
        await other.answer()  # connected
        began_s = clock()
        await other.ask({})
        await other.answer()
        beside_s = clock() - began_s
        http = await parked.connected()
        await parked.ask({})
        began_s = clock()
        await http.request("GET", "/polling", parked.headers)
        await parked.answer()
        await parked.answer()
        return clock() - began_s, beside_s
    finally:
        parked.close()
        other.close()
