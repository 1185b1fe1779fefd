"""An end that looks like one: row 27."""

from __future__ import annotations

from labkit.client.secure_connection import NO_FAREWELL
from labkit.strangers.probe.finding import Finding, Note, tap_between
from labkit.strangers.probe.observation import Observation, Seen
from labkit.strangers.probe.rules.compared import matched

LAST_TYPES = frozenset({"bye", "close", "complete", "completed", "done", "end", "eof", "finish", "finished",
                        "message_stop", "response.completed"})  # fmt: skip
LAST_WORDS = ("[DONE]", '"done":true', '"done": true', '"type":"message_stop"', '"type": "message_stop"')


def says_its_end(one: Observation) -> bool:
    """Whether its last event is one that says that nothing follows, or its head has said how long it is."""
    if "content-length" in one.headers:
        return True
    last = one.events[-1] if one.events else None
    return last is not None and (last.type in LAST_TYPES or any(word in last.said for word in LAST_WORDS))


def crash_looks_whole(seen: Seen) -> Finding | None:
    """Row 27: behind the hop it was cut, here it ends as if it were whole (``--also``)."""
    first, also = seen.first, seen.others.get("also")
    if also is None or first.end != "clean" or not also.is_cut or says_its_end(first) or not matched(first, also):
        return None
    says = f"the stream was cut behind the hop, and {first.address} ends it as if it were whole"
    how = "reset" if also.end == "reset" else "FIN without an end of the body"
    evidence = (f"{also.address}: {how} after {also.end_s:.2f} s, behind {len(also.events)} events",
                f"{first.address}: a clean end after {first.end_s:.2f} s, behind {len(first.events)}")  # fmt: skip
    remedy = ("nginx, in the location:  proxy_http_version 1.1;   (towards HTTP/1.0 a crash is an end like any other)",
              "and an event of your own that says that it is the last one")  # fmt: skip
    if first.events[-1].key == also.events[-1].key:
        return Finding(27, "seen", says, evidence, remedy=remedy)
    left = ("a hop that speaks HTTP/1.0 to its upstream (row 27)", "two answers of which one alone was cut")
    return Finding(27, "consistent with", says, evidence, left, remedy, tap_between(seen, "how each one ended"))


def ended(seen: Seen) -> Note | None:
    """A stream that ends as it should, and one of which that cannot be told."""
    first = seen.first
    if not first.is_live or first.status not in (200, 101):
        return None
    if first.kind == "messages":
        if first.close_code is None:
            return None
        return Note(0, f"closed with {first.close_code} {first.close_reason!r} after {first.end_s:.1f} s")
    if first.end not in ("clean", "closed"):
        return None
    count = f"{len(first.events)} events"
    if says_its_end(first):
        return Note(0, f"it ended cleanly after {first.end_s:.1f} s, with {count}, and said so itself")
    where = tap_between(seen, "which it was")
    if first.end == "closed":
        how = ", without TLS's close_notify" * (NO_FAREWELL in first.complaint)
        return Note(27, f"its body ended with the connection{how}, after {first.end_s:.1f} s, with {count}: a cut "
                    "would look the same, and no event says that it was the last one. Not from here: "
                    f"{where}")  # fmt: skip
    again = "; an EventSource comes back" if first.kind == "event-stream" else ""
    return Note(27, f"it ended cleanly after {first.end_s:.1f} s, with {count}{again}. No event says that it was the "
                "last one, and behind a hop that speaks HTTP/1.0 a crash looks the same. Not from here: "
                f"{where}")  # fmt: skip
