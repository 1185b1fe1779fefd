"""Of 03_http_streaming: what it runs, what it claims, what it draws, what it asks."""

from __future__ import annotations

from labkit.course.http_streaming.borders import rechunked
from labkit.course.http_streaming.buffering import first_shown, in_the_page
from labkit.course.http_streaming.faults import endings
from labkit.course.http_streaming.framing import framings
from labkit.course.http_streaming.multipart import boundaries
from labkit.course.http_streaming.nagle import exchanges, two_writes
from labkit.course.http_streaming.recycling import recycled, sweep, variant
from labkit.course.http_streaming.reuse import seconds

__all__ = ["boundaries", "endings", "exchanges", "first_shown", "framings", "in_the_page", "rechunked", "recycled",
           "seconds", "sweep", "two_writes", "variant"]  # fmt: skip
