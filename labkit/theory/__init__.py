"""What theory expects, as closed forms. Pure arithmetic."""

from __future__ import annotations

from labkit.theory.closed_forms import (
    STREAMING_TECHNIQUES,
    Expectation,
    empty_answer_fraction,
    expect,
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

__all__ = [
    "STREAMING_TECHNIQUES",
    "Expectation",
    "empty_answer_fraction",
    "expect",
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
