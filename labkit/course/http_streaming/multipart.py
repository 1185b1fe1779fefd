"""S8: multipart with the boundary behind each part, and before it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from labkit.charts import style
from labkit.client.connection import Opened
from labkit.course.alone import ready
from labkit.course.http_streaming import charts
from labkit.course.http_streaming.recycling import ONE_WAY_S, variant
from labkit.course.shown import OfRun
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.techniques import Delivery, Technique
from labkit.wire.events import Gap

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Boundaries(OfRun):
    """One run with a part's boundary behind it (``trailing``) and before it (``leading``)."""

    run: Run

    def chart(self, *, theme: str | None = None) -> go.Figure:
        """Latency along time of multipart streams with the boundary behind each part, and before it.

        Returns:
            A figure: a panel per place of the boundary, latency in ms over the time at which an event was due; theory,
            d and d plus one interval between events, as dashed lines.
        """
        d_ms, period_ms = self.one_way_s * 1e3, 1e3 / float(self.run.settings["schedule"]["rate_per_s"])
        rows = [
            ("trailing", "boundary behind each part", charts.CHUNKED, [(d_ms, "d")]),
            ("leading", "boundary before each part", charts.EOF, [(d_ms + period_ms, "d + one interval")]),
        ]
        means = [style.ms(self.run.summary().loc[name, "mean_ms"]) for name, *_ in rows]
        title = f"With the boundary before each part the mean is {means[1]}, behind it {means[0]}"
        return charts.along_time(self.run, rows, title, theme)


def boundaries(lab: Lab, *, events: int = 24, rate_per_s: float = 8.0, one_way_s: float = ONE_WAY_S) -> Boundaries:
    """Multipart with the boundary behind each part, and before it, side by side."""
    ready(lab, events=(events, 2))
    techniques = [_multipart(name) for name in ("trailing", "leading")]
    schedule = schedules.periodic(rate_per_s, events / rate_per_s)
    return Boundaries(measure(lab, techniques, schedule, one_way_s=one_way_s, settle_s=0.5))


def _multipart(boundary: str) -> Technique:
    """With a leading boundary even the first part, the cursor, is not whole before an event: nobody waits for it."""
    made = variant(boundary, format="multipart", boundary=boundary)

    def connect(url: str, *, on_open: Opened, after: str, **options: Any) -> AsyncGenerator[Delivery | Gap, None]:
        on_open(after)
        return made.connect(url, after=after, **options)

    return replace(made, connect=connect)
