"""labkit: a Jupyter-native lab kit for server push.

Start a lab, publish events, receive them through every technique over real sockets, and see who waited how long and
what it cost::

    import labkit

    lab = labkit.Lab()
    run = labkit.measure(lab, schedule=labkit.poisson(rate_per_s=5, duration_s=8), one_way_s=0.05)
    labkit.charts.latency(run)

Importing it starts nothing, patches nothing, and loads neither tornado nor pandas nor plotly until they are needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit import charts, checks, claims, confidence, errors, exhibits, models
    from labkit.browser import BrowserSubscriber
    from labkit.choosing import choose
    from labkit.claims import predict
    from labkit.classroom import compare, student, submit
    from labkit.exercises import answer
    from labkit.intermediary import Intermediary
    from labkit.lab import Lab
    from labkit.link import Link
    from labkit.loop import run
    from labkit.measurement import last_run, measure
    from labkit.nested import allow_nested_asyncio
    from labkit.panel import Panel
    from labkit.runs import Run, load
    from labkit.schedules import Schedule, burst, jobs, machine, periodic, poisson, trace
    from labkit.teaching import source
    from labkit.techniques import TECHNIQUES

__version__ = "0.1.0"

_HOMES = {
    "BrowserSubscriber": "browser",
    "Intermediary": "intermediary",
    "Lab": "lab",
    "Link": "link",
    "Panel": "panel",
    "Run": "runs",
    "Schedule": "schedules",
    "TECHNIQUES": "techniques",
    "allow_nested_asyncio": "nested",
    "answer": "exercises",
    "burst": "schedules",
    "choose": "choosing",
    "compare": "classroom",
    "jobs": "schedules",
    "last_run": "measurement",
    "load": "runs",
    "machine": "schedules",
    "measure": "measurement",
    "periodic": "schedules",
    "poisson": "schedules",
    "predict": "claims",
    "run": "loop",
    "source": "teaching",
    "student": "classroom",
    "submit": "classroom",
    "trace": "schedules",
}
_MODULES = ("charts", "checks", "claims", "confidence", "errors", "exhibits", "models")

__all__ = [
    "TECHNIQUES",
    "BrowserSubscriber",
    "Intermediary",
    "Lab",
    "Link",
    "Panel",
    "Run",
    "Schedule",
    "allow_nested_asyncio",
    "answer",
    "burst",
    "charts",
    "checks",
    "choose",
    "claims",
    "compare",
    "confidence",
    "errors",
    "exhibits",
    "jobs",
    "last_run",
    "load",
    "machine",
    "measure",
    "models",
    "periodic",
    "poisson",
    "predict",
    "run",
    "source",
    "student",
    "submit",
    "trace",
]


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is asked for."""
    if name in _MODULES:
        return importlib.import_module(f"labkit.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(f"labkit.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'labkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
