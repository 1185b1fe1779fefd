"""A10: messages from clients to the server, by every way up at several rates."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit import loop
from labkit.charts import layout, style
from labkit.claims import confidence
from labkit.claims.confidence import Interval
from labkit.course.alone import started_now
from labkit.course.shown import Shown, as_table
from labkit.course.side_by_side.sending import BROWSER_CONNECTIONS, POST, WAYS, Client, Leg
from labkit.errors import LabkitError
from labkit.lab.lab import Lab
from labkit.network.link import Link
from labkit.progress import Progress
from labkit.techniques.long_polling import LONG_POLLING
from labkit.techniques.sse import SSE
from labkit.techniques.websocket import WEBSOCKET
from labkit.theory import Mark, message_latency

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

RATES_PER_S = (1.0, 10.0, 60.0)
WAY_MARKS = {
    "websocket": WEBSOCKET.mark,
    POST: SSE.mark,
    "post, connection each": Mark("#5E8C31", "diamond", "dot"),
    "post, preflight each": Mark("#CB6FAC", "x", "dash"),
    "post beside long poll": LONG_POLLING.mark,
}
ON_A_SOCKET, A_CONNECTION_EACH, A_PREFLIGHT_EACH = (
    "d + j/2, a connection that is free",
    "3d, a connection each",
    ("3(d + j/2), a preflight each"),
)
THEORY = {ON_A_SOCKET: "3px,3px", A_CONNECTION_EACH: "8px,4px", A_PREFLIGHT_EACH: "8px,3px,2px,3px"}
"""What theory has an expectation of, and the dash of its line."""
POSTERS = BROWSER_CONNECTIONS - 1
"""How many connections there are for POSTs: one of those that a browser opens receives."""


@dataclass(frozen=True, repr=False)
class Upstream(Shown):
    """Messages from clients to the server, each mode at each rate."""

    legs: tuple[Leg, ...]
    one_way_s: float
    settings: dict[str, Any]

    @property
    def caption(self) -> str:
        return (
            f"Messages of {self.settings['payload_bytes']} bytes to the server, one transit "
            f"{self.one_way_s * 1e3:.0f} ms and up to {self.settings['jitter_s'] * 1e3:.0f} ms of jitter; bytes of "
            "both directions, answers included."
        )

    def bytes_of(self, mode: str) -> Interval:
        """Bytes a message of one mode, over all rates."""
        return confidence.mean_interval([size for leg in self.legs if leg.mode == mode for size in leg.bytes])

    def expected(self, name: str) -> tuple[float, float]:
        """The mean latency of messages that theory expects of one of THEORY, in seconds, and up to how many a second.

        Above that the connections that a browser opens are all busy, and messages wait for one of them.
        """
        d, jitter_s = self.one_way_s, float(self.settings.get("jitter_s", 0.0))
        exchange_s = 2 * d + jitter_s
        if name == ON_A_SOCKET:
            return message_latency(d, jitter_s=jitter_s), math.inf
        if name == A_CONNECTION_EACH:  # busy for the handshake, the request, and the answer's transit
            return message_latency(d, jitter_s=jitter_s, handshake=True), POSTERS / (4 * d + jitter_s / 2)
        return message_latency(d, jitter_s=jitter_s, asks=1), POSTERS / (2 * exchange_s)

    def table(self) -> pd.DataFrame:
        rows = [
            {
                "way up": leg.mode,
                "per s": leg.rate_per_s,
                "sent": leg.sent,
                "lost": leg.lost,
                "swapped": leg.swapped,
                "median_ms": confidence.median_interval(leg.latency_s).value * 1e3,
                "max_ms": max(leg.latency_s, default=math.nan) * 1e3,
                "bytes a message": sum(leg.bytes) / leg.sent,
                "connections": leg.connections,
                "bytes back an event": leg.back_bytes / leg.sent,
            }
            for leg in self.legs
        ]
        return as_table(rows).set_index(["way up", "per s"])

    def chart(self) -> go.Figure:
        """Bytes a message upstream, and the latency of the middle message over the rate, for each way up."""
        grey, modes = style.GREY, list(dict.fromkeys(leg.mode for leg in self.legs))
        figure = layout.panels("", "", horizontal_spacing=0.12, column_widths=[0.45, 0.55])
        for y, mode in enumerate(modes):
            mark = WAY_MARKS[mode]
            mine, size = [leg for leg in self.legs if leg.mode == mode], self.bytes_of(mode).value
            figure.add_bar(
                x=[size], y=[y], orientation="h", marker={"color": mark.color}, showlegend=False, row=1, col=1,
                text=[style.number(size)], textposition="outside", cliponaxis=False, hoverinfo="skip", width=0.55,
            )  # fmt: skip
            figure.add_scatter(
                x=[leg.rate_per_s for leg in mine], y=[_middle(leg.latency_s) * 1e3 for leg in mine],
                mode="lines+markers", name=_way(mode), line={"color": mark.color, "dash": mark.dash},
                marker={"symbol": mark.symbol, "size": 9, "color": mark.color}, row=1, col=2, hoverinfo="y+name",
            )  # fmt: skip
        rates = sorted({leg.rate_per_s for leg in self.legs})
        expected = [(name, *self.expected(name), dash) for name, dash in THEORY.items()]
        for name, mean_s, most_per_s, dash in expected:
            ends = [rate for rate in rates if rate <= most_per_s]
            ends += [most_per_s] if len(ends) < len(rates) else []
            figure.add_scatter(
                x=ends, y=[mean_s * 1e3] * len(ends), mode="lines", hoverinfo="skip", row=1, col=2,
                name=f"theory: {name}", line={"color": grey.ink, "width": 1, "dash": dash},
            )  # fmt: skip
        figure.update_yaxes(tickvals=list(range(len(modes))), ticktext=[_way(m) for m in modes], autorange="reversed",
                            showgrid=False, row=1, col=1)  # fmt: skip
        figure.update_xaxes(title_text="bytes a message, both directions (B)", row=1, col=1)
        figure.update_xaxes(range=[0, 1.15 * max(self.bytes_of(mode).value for mode in modes)], row=1, col=1)
        middles = [_middle(leg.latency_s) * 1e3 for leg in self.legs]
        middles += [mean_s * 1e3 for _, mean_s, *_ in expected]
        ticks = style.log_ticks(min(middles) / 1.2, max(middles) * 1.2, 7)
        figure.update_yaxes(
            type="log", title_text="until the server had it, median (ms)", tickvals=ticks,
            ticktext=[style.number(tick) for tick in ticks], row=1, col=2,
        )  # fmt: skip
        figure.update_xaxes(type="log", title_text="messages of one client (1/s)", tickvals=rates, row=1, col=2)
        over, posted = self.bytes_of("websocket").value, self.bytes_of("post").value
        swapped = sum(leg.swapped for leg in self.legs if leg.mode != "websocket")
        told = f"A message costs {style.number(over)} bytes over the WebSocket, {style.number(posted)} by POST"
        return layout.dressed(
            figure, f"{told}; {swapped} POSTs came after a later one", self.caption, height=450,
            margin=(160, 24, 80, 116), legend={"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"},
        )  # fmt: skip


def _way(mode: str) -> str:
    return WEBSOCKET.short if mode == "websocket" else mode.replace("post", "POST")


def _middle(values: tuple[float, ...]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else float("nan")


def upstream(
    lab: Lab,
    *,
    rates_per_s: tuple[float, ...] = RATES_PER_S,
    duration_s: float = 5.0,
    most: int = 60,
    payload_bytes: int = 20,
    one_way_s: float = 0.05,
    jitter_s: float = 0.02,
    progress: bool = True,
) -> Upstream:
    """Messages at each rate and by each way, all at once on topics of their own.

    Args:
        rates_per_s: messages a second of one client, evenly spaced.
        most: messages of one client, at most.
        jitter_s: each read takes up to this much longer, as on a real network; a connection keeps its order.

    Raises:
        LabkitError: a rate, a length or a delay that is not above 0.
    """
    if not rates_per_s or min(*rates_per_s, 1.0) <= 0 or duration_s <= 0 or one_way_s <= 0 or jitter_s < 0:
        raise LabkitError(
            f"rates_per_s={rates_per_s}, duration_s={duration_s:g}, one_way_s={one_way_s:g}, jitter_s={jitter_s:g}: "
            "expected rates, a length and a delay above 0, and a jitter of 0 or more"
        )
    line, started = Progress(enabled=progress), started_now()

    async def all_of_it() -> list[Leg]:
        async with Link(lab, one_way_s=one_way_s, jitter_s=jitter_s) as link:
            ready = asyncio.Barrier(len(WAYS) * len(rates_per_s))
            clients = [
                Client(lab, link, way, rate, min(most, max(1, round(rate * duration_s))), payload_bytes, ready)
                for way in WAYS
                for rate in rates_per_s
            ]
            telling = asyncio.ensure_future(_tell(line, duration_s))
            try:
                async with asyncio.TaskGroup() as group:
                    legs = [group.create_task(client.run()) for client in clients]
            finally:
                telling.cancel()
            return [leg.result() for leg in legs]

    legs = loop.run(all_of_it())
    line.done()
    settings = {"payload_bytes": payload_bytes, "jitter_s": jitter_s, "duration_s": duration_s}
    return Upstream(tuple(legs), one_way_s, started | settings)


async def _tell(line: Progress, duration_s: float) -> None:
    began_s = time.monotonic()
    while True:
        await asyncio.sleep(0.5)
        line.show(f"sending: {min(duration_s, time.monotonic() - began_s):.0f} of {duration_s:.0f} s")
