"""Of 08_side_by_side: what it runs, what it claims, what it draws, what it asks."""

from __future__ import annotations

from labkit.course.side_by_side import charts
from labkit.course.side_by_side.experiments import (
    ages,
    compare,
    cut_link,
    one_trace,
    server_costs,
    upstream,
    without_page,
)

__all__ = [
    "ages",
    "charts",
    "compare",
    "cut_link",
    "one_trace",
    "server_costs",
    "upstream",
    "without_page",
]
