"""Of 01_polling: what it runs, what it claims, what it draws, what it asks."""

from __future__ import annotations

from labkit.course.polling import charts, charts_load
from labkit.course.polling.experiments import (
    aliasing,
    costs,
    forgetful,
    herd,
    overheads,
    poller,
    published,
    revalidate,
    sweep,
    wait_for_jobs,
    weigh,
)

__all__ = [
    "aliasing",
    "charts",
    "charts_load",
    "costs",
    "forgetful",
    "herd",
    "overheads",
    "poller",
    "published",
    "revalidate",
    "sweep",
    "wait_for_jobs",
    "weigh",
]
