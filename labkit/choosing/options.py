"""What each technique would do and cost for given needs, on how many servers, and whether it can do it at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from labkit.charts import style
from labkit.choosing.figures import MEASURED, Figures
from labkit.choosing.hours import Estimate, Hour, hour_of
from labkit.choosing.needs import SIX, Needs
from labkit.measuring.rounding import counted
from labkit.techniques import Technique, find
from labkit.techniques.http_streaming import HTTP_STREAMING
from labkit.techniques.sse import SSE
from labkit.techniques.websocket import WEBSOCKET

UTILISATION = 0.7
"""Share of a core that one server process may be busy."""
CONNECTIONS = 20_000
"""That one server process may hold: the limit of descriptors on the machines where this was measured."""
CORE_BYTES = 4 << 30
"""The memory that goes with one core: holding it all for a second is valued as one core-second."""
FEWEST = 100
"""Clients of a server below which nobody starts another one, so that a fan-out is over sooner: a judgement."""
ALIKE = 2.0
"""Two costs further apart than this factor are not alike, however wide their ranges: a judgement."""
NOTHING = "nothing"
UNPAYING = "does not pay"
PAYS = 1000
"""Polls, holds or heartbeats for one event, from which on none of it pays: a judgement, not a measurement."""


@dataclass(frozen=True, slots=True)
class Option:
    """One technique for the given needs, all clients together.

    Attributes:
        why_not: why it cannot be used; empty if it can.
        burden: what it asks of whoever builds it and others do not; an option without one goes first.
        every_s: poll interval, hold time-out or heartbeat interval.
        kept: whether each client holds a connection.
        window_s: for how long a stream gathers events before a write.
        fan_out_s: from the first client's delivery to the last one's on one server.
        after_cut_s: how late an event may be that falls into a cut, from the cut's end on.
        upkeep: polls, holds or heartbeats for one event.
        servers: server processes, as many as it takes.
        servers_for: what asks for more than one; empty of one.
        again_s, again_low_s, again_high_s: CPU of one server when all of its clients come back at once, and between
            what that may lie.
        work_s: the server's core-seconds an hour, memory valued as CPU.
        cost: what it is ranked by: *work_s*, or money an hour where prices were given.
        cost_low, cost_high: between what it may lie, by the figures' ranges.
    """

    technique: str
    why_not: str
    burden: str
    every_s: float
    kept: bool
    mean_s: float
    worst_s: float
    window_s: float
    fan_out_s: float
    after_cut_s: float
    upkeep: float
    servers: float
    servers_for: str
    again_s: float
    again_low_s: float
    again_high_s: float
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

    @property
    def kind(self) -> str:
        return find(self.technique).kind

    @property
    def rank(self) -> tuple[bool, bool, float, float, float]:
        return not self.feasible, bool(self.burden), self.cost, self.work_s, self.bytes_per_h

    def is_alike(self, other: Option) -> bool:
        """Whether it costs as much as *other*, within the figures' ranges, and asks for nothing more.

        Ranges that are wider than a factor of :data:`ALIKE` tell of a machine that was busy, not of what is alike.
        """
        same = self.feasible and other.feasible and bool(self.burden) == bool(other.burden)
        near = max(self.cost, other.cost) <= ALIKE * min(self.cost, other.cost)
        return same and near and self.cost_low <= other.cost_high and other.cost_low <= self.cost_high


def evaluate(needs: Needs, figures: Mapping[str, Figures]) -> list[Option]:
    """Every technique, the best first, those that cannot be used last.

    The cheapest is the best; of streams that are alike, SSE is, or the WebSocket where clients have something to say.
    """
    options = sorted((_option(find(name), needs, figures[name]) for name in MEASURED), key=lambda o: o.rank)
    best = options[0]
    if best.feasible and best.kind == "stream":
        wanted = (WEBSOCKET.name, SSE.name) if needs.upstream_per_s else (SSE.name, WEBSOCKET.name)
        alike = {o.technique: o for o in options if o.kind == "stream" and o.is_alike(best)}
        first = next((alike[name] for name in wanted if name in alike), best)
        options.sort(key=lambda option: option is not first)
    return options


def winner(needs: Needs, figures: Mapping[str, Figures]) -> str:
    """The best technique; ``nothing`` where none can do it, or pays."""
    best = evaluate(needs, figures)[0]
    return best.technique if best.feasible else NOTHING


def _option(technique: Technique, needs: Needs, figures: Figures) -> Option:
    hour, servers, servers_for, wants = _on_servers(technique, needs, figures)
    hours: dict[Estimate, Hour] = {"value": hour}
    for which in ("low", "high"):
        hours[which] = hour_of(technique, needs, figures, which, servers)
    totals = {which: _total(hour, needs) for which, hour in hours.items()}
    requests, sent, held, cpu_s, memory_mib, work_s, cost = totals["value"]
    upkeep = 0.0 if needs.finite else hour.upkeep / (3600 * needs.rate_per_s)
    why_not = _stopped(technique, needs) or hour.why_not or wants or _does_not_pay(technique, upkeep)
    again_s, again_low_s, again_high_s = (needs.clients / servers * each.again_us / 1e6 for each in hours.values())
    return Option(
        technique.name, why_not, _burden(technique, needs), hour.every_s, hour.kept, hour.mean_s, hour.worst_s,
        hour.window_s, hour.fan_out_s, hour.after_cut_s, upkeep, servers, servers_for, again_s,
        again_low_s, again_high_s, requests, sent, held, cpu_s, memory_mib, work_s, cost,
        min(totals["low"][-1], cost), max(totals["high"][-1], cost),
    )  # fmt: skip


def _on_servers(technique: Technique, needs: Needs, figures: Figures) -> tuple[Hour, float, str, str]:
    """A client's hour with as many servers as it takes; how many, what for, and why those that were given do not do."""
    servers, what_for = needs.servers or 1.0, ""
    hour = hour_of(technique, needs, figures, "value", servers)
    for _ in range(5):
        wanted, what = max(_limits(hour, needs))
        if wanted <= servers or hour.why_not:
            late = hour.fan_out_s and hour.worst_s > needs.staleness_s * (1 + 1e-9)
            said = f"its last client is {style.seconds(hour.worst_s)} late, by the fan-out" if late else ""
            return hour, servers, what_for, said
        if needs.servers is not None:
            said = f"needs {counted(wanted, 'server', f'{wanted:,.0f}')} for {what}, {servers:,.0f} given"
            return hour, servers, "", said
        servers, what_for = wanted, what
        hour = hour_of(technique, needs, figures, "value", servers)
    return hour, servers, what_for, ""


