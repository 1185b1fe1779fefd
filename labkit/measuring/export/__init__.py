"""A run's connections for other people's tools: a capture for Wireshark, an archive for a browser's.

=========  ==========================================================================
pcapng     the bytes and times of each connection, in packets with synthetic headers
exchanges  HTTP exchanges and WebSocket messages, read from those bytes
har        these exchanges as HAR 1.2
=========  ==========================================================================

Not here: relays' captures, which are the same streams again.
"""

from __future__ import annotations

from labkit.measuring.export.har import to_har
from labkit.measuring.export.pcapng import to_pcapng

__all__ = ["to_har", "to_pcapng"]
