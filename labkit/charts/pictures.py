"""Figures as files, and as static pictures inside a saved notebook. Both need kaleido and a Chromium."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio
from plotly.io.base_renderers import MimetypeRenderer

from labkit.charts import ground
from labkit.errors import LabkitError
from labkit.painter import PAINTER

WIDTH, HEIGHT = 900, 450
FORMATS = ("png", "svg", "pdf")
GET_KALEIDO = 'Pictures need kaleido: pip install "kaleido>=1".'
GET_CHROMIUM = (
    "Pictures need a Chromium or Chrome, and none was found or it did not start. Install one with "
    "'apt-get install chromium' or your system's way, or run plotly_get_chrome; set BROWSER_PATH if it is elsewhere."
)
STATIC = "labkit"
"""The name of the kit's own pictures among plotly's renderers."""
_looked = False


def write(
    figure: go.Figure, path: str | Path, *, width: int = WIDTH, height: int | None = None, scale: float = 2.0
) -> Path:
    """Write a figure as PNG, SVG or PDF, by the name's ending.

    Args:
        width, height: in layout pixels; the height is the figure's own by default, else 450.
        scale: picture pixels for one layout pixel (PNG).

    Returns:
        The path.

    Raises:
        LabkitError: another ending; kaleido or a Chromium is missing (the message says how to get it).
    """
    path = Path(path)
    kind = path.suffix.lstrip(".").lower()
    if kind not in FORMATS:
        raise LabkitError(f"cannot write {path.name!r}: end its name in .{', .'.join(FORMATS)}")
    if importlib.util.find_spec("kaleido") is None:
        raise LabkitError(GET_KALEIDO)
    if find_chromium() is None:
        raise LabkitError(GET_CHROMIUM)
    from kaleido.errors import BrowserClosedError, BrowserFailedError, ChromeNotFoundError

    try:
        data = figure.to_image(kind, width=width, height=height or figure.layout.height or HEIGHT, scale=scale)
    except (BrowserClosedError, BrowserFailedError, ChromeNotFoundError, RuntimeError) as error:
        raise LabkitError(f"{GET_CHROMIUM} ({error})") from error
    path.write_bytes(data)
    return path


def find_chromium() -> str | None:
    """The path of the browser that kaleido would start; None without one, or without kaleido."""
    _hush_goodbye()
    try:
        from choreographer.browsers.chromium import Chromium

        path = Chromium.find_browser(skip_local=False)
    except (ImportError, AttributeError, OSError):
        return None
    return path if path and Path(path).is_file() else None


class _Goodbye(logging.Filter):
    """What choreographer logs of its browser's end, and no reader of a picture can do anything about.

    The browser's last word is no JSON: read behind a message, it is logged as an error. One that takes more than 3 s to
    end, as on a busy machine, is ended by a signal: logged as a warning.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        last_word = getattr(getattr(error, "__cause__", None), "doc", "").strip()
        return last_word != "{bye}" and record.msg != "Resorting to unclean kill browser."


_goodbye = _Goodbye()


def _hush_goodbye() -> None:
    with contextlib.suppress(ImportError):
        from choreographer import browser_async  # both make their loggers, which are of a kind of their own
        from choreographer.channels import pipe

        for module in (pipe, browser_async):
            logging.getLogger(module.__name__).addFilter(_goodbye)


class Pictures(MimetypeRenderer):  # type: ignore[misc]  # plotly comes without types
    """A PNG of each figure, by one browser; where that fails the figure is shown without."""

    def __init__(self, width: int, height: int) -> None:
        self._size = width, height

    def to_mimebundle(self, fig_dict: Mapping[str, Any]) -> dict[str, str]:
        layout = fig_dict.get("layout", {})
        width, height = (layout.get(name) or least for name, least in zip(("width", "height"), self._size, strict=True))
        try:
            painted = PAINTER.png(fig_dict, width, height)
        except Exception:  # the chart itself is there all the same
            return {}
        return {"image/png": base64.b64encode(painted).decode("ascii")}


def use_static_fallback() -> None:
    """In a notebook, store a PNG beside each figure where that is possible, so that GitHub shows it too.

    Done once, at the first chart. Only plotly's own choice (``plotly_mimetype``) is changed: a renderer that was
    set by hand or by ``PLOTLY_RENDERER`` stays, and so does one that is set later. Without kaleido or a Chromium
    nothing is changed, since every figure would fail to show.
    """
    global _looked
    if _looked:
        return
    _looked = True
    if "PLOTLY_RENDERER" in os.environ or pio.renderers.default != "plotly_mimetype":
        return
    if importlib.util.find_spec("kaleido") is not None and find_chromium() is not None:
        pio.renderers[STATIC] = Pictures(WIDTH, HEIGHT)
        pio.renderers.default = f"plotly_mimetype+{STATIC}"


def finished(figure: go.Figure) -> go.Figure:
    """The figure, ready to be shown."""
    use_static_fallback()
    ground.bring()
    return figure
