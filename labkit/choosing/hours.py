"""One client's hour with each kind of technique: what it waits, sends and costs. The arithmetic of a choice."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from labkit import theory
from labkit.choosing.expecting import expected, path_of
from labkit.choosing.figures import (
    ANSWER_TO_FINITE_S,
    HTTP2_EXCHANGE_BYTES,
    KEPT_ALIVE_S,
    LIFETIME_S,
    POST_MEMORY_KIB,
    RETRY_S,
    SPAN,
    TLS,
    TLS_HANDSHAKE_BYTES,
    TLS_RECORD_BYTES,
    Figures,
    Range,
)
from labkit.choosing.needs import SAFE, Needs
from labkit.techniques import Technique
from labkit.techniques.long_polling import LONG_POLLING
from labkit.techniques.polling import POLLING
from labkit.techniques.sse import SSE
from labkit.theory import Kind
from labkit.theory.path import HOLD_S

Estimate = Literal["value", "low", "high"]
RECONNECTION_S = {SSE.name: 3.0}
"""How long EventSource waits before it connects again, as this kit has it; others wait :data:`RETRY_S`."""


@dataclass(slots=True)
class Hour:
    """One client's hour.

    Attributes:
        every_s: poll interval, hold time-out or heartbeat interval.
        window_s: for how long a stream gathers events before it writes; 0: it writes each at once.
        fan_out_s: from the first client's write to the last one's, of those on one server.
        least_s: how late an event is at the least that can be asked for, without fan-out.
        round_us: CPU of one client's share of a fan-out.
        after_cut_s: how late an event is that falls into a cut, from the cut's end on.
        upkeep: polls, holds or heartbeats.
        opened: connections opened.
        again_us: CPU of one client that comes back.
    """

    every_s: float
    mean_s: float
    worst_s: float
    requests: float
    bytes: float
    held: float
    cpu_us: float
    opened: float
    records: float
    memory_kib: float
    least_s: float = 0.0
    round_us: float = 0.0
    fan_out_s: float = 0.0
    window_s: float = 0.0
    after_cut_s: float = 0.0
    again_us: float = 0.0
    upkeep: float = 0.0
    why_not: str = ""
    kept: bool = True


def at(range_: Range, which: Estimate) -> float:
    """The figure itself, or an end of its range."""
    return range_.value if which == "value" else range_.low if which == "low" else range_.high


def hour_of(technique: Technique, needs: Needs, figures: Figures, which: Estimate, servers: float) -> Hour:
    """One client's hour, messages upstream and TLS included, with the clients spread over so many servers."""
    if needs.http2 and figures.exchange_bytes.value:
        least, most = HTTP2_EXCHANGE_BYTES
        figures = replace(figures, exchange_bytes=Range(least, least, most))
    hour = HOURS[technique.kind](needs, figures, which, needs.clients / servers)
    hour.after_cut_s += RECONNECTION_S.get(technique.name, RETRY_S) if technique.kind != "poll" else 0.0
    hour.again_us = at(figures.exchange_us, which) + (at(TLS.handshake_us, which) if needs.serves_tls else 0.0)
    if needs.finite:
        _add_beginnings(hour, technique, needs, figures, which)
    if needs.upstream_per_s:
        _add_upstream(hour, technique, needs, figures, which)
    if needs.tls:
        hour.bytes += hour.records * TLS_RECORD_BYTES + hour.opened * TLS_HANDSHAKE_BYTES
    if needs.serves_tls:
        hour.cpu_us += hour.opened * at(TLS.handshake_us, which)
        hour.memory_kib += hour.held * at(TLS.memory_kib, which)
    return hour


