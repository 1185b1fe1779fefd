"""A chart on the page's ground: its colours stand out on white and, turned over, on a dark page; what brings the sheet.

What a browser makes of it is looked at in ``tests/jupyter`` (``looks.py``).
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import labkit
from labkit import charts
from labkit.charts import ground, layout, style
from labkit.measuring.natures import Natures
from labkit.techniques.exhibits import EXHIBITS
from labkit.webpage.settings import COMM_NATURE

OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
TURNS = {float(share) for share in re.findall(r"filter: invert\(([\d.]+)\) hue-rotate\(180deg\);", ground.SHEET)}
HUE_ROTATE_180 = ((-0.574, 1.430, 0.144), (0.426, 0.430, 0.144), (0.426, 1.430, -0.856))  # Filter Effects 1
STRANGERS = [f"carrier-pigeon {number}" for number in range(5)]
Rgb = tuple[float, ...]


def rgb(color: str) -> Rgb:
    return tuple(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))


def turned_over(color: Rgb) -> Rgb:
    """What the sheet's filter makes of a colour (Filter Effects Module Level 1, in sRGB)."""
    (share,) = TURNS
    inverted = [share - (2 * share - 1) * part for part in color]
    rotated = (sum(a * b for a, b in zip(row, inverted, strict=True)) for row in HUE_ROTATE_180)
    return tuple(min(1.0, max(0.0, part)) for part in rotated)


def contrast(one: Rgb, other: Rgb) -> float:
    """WCAG 2.2: from 1 to 21."""

    def light(color: Rgb) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def on_both(color: str, under: str) -> float:
    """The lesser contrast of the two themes."""
    a, b = rgb(color), rgb(under)
    return min(contrast(a, b), contrast(turned_over(a), turned_over(b)))


def marks() -> dict[str, str]:
    """Every colour that a technique is drawn in."""
    strange = Natures({"techniques": STRANGERS})
    return {
        **{t.name: t.mark.color for t in (*labkit.TECHNIQUES, *EXHIBITS)},
        **{name: strange.mark(name).color for name in STRANGERS},
        "notebook-comm": COMM_NATURE.mark.color,
        **{color: color for color in style.COLORWAY},
    }


def test_turned_over_white_is_the_dark_ground_of_jupyterlab() -> None:
    assert [round(255 * part) for part in turned_over(rgb(style.GREY.paper))] == [0x11] * 3


@pytest.mark.parametrize("name", marks())
def test_every_technique_stands_out_in_either_theme(name: str) -> None:
    assert on_both(marks()[name], style.GREY.paper) >= 3


@pytest.mark.parametrize(("grey", "least"), [("ink", 4.5), ("muted", 4.5), ("rule", 3)])
def test_text_and_lines_stand_out_in_either_theme(grey: str, least: float) -> None:
    assert on_both(getattr(style.GREY, grey), style.GREY.paper) >= least


@pytest.mark.parametrize("category", style.CATEGORY_COLORS)
def test_what_stands_in_a_bar_can_be_read_in_either_theme(category: str) -> None:
    text = "#FFFFFF" if category == "payload" else "#1B1B1B"
    assert on_both(text, style.CATEGORY_COLORS[category]) >= 4.5
    assert style.filled(category)["line"]["color"] == style.GREY.ink


def test_the_hues_are_those_of_okabe_and_ito() -> None:
    theirs = [colorsys.rgb_to_hls(*rgb(color))[0] for color in OKABE_ITO]
    for technique in labkit.TECHNIQUES:
        hue = colorsys.rgb_to_hls(*rgb(technique.mark.color))[0]
        assert min(abs(hue - other) for other in theirs) < 0.04, technique.name


def test_no_chart_has_a_share_button() -> None:
    figure = layout.dressed(layout.blank(), "nothing", height=300, margin=(0, 0, 0, 0))
    assert "sendChartToCloud" in figure.layout.template.layout.modebar.remove


class Shell:
    """What IPython shows a chart in."""

    def __init__(self) -> None:
        self.execution_count = 1
        self.kernel = object()
        self.shown: list[dict[str, str]] = []


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    import IPython.display

    shell = Shell()
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    monkeypatch.setattr(IPython.display, "display", lambda data, raw: shell.shown.append(data))
    monkeypatch.setattr(ground, "_brought_in", -1)
    yield shell


def drawn() -> Any:
    return layout.dressed(layout.blank(), "nothing", height=300, margin=(0, 0, 0, 0))


def test_each_cell_with_a_chart_brings_the_sheet_once(shell: Shell) -> None:
    drawn(), drawn()
    assert shell.shown == [{"text/html": f"<style>{ground.SHEET}</style>", "text/plain": ""}]
    shell.execution_count += 1  # the first cell may be run again, or its output cleared
    drawn()
    assert len(shell.shown) == 2


def test_no_other_shell_and_no_other_thread_gets_a_sheet(shell: Shell) -> None:
    import threading

    drawing = threading.Thread(target=drawn)
    drawing.start()
    drawing.join()
    del shell.kernel  # a terminal
    drawn()
    assert shell.shown == []


def test_a_figure_itself_is_light_wherever_there_is_no_such_page() -> None:
    figure = charts.predictions([("P1", "you", 1.2)])
    assert figure.layout.template.layout.paper_bgcolor == "#FFFFFF"


def test_a_page_in_a_frame_follows_the_theme_by_the_sheet_that_comes_with_it(shell: Shell) -> None:
    ground.frame("http://127.0.0.1:1/?a=1&b=2", 90)
    (shown,) = shell.shown
    assert shown["text/html"].startswith(f"<style>{ground.SHEET}</style><iframe ")
    (name,) = re.findall(r'<iframe class="([^"]+)" src="http://127.0.0.1:1/\?a=1&amp;b=2"', shown["text/html"])
    assert f'[data-jp-theme-light="false"] .{name} {{ filter' in ground.SHEET


def test_no_page_of_the_kit_is_framed_without_it() -> None:
    package = Path(labkit.__file__).parent
    found = [path.name for path in package.rglob("*.py") if re.search(r"IFrame|<iframe", path.read_text("utf-8"))]
    assert found == ["ground.py"]
