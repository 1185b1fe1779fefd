"""H3: streams that nobody reads, and what is left of one connection's window for their sibling (RFC 9113 section 5.2).

A server may send 65 535 bytes on a stream, and on the whole connection, before something is acknowledged. Streams that
are not read keep what they have used: once they have used up the connection's window, their siblings starve.
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
from labkit.course.background import lateness, quantile
from labkit.course.later_http import edges, raw
from labkit.course.later_http.not_run import or_says_why
from labkit.course.later_http.raw import arrivals
from labkit.course.shown import Shown, as_table
from labkit.lab.lab import Lab
from labkit.network.link import Link
from labkit.wire.events import now_ns

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

ONE_WAY_S = 0.05
UNREAD = (0, 1, 2)
"""Streams that are opened beside the sibling and not read."""
WINDOWS = (1, 2, 4)
"""Of the whole connection, in windows of one stream."""
FLOOD_BYTES = 200_000
"""What waits on each stream that is not read: several windows."""
FILL_S, SPARE_BYTES = 3.0, 200
"""How long the unread streams have to fill what they can of the window, and how much of it may be left."""
EVENTS, EVERY_S = 20, 0.05
"""Of the sibling."""
PATIENCE_S = 1.0
"""After its last event, before the unread streams are read at last."""


def starves(unread: int, windows: int, server: str = "") -> bool:
    """Whether streams that are not read use up the connection's window.

    Each takes one stream's window of it. This kit's lab gives no stream more than half of the connection's.
    """
    each = min(1.0, windows / 2) if server == edges.LAB else 1.0
    return unread * each >= windows


@dataclass(frozen=True)
class Sibling:
    """One connection. ``late_s``: of each event of the sibling, by its number, how late it was; absent: it never came.

    Attributes:
        held: how many of its events had come when the unread streams were read at last.
    """

    server: str
    unread: int
    windows: int
    late_s: tuple[float, ...]
    held: int

    @property
    def starved(self) -> bool:
        """Whether it got less than half of its events while the others were not read."""
        return self.held < EVENTS / 2


@dataclass(frozen=True, repr=False)
class Windows(Shown):
    """A stream beside unread ones, by how many those were and by the connection's window.

    ``late_s``: how late timers of the loop were, at 95 %.
    """

    siblings: Sequence[Sibling]
    one_way_s: float
    late_s: float
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """One row for each server and number of unread streams, one column for each window."""
        rows = [(s.server, s.unread, f"{s.windows} x 65 535 B", f"{s.held} of {EVENTS}") for s in self.siblings]
        frame = as_table(rows, ["server", "not read", "window of the connection", "came"])
        return frame.pivot(index=["server", "not read"], columns="window of the connection", values="came")

    @property
    def caption(self) -> str:
        return "Events of the stream that is read which came in time, beside streams that nobody reads"

    def chart(self) -> go.Figure:
        """How late each event of the sibling was, a row for each server as in the table, a panel for each window."""
        servers, symbols = sorted({s.server for s in self.siblings}), ("circle", "square", "diamond")
        titles = [f"{server}, window {n} x 65 535 B" for server in servers for n in WINDOWS]
        figure = layout.panels(
            *titles, rows=len(servers), shared_yaxes="all", shared_xaxes="all", vertical_spacing=0.3 / len(servers)
        )
        for sibling in self.siblings:
            at = UNREAD.index(sibling.unread)
            figure.add_scatter(
                x=[EVERY_S * n for n in range(len(sibling.late_s))], y=[round(1e3 * s, 1) for s in sibling.late_s],
                mode="markers", marker={"symbol": symbols[at], "size": 8, "color": style.COLORWAY[2 * at]},
                name=f"{sibling.unread} not read", legendgroup=str(at), row=1 + servers.index(sibling.server),
                showlegend=sibling.windows == WINDOWS[0] and sibling.server == servers[0],
                col=WINDOWS.index(sibling.windows) + 1, hovertemplate="%{y:.0f} ms<extra></extra>",
            )  # fmt: skip
        figure.add_hline(y=1e3 * self.one_way_s, line=layout.theory_line())
        figure.update_yaxes(title_text="latency (ms)", col=1, rangemode="tozero")
        figure.update_xaxes(title_text="due (s)", row=len(servers))
        hungry = sum(sibling.starved for sibling in self.siblings)
        title = f"In {hungry} of {len(self.siblings)} connections the stream that is read starves"
        note = "dashed: theory, one transit; what is above it waited until the others were read"
        return layout.dressed(figure, title, note, height=180 + 210 * len(servers), margin=(66, 24, 84, 92))


@or_says_why
def starved(lab: Lab, *, one_way_s: float = ONE_WAY_S) -> Windows:
    """A stream that is read beside none, one and two that are not, on connections with three windows, all at once.

    The servers are the lab, and nginx in front of it, where that is installed.
    """
    ready(lab)
    lab.publish("x" * FLOOD_BYTES, "14-flood")
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(edges.secure(lab)), stack.enter_context(edges.front(lab))]
        found[0].check()
        ways = {}
        for edge in found:
            if not edge.missing:
                link = stack.enter_context(Link(("127.0.0.1", edge.port), one_way_s=one_way_s))
                ways[edge.name] = (edge.through(link), edge.cafile)
        return loop.run(_starved(lab, ways, one_way_s))


async def _starved(lab: Lab, ways: Mapping[str, tuple[str, str | None]], one_way_s: float) -> Windows:
    sent, due_ns = asyncio.Event(), list[int]()
    cells = [(server, (unread, windows)) for server in ways for windows in WINDOWS for unread in UNREAD]
    filled = asyncio.Barrier(len(cells) + 1)
    async with lateness() as late_s, asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_sibling(ways[server], server, cell, filled, sent, due_ns)) for server, cell in cells
        ]
        async with asyncio.timeout(2 * raw.WAIT_S + FILL_S):
            await filled.wait()
        late_s.clear()
        for number in range(EVENTS):
            due_ns.append(now_ns())
            lab.publish(f"event {number}", "14-sibling")
            await asyncio.sleep(EVERY_S)
        sent.set()
    found = [task.result() for task in tasks]
    return Windows(found, one_way_s, quantile(late_s, 0.95), started_now(servers=list(ways)))


async def _sibling(
    way: tuple[str, str | None], server: str, cell: tuple[int, int], filled: asyncio.Barrier, sent: asyncio.Event,
    due_ns: list[int],
) -> Sibling:  # fmt: skip
    (url, cafile), (unread, windows) = way, cell
    async with raw.talk(url, cafile=cafile, window=windows * raw.DEFAULT_WINDOW) as talk:
        sibling = talk.ask("/http-streaming?topic=14-sibling")
        await talk.until(lambda: sibling.pieces)
        floods = [talk.ask("/http-streaming?topic=14-flood&after=0", read=False) for _ in range(unread)]
        room = min(unread * raw.DEFAULT_WINDOW, windows * raw.DEFAULT_WINDOW - len(sibling.body))
        await talk.until(lambda: sum(len(flood.body) for flood in floods) >= room - SPARE_BYTES, FILL_S)
        await filled.wait()
        await sent.wait()
        await talk.until(lambda: len(arrivals(sibling.pieces)) >= EVENTS, PATIENCE_S)
        held = len(arrivals(sibling.pieces))
        for flood in floods:
            talk.read_at_last(flood)
        await talk.until(lambda: len(arrivals(sibling.pieces)) >= EVENTS)
        came = arrivals(sibling.pieces)
        late_s = tuple((t_ns - due) / 1e9 for t_ns, due in zip(came, due_ns, strict=False))
        return Sibling(server, unread, windows, late_s, held)
