"""What a server's advice to pause costs a client of Bayeux: theory alone, with a slider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit import theory
from labkit.charts import layout, style
from labkit.course.asking import at_rate
from labkit.techniques.exhibits import BAYEUX
from labkit.theory.path import HOLD_S

if TYPE_CHECKING:
    import plotly.graph_objects as go

PAUSES_S = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


def advised_pause(one_way_s: float, rate_per_s: float) -> go.Figure:
    """Mean latency and requests a second over the advised pause; the slider moves the mark along both.

    Args:
        one_way_s: one network transit, seconds.
        rate_per_s: events a second, Poisson.
    """
    gap_s = theory.request_gap(one_way_s)

    def at(pause_s: float) -> tuple[float, float]:
        mean_s = at_rate(BAYEUX, rate_per_s, one_way_s, advised_interval_s=pause_s).mean_s
        return theory.long_polling_requests_per_s(rate_per_s, one_way_s, HOLD_S, gap_s + pause_s), mean_s * 1e3

    figure, curve = layout.blank(), [at(n / 50) for n in range(51)]
    layout.add_theory(figure, *zip(*curve, strict=True), name="theory: every pause from 0 to 1 s")
    asked, means = zip(*map(at, PAUSES_S), strict=True)
    for number, pause_s in enumerate(PAUSES_S):
        said = f"pause {pause_s * 1e3:.0f} ms: {style.ms(means[number])}, {style.number(asked[number])} requests/s"
        side = "bottom left" if asked[number] > max(asked) / 2 else "top right"  # the curve falls
        figure.add_scatter(
            x=[asked[number]], y=[means[number]], mode="markers+text", text=[said], textposition=side,
            visible=number == 0, marker={"symbol": "square", "size": 12, "color": "#B58A00"}, showlegend=False,
            hoverinfo="skip", textfont={"color": style.GREY.ink}, cliponaxis=False,
        )  # fmt: skip
    figure.update_xaxes(title_text="requests of one client (1/s)", range=[0, max(asked) * 1.08])
    figure.update_yaxes(title_text="mean latency (ms)", range=[0, max(means) * 1.1])
    return layout.dressed(
        figure,
        f"Peace costs latency: {style.ms(means[0])} at {style.number(asked[0])} requests/s, "
        f"{style.ms(means[-1])} at {style.number(asked[-1])}",
        f"theory: long polling with the gap 2d + pause; {rate_per_s:g} events/s, d = {style.ms(one_way_s * 1e3)}",
        height=430, margin=(70, 40, 84, 130), legend={"x": 1, "xanchor": "right", "y": 0.98},
        sliders=layout.slider([f"{p * 1e3:.0f}" for p in PAUSES_S], fixed=1, prefix="advised pause (ms): ", pad=54),
    )  # fmt: skip
