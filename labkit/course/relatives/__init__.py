"""Of 06_plugins_and_relatives: what it runs, what it claims, what it draws, what it asks."""

from __future__ import annotations

from labkit.course.relatives import charts
from labkit.course.relatives.experiments import (
    Conversation,
    flash,
    in_the_page,
    lab,
    old_tricks,
    relatives,
    watch_page,
)

__all__ = [
    "Conversation",
    "charts",
    "flash",
    "in_the_page",
    "lab",
    "old_tricks",
    "relatives",
    "watch_page",
]
