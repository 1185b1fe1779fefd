"""Of 04_server_sent_events: what it runs, what it claims, what it draws, what it asks."""

from __future__ import annotations

from labkit.course.sse.beats import heartbeats
from labkit.course.sse.decoders import conformance
from labkit.course.sse.dissection import dissect, playground
from labkit.course.sse.event_bytes import framing
from labkit.course.sse.giving_up import endings
from labkit.course.sse.reconnections import CUT_S, HEAL_S, Resumption, cut, returns

__all__ = ["CUT_S", "HEAL_S", "Resumption", "conformance", "cut", "dissect", "endings", "framing", "heartbeats",
           "playground", "returns"]  # fmt: skip
