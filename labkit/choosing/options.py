"""The arithmetic of a choice: what each technique would do and cost, and whether it can do it at all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from labkit import theory
from labkit.choosing.expecting import expected, path_of
from labkit.choosing.figures import MEASURED, TLS_HANDSHAKE_BYTES, TLS_RECORD_BYTES, Figures, Range
from labkit.choosing.needs import Needs
from labkit.techniques import Technique, find
from labkit.techniques.http_streaming import HTTP_STREAMING
from labkit.techniques.long_polling import LONG_POLLING
from labkit.techniques.polling import POLLING
from labkit.techniques.sse import SSE
from labkit.techniques.websocket import WEBSOCKET
from labkit.theory import Kind
from labkit.theory.path import HEARTBEAT_S, HOLD_S

KEPT_ALIVE_S = 60.0
"""A poller asks on a connection that it keeps, up to this interval; servers end one that is idle for longer."""
SAFE = 0.8
"""Share of an idle time-out after which something is sent."""
LIFETIME_S = 3600.0
"""A stream is assumed to be opened again once an hour."""
UTILISATION = 0.7
"""Share of a core that one server process may be busy."""
CONNECTIONS = 20_000
"""That one server process may hold: the limit of descriptors on the machines where this was measured."""
CORE_BYTES = 4 << 30
"""The memory that goes with one core: holding it all for a second is valued as one core-second."""

NOTEBOOKS = {
    POLLING.name: "01_polling",
    LONG_POLLING.name: "02_long_polling",
    HTTP_STREAMING.name: "03_http_streaming",
    SSE.name: "04_server_sent_events",
    WEBSOCKET.name: "05_websocket",
}
OF_THE_SERVER = ("connections", "work")
"""What 08_side_by_side measured; the other figures stand on the notebook of their technique."""
Estimate = Literal["value", "low", "high"]


def measured_in(technique: str, figure: str) -> str:
    """The notebook that measured what a figure stands on."""
    return "08_side_by_side" if figure in OF_THE_SERVER else NOTEBOOKS[technique]


@dataclass(frozen=True, slots=True)
class Option:
    """One technique for the given needs, all clients together.

    Attributes:
        why_not: why it cannot be used; empty if it can.
        every_s: poll interval, hold time-out or heartbeat interval.
        kept: whether each client holds a connection.
        work_s: the server's core-seconds an hour, memory valued as CPU.
        cost: what it is ranked by: *work_s*, or money an hour where prices were given.
        cost_low, cost_high: between what it may lie, by the figures' ranges.
    """

    technique: str
    why_not: str
    every_s: float
    kept: bool
    mean_s: float
    worst_s: float
    requests_per_h: float
    bytes_per_h: float
    connections: float
    cpu_s_per_h: float
    memory_mib: float
    work_s: float
    cost: float
    cost_low: float
    cost_high: float

    @property
    def feasible(self) -> bool:
        return not self.why_not


@dataclass(slots=True)
class _Client:
    """One client's hour."""

    every_s: float
    mean_s: float
    worst_s: float
    requests: float
    bytes: float
    held: float
    cpu_us: float
    connections_opened: float
    records: float
    memory_kib: float
    why_not: str = ""
    kept: bool = True


def evaluate(needs: Needs, figures: Mapping[str, Figures]) -> list[Option]:
    """Every technique, the cheapest feasible one first, those that cannot be used last."""
    options = [_option(technique, needs, figures[technique]) for technique in MEASURED]
    return sorted(options, key=lambda o: (not o.feasible, o.cost, o.work_s, o.bytes_per_h))


def _option(technique: str, needs: Needs, figures: Figures) -> Option:
    hours = {which: _hour(technique, needs, figures, which) for which in ("value", "low", "high")}
    totals = {which: _total(hour, needs) for which, hour in hours.items()}
    hour, (requests, sent, held, cpu_s, memory_mib, work_s, cost) = hours["value"], totals["value"]
    why_not = hour.why_not or _too_much(needs, cpu_s, held)
    return Option(
        technique, why_not, hour.every_s, hour.kept, hour.mean_s, hour.worst_s, requests, sent, held, cpu_s,
        memory_mib, work_s, cost, totals["low"][-1], totals["high"][-1],
    )  # fmt: skip


