"""The distribution of latency, one row per technique, theory beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from labkit.charts import style
from labkit.charts.pictures import finished
from labkit.charts.rows import (
    Row,
    conditions,
    drawn_of,
    expected_on,
    floor_of,
    group_name,
    identity,
    latency_axis,
    nothing_timed,
    one_way_ms,
    rows_of,
)


def latency(run: Any) -> go.Figure:
    """Distribution of latency, one row per technique, theory beside it.

    Args:
        run: a Run, or anything with ``deliveries``, ``settings`` and ``summary()``.

    Returns:
        A figure: each delivery a dot, bars for the median and the 95th percentile, the mean; the expected range
        as a band and the expected mean as an open diamond; the learner's predictions as dashed lines. Latency in
        ms below, in network transits above where the run had one.
    """
    rows, grey = rows_of(run), style.GREY
    figure = go.Figure(layout={"template": style.template()})
    predicted = {row.technique: _predicted_ms(row.technique, run) for row in rows}
    axis = latency_axis(rows, more=[v for v in predicted.values() if v is not None])
    _latency_key(figure, grey, any(row.expected_ms is not None for row in rows))
    for y, row in enumerate(rows):
        _draw_theory(figure, row, y, axis, grey)
        _draw_deliveries(figure, row, y, axis, grey)
        _draw_prediction(figure, row, y, predicted[row.technique], axis, grey)
        _name_row(figure, row, y, predicted[row.technique], grey)
    figure.update_layout(
        title=style.heading(_latency_title(rows, run), conditions(run, rows)),
        margin={"l": 122, "r": 132, "t": 112 if one_way_ms(run) > 0 else 72, "b": 84},
        legend={"orientation": "h", "x": 0, "xanchor": "left", "yref": "container", "y": 0.012, "yanchor": "bottom"},
        yaxis={
            "range": [len(rows) - 0.42, -0.52],
            "tickvals": list(range(len(rows))),
            "ticktext": [row.short for row in rows],
            "tickfont_size": 13,
            "showgrid": False,
        },
        height=max(270, 180 + (60 if any(predicted.values()) else 45) * len(rows)),
        xaxis={
            **axis,
            "title_text": f"{_measure(rows)} (ms{', logarithmic' if axis['type'] == 'log' else ''})",
            "ticks": "outside",
        },
    )
    _transit_axis(figure, axis, one_way_ms(run))
    return finished(figure)


def _measure(rows: Sequence[Row]) -> str:
    known = all(row.timed for row in rows)
    return "latency, from due to received" if known else "interval between deliveries; due times are unknown"


def _latency_title(rows: Sequence[Row], run: Any) -> str:
    """The slowest against those that are near the fastest."""
    rows = [row for row in rows if len(row.deliveries)]
    if not rows:
        return nothing_timed(run)
    d_ms = one_way_ms(run)
    transit = f" (one transit: {style.ms(d_ms)})" if d_ms > 0 else ""
    slowest = max(rows, key=lambda row: row.mean_ms)
    fastest = min(rows, key=lambda row: row.mean_ms)
    name = slowest.short
    if not slowest.timed:
        said = [f"{style.ms(row.mean_ms)} over {row.short}" for row in rows]
        return f"A delivery every {style.joined(said)}, on average"
    if len(rows) == 1:
        return f"{name}: {style.ms(slowest.mean_ms)} on average{transit}"
    if slowest.mean_ms < 1.5 * fastest.mean_ms:
        means = style.extent_ms(fastest.mean_ms, slowest.mean_ms)
        return f"{group_name(rows)} take {means} on average{transit}"
    near = [row for row in rows if row.mean_ms <= 1.25 * fastest.mean_ms]
    group = group_name(near)
    average = style.ms(sum(row.mean_ms for row in near) / len(near))
    if (most := max(row.mean_ms for row in near)) > 1.1 * fastest.mean_ms:
        average = style.extent_ms(fastest.mean_ms, most)
    return f"{name} waits {style.ms(slowest.mean_ms)} on average, {group} {average}{transit}"


def _latency_key(figure: go.Figure, grey: style.Greys, with_theory: bool) -> None:
    """What each mark means, in grey: colours belong to the techniques."""
    items = [
        ("a delivery", {"symbol": "circle", "size": 7, "color": grey.rule}),
        ("median", {"symbol": "line-ns", "size": 9, "line": {"width": 3.5, "color": grey.ink}}),
        ("95th percentile", {"symbol": "line-ns", "size": 7, "line": {"width": 1.5, "color": grey.ink}}),
        ("mean", {"symbol": "diamond", "size": 9, "color": grey.ink}),
    ]
    if with_theory:
        items.append(("theory: range and mean", _hollow(grey)))
    for name, marker in items:
        figure.add_scatter(x=[None], y=[None], mode="markers", name=name, marker=marker)


def _hollow(grey: style.Greys) -> dict[str, Any]:
    return {"symbol": "diamond", "size": 10, "color": grey.paper, "line": {"width": 1.6, "color": grey.ink}}


def _draw_theory(figure: go.Figure, row: Row, y: int, axis: dict[str, Any], grey: style.Greys) -> None:
    expected = expected_on(axis, row)
    if expected is None or row.expected_ms is None:
        return
    low, mean, high = expected
    color = row.mark.color
    figure.add_scatter(
        x=[low, high, high, low, low],
        y=[y - 0.40, y - 0.40, y + 0.40, y + 0.40, y - 0.40],
        fill="toself",
        fillcolor=style.rgba(color, 0.13),
        mode="lines",
        line={"width": 1, "color": color},
        name=f"{row.technique}: theory, range",
        showlegend=False,
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[mean],
        y=[y + 0.27],
        mode="markers",
        marker=_hollow(grey),
        name=f"{row.technique}: theory, mean",
        showlegend=False,
        hovertemplate=f"theory: mean {style.ms(row.expected_ms)}<extra></extra>",
    )


def _draw_deliveries(figure: go.Figure, row: Row, y: int, axis: dict[str, Any], grey: style.Greys) -> None:
    if not len(row.deliveries):
        return
    drawn, mark = drawn_of(row.deliveries), row.mark
    many, hollow = len(drawn) > 200, mark.symbol.endswith("-open")
    figure.add_scatter(
        x=drawn["latency_ms"].clip(lower=floor_of(axis)).round(4),
        y=[y - 0.13 + 0.4 * ((i * 0.6180339887) % 1 - 0.5) for i in range(len(drawn))],
        mode="markers",
        marker={
            "symbol": mark.symbol,
            "size": 4.5 if many else 6,
            "color": mark.color if hollow else style.rgba(mark.color, 0.4 if many else 0.6),
            "line": {"width": 0.6, "color": mark.color},
        },
        name=row.technique,
        showlegend=False,
        customdata=identity(drawn),
        hovertemplate="event %{customdata[0]}<br>%{x:.4~g} ms<extra>%{customdata[1]} %{customdata[2]}</extra>",
    )
    for name, value, size, width in (("median", 0.5, 17, 3.5), ("95th percentile", 0.95, 11, 1.5)):
        _point(figure, row, name, float(row.latency_ms.quantile(value)), y - 0.13, "line-ns", size, width, grey)
    _point(figure, row, "mean", row.mean_ms, y + 0.27, "diamond", 9, 0.8, grey)


def _point(
    figure: go.Figure, row: Row, name: str, x: float, y: float, symbol: str, size: int, width: float, grey: style.Greys
) -> None:
    edge = grey.paper if symbol == "diamond" else grey.ink
    figure.add_scatter(
        x=[x],
        y=[y],
        mode="markers",
        marker={"symbol": symbol, "size": size, "color": grey.ink, "line": {"width": width, "color": edge}},
        name=f"{row.technique}: {name}",
        showlegend=False,
        hovertemplate=f"{name} {style.ms(x)}<extra>{row.technique}</extra>",
    )


def _draw_prediction(
    figure: go.Figure, row: Row, y: int, value: float | None, axis: dict[str, Any], grey: style.Greys
) -> None:
    if value is None:
        return
    figure.add_scatter(
        x=[value, value],
        y=[y - 0.44, y + 0.44],
        mode="lines",
        line={"dash": "4px,3px", "width": 1.8, "color": grey.ink},
        name=f"{row.technique}: prediction",
        showlegend=False,
        hoverinfo="skip",
    )


def _predicted_ms(technique: str, run: Any) -> float | None:
    """What the learner predicted for the technique's mean in such a run, in ms."""
    from labkit.claims import predicting

    kept = predicting.predicted_latency_s(technique, run.settings)
    return None if kept is None else kept * 1e3


