"""Records in, plotly figures out: latency, latency along time, bytes per event, the conversation.

Every chart that has a theory (``models.py``) draws it beside the measurement. Titles say what is seen and are
computed from the run. Statistics use every scheduled delivery; of many thousands only some are drawn, and the
chart then says how many.

Latency axes are logarithmic where the slowest delivery took more than five times as long as the fastest: on a
linear axis wide enough for a poll interval of 1 s, streams at 50 ms and at 60 ms are the same pixel.
"""

from __future__ import annotations

from labkit.charts.costs import overhead
from labkit.charts.decision_map import decision_map
from labkit.charts.distribution import latency
from labkit.charts.homes import homes
from labkit.charts.http_streaming import (
    first_bytes,
    stream_boundaries,
    stream_ends,
    stream_recycling,
    write_steps,
)
from labkit.charts.lifelines import sequence
from labkit.charts.long_polling import equal_requests, header_share, hold_valley, long_poll_rates
from labkit.charts.long_polling_cases import long_poll_connections, long_poll_holds, lost_events
from labkit.charts.over_time import timeline
from labkit.charts.pictures import use_static_fallback, write
from labkit.charts.polling import job_waits, poll_aliasing, poll_herd, poll_intervals
from labkit.charts.polling_load import poll_burden, poll_costs, poll_revalidation, poll_surface
from labkit.charts.predictions import predictions
from labkit.charts.relatives import advised_pause
from labkit.charts.side_by_side import ages, side_by_side, upstream
from labkit.charts.sse import event_bytes, heartbeats, noticing, reconnections
from labkit.charts.websocket import against_tcp, both_ways, dead_peers, deflated, frame_headers
from labkit.style import use as use_theme

__all__ = [
    "advised_pause",
    "against_tcp",
    "ages",
    "both_ways",
    "dead_peers",
    "decision_map",
    "deflated",
    "equal_requests",
    "event_bytes",
    "first_bytes",
    "frame_headers",
    "header_share",
    "heartbeats",
    "hold_valley",
    "homes",
    "job_waits",
    "latency",
    "long_poll_connections",
    "long_poll_holds",
    "long_poll_rates",
    "lost_events",
    "noticing",
    "overhead",
    "poll_aliasing",
    "poll_burden",
    "poll_costs",
    "poll_herd",
    "poll_intervals",
    "poll_revalidation",
    "poll_surface",
    "predictions",
    "reconnections",
    "sequence",
    "side_by_side",
    "stream_boundaries",
    "stream_ends",
    "stream_recycling",
    "timeline",
    "upstream",
    "use_static_fallback",
    "use_theme",
    "write",
    "write_steps",
]
