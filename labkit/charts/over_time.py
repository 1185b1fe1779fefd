"""Latency along time, one small panel per technique."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from labkit.charts import style
from labkit.charts.pictures import finished
from labkit.charts.rows import (
    Row,
    drawn_of,
    expected_on,
    floor_of,
    group_name,
    identity,
    latency_axis,
    nothing_timed,
    rows_of,
    thinned,
)

BESIDE = 0.007  # of the width: a mark's


def timeline(run: Any, *, spans: Sequence[tuple[float, float, str]] = (), columns: int | None = None) -> go.Figure:
    """Latency along time, one small panel per technique, all on the same axes.

    Panels rather than one: streams lie on top of one another in a single panel, and nothing tells them apart.

    Args:
        run: a Run, or anything with ``deliveries``, ``settings`` and ``summary()``.
        spans: shaded stretches of time, each ``(start_s, stop_s, label)``, seconds after the run's start, as ``at`` of
            ``measure`` and of ``run_for`` counts them.
        columns: panels side by side; chosen by their number by default.

    Returns:
        A figure whose points carry ``customdata`` (event_id, technique, subscriber), so that a click on a point
        can open that event. Time in s after the run's start, latency in ms; where nobody knows what was due, the
        interval since the delivery before, at the time when it was received.
    """
    rows, grey = rows_of(run), style.GREY
    columns = columns or (1 if len(rows) <= 3 else 2)
    lines = max(1, math.ceil(len(rows) / columns))
    figure = make_subplots(
        lines, columns, shared_xaxes="all", shared_yaxes="all", horizontal_spacing=0.05, vertical_spacing=0.3 / lines
    )
    figure.update_layout(
        template=style.template(), margin={"l": 66, "r": 24, "t": 92, "b": 56}, showlegend=False,
        height=(300, 380, 450)[lines - 1] if lines <= 3 else 150 * lines,
    )  # fmt: skip
    axis = latency_axis(rows, most_ticks=9 if lines < 3 else 4)
    start_ns = _start_ns(run, rows)
    stop_s = max([_seconds(row, start_ns).max() for row in rows if len(row.deliveries)], default=0.0) or 1.0
    beside = max((int(_at_once(row, row.deliveries).max()) for row in rows if len(row.deliveries)), default=0) * BESIDE
    figure.update_xaxes(range=[-0.015 * stop_s, stop_s * (1.015 + beside)], showgrid=False, ticks="outside", ticklen=3)
    figure.update_yaxes(**axis)
    for index, row in enumerate(rows):
        where = {"row": index // columns + 1, "col": index % columns + 1}
        _panel(figure, row, _seconds(row, start_ns), stop_s, axis, where, grey)
        bottom = index + columns >= len(rows)
        figure.update_xaxes(
            title_text=f"{row.moment}, after the start (s)" if bottom else "",
            showticklabels=bottom,
            **where,
        )
        figure.update_yaxes(title_text=f"{row.measure} (ms)" if where["col"] == 1 else "", **where)
        for span in spans:
            _shade(figure, span, where, grey)
    for index in range(len(rows), lines * columns):
        where = {"row": index // columns + 1, "col": index % columns + 1}
        figure.update_xaxes(visible=False, **where)
        figure.update_yaxes(visible=False, **where)
    for (start_s, stop_s, label), column in itertools.product(spans, range(columns)):
        mine = list(range(column, len(rows), columns))
        if mine:
            slowest = {i: _slowest_within(rows[i], _seconds(rows[i], start_ns), start_s, stop_s) for i in mine}
            calm = next(i for i in mine if slowest[i] <= 1.25 * min(slowest.values()))
            where = {"row": calm // columns + 1, "col": column + 1}
            _name_span(figure, (start_s + stop_s) / 2, label, where, grey)
    figure.update_layout(title=style.heading(_timeline_title(rows, run), _timeline_note(rows, axis)))
    return finished(figure)


def _start_ns(run: Any, rows: Sequence[Row]) -> float:
    """When the run began; the first due time of one that does not say it."""
    first = min((float(row.deliveries["due_ns"].min()) for row in rows if len(row.deliveries)), default=0.0)
    return float(run.settings.get("started_ns") or first)


def _seconds(row: Row, start_ns: float) -> pd.Series[float]:
    return (row.deliveries["due_ns"].astype(float) - start_ns) / 1e9


def _at_once(row: Row, frame: pd.DataFrame) -> pd.Series[int]:
    """How many deliveries before each were due at the same instant to the same subscriber."""
    before: pd.Series[int] = frame.groupby(["subscriber", "due_ns"]).cumcount()
    return before * row.timed


def _panel(
    figure: go.Figure,
    row: Row,
    seconds: pd.Series[float],
    stop_s: float,
    axis: dict[str, Any],
    where: dict[str, int],
    grey: style.Greys,
) -> None:
    mark, drawn = row.mark, drawn_of(row.deliveries)
    joined = drawn["subscriber"].nunique() == 1 and len(drawn) <= 200 and drawn["due_ns"].is_unique
    expected = expected_on(axis, row)
    if expected is not None:
        low, mean, high = expected
        figure.add_scatter(
            x=[0, stop_s, stop_s, 0], y=[low, low, high, high], fill="toself", mode="lines", line_width=0,
            fillcolor=style.rgba(mark.color, 0.13), name=f"{row.technique}: theory, range", hoverinfo="skip", **where,
        )  # fmt: skip
        figure.add_scatter(
            x=[0, stop_s], y=[mean] * 2, mode="lines",
            line={"color": grey.ink, "width": 1, "dash": "3px,3px"}, name=f"{row.technique}: theory, mean",
            hovertemplate="theory: mean %{y:.4~g} ms<extra></extra>",
            **where,
        )  # fmt: skip
    if len(drawn):
        beside_s = _at_once(row, drawn) * BESIDE * stop_s
        figure.add_scatter(
            x=(seconds.loc[drawn.index] + beside_s).round(6),
            y=drawn["latency_ms"].clip(lower=floor_of(axis)).round(4),
            mode="lines+markers" if joined else "markers",
            line={"color": style.rgba(mark.color, 0.55), "width": 1},
            marker={"symbol": mark.symbol, "size": 5 if len(drawn) <= 200 else 3.5, "color": mark.color},
            name=row.technique,
            customdata=identity(drawn),
            hovertemplate=f"event %{{customdata[0]}}, {row.moment} %{{x:.3f}} s<br>"
            "%{y:.4~g} ms<extra>%{customdata[1]}</extra>",
            **where,
        )
    _name_panel(figure, row, where, grey)


def _name_panel(figure: go.Figure, row: Row, where: dict[str, int], grey: style.Greys) -> None:
    said = [f"mean{'' if row.timed else ' interval'} {style.ms(row.mean_ms)}"] if len(row.deliveries) else []
    said += [f"theory {style.ms(row.expected_ms)}"] if row.expected_ms is not None else []
    said += [row.trouble] if row.trouble else []
    text = f'<b>{row.short}</b>  <span style="color:{grey.muted}">{", ".join(said)}</span>'
    figure.add_annotation(
        text=text, x=0, xref="x domain", xanchor="left", y=1, yref="y domain", yanchor="bottom", yshift=1,
        showarrow=False, font={"size": 12}, **where,
    )  # fmt: skip


def _shade(figure: go.Figure, span: tuple[float, float, str], where: dict[str, int], grey: style.Greys) -> None:
    figure.add_vrect(x0=span[0], x1=span[1], fillcolor=grey.rule, opacity=0.25, line_width=0, layer="below", **where)


def _slowest_within(row: Row, seconds: pd.Series[float], start_s: float, stop_s: float) -> float:
    inside = row.latency_ms[(seconds >= start_s) & (seconds <= stop_s)]
    return float(inside.max()) if len(inside) else 0.0


def _name_span(figure: go.Figure, x: float, label: str, where: dict[str, int], grey: style.Greys) -> None:
    """Once in each column, in a panel whose dots are low there."""
    figure.add_annotation(
        text=label, x=x, y=1, yref="y domain", yanchor="top", showarrow=False, font={"size": 11, "color": grey.ink},
        bgcolor=style.rgba(grey.paper, 0.6), borderpad=1, **where,
    )  # fmt: skip


def _timeline_title(rows: Sequence[Row], run: Any) -> str:
    """The technique whose latency swings most against the one that swings least."""
    rows = [row for row in rows if len(row.deliveries)]
    if not rows:
        return nothing_timed(run)
    if not all(row.timed for row in rows):
        extents = [f"{_extent([row])} over {row.short}" for row in rows]
        return f"From one delivery to the next: {style.joined(extents)}"
    wide = max(rows, key=_swing_ms)
    limit = 1.25 * float(min(rows, key=_swing_ms).latency_ms.max())
    calm = [row for row in rows if float(row.latency_ms.max()) <= limit]
    said = f"{wide.short} takes {_extent([wide])}"
    if wide in calm:
        return f"{group_name(rows)} take {_extent(rows)}" if len(rows) > 1 else said
    between = [row for row in rows if row is not wide and row not in calm]
    said += f", {_others(between, wide)} {_extent(between)}" if between else ""
    return f"{said}, {_others(calm, wide)} {_extent(calm)}"


def _others(rows: Sequence[Row], than: Row) -> str:
    """What to call several techniques beside one that may be of the same kind."""
    name = group_name(rows)
    is_stream = than.natures.kind(than.technique) == "stream"
    return name.replace("the streams", "the other streams") if is_stream else name


def _swing_ms(row: Row) -> float:
    return float(row.latency_ms.max() - row.latency_ms.min())


def _extent(rows: Sequence[Row]) -> str:
    low, high = min(float(r.latency_ms.min()) for r in rows), max(float(r.latency_ms.max()) for r in rows)
    return style.extent_ms(low, high)


def _timeline_note(rows: Sequence[Row], axis: dict[str, Any]) -> str:
    has_theory, what = any(row.expected_ms is not None for row in rows), rows[0].measure if rows else "latency"
    parts = ["band and dashed line: the range and the mean that theory expects"] if has_theory else []
    parts += [f"{what} on a logarithmic scale"] if axis["type"] == "log" else []
    if any(_at_once(row, row.deliveries).any() for row in rows):
        parts.append("events due at the same instant stand side by side")
    parts += [thinned(rows)] if thinned(rows) else []
    return "; ".join(parts)
