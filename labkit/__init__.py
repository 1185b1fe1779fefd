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
    from labkit import charts, claims, course, errors, theory
    from labkit.choosing import choose
    from labkit.claims import verdicts
    from labkit.course.answers import answer, ask
    from labkit.course.claims import check, predict
    from labkit.course.classroom import compare, submit
    from labkit.course.students import student
    from labkit.course.where_the_server_lives.nested_asyncio import allow_nested_asyncio
    from labkit.lab.lab import Lab
    from labkit.loop import run
    from labkit.measuring.measurement import last_run, measure
    from labkit.measuring.run import Run, load
    from labkit.measuring.schedules import Schedule, burst, jobs, machine, periodic, poisson, trace
    from labkit.network.intermediary import Intermediary
    from labkit.network.link import Link
    from labkit.network.real_intermediary import real_intermediary
    from labkit.room.panel import Panel
    from labkit.strangers.probe.probing import probe
    from labkit.strangers.tap.tap import tap
    from labkit.subscribing.contract import contract
    from labkit.techniques import TECHNIQUES
    from labkit.techniques.source import source
    from labkit.webpage.browser import BrowserSubscriber

__version__ = "0.1.0"

_HOMES = {
    "BrowserSubscriber": "webpage.browser",
    "Intermediary": "network.intermediary",
    "Lab": "lab.lab",
    "Link": "network.link",
    "Panel": "room.panel",
    "Run": "measuring.run",
    "Schedule": "measuring.schedules",
    "TECHNIQUES": "techniques",
    "allow_nested_asyncio": "course.where_the_server_lives.nested_asyncio",
    "answer": "course.answers",
    "ask": "course.answers",
    "burst": "measuring.schedules",
    "check": "course.claims",
    "choose": "choosing",
    "compare": "course.classroom",
    "contract": "subscribing.contract",
    "jobs": "measuring.schedules",
    "last_run": "measuring.measurement",
    "load": "measuring.run",
    "machine": "measuring.schedules",
    "measure": "measuring.measurement",
    "periodic": "measuring.schedules",
    "poisson": "measuring.schedules",
    "predict": "course.claims",
    "probe": "strangers.probe.probing",
    "real_intermediary": "network.real_intermediary",
    "run": "loop",
    "source": "techniques.source",
    "student": "course.students",
    "submit": "course.classroom",
    "tap": "strangers.tap.tap",
    "trace": "measuring.schedules",
}
_MODULES = {
    "charts": "charts",
    "claims": "claims",
    "course": "course",
    "errors": "errors",
    "theory": "theory",
    "verdicts": "claims.verdicts",
}

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
    "ask",
    "burst",
    "charts",
    "check",
    "choose",
    "claims",
    "compare",
    "contract",
    "course",
    "errors",
    "jobs",
    "last_run",
    "load",
    "machine",
    "measure",
    "periodic",
    "poisson",
    "predict",
    "probe",
    "real_intermediary",
    "run",
    "source",
    "student",
    "submit",
    "tap",
    "theory",
    "trace",
    "verdicts",
]


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is asked for."""
    from labkit.errors import naming_extras

    with naming_extras():
        if name in ("charts", "claims", "verdicts", "Panel"):  # they tell of what the course declares
            importlib.import_module("labkit.course.claims")
        if name in _MODULES:
            return importlib.import_module(f"labkit.{_MODULES[name]}")
        if name in _HOMES:
            value = getattr(importlib.import_module(f"labkit.{_HOMES[name]}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'labkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
