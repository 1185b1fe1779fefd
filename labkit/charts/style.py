"""How every figure of the kit looks: colours, ink and numbers, shared by charts and panel.

The hues are those of Okabe and Ito (2008), which people with any common colour blindness tell apart; of lightness,
what stands out from white by 3 : 1 and, turned over by ``ground.css``, from a dark page by as much. Nothing
is said by colour alone: each technique keeps its colour, marker and dash in every chart (its ``Mark``, which a run
tells: :class:`labkit.measuring.natures.Natures`). Text is ink, never coloured.

Pure: plotly is imported where a template is built, not before.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

FONT = "Inter, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', 'Noto Sans', sans-serif"
TITLE_LINE = 96  # characters of a title that fit on one line of 900 px


COLORWAY = ("#B84300", "#B58A00", "#007A55", "#3C96DC", "#00487F", "#CB6FAC", "#858585")

CATEGORY_COLORS = {
    "payload": "#0072B2",
    "envelope": "#7CC6F0",
    "framing": "#F0E442",
    "headers": "#F3B64A",
    "tls": "#E39BC6",
    "tcp_ip": "#C8C8C8",
}
"""Of bars: their outline is ink, and tells them from the ground."""
CATEGORY_TITLES = {
    "payload": "payload",
    "envelope": "envelope",
    "framing": "framing",
    "headers": "HTTP headers",
    "tls": "TLS",
    "tcp_ip": "TCP/IP headers (derived)",
}


@dataclass(frozen=True, slots=True)
class Greys:
    """What is neither technique nor category: ground, text, lines."""

    paper: str
    ink: str
    muted: str
    rule: str
    grid: str


GREY = Greys("#FFFFFF", "#1B1B1B", "#5F5F5F", "#8C8C8C", "#E9E9E9")


def filled(category: str) -> dict[str, Any]:
    """How a bar of a category is filled and outlined: plotly's ``marker``."""
    return {"color": CATEGORY_COLORS[category], "line": {"color": GREY.ink, "width": 0.7}}


def rgba(color: str, alpha: float) -> str:
    """A ``#RRGGBB`` colour with an opacity."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def template() -> Any:
    """The plotly template of the kit: no boxes, pale grid, ink text, title at the left."""
    import plotly.graph_objects as go

    grey = GREY
    axis = {
        "gridcolor": grey.grid,
        "linecolor": grey.rule,
        "tickcolor": grey.rule,
        "tickfont": {"size": 12, "color": grey.ink},
        "title": {"font": {"size": 12, "color": grey.muted}, "standoff": 6},
        "tickformat": ",.6~g",
        "zeroline": False,
    }
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 12, "color": grey.ink},
            "separators": ".\u202f",
            "paper_bgcolor": grey.paper,
            "plot_bgcolor": grey.paper,
            "colorway": list(COLORWAY),
            "title": {
                "x": 0,
                "xref": "container",
                "xanchor": "left",
                "y": 1,
                "yref": "container",
                "yanchor": "top",
                "pad": {"l": 18, "t": 16},
                "font": {"size": 16, "color": grey.ink},
                "subtitle": {"font": {"size": 12, "color": grey.muted}},
            },
            "xaxis": axis,
            "yaxis": axis,
            "legend": {"bgcolor": "rgba(0,0,0,0)", "font": {"size": 12, "color": grey.muted}, "tracegroupgap": 0},
            "hoverlabel": {"font": {"family": FONT, "size": 12}, "align": "left"},
            "margin": {"l": 120, "r": 30, "t": 70, "b": 60},
            "modebar": {"remove": ["sendChartToCloud"]},  # plotly's "Share chart" would upload what was measured
        }
    )


def heading(title: str, note: str = "") -> dict[str, Any]:
    """plotly's ``layout.title``: broken where it would leave the figure, a smaller line of explanation under it."""
    text = "<br>".join(textwrap.wrap(title[:1].upper() + title[1:], TITLE_LINE, break_on_hyphens=False))
    return {"text": text, "subtitle": {"text": note}}


def number(value: float) -> str:
    """A number as precise as a reader needs: 0.83, 4.1, 541, 12 300."""
    if not math.isfinite(value):
        return "?"
    if abs(value) >= 10 or value == 0:
        return f"{value:,.0f}".replace(",", "\u202f")
    return (f"{value:.1f}" if abs(value) >= 0.995 else f"{value:.2g}").removesuffix(".0")


def ms(value: float) -> str:
    """Milliseconds with their unit, no line break between."""
    return f"{number(value)}\u00a0ms"


def extent_ms(low: float, high: float) -> str:
    """``52 to 70 ms``, and ``52 ms`` where both read the same."""
    return ms(high) if number(low) == number(high) else f"{number(low)} to {ms(high)}"


def joined(names: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    items = list(names)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """At most so many tick values for a logarithmic axis: 1, 2, 5 times powers of ten, or fewer of them."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1, 2, 5), (1, 5), (1,)):
        ticks = [s * 10.0**p for p in powers for s in steps if low * 0.999 <= s * 10.0**p <= high * 1.001]
        if len(ticks) <= most:
            break
    return ticks


def seconds(value_s: float) -> str:
    """A span of time in the unit that suits it: 820 ms, 3.6 s."""
    return ms(value_s * 1e3) if value_s < 1 else f"{number(value_s)}\u00a0s"
