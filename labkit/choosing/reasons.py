"""Why a choice is as it is, and what has to be built with it: one sentence each, and only where it applies."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from labkit.charts import style
from labkit.choosing.answering import UNPAID, alike_with
from labkit.choosing.figures import Figures
from labkit.choosing.flips import first_at, named, shown
from labkit.choosing.needs import POST_KEPT_S, Needs
from labkit.choosing.options import CONNECTIONS, NOTHING, UNPAYING, Option, evaluate, winner
from labkit.measuring.rounding import counted
from labkit.techniques import find
from labkit.techniques.sse import SSE

LATE = 0.05
"""Share of the tolerated staleness from which on a fan-out is worth a word."""
HERD = 5.0
"""Seconds of a server's CPU from which on the return of all clients is worth a word."""


@dataclass(frozen=True, slots=True)
class Case:
    """What a reason may look at."""

    needs: Needs
    figures: Mapping[str, Figures]
    options: list[Option]

    @property
    def best(self) -> Option:
        return self.options[0]

    @property
    def usable(self) -> list[Option]:
        """The best, and what is alike with it."""
        return [self.best, *alike_with(self.options)] if self.best.feasible else []


def reasons(needs: Needs, figures: Mapping[str, Figures], options: list[Option]) -> list[str]:
    """All that apply."""
    case = Case(needs, figures, options)
    return [*needs.taken, *(said for rule in RULES for said in rule(case))]


def _unpaid(case: Case) -> Iterator[str]:
    if case.best.feasible or not any(o.why_not.startswith(UNPAYING) for o in case.options):
        return
    rate = case.needs.rate_per_s
    stream = next(o for o in case.options if o.kind == "stream")
    yield (f"A stream sends {86_400 / stream.every_s:,.0f} heartbeats a day, {stream.upkeep:,.0f} for one event: "
           f"{UNPAID}.")  # fmt: skip
    yield f"Or tolerate more: a poll an hour is {style.number(1 / (3600 * rate))} for one event."


def _order(case: Case) -> Iterator[str]:
    needs = case.needs
    if not needs.upstream_per_s:
        return
    overtaken = -math.expm1(-needs.upstream_per_s * 2 * needs.one_way_s)
    if needs.ordered and case.best.feasible and find(case.best.technique).bidirectional:
        yield (f"Order is the reason: a connection keeps it. Of the messages, {overtaken:.0%} leave before the one "
               "before is answered, and POSTs over several connections overtake each other (A10).")  # fmt: skip
    elif overtaken >= 0.05 and not needs.ordered:
        yield (f"{overtaken:.0%} of the messages leave before the one before is answered: as POSTs they may overtake "
               "each other (A10). If their order matters, say ordered=True.")  # fmt: skip


def _burden(case: Case) -> Iterator[str]:
    """Of an answer that only wins since what is free of it cannot be had."""
    if case.best.feasible and case.best.burden:
        yield f"Mind, {case.best.burden}."


def _finite(case: Case) -> Iterator[str]:
    if not case.needs.finite or not case.best.feasible:
        return
    if not case.best.burden:
        yield "Never polling, which asks at a second address; never EventSource, which cannot POST."
    yield "Nothing is there to resume after a cut, unless the POST names a topic: then a GET goes on from a cursor."


def _writes(case: Case) -> Iterator[str]:
    best, needs = case.best, case.needs
    if best.kind != "stream" or not best.window_s or not best.feasible:
        return
    writes = needs.rate_per_s / (1 + needs.rate_per_s * best.window_s)
    what = "with conflation, the newest value only" if needs.latest_only else "whatever has come by then"
    yield (f"One write per {style.seconds(best.window_s)} (S - d{', less the fan-out' if best.fan_out_s > 1e-3 else ''}"
           f"), {what}: {counted(float(f'{writes:.2g}'), 'write', f'{writes:.2g}')} a second instead of "
           f"{needs.rate_per_s:g}.")  # fmt: skip


def _servers(case: Case) -> Iterator[str]:
    best = case.best
    if best.feasible and best.servers > 1 and case.needs.servers is None:
        yield (f"{best.servers:,.0f} servers are proposed, for {best.servers_for}: {CONNECTIONS:,} connections at the "
               f"most on each, and {case.needs.clients / best.servers:,.0f} clients in its fan-out.")  # fmt: skip