def _total(hour: _Client, needs: Needs) -> tuple[float, ...]:
    clients, held = needs.clients, needs.clients * hour.held
    sent = hour.bytes
    if needs.tls:
        sent += hour.records * TLS_RECORD_BYTES + hour.connections_opened * TLS_HANDSHAKE_BYTES
    requests, sent, cpu_s = clients * hour.requests, clients * sent, clients * hour.cpu_us / 1e6
    memory_mib = clients * hour.memory_kib / 1024
    work_s = cpu_s + memory_mib * (1 << 20) / CORE_BYTES * 3600
    prices = dict(needs.prices)
    money = sent / 1e9 * prices.get("per_gb", 0.0) + requests / 1e6 * prices.get("per_million_requests", 0.0)
    money += held * prices.get("per_connection_hour", 0.0)
    return requests, sent, held, cpu_s, memory_mib, work_s, money if prices else work_s


def _too_much(needs: Needs, cpu_s: float, held: float) -> str:
    cores = cpu_s / 3600 / UTILISATION
    if cores > needs.servers:
        return f"needs {cores:.2g} server processes for its CPU, {needs.servers:g} given"
    if held > CONNECTIONS * needs.servers:
        return f"holds {held:,.0f} connections, {CONNECTIONS * needs.servers:,.0f} can be held"
    return ""


def _hour(technique: str, needs: Needs, figures: Figures, which: Estimate) -> _Client:
    described = find(technique)
    hour = _HOURS[described.kind](needs, figures, which)
    hour.why_not = _stopped(described, needs) or hour.why_not
    if needs.upstream_per_s:
        _add_upstream(hour, described, needs, figures, which)
    return hour


def _at(range_: Range, which: Estimate) -> float:
    return range_.value if which == "value" else range_.low if which == "low" else range_.high


def polling_hour(needs: Needs, figures: Figures, which: Estimate) -> _Client:
    """A poll every S - d: the worst latency, T + d, is then what is tolerated."""
    d, interval_s = needs.one_way_s, needs.staleness_s - needs.one_way_s
    kept = interval_s <= min(KEPT_ALIVE_S, SAFE * needs.idle_timeout_s)
    path = path_of(needs)
    gap_s = path.gap_s(fresh=not kept)
    why_not = ""
    if interval_s < gap_s or interval_s <= 0:
        why_not = f"a poll is answered after {gap_s / d if d else 0:.0f}d: later than is tolerated"
        interval_s = max(gap_s, 1e-3)
    polls = 3600 / interval_s
    carried = needs.rate_per_s * interval_s
    if needs.latest_only:
        carried = -math.expm1(-carried)
    sent = polls * (_at(figures.exchange_bytes, which) + carried * (needs.payload_bytes + figures.event_bytes))
    cpu_us = polls * (_at(figures.exchange_us, which) + carried * _at(figures.event_us, which))
    held = 1.0 if kept else min(1.0, gap_s / interval_s)
    told = expected(POLLING, path, interval_s=interval_s, keep_alive=kept, conflate=needs.latest_only)
    opened = 3600 / LIFETIME_S if kept else polls
    memory = held * _at(figures.memory_kib, which)
    return _Client(interval_s, told.mean_s, told.max_s, polls, sent, held, cpu_us, opened, 2 * polls, memory,
                   why_not, kept)  # fmt: skip


def long_polling_hour(needs: Needs, figures: Figures, which: Estimate) -> _Client:
    d, rate_per_s = needs.one_way_s, needs.rate_per_s
    hold_s, gap_s = min(HOLD_S, SAFE * needs.idle_timeout_s), theory.request_gap(needs.one_way_s)
    told = expected(LONG_POLLING, path_of(needs), hold_s=hold_s, conflate=needs.latest_only)
    late = "an event just after an answer takes 3d: later than is tolerated"
    why_not = "" if needs.staleness_s >= told.max_s else late
    asked = 3600 * theory.long_polling_requests_per_s(rate_per_s, d, hold_s)
    carried = rate_per_s * 3600
    if needs.latest_only:
        carried = asked * (1 - theory.long_polling_empty_fraction(rate_per_s, hold_s, gap_s))
    sent = asked * _at(figures.exchange_bytes, which) + carried * (needs.payload_bytes + figures.event_bytes)
    cpu_us = asked * _at(figures.exchange_us, which) + carried * _at(figures.event_us, which)
    return _Client(hold_s, told.mean_s, told.max_s, asked, sent, 1.0, cpu_us, 3600 / LIFETIME_S, 2 * asked,
                   _at(figures.memory_kib, which), why_not)  # fmt: skip


