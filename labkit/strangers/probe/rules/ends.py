"""How streams end: the two clocks of a cut (rows 8, 9 and 12), and closes that give a reason (row 21)."""

from __future__ import annotations

from itertools import pairwise

from labkit.strangers.probe.finding import Finding, tap_between
from labkit.strangers.probe.observation import Observation, Seen
from labkit.strangers.probe.remedies import IDLE, LIFETIME, lines

LEAST_IDLE_S = 0.4
"""Nobody sets a shorter limit: what is cut sooner after a byte was not cut for its silence."""
LUCKY = 4
"""Pings that a limit as long as from one to the next lets pass by chance, less one."""
KNOWN = {
    15: "envoy's route (a lifetime)",
    30: "HAProxy as often set, some clouds",
    50: "HAProxy as its documentation sets it",
    60: "nginx, apache, varnish, an AWS application load balancer",
    120: "Cloudflare, by its documentation of 2026",
    300: "undici, of which node's fetch is made, as a hop's client",
}


def is_same(a_s: float, b_s: float) -> bool:
    """Whether two cuts show one limit: limits are looked at in steps, and pieces travel."""
    return abs(a_s - b_s) <= max(0.2, 0.05 * max(a_s, b_s))


def known(seconds: float) -> str:
    """Whose limit that is known to be."""
    found = next((whose for limit, whose in KNOWN.items() if abs(seconds - limit) <= max(0.7, 0.02 * limit)), "")
    return f"{found}: {seconds:.0f} s" if found else ""


def _longest_silence_s(one: Observation) -> float:
    return max(one.gaps_s, default=0.0)


def _could_be_idle(one: Observation) -> bool:
    """Whether it was cut in the longest silence that it ever had."""
    return one.idle_s >= LEAST_IDLE_S and one.idle_s > 1.1 * _longest_silence_s(one)


def _told(one: Observation) -> str:
    how = "reset" if one.end == "reset" else "FIN without an end of the body"
    if one.kind == "messages":
        how = "1006: no close frame"
    return f"{how}, {one.idle_s:.2f} s after the last byte, {one.end_s:.2f} s after the request"


def _heartbeat(one: Observation) -> str:
    what = {"messages": "a ping", "event-stream": "a comment line: `:` LF"}.get(one.kind, "an empty line or part")
    return f"send a heartbeat each {max(one.idle_s / 2.5, 0.1):.3g} s ({what})"


def cut(seen: Seen) -> Finding | None:
    """Rows 8, 9 and 12. Two cuts make a constant."""
    first = seen.first
    if not first.is_cut or not first.status:
        return None
    again = seen.others.get("again")
    second = again if again is not None and again.is_cut else None
    evidence = [_told(first), *([f"asked again: {_told(second)}"] if second else [])]
    if again is not None and second is None:
        evidence.append(f"asked again: not cut within {again.end_s:.1f} s")
    if (control := _only_data_counts(first, second)) is not None:
        return control
    both = [first, *([second] if second else [])]
    idle = all(_could_be_idle(one) for one in both) and (second is None or is_same(first.idle_s, second.idle_s))
    life = second is None or is_same(first.end_s, second.end_s)
    if again is not None and second is None and again.status == first.status:  # what it has survived is no limit
        idle = idle and max(_longest_silence_s(again), again.idle_s) < 1.1 * first.idle_s
        life = life and again.end_s < 1.1 * first.end_s
    whose = [each for each in (known(first.idle_s) if idle else "", known(first.end_s) if life else "") if each]
    died = "the server, or the application behind it, ended the connection itself"
    idle_left = f"an idle limit of about {first.idle_s:.0f} s at a hop (row 8)"
    life_left = f"a lifetime limit of about {first.end_s:.0f} s (row 9)"
    beats = "" if first.heartbeats else ", and whether heartbeats were sent that never came (row 11)"
    place = tap_between(seen, f"which side sent the FIN{beats}")
    evidence += [f"known limits: {one}" for one in whose]
    if second is not None and idle and not life:
        return Finding(8, "seen", f"cut each time {first.idle_s:.1f} s after the last byte: an idle limit",
                       tuple(evidence), remedy=(
                           _heartbeat(first),
                           *lines(IDLE, first)), elsewhere=place)  # fmt: skip
    if second is not None and life and not idle:
        by_place = [e.key for e in first.events] == [e.key for e in second.events] and max(
            first.idle_s, second.idle_s) < 0.05  # fmt: skip
        if by_place:
            return Finding(9, "consistent with", f"cut each time {first.end_s:.1f} s after the start, right behind the "
                           "same byte", tuple(evidence), (life_left, died), lines(LIFETIME, first), place)  # fmt: skip
        return Finding(9, "seen", f"cut each time {first.end_s:.1f} s after the start, whatever flows: a lifetime "
                       "limit", tuple(evidence), remedy=lines(LIFETIME, first), elsewhere=place)  # fmt: skip
    if idle:
        left = (idle_left, *((life_left,) if life else ()), died)
        return Finding(
            8, "consistent with", f"cut {first.idle_s:.1f} s after the last byte, in its longest silence",
            tuple(evidence), left,
            (_heartbeat(first), *lines(IDLE, first)), place)  # fmt: skip
    left = (*((life_left,) if life else ()), died, "a network that lost the connection")
    says = f"cut after {first.end_s:.1f} s, {first.idle_s:.2f} s after the last byte"
    remedy = lines(LIFETIME, first) if life else ("the server's own log at that moment",)
    return Finding(9 if life else 0, "consistent with", says, tuple(evidence), left, remedy, place)