def _fan_out(case: Case) -> Iterator[str]:
    best, needs = case.best, case.needs
    if not best.feasible or best.fan_out_s <= LATE * needs.staleness_s:
        return
    said = (f"The last of {needs.clients / best.servers:,.0f} clients on a server gets an event "
            f"{style.seconds(best.fan_out_s)} after the first; that is in its worst latency")  # fmt: skip
    if needs.serves_tls and best.kind == "stream":
        ended = evaluate(needs.changed("path", (*needs.path, "ends-tls")), case.figures)
        other = next(o for o in ended if o.technique == best.technique)
        there = counted(other.servers, "server", f"{other.servers:,.0f}")
        said += (". The servers end TLS themselves, which direct fan-out cannot write: behind what ends it for them, "
                 f"{style.seconds(other.fan_out_s)} on {there}")  # fmt: skip
    yield f"{said}."


def _upstream(case: Case) -> Iterator[str]:
    needs = case.needs
    by_post = [o for o in case.usable if not find(o.technique).bidirectional]
    if not needs.upstream_per_s or not by_post:
        return
    if needs.http2:
        yield "Over HTTP/2 a POST shares the client's connection."
    elif needs.posts_keep_a_connection:
        yield f"A POST each {style.seconds(1 / needs.upstream_per_s)} keeps a second connection open."
    else:
        yield (f"A POST each {style.seconds(1 / needs.upstream_per_s)} holds no second connection: one is taken to "
               f"be opened for each, where they are more than {POST_KEPT_S:g} s apart.")  # fmt: skip


def _herd(case: Case) -> Iterator[str]:
    best = case.best
    if best.feasible and best.kind != "poll" and best.again_s >= HERD:
        yield (f"After a deploy all come back at once: {style.seconds(best.again_s)} of each server's CPU "
               f"({style.seconds(best.again_low_s)} to {style.seconds(best.again_high_s)}). A random wait in each "
               "client spreads the herd.")  # fmt: skip


def _after_a_cut(case: Case) -> Iterator[str]:
    best = case.best
    if best.feasible and best.kind != "poll" and best.after_cut_s > case.needs.staleness_s and not case.needs.finite:
        wait = "SSE's reconnection time (retry:)" if best.technique == SSE.name else "a client's first wait"
        tls = ", TLS's handshake" if case.needs.tls else ""
        yield (f"After a cut an event is up to {style.seconds(best.after_cut_s)} late, more than is tolerated: "
               f"{wait}, a connection{tls}, a request.")  # fmt: skip


def _behind_a_buffer(case: Case) -> Iterator[str]:
    needs, best = case.needs, case.best
    if not best.feasible or needs.finite or find(best.technique).through_buffering or "buffering-proxy" in needs.path:
        return
    held = needs.changed("path", (*needs.path, "buffering-proxy", "ends-tls"))
    there = winner(held, case.figures)
    walled = winner(held.changed("path", (*held.path, "blocks-upgrade")), case.figures)
    if there == walled or walled == NOTHING:
        yield f"Behind a proxy that holds an answer back until its end: {named(there)}."
    else:
        yield (f"Behind a proxy that holds an answer back until its end: {named(there)}, or {named(walled)} where it "
               "refuses the Upgrade as well.")  # fmt: skip


def _polling_from(case: Case) -> Iterator[str]:
    """From which staleness on polling wins, where that is near enough to think about."""
    needs = case.needs
    if needs.finite or not case.best.feasible or case.best.kind == "poll":
        return
    found = first_at(needs, case.figures, "staleness_s", "polling", 30 * needs.staleness_s)
    if found is not None:
        yield f"Interval polling wins from {shown('staleness_s', found)} on."


RULES: tuple[Callable[[Case], Iterator[str]], ...] = (
    _unpaid, _order, _burden, _finite, _writes, _servers, _fan_out, _upstream, _herd, _after_a_cut, _behind_a_buffer,
    _polling_from,
)  # fmt: skip
