"""The same stream seen from both sides of a hop, by two taps."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit import loop
from labkit.charts import layout
from labkit.course.when_it_does_not_work.stream import READ_BYTES
from labkit.strangers.tap.comparing import Comparison
from labkit.strangers.tap.tap import Tap
from labkit.theory import Mark

if TYPE_CHECKING:
    import plotly.graph_objects as go

LONGEST_S = 8.0
SETTLED_S, LOOK_S = 2.0, 0.02
"""How long a hop has to tell the server that a client's answer has ended."""
SIDES = {"server's side": Mark("#00487F", "circle", "solid"), "client's side": Mark("#B84300", "square-open", "dash")}


@dataclass(frozen=True, repr=False)
class Tapped:
    """What the tap on the client's side and the one on the server's have seen, and how the two differ."""

    near: Tap
    far: Tap
    comparison: Comparison

    @property
    def kinds(self) -> list[str]:
        """Of the differences, in their order."""
        return [one.kind for one in self.comparison.differences]

    def times_s(self, tap: Tap) -> list[float]:
        """When each event passed, in seconds after the request."""
        return [(event["t_ns"] - seen.asked_ns) / 1e9 for seen in tap.exchanges[:1] for event in seen.events]

    @property
    def lag_s(self) -> float:
        """How much later an event came out than it had gone in, in the median, each side counted from its request."""
        pairs = zip(self.times_s(self.near), self.times_s(self.far), strict=False)
        return statistics.median(out - went_in for out, went_in in pairs)

    def chart(self) -> go.Figure:
        """Each event on both sides, along time."""
        figure = layout.blank()
        for row, ((name, mark), tap) in enumerate(zip(SIDES.items(), (self.far, self.near), strict=True)):
            times = self.times_s(tap)
            figure.add_scatter(
                x=[round(t, 3) for t in times], y=[row] * len(times), mode="markers", name=name,
                marker={"symbol": mark.symbol, "size": 12, "color": mark.color}, showlegend=False,
                hovertemplate="%{x:.2f} s<extra></extra>",
            )  # fmt: skip
        sides = zip(SIDES, (self.far, self.near), strict=True)
        layout.name_rows(figure, [f"{name}: {len(self.times_s(tap))}" for name, tap in sides])
        figure.update_xaxes(title_text="after the request (s)", rangemode="tozero")
        told = [kind for kind in dict.fromkeys(self.kinds) if kind not in ("request", "answer")]
        kinds = ", ".join(told) or "as it went in, so it came out"
        return layout.dressed(figure, f"The events on both sides of the hop: {kinds}", height=240,
                              margin=(124, 24, 56, 56))  # fmt: skip

    def __repr__(self) -> str:
        return str(self.comparison)

    def _repr_html_(self) -> str:
        return self.comparison._repr_html_()


async def followed(url: str) -> None:
    """Ask as a browser does, which takes gzip, and read until the answer has ended."""
    host, _, path = url.removeprefix("http://").partition("/")
    reader, writer = await asyncio.open_connection(*host.split(":"))
    try:
        lines = (f"GET /{path} HTTP/1.1", f"Host: {host}", "Accept: text/event-stream", "Accept-Encoding: gzip")
        writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_S):
                while await reader.read(READ_BYTES):
                    pass
    finally:
        writer.close()


def follow(near: Tap, far: Tap) -> Tapped:
    """One client through the tap in front, until its answer has ended on both sides."""
    loop.run(followed(near.url))
    deadline = time.monotonic() + SETTLED_S
    while any(seen.is_open for tap in (near, far) for seen in tap.exchanges) and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    return Tapped(near, far, near.compare(far))
