"""Pieces of a buffer's size: row 28, and row 1 where the head waits in that buffer as well."""

from __future__ import annotations

from itertools import pairwise

from labkit.strangers.probe.finding import Finding, tap_between
from labkit.strangers.probe.observation import TOGETHER_S, Observation, Seen
from labkit.strangers.probe.remedies import HOLDS, UNBUFFER, lines
from labkit.strangers.probe.rules.compared import LEAST_S

BUFFERS = (32768, 16384, 8192, 4096)


def pieces_of_a_buffer(seen: Seen) -> Finding | None:
    """Row 28: what came before a pause ends at a buffer's border, inside of an event."""
    first = seen.first
    if first.is_coded or first.kind in ("messages", "whole") or not first.pieces:
        return None
    borders = [0]
    for piece, following in pairwise(first.pieces):
        if following.t_s - piece.t_s > TOGETHER_S:
            borders.append(piece.stop)
    last = first.pieces[-1]
    if first.end == "open" and first.end_s - last.t_s > 4 * TOGETHER_S:
        borders.append(last.stop)
    then = [*borders[2:], last.stop]
    inside = [(a, b) for (a, b), stop in zip(pairwise(borders), then, strict=False) if _waits_for_more(first, b, stop)]
    for size in BUFFERS:
        full = [(a, b) for a, b in inside if not b % size or (a and not (b - a) % size)]
        if full and len(full) * 2 >= len(borders) - 1:
            shown, head_s = ", ".join(str(b - a) for a, b in full[:4]), first.head_s or 0.0
            says = f"it comes in lumps of {size} bytes that end inside of an event"
            evidence = (f"{len(full)} of {len(borders) - 1} pieces before a pause end at a border of {size} bytes, "
                        f"inside of an event: {shown} bytes", f"head after {head_s:.2f} s, first byte after "
                        f"{first.pieces[0].t_s:.2f} s")  # fmt: skip
            if first.pieces[0].t_s - head_s <= TOGETHER_S:
                left = (f"a proxy that holds the head as well, until a buffer is full: {HOLDS} (row 1)",
                        "a buffer that is flushed for the head only, and was full at once (row 28)")  # fmt: skip
                return Finding(1, "consistent with", f"{says}, the head with the first of them", evidence, left,
                               lines(UNBUFFER, first), "ask the address behind it: --also ADDRESS")  # fmt: skip
            return Finding(
                28, "seen", says, evidence,
                remedy=("flush after each write: a buffer of that size is flushed for the head only "
                        "(a copying proxy, a development server)", *lines(UNBUFFER, first)),
                elsewhere=tap_between(seen, "which hop has that buffer"),
            )  # fmt: skip
    return None


def _waits_for_more(one: Observation, place: int, stop: int) -> bool:
    """Whether an event is held there until something else is written: what is merely long goes on by itself.

    No event is, where a heartbeat or padding ends.

    Args:
        stop: up to where it goes on behind the pause; the place itself, where it does not.
    """
    event = next((event for event in one.events if event.stop - event.size < place < event.stop), None)
    if event is None:
        return one.begun is not None and one.begun < place == stop
    if stop == event.stop == one.pieces[-1].stop and one.end != "open":  # with the end of all
        return one.pieces[-1].t_s - max(piece.t_s for piece in one.pieces if piece.stop <= place) >= LEAST_S
    return stop == place or stop > event.stop
