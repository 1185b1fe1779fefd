"""Records in, plotly figures out: latency, latency along time, bytes per event, the conversation.

Every chart that has a theory (``labkit.theory``) draws it beside the measurement. Titles say what is seen and are
computed from the run. Statistics use every scheduled delivery; of many thousands only some are drawn, and the
chart then says how many. On a page of JupyterLab charts follow its light or dark theme by themselves; pictures and
print are light.

Latency axes are logarithmic where the slowest delivery took more than five times as long as the fastest: on a
linear axis wide enough for a poll interval of 1 s, streams at 50 ms and at 60 ms are the same pixel.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.charts.costs import overhead
    from labkit.charts.distribution import latency
    from labkit.charts.lifelines import sequence
    from labkit.charts.over_time import timeline
    from labkit.charts.pictures import use_static_fallback, write
    from labkit.charts.predicted import book, predictions

__all__ = [
    "book",
    "latency",
    "overhead",
    "predictions",
    "sequence",
    "timeline",
    "use_static_fallback",
    "write",
]

_HOMES = {
    "book": "predicted",
    "latency": "distribution",
    "overhead": "costs",
    "predictions": "predicted",
    "sequence": "lifelines",
    "timeline": "over_time",
    "use_static_fallback": "pictures",
    "write": "pictures",
}


def __getattr__(name: str) -> Any:
    """Load a chart, and plotly with it, when it is asked for."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"labkit.charts.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