def polling_hour(needs: Needs, figures: Figures, which: Estimate, clients: float) -> Hour:
    """A poll every S - d, at a phase of each client's own: the worst latency, T + d, is then what is tolerated."""
    d, interval_s = needs.one_way_s, needs.staleness_s - needs.one_way_s
    kept = interval_s <= min(KEPT_ALIVE_S, SAFE * needs.idle_timeout_s)
    path = path_of(needs)
    gap_s, why_not = path.gap_s(fresh=not kept), ""
    if interval_s < gap_s or interval_s <= 0:
        why_not = f"a poll is answered after {gap_s / d if d else 0:.0f}d: later than is tolerated"
        interval_s = max(gap_s, 1e-3)
    polls, carried = 3600 / interval_s, needs.rate_per_s * interval_s
    if needs.latest_only:
        carried = -math.expm1(-carried)
    exchange_us = at(figures.exchange_us, which) + (at(TLS.exchange_us, which) if needs.serves_tls else 0.0)
    sent = polls * (at(figures.exchange_bytes, which) + carried * (needs.payload_bytes + figures.event_bytes))
    cpu_us = polls * (exchange_us + carried * at(figures.further_us, which))
    held = 1.0 if kept else min(1.0, gap_s / interval_s)
    told, ended = expected(POLLING, path, interval_s=interval_s, keep_alive=kept, conflate=needs.latest_only)
    return Hour(
        interval_s, told.mean_s, told.max_s, polls, sent, held, cpu_us, 3600 / LIFETIME_S if kept else polls,
        2 * polls, held * at(figures.memory_kib, which), after_cut_s=interval_s + path.gap_s(fresh=True),
        upkeep=polls, why_not=why_not or ended, kept=kept,
    )  # fmt: skip


def long_polling_hour(needs: Needs, figures: Figures, which: Estimate, clients: float) -> Hour:
    """Held until an event comes, and answered at once; the last client's answer is a fan-out of answers later."""
    d, rate_per_s, path = needs.one_way_s, needs.rate_per_s, path_of(needs)
    hold_s, gap_s = min(HOLD_S, SAFE * needs.idle_timeout_s), theory.request_gap(d)
    told, ended = expected(LONG_POLLING, path, hold_s=hold_s, conflate=needs.latest_only)
    is_late = needs.staleness_s < told.max_s
    why_not = "an event behind an answer takes 3d: later than is tolerated" if is_late else ended
    asked = 3600 * theory.long_polling_requests_per_s(rate_per_s, d, hold_s)
    carried = rate_per_s * 3600
    if needs.latest_only:
        carried = asked * (1 - theory.long_polling_empty_fraction(rate_per_s, hold_s, gap_s))
    exchange_us = at(figures.exchange_us, which) + (at(TLS.exchange_us, which) if needs.serves_tls else 0.0)
    sent = asked * at(figures.exchange_bytes, which) + carried * (needs.payload_bytes + figures.event_bytes)
    cpu_us = asked * exchange_us + carried * at(figures.further_us, which)
    fan_out_s = clients * exchange_us / 1e6
    return Hour(
        hold_s, told.mean_s + fan_out_s / 2, told.max_s + fan_out_s, asked, sent, 1.0, cpu_us, 3600 / LIFETIME_S,
        2 * asked, at(figures.memory_kib, which), least_s=told.max_s, round_us=exchange_us, fan_out_s=fan_out_s,
        after_cut_s=path.gap_s(fresh=True), upkeep=3600 / hold_s, why_not=why_not,
    )  # fmt: skip


def stream_hour(needs: Needs, figures: Figures, which: Estimate, clients: float) -> Hour:
    """One write for each event; or, where events share one, a write per window, so that the last is S late."""
    rate_per_s, beat_s = needs.rate_per_s, needs.beat_s
    tls_us = at(TLS.write_us, which) if needs.serves_tls else 0.0
    write_us, span_us = (at(figures.event_us, which) * factor + tls_us for factor in (1.0, SPAN))
    further_us = at(figures.further_us, which) + (at(TLS.further_us, which) if needs.serves_tls else 0.0)
    further_us = 0.0 if needs.latest_only else further_us
    clients = 1.0 if needs.finite else clients  # each has an answer of its own: nothing is fanned out
    window_s = gathering_s(needs, clients, span_us, further_us)
    writes = 3600 * rate_per_s / (1 + rate_per_s * window_s)
    carried = writes if needs.latest_only else 3600 * rate_per_s
    round_us = write_us + further_us * rate_per_s * window_s
    opened = 3600 / LIFETIME_S
    pauses_per_s = 1 / beat_s if figures.pings else whole_pauses_per_s(writes / 3600, beat_s)
    beats = 0.0 if needs.finite else 3600 * pauses_per_s
    sent = carried * (needs.payload_bytes + figures.event_bytes) + beats * figures.heartbeat_bytes
    sent += opened * figures.open_bytes
    beat_us = at(figures.heartbeat_us, which) + (at(TLS.heartbeat_us, which) if needs.serves_tls else 0.0)
    cpu_us = writes * round_us + beats * beat_us + opened * at(figures.exchange_us, which)
    told, ended = _one_transit(needs)
    fan_out_s = clients * (round_us + span_us - write_us) / 1e6
    mean_s = told.mean_s + _gathered_s(needs, window_s) + fan_out_s / 2
    why_not = "one transit is later than is tolerated" if needs.staleness_s < told.max_s else ended
    if beat_s >= needs.idle_timeout_s and not needs.finite:
        limit_s = needs.idle_timeout_s
        why_not = f"a heartbeat each {beat_s:g} s is too rare for what ends a connection after {limit_s:g} s"
    return Hour(
        beat_s, mean_s, told.max_s + window_s + fan_out_s, opened, sent, 1.0, cpu_us, opened, writes + beats,
        at(figures.memory_kib, which), least_s=told.max_s, round_us=0.0 if needs.finite else span_us,
        fan_out_s=fan_out_s, window_s=window_s, after_cut_s=path_of(needs).gap_s(fresh=True), upkeep=3600 / beat_s,
        why_not=why_not,
    )  # fmt: skip


