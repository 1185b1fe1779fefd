"""The checks of latency that the start notebook makes: polling (P1), long polling (L1), streaming (S3)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from labkit import theory
from labkit.claims import confidence
from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.judging import Part, finding, listed, refined
from labkit.claims.seen import (
    answers,
    lost_part,
    mean_part,
    median_part,
    options_of,
    parked,
    range_part,
    schedule_of,
    see,
)

if TYPE_CHECKING:
    from labkit.measuring.run import Run


def polling_is_late(run: Run) -> Finding:
    """P1: every latency of interval polling in [d, P + d] and the mean d + P/2, P the period (T).

    The mean is a lottery of phases if the source keeps step with the polls; it is judged for Poisson events and for a
    periodic source dithered by a period or more. It counts once it tells P/2 from 0 and from P: half-width P/4.
    """
    options = options_of(run, "polling")
    interval_s = float(options.get("interval_s", options.get("poll_interval_s", 1.0)))
    seen = see(run, "polling", noise_limit_s=interval_s / 10)
    waiting = bool(options.get("wait_after_answer"))
    expected = theory.polling_latency(interval_s, seen.one_way_s, fresh_connections=seen.fresh, waiting=waiting)
    period_s = expected.max_s - expected.min_s
    mean = confidence.mean_interval(listed(seen.latency_s), groups=listed(seen.event))
    name, schedule = schedule_of(run)
    spread = name == "poisson" or (name == "periodic" and float(schedule.get("dither_s") or 0) >= period_s)
    parts = [
        mean_part(seen, mean, expected, period_s / 4)
        if spread
        else Part("undecided", f"the mean says nothing: a {name} source may keep step with the polls (dither it)"),
        range_part(seen, expected.min_s, expected.max_s),
        lost_part(seen),
    ]
    return finding(parts, seen.n, expected.mean_s, mean)


def long_polling_is_near_one_transit(run: Run) -> Finding:
    """L1: events that found a parked poll have the median d, no latency exceeds d + g, and the mean is the closed form.

    Which events found a parked poll is told from the rows (:func:`parked`). The mean counts once it tells d from 2d:
    half-width d/2. With a connection for each request the claim is refined: g is 4d and the maximum 5d.
    """
    options = options_of(run, "long-polling")
    if options.get("pipelined"):
        raise NoVerdict("not run", "its polls were pipelined, which takes the gap away")
    seen = see(run, "long-polling")
    d, gap_s = seen.one_way_s, theory.request_gap(seen.one_way_s, seen.fresh)
    hold_s = float(options.get("hold_s") or 30.0)
    name, schedule = schedule_of(run)
    rate_per_s = float(schedule.get("rate_per_s") or 0.0)
    expected = theory.long_polling_latency(rate_per_s, d, hold_s, gap_s)
    answer = answers(seen.frame, d).groupby(seen.event).transform("min")
    least = expected.std_s / math.sqrt(seen.n)
    mean = confidence.mean_interval(listed(seen.latency_s), groups=listed(answer), least_error=least)
    found_parked = seen.latency_s[parked(seen.frame, d, gap_s, hold_s, seen.slack_s)]
    parts = [
        median_part(seen, found_parked.groupby(seen.event).mean(), d, "of those that found a parked poll"),
        mean_part(seen, mean, expected, d / 2)
        if name == "poisson"
        else Part("undecided", f"the closed form is about Poisson events, not a {name} source"),
        range_part(seen, expected.min_s, expected.max_s),
        lost_part(seen),
    ]
    found = finding(parts, seen.n, expected.mean_s, mean)
    return refined(found, "each request opened a connection: up to five transits") if seen.fresh else found


def streaming_is_one_transit(run: Run) -> Finding:
    """S3: the median of streaming is d, and no latency is nearer to 3d than to d as long as nothing is recycled."""
    seen = see(run, "http-streaming")
    d = seen.one_way_s
    each = seen.latency_s.groupby(seen.event).mean()
    connections = run.connections
    opened = int((connections["technique"] == "http-streaming").sum())
    streams = len(seen.frame[["subscriber", "topic"]].drop_duplicates())
    parts = [
        median_part(seen, each, d, ""),
        range_part(seen, d, 2 * d)
        if opened <= streams
        else Part("undecided", f"the stream was opened {opened} times: what is near 3d may belong to that"),
        lost_part(seen),
    ]
    return finding(parts, seen.n, d, confidence.median_interval(listed(each)))
