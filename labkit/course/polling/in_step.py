"""Clients that start together, a source that keeps step with its pollers, and a history that is too short."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.charts import layout, style
from labkit.course.polling.pollers import ONE_WAY_S, exchanges, poller
from labkit.course.shown import Shown, as_table
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.techniques.polling import POLLING

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True, repr=False)
class Herd(Shown):
    """Polls of clients that started together, and of as many at random phases: ``who``, ``asked_s``, ``waited_ms``."""

    frame: pd.DataFrame
    clients: int
    interval_s: float
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """How long the polls waited for their answers, in ms, and the most that came within 10 ms."""
        rows = {}
        for who, part in self.frame.groupby("who", sort=False):
            waited = part["waited_ms"]
            busiest = (part["asked_s"] * 100).astype(int).value_counts().max()
            rows[who] = {"polls": len(part), "p50_ms": waited.quantile(0.5), "p95_ms": waited.quantile(0.95),
                         "most within 10 ms": busiest}  # fmt: skip
        return as_table(rows).T

    def chart(self) -> go.Figure:
        """When polls were sent, and how long each waited for its answer: clients in step, and at random phases."""
        mark, groups = POLLING.mark, list(self.frame.groupby("who", sort=False))
        figure = layout.panels(
            *(f"{self.clients} clients, {who}" for who, _ in groups), shared_yaxes=True, horizontal_spacing=0.04
        )
        for column, (_, part) in enumerate(groups, 1):
            figure.add_scatter(
                x=part["asked_s"].round(4), y=part["waited_ms"].round(2), mode="markers", row=1, col=column,
                showlegend=False, marker={"symbol": mark.symbol, "size": 4, "color": mark.color},
                hovertemplate="sent at %{x:.2f} s: %{y:.1f} ms<extra></extra>",
            )  # fmt: skip
        top = float(self.frame["waited_ms"].quantile(0.99)) * 1.3
        figure.update_yaxes(title_text="from request to answer (ms)", range=[0, top], col=1)
        figure.update_yaxes(range=[0, top])
        late_s = float(self.frame["asked_s"].max())
        figure.update_xaxes(
            title_text="sent, after the start (s)", ticks="outside", range=[-0.02 * late_s, 1.04 * late_s]
        )
        middles = [float(part["waited_ms"].median()) for _, part in groups]
        return layout.dressed(
            figure,
            f"In step, a poll waits {style.ms(middles[0])} for its answer; spread, {style.ms(middles[1])}",
            f"medians; each client polls every {self.interval_s:g} s, as many requests on both sides",
            height=360, margin=(66, 24, 106, 60),
        )  # fmt: skip


def herd(clients: int = 60, interval_s: float = 0.5, *, duration_s: float = 2.0) -> Herd:
    """As many pollers at a server in a process of its own, first all in step, then each at a random phase."""
    rng, rows, settings = random.Random(3), [], {}
    phases = [rng.random() for _ in range(clients)]
    with Lab("herd", process=True) as lab:
        for who, phase in (("together", lambda _: 0.0), ("at random phases", lambda i: phases[i])):
            technique = poller(interval_s, phase=phase)
            schedule = schedules.periodic(2.0, duration_s)
            run = measure(lab, [technique], schedule, poll_interval_s=interval_s, subscribers=clients)
            settings = dict(run.settings)
            for one in exchanges(run.ledger.of(technique.name)):
                asked_s = (one.asked_ns - run.started_ns) / 1e9
                if 0 <= asked_s <= duration_s:
                    rows.append({"who": who, "asked_s": asked_s, "waited_ms": (one.answered_ns - one.asked_ns) / 1e6})
    return Herd(as_table(rows), clients, interval_s, settings)


SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "star", "pentagon")


@dataclass(frozen=True, repr=False)
class Aliased(Shown):
    """The same pollers with a source that keeps step with them, and with one that is dithered."""

    periodic: Run
    dithered: Run
    interval_s: float

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.periodic.settings)

    def table(self) -> pd.DataFrame:
        """Mean latency of each poller, in ms."""
        return as_table(
            {
                name: run.summary(by="subscriber")["mean_ms"].droplevel("technique")
                for name, run in (("in step", self.periodic), ("dithered", self.dithered))
            }
        )

    def chart(self) -> go.Figure:
        """Latency along time, one line for each poller: a source in step with the polls, and a dithered one."""
        mean_ms = (self.interval_s / 2 + float(self.settings["one_way_s"])) * 1e3
        figure = layout.panels("a source in step", "the same, dithered", shared_yaxes=True, horizontal_spacing=0.04)
        for column, run in enumerate((self.periodic, self.dithered), 1):
            for number, part in run.deliveries.groupby("subscriber"):
                figure.add_scatter(
                    x=((part["due_ns"] - run.started_ns) / 1e9).astype(float).round(3), y=part["latency_ms"].round(1),
                    mode="lines+markers", name=f"poller {number}", legendgroup=str(number), showlegend=column == 1,
                    line={"color": POLLING.mark.color, "width": 1}, row=1, col=column,
                    marker={"symbol": SYMBOLS[int(str(number)) % len(SYMBOLS)], "size": 7},
                )  # fmt: skip
            figure.add_hline(y=mean_ms, line=layout.theory_line(), row=1, col=column)
        figure.update_yaxes(rangemode="tozero")
        figure.update_yaxes(title_text="latency (ms)", col=1)
        figure.update_xaxes(title_text="due, after the start (s)", ticks="outside")
        means = self.table()["in step"]
        return layout.dressed(
            figure,
            f"In step with its source, one poller's mean is {style.ms(means.min())}, another's {style.ms(means.max())}",
            f"dashed: theory's mean, T/2 + d = {style.ms(mean_ms)}, for random moments",
            height=390, margin=(66, 24, 106, 96),
        )  # fmt: skip


def aliasing(lab: Lab, interval_s: float = 0.4, *, each: int = 4, duration_s: float = 2.0) -> Aliased:
    """A source with the period of the polls: once in step, once each event put off by up to a period at random."""
    runs = []
    for dither_s in (0.0, interval_s):
        schedule = schedules.periodic(1 / interval_s, duration_s, dither_s=dither_s, seed=4)
        technique = poller(interval_s, phase=lambda i: i / each)
        runs.append(
            measure(lab, [technique], schedule, one_way_s=ONE_WAY_S, poll_interval_s=interval_s, subscribers=each)
        )
    return Aliased(runs[0], runs[1], interval_s)


def forgetful(history_events: int = 8, *, rate_per_s: float = 30.0, interval_s: float = 0.6) -> Run:
    """A server whose history is shorter than what comes between two polls."""
    with Lab("forgetful", history_events=history_events) as lab:
        schedule = schedules.periodic(rate_per_s, 2.5 * interval_s)
        return measure(lab, ["polling"], schedule, one_way_s=ONE_WAY_S, poll_interval_s=interval_s, settle_s=interval_s)
