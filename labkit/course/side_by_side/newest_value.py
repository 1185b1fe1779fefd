"""A9: how old the newest value is. Event rates swept across what a link can carry, with and without conflation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.charts import layout, style
from labkit.course.shown import Shown, as_table
from labkit.course.variants import variant
from labkit.errors import LabkitError
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.network.link import Link
from labkit.techniques import find
from labkit.theory.age import age_blocks, queued_age_s

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

STREAMS = ("sse", "websocket")
NEWEST = ", newest only"
ENVELOPE_BYTES = 45
BLOCKS = 36
SETTLE_S = 8.0
SEND_BUFFER_BYTES = 64 << 10
"""Of each connection of the server: what a kernel has taken can no longer be conflated, and grows by itself to 4 MB."""


@dataclass(frozen=True)
class AgePoint:
    """One subscriber's age of information at one event rate.

    Attributes:
        blocks_s: the mean age in consecutive blocks of the run, in seconds.
        theory_s: the mean age that theory expects of a stream that delivers every event; none for the others.
        bytes_per_s: bytes until it held the newest event, per second of the schedule.
        received, conflated, lost: events.
    """

    technique: str
    conflate: bool
    rate_per_s: float
    blocks_s: tuple[float, ...]
    theory_s: float
    bytes_per_s: float
    received: int
    conflated: int
    lost: int

    @property
    def mean_s(self) -> float:
        return math.fsum(self.blocks_s) / len(self.blocks_s) if self.blocks_s else math.nan

    @property
    def name(self) -> str:
        return f"{self.technique}, newest only" if self.conflate else self.technique


@dataclass(frozen=True, repr=False)
class Ages(Shown):
    """Age of information over the event rate, through a link of a given rate, with and without conflation."""

    points: tuple[AgePoint, ...]
    rate_bytes_per_s: float
    event_bytes: float
    one_way_s: float
    settings: dict[str, Any]
    runs: tuple[Run, ...] = ()

    @property
    def capacity_per_s(self) -> float:
        """Events a second that the link can carry."""
        return self.rate_bytes_per_s / self.event_bytes

    @property
    def caption(self) -> str:
        return (
            f"Events of {self.event_bytes:,.0f} bytes through a link of {self.rate_bytes_per_s / 1e3:,.0f} kB/s for "
            f"each subscriber: room for {self.capacity_per_s:.0f} events/s."
        )

    def table(self) -> pd.DataFrame:
        rows = [
            {
                "events/s": point.rate_per_s,
                "technique": point.name,
                "mean age (ms)": point.mean_s * 1e3,
                "theory (ms)": point.theory_s * 1e3,
                "kB/s": point.bytes_per_s / 1e3,
                "received": point.received,
                "conflated": point.conflated,
                "lost": point.lost,
            }
            for point in self.points
        ]
        return as_table(rows).set_index(["events/s", "technique"])

    def chart(self) -> go.Figure:
        """Mean age of information over the event rate, and over the bytes that it took."""
        grey = style.GREY
        figure = layout.panels("", "", shared_yaxes=True, horizontal_spacing=0.05)
        for name in dict.fromkeys(point.name for point in self.points):
            mine = [point for point in self.points if point.name == name]
            technique = find(mine[0].technique)
            base = technique.mark
            symbol = f"{base.symbol}-open" if mine[0].conflate else base.symbol
            told = technique.short + mine[0].name.removeprefix(technique.name)
            for col, x in ((1, [p.rate_per_s for p in mine]), (2, [p.bytes_per_s / 1e3 for p in mine])):
                figure.add_scatter(
                    x=x, y=[p.mean_s * 1e3 for p in mine], mode="lines+markers", name=told, legendgroup=name,
                    showlegend=col == 1, row=1, col=col, line={"color": base.color, "width": 1.5, "dash": base.dash},
                    marker={"symbol": symbol, "size": 10 if mine[0].conflate else 8, "color": base.color},
                    hovertemplate=f"{name}: %{{y:.0f}} ms<extra></extra>",
                )  # fmt: skip
        # theory only where every event is delivered: what conflation leaves depends on the buffers in between
        every = [p for p in self.points if p.technique == self.points[0].technique and not p.conflate]
        layout.add_theory(
            figure, [p.rate_per_s for p in every], [p.theory_s * 1e3 for p in every], mode="markers+lines",
            name="theory: every event, for this trace", row=1, col=1,
            marker={"symbol": "diamond-open", "size": 13, "color": grey.ink},
        )  # fmt: skip
        capacity = self.capacity_per_s
        for col, limit, unit in ((1, capacity, "events/s"), (2, self.rate_bytes_per_s / 1e3, "kB/s")):
            figure.add_vline(x=limit, line={"color": grey.muted, "width": 1, "dash": "dot"}, row=1, col=col)
            figure.add_annotation(
                text=f"the link: {limit:,.0f} {unit}", x=limit, y=1, yref="y domain", yanchor="bottom", showarrow=False,
                font={"size": 11, "color": grey.muted}, row=1, col=col,
            )  # fmt: skip
        figure.update_yaxes(title_text="mean age of the newest value held (ms)", rangemode="tozero", row=1, col=1)
        figure.update_yaxes(rangemode="tozero", row=1, col=2)
        figure.update_xaxes(title_text="events published (1/s)", rangemode="tozero", row=1, col=1)
        figure.update_xaxes(title_text="bytes until the newest was held (kB/s)", rangemode="tozero", row=1, col=2)
        return layout.dressed(
            figure, _title(self), self.caption, height=480, margin=(74, 24, 96, 110),
            legend={"orientation": "h", "x": 0, "y": -0.18, "yanchor": "top"},
        )  # fmt: skip


def _title(seen: Ages) -> str:
    top = max(point.rate_per_s for point in seen.points)
    ages_ms = {p.conflate: p.mean_s for p in seen.points if p.rate_per_s == top and p.technique != "polling"}
    if set(ages_ms) != {True, False} or top <= seen.capacity_per_s:
        return "Age of information over the event rate"
    return (
        f"At {top / seen.capacity_per_s:.2g} times the link's rate: {style.seconds(ages_ms[False])} old if every event "
        f"is delivered, {style.seconds(ages_ms[True])} if only the newest"
    )


def ages(
    loads: Sequence[float] = (0.6, 1.4, 2.0),
    *,
    rate_bytes_per_s: float = 1e6,
    payload_bytes: int = 25_000,
    duration_s: float = 2.0,
    one_way_s: float = 0.05,
    poll_interval_s: float = 0.5,
    seed: int = 8,
    progress: bool = True,
) -> Ages:
    """One run for each event rate, in a lab of its own that keeps every event for a slow subscriber.

    Args:
        loads: event rates, as multiples of what the link can carry.
        rate_bytes_per_s: of the link, for each subscriber.

    Raises:
        LabkitError: a parameter that is not above 0.
    """
    if not loads or min(*loads, rate_bytes_per_s, payload_bytes, duration_s, poll_interval_s) <= 0 or one_way_s < 0:
        raise LabkitError(
            f"loads={tuple(loads)}, rate_bytes_per_s={rate_bytes_per_s:g}, payload_bytes={payload_bytes}, "
            f"duration_s={duration_s:g}, poll_interval_s={poll_interval_s:g}: expected numbers above 0"
        )
    event_bytes = float(payload_bytes + ENVELOPE_BYTES)
    points, runs = list[AgePoint](), list[Run]()
    with Lab("newest value", slow="unbounded", history_bytes=64 << 20, send_buffer_bytes=SEND_BUFFER_BYTES) as lab:
        for load in loads:
            rate_per_s = round(load * rate_bytes_per_s / event_bytes, 1)
            schedule = schedules.poisson(rate_per_s, duration_s, payload_bytes, seed)
            run = measure(
                lab,
                [*STREAMS, *(variant(name + NEWEST, name) for name in STREAMS), "polling"],
                schedule,
                through=Link(one_way_s=one_way_s, rate_bytes_per_s=rate_bytes_per_s),
                poll_interval_s=poll_interval_s,
                options={name + NEWEST: {"conflate": True} for name in STREAMS},
                settle_s=SETTLE_S + duration_s * max(loads),
                keep_bytes=0,
                progress=progress,
            )
            runs.append(run)
            points += _points(run, rate_per_s, rate_bytes_per_s / event_bytes, duration_s)
    settings = {**run.settings, "loads": list(loads), "duration_s": duration_s, "payload_bytes": payload_bytes}
    return Ages(tuple(points), rate_bytes_per_s, event_bytes, one_way_s, settings, tuple(runs))


def _points(run: Run, rate_per_s: float, capacity_per_s: float, duration_s: float) -> list[AgePoint]:
    summary, found = run.summary(), []
    stop_ns = run.started_ns + int(duration_s * 1e9)
    due_ns = [due for due, _ in run.published.values()]
    theory_s = queued_age_s(due_ns, capacity_per_s, run.settings["one_way_s"], run.started_ns, stop_ns)
    for name in run.settings["techniques"]:
        frame = run.deliveries[(run.deliveries["technique"] == name) & run.deliveries["scheduled"]]
        arrivals = list(zip(frame["received_ns"].tolist(), frame["due_ns"].tolist(), strict=True))
        row, technique = summary.loc[name], name.removesuffix(NEWEST)
        found.append(
            AgePoint(
                technique,
                technique != name,
                rate_per_s,
                age_blocks(arrivals, run.started_ns, stop_ns, BLOCKS),
                theory_s if name in STREAMS else float("nan"),
                sum(record.bytes_total for record in run.ledger.of(name)) / duration_s,
                int(row["events"]),
                int(row["conflated"]),
                int(row["lost"]),
            )
        )
    return found