def _only_data_counts(first: Observation, second: Observation | None) -> Finding | None:
    """Row 12: control frames flow, and it is cut a constant time after the last frame of data."""
    if first.kind != "messages" or not first.heartbeats:
        return None
    since = [_since_data_s(one) for one in (first, *([second] if second else []))]
    beats = [t for t in first.heartbeats if not first.events or t > first.events[-1].t_s]
    if len(beats) < 2:
        return None
    each_s = max(b - a for a, b in pairwise(beats))
    if first.idle_s > 1.5 * each_s:
        return None
    if second is not None and is_same(first.end_s, second.end_s) and not is_same(since[0], since[1]):
        return None  # a lifetime
    says = f"cut {since[0]:.1f} s after the last message, though {len(beats)} pings came behind it"
    evidence = tuple(f"1006: no close frame, {each:.2f} s after the last data frame" for each in since)
    constant = second is not None and is_same(since[0], since[1]) and not is_same(first.end_s, second.end_s)
    seldom = first.idle_s > 0.8 * each_s and len(beats) < LUCKY  # a ping may have been just in time, and the next not
    remedy = (f"send messages (not pings) more often than each {since[0]:.3g} s, or", *lines(IDLE, first))
    if constant and not seldom:
        return Finding(12, "seen", says, evidence, remedy=remedy)
    left = ("a hop that does not count control frames (row 12)",
            *((f"an idle limit as long as from one ping to the next, {each_s:.3g} s (row 12)",) if seldom else ()),
            *((f"a lifetime limit of {first.end_s:.0f} s (row 9)",) if second is None else ()),
            "the server itself")  # fmt: skip
    return Finding(12, "consistent with", says, evidence, left, remedy)


def _since_data_s(one: Observation) -> float:
    return one.end_s - (one.events[-1].t_s if one.events else one.head_s or 0.0)


def too_large(seen: Seen) -> Finding | None:
    """Row 21: 1009, and what the last message weighed."""
    first = seen.first
    if first.close_code != 1009:
        return None
    last = first.events[-1].size if first.events else 0
    return Finding(21, "seen", "the connection was closed with 1009: a message is over somebody's limit",
                   (f"close code 1009 {first.close_reason!r}; the last whole message had {last} bytes",),
                   remedy=("raise the largest message at the hop that closes (often 65 536), or send smaller ones",),
                   elsewhere=tap_between(seen, "which hop closes"))  # fmt: skip
