"""Latency along time of servers in several homes, from due and from published, busy spans shaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labkit.charts import layout, style
from labkit.theory import Mark

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

DUE = Mark("#0072B2", "circle", "solid")
PUBLISHED = Mark("#B84300", "x-thin-open", "dot")


def homes(frame: pd.DataFrame, homes: Sequence[Any]) -> go.Figure:
    """One panel per home of ``homes.py`` on the same axes; *frame* has the deliveries of all of them."""
    rows = max(1, len(homes))
    figure = layout.panels(
        *[""] * rows, rows=rows, shared_xaxes="all", shared_yaxes="all", vertical_spacing=0.36 / rows * (rows > 1)
    )
    low, high = _extent(frame)
    ticks = style.log_ticks(low, high, 5)
    figure.update_yaxes(
        type="log", range=[math.log10(low / 1.4), math.log10(high)], tickvals=ticks,
        ticktext=[style.number(t) for t in ticks], title_text="latency (ms)",
    )  # fmt: skip
    figure.update_xaxes(showgrid=False, ticks="outside", ticklen=3)
    figure.update_xaxes(title_text="due, after the start (s)", row=rows, col=1)
    for row, home in enumerate(homes, 1):
        _panel(figure, home, frame[frame["home"] == home.name], row, low)
    return layout.dressed(
        figure, _title(frame, homes), "logarithmic scale; shaded: the cell is busy",
        height=170 + 112 * rows, margin=(66, 24, 92, 92),
    )  # fmt: skip


def _extent(frame: pd.DataFrame) -> tuple[float, float]:
    """The least and greatest latency of both kinds, with some room."""
    values = frame[["latency_ms", "transit_ms"]].melt()["value"]
    values = values[values > 0]
    if not len(values):
        return 0.1, 1000.0
    return max(0.05, float(values.quantile(0.005)) / 1.5), float(values.max()) * 2.5


def _panel(figure: go.Figure, home: Any, frame: pd.DataFrame, row: int, low: float) -> None:
    grey, here = style.GREY, {"row": row, "col": 1}
    seconds = home.seconds(frame["due_ns"])
    for column, name, mark in (("transit_ms", "from published", PUBLISHED), ("latency_ms", "from due", DUE)):
        figure.add_scatter(
            x=seconds.round(4), y=frame[column].clip(lower=low).round(3), mode="markers", name=name, legendgroup=name,
            showlegend=row == 1, customdata=frame["event_id"],
            marker={"symbol": mark.symbol, "size": 5, "color": mark.color, "line": {"width": 1.2, "color": mark.color}},
            hovertemplate=f"event %{{customdata}}, due %{{x:.3f}} s<br>%{{y:.4~g}} ms {name}<extra></extra>", **here,
        )  # fmt: skip
    above = {"y": 1, "yref": "y domain", "yanchor": "bottom", "yshift": 1, "showarrow": False, **here}
    for span in home.spans:  # after the dots: plotly shades no empty panel
        start_s, stop_s = home.seconds(span.start_ns), home.seconds(span.stop_ns)
        figure.add_vrect(x0=start_s, x1=stop_s, fillcolor=grey.rule, opacity=0.25, line_width=0, layer="below", **here)
        if row == 1:
            figure.add_annotation(
                text=span.label, x=stop_s, xanchor="right", font={"size": 11, "color": grey.muted}, **above
            )  # fmt: skip
        if home.waits:  # what theory expects of a loop that stands still: an event waits for what is left of the span
            steps = [start_s + (stop_s - start_s) * i / 60 for i in range(61)]
            layout.add_theory(
                figure, steps, [max(low, (stop_s - s) * 1e3) for s in steps],
                name="theory: what is left of the cell", legendgroup=None, **here,
            )  # fmt: skip
    lost = f'  <span style="color:{grey.muted}">{home.lost} lost</span>' if home.lost else ""
    figure.add_annotation(
        text=f"<b>{home.title}</b>{lost}", x=0, xref="x domain", xanchor="left", font={"size": 12}, **above
    )


def _title(frame: pd.DataFrame, homes: Sequence[Any]) -> str:
    busy = {home.title: frame[frame["during"] & (frame["home"] == home.name)]["latency_ms"] for home in homes}
    late_s = {title: float(late.quantile(0.95)) / 1e3 for title, late in busy.items() if len(late)}
    if not late_s:
        return "Latency along time, while no cell was busy"
    said = "While the cell is busy, 95 % arrive within"
    (worst, slowest_s), *others = sorted(late_s.items(), key=lambda item: -item[1])
    if not others:
        return f"{said} {style.seconds(slowest_s)} {worst}"
    if slowest_s < 3 * others[0][1]:
        return f"{said} {style.seconds(others[-1][1])} to {style.seconds(slowest_s)}"
    return f"{said} {style.seconds(slowest_s)} {worst}, {style.seconds(others[0][1])} elsewhere"
