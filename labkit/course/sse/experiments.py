"""The experiments of 04_server_sent_events: E1-E3, E5, E6."""

from __future__ import annotations

from labkit.course.sse.beats import framing, heartbeats
from labkit.course.sse.playground import dissect, playground
from labkit.course.sse.returns import CUT_S, HEAL_S, cut, endings, returns
from labkit.course.sse.rules import RULES, conformance
from labkit.course.sse.seen import Resumption

__all__ = [
    "CUT_S",
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
