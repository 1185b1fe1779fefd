"""The checks of 01_polling that are about time: P1, P2, N1. Those of P3 to P5 are in ``judges_load``.

Pollers at stratified phases make a mean so narrow that the apparatus shows in it. A mean therefore has a tolerance
where it is swept (P1): half a transit, which is what tells T/2 + d from T/2, from T/2 + 2d, and the client that polls
every T from the one that waits T after each answer. One that is too late by no more than the run itself saw its
loop stand still is undecided, not refuted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from labkit import theory
from labkit.claims import confidence
from labkit.claims.confidence import Interval, Verdict
from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.judging import LEAST_EVENTS, TOLERANCE, Part, finding, listed, named, near, none_lost
from labkit.claims.seen import HELD_UP, Seen, lost_part, range_part, see
from labkit.claims.values import shown
from labkit.course import latency
from labkit.course.polling.intervals import Sweep
from labkit.course.polling.price import Costs
from labkit.course.polling.waiting import Waited

# P1


def polling_is_late(seen: Any) -> Finding:
    """P1: latencies in [d, P + d] with the mean P/2 + d for each interval, and P = T + 2d for a client that waits.

    Takes a sweep, or a run of plain polling as :func:`labkit.course.latency.polling_is_late` does. ``measured``: the
    mean of the longest interval.
    """
    if not isinstance(seen, Sweep):
        return latency.polling_is_late(seen)
    parts = []
    longest = max(seen.pollers, key=lambda poller: (poller.interval_s, not poller.waiting))
    for poller in seen.pollers:
        saw = see(seen.run, poller.name, noise_limit_s=min(p.interval_s for p in seen.pollers) / 10)
        theory, mean = poller.theory(saw.one_way_s), _mean(saw)
        found = _mean_part(saw, mean, theory), range_part(saw, theory.min_s, theory.max_s), lost_part(saw)
        parts += [named(poller.name, part) for part in found]
        if poller is longest:
            expected_s, measured, n = theory.mean_s, mean, saw.n
    verdict = confidence.combine(part.verdict for part in parts)
    return Finding(expected_s, measured.value, measured, n, verdict, _told(verdict, parts))


def _mean(saw: Seen) -> Interval:
    return confidence.mean_interval(listed(saw.latency_s), groups=listed(saw.event))


def _mean_part(saw: Seen, mean: Interval, theory: theory.Expectation) -> Part:
    half_s = saw.one_way_s / 2
    verdict = confidence.within(mean, theory.mean_s - half_s, theory.mean_s + half_s)
    if verdict == "refuted" and theory.mean_s + half_s < mean.low <= theory.mean_s + half_s + saw.stall_s:
        verdict = "undecided"
    return Part(verdict, f"mean {shown(mean.value, 's')} against {shown(theory.mean_s, 's')}")


def _told(verdict: Verdict, parts: Iterable[Part]) -> str:
    """What decided it; where all agree, what was found of the means."""
    guilty = [part.text for part in parts if part.verdict == verdict and verdict != "confirmed"]
    return "; ".join(guilty or [part.text for part in parts if "mean" in part.text or part.verdict != "confirmed"])


# P2

SLIP = 0.04
"""Share of their interval by which pollers may be slower than they were told."""


def cost_rises(seen: Costs) -> Finding:
    """P2: bytes per event are b + h/(lambda T), h one request with an empty answer, b what an event adds; e^(-lambda T)
    of the answers are empty.

    Each topic gives a line through its own points, so that topics are the independent samples. ``measured``: h.
    """
    frame = seen.frame
    if len(frame) < 2 * LEAST_EVENTS or frame["topic"].nunique() < 4:
        raise NoVerdict("undecided", f"{len(frame)} pollers are too few", len(frame))
    slip = float((frame["span_s"] / frame["interval_s"] / frame["polls"]).groupby(frame["interval_s"]).mean().max()) - 1
    if slip > SLIP:
        raise NoVerdict("undecided", f"this machine is too busy: pollers fell {slip:.0%} behind", len(frame))
    lines = [line for _, part in frame.groupby("topic") if (line := _line(part)) is not None]
    h, b = (confidence.mean_interval([line[i] for line in lines]) for i in (0, 1))
    off = max((line[2] for line in lines), default=math.inf)
    parts = [
        _value("h", h, seen.empty_bytes, TOLERANCE * seen.empty_bytes, "a request and its empty answer"),
        _value("b", b, seen.event_bytes, seen.empty_bytes / 10, "what an event adds to an answer"),
        _straight(off),
        *(_empty(interval_s, part, seen.rate_per_s) for interval_s, part in frame.groupby("interval_s")),
        *none_lost(seen.lost),
    ]
    return finding(parts, int(frame["events"].sum()), seen.empty_bytes, h, "bytes")


def _line(part: Any) -> tuple[float, float, float] | None:
    """Slope and intercept of bytes per event over 1/(lambda T), and how far the worst point is off, as a share."""
    part = part[part["events"] > 0]
    if len(part) < 3:
        return None
    x = listed(part["span_s"] / (part["interval_s"] * part["events"]))  # lambda as it came out on this topic
    y = listed(part["bytes"] / part["events"])
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    square = math.fsum((a - mean_x) ** 2 for a in x)
    if square == 0:
        return None
    slope = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / square
    intercept = mean_y - slope * mean_x
    return slope, intercept, max(abs(intercept + slope * a - b) / b for a, b in zip(x, y, strict=True))


def _value(name: str, found: Interval, expected: float, margin: float, what: str) -> Part:
    text = f"{name} = {shown(found.value, 'bytes')}, {what} is {shown(expected, 'bytes')}"
    return near(found, expected, margin, text)


def _straight(off: float) -> Part:
    verdict: Verdict = "confirmed" if off <= 0.1 else "undecided" if off <= 0.2 else "refuted"
    return Part(verdict, f"no point is more than {off:.0%} off its topic's line")


def _empty(interval_s: Any, part: Any, rate_per_s: float) -> Part:
    """The share of empty answers against e^(-lambda T): polls of one topic see disjoint intervals, so all count."""
    polls, share = int(part["polls"].sum()), float(part["empty"].sum() / part["polls"].sum())
    expected = theory.empty_answer_fraction(rate_per_s, float(interval_s))
    error = 4 * math.sqrt(max(expected * (1 - expected), 1 / polls) / polls)
    verdict = confidence.agrees(Interval(share, share - error, share + error, polls), expected, expected, 0.3)
    return Part(verdict, f"T = {interval_s:g} s: {share:.0%} empty against {expected:.0%}")


# N1

DECIDED_S = 0.06
"""A job whose end missed a question by less is decided by noise."""


def waiting_for_a_job(seen: Waited) -> Finding:
    """N1: each client knows of the job's end when its rule says, at the requests that its rule makes.

    Jobs that ended within 60 ms of a question are left out. ``measured``: the mean wait of the client that obeys
    ``Retry-After``.
    """
    frame = seen.frame[seen.frame["margin_s"] > DECIDED_S]
    if not len(frame) or frame.groupby("how").size().min() < LEAST_EVENTS:
        raise NoVerdict("undecided", "too few jobs", len(frame))
    parts = [_waits(way, part, seen.one_way_s) for way, part in frame.groupby("how", sort=False)]
    parts += none_lost(seen.lost, "waits never ended")
    verdict = confidence.combine(part.verdict for part in parts)
    if verdict == "refuted" and not seen.lost and seen.held_up_s > HELD_UP * float(seen.settings.get("duration_s", 1)):
        verdict = "undecided"
        parts.insert(0, Part(verdict, f"the receiving loop stood still for {shown(seen.held_up_s, 's')}"))
    advised = frame[frame["how"] == "Retry-After"]
    mean = confidence.mean_interval(listed(advised["waited_s"]))
    expected = float(advised["expected_s"].mean())
    return Finding(expected, mean.value, mean, frame["job"].nunique(), verdict, "; ".join(p.text for p in parts))


def _waits(way: Any, part: Any, one_way_s: float) -> Part:
    difference = confidence.mean_interval(listed(part["waited_s"] - part["expected_s"]))
    margin_s = one_way_s / 2 + TOLERANCE * float(part["expected_s"].mean())
    verdict = confidence.within(difference, -margin_s, margin_s)
    same = float((part["requests"] == part["expected_requests"]).mean())
    if same < 0.9:
        verdict = confidence.combine([verdict, "refuted" if same < 0.7 else "undecided"])
    wait, expected = float(part["waited_s"].mean()), float(part["expected_s"].mean())
    text = f"{way}: {shown(wait, 's')} (rule: {shown(expected, 's')}) at {float(part['requests'].mean()):.2g} requests"
    return Part(verdict, text)
