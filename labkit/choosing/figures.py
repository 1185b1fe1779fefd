"""What each technique costs, in bytes and in the server's work: measured with this kit, or taken from a run."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from labkit import theory
from labkit.errors import LabkitError
from labkit.techniques import find
from labkit.techniques.http_streaming import HTTP_STREAMING
from labkit.techniques.long_polling import LONG_POLLING
from labkit.techniques.polling import POLLING
from labkit.techniques.sse import SSE
from labkit.techniques.websocket import WEBSOCKET
from labkit.theory.path import HOLD_S

PROVENANCE = (
    "measured with this kit (labkit 0.1, Python 3.11, Tornado 6.6): bytes from the ledger of a run with its own "
    "clients, whose requests carry three short headers; CPU and resident memory of a server process with 60 clients of "
    "each technique elsewhere, on two cores of a shared machine, the sockets' memory in the system not included"
)
BROWSER_EXCHANGE_BYTES = 850.0
"""Headers of one poll as *High Performance Browser Networking* gives them: what a browser with cookies may send."""
EMPTY_ANSWER_BYTES = 33
"""``{"events":[],"cursor":"17@k3f9"}``, which every answer to a poll has."""
TLS_RECORD_BYTES = 22
"""Derived, TLS 1.3 (RFC 8446 section 5.2): 5 of header, 1 of content type, 16 of tag for each record, one a write."""
TLS_HANDSHAKE_BYTES = 4000
"""Assumed: both hellos, a chain of two certificates and the Finished messages; resumption needs far less."""


@dataclass(frozen=True, slots=True)
class Range:
    """A measured figure, and between what it may lie."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What one technique costs.

    Attributes:
        open_bytes: request and answer that begin a stream, its first cursor included.
        exchange_bytes: one poll and an empty answer.
        event_bytes: what an event adds beside its payload.
        heartbeat_bytes: one heartbeat, both directions.
        message_bytes: a message upstream beside its payload, its answer included.
        exchange_us: server CPU of one request and its answer.
        event_us: server CPU of one delivery.
        message_us: server CPU of one message upstream.
        memory_kib: server memory of one client's connection held.
    """

    open_bytes: float
    exchange_bytes: Range
    event_bytes: float
    heartbeat_bytes: float
    message_bytes: float
    exchange_us: Range
    event_us: Range
    message_us: Range
    memory_kib: Range


_POST_BYTES, _POST_US = 318.0, Range(430, 300, 600)
_NONE = Range(0, 0, 0)
MEASURED: dict[str, Figures] = {
    POLLING.name: Figures(
        0, Range(296, 296, BROWSER_EXCHANGE_BYTES), 20, 0, _POST_BYTES, Range(400, 340, 500), Range(2, 1, 4), _POST_US,
        Range(6.5, 5.5, 7.5),
    ),
    LONG_POLLING.name: Figures(
        0, Range(300, 300, BROWSER_EXCHANGE_BYTES), 19, 0, _POST_BYTES, Range(180, 150, 240), Range(2, 1, 4), _POST_US,
        Range(12.5, 10, 15),
    ),
    HTTP_STREAMING.name: Figures(
        309, _NONE, 26, 6, _POST_BYTES, Range(500, 300, 800), Range(11.5, 9, 14), _POST_US, Range(13.4, 12.5, 14.5)
    ),
    SSE.name: Figures(
        301, _NONE, 27.5, 7, _POST_BYTES, Range(500, 300, 800), Range(11.5, 9, 14), _POST_US, Range(13.3, 12.4, 14.3)
    ),
    WEBSOCKET.name: Figures(
        425, _NONE, 20.5, 8, 58, Range(600, 400, 900), Range(11.5, 9, 14), Range(300, 180, 420), Range(16.2, 13.5, 19)
    ),
}  # fmt: skip
"""By technique; see :data:`PROVENANCE`. The CPU of beginning a stream and of a message upstream is an estimate from
shorter measurements, and its range is wide."""


def figures_of(run: Any) -> dict[str, Figures]:
    """The measured table with what *run* has measured in its place.

    Args:
        run: a Run; or a comparison, which has a run and the server's costs; None for the table as it is.

    Raises:
        LabkitError: it is neither.
    """
    if run is None:
        return dict(MEASURED)
    trace, server = getattr(run, "run", run), getattr(run, "server", None)
    if not hasattr(trace, "ledger") or not hasattr(trace, "summary"):
        raise LabkitError(f"choose: run={run!r:.60}, expected a Run or a comparison")
    found = dict(MEASURED)
    summary = trace.summary()
    for technique in set(found).intersection(map(str, summary.index)):
        events = int(summary.loc[technique, "events"])
        records = list(trace.ledger.of(technique))
        if events and records:
            found[technique] = _with_bytes(found[technique], technique, records, events)
    if server is not None and not server.why:
        for technique in set(found).intersection(server.cpu_us):
            found[technique] = _with_work(found[technique], technique, server)
    return found


def _with_bytes(figures: Figures, technique: str, records: list[Any], events: int) -> Figures:
    headers, envelope, framing = (
        sum(record.by_category[part] for record in records) for part in ("headers", "envelope", "framing")
    )
    requests = max(1, sum(record.requests for record in records))
    if figures.exchange_bytes.value:
        exchange = headers / requests + EMPTY_ANSWER_BYTES
        each = max(0.0, (envelope + framing - EMPTY_ANSWER_BYTES * requests) / events)
        high = max(exchange, figures.exchange_bytes.high)
        return replace(figures, exchange_bytes=Range(exchange, exchange, high), event_bytes=each)
    return replace(figures, open_bytes=headers / len(records), event_bytes=(envelope + framing) / events)


def _with_work(figures: Figures, technique: str, server: Any) -> Figures:
    """CPU per client and second, by how many exchanges or deliveries there were in it."""
    told, cpu, memory = server.settings, server.cpu(technique), server.memory(technique)
    held = Range(memory.value, max(0.0, memory.low), memory.high)
    rate_per_s, each = float(told["rate_per_s"]), figures.event_us
    kind = find(technique).kind
    if kind == "poll":
        per_s = 1 / float(told["poll_interval_s"])
    elif kind == "hold":
        per_s = theory.long_polling_requests_per_s(rate_per_s, 0.0, HOLD_S)
    else:
        per_s = rate_per_s
    if per_s <= 0 or not all(map(math.isfinite, (cpu.low, cpu.high, held.low, held.high))):
        return figures
    work = Range(cpu.value / per_s, max(0.0, cpu.low) / per_s, cpu.high / per_s)
    if figures.exchange_bytes.value:
        share = each.value * rate_per_s / per_s  # of the events in an answer
        work = Range(*(max(1.0, end - share) for end in (work.value, work.low, work.high)))
        return replace(figures, exchange_us=work, memory_kib=held)
    return replace(figures, event_us=work, memory_kib=held)
