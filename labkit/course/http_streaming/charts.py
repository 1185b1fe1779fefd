"""What the charts of 03_http_streaming share: marks of both framings, panels along time, names above a scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from labkit.charts import layout, style
from labkit.techniques.http_streaming import HTTP_STREAMING
from labkit.theory import Mark

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from labkit.measuring.run import Run

STREAM = HTTP_STREAMING.mark
CHUNKED = Mark("#0072B2", "circle", "solid")
EOF = Mark("#B84300", "square-open", "dash")
Row = tuple[str, str, Mark, list[tuple[float, str]]]


def along_time(run: Run, rows: Sequence[Row], title: str, *, burst: int = 0) -> go.Figure:
    """Latency along time, a panel for each stream: its name, what it is, its mark, and what theory expects.

    Args:
        burst: so many events 10 ms apart stand side by side, one place each: on an axis of time they are a blot.
    """
    grey, frame, summary = style.GREY, run.deliveries, run.summary()
    frame = frame[frame["scheduled"]]
    dues = sorted(set(frame["due_ns"]))
    place_of = {due_ns: n + n // burst for n, due_ns in enumerate(dues)} if burst else {}
    figure = layout.panels(
        *[""] * len(rows), rows=len(rows), shared_xaxes="all", shared_yaxes="all", vertical_spacing=0.36 / len(rows)
    )
    for number, (name, text, mark, levels) in enumerate(rows, 1):
        mine = frame[frame["technique"] == name].sort_values("due_ns")
        due_s = ((mine["due_ns"] - frame["due_ns"].min()).astype(float) / 1e9).round(4)
        figure.add_scatter(
            x=[place_of[due_ns] for due_ns in mine["due_ns"]] if burst else due_s, y=mine["latency_ms"].round(2),
            mode="markers", marker={"symbol": mark.symbol, "size": 7, "color": mark.color}, showlegend=False,
            hovertemplate="due %{customdata:.3f} s<br>%{y:.1f} ms<extra></extra>", row=number, col=1, customdata=due_s,
        )  # fmt: skip
        lost = int(summary.loc[name, "lost"])
        figure.add_annotation(
            text=f"<b>{text}</b>" + f', <span style="color:{grey.muted}">{lost} not yet whole</span>' * bool(lost),
            x=0, xref="x domain", xanchor="left", y=1, yref="y domain", yanchor="bottom", showarrow=False,
            row=number, col=1,
        )  # fmt: skip
        for level_ms, label in levels:
            figure.add_hline(
                y=level_ms, line=layout.theory_line(), annotation_text=label,
                annotation_position="right", annotation_font_color=grey.muted, row=number, col=1,
            )  # fmt: skip
    figure.update_yaxes(title_text="latency (ms)", range=[0, float(frame["latency_ms"].max()) * 1.15])
    figure.update_xaxes(title_text="due, after the first event (s)", row=len(rows), col=1)
    if burst:
        middles = [at * (burst + 1) + (burst - 1) / 2 for at in range(len(dues) // burst)]
        figure.update_xaxes(tickvals=middles, ticktext=[str(n) for n, _ in enumerate(middles, 1)], showgrid=False)
        figure.update_xaxes(title_text=f"burst of {burst} events, 10 ms apart (number)", row=len(rows), col=1)
    height = 150 + 110 * len(rows)
    return layout.dressed(figure, title, "dashed: theory", height=height, margin=(66, 110, 92, 56))


def named_at(figure: go.Figure, text: str, x: float, anchor: str = "center") -> None:
    """Name a place on a logarithmic x axis, above the plot."""
    figure.add_annotation(
        text=text, x=math.log10(x), y=1, yref="paper", yanchor="bottom", showarrow=False, xanchor=anchor,
        font={"color": style.GREY.muted},
    )  # fmt: skip
