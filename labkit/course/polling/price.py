"""P2: what polls cost, in bytes and in latency."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from labkit import theory
from labkit.charts import layout, style
from labkit.course.asking import expected
from labkit.course.polling.pollers import ONE_WAY_S, exchanges, poller
from labkit.course.shown import Shown, as_table
from labkit.course.variants import several, topic_of
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.techniques.polling import POLLING

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


SLIDER_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
START = SLIDER_S.index(1.0)
At = Callable[[float], tuple[float, float, float]]
"""Of an interval: requests and bytes an hour, mean latency in ms."""


@dataclass(frozen=True, repr=False)
class Costs(Shown):
    """What polls cost: for each interval, pollers of topics of their own, whose events are independent.

    ``frame`` has a row for each interval and topic: ``interval_s``, ``topic``, ``polls`` (after the first one),
    ``span_s`` from the first of them to the last, ``empty`` (of them), ``events`` they carried, ``bytes`` both ways,
    ``latency_ms`` (the events' mean). ``empty_bytes`` is one request and its empty answer, ``event_bytes`` what one
    event adds, both counted from single exchanges.
    """

    frame: pd.DataFrame
    rate_per_s: float
    one_way_s: float
    empty_bytes: float
    event_bytes: float
    settings: dict[str, Any] = field(default_factory=dict)
    run: Run | None = None

    def table(self) -> pd.DataFrame:
        """One row for each interval, all topics together."""
        rows = []
        for interval_s, part in self.frame.groupby("interval_s"):
            polls, events = part["polls"].sum(), part["events"].sum()
            rows.append(
                {
                    "interval_s": interval_s,
                    "requests/hour": 3600 * polls / part["span_s"].sum(),
                    "bytes/hour": 3600 * part["bytes"].sum() / part["span_s"].sum(),
                    "mean_ms": (part["latency_ms"] * part["events"]).sum() / events,
                    "bytes/event": part["bytes"].sum() / events,
                    "empty": part["empty"].sum() / polls,
                    "theory: empty": theory.empty_answer_fraction(self.rate_per_s, float(str(interval_s))),
                }
            )
        return as_table(rows).set_index("interval_s")

    def knees_s(self) -> tuple[float, float]:
        """The two ends of the bargain, in seconds of T: below 4d half the interval gains less than one transit, and
        above h/(b lambda) the polls cost less than the events' own bytes."""
        return 4 * self.one_way_s, self.empty_bytes / (self.event_bytes * self.rate_per_s)

    def at(self, interval_s: float) -> tuple[float, float, float]:
        """Requests and bytes an hour, and mean latency in ms, that theory expects of an interval."""
        mean_s = expected(POLLING, {"interval_s": interval_s}, theory.Path(self.one_way_s)).mean_s
        requests = 3600 / theory.polling_period(interval_s, self.one_way_s)
        return requests, requests * self.empty_bytes + 3600 * self.rate_per_s * self.event_bytes, mean_s * 1e3

    def chart(self) -> go.Figure:
        """Bytes per event over 1/(lambda T), and the share of empty answers over lambda T, with their theory."""
        mark, table = POLLING.mark, self.table()
        figure = layout.panels("bytes per event", "share of empty answers", horizontal_spacing=0.1)
        each = self.frame[self.frame["events"] > 0]
        sums = self.frame.groupby("interval_s")[["polls", "events"]].sum()
        steps = [0.0, float((each["polls"] / each["events"]).max()) * 1.05]
        shares = [4.5 * i / 30 for i in range(31)]
        layout.add_theory(figure, steps, [self.event_bytes + self.empty_bytes * s for s in steps],
                          row=1, col=1)  # fmt: skip
        layout.add_theory(figure, shares, [math.exp(-s) for s in shares], showlegend=False, row=1, col=2)
        figure.add_scatter(
            x=each["polls"] / each["events"], y=each["bytes"] / each["events"], mode="markers", name="one topic",
            row=1, col=1, hoverinfo="skip",
            marker={"symbol": "circle-open", "size": 5, "color": mark.color},
        )  # fmt: skip
        for column, xs, ys in (
            (1, (sums["polls"] / sums["events"]).tolist(), table["bytes/event"].tolist()),
            (2, [self.rate_per_s * t for t in table.index], table["empty"].tolist()),
        ):
            figure.add_scatter(
                x=xs, y=ys, mode="markers", name="measured", legendgroup="measured", showlegend=column == 1,
                marker={"symbol": mark.symbol, "size": 10, "color": mark.color}, row=1, col=column,
                customdata=list(table.index), hovertemplate="T = %{customdata:g} s: %{y:.3~g}<extra></extra>",
            )  # fmt: skip
        figure.update_xaxes(title_text="1/(λT): polls for each event", rangemode="tozero", ticks="outside", col=1)
        figure.update_xaxes(title_text="λT: events in each interval", rangemode="tozero", ticks="outside", col=2)
        figure.update_yaxes(rangemode="tozero")
        figure.update_yaxes(title_text="bytes per event, both ways (B)", col=1)
        first, last = float(table["bytes/event"].iloc[0]), float(table["bytes/event"].iloc[-1])
        return layout.dressed(
            figure,
            f"An event costs {style.number(last)} bytes with T = {table.index[-1]:g} s, "
            f"{style.number(first)} with T = {table.index[0]:g} s",
            f"theory: b + h/(λT), b = {self.event_bytes:.0f}, h = {self.empty_bytes:.0f} bytes, and exp(-λT); "
            f"λ = {self.rate_per_s:g} events/s",
            height=400, margin=(70, 24, 106, 100),
        )  # fmt: skip

    def surface(self) -> go.Figure:
        """Mean latency against requests and against bytes an hour; a slider moves T along both curves."""
        return _surface(self.table(), self.at, self.knees_s(), self.rate_per_s, self.one_way_s)


def _surface(
    table: pd.DataFrame, at: At, knees_s: tuple[float, float], rate_per_s: float, one_way_s: float
) -> go.Figure:
    """Both curves by theory, what was measured on them, where they bend, and a slider for T."""
    grey, mark = style.GREY, POLLING.mark
    figure = layout.panels("", "", shared_yaxes=True, horizontal_spacing=0.04)
    curve = [at(0.02 * 5000 ** (i / 60)) for i in range(61)]
    ends = [at(t) for t in knees_s]
    for column, cost in ((1, 0), (2, 1)):
        here: dict[str, Any] = {"row": 1, "col": column, "showlegend": column == 1}
        dots = {**here, "mode": "markers", "hoverinfo": "skip"}
        layout.add_theory(figure, [p[cost] for p in curve], [p[2] for p in curve], **here)
        figure.add_scatter(
            x=table[("requests/hour", "bytes/hour")[cost]], y=table["mean_ms"], name="measured",
            legendgroup="measured", marker={"symbol": mark.symbol, "size": 8, "color": mark.color}, **dots,
        )  # fmt: skip
        figure.add_scatter(
            x=[p[cost] for p in ends], y=[p[2] for p in ends], name="the two knees", legendgroup="knees",
            marker={"symbol": "star-open", "size": 14, "color": grey.ink, "line": {"width": 1.5}}, **dots,
        )  # fmt: skip
    fixed = len(figure.data)
    for interval_s in SLIDER_S:
        point = at(interval_s)
        for column, cost in ((1, 0), (2, 1)):
            figure.add_scatter(
                x=[point[cost]], y=[point[2]], mode="markers", visible=interval_s == SLIDER_S[START], row=1, col=column,
                showlegend=False, hoverinfo="skip",
                marker={"symbol": "circle-open", "size": 18, "color": mark.color, "line": {"width": 3}},
            )  # fmt: skip
    steps = [_step(number, interval_s, at(interval_s), fixed) for number, interval_s in enumerate(SLIDER_S)]
    figure.update_xaxes(type="log", dtick=1, exponentformat="none", tickformat=",d", ticks="outside")
    figure.update_xaxes(title_text="requests an hour", col=1)
    ticks = style.log_ticks(at(100.0)[1], at(0.02)[1], 5)
    figure.update_xaxes(title_text="kB an hour", tickvals=ticks, ticktext=[style.number(t / 1e3) for t in ticks], col=2)
    figure.update_yaxes(type="log", dtick=1)
    figure.update_yaxes(title_text="mean latency (ms)", col=1)
    left, right = knees_s
    return layout.dressed(
        figure,
        f"Requests buy latency down to T = {style.seconds(left)}; bytes are saved up to T = {style.seconds(right)}",
        f"one client, λ = {rate_per_s:g} events/s, d = {style.ms(one_way_s * 1e3)}; logarithmic scales",
        height=500, margin=(74, 30, 112, 160),
        sliders=[{"active": START, "steps": steps, "currentvalue": {"prefix": "T (s): "}, "pad": {"t": 62}}],
        annotations=[_told(steps[START]["value"])],
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.01, "yanchor": "bottom"},
    )  # fmt: skip


