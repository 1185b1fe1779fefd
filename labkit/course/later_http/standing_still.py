"""H4: ten streams on one connection and ten on ten, and a connection that stands still for a moment.

A relay in user space cannot lose a packet of somebody else's TCP; it can stop passing on what one connection brings,
which is what a receiver sees until a lost packet was sent again. What a lost packet itself does is in ``lossy``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit import loop
from labkit.charts import layout, style
from labkit.course.alone import ready, started_now
from labkit.course.background import lateness, until
from labkit.course.later_http import edges, raw
from labkit.course.later_http.marks import MARKS, NEW, OLD
from labkit.course.later_http.not_run import or_says_why
from labkit.course.shown import Shown, as_table
from labkit.lab.lab import Lab
from labkit.network.link import Link
from labkit.wire.events import now_ns

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

STREAMS = 10
ONE_WAY_S = 0.05
EVERY_S = 0.1
EVENTS = 14
STALL_S = (0.35, 0.75)
"""Since the first event: from when to when the connection stands still."""
STUCK = 5
"""Transits: what takes longer had to wait. The first events of the stall take nine."""


@dataclass(frozen=True, repr=False)
class Stalled(Shown):
    """Streams of both versions while one connection of each stood still.

    Attributes:
        late_s: by version, of each stream, how late each of its events was.
        stall_s: from when to when it stood still, since the first event was due.
        stuck_s: an event later than this had waited for another's packet or its own.
        timers_s: how late a timer or a packet of the relay's was, at the worst.
        how: what made it stand still.
        real: whether a packet was lost, and not only a connection stopped.
    """

    index = "bare"

    late_s: Mapping[str, Sequence[Sequence[float]]]
    one_way_s: float
    every_s: float
    stall_s: tuple[float, float]
    stuck_s: float
    timers_s: float
    how: str
    real: bool = False
    why: str = ""
    caption_text: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def caption(self) -> str:
        return self.why or self.caption_text

    def stuck(self, version: str) -> int:
        """How many streams had an event that was stuck."""
        return sum(max(late, default=0.0) > self.stuck_s for late in self.late_s[version])

    def table(self) -> pd.DataFrame:
        """One row for each version: its connections, and how many of its streams were held up."""
        rows = [
            (
                name,
                1 if name == NEW else len(late),
                self.stuck(name),
                1e3 * max((s for one in late for s in one), default=0.0),
            )
            for name, late in self.late_s.items()
        ]
        return as_table(rows, columns=["", "connections", "streams held up", "latest event (ms)"]).set_index("")

    def chart(self) -> go.Figure:
        """How late each event of each stream was, along time, a panel for each version."""
        names = [
            f"{STREAMS} streams, {'one connection' if name == NEW else 'ten connections'}: {name}"
            for name in self.late_s
        ]
        figure = layout.panels(*names, shared_yaxes="all")
        for column, (name, late) in enumerate(self.late_s.items(), 1):
            mark = MARKS[name]
            for number, stream in enumerate(late):
                apart = number / STREAMS if self.real else 0.06 * (number - STREAMS / 2)
                figure.add_scatter(
                    x=[self.every_s * (n + apart) for n in range(len(stream))],
                    y=[round(1e3 * s, 1) for s in stream], mode="markers", showlegend=False, row=1, col=column,
                    marker={"symbol": mark.symbol, "size": 5, "color": mark.color},
                    hovertemplate=f"stream {number + 1}<br>%{{y:.0f}} ms<extra></extra>",
                )  # fmt: skip
            start, stop = self.stall_s
            if stop > start:
                figure.add_vrect(
                    x0=start, x1=stop, fillcolor=style.rgba(style.GREY.rule, 0.15), line_width=0, row=1, col=column
                )
            figure.add_hline(y=1e3 * self.one_way_s, line=layout.theory_line(), row=1, col=column)
        figure.update_yaxes(title_text="latency (ms)", col=1, rangemode="tozero")
        figure.update_xaxes(title_text="due, after the first event (s)")
        told = ", ".join(f"{self.stuck(name)} of {STREAMS} over {name}" for name in self.late_s)
        note = f"{self.how}; dashed: theory, one transit"
        return layout.dressed(figure, f"Streams held up: {told}", note, height=400, margin=(66, 24, 84, 64))


@or_says_why
def one_stalls(lab: Lab, *, one_way_s: float = ONE_WAY_S) -> Stalled:
    """Ten streams over each version; one connection of each stands still for 0.4 s."""
    ready(lab)
    with edges.secure(lab) as edge, contextlib.ExitStack() as stack:
        edge.check()
        new, hit, spared = (
            stack.enter_context(Link(target, one_way_s=one_way_s)) for target in (("127.0.0.1", edge.port), lab, lab)
        )
        return loop.run(_one_stalls(lab, edge, new, hit, spared))


async def _one_stalls(lab: Lab, edge: edges.Edge, new: Link, hit: Link, spared: Link) -> Stalled:
    topics = [f"14-stall-{number}" for number in range(STREAMS)]
    pieces: dict[str, list[list[tuple[int, bytes]]]] = {OLD: [[] for _ in topics]}
    async with contextlib.AsyncExitStack() as stack:
        for number, topic in enumerate(topics):
            link = spared if number else hit
            await stack.enter_async_context(
                raw.followed(link.address[1], f"/http-streaming?topic={topic}", pieces[OLD][number])
            )
        talk = await stack.enter_async_context(raw.talk(edge.through(new), cafile=edge.cafile))
        streams = [talk.ask(f"/http-streaming?topic={topic}") for topic in topics]
        pieces[NEW] = [stream.pieces for stream in streams]
        await until(lambda: all(all(each) for each in pieces.values()), raw.WAIT_S)
        due_ns: dict[str, list[int]] = {topic: [] for topic in topics}
        async with lateness() as timers_s:
            began_ns = now_ns()
            moments = sorted(
                [(EVERY_S * n, "events") for n in range(EVENTS)] + [(STALL_S[0], "stall"), (STALL_S[1], "heal")]
            )
            for at_s, what in moments:
                await asyncio.sleep(max(0.0, at_s - (now_ns() - began_ns) / 1e9))
                if what == "events":
                    for topic in topics:
                        due_ns[topic].append(now_ns())
                        lab.publish(f"at {at_s:g}", topic)
                    continue
                for link in (new, hit):
                    link.stall() if what == "stall" else link.heal()
            await until(lambda: all(len(raw.arrivals(p)) >= EVENTS for p in [*pieces[OLD], *pieces[NEW]]), raw.WAIT_S)
    late_s = {
        version: [
            [(t - due) / 1e9 for t, due in zip(raw.arrivals(mine), due_ns[topic], strict=False)]
            for topic, mine in zip(topics, each, strict=True)
        ]
        for version, each in pieces.items()
    }
    d, late = ONE_WAY_S, max(timers_s, default=0.0)
    how = f"shaded: one connection of each version stands still for {STALL_S[1] - STALL_S[0]:g} s"
    return Stalled(late_s, d, EVERY_S, STALL_S, STUCK * d, late, how, settings=started_now(edge=edge.name))
