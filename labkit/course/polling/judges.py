"""The checks of 01_polling that are about time: P1, P2, N1. Those of P3 to P5 are in ``judges_load``."""

from __future__ import annotations

import math
from typing import Any

from labkit import theory
from labkit.claims import confidence
from labkit.claims.confidence import Interval, Verdict
from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.judging import EARLY, LEAST_EVENTS, TOLERANCE, Part, finding, listed, named, near, timed
from labkit.claims.seen import (
    HELD_UP,
    HOPS,
    OUTSIDE,
    Outside,
    Seen,
    mean_part,
    outside,
    outside_part,
    see,
    skipped_part,
    stood_still,
    too_busy,
)
from labkit.claims.values import shown
from labkit.course import latency
from labkit.course.polling.intervals import Sweep
from labkit.course.polling.jobs import WAYS
from labkit.course.polling.price import Costs
from labkit.course.polling.waiting import Waited

# P1


def polling_is_late(seen: Any) -> Finding:
    """P1: latencies in [d, P + d] with the mean P/2 + d for each interval, and P = T + 2d for a client that waits.

    Each mean must be told from one that is a transit off: P/2, P/2 + 2d, and the client that polls every T from the
    one that waits T after each answer. The arrivals of all pollers together say whether one in four is late. Takes a
    sweep, or a run of plain polling as :func:`labkit.course.latency.polling_is_late` does. ``measured``: the mean of
    the longest interval.
    """
    if not isinstance(seen, Sweep):
        return latency.polling_is_late(seen)
    means, skipped, range_of, allowed = list[Part](), list[Part](), Outside(0, 0, 0, 0, 0), 0.0
    longest = max(seen.pollers, key=lambda poller: (poller.interval_s, not poller.waiting))
    for poller in seen.pollers:
        saw = see(seen.run, poller.name, noise_limit_s=min(p.interval_s for p in seen.pollers) / 10)
        theory, mean, d = poller.theory(saw.one_way_s), _mean(saw), saw.one_way_s
        part = mean_part(saw, mean, theory.mean_s, theory.mean_s - d, theory.mean_s + d)
        means.append(named(poller.name, part))
        skipped.append(named(poller.name, skipped_part(saw)))
        range_of, allowed = range_of + outside(saw, theory.min_s, theory.max_s), saw.late_share
        noise = saw.noise
        if poller is longest:
            expected_s, measured, n = theory.mean_s, mean, saw.n
    parts = [*means, outside_part(range_of, allowed, "within each poller's d to P + d", noise=noise), *skipped]
    lead = f"an event waits for the next poll: {shown(measured.value, 's')} on average if that comes every "
    lead += f"{longest.interval_s:g} s, where it travels for {shown(saw.one_way_s, 's')}"
    return finding(parts, n, expected_s, measured, lead=lead)


def _mean(saw: Seen) -> Interval:
    return confidence.mean_interval(listed(saw.latency_s), groups=listed(saw.event))


# P2

SLIP = 0.04
"""Share of their interval by which pollers may be slower than they were told on a machine that never stalls."""
BYTES = 2.0
"""By which b may differ: a comma between events, a digit of an id or of a length."""
EFFECT_H, EFFECT_B = 0.04, 5.0
"""What must be told apart: a share of h, and bytes of b."""
EFFECT_EMPTY = 0.2
"""Share of the shortest interval's polls."""


