"""The chart of what it costs to notice a dead link: bytes of heartbeats an hour over the time to notice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from labkit.charts import layout, style
from labkit.techniques.sse import SSE

if TYPE_CHECKING:
    import plotly.graph_objects as go

INTERVALS_S = (0.15, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0)
TICKS = (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)


def noticing(measured_s: Sequence[float], beat_s: float, missed: int, beat_bytes: int) -> go.Figure:
    """Theory for every interval, what a run with heartbeats every *beat_s* measured, and a slider for the interval."""
    grey, mark, figure = style.GREY, SSE.mark, layout.blank()
    spans_s = [((missed - 1) * every_s, missed * every_s) for every_s in INTERVALS_S]
    hourly = [beat_bytes * 3600 / every_s for every_s in INTERVALS_S]
    layout.add_theory(
        figure, [(low + high) / 2 for low, high in spans_s], hourly,
        name=f"theory: {missed - 0.5:g} intervals on average",
    )  # fmt: skip
    figure.add_scatter(
        x=measured_s, y=[beat_bytes * 3600 / beat_s] * len(measured_s), mode="markers", name="this run",
        marker={"symbol": mark.symbol, "size": 9, "color": mark.color}, hovertemplate="%{x:.3f} s<extra></extra>",
    )  # fmt: skip
    for at, (low_s, high_s) in enumerate(spans_s):
        ahead = at < len(spans_s) / 2  # where there is room: the line falls, and no label lies on it or on the bar
        said = f"every {style.seconds(INTERVALS_S[at])}: after {style.seconds(low_s)} to {style.seconds(high_s)}"
        said += f", {style.number(hourly[at] / 1e3)} kB an hour"
        figure.add_scatter(
            x=[low_s, (low_s + high_s) / 2, high_s], y=[hourly[at]] * 3, mode="lines+markers+text", visible=at == 5,
            text=["", "", said] if ahead else [said, "", ""], textposition="top right" if ahead else "bottom left",
            showlegend=False,
            marker={"symbol": ["line-ns", "square", "line-ns"], "size": [14, 11, 14], "color": "#B58A00", "opacity": 1,
                    "line": {"width": 2, "color": "#B58A00"}},
            line={"color": "#B58A00", "width": 2}, textfont={"color": grey.ink}, hoverinfo="skip", cliponaxis=False,
        )  # fmt: skip
    (low, low_kb), (high, high_kb) = (
        (style.seconds(sum(spans_s[at]) / 2), style.number(hourly[at] / 1e3)) for at in (1, len(spans_s) - 1)
    )
    figure.update_xaxes(
        type="log", title_text="time until a dead link is noticed (s)", range=[-0.7, 2.4], tickvals=TICKS
    )
    figure.update_yaxes(type="log", title_text="heartbeats (bytes an hour)")
    return layout.dressed(
        figure,
        f"Noticing in {low} costs {low_kb} kB an hour, in {high} {high_kb} kB",
        f"logarithmic scales; {beat_bytes} bytes a heartbeat, TCP/IP not counted; "
        f"bar: {missed - 1} to {missed} intervals",
        height=440, margin=(80, 40, 84, 130), legend={"x": 1, "xanchor": "right", "y": 0.98},
        sliders=layout.slider(
            [f"{every_s:g}" for every_s in INTERVALS_S], fixed=2, prefix="a heartbeat every (s): ", pad=54, active=5
        ),
    )  # fmt: skip
