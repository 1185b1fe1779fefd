"""Of 03_http_streaming: what it runs, what it claims, what it draws, what it asks."""

from __future__ import annotations

from labkit.course.http_streaming.borders import boundaries, rechunked
from labkit.course.http_streaming.buffering import first_shown, in_the_page
from labkit.course.http_streaming.captured import capture
from labkit.course.http_streaming.ends import endings, seconds
from labkit.course.http_streaming.framing import framings
from labkit.course.http_streaming.nagle import exchanges, two_writes
from labkit.course.http_streaming.recycling import recycled, sweep, variant

__all__ = ["boundaries", "capture", "endings", "exchanges", "first_shown", "framings", "in_the_page", "rechunked",
           "recycled", "seconds", "sweep", "two_writes", "variant"]  # fmt: skip
