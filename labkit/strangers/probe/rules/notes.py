"""Risks, and what is worth knowing: nothing of it went wrong in this probe."""

from __future__ import annotations

from collections.abc import Callable

from labkit.strangers.probe.finding import Note
from labkit.strangers.probe.observation import Seen
from labkit.strangers.probe.rules.at_once import came_at_once, is_no_wonder
from labkit.strangers.probe.rules.clients import client_gives_up, constant_return, http_1_only, left_open
from labkit.strangers.probe.rules.compared import delays_s
from labkit.strangers.probe.rules.inspected import made_certificate
from labkit.strangers.probe.rules.published import exact
from labkit.strangers.probe.rules.resumed import repeated
from labkit.strangers.probe.rules.short import ended

LIMIT_S = 60.0


def no_ids(seen: Seen) -> Note | None:
    """Row 13."""
    first = seen.first
    if (wire_id := repeated(first)) and first.kind == "event-stream":
        return Note(13, f"several events have the id {wire_id!r}: Last-Event-ID does not say where to go on")
    if seen.returns or first.kind != "event-stream" or not first.events or any(event.wire_id for event in first.events):
        return None
    return Note(13, "no event has an id: what is lost in a cut cannot be asked for again (id: in each event)")


def heartbeats(seen: Seen) -> Note | None:
    """Rows 8 and 12: heartbeats against idle limits."""
    first = seen.first
    if not first.is_live or first.status not in (200, 101) or first.end in ("clean", "closed"):
        return None
    beats = list(first.heartbeats)
    if len(beats) > 1:
        every = (beats[-1] - beats[0]) / (len(beats) - 1)
        if every >= LIMIT_S / 2:
            return Note(12, f"a heartbeat each {every:.0f} s: too seldom for an idle limit of {LIMIT_S:.0f} s or less")
        return Note(8, f"a heartbeat each {every:.1f} s")
    longest = max([*first.gaps_s, first.idle_s], default=0.0)
    if longest < 5:
        return None
    return Note(8, f"no heartbeat in a silence of {longest:.0f} s: an idle limit below that cuts it (many are "
                "30 or 60 s)")  # fmt: skip


def parameter(seen: Seen) -> Note | None:
    """Row 5."""
    kind = seen.first.headers.get("content-type", "")
    if seen.first.kind != "event-stream" or ";" not in kind:
        return None
    return Note(5, f"Content-Type: {kind}: some hops stream text/event-stream alone, without a parameter")


def split(seen: Seen) -> Note | None:
    """Row 22."""
    count = seen.first.split_characters
    if not count:
        return None
    return Note(22, f"{count} reads end within a character: a client that decodes read by read garbles it "
                "(try yours on `labkit vectors`)")  # fmt: skip


def unknown_fields(seen: Seen) -> Note | None:
    """What a client passes over without a loss."""
    harmless = [each for each in seen.first.violations if not each.loses]
    if not harmless:
        return None
    return Note(22, f"{harmless[0].what}: {harmless[0].offending} ({harmless[0].clause})")


def in_bursts(seen: Seen) -> Note | None:
    """Events that come together, again and again: of one address, nobody can say who holds them."""
    first, groups = seen.first, seen.first.groups
    if "also" in seen.others or first.kind == "messages" or len(groups) < 3 or len(first.events) < 2.5 * len(groups):
        return None
    return Note(1, f"events come together: {len(first.events)} in {len(groups)} bursts. A server that batches and a "
                "hop that holds look alike from one address: --also ADDRESS")  # fmt: skip


def at_once(seen: Seen) -> Note | None:
    """All together and late, and no wonder."""
    first = seen.first
    why = is_no_wonder(first) if came_at_once(first) else ""
    if not why:
        return None
    return Note(24, f"all {len(first.events)} events came at once, after {first.events[0].t_s:.1f} s: {why}")


def nothing_came(seen: Seen) -> Note | None:
    first = seen.first
    if first.status not in (200, 101) or first.kind == "whole" or first.events or first.end != "open":
        return None
    return Note(
        0, f"no event within {first.end_s:.0f} s, with the head there after {1000 * (first.head_s or 0):.0f} ms"
    )


def waits(seen: Seen) -> Note | None:
    """A long poll that has nothing to say yet."""
    if not seen.holds or seen.first.end != "silent":
        return None
    return Note(0, f"no answer within {seen.first.end_s:.0f} s: a long poll waits for an event; listening for longer "
                "than it is held (--seconds) shows how it ends")  # fmt: skip


def no_stream(seen: Seen) -> Note | None:
    first = seen.first
    if first.status != 200 or first.kind != "whole":
        return None
    kind = first.headers.get("content-type", "no type")
    return Note(0, f"{kind}: no stream of events that could be told apart; head, pieces and end were measured alone")


def not_repeated(seen: Seen) -> Note | None:
    if seen.sendable:
        return None
    return Note(0, f"a {seen.first.method} is sent exactly once: what a second one would have told is not from here "
                "(--again allows it)")  # fmt: skip


def later_here(seen: Seen) -> Note | None:
    """What a hop adds that holds nothing back."""
    first, also = seen.first, seen.others.get("also")
    delays = sorted(delays_s(first, also)) if also is not None else []
    if not delays:
        return None
    return Note(0, f"{len(delays)} events matched with {also.address}: the median came "  # type: ignore[union-attr]
                f"{1000 * delays[len(delays) // 2]:.1f} ms later here, at most {1000 * delays[-1]:.1f} ms")  # fmt: skip


NOTES: tuple[Callable[[Seen], Note | None], ...] = (
    exact,
    later_here,
    at_once, nothing_came, waits, no_stream, no_ids, heartbeats, client_gives_up, http_1_only, constant_return,
    left_open, parameter, made_certificate, split, unknown_fields, ended, in_bursts, not_repeated,
)  # fmt: skip
