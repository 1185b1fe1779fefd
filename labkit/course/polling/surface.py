"""The chart of the bargain that a poll interval is: latency against requests, and against bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.charts import layout, style

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

SLIDER_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
START = SLIDER_S.index(1.0)
At = Callable[[float], tuple[float, float, float]]
"""Of an interval: requests and bytes an hour, mean latency in ms."""


def surface(
    table: pd.DataFrame, at: At, knees_s: tuple[float, float], rate_per_s: float, one_way_s: float, theme: str | None
) -> go.Figure:
    """Both curves by theory, what was measured on them, where they bend, and a slider for T."""
    grey, mark = style.theme(theme), style.mark("polling")
    figure = layout.panels("", "", shared_yaxes=True, horizontal_spacing=0.04)
    curve = [at(0.02 * 5000 ** (i / 60)) for i in range(61)]
    ends = [at(t) for t in knees_s]
    for column, cost in ((1, 0), (2, 1)):
        here: dict[str, Any] = {"row": 1, "col": column, "showlegend": column == 1}
        dots = {**here, "mode": "markers", "hoverinfo": "skip"}
        layout.add_theory(figure, [p[cost] for p in curve], [p[2] for p in curve], theme=theme, **here)
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
        theme=theme, height=500, margin=(74, 30, 112, 160),
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
