"""The checks of latency that the start notebook makes: polling (P1), long polling (L1), streaming (S3)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from labkit import theory
from labkit.claims import confidence
from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.judging import Part, finding, listed, refined
from labkit.claims.seen import (
    Seen,
    answers,
    mean_part,
    median_part,
    options_of,
    parked,
    range_part,
    schedule_of,
    see,
    skipped_part,
)
from labkit.measuring.natures import asked
from labkit.techniques import Technique
from labkit.techniques.http_streaming import HTTP_STREAMING
from labkit.techniques.long_polling import LONG_POLLING
from labkit.techniques.polling import POLLING

if TYPE_CHECKING:
    from labkit.measuring.run import Run


OF_POLLS = 2 / 3
"""Share of late answers that must be told from none: one poller has few of them."""


def _expected(run: Run, technique: Technique, **on: Any) -> theory.Expectation:
    """What theory expects of it in this run.

    Raises:
        NoVerdict: it is silent about this run.
    """
    path = replace(theory.Path.of(run.settings), **on)
    expected = technique.expect(asked(technique, run.settings), path)
    if isinstance(expected, theory.Silent):
        raise NoVerdict("not run", expected.why)
    return expected


def polling_is_late(run: Run) -> Finding:
    """P1: every latency of interval polling in [d, P + d] and the mean d + P/2, P the period (T).

    The mean is a lottery of phases if the source keeps step with the polls; it is judged for Poisson events and for a
    periodic source dithered by a period or more. It must be told from d + P/4 and d + 3P/4: 90 events do.
    """
    interval_s = float(asked(POLLING, run.settings)["interval_s"])
    seen = see(run, POLLING.name, noise_limit_s=interval_s / 10)
    expected = _expected(run, POLLING, fresh_connections=seen.fresh)
    period_s = expected.max_s - expected.min_s
    mean = confidence.mean_interval(listed(seen.latency_s), groups=listed(seen.event))
    name, schedule = schedule_of(run)
    spread = name == "poisson" or (name == "periodic" and float(schedule.get("dither_s") or 0) >= period_s)
    parts = [
        mean_part(seen, mean, expected.mean_s, expected.mean_s - period_s / 4, expected.mean_s + period_s / 4)
        if spread
        else Part("undecided", f"the mean says nothing: a {name} source may keep step with the polls (dither it)"),
        range_part(seen, expected.min_s, expected.max_s, OF_POLLS),
        skipped_part(seen),
    ]
    return finding(parts, seen.n, expected.mean_s, mean)


def long_polling_is_near_one_transit(run: Run) -> Finding:
    """L1: events that found a parked poll have the median d, no latency exceeds d + g, and the mean is the closed form.

    Which events found a parked poll is told from the rows (:func:`parked`). The mean must be told from d, a stream's,
    and from that of a gap twice as long. With a connection for each request the claim is refined: g is 4d and the
    maximum 5d.
    """
    options = options_of(run, LONG_POLLING.name)
    if options.get("pipelined"):
        raise NoVerdict("not run", "its polls were pipelined, which takes the gap away")
    seen = see(run, LONG_POLLING.name)
    d, gap_s = seen.one_way_s, theory.request_gap(seen.one_way_s, seen.fresh)
    hold_s = float(options.get("hold_s") or 30.0)
    name, schedule = schedule_of(run)
    rate_per_s = float(schedule.get("rate_per_s") or 0.0)
    expected = _expected(run, LONG_POLLING, fresh_connections=seen.fresh, rate_per_s=rate_per_s, poisson=True)
    answer = answers(seen.frame, d).groupby(seen.event).transform("min")
    least = expected.std_s / math.sqrt(seen.n)
    mean = confidence.mean_interval(listed(seen.latency_s), groups=listed(answer), least_error=least)
    found_parked = seen.latency_s[parked(seen.frame, d, gap_s, hold_s, seen.slack_s)]
    parts = [
        median_part(seen, found_parked.groupby(seen.event).mean(), d, "of those that found a parked poll"),
        mean_part(seen, mean, expected.mean_s, d, theory.long_polling_mean(rate_per_s, d, hold_s, 2 * gap_s))
        if name == "poisson"
        else Part("undecided", f"the closed form is about Poisson events, not a {name} source"),
        range_part(seen, expected.min_s, expected.max_s),
        skipped_part(seen),
    ]
    found = finding(parts, seen.n, expected.mean_s, mean)
    return refined(found, "each request opened a connection: up to five transits") if seen.fresh else found


def streaming_is_one_transit(run: Run) -> Finding:
    """S3: the median of streaming is d, and so is the maximum as long as nothing is recycled."""
    seen, parts = one_stream(run)
    return finding(parts, seen.n, seen.one_way_s, seen.median)


def one_stream(run: Run) -> tuple[Seen, list[Part]]:
    """What was seen of HTTP streaming, and whether it was as theory has it for a stream that is not recycled."""
    seen, expected = see(run, HTTP_STREAMING.name), _expected(run, HTTP_STREAMING)
    connections = run.connections
    opened = int((connections["technique"] == HTTP_STREAMING.name).sum())
    streams = len(seen.frame[["subscriber", "topic"]].drop_duplicates())
    each = seen.latency_s.groupby(seen.event).mean()
    return seen, [
        median_part(seen, each, expected.mean_s, ""),
        range_part(seen, expected.min_s, expected.max_s)
        if opened <= streams
        else Part("undecided", f"the stream was opened {opened} times: what is near 3d may belong to that"),
        skipped_part(seen),
    ]
