"""Latency along time of servers in several homes, from due and from published, busy spans shaded."""

from __future__ import annotations

import math

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from labkit.charts import style
from labkit.charts.pictures import finished
from labkit.course.where_the_server_lives.homes import Home, Seen, Span
from labkit.theory import Mark

DUE = Mark("#0072B2", "circle", "solid")
PUBLISHED = Mark("#D55E00", "x-thin-open", "dot")
WAITS = ("kernel-loop",)


def homes(seen: Seen, *, theme: str | None = None) -> go.Figure:
    """Latency along time, one panel per home on the same axes.

    Args:
        seen: what :func:`labkit.course.where_the_server_lives.residence.watch` kept.
        theme: ``light`` or ``dark``; the one of ``style.use`` by default.

    Returns:
        A figure: each delivery twice, its latency from due (dot) and from published (cross), in ms on a logarithmic
        scale, over the time at which it was due, in s; busy spans shaded; on the kernel's own loop the time left
        until the span's end as a dashed line, which is what theory expects there.
    """
    grey, frame, rows = style.theme(theme), seen.deliveries, max(1, len(seen.homes))
    figure = make_subplots(
        rows, 1, shared_xaxes="all", shared_yaxes="all", vertical_spacing=0.36 / rows if rows > 1 else 0
    )
    figure.update_layout(
        template=style.template(theme), height=170 + 112 * rows, margin={"l": 66, "r": 24, "t": 92, "b": 92},
        legend={"orientation": "h", "x": 0, "yref": "container", "y": 0.012, "yanchor": "bottom"},
        title=style.heading(_title(seen, frame), "logarithmic scale; shaded: the cell is busy"),
    )  # fmt: skip
    low, high = _extent(frame)
    ticks = style.log_ticks(low, high, 5)
    figure.update_yaxes(
        type="log", range=[math.log10(low), math.log10(high)], tickvals=ticks,
        ticktext=[style.number(t) for t in ticks], title_text="latency (ms)",
    )  # fmt: skip
    figure.update_xaxes(showgrid=False, ticks="outside", ticklen=3)
    figure.update_xaxes(title_text="due, after the start (s)", row=rows, col=1)
    for number, home in enumerate(seen.homes, 1):
        _panel(figure, home, frame[frame["home"] == home.name], number, low, grey)
    return finished(figure)


def _extent(frame: pd.DataFrame) -> tuple[float, float]:
    """The least and greatest latency of both kinds, with some room."""
    values = pd.concat([frame["latency_ms"], frame["transit_ms"]])
    values = values[values > 0]
    if not len(values):
        return 0.1, 1000.0
    return max(0.05, float(values.quantile(0.005)) / 1.5), float(values.max()) * 2.5


def _panel(figure: go.Figure, home: Home, frame: pd.DataFrame, row: int, low: float, grey: style.Theme) -> None:
    seconds = (frame["due_ns"] - home.started_ns) / 1e9
    for column, name, mark in (("transit_ms", "from published", PUBLISHED), ("latency_ms", "from due", DUE)):
        figure.add_scatter(
            x=seconds.round(4), y=frame[column].clip(lower=low).round(3), mode="markers", name=name, legendgroup=name,
            showlegend=row == 1, row=row, col=1, customdata=frame["event_id"],
            marker={"symbol": mark.symbol, "size": 5, "color": mark.color, "line": {"width": 1.2, "color": mark.color}},
            hovertemplate=f"event %{{customdata}}, due %{{x:.3f}} s<br>%{{y:.4~g}} ms {name}<extra></extra>",
        )  # fmt: skip
    for span in home.spans:  # after the dots: plotly shades no empty panel
        start_s, stop_s = _ends(home, span)
        figure.add_vrect(
            x0=start_s, x1=stop_s, fillcolor=grey.rule, opacity=0.25, line_width=0, layer="below", row=row, col=1
        )
        if row == 1:
            figure.add_annotation(
                text=span.label, x=stop_s, xanchor="right", y=1, yref="y domain", yanchor="bottom", yshift=1,
                showarrow=False, font={"size": 11, "color": grey.muted}, row=row, col=1,
            )  # fmt: skip
    for span in home.spans if home.name in WAITS else ():
        _time_left(figure, *_ends(home, span), low, row, grey)
    lost = f'  <span style="color:{grey.muted}">{home.lost} lost</span>' if home.lost else ""
    figure.add_annotation(
        text=f"<b>{home.title}</b>{lost}", x=0, xref="x domain", xanchor="left", y=1, yref="y domain",
        yanchor="bottom", yshift=1, showarrow=False, font={"size": 12}, row=row, col=1,
    )  # fmt: skip


def _ends(home: Home, span: Span) -> tuple[float, float]:
    return (span.start_ns - home.started_ns) / 1e9, (span.stop_ns - home.started_ns) / 1e9


def _time_left(figure: go.Figure, start_s: float, stop_s: float, low: float, row: int, grey: style.Theme) -> None:
    """What theory expects of a loop that stands still: an event waits for what is left of the span."""
    steps = [start_s + (stop_s - start_s) * i / 60 for i in range(61)]
    figure.add_scatter(
        x=steps, y=[max(low, (stop_s - s) * 1e3) for s in steps], mode="lines", name="theory: what is left of the cell",
        line={"color": grey.ink, "width": 1, "dash": "3px,3px"}, hoverinfo="skip", row=row, col=1,
    )  # fmt: skip


def _title(seen: Seen, frame: pd.DataFrame) -> str:
    busy = frame[frame["during"]]
    late = busy.groupby("home")["latency_ms"].quantile(0.95).sort_values(ascending=False) / 1e3
    if late.empty:
        return "Latency along time, while no cell was busy"
    said = "While the cell is busy, 95 % arrive within"
    worst = next(home for home in seen.homes if home.name == late.index[0])
    if len(late) == 1:
        return f"{said} {style.seconds(float(late.iloc[0]))} {worst.title}"
    if late.iloc[0] < 3 * late.iloc[1]:
        return f"{said} {style.seconds(float(late.iloc[-1]))} to {style.seconds(float(late.iloc[0]))}"
    return f"{said} {style.seconds(float(late.iloc[0]))} {worst.title}, {style.seconds(float(late.iloc[1]))} elsewhere"