def stream_hour(needs: Needs, figures: Figures, which: Estimate) -> _Client:
    beat_s = min(HEARTBEAT_S, SAFE * needs.idle_timeout_s)
    deliveries, opened = needs.rate_per_s * 3600, 3600 / LIFETIME_S
    beats = 3600 * _whole_pauses_per_s(needs.rate_per_s, beat_s)
    sent = deliveries * (needs.payload_bytes + figures.event_bytes) + beats * figures.heartbeat_bytes
    sent += opened * figures.open_bytes
    cpu_us = (deliveries + beats) * _at(figures.event_us, which) + opened * _at(figures.exchange_us, which)
    told = expected(SSE, path_of(needs, beat_s))  # of every stream: one transit
    why_not = "" if needs.staleness_s >= told.max_s else "one transit is later than is tolerated"
    return _Client(beat_s, told.mean_s, told.max_s, opened, sent, 1.0, cpu_us, opened, deliveries + beats,
                   _at(figures.memory_kib, which), why_not)  # fmt: skip


def _stopped(technique: Technique, needs: Needs) -> str:
    """Why something on the path lets none of it through; empty where it does."""
    if needs.meets("buffering-proxy") and not technique.through_buffering:
        return "a proxy on the path holds an answer back until its end"
    if needs.meets("blocks-upgrade") and "Upgrade" in technique.http1_only:
        return "something on the path refuses the Upgrade"
    return ""


def _whole_pauses_per_s(rate_per_s: float, beat_s: float) -> float:
    """Heartbeats: one for each whole *beat_s* without an event, lambda / (e^(lambda B) - 1) with Poisson events."""
    load = rate_per_s * beat_s
    return rate_per_s / math.expm1(load) if 1e-9 < load < 500 else 1 / beat_s if load <= 1e-9 else 0.0


def _add_upstream(hour: _Client, technique: Technique, needs: Needs, figures: Figures, which: Estimate) -> None:
    """On the connection itself where both sides send, or by POST on one beside the one that is held."""
    messages = needs.upstream_per_s * 3600
    hour.bytes += messages * (needs.payload_bytes + figures.message_bytes)
    hour.cpu_us += messages * _at(figures.message_us, which)
    hour.records += 2 * messages
    if technique.bidirectional:
        return
    hour.requests += messages
    if technique.kind != "poll" or not hour.kept:
        beside = min(1.0, needs.upstream_per_s * KEPT_ALIVE_S)
        hour.held += beside
        hour.memory_kib += beside * POST_MEMORY_KIB
        hour.connections_opened += min(messages, 3600 / KEPT_ALIVE_S)


POST_MEMORY_KIB = 6.5
"""Of a connection that is kept alive between requests, as measured for polling."""
_HOURS: dict[Kind, Callable[[Needs, Figures, Estimate], _Client]] = {
    "poll": polling_hour,
    "hold": long_polling_hour,
    "stream": stream_hour,
}

_FORMULAS: dict[Kind, dict[str, str]] = {
    "poll": {
        "mean": "T/2 + d, T = S - d; newest only: d + 1/lambda - T / (e^(lambda T) - 1)",
        "worst": "T + d = S",
        "requests/h": "N 3600/T",
        "bytes/h": "N 3600 (lambda (p + e) + x/T); newest only: at most one event a poll",
        "connections": "N kept alive up to T = 60 s, else N 4d/T",
        "work": "N 3600 (exchange/T + lambda event) + memory",
    },
    "hold": {
        "mean": "d + (g/2) a / (a + e^-a (1 - e^(-lambda H))), a = lambda g, g = 2d",
        "worst": "d + g = 3d",
        "requests/h": "N 3600 / (g + e^-a (1 - e^(-lambda H)) / lambda)",
        "bytes/h": "x requests/h + N 3600 lambda (p + e)",
        "connections": "N",
        "work": "requests/h exchange + N 3600 lambda event + memory",
    },
    "stream": {
        "mean": "d",
        "worst": "d; a cut adds the time to reconnect",
        "requests/h": "N, opened again once an hour",
        "bytes/h": "N (3600 (lambda (p + e) + lambda b / (e^(lambda B) - 1)) + open)",
        "connections": "N",
        "work": "N 3600 (lambda + heartbeats) delivery + memory",
    },
}
FORMULAS = {name: _FORMULAS[find(name).kind] for name in MEASURED}
"""Per technique and figure: S tolerated, d transit, T interval, H hold, N clients, p payload, e what an event adds, x
an exchange, b a heartbeat, B its interval."""
