"""What a server's advice to pause costs a client of Bayeux: theory alone, with a slider."""

from __future__ import annotations

import plotly.graph_objects as go

from labkit import theory
from labkit.charts import style
from labkit.charts.pictures import finished
from labkit.theory import Mark

PAUSES_S = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
MARK = Mark("#E69F00", "square", "dash")


def advised_pause(one_way_s: float, rate_per_s: float, *, theme: str | None = None) -> go.Figure:
    """Mean latency and requests a second over the advised pause; the slider moves the mark along both.

    Args:
        one_way_s: one network transit, seconds.
        rate_per_s: events a second, Poisson.
        theme: ``light`` or ``dark``; the one of ``style.use`` by default.
    """
    grey = style.theme(theme)
    gap_s = theory.request_gap(one_way_s)
    means = [theory.long_polling_mean(rate_per_s, one_way_s, 30.0, gap_s + p) * 1e3 for p in PAUSES_S]
    asked = [theory.long_polling_requests_per_s(rate_per_s, one_way_s, 30.0, gap_s + p) for p in PAUSES_S]
    figure = go.Figure()
    figure.add_scatter(
        x=asked, y=means, mode="lines", name="theory: every pause from 0 to 1 s",
        line={"color": grey.ink, "width": 1, "dash": "3px,3px"}, hoverinfo="skip",
    )  # fmt: skip
    for at, pause_s in enumerate(PAUSES_S):
        said = f"pause {pause_s * 1e3:.0f} ms: {style.ms(means[at])}, {style.number(asked[at])} requests/s"
        figure.add_scatter(
            x=[asked[at]], y=[means[at]], mode="markers+text", text=[said], textposition="top right", visible=at == 0,
            marker={"symbol": MARK.symbol, "size": 12, "color": MARK.color}, showlegend=False, hoverinfo="skip",
            textfont={"color": grey.ink}, cliponaxis=False,
        )  # fmt: skip
    shown = [[True, *(i == at for i in range(len(PAUSES_S)))] for at in range(len(PAUSES_S))]
    steps = [
        {"label": f"{pause_s * 1e3:.0f}", "method": "update", "args": [{"visible": shown[at]}]}
        for at, pause_s in enumerate(PAUSES_S)
    ]
    figure.update_layout(
        template=style.template(theme), height=430, margin={"l": 70, "r": 40, "b": 130, "t": 84},
        sliders=[{"steps": steps, "currentvalue": {"prefix": "advised pause (ms): "}, "pad": {"t": 54}}],
        legend={"x": 1, "xanchor": "right", "y": 0.98},
        title=style.heading(
            f"Peace costs latency: {style.ms(means[0])} at {style.number(asked[0])} requests/s, "
            f"{style.ms(means[-1])} at {style.number(asked[-1])}",
            f"theory: long polling with the gap 2d + pause; {rate_per_s:g} events/s, d = {style.ms(one_way_s * 1e3)}",
        ),
    )  # fmt: skip
    figure.update_xaxes(title_text="requests of one client (1/s)", range=[0, max(asked) * 1.55])
    figure.update_yaxes(title_text="mean latency (ms)", range=[0, max(means) * 1.1])
    return finished(figure)
