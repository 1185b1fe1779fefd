"""Compressors that are not flushed: rows 3 and 4. Decided by asking with ``Accept-Encoding: identity`` beside it."""

from __future__ import annotations

import statistics

from labkit.strangers.probe.finding import Finding
from labkit.strangers.probe.observation import Seen
from labkit.strangers.probe.remedies import FLUSH, lines
from labkit.strangers.probe.rules.at_once import LATE_S, came_at_once, is_no_wonder
from labkit.strangers.probe.rules.compared import delays_s, is_held, matched

HEADER_BYTES = 32
"""What a compressor writes before it has anything to say: 10 bytes of gzip (RFC 1952), 2 of zlib."""


def held_by_coding(seen: Seen) -> Finding | None:
    """Row 3."""
    first, plain = seen.first, seen.others.get("identity")
    if plain is None or plain.is_coded or not first.is_coded:
        return None
    held, how = is_held(first, plain)
    if not held:
        return None
    coding = first.headers["content-encoding"]
    early = [piece for piece in first.pieces if piece.t_s < max(LATE_S, 0.5 * first.end_s)]
    begun = f"then {sum(piece.size for piece in early)} bytes, then silence" if early else "then silence"
    return Finding(
        3, "seen", f"held with Content-Encoding: {coding}; with Accept-Encoding: identity it flows",
        (f"{coding}: head after {first.head_s or 0:.2f} s, {begun}", f"identity: {len(plain.events)} events in "
         f"{len(plain.groups)} arrivals, the first after {plain.events[0].t_s:.2f} s", how),
        remedy=lines(FLUSH, first),
    )  # fmt: skip


def one_late_by_coding(seen: Seen) -> Finding | None:
    """Row 4: event n comes when n + 1 is sent."""
    first, plain = seen.first, seen.others.get("identity")
    if plain is None or plain.is_coded or not first.is_coded or plain.period_s < 0.05:
        return None
    pairs, period_s = matched(first, plain), plain.period_s
    order = {event.key: place for place, event in enumerate(plain.events)}
    delays = delays_s(first, plain)
    if len(pairs) < 3 or min(delays) < 0.3 * period_s:
        return None
    shift = statistics.median(delays) - statistics.median([mine.t_s - theirs.t_s for mine, theirs in pairs])
    misses = [
        abs(mine.t_s + shift - plain.events[order[mine.key] + 1].t_s)
        for mine, _ in pairs
        if order[mine.key] + 1 < len(plain.events)
    ]
    if len(misses) < 2 or statistics.median(misses) > 0.2 * period_s:
        return None
    coding = first.headers["content-encoding"]
    return Finding(
        4, "seen", f"with Content-Encoding: {coding} each event comes one event late",
        (f"{len(pairs)} events matched: {1000 * statistics.median(delays):.0f} ms later than with identity, and the "
         f"next one is {1000 * period_s:.0f} ms away",),
        remedy=lines(FLUSH, first),
    )  # fmt: skip


def coded_and_silent(seen: Seen) -> Finding | None:
    """The same without the second answer to compare with: it may not be asked twice."""
    first = seen.first
    if not first.is_coded or first.kind == "whole" or seen.others.get("identity") is not None:
        return None
    size = sum(piece.size for piece in first.pieces if piece.t_s < max(LATE_S, 0.5 * first.end_s))
    is_silent = first.end == "open" and 0 < size <= HEADER_BYTES and not first.decoded_bytes
    if not is_silent and (not came_at_once(first) or is_no_wonder(first)):
        return None
    is_head_late = (first.head_s or 0) >= LATE_S
    return Finding(
        3, "consistent with", f"held with Content-Encoding: {first.headers['content-encoding']}",
        (f"head after {first.head_s or 0:.2f} s, then {size} bytes, then silence",),
        ("a compressor that is not flushed after each event (row 3)", "an answer that is replayed (row 24)",
         *(("a proxy that buffers, head included (row 1)",) if is_head_late else ())),
        lines(FLUSH, first), "the request was not repeated; --again lets the probe ask with identity",
    )  # fmt: skip
