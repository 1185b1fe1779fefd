"""The checks of 02_long_polling about time and requests: L1, L1b, L2 and L3; the others stand beside."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from labkit import theory
from labkit.claims import confidence
from labkit.claims.confidence import Interval, Verdict
from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.judging import LEAST_EVENTS, Part, finding, less, listed, named, refined, said, timed
from labkit.claims.seen import OUTSIDE, Seen, mean_part, range_part, see, skipped_part, uninterrupted
from labkit.claims.values import shown
from labkit.course import latency
from labkit.course.asking import at_rate
from labkit.course.long_polling.equal import Equal
from labkit.course.long_polling.event_rates import Rates
from labkit.course.long_polling.hold_times import Holds
from labkit.course.long_polling.polls import ENDLESS_S, LONG, STREAM
from labkit.techniques.long_polling import LONG_POLLING

SAME = 0.10
"""Share by which two counts of requests may differ and be called equal."""
EDGE = 0.05
"""Share by which a count of requests may be off for where the run begins and ends."""
TELLING = 0.3
"""By how many events an answer theory must exceed one, for a rate to tell them apart: rarer events share none."""
OFF_LINE = 0.05, 0.15
"""Share by which bytes may be off their line, and by which they must be to refute it."""


def near_one_transit(seen: Any) -> Finding:
    """L1: of a run as in the start notebook; of :class:`Rates` and :class:`Holds`, the closed form for each of them.

    Each mean must be told from d, a stream's, and from that of a gap twice as long.
    """
    if isinstance(seen, Holds):
        return _at_every_hold(seen)
    if not isinstance(seen, Rates):
        return latency.long_polling_is_near_one_transit(seen)
    whole, d = seen.seen(), seen.one_way_s
    parts, fastest = [], None
    for rate in sorted({rate for topic, rate in seen.rates.items() if seen.sizes[topic] == 20}):
        part = only(whole, seen.topics(rate, 20))
        if part.n < LEAST_EVENTS:
            continue
        expected = at_rate(LONG_POLLING, rate, d, hold_s=ENDLESS_S)
        mean = mean_of(part, expected.std_s)
        above_s = _twice_the_gap(rate, d, ENDLESS_S)
        parts.append(named(f"at {rate:g}/s", mean_part(part, mean, expected.mean_s, d, above_s)))
        fastest, often = (expected.mean_s, mean), rate
    if fastest is None:
        raise NoVerdict("undecided", "too few events at every rate")
    parts += [range_part(whole, expected.min_s, expected.max_s), skipped_part(whole)]
    lead = f"near one transit, {shown(d, 's')}, where events are rare, and further the more often they come: "
    lead += f"{shown(fastest[1].value, 's')} on average at {often:g}/s"
    return finding(parts, whole.n, fastest[0], fastest[1], lead=lead)


def _at_every_hold(seen: Holds) -> Finding:
    parts, d = [], seen.one_way_s
    for name, hold_s in seen.holds_s.items():
        part = see(seen.run, name)
        expected = at_rate(LONG_POLLING, seen.rate_per_s, d, hold_s=hold_s)
        mean = mean_of(part, expected.std_s)
        above_s = _twice_the_gap(seen.rate_per_s, d, hold_s)
        parts += [named(name, mean_part(part, mean, expected.mean_s, d, above_s))]
        parts += [named(name, range_part(part, expected.min_s, expected.max_s)), skipped_part(part)]
    return finding(parts, part.n, expected.mean_s, mean)


def _twice_the_gap(rate_per_s: float, one_way_s: float, hold_s: float) -> float:
    """The mean of long polls that come back two round trips after an answer."""
    return theory.long_polling_mean(rate_per_s, one_way_s, hold_s, 2 * theory.request_gap(one_way_s))


def nearer_than_polling(seen: Equal) -> Finding:
    """L1b: at equal requests a second, the same events through both. ``measured``: polling's mean over long polling's,
    at the low rate.

    By how much each event was nearer is what theory expects: told from no nearer at the low rate, and at the high one
    from half a transit.
    """
    ratios, parts, d = {}, [], seen.one_way_s
    for rate, poller in seen.pairs.items():
        topics, low = seen.topics(rate), rate == min(seen.pairs)
        own, other = see(seen.run, LONG), see(seen.run, poller, noise_limit_s=d)
        long, poll = only(own, topics), only(other, topics)
        nearer, means = _nearer(long, poll), (float(long.latency_s.mean()), float(poll.latency_s.mean()))
        expected_s = seen.expected_s(rate)
        ends_s = (0.0, 2 * expected_s) if low else (expected_s - d / 2, expected_s + d / 2)
        verdict = confidence.agrees(nearer, expected_s - own.shift_s, expected_s + own.shift_s, *ends_s)
        ratios[rate], asked = means[1] / means[0], (seen.requests(LONG, rate), seen.requests(poller, rate))
        text = f"at {rate:g}/s and {asked[0]} requests: {shown(means[0], 's')} against {shown(means[1], 's')}"
        near = timed(Part(verdict, text), own.noise or other.noise)
        parts += [_asked_equally(rate, *asked), near, skipped_part(own), skipped_part(other)]
    found = finding(parts, len(seen.run.deliveries), None, ratios[min(seen.pairs)], "times")
    return refined(found, "only where events are rarer than round trips")


def _nearer(long: Seen, poll: Seen) -> Interval:
    """By how much sooner each event came by a long poll; the events of one answer to the poller are one sample."""
    key = ["topic", "event_id"]
    both = long.frame[[*key, "latency_ms"]].merge(poll.frame[[*key, "latency_ms", "received_ns"]], on=key)
    answers = zip(listed(both["topic"]), listed(both["received_ns"]), strict=True)
    sooner_s = listed((both["latency_ms_y"] - both["latency_ms_x"]) / 1e3)
    return confidence.mean_interval(sooner_s, groups=list(answers))


def _asked_equally(rate: float, long: int, poll: int) -> Part:
    """A condition of the claim, and none of its parts: what does not hold decides nothing."""
    counted = confidence.count_interval(long)
    equal = counted.low / (1 + SAME) <= poll <= counted.high * (1 + SAME)
    return Part("confirmed" if equal else "undecided", f"at {rate:g}/s they asked {long} and {poll} times")


def answering_often(seen: Rates) -> Finding:
    """L2. ``measured``: requests a second at the greatest rate; expected: 1/(2d) nearly, whatever the rate.

    Told from a request for each event, and from a gap twice as long.
    """
    uninterrupted(seen.run)
    whole, table, d = seen.seen(), seen.table(), seen.one_way_s
    top = table.iloc[-1]
    parts = [_cycle(top, theory.request_gap(d), whole)]
    parts += _events_per_answer(seen, table, whole)
    falls = table["requests"] / table["events"]
    parts.append(
        said(falls.iloc[-1] < falls.iloc[0] / 2, f"requests per event from {falls.iloc[0]:.2f} to {falls.iloc[-1]:.2f}")
    )
    parts += _streamed(seen, whole, float(top.name))
    expected, measured = float(top["theory_requests_per_s"]), float(top["requests_per_s"])
    found = finding(parts, whole.n, expected, measured, "requests/s")
    return refined(found, "true of requests a second, up to 1/(2d); for each event it gets better, the more often")


def _cycle(row: Any, gap_s: float, whole: Seen) -> Part:
    """From request to request: a gap and next to no wait, the apparatus allowed for on both its transits."""
    rate = float(row.name)
    if not row["requests_per_s"]:
        return Part("refuted", f"at {rate:g}/s not one request was counted")
    cycle_s, expected_s = 1 / row["requests_per_s"], 1 / row["theory_requests_per_s"]
    exact = Interval(cycle_s, cycle_s, cycle_s, 1)
    low_s, high_s = (1 - EDGE) * expected_s, _stretched(expected_s, whole) + 2 * whole.shift_s
    verdict = confidence.agrees(exact, low_s, high_s, 1 / rate, expected_s + gap_s / 2)
    told = f"at {rate:g}/s a request every {shown(cycle_s, 's')}, theory {shown(expected_s, 's')}"
    return timed(Part(verdict, told), whole.noise if cycle_s > expected_s else "")


def _streamed(seen: Rates, whole: Seen, rate: float) -> list[Part]:
    """A stream of the same events, if the run had one: it asks once, and is sooner."""
    asked = sum(record.requests for record in seen.run.ledger.of(STREAM))
    if not asked:
        return []
    topics = seen.topics(rate, 20)
    stream, long = (mean_of(only(part, topics), 0.0) for part in (see(seen.run, STREAM), whole))
    text = f"a stream took {shown(stream.value, 's')}, long polling {shown(long.value, 's')}"
    return [
        timed(less(stream, long, text), whole.noise),
        said(asked == len(seen.rates), f"{len(seen.rates)} streams asked {asked} times"),
    ]


def degrades_gracefully(seen: Rates) -> Finding:
    """L3: events per answer rise as theory has it, and bytes per event are b + h x requests per event, for two sizes.

    Told from one event an answer at every rate at which answers share some. ``measured``: events per answer at the
    greatest rate.
    """
    uninterrupted(seen.run)
    whole, parts = seen.seen(), []
    tables = {size: seen.table(size) for size in sorted(set(seen.sizes.values()))}
    for size, table in tables.items():
        parts += [*_events_per_answer(seen, table, whole), _line(table, size)]
    top = next(iter(tables.values())).iloc[-1]
    expected, measured = float(top["theory_events_per_answer"]), float(top["events_per_answer"])
    lead = f"the more often events come, the more of them share an answer and its bytes: {measured:.3g} of them at "
    return finding(parts, whole.n, expected, measured, "events", lead=f"{lead}{float(top.name):g}/s")


# Parts


def only(seen: Seen, topics: list[str]) -> Seen:
    """What was seen of some topics; skipped events are counted with the whole."""
    return replace(seen, frame=seen.frame[seen.frame["topic"].isin(topics)], skipped=0)


def mean_of(seen: Seen, std_s: float) -> Interval:
    """The mean; what came in the same half of a transit is one sample."""
    half_ns = int(seen.one_way_s * 5e8)
    arrivals = zip(
        listed(seen.frame["topic"]), (ns // half_ns for ns in listed(seen.frame["received_ns"])), strict=True
    )
    return confidence.mean_interval(
        listed(seen.latency_s), groups=list(arrivals), least_error=std_s / math.sqrt(seen.n)
    )


def _events_per_answer(seen: Rates, table: Any, whole: Seen) -> list[Part]:
    """Events per answer as theory has it, told from one an answer, at each rate at which answers share enough."""
    gap_s = theory.request_gap(seen.one_way_s)
    rows = table.to_dict("index")
    telling = {rate: row for rate, row in rows.items() if row["theory_events_per_answer"] >= 1 + TELLING}
    return [_shared(row, float(rate), gap_s, whole) for rate, row in telling.items()]


def _shared(row: Any, rate: float, gap_s: float, whole: Seen) -> Part:
    """Of one rate: a gap that the apparatus made longer lets more events share an answer."""
    expected, measured = float(row["theory_events_per_answer"]), float(row["events_per_answer"])
    most = theory.long_polling_events_per_answer(rate, ENDLESS_S, gap_s + 2 * whole.shift_s)
    found = confidence.known_interval(measured, _deviation(rate * gap_s) / math.sqrt(max(1.0, row["requests"])), 1)
    verdict = confidence.agrees(found, (1 - EDGE) * expected, _stretched(most, whole), 1.0, 2 * expected)
    told = f"{measured:.2f} events per answer at {rate:g}/s, theory {expected:.2f}"
    return timed(Part(verdict, told), whole.noise if measured > expected else "")


def _stretched(value: float, whole: Seen) -> float:
    """What it may be where the run's ends are counted, and the loop stood still meanwhile."""
    return value * (1 + EDGE + whole.late_share - OUTSIDE)


def _deviation(a: float) -> float:
    """The standard deviation of the events of one answer: Poisson of the mean *a*, and one where that is none."""
    mean = a + math.exp(-a)
    return math.sqrt(a + a * a + math.exp(-a) - mean * mean)


def _line(table: Any, size: int) -> Part:
    """Bytes per event on the line b + h x requests per event that goes through both ends."""
    points = list(zip(listed(table["requests"] / table["events"]), listed(table["bytes_per_event"]), strict=True))
    (x0, y0), (x1, y1) = points[0], points[-1]
    if x0 == x1:
        return Part("refuted", f"{size} B: as many requests per event at every rate")
    slope = (y0 - y1) / (x0 - x1)
    off = max(abs(y / (y1 + slope * (x - x1)) - 1) for x, y in points)
    text = f"{size} B: from {y0:.0f} to {y1:.0f} bytes per event, b = {y1 - slope * x1:.0f}, h = {slope:.0f}"
    may, must = OFF_LINE
    verdict: Verdict = "refuted" if slope <= 0 or off > must else "confirmed" if off <= may else "undecided"
    return Part(verdict, f"{text}, {off:.0%} off the line")
