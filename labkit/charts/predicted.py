"""Predictions against measurements: for each claim, by what factor people missed it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from labkit.charts import style
from labkit.charts.pictures import finished
from labkit.claims.verdicts import Book
from labkit.theory import Mark

HIT = Mark("#0072B2", "circle", "solid")
REACH = 100.0
NOTHING = (
    "No prediction can be compared with a measurement yet",
    "a notebook's cells with labkit.predict(...) keep what you predict, and its verdicts what was measured",
)


def predictions(ratios: Sequence[tuple[str, str, float]]) -> go.Figure:
    """Each prediction over what was then measured, on a logarithmic axis, one row for each claim.

    Args:
        ratios: (claim, who, prediction over measurement); what is beyond a factor of 100 is drawn at 100.
    """
    grey = style.GREY
    if not ratios:
        return _nothing_yet()
    order = sorted({claim for claim, _, _ in ratios}, key=lambda claim: _median_factor(ratios, claim))
    figure = go.Figure()
    figure.add_scatter(
        x=[min(REACH, max(1 / REACH, ratio)) for _, _, ratio in ratios], y=[claim for claim, _, _ in ratios],
        mode="markers", customdata=[[who, ratio] for _, who, ratio in ratios], showlegend=False,
        marker={"symbol": HIT.symbol, "size": 9, "color": style.rgba(HIT.color, 0.55),
                "line": {"width": 1, "color": HIT.color}},
        hovertemplate="%{customdata[0]}: %{customdata[1]:.3~g} times what was measured<extra>%{y}</extra>",
    )  # fmt: skip
    figure.add_vrect(x0=0.5, x1=2, fillcolor=grey.rule, opacity=0.18, line_width=0, layer="below")
    figure.add_vline(x=1, line={"color": grey.ink, "width": 1, "dash": "dot"})
    ticks = [0.01, 0.1, 0.5, 1, 2, 10, 100]
    figure.update_xaxes(
        type="log", range=[-2.1, 2.1], tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks],
        title_text="predicted / measured (times)",
    )  # fmt: skip
    figure.update_yaxes(categoryorder="array", categoryarray=order, title_text="claim")
    figure.update_layout(
        template=style.template(), height=max(240, 150 + 24 * len(order)), margin={"l": 70, "b": 64, "t": 84},
        title=style.heading(_title(ratios), "logarithmic scale; shaded: within a factor of two"),
    )  # fmt: skip
    return finished(figure)


def _median_factor(ratios: Sequence[tuple[str, str, float]], claim: str) -> float:
    factors = sorted(abs(math.log(ratio)) for id, _, ratio in ratios if id == claim)
    return factors[len(factors) // 2]


def _nothing_yet() -> go.Figure:
    """What to do to see something here; no axes."""
    figure = go.Figure()
    figure.add_annotation(
        text="Type a number in place of the dots of a notebook's predict cell,<br>run on to its check, and come back.",
        x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font={"size": 14},
    )  # fmt: skip
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    title = style.heading("No prediction of yours can be compared with a measurement yet", "")
    figure.update_layout(template=style.template(), height=240, title=title)
    return finished(figure)


def _title(ratios: Sequence[tuple[str, str, float]]) -> str:
    near = sum(0.5 <= ratio <= 2 for _, _, ratio in ratios)
    worst = max({id for id, _, _ in ratios}, key=lambda id: _median_factor(ratios, id))
    return f"{near} of {len(ratios)} predictions within a factor of two; the furthest off: {worst}"


def book(book: Book) -> go.Figure:
    """By what factor each prediction of the book missed what was then measured.

    Args:
        book: the claims and what came of them, :func:`labkit.claims.verdicts.book`.
    """
    return predictions([(entry.id, "you", entry.ratio) for entry in book if entry.ratio])
