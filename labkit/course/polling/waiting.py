"""N1: jobs of three kinds, each waited for in five ways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from labkit.charts import layout, style
from labkit.course.polling.jobs import JOB, LONGEST_S, MEAN_S, WAYS, expected_wait
from labkit.course.shown import Shown, as_table
from labkit.course.variants import topic_of
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.measuring.schedules import DISTRIBUTIONS, Planned, Schedule
from labkit.techniques import TECHNIQUES

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

MARKS = {
    "fixed poll": ("#B84300", "circle"),
    "backoff": ("#CB6FAC", "diamond"),
    "Retry-After": ("#007A55", "triangle-up"),
    "long poll": ("#B58A00", "square"),
    "SSE": ("#3C96DC", "triangle-down"),
}


@dataclass(frozen=True, repr=False)
class Waited(Shown):
    """Waiting for jobs. ``frame``: ``job``, ``durations``, ``how`` (which client), ``duration_s``, ``waited_s`` from
    the job's completion to the client's knowing, ``requests`` (without the submission), ``expected_s`` and
    ``expected_requests`` by the client's rule from the duration alone, ``margin_s`` by how
    much the job's end missed the nearest question."""

    frame: pd.DataFrame
    one_way_s: float
    settings: dict[str, Any] = field(default_factory=dict)
    run: Run | None = None

    def table(self) -> pd.DataFrame:
        """Means by distribution of durations and client."""
        columns = ["waited_s", "expected_s", "requests", "expected_requests"]
        return self.frame.groupby(["durations", "how"], sort=False)[columns].mean()

    def chart(self) -> go.Figure:
        """Wait after a job's end against requests for it: one panel for each distribution, measured beside the rule."""
        ink, table = style.GREY.ink, self.table()
        kinds: list[str] = list(dict.fromkeys(table.index.get_level_values("durations")))
        figure = layout.panels(*(f"{kind} durations" for kind in kinds), shared_yaxes=True, shared_xaxes="all",
                               horizontal_spacing=0.03)  # fmt: skip
        for column, kind in enumerate(kinds, 1):
            for way, row in table.loc[kind].iterrows():
                color, symbol = MARKS[str(way)]
                figure.add_scatter(
                    x=[row["expected_requests"]], y=[row["expected_s"] * 1e3], mode="markers", showlegend=False, row=1,
                    col=column, hovertemplate="by its rule<extra></extra>",
                    marker={"symbol": f"{symbol}-open", "size": 17, "color": ink, "line": {"width": 1}},
                )  # fmt: skip
                figure.add_scatter(
                    x=[row["requests"]], y=[row["waited_s"] * 1e3], mode="markers", name=str(way), row=1, col=column,
                    legendgroup=str(way), showlegend=column == 1, marker={"symbol": symbol, "size": 10, "color": color},
                    hovertemplate=f"{way}: %{{y:.0f}} ms at %{{x:.2g}} requests<extra></extra>",
                )  # fmt: skip
        ticks = [20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0]
        figure.update_yaxes(type="log", range=[1.4, 3.5], tickvals=ticks, ticktext=[style.number(t) for t in ticks])
        figure.update_yaxes(title_text="mean wait after the end (ms)", col=1)
        most = float(table[["requests", "expected_requests"]].max().max())
        figure.update_xaxes(title_text="requests for a job", range=[0, most * 1.15], ticks="outside")
        means = self.frame.groupby("how")["waited_s"].mean()
        return layout.dressed(
            figure,
            f"After a job's end: {style.seconds(means['SSE'])} by SSE, {style.seconds(means['fixed poll'])} by a fixed "
            f"poll, {style.seconds(means['Retry-After'])} by Retry-After",
            "means; outlined: what the client's rule gives for the same durations; waits on a logarithmic scale",
            height=410, margin=(70, 24, 106, 98),
        )  # fmt: skip


def wait_for_jobs(*, rate_per_s: float = 6.0, duration_s: float = 2.0, one_way_s: float = 0.05) -> Waited:
    """Jobs with exponential, bimodal and heavy-tailed durations, each waited for by five clients at once."""
    schedule, began = _jobs(rate_per_s, duration_s)
    with Lab("jobs", techniques=(*TECHNIQUES, JOB)) as lab:
        run = measure(lab, WAYS, schedule, one_way_s=one_way_s, settle_s=LONGEST_S + 1.0)
    asked = Counter[tuple[str, str]]()
    for record in run.ledger.of():
        asked[record.technique, topic_of(record)] += record.requests
    arrived = run.deliveries.set_index(["technique", "topic"])["latency_ms"]
    rows = []
    for way in WAYS:
        for job, (durations, took_s) in began.items():
            if (way.name, job) not in arrived.index:
                continue
            requests = asked[way.name, job] - (way.route == JOB.route)
            expected = expected_wait(way.name, took_s, one_way_s)
            rows.append(
                {
                    "job": job,
                    "durations": durations,
                    "how": way.name,
                    "duration_s": took_s,
                    "waited_s": float(arrived[way.name, job]) / 1e3,
                    "requests": requests,
                    "expected_s": expected.wait_s,
                    "expected_requests": expected.requests,
                    "margin_s": expected.margin_s,
                }
            )
    return Waited(as_table(rows), one_way_s, dict(run.settings), run)


def _jobs(rate_per_s: float, duration_s: float) -> tuple[Schedule, dict[str, tuple[str, float]]]:
    """Jobs of three kinds in one schedule, and each one's kind and duration by its topic."""
    planned: list[Planned] = []
    kinds: dict[str, tuple[str, float]] = {}
    for number, kind in enumerate(name for name in DISTRIBUTIONS if name != "fixed"):
        for event in schedules.jobs(rate_per_s, duration_s, MEAN_S, kind, seed=10 + number).plan():
            topic = f"{kind}-{event.topic}"
            kinds[topic] = (kind, event.offset_s - event.starts_s)
            planned.append(replace(event, topic=topic))
    planned.sort(key=lambda event: event.offset_s)

    def plan() -> Iterator[Planned]:
        return iter(planned)

    settings = {"rate_per_s": rate_per_s, "duration_s": duration_s, "mean_s": MEAN_S}
    return Schedule("jobs", settings, planned[-1].offset_s, rate_per_s, False, plan), kinds