def _limits(hour: Hour, needs: Needs) -> list[tuple[float, str]]:
    """Servers for the CPU, for the connections, and for a fan-out that is over in time."""
    clients, slack_s = needs.clients, needs.staleness_s - hour.least_s
    rounds = clients * hour.round_us / 1e6 / slack_s if slack_s > 0 else math.inf
    rounds = min(rounds, max(1.0, clients / FEWEST)) if hour.round_us else 0.0
    held = clients * hour.held
    return [
        (math.ceil(clients * hour.cpu_us / 3.6e9 / UTILISATION - 1e-9), "its CPU"),
        (math.ceil(held / CONNECTIONS - 1e-9), f"its {held:,.0f} connections"),
        (math.ceil(rounds - 1e-9), "a fan-out that is over in time"),
    ]


def _total(hour: Hour, needs: Needs) -> tuple[float, ...]:
    clients, held = needs.clients, needs.clients * hour.held
    requests, sent, cpu_s = clients * hour.requests, clients * hour.bytes, clients * hour.cpu_us / 1e6
    memory_mib = clients * hour.memory_kib / 1024
    work_s = cpu_s + memory_mib * (1 << 20) / CORE_BYTES * 3600
    prices = dict(needs.prices)
    money = sent / 1e9 * prices.get("per_gb", 0.0) + requests / 1e6 * prices.get("per_million_requests", 0.0)
    money += held * prices.get("per_connection_hour", 0.0)
    return requests, sent, held, cpu_s, memory_mib, work_s, money if prices else work_s


def _stopped(technique: Technique, needs: Needs) -> str:
    """Why something on the path lets none of it through; empty where it does."""
    if needs.meets("buffering-proxy") and not technique.through_buffering:
        return "a proxy on the path holds an answer back until its end"
    if needs.meets("blocks-upgrade") and "Upgrade" in technique.http1_only:
        return "something on the path refuses the Upgrade"
    if technique.kind != "poll" and "Upgrade" not in technique.http1_only and not needs.http2:
        if needs.held_per_browser > SIX:
            return f"a browser gives a host {SIX} connections over HTTP/1.1: {needs.held_per_browser:g} would wait"
    return ""


def _does_not_pay(technique: Technique, upkeep: float) -> str:
    what = {"poll": "polls", "hold": "held requests", "stream": "heartbeats"}[technique.kind]
    return f"{UNPAYING}: {upkeep:,.0f} {what} for one event" if upkeep >= PAYS else ""


def _burden(technique: Technique, needs: Needs) -> str:
    """What it asks for that others do not; empty for one that does the whole."""
    if needs.finite:
        return _BESIDE_A_POST.get(technique.name, "asks at a second address for what the POST's own answer carries")
    if needs.ordered and needs.upstream_per_s and not technique.bidirectional:
        return "POSTs on several connections overtake each other (A10): number them, or send one at a time"
    if technique is HTTP_STREAMING:
        return "reading, resuming and heartbeats are yours to write: SSE costs the same and has them"
    return ""


_BESIDE_A_POST = {
    HTTP_STREAMING.name: "",
    SSE.name: "EventSource cannot POST",
    WEBSOCKET.name: "a connection beside the POST, whose answers have to be told apart",
}
