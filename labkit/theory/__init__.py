"""What theory expects, as closed forms. Pure arithmetic."""

from __future__ import annotations

from labkit.theory.closed_forms import (
    Expectation,
    empty_answer_fraction,
    long_polling_empty_fraction,
    long_polling_events_per_answer,
    long_polling_latency,
    long_polling_mean,
    long_polling_parked_share,
    long_polling_requests_per_event,
    long_polling_requests_per_s,
    polling_latency,
    polling_period,
    polling_period_when_waiting,
    polling_requests_per_event,
    recycled_stream_max,
    request_gap,
    streaming_latency,
)
from labkit.theory.nature import UNMARKED, Kind, Mark, Nature
from labkit.theory.path import Path, Silent

__all__ = [
    "UNMARKED",
    "Expectation",
    "Kind",
    "Mark",
    "Nature",
    "Path",
    "Silent",
    "empty_answer_fraction",
    "long_polling_empty_fraction",
    "long_polling_events_per_answer",
    "long_polling_latency",
    "long_polling_mean",
    "long_polling_parked_share",
    "long_polling_requests_per_event",
    "long_polling_requests_per_s",
    "polling_latency",
    "polling_period",
    "polling_period_when_waiting",
    "polling_requests_per_event",
    "recycled_stream_max",
    "request_gap",
    "streaming_latency",
]
