"""The checks of 02_long_polling about what is held: L6, L7, L8, L11, L12."""

from __future__ import annotations

import math
from dataclasses import replace

from labkit import theory
from labkit.claims import confidence
from labkit.claims.confidence import Verdict
from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.judging import EARLY, LEAST_EVENTS, TOLERANCE, Part, finding, said
from labkit.claims.seen import HOPS
from labkit.claims.values import shown
from labkit.course.long_polling.bounded import Threads
from labkit.course.long_polling.idle_limit import Valley
from labkit.course.long_polling.memory import Held
from labkit.course.long_polling.no_cursor import Unaware
from labkit.course.long_polling.tabs import Tabs

LEAST_KIB = 1.0
"""Of the server's memory that a held client takes at the least, told from none."""


def time_outs_bite(seen: Valley) -> Finding:
    """L6: on a scaled clock, and with an intermediary told to be so: illustrated. ``measured``: the cheapest hold."""
    table = seen.table()
    safe, beyond = table[table.index < seen.idle_timeout_s], table[table.index > seen.idle_timeout_s]
    share = float((safe["broken_per_min"] / safe["requests_per_min"]).max())
    below: Verdict = "confirmed" if share == 0 else "undecided" if share < 0.5 else "refuted"  # a stall breaks some
    parts = [
        Part(below, f"{share:.0%} of the requests broken below the idle limit"),
        said(bool((beyond["broken_per_min"] > 0).all()), "every hold above it broken"),
        _fewer(safe["requests_per_min"].tolist()),
        said(float(beyond["deaf_share"].min()) > float(safe["deaf_share"].iloc[-1]), "and deaf meanwhile"),
    ]
    limit, cheapest = (shown(value_s, "s") for value_s in (seen.idle_timeout_s, float(safe.index[-1])))
    why = f"by an intermediary that was told to end what is idle for {limit}: longer holds are broken, of the others "
    why += f"{cheapest} is the cheapest"
    found = finding(parts, len(table), seen.idle_timeout_s, float(safe.index[-1]), lead=why)
    return replace(found, verdict="illustrated") if found.verdict == "confirmed" else found


def _fewer(requests_per_min: list[float]) -> Part:
    """The longest hold makes fewer requests than the shortest; one between that makes more may be a stall's."""
    falls = requests_per_min == sorted(requests_per_min, reverse=True)
    turned = requests_per_min[-1] >= requests_per_min[0]
    return Part("refuted" if turned else "confirmed" if falls else "undecided", "fewer requests, the longer the hold")


def a_connection_is_held(seen: Held) -> Finding:
    """L7: a descriptor and some memory for each held client, whatever the technique. ``measured``: KiB by technique."""
    if seen.why:
        raise NoVerdict("not run", seen.why)
    parts, measured = [], {}
    for name, kib in seen.memory_kib.items():
        interval = confidence.mean_interval(kib)
        each = sum(seen.descriptors[name]) / len(seen.descriptors[name])
        verdict = confidence.agrees(interval, LEAST_KIB, math.inf, 0.0, math.inf)
        parts.append(Part(verdict, f"{name}: {interval.value:.1f} KiB ({interval.low:.1f} to {interval.high:.1f})"))
        parts.append(said(abs(each - 1) < 0.02, f"{name}: {each:.2f} descriptors for each"))
        measured[name] = round(interval.value, 1)
    kernel = f"; and {seen.kernel_bytes / 1024:.1f} KiB each in the kernel" if seen.kernel_bytes else ""
    return finding(parts, len(parts) // 2, None, measured, "KiB", "{}" + kernel)


def lost_without_a_cursor(seen: Unaware) -> Finding:
    """L8. ``measured``: the share that the client without a cursor lost; expected: the share that falls into a gap.

    Told from a gap of half the length, and from one twice as long. Those of one gap are lost together, a Poisson
    number a, and one event is then delivered: what is lost has the variance of as many gaps as were delivered.
    """
    n, lost = len(seen.published), seen.lost
    if n < LEAST_EVENTS:
        raise NoVerdict("undecided", f"{n} events are too few", n)
    others, twice = set(seen.published) - set(seen.with_cursor), len(seen.with_cursor) - len(set(seen.with_cursor))
    longer = (
        1 + TOLERANCE + HOPS * seen.late_s / theory.request_gap(seen.one_way_s)
    )  # by what the loop's timers are late
    below, p, most, above = (seen.share_lost(gaps) for gaps in (0.6, 1.0, longer, 1.7))
    error = math.sqrt(p / (1 - p) / (n * (1 - p))) * (1 - p) ** 2
    found = confidence.known_interval(lost / n, error, n)
    verdict = confidence.agrees(found, seen.share_lost(1 - EARLY), most, below, above)
    parts = [
        said(lost > 0, f"{lost} of {n} events lost without a cursor"),
        Part(verdict, f"{lost / n:.0%} of the events lost; of all, {p:.0%} fall into a gap between two polls"),
        said(not others and not twice, f"{len(others)} lost and {twice} twice with one"),
    ]
    return finding(parts, n, p, found, "")


def few_connections(seen: Tabs) -> Finding:
    """L11: six requests are held at once, the seventh waits; one connection for all tabs loses nothing.

    ``measured``: how many requests were answered with the first.
    """
    if not seen.answered_s:
        raise NoVerdict("not run", seen.why or "no page attached")
    first = sum(s < 1.5 * seen.hold_s for s in seen.answered_s)
    parts = [said(first == 6, f"{first} of {len(seen.answered_s)} requests answered together, the others after them")]
    for name, ids in seen.shared.items():
        parts.append(said(ids == seen.published[-len(ids) :] and len(ids) > 0, f"{name}: {len(ids)} events in order"))
    whole = seen.shared.get("a tab that stayed", ())
    parts.append(said(whole == seen.published, f"{len(seen.published) - len(set(whole))} lost when the leader closed"))
    return finding(parts, len(seen.answered_s), 6, first, "requests", f"{seen.browser}: {{}}")


def threads_are_held(seen: Threads) -> Finding:
    """L12. ``measured``: how long the one long poll too many waited for its event at the bounded server."""
    bounded, lab = next(iter(seen.poll_s)), list(seen.poll_s)[1]
    noise_s = max(seen.get_s[lab], seen.short_s[lab])
    if noise_s > 0.25 * seen.hold_s:
        raise NoVerdict("undecided", f"this machine is too busy: a plain poll at the lab took {noise_s:.2f} s")
    parts = [
        said(
            seen.poll_s[bounded] > 0.6 * seen.hold_s,
            f"with {seen.threads} threads held, one more waited {seen.poll_s[bounded]:.2f} s",
        ),
        said(seen.get_s[bounded] > 0.6 * seen.hold_s, f"and so did a plain poll, {seen.get_s[bounded]:.2f} s"),
        said(
            seen.short_s[bounded] < 0.4 * seen.hold_s,
            f"where {seen.threads + 1} clients only poll, none waited longer than {seen.short_s[bounded]:.2f} s",
        ),
        said(seen.poll_s[lab] < 0.4 * seen.hold_s, f"at the lab's event loop {seen.poll_s[lab]:.2f} s"),
    ]
    return finding(parts, seen.threads + 1, seen.hold_s, seen.poll_s[bounded])
