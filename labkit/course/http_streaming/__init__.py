"""Of 03_http_streaming: what it runs, what it claims, what it draws, what it asks."""

from __future__ import annotations

from labkit.course.http_streaming import charts
from labkit.course.http_streaming.experiments import (
    boundaries,
    endings,
    exchanges,
    first_shown,
    framings,
    in_the_page,
    rechunked,
    recycled,
    seconds,
    sweep,
    two_writes,
    variant,
)

__all__ = [
    "boundaries",
    "charts",
    "endings",
    "exchanges",
    "first_shown",
    "framings",
    "in_the_page",
    "rechunked",
    "recycled",
    "seconds",
    "sweep",
    "two_writes",
    "variant",
]
