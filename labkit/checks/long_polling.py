"""The checks of 02_long_polling: L1, L1b, L2 to L8, L10 to L12."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from labkit import claims, models
from labkit.checks import latency
from labkit.checks.common import (
    LEAST_EVENTS,
    Finding,
    NoVerdict,
    Part,
    Seen,
    finding,
    listed,
    lost_part,
    mean_part,
    range_part,
    see,
)
from labkit.checks.long_polling_seen import (
    ENDLESS_S,
    FRESH,
    KEPT,
    LONG,
    Equal,
    Held,
    Pipelined,
    Rates,
    Sizes,
    Tabs,
    Threads,
    Unaware,
    Valley,
    requests_by_topic,
)
from labkit.claims import Interval, Verdict, shown

SAME = 0.10
"""Share by which two counts of requests may differ and be called equal."""


def near_one_transit(seen: Any) -> Finding:
    """L1: of a run as in the start notebook; of :class:`Rates`, the closed form at every rate."""
    if not isinstance(seen, Rates):
        return latency.long_polling_is_near_one_transit(seen)
    whole, d = seen.seen(), seen.one_way_s
    parts, fastest = [], None
    for rate in sorted({rate for topic, rate in seen.rates.items() if seen.sizes[topic] == 20}):
        part = only(whole, seen.topics(rate, 20))
        if part.n < LEAST_EVENTS:
            continue
        theory = models.long_polling_latency(rate, d, ENDLESS_S, models.request_gap(d))
        mean = _mean(part, theory.std_s)
        parts.append(_named(f"{rate:g}/s", mean_part(part, mean, theory, d / 2)))
        fastest = theory.mean_s, mean
    if fastest is None:
        raise NoVerdict("undecided", "too few events at every rate")
    parts += [range_part(whole, d, 3 * d), lost_part(whole)]
    return finding(fastest[0], fastest[1], whole, parts)


def nearer_than_polling(seen: Equal) -> Finding:
    """L1b: at equal requests a second. ``measured``: polling's mean over long polling's, at the low rate."""
    ratios, parts, d = {}, [], float(seen.settings["one_way_s"])
    for topic, rate in seen.rates.items():
        own, other = see(seen.run, LONG), see(seen.run, seen.pairs[topic], noise_limit_s=d)
        long, poll = only(own, [topic]), only(other, [topic])
        asked = (
            requests_by_topic(seen.run, LONG).get(topic, 0),
            requests_by_topic(seen.run, seen.pairs[topic])[topic],
        )
        if abs(asked[0] / asked[1] - 1) > SAME + 2 / math.sqrt(min(asked)):
            parts.append(Part("undecided", f"at {rate:g}/s they did not ask equally often: {asked[0]} and {asked[1]}"))
        means = _mean(long, 0.0), _mean(poll, 0.0)
        ratios[topic] = means[1].value / means[0].value
        low = topic == next(iter(seen.rates))
        apart = means[0].high < means[1].low
        alike = abs(means[1].value - means[0].value) <= SAME * means[1].value + own.slack_s + means[1].half_width
        verdict: Verdict = "confirmed" if (apart if low else alike) else "undecided" if low else "refuted"
        if low and means[0].low > means[1].high:
            verdict = "refuted"
        said = (
            f"at {rate:g}/s and {asked[0]} requests: {shown(means[0].value, 's')} against {shown(means[1].value, 's')}"
        )
        parts += [Part(verdict, said), lost_part(own)]
    found = _parts(parts)
    first = ratios[next(iter(seen.rates))]
    if found.verdict == "confirmed":
        reason = f"only where events are rarer than round trips; {found.text}"
        return Finding(None, first, None, len(seen.run.deliveries), "refined", reason, "times")
    return Finding(None, first, None, len(seen.run.deliveries), found.verdict, found.text, "times")


def answering_often(seen: Rates) -> Finding:
    """L2. ``measured``: requests a second at the greatest rate; expected: 1/(2d) nearly, whatever the rate."""
    whole, table, d = seen.seen(), seen.table(), seen.one_way_s
    gap_s, top = models.request_gap(d), table.iloc[-1]
    cycle_s = 1 / top["requests_per_s"]
    expected_s = 1 / top["theory_requests_per_s"]
    verdict: Verdict = "confirmed" if cycle_s <= expected_s + 2 * whole.slack_s else "undecided"
    if cycle_s > 2 * expected_s or cycle_s < gap_s * 0.97:
        verdict = "refuted"
    parts = [Part(verdict, f"at {top.name:g}/s a request every {shown(cycle_s, 's')}, theory {shown(expected_s, 's')}")]
    parts += [_events_per_answer(table, rate) for rate in table.index]
    falls = table["requests"] / table["events"]
    parts.append(
        _said(
            falls.iloc[-1] < falls.iloc[0] / 2, f"requests per event from {falls.iloc[0]:.2f} to {falls.iloc[-1]:.2f}"
        )
    )
    found = _parts(parts)
    expected, measured = float(top["theory_requests_per_s"]), float(top["requests_per_s"])
    if found.verdict != "confirmed":
        return Finding(expected, measured, None, whole.n, found.verdict, found.text, "requests/s")
    reason = f"true of requests a second, up to 1/(2d); for each event it gets better, the more often; {found.text}"
    return Finding(expected, measured, None, whole.n, "refined", reason, "requests/s")


def degrades_gracefully(seen: Rates) -> Finding:
    """L3: events per answer rise as theory has it, and bytes per event are b + h x requests per event, for two sizes.

    ``measured``: events per answer at the greatest rate.
    """
    whole, parts = seen.seen(), []
    for size in sorted(set(seen.sizes.values())):
        table = seen.table(size)
        parts += [_events_per_answer(table, rate) for rate in table.index]
        parts.append(_line(table, size))
    found, top = _parts(parts), seen.table().iloc[-1]
    expected, measured = float(top["theory_events_per_answer"]), float(top["events_per_answer"])
    return Finding(expected, measured, None, whole.n, found.verdict, found.text, "events")


def full_headers(seen: Sizes) -> Finding:
    """L4: the headers of an exchange do not depend on the payload. ``measured``: their share for the least payload."""
    table = seen.table()
    spread = float(table["headers"].max() / table["headers"].min() - 1)
    few = int(table["answers"].min())
    parts = [
        _said(
            spread <= 0.05,
            f"headers of an exchange from {table['headers'].min():.0f} to {table['headers'].max():.0f} bytes",
        ),
        _said(bool(table["share_of_headers"].is_monotonic_decreasing), "a share that falls as the payload grows"),
        Part("confirmed" if few >= 3 else "undecided", f"{few} answers of each size at least"),
    ]
    found, least = _parts(parts), float(table["share_of_headers"].iloc[0])
    most = float(table["share_of_headers"].iloc[-1])
    text = f"{least:.0%} of {int(table.index[0])} B, {most:.0%} of {int(table.index[-1])} B; {found.text}"
    return Finding(None, least, None, int(table["answers"].sum()), found.verdict, text, "")


def persistent_connections(run: Any) -> Finding:
    """L5: one connection against one a request; the gap 2d against 4d; the maximum 3d against 5d.

    ``measured``: the mean of fresh connections; expected: the closed form with the gap 4d.
    """
    rate, parts, last = float(run.settings["schedule"]["rate_per_s"]), [], None
    for name, fresh in ((KEPT, False), (FRESH, True)):
        seen = see(run, name)
        d, records = seen.one_way_s, [r for r in run.ledger.of() if r.technique == name]
        theory = models.long_polling_latency(rate, d, ENDLESS_S, models.request_gap(d, fresh))
        mean = _mean(seen, theory.std_s)
        wanted = sum(r.requests for r in records) if fresh else 1
        parts += [
            _said(len(records) == wanted, f"{name}: {len(records)} connections"),
            _named(name, mean_part(seen, mean, theory, d)),
            _named(name, range_part(seen, theory.min_s, theory.max_s)),
            _named(name, lost_part(seen)),
        ]
        last = theory.mean_s, mean, seen
    assert last is not None
    return finding(last[0], last[1], last[2], parts)


def time_outs_bite(seen: Valley) -> Finding:
    """L6: on a scaled clock, and with an intermediary told to be so: illustrated. ``measured``: the cheapest hold."""
    table = seen.table()
    safe, beyond = table[table.index < seen.idle_timeout_s], table[table.index > seen.idle_timeout_s]
    parts = [
        _said(bool((safe["broken_per_min"] == 0).all()), "nothing broken below the idle limit"),
        _said(bool((beyond["broken_per_min"] > 0).all()), "every hold above it broken"),
        _said(bool(safe["requests_per_min"].is_monotonic_decreasing), "fewer requests, the longer the hold"),
        _said(float(beyond["deaf_share"].min()) > float(safe["deaf_share"].iloc[-1]), "and deaf meanwhile"),
    ]
    found, best = _parts(parts), float(safe.index[-1])
    verdict: Verdict = "illustrated" if found.verdict == "confirmed" else found.verdict
    why = f"an intermediary that was told to end what is idle for {seen.idle_timeout_s:g} s; {found.text}"
    return Finding(seen.idle_timeout_s, best, None, len(table), verdict, why, "s")


def a_connection_is_held(seen: Held) -> Finding:
    """L7: a descriptor and some memory for each held client, whatever the technique. ``measured``: KiB by technique."""
    if seen.why:
        raise NoVerdict("not run", seen.why)
    parts, measured = [], {}
    for name, kib in seen.memory_kib.items():
        interval = claims.mean_interval(kib)
        each = sum(seen.descriptors[name]) / len(seen.descriptors[name])
        verdict: Verdict = "confirmed" if interval.low > 0 else "undecided" if interval.high > 0 else "refuted"
        parts.append(Part(verdict, f"{name}: {interval.value:.1f} KiB ({interval.low:.1f} to {interval.high:.1f})"))
        parts.append(_said(abs(each - 1) < 0.02, f"{name}: {each:.2f} descriptors for each"))
        measured[name] = round(interval.value, 1)
    found = _parts(parts)
    return Finding(None, measured, None, len(parts) // 2, found.verdict, found.text, "KiB")


def lost_without_a_cursor(seen: Unaware) -> Finding:
    """L8. ``measured``: the share that the client without a cursor lost; expected: the share that falls into a gap."""
    n, lost = len(seen.published), seen.lost
    if n < LEAST_EVENTS:
        raise NoVerdict("undecided", f"{n} events are too few", n)
    others, twice = set(seen.published) - set(seen.with_cursor), len(seen.with_cursor) - len(set(seen.with_cursor))
    share, p = lost / n, seen.expected_share
    error = 4 * math.sqrt(max(p * (1 - p), 1 / n) / n)  # those of one gap are lost together: it is not less
    near: Verdict = "confirmed" if abs(share - p) <= error + 0.05 else "undecided"
    parts = [
        _said(lost > 0, f"{lost} of {n} events lost without a cursor"),
        Part(near, f"{share:.0%} of them, the share that falls into a gap is {p:.0%}"),
        _said(not others and not twice, f"{len(others)} lost and {twice} twice with one"),
    ]
    found = _parts(parts)
    return Finding(
        p, share, Interval(share, max(0.0, share - error), share + error, n), n, found.verdict, found.text, ""
    )


def pipelining(seen: Pipelined) -> Finding:
    """L10: pairs within d; Poisson events within 3d; a GET behind the poll waits for it. ``measured``: that GET."""
    whole = see(seen.run, LONG)
    d, pairs, poisson = whole.one_way_s, only(whole, ["pairs"]), only(whole, ["poisson"])
    blocked: Verdict = "confirmed" if seen.behind_s > 0.8 * seen.hold_s > 2 * seen.beside_s else "undecided"
    if seen.behind_s < 0.5 * seen.hold_s:
        blocked = "refuted"
    parts = [
        _named("two at most in any 2d", range_part(pairs, d, d)),
        _named("Poisson", range_part(poisson, d, 3 * d)),
        lost_part(whole),
        Part(
            blocked,
            f"a GET behind a poll held {seen.hold_s:g} s took {seen.behind_s:.2f} s, beside it {seen.beside_s:.2f} s",
        ),
    ]
    found = _parts(parts)
    return Finding(seen.hold_s, seen.behind_s, None, whole.n, found.verdict, found.text, "s")


def few_connections(seen: Tabs) -> Finding:
    """L11: six requests are held at once, the seventh waits; one connection for all tabs loses nothing.

    ``measured``: how many requests were answered with the first.
    """
    if not seen.answered_s:
        raise NoVerdict("not run", seen.why or "no page attached")
    together = sum(s < 1.5 * seen.hold_s for s in seen.answered_s)
    parts = [
        _said(together == 6, f"{together} of {len(seen.answered_s)} requests answered together, the others after them")
    ]
    for name, ids in seen.shared.items():
        parts.append(_said(ids == seen.published[-len(ids) :] and len(ids) > 0, f"{name}: {len(ids)} events in order"))
    whole = seen.shared.get("a tab that stayed", ())
    parts.append(_said(whole == seen.published, f"{len(seen.published) - len(set(whole))} lost when the leader closed"))
    found = _parts(parts)
    return Finding(6, together, None, len(seen.answered_s), found.verdict, f"{seen.browser}: {found.text}", "requests")


def threads_are_held(seen: Threads) -> Finding:
    """L12. ``measured``: how long the one long poll too many waited for its event at the bounded server."""
    bounded, lab = next(iter(seen.poll_s)), list(seen.poll_s)[1]
    noise = seen.get_s[lab] / seen.hold_s
    if noise > 0.25:
        raise NoVerdict("undecided", f"this machine is too busy: a plain poll at the lab took {seen.get_s[lab]:.2f} s")
    parts = [
        _said(
            seen.poll_s[bounded] > 0.6 * seen.hold_s,
            f"with {seen.threads} threads held, one more waited {seen.poll_s[bounded]:.2f} s",
        ),
        _said(seen.get_s[bounded] > 0.6 * seen.hold_s, f"and so did a plain poll, {seen.get_s[bounded]:.2f} s"),
        _said(seen.poll_s[lab] < 0.4 * seen.hold_s, f"at the lab's event loop {seen.poll_s[lab]:.2f} s"),
    ]
    found = _parts(parts)
    return Finding(seen.hold_s, seen.poll_s[bounded], None, seen.threads + 1, found.verdict, found.text, "s")


# Parts


def only(seen: Seen, topics: list[str]) -> Seen:
    """What was seen of some topics; lost events are counted with the whole."""
    return replace(seen, frame=seen.frame[seen.frame["topic"].isin(topics)], lost=0)


def _mean(seen: Seen, std_s: float) -> Interval:
    frame = seen.frame
    together = frame["topic"].astype(str) + "/" + (frame["received_ns"] // int(seen.one_way_s * 5e8)).astype(str)
    return claims.mean_interval(listed(seen.latency_s), groups=listed(together), least_error=std_s / math.sqrt(seen.n))


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


def _said(is_so: bool, text: str) -> Part:
    return Part("confirmed", text) if is_so else Part("refuted", f"not so: {text}")


def _named(name: str, part: Part) -> Part:
    return Part(part.verdict, f"{name}: {part.text}")


def _parts(parts: list[Part]) -> Part:
    """All parts as one: the verdict of :func:`labkit.claims.combine`, and who is to blame first."""
    verdict = claims.combine(part.verdict for part in parts)
    said = [p.text for p in parts if p.verdict == verdict] + [p.text for p in parts if p.verdict != verdict]
    return Part(verdict, "; ".join(said))


CHECKS: dict[str, Callable[[Any], Finding]] = {
    "L1": near_one_transit,
    "L1b": nearer_than_polling,
    "L2": answering_often,
    "L3": degrades_gracefully,
    "L4": full_headers,
    "L5": persistent_connections,
    "L6": time_outs_bite,
    "L7": a_connection_is_held,
    "L8": lost_without_a_cursor,
    "L10": pipelining,
    "L11": few_connections,
    "L12": threads_are_held,
}
