"""The checks of 02_long_polling about single exchanges and their connections: L4, L5 and L10."""

from __future__ import annotations

from labkit import theory
from labkit.claims.confidence import Verdict
from labkit.claims.finding import Finding
from labkit.claims.judging import EARLY, Part, finding, named, said
from labkit.claims.seen import mean_part, range_part, see, skipped_part, uninterrupted
from labkit.claims.values import shown
from labkit.course.long_polling.exchanges import FRESH, KEPT, Connections, Pipelined, Sizes
from labkit.course.long_polling.judges import EDGE, mean_of, only
from labkit.course.long_polling.polls import ENDLESS_S, LONG
from labkit.measuring.rounding import counted
from labkit.measuring.run import Run

DIGITS = 4
"""Bytes by which ids and cursors of one run may differ in length."""


def full_headers(seen: Sizes) -> Finding:
    """L4: the headers of an exchange are both of its messages' heads, whatever the payload. ``measured``: their share
    for the least payload.

    The heads are counted from the bytes as they went, to the empty line that ends each. Most of the events are Korean,
    which goes as it is: escaped it would take twice its bytes.
    """
    uninterrupted(seen.run)
    table = seen.table()
    off = float((table["headers"] / table["heads"] - 1).abs().max())
    spread = float(table["heads"].max() / table["heads"].min() - 1)
    few, heads, around = int(table["answers"].min()), table["heads"], table["envelope"]
    parts = [
        said(
            off <= EARLY, f"{float(table['headers'].mean()):.0f} bytes of headers, {float(heads.mean()):.0f} of heads"
        ),
        said(spread <= EDGE, f"heads of an exchange from {heads.min():.0f} to {heads.max():.0f} bytes"),
        said(bool(table["share_of_headers"].is_monotonic_decreasing), "a share that falls as the payload grows"),
        said(
            around.max() - around.min() <= DIGITS,
            f"id and JSON around an event take {around.min():.0f} to {around.max():.0f} bytes, whatever its text",
        ),
        Part("confirmed" if few >= 3 else "undecided", f"{few} answers of each size at least"),
    ]
    least, most = (float(table["share_of_headers"].iloc[i]) for i in (0, -1))
    text = f"headers are {least:.0%} of an exchange of {int(table.index[0])} B, {most:.0%} of {int(table.index[-1])} B"
    return finding(parts, int(table["answers"].sum()), None, least, "", f"{text}\n{{}}")


def persistent_connections(seen: Connections) -> Finding:
    """L5: one connection against one a request; the gap 2d against 4d; the maximum 3d against 5d.

    Each mean must be told from the other's, and from d and a gap twice as long. ``measured``: the mean of fresh
    connections; expected: the closed form with the gap 4d.
    """
    uninterrupted(seen.run)
    parts, d, rate = [], seen.one_way_s, seen.rate_per_s
    worlds_s = [theory.long_polling_mean(rate, d, ENDLESS_S, gap * d) for gap in (0, 2, 4, 8)]
    counted = [_connections(seen.run, name, fresh) for name, fresh in ((KEPT, False), (FRESH, True))]
    if any(part.verdict == "refuted" for part in counted):  # whatever the latencies
        return finding(counted, len(seen.run.published), None, None)
    means = []
    for name, fresh in ((KEPT, False), (FRESH, True)):
        saw, expected = see(seen.run, name), seen.theory(fresh)
        mean = mean_of(saw, expected.std_s)
        means.append(mean.value)
        found = (
            mean_part(saw, mean, expected.mean_s, worlds_s[fresh], worlds_s[fresh + 2]),
            range_part(saw, expected.min_s, expected.max_s),
            skipped_part(saw),
        )
        parts += [named(name, part) for part in found]
    lead = "a connection kept alive spares each poll the handshake: "
    lead += f"{shown(means[0], 's')} on average, {shown(means[1], 's')} with a connection for each"
    return finding([*parts, *counted], saw.n, expected.mean_s, mean, lead=lead)


def _connections(run: Run, name: str, fresh: bool) -> Part:
    """One for each request, or one for each topic."""
    records = list(run.ledger.of(name))
    asked, topics = sum(record.requests for record in records), len({topic for topic, _ in run.published})
    text = f"{name}: {counted(len(records), 'connection')} to {counted(asked, 'request')}"
    return said(len(records) == (asked if fresh else topics), text)


def pipelining(seen: Pipelined) -> Finding:
    """L10: pairs within d; Poisson events within 3d; a GET behind the poll waits for it. ``measured``: that GET."""
    whole = see(seen.run, LONG)
    d = whole.one_way_s
    pairs, poisson = (only(whole, seen.topics(kind)) for kind in ("pairs", "poisson"))
    blocked: Verdict = "confirmed" if seen.behind_s > 0.8 * seen.hold_s > 2 * seen.beside_s else "undecided"
    if seen.behind_s < 0.5 * seen.hold_s:
        blocked = "refuted"
    parts = [
        named("events in pairs, each of which finds a poll", range_part(pairs, d, d)),
        named("events of which more may come in 2d", range_part(poisson, d, 3 * d)),
        skipped_part(whole),
        Part(
            blocked,
            f"a GET behind a poll held {seen.hold_s:g} s took {seen.behind_s:.2f} s, beside it {seen.beside_s:.2f} s",
        ),
    ]
    lead = "a second poll on the connection takes the gap away, and whatever else is asked on it waits behind them"
    return finding(parts, whole.n, seen.hold_s, seen.behind_s, lead=lead)
