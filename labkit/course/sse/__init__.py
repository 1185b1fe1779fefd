"""Of 04_server_sent_events: what it runs, what it claims, what it draws, what it asks."""

from __future__ import annotations

from labkit.course.sse import charts
from labkit.course.sse.experiments import (
    CUT_S,
    HEAL_S,
    RULES,
    Resumption,
    conformance,
    cut,
    dissect,
    endings,
    framing,
    heartbeats,
    playground,
    returns,
)

__all__ = [
    "CUT_S",
    "HEAL_S",
    "RULES",
    "Resumption",
    "charts",
    "conformance",
    "cut",
    "dissect",
    "endings",
    "framing",
    "heartbeats",
    "playground",
    "returns",
]
