"""L1, L2, L3: the event rate swept."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit import theory
from labkit.charts import layout, style
from labkit.claims.seen import Seen, see
from labkit.course.asking import at_rate
from labkit.course.long_polling.polls import ENDLESS_S, LONG, ONE_WAY_S, STREAM, lasted_s, requests_by_topic, swept
from labkit.course.shown import OfRun, Shown, as_table
from labkit.course.variants import several
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.measuring.schedules import Schedule
from labkit.techniques.http_streaming import HTTP_STREAMING
from labkit.techniques.long_polling import LONG_POLLING

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


RATES = {2.0: 22, 5.0: 4, 12.0: 2, 25.0: 1, 50.0: 1}
"""Events a second, and in how many topics: as many as tell a mean from a stream's, 10 ms away at the lowest rate, and
the events of an answer from one."""
BIG = {2.0: 1, 25.0: 1, 50.0: 1}
SPAN_S = 10.0
"""For how long: fewer topics for a longer time are as many events, and leave the receiving loop its time."""


@dataclass(frozen=True, repr=False)
class Rates(OfRun, Shown):
    """Long polling at several event rates at once, each rate in topics of its own, beside a stream of the same.

    Attributes:
        rates: topic -> events a second, Poisson.
        sizes: topic -> payload, bytes.
    """

    run: Run
    rates: dict[str, float]
    sizes: dict[str, int]
    duration_s: float

    def table(self, size: int = 20) -> pd.DataFrame:
        """One row for each rate: latency, events per answer, requests, bytes per event; measured, and theory's."""
        rates, asked = (
            sorted({r for t, r in self.rates.items() if self.sizes[t] == size}),
            requests_by_topic(self.run, LONG),
        )
        frame = self.run.deliveries[self.run.deliveries["scheduled"].astype(bool)]
        sums = {
            name: frame[frame["technique"] == name]
            .groupby("topic")
            .agg({"latency_ms": ["sum", "count"], "bytes": "sum"})
            for name in (LONG, STREAM)
        }
        return as_table([self._row(rate, size, asked, sums) for rate in rates]).set_index("rate_per_s")

    def topics(self, rate: float, size: int) -> list[str]:
        return [topic for topic, r in self.rates.items() if r == rate and self.sizes[topic] == size]

    def _row(self, rate: float, size: int, asked: dict[str, int], sums: dict[str, pd.DataFrame]) -> dict[str, float]:
        d, mine = self.one_way_s, self.topics(rate, size)
        long, stream = (sums[name].reindex(mine).sum() for name in (LONG, STREAM))
        requests = sum(asked.get(topic, 0) for topic in mine) - len(mine)  # one of each is still held
        gap_s, events = theory.request_gap(d), int(long["latency_ms", "count"])
        streamed = float(stream["latency_ms", "count"])
        return {
            "rate_per_s": rate,
            "events": events,
            "mean_ms": float(long["latency_ms", "sum"]) / max(1, events),
            "theory_ms": at_rate(LONG_POLLING, rate, d, hold_s=ENDLESS_S).mean_s * 1e3,
            "requests": requests,
            "events_per_answer": events / max(1, requests),
            "theory_events_per_answer": theory.long_polling_events_per_answer(rate, ENDLESS_S, gap_s),
            "requests_per_s": requests / lasted_s(self.run, self.duration_s) / max(1, len(mine)),
            "theory_requests_per_s": theory.long_polling_requests_per_s(rate, d, ENDLESS_S),
            "bytes_per_event": float(long["bytes", "sum"]) / max(1, events),
            "stream_ms": float(stream["latency_ms", "sum"]) / streamed if streamed else float("nan"),
        }

    def seen(self) -> Seen:
        """What the checks look at, the machine's noise included."""
        return see(self.run, LONG)

    def chart(self) -> go.Figure:
        """Mean latency, requests a second and requests per event over the event rate; theory as lines."""
        mark, stream, d, table = LONG_POLLING.mark, HTTP_STREAMING.mark, self.one_way_s, self.table()
        low, high = float(table.index[0]), float(table.index[-1])
        rates = swept(low, high)
        mean = [at_rate(LONG_POLLING, rate, d, hold_s=ENDLESS_S).mean_s * 1e3 for rate in rates]
        asked = [theory.long_polling_requests_per_s(rate, d, ENDLESS_S) for rate in rates]
        each = [theory.long_polling_requests_per_event(rate, d, ENDLESS_S) for rate in rates]
        streamed_ms = at_rate(HTTP_STREAMING, high, d).mean_s * 1e3
        panels: tuple[tuple[str, pd.Series[float], list[float]], ...] = (
            ("mean latency (ms)", table["mean_ms"], mean),
            ("requests a second", table["requests_per_s"], asked),
            ("requests per event", 1 / table["events_per_answer"], each),
        )
        figure = layout.panels(*(name for name, *_ in panels), horizontal_spacing=0.085)
        for column, (name, measured, expected) in enumerate(panels, 1):
            here: dict[str, Any] = {"row": 1, "col": column, "showlegend": column == 1}
            layout.add_theory(figure, rates, expected, width=1.2, name="long polling, theory", **here)
            figure.add_scatter(
                x=list(table.index), y=measured.round(3), mode="markers", name="long polling, measured",
                legendgroup="measured", marker={"symbol": mark.symbol, "size": 9, "color": mark.color},
                hovertemplate=f"%{{x:g}} events/s: %{{y:.3~g}} {name}<extra></extra>", **here,
            )  # fmt: skip
            figure.add_scatter(
                x=[low, high], y=[streamed_ms if column == 1 else 0.0] * 2, mode="lines", name="a stream, theory",
                legendgroup="stream", hoverinfo="skip", line={"color": stream.color, "width": 1.5, "dash": "dot"},
                **here,
            )  # fmt: skip
        if table["stream_ms"].notna().any():
            figure.add_scatter(
                x=list(table.index), y=table["stream_ms"].round(1), mode="markers", name="a stream, measured",
                row=1, col=1, marker={"symbol": stream.symbol, "size": 8, "color": stream.color},
                hovertemplate="%{x:g} events/s: %{y:.0f} ms, a stream<extra></extra>",
            )  # fmt: skip
        ticks = [t for t in style.log_ticks(low, high, 6) if low <= t <= high]
        figure.update_xaxes(
            type="log", range=[math.log10(low) - 0.08, math.log10(high) + 0.08], tickvals=ticks,
            ticktext=[style.number(t) for t in ticks], title_text="events a second",
        )  # fmt: skip
        figure.update_yaxes(rangemode="tozero")
        first, last = table.iloc[0], table.iloc[-1]
        return layout.dressed(
            figure,
            f"From {low:g} to {high:g} events a second "
            f"{style.ms(first['mean_ms'])} become {style.ms(last['mean_ms'])}, "
            f"{first['requests_per_s']:.1f} requests a second become {last['requests_per_s']:.1f}",
            f"d = {style.ms(d * 1e3)}; logarithmic rates; a stream asks once",
            height=400, margin=(60, 24, 112, 96),
        )  # fmt: skip


def rates(lab: Lab, *, duration_s: float = SPAN_S, one_way_s: float = ONE_WAY_S) -> Rates:
    """Long polling and a stream at five event rates at once, at three of them with 2000 bytes too."""
    topics: dict[str, Schedule] = {}
    rate_of: dict[str, float] = {}
    size_of: dict[str, int] = {}
    for size, wanted in ((20, RATES), (2000, BIG)):
        for rate, count in wanted.items():
            for number in range(count):
                topic = f"{size} B at {rate:g}/s, {number}"
                seed = len(topics) + 1
                topics[topic] = schedules.poisson(rate, duration_s, payload_bytes=size, seed=seed)
                rate_of[topic], size_of[topic] = rate, size
    run = measure(lab, [LONG, STREAM], several(topics), one_way_s=one_way_s, hold_s=ENDLESS_S, keep_bytes=4096)
    return Rates(run, rate_of, size_of, duration_s)