@functools.lru_cache(8)
def _one_transit(needs: Needs) -> tuple[theory.Expectation, str]:
    """Of every stream."""
    return expected(SSE, path_of(needs, min(needs.beat_s, SAFE * needs.idle_timeout_s)))


def gathering_s(needs: Needs, clients: float, span_us: float, further_us: float) -> float:
    """For how long events are gathered: S - d less the fan-out; 0 where no further one would come in that time.

    The window W and the fan-out of what it gathers take S - d together: W + n (s + f lambda W) = S - d, with n clients
    on a server, s a write's share of the fan-out and f a further event in one.
    """
    slack_s = needs.staleness_s - needs.one_way_s - clients * span_us / 1e6
    window_s = slack_s / (1 + clients * further_us / 1e6 * needs.rate_per_s)
    return window_s if needs.rate_per_s * window_s >= 1 else 0.0


def _gathered_s(needs: Needs, window_s: float) -> float:
    """How long an event is kept on average: the first W, the others W/2; of the newest only, the newest."""
    load = needs.rate_per_s * window_s
    if needs.latest_only:
        return -math.expm1(-load) / needs.rate_per_s if load else 0.0
    return window_s * (1 + load / 2) / (1 + load)


def whole_pauses_per_s(rate_per_s: float, beat_s: float) -> float:
    """Heartbeats: one for each whole *beat_s* without an event, lambda / (e^(lambda B) - 1) with Poisson events."""
    load = rate_per_s * beat_s
    return rate_per_s / math.expm1(load) if 1e-9 < load < 500 else 1 / beat_s if load <= 1e-9 else 0.0


def _add_beginnings(hour: Hour, technique: Technique, needs: Needs, figures: Figures, which: Estimate) -> None:
    """A stream that ends is begun by a POST each time; what is no answer to that POST comes beside it."""
    begun = 3600 / ANSWER_TO_FINITE_S
    hour.requests += begun
    hour.records += 2 * begun
    hour.bytes += begun * (needs.payload_bytes + figures.message_bytes)
    hour.cpu_us += begun * at(figures.message_us, which)
    if technique.kind == "stream" and not technique.bidirectional:
        hour.bytes += begun * figures.open_bytes
        hour.cpu_us += begun * at(figures.exchange_us, which)


def _add_upstream(hour: Hour, technique: Technique, needs: Needs, figures: Figures, which: Estimate) -> None:
    """On the connection itself where both sides send; else by POST, on a connection that is kept if there are many."""
    messages = needs.upstream_per_s * 3600
    hour.bytes += messages * (needs.payload_bytes + figures.message_bytes)
    hour.cpu_us += messages * (
        at(figures.message_us, which) + (at(TLS.exchange_us, which) if needs.serves_tls else 0.0)
    )
    hour.records += 2 * messages
    if technique.bidirectional:
        return
    hour.requests += messages
    if needs.http2 or (technique.kind == "poll" and hour.kept):
        return
    if needs.posts_keep_a_connection:
        hour.held += 1
        hour.memory_kib += POST_MEMORY_KIB
        hour.opened += 3600 / LIFETIME_S
    else:
        hour.held += min(1.0, needs.upstream_per_s * path_of(needs).gap_s(fresh=True))
        hour.opened += messages


HOURS: dict[Kind, Callable[[Needs, Figures, Estimate, float], Hour]] = {
    "poll": polling_hour,
    "hold": long_polling_hour,
    "stream": stream_hour,
}
