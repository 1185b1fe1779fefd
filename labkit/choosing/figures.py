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

KIT, HERE, ESTIMATED = "measured by the kit", "measured here", "estimated"
"""Where a figure is from; of what was estimated the range says how well it is known."""
RECORDED = (
    "on 2026-11-27, on two cores of a shared Intel Xeon (one for the server, one for its clients), with labkit 0.1.0, "
    "Python 3.11.7, Tornado 6.6.1, OpenSSL 3.0.19: CPU and resident memory of the server's process with 200 to 19 500 "
    "clients, from the least round to the most; bytes from the ledger of its own clients, whose requests carry three "
    "short headers"
)
PROVENANCE = f"{KIT} {RECORDED}"
BROWSER_EXCHANGE_BYTES = 850.0
"""Headers of one poll as *High Performance Browser Networking* gives them: what a browser with cookies may send."""
EMPTY_ANSWER_BYTES = 33
"""``{"events":[],"cursor":"17@k3f9"}``, which every answer to a poll has."""
HTTP2_EXCHANGE_BYTES = (104.0, 205.0)
"""One poll and an empty answer over HTTP/2, after the first: this kit's, 14's 62 of headers; a browser's, through an
edge that writes its answers' fields out each time."""
TLS_RECORD_BYTES = 22
"""Derived, TLS 1.3 (RFC 8446 section 5.2): 5 of header, 1 of content type, 16 of tag for each record, one a write."""
TLS_HANDSHAKE_BYTES = 4000
"""Assumed: both hellos, a chain of two certificates and the Finished messages; resumption needs far less."""
KEPT_ALIVE_S = 60.0
"""A poller asks on a connection that it keeps, up to this interval; servers end one that is idle for longer."""
LIFETIME_S = 3600.0
"""A stream is assumed to be opened again once an hour."""
ANSWER_TO_FINITE_S = 10.0
"""How long a stream that ends is assumed to last: 500 tokens at 50 a second."""
RETRY_S = 1.0
"""How long a client waits before it connects again: at random, of a second at the most."""
POST_MEMORY_KIB = 9.3
"""Of a connection that is kept alive between requests, as measured for polling."""


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
        event_us: server CPU of one delivery, by direct fan-out.
        heartbeat_us: server CPU of one heartbeat, and of what answers it.
        further_us: server CPU of each further event in the same write or answer.
        message_us: server CPU of one message upstream.
        memory_kib: server memory of one client's connection held.
        pings: whether a heartbeat is sent among events as well: a ping, and its pong.
        here: the figures that a run of one's own has measured.
    """

    open_bytes: float
    exchange_bytes: Range
    event_bytes: float
    heartbeat_bytes: float
    message_bytes: float
    exchange_us: Range
    event_us: Range
    heartbeat_us: Range
    further_us: Range
    message_us: Range
    memory_kib: Range
    pings: bool = False
    here: tuple[str, ...] = ()

    def origin(self, name: str) -> str:
        """Where a figure is from."""
        return HERE if name in self.here else KIT


@dataclass(frozen=True, slots=True)
class Secured:
    """What TLS adds, whatever the technique.

    Attributes:
        handshake_us: server CPU of a handshake.
        write_us: server CPU that a delivery costs more, since direct fan-out cannot write what is encrypted.
        heartbeat_us: server CPU that a heartbeat costs more.
        further_us: server CPU that each further event in the same write costs more.
        exchange_us: server CPU that a request and its answer, or a message upstream and its, cost more.
        memory_kib: server memory of a connection more.
    """

    handshake_us: Range
    write_us: Range
    heartbeat_us: Range
    further_us: Range
    exchange_us: Range
    memory_kib: Range


TLS = Secured(
    Range(650, 550, 900), Range(54, 24, 73), Range(11, 8, 15), Range(0.5, 0.2, 1.1), Range(45, 25, 100),
    Range(15.6, 15, 16),
)  # fmt: skip
"""A handshake with a P-256 certificate and no resumption; a delivery with 5 000 clients (33 more with 1 000, 64 with
10 000)."""
SPAN = 1.25
"""An event is written to the last of its clients so much later than the server's CPU for them alone would have it."""
_POST_BYTES, _POST_US = 318.0, Range(450, 183, 730)
_NONE = Range(0, 0, 0)
_DELIVERY_US, _FURTHER_US, _ANSWERED_US = Range(5.3, 4.2, 6.1), Range(0, 0, 0.05), Range(0.3, 0, 0.9)
MEASURED: dict[str, Figures] = {
    POLLING.name: Figures(
        0, Range(296, 296, BROWSER_EXCHANGE_BYTES), 20, 0, _POST_BYTES, Range(400, 195, 650), _NONE, _NONE,
        _ANSWERED_US, _POST_US, Range(9.3, 6.4, 9.5),
    ),
    LONG_POLLING.name: Figures(
        0, Range(300, 300, BROWSER_EXCHANGE_BYTES), 19, 0, _POST_BYTES, Range(280, 214, 560), _NONE, _NONE,
        _ANSWERED_US, _POST_US, Range(16.7, 12.5, 17),
    ),
    HTTP_STREAMING.name: Figures(
        349, _NONE, 26, 6, _POST_BYTES, Range(300, 228, 695), _DELIVERY_US, Range(40, 28, 47), _FURTHER_US, _POST_US,
        Range(17.4, 16.4, 17.6),
    ),
    SSE.name: Figures(
        341, _NONE, 27.5, 7, _POST_BYTES, Range(300, 228, 695), _DELIVERY_US, Range(39, 33, 47), _FURTHER_US, _POST_US,
        Range(16.7, 16.4, 17.0),
    ),
    WEBSOCKET.name: Figures(
        425, _NONE, 20.5, 8, 58, Range(450, 322, 955), _DELIVERY_US, Range(98, 76, 105), _FURTHER_US,
        Range(240, 83, 414), Range(20.1, 19.9, 20.7), pings=True,
    ),
}  # fmt: skip
"""By technique; see :data:`PROVENANCE`. An exchange costs its low end in a burst, on a busy server, and its high end on
an idle one, one by one."""
ASSUMED: dict[str, Range] = {
    "TLS handshake, bytes": Range(TLS_HANDSHAKE_BYTES, 1000, 6000),
    "a stream's life, s": Range(LIFETIME_S, 600, 86_400),
    "a first wait after a cut, s": Range(RETRY_S, 0, 5),
    "a stream that a POST begins, s": Range(ANSWER_TO_FINITE_S, 1, 60),
}
"""What nobody has measured here, and between what it may lie."""


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
        raise LabkitError(f"choose: run={run!r:.60}, expected what labkit.measure or side_by_side.compare gives")
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
        told = Range(exchange, exchange, high)
        return _here(figures, exchange_bytes=told, event_bytes=each)
    return _here(figures, open_bytes=headers / len(records), event_bytes=(envelope + framing) / events)


def _here(figures: Figures, **measured: Any) -> Figures:
    return replace(figures, here=(*figures.here, *measured), **measured)


def _with_work(figures: Figures, technique: str, server: Any) -> Figures:
    """CPU per client and second, by how many exchanges or deliveries there were in it."""
    told, cpu, memory = server.settings, server.cpu(technique), server.memory(technique)
    held = Range(memory.value, max(0.0, memory.low), memory.high)
    rate_per_s, each = float(told["rate_per_s"]), figures.further_us
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
        return _here(figures, exchange_us=work, memory_kib=held)
    return _here(figures, event_us=work, memory_kib=held)
