"""A return after a cut: rows 13 and 14. Asked with ``--cut`` alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from labkit.strangers.probe.finding import Finding, tap_between
from labkit.strangers.probe.observation import Observation, Seen

BACK = 3
"""The return asks to go on behind the last event but so many, which the first answer still had."""


def repeated(one: Observation) -> str:
    """An id that several events of one answer have; empty where there is none."""
    counts = Counter(event.wire_id for event in one.events if event.wire_id)
    return next((str(wire_id) for wire_id, count in counts.items() if count > 1), "")


def resumed(seen: Seen) -> Finding | None:
    """Whether what followed the last id held comes again, whole and once."""
    first, again = seen.first, seen.others.get("return")
    if again is None or first.status != 200:
        return None
    held = again.request.get("Last-Event-ID", "")
    if again.status != 200:
        return Finding(15, "seen", f"the return is answered {again.status or again.end}, after which an EventSource "
                       "never comes back by itself", (f"Last-Event-ID: {held}: {again.status} {again.words}",),
                       remedy=("answer 200 to any Last-Event-ID, and say a gap aloud",))  # fmt: skip
    ids = [event.wire_id for event in first.events if event.wire_id]
    back = [event.wire_id for event in again.events if event.wire_id]
    if held not in ids or not back or repeated(first):  # where an id comes again, it says nothing of a place
        return None
    due = ids[ids.index(held) + 1 :]
    evidence = (f"the first answer had ..., {', '.join(ids[ids.index(held) :])}",
                f"asked with Last-Event-ID: {held} the second begins {', '.join(map(str, back[:5]))}")  # fmt: skip
    elsewhere = tap_between(seen, "whether your own client sends Last-Event-ID, and which")
    if due and back[0] == ids[0] and due[0] != ids[0]:
        return Finding(13, "seen", "after a cut the stream begins anew: Last-Event-ID is not read", evidence,
                       remedy=("go on behind Last-Event-ID, from a history of the newest events",),
                       elsewhere=elsewhere)  # fmt: skip
    if held in back or len(set(back)) < len(back):
        return Finding(14, "seen", "after a return events come twice", evidence,
                       remedy=("send what follows Last-Event-ID, without it, each once",))  # fmt: skip
    lost = _passed_over(due, back)
    if not lost or any(event.type == "gap" for event in again.events):
        return None
    if due[0] in back:
        return Finding(14, "seen", f"after a return an event in the middle is missing: {', '.join(lost)}", evidence,
                       remedy=("subscribe first, then replay, and leave out what came twice",))  # fmt: skip
    return Finding(13, "seen", f"after a cut {len(lost)} events are lost: the server goes on at what is new", evidence,
                   remedy=("keep the newest events, and go on behind Last-Event-ID",), elsewhere=elsewhere)  # fmt: skip


def _passed_over(due: Sequence[str], back: Sequence[str]) -> list[str]:
    """What was due and did not come, though something behind it did: the rest may only not have come yet."""
    last = max((due.index(each) if each in due else len(due) for each in back), default=0)
    return [each for each in due[:last] if each not in back]


def without_ids(seen: Seen) -> Finding | None:
    """Row 13: nothing to come back with. Only where a return was asked for."""
    first = seen.first
    if not seen.returns or first.kind != "event-stream" or not first.events:
        return None
    if any(event.wire_id for event in first.events):
        return None
    return Finding(13, "seen", "no event has an id: after a cut nothing can be asked for again",
                   (f"{len(first.events)} events without id:, the first {first.events[0].said!r}",),
                   remedy=("write  id: N  in each event, and go on behind Last-Event-ID",))  # fmt: skip
