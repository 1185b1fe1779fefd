"""The experiments of 04_server_sent_events: E1-E3, E5, E6."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labkit.course.sse.beats import framing, heartbeats
from labkit.course.sse.playground import dissect, playground
from labkit.course.sse.returns import CUT_S, HEAL_S, cut, endings, returns
from labkit.course.sse.rules import RULES, conformance
from labkit.course.sse.seen import Resumption
from labkit.lab.lab import Lab

__all__ = [
    "CUT_S",
    "EXPERIMENTS",
    "HEAL_S",
    "RULES",
    "Resumption",
    "conformance",
    "cut",
    "dissect",
    "endings",
    "framing",
    "heartbeats",
    "playground",
    "returns",
]


def _in_a_lab(experiment: Callable[[Lab], Any]) -> Any:
    with Lab("soak-sse") as lab:
        return experiment(lab)


EXPERIMENTS: dict[str, Callable[[], Any]] = {
    "E1": conformance,
    "E2": lambda: _in_a_lab(lambda lab: Resumption(returns(), cut(lab))),
    "E3": endings,
    "E5": lambda: _in_a_lab(framing),
    "E6": heartbeats,
}
