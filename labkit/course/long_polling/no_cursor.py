"""L8: a client that asks for the next event each time, without saying which it has."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeVar

from labkit import theory
from labkit.charts import layout, style
from labkit.course.alone import started_now
from labkit.course.background import lateness, until
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


Event = tuple[int, int]
"""The number of its topic, and its id there."""
LONGEST_S = 5.0
"""How long what a client with a cursor has not got yet is waited for."""
T = TypeVar("T")


@dataclass(frozen=True, repr=False)
class Unaware(Shown):
    """Clients that poll without a cursor, each on a topic of its own beside one with a cursor: what was published while
    both listened, and what came, as (topic's number, event id).

    ``at_s``: when each was published, from the first client's start; ``late_s``: by how much timers of the same loop
    were late on average.
    """

    published: tuple[Event, ...]
    without: tuple[Event, ...]
    with_cursor: tuple[Event, ...]
    rate_per_s: float
    one_way_s: float
    settings: dict[str, Any] = field(default_factory=dict)
    at_s: tuple[float, ...] = ()
    late_s: float = 0.0

    @property
    def lost(self) -> int:
        return len(set(self.published) - set(self.without))

    @property
    def happened_per_s(self) -> float:
        """The rate at which each topic's events were published: a busy machine falls behind the one asked for."""
        when = list(zip(self.published, self.at_s, strict=False))
        last_s = {topic: at_s for (topic, _), at_s in when}
        return len(when) / sum(last_s.values()) if when else self.rate_per_s

    def share_lost(self, gaps: float = 1.0) -> float:
        """The share of events that fall into a gap of so many times its length: a / (1 + a), a = lambda g.

        A cycle is a gap, in which a events are lost on average, and then one event that finds the poll parked: what
        came in the gap is not there to be fetched, so a poll always waits.
        """
        a = self.happened_per_s * gaps * theory.request_gap(self.one_way_s)
        return a / (1 + a)

    def table(self) -> pd.DataFrame:
        rows = [
            (name, len(self.published), len(ids), len(set(self.published) - set(ids)), len(ids) - len(set(ids)))
            for name, ids in (("without a cursor", self.without), ("with a cursor", self.with_cursor))
        ]
        return as_table(rows, columns=["client", "published", "arrived", "lost", "twice"]).set_index("client")

    def chart(self) -> go.Figure:
        """When each event of the first topic was published, and which of its two clients got it."""
        mark, figure = LONG_POLLING.mark, layout.blank()
        rows = (("with a cursor", set(self.with_cursor)), ("without", set(self.without)))
        when = {event: at_s for event, at_s in zip(self.published, self.at_s, strict=True) if event[0] == 0}
        for row, (_, came) in enumerate(rows):
            for name, ids, symbol, color, down in (
                ("arrived", [i for i in when if i in came], mark.symbol, mark.color, 0.0),
                ("lost", [i for i in when if i not in came], "x-thin", style.GREY.ink, 0.28),
            ):
                figure.add_scatter(
                    x=[round(when[i], 3) for i in ids], y=[row + down] * len(ids), mode="markers", name=name,
                    legendgroup=name, showlegend=row == 1, customdata=[event_id for _, event_id in ids],
                    marker={"symbol": symbol, "size": 7, "color": color, "opacity": 0.8,
                            "line": {"color": color, "width": 2 if down else 0}},
                    hovertemplate="event %{customdata} at %{x:.2f} s: " + name + "<extra></extra>",
                )  # fmt: skip
        figure.update_xaxes(title_text="published, after the start (s)", ticks="outside")
        layout.name_rows(figure, [name for name, _ in rows], room=(0.6, 0.6))
        gap_ms = theory.request_gap(self.one_way_s) * 1e3
        return layout.dressed(
            figure,
            f"Without a cursor {len(when.keys() - rows[1][1])} of {len(when)} events are lost",
            f"one topic of {1 + self.published[-1][0]}; {self.rate_per_s:g} events a second at random; "
            f"after a delivered one the gap is {style.ms(gap_ms)}",
            height=270, margin=(110, 24, 84, 96),
        )  # fmt: skip


def unaware(
    lab: Lab, *, rate_per_s: float = 10.0, events: int = 40, topics: int = 10, one_way_s: float = ONE_WAY_S
) -> Unaware:
    """Clients that ask for "the next event" each time, each beside one that says which it has."""
    topic, rngs = f"02-unaware-{time.monotonic_ns()}", [random.Random(8 + number) for number in range(topics)]
    with Link(lab, one_way_s=one_way_s) as link:
        port = link.address[1]
        each = [
            _unaware(lab, port, f"{topic}-{number}", rng, rate_per_s, events, one_way_s)
            for number, rng in enumerate(rngs)
        ]
        found, late_s = shown(_all(each), f"{topics} pairs of clients, {events} events each")
    ids, at_s, without, kept = zip(*found, strict=True)
    settings = started_now(one_way_s=one_way_s, rate_per_s=rate_per_s)
    at_s = tuple(t for times in at_s for t in times)
    return Unaware(_keyed(ids), _keyed(without), _keyed(kept), rate_per_s, one_way_s, settings, at_s, late_s)


def _keyed(ids: Iterable[list[int]]) -> tuple[Event, ...]:
    """The ids of every topic, each with its topic's number."""
    return tuple((number, event_id) for number, of_topic in enumerate(ids) for event_id in of_topic)


async def _all(each: Iterable[Awaitable[T]]) -> tuple[list[T], float]:
    """What each gives, and how late the loop's timers were meanwhile."""
    async with lateness() as late_s:
        found = await asyncio.gather(*each)
    return found, fmean(late_s) if late_s else 0.0


async def _unaware(
    lab: Lab, port: int, topic: str, rng: random.Random, rate_per_s: float, events: int, one_way_s: float
) -> tuple[list[int], list[float], list[int], list[int]]:
    """Of one topic the ids, when each was published, and what came: without a cursor and with one."""
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
        for _ in range(events):
            await asyncio.sleep(rng.expovariate(rate_per_s))
            at_s.append(clock() - began_s)
            ids.append(await asyncio.to_thread(lab.publish, "tick", topic))
        await asyncio.sleep(8 * one_way_s)
        await until(lambda: ids[-1] in lists[1], LONGEST_S)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return ids, at_s, *lists


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