def cost_rises(seen: Costs) -> Finding:
    """P2: bytes per event are b + h/(lambda T), h one request with an empty answer, b what an event adds; e^(-lambda T)
    of the answers are empty.

    Two things make that law, and each has its part: a topic's bytes lie on the line b + h x polls per event, which is
    exact, and the polls come every T. Each topic gives a line of its own, so that topics are the samples.
    ``measured``: h.
    """
    frame = seen.frame[seen.frame["polls"] > 0]  # a run that was interrupted has none of a long interval
    if len(frame) < 2 * LEAST_EVENTS or frame["topic"].nunique() < 4:
        raise NoVerdict("undecided", f"{len(frame)} pollers that polled are too few", len(frame))
    lines = [line for _, part in frame.groupby("topic") if (line := _line(part)) is not None]
    h, b = (confidence.mean_interval([line[i] for line in lines]) for i in (0, 1))
    off = max((line[2] for line in lines), default=math.inf)
    parts = [
        _value("h", h, seen.empty_bytes, EFFECT_H * seen.empty_bytes, "a request and its empty answer"),
        _value("b", b, seen.event_bytes, EFFECT_B, "what an event adds to an answer"),
        _straight(off),
        *_in_time(seen, frame),
    ]
    sums = frame.groupby("interval_s")[["bytes", "events"]].sum()
    each = sums["bytes"] / sums["events"]
    lead = f"the longer one waits, the less an event costs: {each.iloc[0]:.0f} bytes with T = {each.index[0]:g} s, "
    lead += f"{each.iloc[-1]:.0f} with {each.index[-1]:g} s"
    return finding(parts, int(frame["events"].sum()), seen.empty_bytes, h, "bytes", lead=lead)


def _line(part: Any) -> tuple[float, float, float] | None:
    """Slope and intercept of bytes per event over polls per event, and how far the worst point is off, as a share."""
    rows = zip(*(listed(part[name]) for name in ("polls", "bytes", "events")), strict=True)
    points = [(polls / events, size / events) for polls, size, events in rows if events]
    n = len(points)
    mean_x, mean_y = (math.fsum(values) / max(1, n) for values in zip(*points, strict=True)) if n else (0.0, 0.0)
    square = math.fsum((x - mean_x) ** 2 for x, _ in points)
    if n < 3 or square == 0:
        return None
    slope = math.fsum((x - mean_x) * (y - mean_y) for x, y in points) / square
    intercept = mean_y - slope * mean_x
    return slope, intercept, max(abs(intercept + slope * x - y) / y for x, y in points)


def _value(name: str, found: Interval, expected: float, effect: float, what: str) -> Part:
    text = f"{name} = {found.value:.1f} bytes, {what} is {expected:.1f}"
    return near(found, expected, BYTES, effect, text)


def _straight(off: float) -> Part:
    verdict: Verdict = "confirmed" if off <= 0.03 else "undecided" if off <= 0.1 else "refuted"
    return Part(verdict, f"no point is more than {off:.1%} off its topic's line")


def _in_time(seen: Costs, frame: Any) -> list[Part]:
    noise, stalled = too_busy(seen.settings), stood_still(seen.settings)[0]
    return [_on_time(frame, stalled, noise), timed(_empty(frame, seen.rate_per_s), noise)]


def _on_time(frame: Any, stalled: float, noise: str) -> Part:
    """Polls come every T: later by no more than the machine stood still, and told from a third too few or too many."""
    rows = [listed(frame[name]) for name in ("interval_s", "span_s", "polls")]
    by_interval: dict[float, list[float]] = {}
    for interval_s, span_s, polls in zip(*rows, strict=True):
        by_interval.setdefault(interval_s, []).append(span_s / interval_s / polls)
    slips = [math.fsum(slips) / len(slips) - 1 for slips in by_interval.values()]
    late, early = max(slips), -min(slips)
    verdict: Verdict = "confirmed" if max(late, early) <= SLIP else "undecided"
    if early > 2 * SLIP or late > SLIP + 2 * stalled + 0.15:
        verdict = "refuted"
    off = f"{late:.0%} later" if late >= early else f"{early:.0%} sooner"
    part = Part(verdict, f"polls came every T, of one interval {off}")
    return part if early > 2 * SLIP else timed(part, noise)


