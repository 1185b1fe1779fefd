"""Of 02_long_polling: what it runs, what it claims, what it draws, what it asks."""

from __future__ import annotations

from labkit.course.long_polling import charts, charts_cases
from labkit.course.long_polling.experiments import (
    connections,
    equal_requests,
    held_clients,
    holds,
    many_tabs,
    payloads,
    pipelined,
    rates,
    threads,
    unaware,
    valley,
)

__all__ = [
    "charts",
    "charts_cases",
    "connections",
    "equal_requests",
    "held_clients",
    "holds",
    "many_tabs",
    "payloads",
    "pipelined",
    "rates",
    "threads",
    "unaware",
    "valley",
]