def _step(number: int, interval_s: float, point: tuple[float, float, float], fixed: int) -> dict[str, Any]:
    requests, size, latency_ms = point
    told = f"{interval_s:g} s: {style.seconds(latency_ms / 1e3)}, {style.number(requests)} requests and "
    told += f"{style.number(size / 1e3)} kB an hour"
    visible = [True] * fixed + [i == number for i in range(len(SLIDER_S)) for _ in range(2)]
    args = [{"visible": visible}, {"annotations": [_told(told)]}]
    return {"label": f"{interval_s:g}", "value": told, "method": "update", "args": args}


def _told(text: str) -> dict[str, object]:
    return {"text": f"T = {text}", "x": 0, "xref": "paper", "xanchor": "left", "y": 1.01, "yref": "paper",
            "yanchor": "bottom", "showarrow": False, "font": {"size": 13}}  # fmt: skip


def costs(
    lab: Lab,
    intervals_s: Sequence[float] = (0.2, 0.4, 0.8, 1.6),
    *,
    topics: int = 16,
    rate_per_s: float = 2.5,
    span_s: float = 4.8,
    one_way_s: float = ONE_WAY_S,
) -> Costs:
    """Pollers of several intervals, each on topics of their own with events of their own, so that all are independent.

    Args:
        span_s: how long is counted; a multiple of each interval.
    """
    techniques = [poller(interval_s) for interval_s in intervals_s]
    sources = {f"t{n}": schedules.poisson(rate_per_s, span_s + 0.3, seed=2 + n) for n in range(topics)}
    plan = several(sources, rate_per_s, name="poisson", apart_s=0.02)
    run = measure(lab, techniques, plan, one_way_s=one_way_s, poll_interval_s=max(intervals_s))
    rows, empties, singles = [], [], []
    for technique, interval_s in zip(techniques, intervals_s, strict=True):
        for topic in sorted({planned.topic for planned in plan.plan()}):
            row, alone = _costs(run, technique.name, topic, round(span_s / interval_s))
            rows.append({"interval_s": interval_s, "topic": topic, **row})
            empties += alone.get(0, [])
            singles += alone.get(1, [])
    empty = sum(empties) / len(empties) if empties else float("nan")
    single = sum(singles) / len(singles) if singles else float("nan")
    return Costs(as_table(rows), rate_per_s, one_way_s, empty, single - empty, dict(run.settings), run)


