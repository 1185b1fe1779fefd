"""What was seen of servers in several homes while a cell was busy: rows, spans, a summary.

A *home* is where a server lives: on the kernel's own event loop, on the lab's thread, in a process of its own. Pure:
``residence.py`` fills it, ``charts.py`` draws it, the check of claim A8 judges it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.course.shown import Shown, as_table
from labkit.course.where_the_server_lives import charts
from labkit.wire.events import now_ns

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

ENDLESS = 1 << 62
WAITS = "kernel-loop"
"""The home that stands still with the cell."""
TITLES = {
    "kernel-loop": "on the kernel's own loop",
    "thread": "on the lab's thread",
    "process": "in a process of its own",
    "apart": "everything in another process",
    "nest-asyncio": "on the kernel's loop, nested by nest-asyncio",
    "nest-asyncio2": "on the kernel's loop, nested by nest-asyncio2",
}
COLUMNS = ["home", "event_id", "due_ns", "published_ns", "received_ns", "latency_ms", "transit_ms", "during"]


@dataclass
class Span:
    """A stretch of time in which a cell was busy, on the kit's clock."""

    start_ns: int
    stop_ns: int
    label: str


@dataclass
class Home:
    """One server's events. ``published``: id -> (due_ns, published_ns); ``received``: id -> received_ns.

    ``twice``: how many came again.
    """

    name: str
    published: dict[int, tuple[int, int]] = field(default_factory=dict)
    received: dict[int, int] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    started_ns: int = 0
    twice: int = 0

    @property
    def title(self) -> str:
        return TITLES.get(self.name, self.name)

    @property
    def waits(self) -> bool:
        """Whether an event that is due in a busy cell waits for what is left of it."""
        return self.name == WAITS

    @property
    def lost(self) -> int:
        return len(self.published.keys() - self.received.keys())

    def seconds(self, at_ns: Any) -> Any:
        """A moment, or a column of them, in seconds from the start."""
        return (at_ns - self.started_ns) / 1e9

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """One row per delivery, as :attr:`Seen.deliveries` has them."""
        for event_id, received_ns in self.received.items():
            if event_id not in self.published:
                continue
            due_ns, published_ns = self.published[event_id]
            during = any(span.start_ns <= due_ns < span.stop_ns for span in self.spans)
            latency_ms, transit_ms = (received_ns - due_ns) / 1e6, (received_ns - published_ns) / 1e6
            yield self.name, event_id, due_ns, published_ns, received_ns, latency_ms, transit_ms, during


@dataclass(repr=False)
class Seen(Shown):
    """Several homes through the same busy cells.

    Attributes:
        homes: in the order in which they were named.
        settings: technique, rate_per_s and when it was.
    """

    index = "bare"

    homes: list[Home]
    settings: dict[str, Any]

    @contextmanager
    def busy(self, label: str = "busy cell") -> Iterator[None]:
        """Mark what happens inside as a span in which the cell is busy."""
        span = Span(now_ns(), ENDLESS, label)
        for home in self.homes:
            home.spans.append(span)
        try:
            yield
        finally:
            span.stop_ns = now_ns()

    def __add__(self, other: Seen) -> Seen:
        """The homes of both, each with its own spans."""
        return Seen(self.homes + other.homes, {**other.settings, **self.settings})

    @property
    def deliveries(self) -> pd.DataFrame:
        """One row per delivery: latency_ms from due, transit_ms from published, during: due in a busy span."""
        import pandas as pd

        frame = pd.DataFrame([row for home in self.homes for row in home.rows()], columns=COLUMNS)
        return frame.astype({"latency_ms": float, "transit_ms": float, "during": bool})

    @property
    def caption(self) -> str:
        return f"{self.settings.get('technique', '')}, latency from due, ms"

    def summary(self) -> pd.DataFrame:
        """One row per home, latencies in ms: while no cell was busy, and of events due while one was."""
        frame, rows = self.deliveries, []
        for home in self.homes:
            mine = frame[frame["home"] == home.name]
            quiet, busy = mine[~mine["during"]], mine[mine["during"]]
            rows.append(
                {
                    "server": home.title,
                    "events": len(mine),
                    "lost": home.lost,
                    "quiet_p95_ms": quiet["latency_ms"].quantile(0.95),
                    "busy_p50_ms": busy["latency_ms"].quantile(0.5),
                    "busy_p95_ms": busy["latency_ms"].quantile(0.95),
                    "busy_max_ms": busy["latency_ms"].max(),
                    "busy_p95_from_published_ms": busy["transit_ms"].quantile(0.95),
                }
            )
        return as_table(rows).set_index("server")

    table = summary

    def on_page(self) -> pd.DataFrame:
        return self.summary().rename(columns=lambda name: name.removesuffix("_ms").replace("_", " "))

    def __repr__(self) -> str:
        return f"<{len(self.homes)} servers: {', '.join(home.title for home in self.homes)}>"

    def chart(self) -> go.Figure:
        """Latency along time, one panel per home on the same axes.

        Returns:
            A figure: each delivery twice, its latency from due (dot) and from published (cross), in ms on a
            logarithmic scale, over the time at which it was due, in s; busy spans shaded; on the kernel's own loop the
            time left until the span's end as a dashed line, which is what theory expects there.
        """
        return charts.homes(self.deliveries, self.homes)
