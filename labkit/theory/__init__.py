"""What theory expects, as closed forms. Pure arithmetic."""

from __future__ import annotations

from labkit.theory.closed_forms import (
    Expectation,
    empty_answer_fraction,
    message_latency,
    newest_latency,
    polling_latency,
    polling_period,
    polling_period_when_waiting,
    polling_requests_per_event,
    request_gap,
    streaming_latency,
)
from labkit.theory.held import (
    long_polling_empty_fraction,
    long_polling_events_per_answer,
    long_polling_latency,
    long_polling_mean,
    long_polling_newest_latency,
    long_polling_parked_share,
    long_polling_pipelined_latency,
    long_polling_requests_per_event,
    long_polling_requests_per_s,
    recycled_stream_latency,
)
from labkit.theory.nature import UNMARKED, Kind, Mark, Nature
from labkit.theory.path import Path, Silent, Stretch

__all__ = [
    "UNMARKED",
    "Expectation",
    "Kind",
    "Mark",
    "Nature",
    "Path",
    "Silent",
    "Stretch",
    "empty_answer_fraction",
    "long_polling_empty_fraction",
    "long_polling_events_per_answer",
    "long_polling_latency",
    "long_polling_mean",
    "long_polling_newest_latency",
    "long_polling_parked_share",
    "long_polling_pipelined_latency",
    "long_polling_requests_per_event",
    "long_polling_requests_per_s",
    "message_latency",
    "newest_latency",
    "polling_latency",
    "polling_period",
    "polling_period_when_waiting",
    "polling_requests_per_event",
    "recycled_stream_latency",
    "request_gap",
    "streaming_latency",
]
