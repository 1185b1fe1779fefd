"""L1: the hold time-out swept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit import theory
from labkit.charts import layout, style
from labkit.course.asking import at_rate
from labkit.course.long_polling.polls import ENDLESS_S, LONG, ONE_WAY_S, lasted_s, requests_by_topic, swept
from labkit.course.shown import OfRun, Shown, as_table
from labkit.course.variants import several, variant
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.techniques.long_polling import LONG_POLLING

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


HOLDS_S = (0.05, 0.15, 0.5, ENDLESS_S)


@dataclass(frozen=True, repr=False)
class Holds(OfRun, Shown):
    """Long polling held for different times, all at the same event rate. ``holds_s``: technique -> hold, seconds."""

    run: Run
    holds_s: dict[str, float]
    rate_per_s: float
    duration_s: float

    def table(self) -> pd.DataFrame:
        """One row for each hold: mean latency and requests a second, measured and theory's."""
        return as_table([self._row(*pair) for pair in self.holds_s.items()]).set_index("hold_s")

    def _row(self, name: str, hold_s: float) -> dict[str, float]:
        d, rate, frame = self.one_way_s, self.rate_per_s, self.run.deliveries
        mine = frame[(frame["technique"] == name) & frame["scheduled"].astype(bool)]
        topics = max(1, mine["topic"].nunique())
        requests = sum(requests_by_topic(self.run, name).values()) - topics  # one of each is still held
        return {
            "hold_s": hold_s,
            "events": len(mine),
            "mean_ms": float(mine["latency_ms"].mean()),
            "theory_ms": at_rate(LONG_POLLING, rate, d, hold_s=hold_s).mean_s * 1e3,
            "requests_per_s": requests / topics / lasted_s(self.run, self.duration_s),
            "theory_requests_per_s": theory.long_polling_requests_per_s(rate, d, hold_s),
        }

    def chart(self) -> go.Figure:
        """Mean latency and requests a second over the hold time-out, at one event rate; theory as lines."""
        mark, d, rate, table = LONG_POLLING.mark, self.one_way_s, self.rate_per_s, self.table()
        low, high = float(table.index.min()), float(table.index.max())
        holds_s = swept(low, high)
        panels: tuple[tuple[str, pd.Series[float], list[float]], ...] = (
            ("mean latency (ms)", table["mean_ms"],
             [at_rate(LONG_POLLING, rate, d, hold_s=hold_s).mean_s * 1e3 for hold_s in holds_s]),
            ("requests a second", table["requests_per_s"],
             [theory.long_polling_requests_per_s(rate, d, hold_s) for hold_s in holds_s]),
        )  # fmt: skip
        figure = layout.panels(*(name for name, *_ in panels), horizontal_spacing=0.1)
        for column, (_, measured, expected) in enumerate(panels, 1):
            here: dict[str, Any] = {"row": 1, "col": column, "showlegend": column == 1}
            layout.add_theory(figure, holds_s, expected, width=1.2, **here)
            figure.add_scatter(
                x=list(table.index), y=measured.round(2), mode="markers", name="measured", legendgroup="measured",
                marker={"symbol": mark.symbol, "size": 9, "color": mark.color},
                hovertemplate="held %{x:g} s: %{y:.3~g}<extra></extra>", **here,
            )  # fmt: skip
        figure.update_xaxes(
            type="log", tickvals=list(table.index), ticktext=[f"{t:g}" for t in table.index],
            title_text="hold time-out (s), logarithmic",
        )  # fmt: skip
        figure.update_yaxes(rangemode="tozero")
        first, last = table.iloc[0], table.iloc[-1]
        return layout.dressed(
            figure,
            f"Held {low:g} s: {style.ms(first['mean_ms'])} and {first['requests_per_s']:.1f} requests a second; "
            f"held {high:g} s: {style.ms(last['mean_ms'])} and {last['requests_per_s']:.1f}",
            f"{rate:g} events a second, Poisson; d = {style.ms(d * 1e3)}",
            height=370, margin=(60, 24, 112, 96),
        )  # fmt: skip


def holds(
    lab: Lab,
    *,
    holds_s: tuple[float, ...] = HOLDS_S,
    rate_per_s: float = 4.0,
    topics: int = 12,
    duration_s: float = 5.0,
    one_way_s: float = ONE_WAY_S,
) -> Holds:
    """The same events over long polls that are held for different times."""
    variants = {f"held {hold_s:g} s": hold_s for hold_s in holds_s}
    plan = several({f"{n}": schedules.poisson(rate_per_s, duration_s, seed=40 + n) for n in range(topics)}, rate_per_s)
    chosen = [variant(name, LONG, hold_s=hold_s) for name, hold_s in variants.items()]
    return Holds(measure(lab, chosen, plan, one_way_s=one_way_s), variants, rate_per_s, duration_s)