def _empty(frame: Any, rate_per_s: float) -> Part:
    """The share of empty answers at the shortest interval, as it was kept: its polls see disjoint stretches of time.

    Those of another interval see the same events once more, and are no samples of their own.
    """
    most = frame[frame["interval_s"] == frame["interval_s"].min()]
    polls, span_s = int(most["polls"].sum()), float(most["span_s"].sum())
    share = theory.empty_answer_fraction(rate_per_s, span_s / polls)
    found = confidence.share_interval(int(most["empty"].sum()), polls)
    return near(
        found,
        share,
        0.0,
        EFFECT_EMPTY,
        f"{found.value:.0%} of the shortest interval's polls empty, e^(-λT) is {share:.0%}",
    )


# N1

DECIDED_S = 0.06
"""A job whose end missed a question by less is decided by noise."""
AS_OFTEN = 0.6
"""Share of the jobs, at least, for which a client makes the requests of its rule: told from half of them."""


def waiting_for_a_job(seen: Waited) -> Finding:
    """N1: each client knows of the job's end when its rule says, at the requests that its rule makes.

    Told from half a transit and a tenth of the wait, and from other requests for half of the jobs. Jobs that ended
    within 60 ms of a question are left out. ``measured``: the mean wait of the client that obeys ``Retry-After``.
    """
    frame = seen.frame[seen.frame["margin_s"] > DECIDED_S]
    count = frame["how"].value_counts()
    if few := [way.name for way in WAYS if count.get(way.name, 0) < LEAST_EVENTS]:
        raise NoVerdict("undecided", f"too few jobs: {', '.join(few)}", len(frame))
    stalled, stalls_s = stood_still(seen.settings)
    noise = too_busy(seen.settings)
    shift_s = TOLERANCE * seen.one_way_s + stalls_s
    parts: list[Part] = []
    for way, part in frame.groupby("how", sort=False):
        parts += [
            _waits(way, part, seen.one_way_s, shift_s, noise),
            _asks(way, part, OUTSIDE + HOPS * min(stalled, HELD_UP), noise),
        ]
    advised = frame[frame["how"] == "Retry-After"]
    mean = confidence.mean_interval(listed(advised["waited_s"]))
    means = frame.groupby("how")[["waited_s", "requests"]].mean()
    fared = (f"{shown(row.waited_s, 's')} at {row.requests:.2g} by {how}" for how, row in means.iterrows())
    lead = f"from a job's end to its client's knowing, and requests for it: {', '.join(fared)}"
    return finding(parts, frame["job"].nunique(), float(advised["expected_s"].mean()), mean, lead=lead)


def _waits(way: Any, part: Any, one_way_s: float, shift_s: float, noise: str) -> Part:
    """How late each job's news was, in what must be told of it: half a transit and a tenth of its wait."""
    wait, expected = float(part["waited_s"].mean()), float(part["expected_s"].mean())
    late = (part["waited_s"] - part["expected_s"]) / (one_way_s / 2 + TOLERANCE * part["expected_s"])
    found, half_s = confidence.mean_interval(listed(late)), one_way_s / 2
    verdict = confidence.agrees(found, -EARLY * one_way_s / half_s, shift_s / half_s, -1.0, 1.0)
    part = Part(verdict, f"{way}: knew {shown(wait, 's')} after the job's end, by its rule {shown(expected, 's')}")
    return timed(part, noise if found.value > 0 else "")


def _asks(way: Any, part: Any, allowed: float, noise: str) -> Part:
    """As many requests as its rule makes; a machine that stands still can only make them fewer."""
    same = confidence.share_interval(int((part["requests"] == part["expected_requests"]).sum()), len(part))
    verdict = confidence.agrees(same, 1 - allowed, 1.0, AS_OFTEN, math.inf)
    asked, expected = (float(part[name].mean()) for name in ("requests", "expected_requests"))
    told = (
        f"{way}: {asked:.2g} requests for a job, by its rule {expected:.2g}; for {same.value:.0%} of them just as many"
    )
    return timed(Part(verdict, told), noise if asked < expected else "")
