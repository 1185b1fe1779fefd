"""L6: hold time-outs under the idle limit of an intermediary."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.charts import layout, style
from labkit.course.alone import started_now
from labkit.course.case_server import shown
from labkit.course.long_polling.polls import LONG
from labkit.course.shown import Shown, as_table
from labkit.course.variants import client_of
from labkit.errors import ConnectionLost
from labkit.lab.lab import Lab
from labkit.network.intermediary import Intermediary
from labkit.network.link import Link
from labkit.techniques.long_polling import LONG_POLLING

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True, repr=False)
class Valley(Shown):
    """Held requests through an intermediary that ends idle connections, for several hold time-outs."""

    idle_timeout_s: float
    rows: tuple[dict[str, float], ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """One row for each hold time-out: requests and broken connections a minute, the share of time deaf."""
        return as_table(list(self.rows)).set_index("hold_s")

    def chart(self) -> go.Figure:
        """What waiting costs over the hold time-out: requests, broken connections, and the share of time deaf."""
        grey, mark, table = style.GREY, LONG_POLLING.mark, self.table()
        figure = layout.panels("what it asks, and what breaks", "time deaf", horizontal_spacing=0.12)
        holds_s = list(table.index)
        for values, name, symbol, dash in (
            ("requests_per_min", "requests", mark.symbol, "solid"),
            ("broken_per_min", "broken connections", "x", "dot"),
        ):
            figure.add_scatter(
                x=holds_s, y=table[values], mode="lines+markers", name=name, row=1, col=1, cliponaxis=False,
                line={"color": mark.color if dash == "solid" else grey.ink, "dash": dash, "width": 1.5},
                marker={"symbol": symbol, "size": 9}, hovertemplate="hold %{x:g} s: %{y:.0f} a minute<extra></extra>",
            )  # fmt: skip
        figure.add_scatter(
            x=holds_s, y=(table["deaf_share"] * 100).round(1), mode="lines+markers", row=1, col=2, showlegend=False,
            line={"color": grey.ink, "dash": "dot", "width": 1.5}, marker={"symbol": "x", "size": 9},
            hovertemplate="hold %{x:g} s: deaf for %{y:.0f} % of the time<extra></extra>",
        )  # fmt: skip
        for column in (1, 2):
            figure.add_vline(
                x=self.idle_timeout_s, line={"color": grey.muted, "dash": "dash", "width": 1}, row=1, col=column
            )
            figure.add_annotation(  # on a logarithmic axis an annotation's place is a logarithm, a shape's is not
                x=math.log10(self.idle_timeout_s), yref=f"y{column if column > 1 else ''} domain", y=1,
                text="idle limit", showarrow=False, xanchor="left", yanchor="top",
                font={"size": 11, "color": grey.muted}, row=1, col=column,
            )  # fmt: skip
        figure.update_xaxes(
            type="log", tickvals=holds_s, ticktext=[f"{t:g}" for t in holds_s], title_text="hold time-out (s)",
            range=[math.log10(holds_s[0]) - 0.1, math.log10(holds_s[-1]) + 0.1],
        )  # fmt: skip
        most = float(table["requests_per_min"].max())
        figure.update_yaxes(title_text="a minute", range=[-0.04 * most, 1.04 * most], col=1)
        figure.update_yaxes(title_text="% of the time", range=[-4, 104], col=2)
        unbroken = table[table["broken_per_min"] == 0]
        best = f"{unbroken['requests_per_min'].idxmin():g} s" if len(unbroken) else "none"
        return layout.dressed(
            figure,
            f"The hold that breaks nothing and asks least often: {best}, under a limit of {self.idle_timeout_s:g} s",
            "an intermediary that says nothing when it drops an idle connection; a clock fifty times too fast",
            height=380, margin=(66, 24, 112, 96),
        )  # fmt: skip


def valley(
    lab: Lab,
    *,
    idle_timeout_s: float = 0.6,
    holds_s: tuple[float, ...] = (0.1, 0.2, 0.4, 0.9, 1.8),
    duration_s: float = 3.6,
    one_way_s: float = 0.01,
) -> Valley:
    """Hold time-outs below and above the idle limit of an intermediary, on a clock fifty times too fast.

    Nothing is published: what is counted is what waiting costs. An intermediary that says nothing leaves its client
    deaf until the hold and a moment more have passed.

    Raises:
        ValueError: a hold so long that *duration_s* does not see the end of it.
    """
    if max(map(patience_s, holds_s)) > duration_s:
        raise ValueError(f"duration_s must be {patience_s(max(holds_s)):g} or more, to see the longest hold end")
    relay = Intermediary(idle_timeout_s=idle_timeout_s, idle_end="silent")
    link = Link(one_way_s=one_way_s, handshake=False)
    with relay.bind(lab), link.bind(relay):
        polling = _all_holds(link.address[1], holds_s, duration_s, idle_timeout_s)
        rows = shown(polling, f"{len(holds_s)} clients wait")
    return Valley(idle_timeout_s, rows, started_now(one_way_s=one_way_s))


def patience_s(hold_s: float) -> float:
    """When a client gives up that hears nothing: after half a hold more, or half a second."""
    return hold_s + max(0.5 * hold_s, 0.5)


async def _all_holds(
    port: int, holds_s: tuple[float, ...], duration_s: float, idle_s: float
) -> tuple[dict[str, float], ...]:
    return tuple(await asyncio.gather(*(_hold(port, hold_s, duration_s, idle_s) for hold_s in holds_s)))


async def _hold(port: int, hold_s: float, duration_s: float, idle_s: float) -> dict[str, float]:
    """Poll for *duration_s*. A client that gives up has been deaf since the limit, *idle_s* after its request."""
    clock = asyncio.get_running_loop().time
    until_s, requests, broken, deaf_s = clock() + duration_s, 0, 0, 0.0
    while clock() < until_s:
        client = client_of(f"http://127.0.0.1:{port}/long-polling", LONG, "02-nothing")
        try:
            while (left_s := until_s - clock()) > 0:
                asked_s, requests = clock(), requests + 1
                try:
                    async with asyncio.timeout(min(patience_s(hold_s), left_s)):
                        await client.ask({"after": "0", "timeout": f"{hold_s:g}"})
                        await client.answer()
                except (TimeoutError, ConnectionLost):
                    deaf_s += max(0.0, clock() - asked_s - idle_s)
                    broken += clock() < until_s
                    break
        finally:
            client.close()
    return {
        "hold_s": hold_s, "requests_per_min": requests * 60 / duration_s, "broken_per_min": broken * 60 / duration_s,
        "deaf_share": deaf_s / duration_s,
    }  # fmt: skip
