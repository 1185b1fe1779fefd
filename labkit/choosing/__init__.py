"""Choosing a technique from what is needed: the ranking, where its answer changes, and a record of the decision.

``labkit.choose(rate_per_s=1, staleness_s=2)`` compares interval polling, long polling, HTTP streaming, SSE and
WebSocket. Latencies and requests come from ``labkit.theory``, bytes and the server's work from figures that were
measured with this kit (``figures.py``), or from a run of one's own.
"""

from __future__ import annotations

from labkit.choosing.choice import Choice, choose
from labkit.choosing.figures import MEASURED, PROVENANCE, Figures, Range
from labkit.choosing.flips import Flip
from labkit.choosing.formulas import NOTEBOOKS
from labkit.choosing.map import decision_map
from labkit.choosing.needs import Needs
from labkit.choosing.options import Option, evaluate

__all__ = [
    "MEASURED",
    "NOTEBOOKS",
    "PROVENANCE",
    "Choice",
    "Figures",
    "Flip",
    "Needs",
    "Option",
    "Range",
    "choose",
    "decision_map",
    "evaluate",
]