def _name_row(figure: go.Figure, row: Row, y: int, predicted_ms: float | None, grey: style.Greys) -> None:
    """The numbers to compare, at the right of their row, where nothing is drawn."""
    lines = []
    if len(row.deliveries):
        lines.append(f"<b>mean {style.ms(row.mean_ms)}</b>")
    if row.expected_ms is not None:
        lines.append(f'<span style="color:{grey.muted}">theory {style.ms(row.expected_ms)}</span>')
    if predicted_ms is not None:
        lines.append(f'<span style="color:{grey.ink}">you predicted {style.ms(predicted_ms)}</span>')
    if row.trouble:
        lines.append(f"<i>{row.trouble}</i>")
    figure.add_annotation(
        x=1.0, xref="paper", xanchor="left", xshift=12, y=y, yanchor="middle", align="left", showarrow=False,
        text="<br>".join(lines), font={"size": 12},
    )  # fmt: skip


def _transit_axis(figure: go.Figure, axis: dict[str, Any], d_ms: float) -> None:
    """The same scale once more above, in units of one network transit."""
    if d_ms <= 0:
        return
    low, high = (10.0**v for v in axis["range"]) if axis["type"] == "log" else axis["range"]
    counts = [k for k in (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000) if low < k * d_ms < high]
    figure.add_scatter(x=[None], y=[None], xaxis="x2", showlegend=False, hoverinfo="skip")
    figure.update_layout(
        xaxis2={
            "overlaying": "x", "matches": "x", "side": "top", "type": axis["type"], "range": axis["range"],
            "tickvals": [k * d_ms for k in counts], "ticktext": [f"{k}\u202fd" for k in counts], "showgrid": False,
            "tickfont": {"size": 11}, "title_text": f"network transits (d = {style.ms(d_ms)})", "title_standoff": 4,
            "ticks": "outside", "ticklen": 3,
        }
    )  # fmt: skip
