"""The checks of 02_long_polling about time, requests and bytes: L1, L1b, L2 to L5, L10; the others stand beside."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from labkit import theory
from labkit.claims import confidence
from labkit.claims.confidence import Interval, Verdict
from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.judging import LEAST_EVENTS, Part, finding, less, listed, named, refined, said
from labkit.claims.seen import Seen, lost_part, mean_part, range_part, see
from labkit.claims.values import shown
from labkit.course import latency
from labkit.course.asking import at_rate
from labkit.course.long_polling.equal import Equal
from labkit.course.long_polling.event_rates import Rates
from labkit.course.long_polling.exchanges import FRESH, KEPT, Connections, Pipelined, Sizes
from labkit.course.long_polling.hold_times import Holds
from labkit.course.long_polling.polls import ENDLESS_S, LONG, STREAM
from labkit.techniques.long_polling import LONG_POLLING

SAME = 0.10
"""Share by which two counts of requests may differ and be called equal."""


def near_one_transit(seen: Any) -> Finding:
    """L1: of a run as in the start notebook; of :class:`Rates` and :class:`Holds`, the closed form for each of them."""
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
        mean = _mean(part, expected.std_s)
        parts.append(named(f"{rate:g}/s", mean_part(part, mean, expected, d / 2)))
        fastest = expected.mean_s, mean
    if fastest is None:
        raise NoVerdict("undecided", "too few events at every rate")
    parts += [range_part(whole, d, 3 * d), lost_part(whole)]
    return finding(parts, whole.n, fastest[0], fastest[1])


def _at_every_hold(seen: Holds) -> Finding:
    parts, d = [], seen.one_way_s
    for name, hold_s in seen.holds_s.items():
        part = see(seen.run, name)
        expected = at_rate(LONG_POLLING, seen.rate_per_s, d, hold_s=hold_s)
        mean = _mean(part, expected.std_s)
        parts += [named(name, mean_part(part, mean, expected, d / 2)), named(name, range_part(part, d, 3 * d))]
        parts.append(lost_part(part))
    return finding(parts, part.n, expected.mean_s, mean)


def nearer_than_polling(seen: Equal) -> Finding:
    """L1b: at equal requests a second. ``measured``: polling's mean over long polling's, at the low rate."""
    ratios, parts, d = {}, [], seen.one_way_s
    for rate, poller in seen.pairs.items():
        topics, low = seen.topics(rate), rate == min(seen.pairs)
        own, other = see(seen.run, LONG), see(seen.run, poller, noise_limit_s=d)
        long, poll = only(own, topics), only(other, topics)
        asked = seen.requests(LONG, rate), seen.requests(poller, rate)
        if abs(asked[0] / asked[1] - 1) > SAME + 2 / math.sqrt(min(asked)):
            parts.append(Part("undecided", f"at {rate:g}/s they did not ask equally often: {asked[0]} and {asked[1]}"))
        means = _mean(long, 0.0), _mean(poll, 0.0)
        ratios[rate] = means[1].value / means[0].value
        apart = means[0].high < means[1].low
        alike = abs(means[1].value - means[0].value) <= SAME * means[1].value + own.slack_s + means[1].half_width
        verdict: Verdict = "confirmed" if (apart if low else alike) else "undecided"
        if means[0].low > means[1].high if low else means[1].low > 2 * means[0].high:
            verdict = "refuted"
        text = f"at {rate:g}/s and {asked[0]} requests: {shown(means[0].value, 's')}"
        parts += [Part(verdict, f"{text} against {shown(means[1].value, 's')}"), lost_part(own)]
    found = finding(parts, len(seen.run.deliveries), None, ratios[min(seen.pairs)], "times")
    return refined(found, "only where events are rarer than round trips")


def answering_often(seen: Rates) -> Finding:
    """L2. ``measured``: requests a second at the greatest rate; expected: 1/(2d) nearly, whatever the rate."""
    whole, table, d = seen.seen(), seen.table(), seen.one_way_s
    gap_s, top = theory.request_gap(d), table.iloc[-1]
    cycle_s = 1 / top["requests_per_s"]
    expected_s = 1 / top["theory_requests_per_s"]
    verdict: Verdict = "confirmed" if cycle_s <= expected_s + 2 * whole.slack_s else "undecided"
    if cycle_s > 2 * expected_s or cycle_s < gap_s * 0.97:
        verdict = "refuted"
    parts = [Part(verdict, f"at {top.name:g}/s a request every {shown(cycle_s, 's')}, theory {shown(expected_s, 's')}")]
    parts += [_events_per_answer(table, rate) for rate in table.index]
    falls = table["requests"] / table["events"]
    parts.append(
        said(falls.iloc[-1] < falls.iloc[0] / 2, f"requests per event from {falls.iloc[0]:.2f} to {falls.iloc[-1]:.2f}")
    )
    parts += _streamed(seen, whole, float(top.name))
    expected, measured = float(top["theory_requests_per_s"]), float(top["requests_per_s"])
    found = finding(parts, whole.n, expected, measured, "requests/s")
    return refined(found, "true of requests a second, up to 1/(2d); for each event it gets better, the more often")


def _streamed(seen: Rates, whole: Seen, rate: float) -> list[Part]:
    """A stream of the same events, if the run had one: it asks once, and is sooner."""
    asked = sum(record.requests for record in seen.run.ledger.of(STREAM))
    if not asked:
        return []
    topics = seen.topics(rate, 20)
    stream, long = (_mean(only(part, topics), 0.0) for part in (see(seen.run, STREAM), whole))
    text = f"a stream took {shown(stream.value, 's')}, long polling {shown(long.value, 's')}"
    return [less(stream, long, text), said(asked == len(seen.rates), f"{len(seen.rates)} streams asked {asked} times")]


def degrades_gracefully(seen: Rates) -> Finding:
    """L3: events per answer rise as theory has it, and bytes per event are b + h x requests per event, for two sizes.

    ``measured``: events per answer at the greatest rate.
    """
    whole, parts = seen.seen(), []
    for size in sorted(set(seen.sizes.values())):
        table = seen.table(size)
        parts += [_events_per_answer(table, rate) for rate in table.index]
        parts.append(_line(table, size))
    top = seen.table().iloc[-1]
    expected, measured = float(top["theory_events_per_answer"]), float(top["events_per_answer"])
    return finding(parts, whole.n, expected, measured, "events")


def full_headers(seen: Sizes) -> Finding:
    """L4: the headers of an exchange do not depend on the payload. ``measured``: their share for the least payload."""
    table = seen.table()
    spread = float(table["headers"].max() / table["headers"].min() - 1)
    few = int(table["answers"].min())
    parts = [
        said(
            spread <= 0.05,
            f"headers of an exchange from {table['headers'].min():.0f} to {table['headers'].max():.0f} bytes",
        ),
        said(bool(table["share_of_headers"].is_monotonic_decreasing), "a share that falls as the payload grows"),
        Part("confirmed" if few >= 3 else "undecided", f"{few} answers of each size at least"),
    ]
    least, most = (float(table["share_of_headers"].iloc[i]) for i in (0, -1))
    text = f"{least:.0%} of {int(table.index[0])} B, {most:.0%} of {int(table.index[-1])} B; {{}}"
    return finding(parts, int(table["answers"].sum()), None, least, "", text)


def persistent_connections(seen: Connections) -> Finding:
    """L5: one connection against one a request; the gap 2d against 4d; the maximum 3d against 5d.

    ``measured``: the mean of fresh connections; expected: the closed form with the gap 4d.
    """
    parts = []
    for name, fresh in ((KEPT, False), (FRESH, True)):
        saw, expected = see(seen.run, name), seen.theory(fresh)
        records = list(seen.run.ledger.of(name))
        mean = _mean(saw, expected.std_s)
        wanted = sum(r.requests for r in records) if fresh else 1
        found = (
            mean_part(saw, mean, expected, saw.one_way_s),
            range_part(saw, expected.min_s, expected.max_s),
            lost_part(saw),
        )
        parts.append(said(len(records) == wanted, f"{name}: {len(records)} connections"))
        parts += [named(name, part) for part in found]
    return finding(parts, saw.n, expected.mean_s, mean)


def pipelining(seen: Pipelined) -> Finding:
    """L10: pairs within d; Poisson events within 3d; a GET behind the poll waits for it. ``measured``: that GET."""
    whole = see(seen.run, LONG)
    d, pairs, poisson = whole.one_way_s, only(whole, ["pairs"]), only(whole, ["poisson"])
    blocked: Verdict = "confirmed" if seen.behind_s > 0.8 * seen.hold_s > 2 * seen.beside_s else "undecided"
    if seen.behind_s < 0.5 * seen.hold_s:
        blocked = "refuted"
    parts = [
        named("two at most in any 2d", range_part(pairs, d, d)),
        named("Poisson", range_part(poisson, d, 3 * d)),
        lost_part(whole),
        Part(
            blocked,
            f"a GET behind a poll held {seen.hold_s:g} s took {seen.behind_s:.2f} s, beside it {seen.beside_s:.2f} s",
        ),
    ]
    return finding(parts, whole.n, seen.hold_s, seen.behind_s)


# Parts


def only(seen: Seen, topics: list[str]) -> Seen:
    """What was seen of some topics; lost events are counted with the whole."""
    return replace(seen, frame=seen.frame[seen.frame["topic"].isin(topics)], lost=0)


def _mean(seen: Seen, std_s: float) -> Interval:
    frame = seen.frame
    arrival = frame["topic"].astype(str) + "/" + (frame["received_ns"] // int(seen.one_way_s * 5e8)).astype(str)
    least = std_s / math.sqrt(seen.n)
    return confidence.mean_interval(listed(seen.latency_s), groups=listed(arrival), least_error=least)


def _events_per_answer(table: Any, rate: float) -> Part:
    """Events per answer as theory has it: within 10 % and four standard errors of so many answers."""
    row = table.loc[rate]
    off = row["events_per_answer"] / row["theory_events_per_answer"] - 1
    allowed = SAME + 4 / math.sqrt(max(1.0, row["requests"]))
    verdict: Verdict = "confirmed" if abs(off) <= allowed else "undecided" if 0 < off <= 2 * allowed else "refuted"
    return Part(
        verdict,
        f"{row['events_per_answer']:.2f} events per answer at {rate:g}/s, theory {row['theory_events_per_answer']:.2f}",
    )


def _line(table: Any, size: int) -> Part:
    """Bytes per event on the line b + h x requests per event that goes through both ends."""
    per_event = table["requests"] / table["events"]
    (x0, y0), (x1, y1) = ((per_event.iloc[i], table["bytes_per_event"].iloc[i]) for i in (0, -1))
    if x0 == x1:
        return Part("refuted", f"{size} B: as many requests per event at every rate")
    slope = (y0 - y1) / (x0 - x1)
    off = max(abs(y / (y1 + slope * (x - x1)) - 1) for x, y in zip(per_event, table["bytes_per_event"], strict=True))
    text = f"{size} B: from {y0:.0f} to {y1:.0f} bytes per event, b = {y1 - slope * x1:.0f}, h = {slope:.0f}"
    return Part("confirmed" if slope > 0 and off <= SAME else "refuted", text)
