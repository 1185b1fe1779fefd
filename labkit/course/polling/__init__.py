"""Of 01_polling: what it runs, what it claims, what it draws, what it asks."""

from __future__ import annotations

from labkit.course.polling.burden import weigh
from labkit.course.polling.in_step import aliasing, forgetful, herd
from labkit.course.polling.intervals import sweep
from labkit.course.polling.per_message import overheads, published
from labkit.course.polling.pollers import poller
from labkit.course.polling.price import costs
from labkit.course.polling.revalidation import revalidate
from labkit.course.polling.waiting import wait_for_jobs

__all__ = ["aliasing", "costs", "forgetful", "herd", "overheads", "poller", "published", "revalidate", "sweep",
           "wait_for_jobs", "weigh"]  # fmt: skip
