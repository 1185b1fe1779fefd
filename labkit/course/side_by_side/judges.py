"""The checks of 08_side_by_side: A1, A9, A10."""

from __future__ import annotations

import math
from collections.abc import Iterator

from labkit.claims import confidence
from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.judging import Part, finding, less, said, timed
from labkit.claims.seen import too_busy, uninterrupted
from labkit.claims.values import shown
from labkit.course.side_by_side.comparison import COLUMNS, Comparison
from labkit.course.side_by_side.messages import Upstream
from labkit.course.side_by_side.newest_value import AgePoint, Ages
from labkit.course.side_by_side.sending import Leg
from labkit.measuring.rounding import counted

ABOVE = 1.25
"""How many times the link's rate an event rate must be to count as above it."""


# A1


def no_technique_wins_everywhere(seen: Comparison) -> Finding:
    """A1. For each technique a column in which its interval lies wholly above the best one's.

    Refuted by a technique that is the best in every column that was measured, its interval apart from all others'.
    """
    if seen.server.why:
        raise NoVerdict("not run", f"the server's columns are missing: {seen.server.why}")
    uninterrupted(seen.run, seen.cut)
    parts = [_is_beaten(seen, technique) for technique in seen.techniques]
    return finding(parts, len(seen.run.published), unit="")


def _is_beaten(seen: Comparison, technique: str) -> Part:
    apart: list[tuple[float, str]] = []
    wins = 0
    for column, (title, unit) in COLUMNS.items():
        mine = seen.interval(column, technique)
        others = {other: seen.interval(column, other) for other in seen.techniques if other != technique}
        best = min(others, key=lambda other: others[other].value)
        if mine.low > others[best].high:
            factor = mine.low / max(others[best].high, 1e-9)
            told = f"{shown(mine.value, unit)} against {shown(others[best].value, unit)} by {best}"
            apart.append((factor, f"{technique} is beaten in {title}: {told}"))
        wins += all(mine.highest < other.lowest for other in others.values())
    if apart:
        return Part("confirmed", max(apart)[1])
    if wins == len(COLUMNS):
        return Part("refuted", f"{technique} is the best in every column, apart from all others")
    return Part("undecided", f"{technique}: in no column does its interval lie apart from the best")


# A9


def conflation_pays(seen: Ages) -> Finding:
    """A9. Above the link's rate: a lower mean age at fewer bytes, for each stream and rate.

    Told from no lower age: by a quarter of what theory's queue makes every event older, at the least. ``measured``:
    the mean age with conflation at the highest rate, in s.
    """
    pairs = list(_pairs(seen))
    uninterrupted(*seen.runs)
    if not pairs:
        raise NoVerdict("not run", f"no event rate was {ABOVE:g} times the link's {seen.capacity_per_s:.0f} events/s")
    noise = next(filter(None, (too_busy(run.settings) for run in seen.runs)), "")
    parts = [part for pair in pairs for part in _pays(*pair, seen.one_way_s, noise)]
    plain, newest = max(pairs, key=lambda pair: pair[0].rate_per_s)
    told = f"newest only {shown(newest.mean_s, 's')} old, every event {shown(plain.mean_s, 's')}"
    told += f"\nthe link has room for {seen.capacity_per_s:.0f} events/s\n{{}}"
    n = sum(plain.received + newest.received for plain, newest in pairs)
    spread = confidence.mean_interval(newest.blocks_s)
    return finding(parts, n, None, spread, reason=told)


def _pairs(seen: Ages) -> Iterator[tuple[AgePoint, AgePoint]]:
    by_key = {(point.technique, point.rate_per_s, point.conflate): point for point in seen.points}
    for (technique, rate_per_s, conflate), plain in by_key.items():
        newest = by_key.get((technique, rate_per_s, True))
        if not conflate and newest is not None and rate_per_s >= ABOVE * seen.capacity_per_s:
            yield plain, newest


def _pays(plain: AgePoint, newest: AgePoint, one_way_s: float, noise: str) -> Iterator[Part]:
    named = f"{plain.technique} at {plain.rate_per_s:g}/s"
    if plain.lost or newest.lost:
        yield Part(
            "undecided", f"{named}: {counted(plain.lost + newest.lost, 'event')} lost, so not every event was delivered"
        )
        return
    queued = len(plain.blocks_s) // 3  # a queue has to build up first
    pairs = zip(plain.blocks_s[queued:], newest.blocks_s[queued:], strict=True)
    gain = confidence.median_interval([every - only for every, only in pairs])
    least_s = (plain.theory_s - one_way_s) / 4
    text = f"{named}: mean age {shown(newest.mean_s, 's')} instead of {shown(plain.mean_s, 's')}"
    text += f", once there is a queue lower by {shown(gain.low, 's')} to {shown(gain.high, 's')}"
    yield timed(Part(confidence.agrees(gain, least_s, math.inf, 0.0, math.inf), text), noise)
    told = f"{named}: {newest.bytes_per_s / 1e3:.0f} kB/s instead of {plain.bytes_per_s / 1e3:.0f}"
    yield said(newest.bytes_per_s < plain.bytes_per_s, told, told)


# A10


def upstream_costs(seen: Upstream) -> Finding:
    """A10. Fewer bytes a message over the WebSocket than by any POST; POSTs swap, the WebSocket does not.

    ``measured``: bytes a message over the WebSocket, its answer included.
    """
    mine = [leg for leg in seen.legs if leg.mode == "websocket"]
    posts = [leg for leg in seen.legs if leg.mode != "websocket"]
    if not mine or not posts:
        raise NoVerdict("not run", "needs messages over a WebSocket and by POST")
    parts = [_fewer_bytes(seen, mode) for mode in dict.fromkeys(leg.mode for leg in posts)]
    parts += [_in_order(mine), _out_of_order(posts)]
    parts += [_nothing_lost(leg) for leg in seen.legs if leg.lost or leg.twice]
    return finding(parts, sum(leg.sent for leg in seen.legs), None, seen.bytes_of("websocket"), "bytes")


def _fewer_bytes(seen: Upstream, mode: str) -> Part:
    mine, other = seen.bytes_of("websocket"), seen.bytes_of(mode)
    return less(mine, other, f"{mine.value:.0f} bytes a message over the WebSocket, {other.value:.0f} by {mode}")


def _in_order(legs: list[Leg]) -> Part:
    swapped = sum(leg.swapped for leg in legs)
    text = f"{swapped} swapped on the WebSocket"
    return said(not swapped, text, text)


def _out_of_order(legs: list[Leg]) -> Part:
    several = [leg for leg in legs if leg.connections > 1]
    swapped = sum(leg.swapped for leg in several)
    if not swapped:
        return Part("undecided", "no POST overtook another in this run")
    return Part("confirmed", f"{swapped} of {sum(leg.sent for leg in several)} POSTs came after a later one")


def _nothing_lost(leg: Leg) -> Part:
    told = f"{leg.mode} at {leg.rate_per_s:g}/s: {leg.lost} lost, {leg.twice} twice"
    return Part("refuted", told)
