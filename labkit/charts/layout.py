"""What figures share around what they draw: panels side by side, the legend below, heading, theory's line.

plotly is loaded where a figure is made, not before: an experiment's module may import this one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from labkit import theory
from labkit.charts import style
from labkit.theory import Mark

if TYPE_CHECKING:
    import plotly.graph_objects as go

LEGEND = {"orientation": "h", "x": 0, "yref": "container", "y": 0.012, "yanchor": "bottom"}
"""Below the figure, at the left."""
POINTS = 100
"""Of so many events of a strip each is drawn; of more only some."""


def blank() -> go.Figure:
    """A figure without anything."""
    import plotly.graph_objects as go

    return go.Figure()


def panels(*titles: str, rows: int = 1, **options: Any) -> go.Figure:
    """Panels side by side, or one below the other, each with its title; *options* are those of ``make_subplots``."""
    from plotly.subplots import make_subplots

    figure = make_subplots(rows, len(titles) // rows, subplot_titles=titles, **options)
    figure.update_annotations(font_size=13)
    return figure


INSET = 10
"""Pixels from either end of plotly's slider to its first and last step."""


def slider(
    labels: list[str], fixed: int, prefix: str, pad: int, active: int = 0, under: tuple[float, float] | None = None
) -> list[dict[str, Any]]:
    """A slider over the last traces, one for each label: it shows one of them, beside the *fixed* that come first.

    Args:
        prefix: what stands before the label that is chosen.
        pad: room above it, for the axis and its title.
        under: where its first and its last step stand along the x axis above it, from 0 to 1, if they are places there.
    """
    shown = [[True] * fixed + [i == at for i in range(len(labels))] for at in range(len(labels))]
    steps = [
        {"label": label, "method": "update", "args": [{"visible": visible}]}
        for label, visible in zip(labels, shown, strict=True)
    ]
    placed: dict[str, Any] = {"steps": steps, "active": active, "currentvalue": {"prefix": prefix}, "pad": {"t": pad}}
    if under is not None:
        first, last = under
        placed |= {"x": first, "len": last - first, "pad": {"t": pad, "l": -INSET, "r": -INSET}}
    return [placed]


def dressed(
    figure: go.Figure,
    title: str,
    note: str = "",
    *,
    height: int,
    margin: tuple[int, int, int, int],
    **layout: Any,
) -> go.Figure:
    """The figure in the kit's template, with its heading and the legend below it, ready to be shown.

    Args:
        margin: left, right, top, bottom.
        layout: what else the figure's layout has, or has otherwise.
    """
    from labkit.charts.pictures import finished

    left, right, top, bottom = margin
    dress = {"template": style.template(), "title": style.heading(title, note), "legend": LEGEND, "height": height}
    figure.update_layout({**dress, "margin": {"l": left, "r": right, "t": top, "b": bottom}, **layout})
    return finished(figure)


def name_rows(figure: go.Figure, names: Sequence[str], *, room: tuple[float, float] = (0.5, 0.5), **axis: Any) -> None:
    """Name the places 0, 1, 2, ... of the y axis, the first at the top.

    Args:
        room: above the first and below the last.
    """
    above, below = room
    figure.update_yaxes(
        tickvals=list(range(len(names))), ticktext=list(names), range=[len(names) - 1 + below, -above],
        **{"showgrid": False, **axis},
    )  # fmt: skip


def theory_line(width: float = 1) -> dict[str, Any]:
    """How theory is drawn in every chart: a thin dashed line of ink."""
    return {"color": style.GREY.ink, "width": width, "dash": "3px,3px"}


def add_theory(figure: go.Figure, x: Iterable[Any], y: Iterable[Any], *, width: float = 1, **trace: Any) -> None:
    """Draw what theory expects; *trace* is what else its line is told (name, panel)."""
    given = {"name": "theory", "legendgroup": "theory", "mode": "lines", "hoverinfo": "skip", **trace}
    figure.add_scatter(x=list(x), y=list(y), line=theory_line(width), **given)


def add_strip(
    figure: go.Figure,
    row: int,
    found_ms: Iterable[Any],
    expected: theory.Expectation,
    mark: Mark,
    *,
    dot: dict[str, Any],
    mean: str = "mean, theory",
) -> float:
    """Latencies as a strip of dots, in one row of several: theory's range behind them, and the means of both.

    Args:
        dot: size of the dots.
        mean: what theory's mean is called.

    Returns:
        The mean that was measured, in ms; NaN where nothing was.
    """
    found, ink = list(found_ms), style.GREY.ink
    figure.add_shape(
        type="rect", x0=expected.min_s * 1e3, x1=expected.max_s * 1e3, y0=row - 0.3, y1=row + 0.3,
        fillcolor=style.rgba(mark.color, 0.12), line_width=0, layer="below",
    )  # fmt: skip
    shown = found[:: max(1, len(found) // POINTS)]
    figure.add_scatter(
        x=[round(value, 1) for value in shown], y=[row + 0.44 * ((i * 0.618) % 1 - 0.5) for i in range(len(shown))],
        mode="markers", marker={"symbol": mark.symbol, "color": mark.color, **dot}, name="one event",
        legendgroup="event", showlegend=row == 0, hovertemplate="%{x:.0f} ms<extra></extra>",
    )  # fmt: skip
    measured = fmean(found) if found else math.nan
    for name, value, symbol, size in (
        ("mean, measured", measured, "line-ns-open", 26),
        (mean, expected.mean_s * 1e3, "diamond-open", 11),
    ):
        figure.add_scatter(
            x=[value], y=[row], mode="markers", name=name, legendgroup=name, showlegend=row == 0,
            marker={"symbol": symbol, "size": size, "color": ink, "line": {"width": 2, "color": ink}},
            hovertemplate="%{x:.0f} ms " + name + "<extra></extra>",
        )  # fmt: skip
    return measured