def _costs(run: Run, technique: str, topic: str, polls: int) -> tuple[dict[str, float], dict[int, list[int]]]:
    """One poller's polls after its first: the row of its costs, and the bytes of exchanges by events carried."""
    frame = run.deliveries
    mine = frame[(frame["technique"] == technique) & (frame["topic"] == topic)]
    records = [r for r in run.ledger.of(technique) if topic_of(r) == topic]
    found = list(exchanges(records))[1 : polls + 1]
    ends = [exchange.answered_ns for exchange in found]
    carried = [0] * len(found)
    latencies_ms = []
    for received_ns, latency_ms in zip(mine["received_ns"], mine["latency_ms"], strict=True):
        at = bisect_right(ends, received_ns) - 1
        if at >= 0 and ends[at] == received_ns:
            carried[at] += 1
            latencies_ms.append(latency_ms)
    steps = [after.asked_ns - before.asked_ns for before, after in pairwise(found)]
    span_s = sum(steps) / max(1, len(steps)) * len(found) / 1e9
    alone: dict[int, list[int]] = {}
    for exchange, events in zip(found, carried, strict=True):
        alone.setdefault(events, []).append(exchange.bytes)
    row = {
        "polls": len(found),
        "span_s": span_s,
        "empty": carried.count(0),
        "events": sum(carried),
        "bytes": sum(exchange.bytes for exchange in found),
        "latency_ms": sum(latencies_ms) / max(1, len(latencies_ms)),
    }
    return row, alone
