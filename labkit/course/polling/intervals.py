"""P1: the interval swept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.charts import layout, style
from labkit.claims import predicting
from labkit.course.polling import pollers
from labkit.course.polling.pollers import ONE_WAY_S, Poller
from labkit.course.shown import OfRun, Shown, as_table
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.techniques.polling import POLLING
from labkit.techniques.websocket import WEBSOCKET

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True, repr=False)
class Sweep(OfRun, Shown):
    """Pollers with several intervals in one run, several of each, at phases iT/K."""

    run: Run
    pollers: tuple[Poller, ...]

    def latencies_ms(self, poller: Poller) -> pd.Series[float]:
        frame = self.run.deliveries
        return frame.loc[(frame["technique"] == poller.name) & frame["scheduled"], "latency_ms"].dropna()

    def table(self) -> pd.DataFrame:
        """One row for each poller: latencies in ms, and what theory expects."""
        rows = []
        for poller in self.pollers:
            found, theory = self.latencies_ms(poller), poller.theory(self.one_way_s)
            rows.append(
                {
                    "poller": poller.name,
                    "n": len(found),
                    "min_ms": found.min(),
                    "mean_ms": found.mean(),
                    "theory: mean_ms": theory.mean_s * 1e3,
                    "max_ms": found.max(),
                    "theory: max_ms": theory.max_s * 1e3,
                }
            )
        return as_table(rows).set_index("poller")

    def chart(self) -> go.Figure:
        """Latencies of pollers with several intervals: a strip of dots for each, theory's range and mean beside it."""
        mark, d, kinds = POLLING.mark, self.one_way_s, self.pollers
        figure = layout.blank()
        means = [
            layout.add_strip(
                figure, row, self.latencies_ms(poller), poller.theory(d), mark,
                dot={"size": 4}, mean="mean, theory: P/2 + d",
            )
            for row, poller in enumerate(kinds)
        ]  # fmt: skip
        longest = max(range(len(means)), key=lambda row: kinds[row].interval_s)
        guess = predicting.asked_here("P1", {"one_way_s": d, "poll_interval_s": kinds[longest].interval_s})
        if guess is not None:
            figure.add_scatter(
                x=[guess.value * (1 if guess.unit == "ms" else 1e3)], y=[longest], mode="markers",
                name="your prediction", hovertemplate="%{x:.0f} ms predicted<extra></extra>",
                marker={"symbol": "triangle-down-open", "size": 13, "color": WEBSOCKET.mark.color,
                        "line": {"width": 2}},
            )  # fmt: skip
        names = [poller.name.replace(" after the answer", "<br>after the answer") for poller in kinds]
        figure.update_xaxes(title_text="latency (ms)", rangemode="tozero", ticks="outside")
        layout.name_rows(figure, names)
        return layout.dressed(
            figure,
            f"From T = {kinds[0].interval_s:g} s to {max(p.interval_s for p in kinds):g} s "
            f"the mean latency goes from {style.ms(means[0])} to {style.ms(max(means))}",
            f"shaded: the range that theory expects, d to P + d; d = {style.ms(d * 1e3)}",
            height=150 + 80 * len(names), margin=(120, 24, 82, 96),
        )  # fmt: skip


def sweep(
    lab: Lab,
    intervals_s: Sequence[float] = (0.3, 0.6, 1.2),
    *,
    each: int = 10,
    rate_per_s: float = 24.0,
    duration_s: float = 4.0,
    one_way_s: float = ONE_WAY_S,
) -> Sweep:
    """Pollers of several intervals in one run, and of the middle one also such that pause it after each answer.

    Args:
        each: pollers of each interval, at phases iT/K (stratified), so that their mean needs few events.
    """
    careless = sorted(intervals_s)[len(intervals_s) // 2]
    kinds = [*((t, False) for t in intervals_s), (careless, True)]
    techniques = [pollers.poller(t, phase=lambda i: i / each, waiting=waiting) for t, waiting in kinds]
    schedule = schedules.poisson(rate_per_s, duration_s, seed=1)
    run = measure(lab, techniques, schedule, one_way_s=one_way_s, poll_interval_s=max(intervals_s), subscribers=each)
    return Sweep(run, tuple(Poller(t.name, *kind) for t, kind in zip(techniques, kinds, strict=True)))
