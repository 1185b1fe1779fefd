"""L8: a client that asks for the next event each time, without saying which it has."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit import theory
from labkit.charts import layout, style
from labkit.course.alone import started_now
from labkit.course.case_server import shown
from labkit.course.long_polling.polls import LONG, ONE_WAY_S
from labkit.course.shown import Shown, as_table
from labkit.course.variants import client_of
from labkit.lab.lab import Lab
from labkit.network.link import Link
from labkit.techniques.long_polling import LONG_POLLING

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True, repr=False)
class Unaware(Shown):
    """A client that polls without a cursor beside one with: what was published while each listened, and what came.

    ``at_s``: when each was published, from the first client's start.
    """

    published: tuple[int, ...]
    without: tuple[int, ...]
    with_cursor: tuple[int, ...]
    rate_per_s: float
    one_way_s: float
    settings: dict[str, Any] = field(default_factory=dict)
    at_s: tuple[float, ...] = ()

    @property
    def lost(self) -> int:
        return len(set(self.published) - set(self.without))

    @property
    def expected_share(self) -> float:
        """The share of events that fall into a gap: a / (1 + a), a = lambda g.

        A cycle is a gap, in which a events are lost on average, and then one event that finds the poll parked: what
        came in the gap is not there to be fetched, so a poll always waits.
        """
        a = self.rate_per_s * theory.request_gap(self.one_way_s)
        return a / (1 + a)

    def table(self) -> pd.DataFrame:
        rows = [
            (name, len(self.published), len(ids), len(set(self.published) - set(ids)), len(ids) - len(set(ids)))
            for name, ids in (("without a cursor", self.without), ("with a cursor", self.with_cursor))
        ]
        return as_table(rows, columns=["client", "published", "arrived", "lost", "twice"]).set_index("client")

    def chart(self) -> go.Figure:
        """When each event was published, and which of two clients got it."""
        mark, figure = LONG_POLLING.mark, layout.blank()
        rows = (("with a cursor", set(self.with_cursor)), ("without", set(self.without)))
        when = dict(zip(self.published, self.at_s, strict=True))
        for row, (_, came) in enumerate(rows):
            for name, ids, symbol, color, down in (
                ("arrived", [i for i in when if i in came], mark.symbol, mark.color, 0.0),
                ("lost", [i for i in when if i not in came], "x-thin", style.GREY.ink, 0.28),
            ):
                figure.add_scatter(
                    x=[round(when[i], 3) for i in ids], y=[row + down] * len(ids), mode="markers", name=name,
                    legendgroup=name, showlegend=row == 1, customdata=ids,
                    marker={"symbol": symbol, "size": 7, "color": color,
                            "line": {"color": color, "width": 2 if down else 0}},
                    hovertemplate="event %{customdata} at %{x:.2f} s: " + name + "<extra></extra>",
                )  # fmt: skip
        figure.update_xaxes(title_text="published, after the start (s)", ticks="outside")
        layout.name_rows(figure, [name for name, _ in rows], room=(0.6, 0.6))
        gap_ms = theory.request_gap(self.one_way_s) * 1e3
        return layout.dressed(
            figure,
            f"Without a cursor {self.lost} of {len(self.published)} events are lost",
            f"{self.rate_per_s:g} events a second at random; after a delivered one the gap is {style.ms(gap_ms)}",
            height=270, margin=(110, 24, 84, 96),
        )  # fmt: skip


def unaware(lab: Lab, *, rate_per_s: float = 10.0, events: int = 40, one_way_s: float = ONE_WAY_S) -> Unaware:
    """A client that asks for "the next event" each time, beside one that says which it has."""
    topic, rng = f"02-unaware-{time.monotonic_ns()}", random.Random(8)
    waits_s = [rng.expovariate(rate_per_s) for _ in range(events)]
    with Link(lab, one_way_s=one_way_s) as link:
        clients = _unaware(lab, link.address[1], topic, waits_s, one_way_s)
        published, at_s, came = shown(clients, f"two clients, {events} events")
    settings = started_now(one_way_s=one_way_s, rate_per_s=rate_per_s)
    return Unaware(published, came[0], came[1], rate_per_s, one_way_s, settings, at_s)


async def _unaware(
    lab: Lab, port: int, topic: str, waits_s: list[float], one_way_s: float
) -> tuple[tuple[int, ...], tuple[float, ...], tuple[tuple[int, ...], ...]]:
    """The ids, when each was published, and what came: without a cursor and with one."""
    clock = asyncio.get_running_loop().time
    await asyncio.to_thread(lab.publish, "before", topic)
    lists: tuple[list[int], list[int]] = [], []
    waiting = [
        asyncio.ensure_future(_poll_for_ever(port, topic, cursor, came))
        for cursor, came in zip((None, lab.cursor(topic)), lists, strict=True)
    ]
    try:
        await asyncio.sleep(6 * one_way_s)  # both are parked
        began_s, ids, at_s = clock(), [], []
        for wait_s in waits_s:
            await asyncio.sleep(wait_s)
            at_s.append(clock() - began_s)
            ids.append(await asyncio.to_thread(lab.publish, "tick", topic))
        await asyncio.sleep(8 * one_way_s)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return tuple(ids), tuple(at_s), tuple(map(tuple, lists))


async def _poll_for_ever(port: int, topic: str, cursor: str | None, came: list[int]) -> None:
    """Long polls, one after another; without a cursor each asks for what comes next."""
    keeps, client = cursor is not None, client_of(f"http://127.0.0.1:{port}/long-polling", LONG, topic)
    try:
        while True:
            await client.ask({"after": cursor, "timeout": "30"})
            answer = json.loads((await client.answer())[1])
            came += [event["id"] for event in answer["events"]]
            cursor = answer["cursor"] if keeps else None
    finally:
        client.close()
