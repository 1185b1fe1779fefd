"""What figures share around what they draw: panels side by side, the legend below, heading, theory's line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from labkit.charts import style
from labkit.charts.pictures import finished

LEGEND = {"orientation": "h", "x": 0, "yref": "container", "y": 0.012, "yanchor": "bottom"}
"""Below the figure, at the left."""


def panels(*titles: str, rows: int = 1, **options: Any) -> go.Figure:
    """Panels side by side, or one below the other, each with its title; *options* are those of ``make_subplots``."""
    figure = make_subplots(rows, len(titles) // rows, subplot_titles=titles, **options)
    figure.update_annotations(font_size=13)
    return figure


def slider(labels: Sequence[str], fixed: int, prefix: str, pad: int, active: int = 0) -> list[dict[str, Any]]:
    """A slider over the last traces, one for each label: it shows one of them, beside the *fixed* that come first.

    Args:
        prefix: what stands before the label that is chosen.
        pad: room above it, for the axis and its title.
    """
    shown = [[True] * fixed + [i == at for i in range(len(labels))] for at in range(len(labels))]
    steps = [
        {"label": label, "method": "update", "args": [{"visible": visible}]}
        for label, visible in zip(labels, shown, strict=True)
    ]
    return [{"steps": steps, "active": active, "currentvalue": {"prefix": prefix}, "pad": {"t": pad}}]


def dressed(
    figure: go.Figure,
    title: str,
    note: str = "",
    *,
    theme: str | None,
    height: int,
    margin: tuple[int, int, int, int],
    **layout: Any,
) -> go.Figure:
    """The figure in the kit's template, with its heading and the legend below it, ready to be shown.

    Args:
        margin: left, right, top, bottom.
        layout: what else the figure's layout has, or has otherwise.
    """
    left, right, top, bottom = margin
    dress = {"template": style.template(theme), "title": style.heading(title, note), "legend": LEGEND, "height": height}
    figure.update_layout({**dress, "margin": {"l": left, "r": right, "t": top, "b": bottom}, **layout})
    return finished(figure)


def theory_line(theme: str | None, width: float = 1) -> dict[str, Any]:
    """How theory is drawn in every chart: a thin dashed line of ink."""
    return {"color": style.theme(theme).ink, "width": width, "dash": "3px,3px"}


def add_theory(
    figure: go.Figure, x: Iterable[Any], y: Iterable[Any], *, theme: str | None, width: float = 1, **trace: Any
) -> None:
    """Draw what theory expects; *trace* is what else its line is told (name, panel)."""
    given = {"name": "theory", "legendgroup": "theory", "mode": "lines", "hoverinfo": "skip", **trace}
    figure.add_scatter(x=list(x), y=list(y), line=theory_line(theme, width), **given)
