"""Of 05_websocket: what it runs, what it claims, what it draws, what it asks."""

from __future__ import annotations

from labkit.course.websocket import charts
from labkit.course.websocket.experiments import (
    against_tcp,
    both_ways,
    close_codes,
    conformance,
    dead_peers,
    deflate,
    handshake,
    headers,
)

__all__ = [
    "against_tcp",
    "both_ways",
    "charts",
    "close_codes",
    "conformance",
    "dead_peers",
    "deflate",
    "handshake",
    "headers",
]
