"""As which technique what a tap has recognized is put down: the registry's names, by who decides and by the body."""

from __future__ import annotations

from labkit.techniques import TECHNIQUES
from labkit.theory import Kind


def _name(kind: Kind, body: str) -> str:
    return next(each.name for each in TECHNIQUES if (each.kind, each.body) == (kind, body))


POLLED = _name("poll", "answer")
HELD = _name("hold", "answer")
STREAMED = _name("stream", "lines")
EVENTS = _name("stream", "event-stream")
SOCKET = _name("stream", "messages")

POLLS = (POLLED, HELD)
STREAMS = (STREAMED, EVENTS, SOCKET)
