"""Of 05_websocket: what it runs, what it claims, what it draws, what it asks."""

from __future__ import annotations

from labkit.course.websocket.beside_tcp import against_tcp
from labkit.course.websocket.captured import capture
from labkit.course.websocket.closings import close_codes
from labkit.course.websocket.compression import deflate
from labkit.course.websocket.crossing import both_ways
from labkit.course.websocket.frame_headers import headers
from labkit.course.websocket.silent_links import dead_peers
from labkit.course.websocket.trials import conformance
from labkit.course.websocket.upgrade import handshake

__all__ = [
    "against_tcp",
    "both_ways",
    "capture",
    "close_codes",
    "conformance",
    "dead_peers",
    "deflate",
    "handshake",
    "headers",
]
