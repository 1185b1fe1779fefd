"""What comes a little later than it might: the end of an event (row 4), the second of two writes (row 23)."""

from __future__ import annotations

from labkit.strangers.probe.finding import Finding, Grade
from labkit.strangers.probe.observation import TOGETHER_S, Event, Observation, Seen

FEWEST = 3


def terminator_late(seen: Seen) -> Finding | None:
    """Row 4: the bytes of an event are there, and its blank line, line end or boundary is not."""
    first = seen.first
    if first.is_coded or first.kind in ("messages", "whole") or len(first.events) < FEWEST:
        return None
    late = [e for e in first.events if e.t_s - e.bare_s > 2 * TOGETHER_S and _goes_on_behind(first, e)]
    if len(late) < max(FEWEST, 0.8 * (len(first.events) - 1)):
        return None
    what, remedy = {
        "parts": ("the boundary that ends a part", "send the boundary right after each part, not before the next one"),
        "lines": ("the line end", "write the line end with its line"),
    }.get(
        first.kind, ("the blank line that dispatches an event", "write the blank line with its event:  data: ...\\n\\n")
    )
    waits = sorted(event.t_s - event.bare_s for event in late)
    return Finding(
        4, "seen", f"each event comes one event late: {what} comes with the next one",
        (f"of {len(late)} of {len(first.events)} events, the content was there {1000 * waits[0]:.0f} to "
         f"{1000 * waits[-1]:.0f} ms before its end",),
        remedy=(remedy,),
    )  # fmt: skip


def _goes_on_behind(one: Observation, event: Event) -> bool:
    """Whether what made it whole brought more: the next event. Else that came in a write of its own."""
    return any(piece.stop > event.stop and piece.t_s <= event.t_s + TOGETHER_S for piece in one.pieces)


ACKNOWLEDGED_S = (0.03, 0.06)
"""A delayed acknowledgement: 40 ms on Linux (RFC 9293 section 3.8.6.3 allows 500)."""


def waits_for_acknowledgement(seen: Seen) -> Finding | None:
    """Row 23: steps of 40 ms, only on a connection that was used before."""
    first, kept, again = seen.first, seen.others.get("kept"), seen.others.get("kept again")
    if kept is None or again is None or not kept.status == again.status == first.status:
        return None
    steps, before = [*steps_s(kept), *steps_s(again)], steps_s(first)
    if not steps_s(kept) or not steps_s(again) or len(before) * 3 > len(steps):  # once may be a busy machine
        return None
    shown = ", ".join(f"{1000 * step:.0f}" for step in steps[:5])
    grade: Grade = "seen" if len(steps) > 3 else "consistent with"
    return Finding(
        23, grade, "a step of 40 ms, only on a connection that was used before",
        (f"kept: {len(steps)} steps of {shown} ms between two reads; on a new connection {len(before)}",),
        () if grade == "seen" else ("Nagle's algorithm against a delayed acknowledgement (row 23)", "a busy machine"),
        ("set TCP_NODELAY on the server's sockets, or write each event in one write",),
    )  # fmt: skip


def steps_s(one: Observation) -> list[float]:
    """Gaps between reads that are as long as an acknowledgement is delayed."""
    least, most = ACKNOWLEDGED_S
    return [gap for gap in one.gaps_s if least <= gap <= most]
