"""All cases, by name."""

from __future__ import annotations

from collections.abc import Mapping

from labkit.strangers.vectors import (
    bodies,
    event_fields,
    event_ids,
    event_streams,
    long_polls,
    stream_carriers,
    stream_faults,
    websocket_controls,
    websocket_deflate,
    websocket_faults,
    websockets,
)
from labkit.strangers.vectors.case import Case

_FILES = (
    *(event_streams, event_fields, event_ids, stream_carriers, stream_faults),
    *(bodies, long_polls),
    *(websockets, websocket_controls, websocket_deflate, websocket_faults),
)
ALL: tuple[Case, ...] = tuple(case for file in _FILES for case in file.CASES)
CASES: Mapping[str, Case] = {case.name: case for case in ALL}
