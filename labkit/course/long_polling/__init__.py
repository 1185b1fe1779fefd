"""Of 02_long_polling: what it runs, what it claims, what it draws, what it asks."""

from __future__ import annotations

from labkit.course.long_polling.bounded import threads
from labkit.course.long_polling.equal import equal_requests
from labkit.course.long_polling.event_rates import rates
from labkit.course.long_polling.exchanges import connections, payloads, pipelined
from labkit.course.long_polling.hold_times import holds
from labkit.course.long_polling.idle_limit import valley
from labkit.course.long_polling.memory import held_clients
from labkit.course.long_polling.no_cursor import unaware
from labkit.course.long_polling.tabs import many_tabs

__all__ = ["connections", "equal_requests", "held_clients", "holds", "many_tabs", "payloads", "pipelined", "rates",
           "threads", "unaware", "valley"]  # fmt: skip
