"""Bytes that break the rules of the stream's format, clause by clause."""

from __future__ import annotations

from labkit.strangers.probe.finding import Finding
from labkit.strangers.probe.observation import Seen


def broken_rules(seen: Seen) -> Finding | None:
    """What a client loses or misreads, with the offending bytes."""
    bad = [each for each in seen.first.violations if each.loses]
    if not bad:
        return None
    return Finding(
        22, "seen", f"{bad[0].what} ({bad[0].clause})",
        tuple(f"at byte {each.at}: {each.offending}  ({each.what}; {each.clause})" for each in bad),
        remedy=("what the server writes: each line `data: ...`, a blank line behind each event, UTF-8"
                if seen.first.kind != "messages" else "what the server sends: frames as the clause says",),
    )  # fmt: skip


def wrong_type(seen: Seen) -> Finding | None:
    """An event stream that is not called one: EventSource refuses it for good."""
    first = seen.first
    if first.status != 200 or first.kind != "whole" or not first.is_event_source:
        return None
    if not first.reads_as_events:
        return None
    begins = first.words.lstrip("\ufeff")
    kind = first.headers.get("content-type", "(none)")
    return Finding(
        15, "seen", f"an event stream whose Content-Type is {kind}: an EventSource refuses it for good",
        (f"Content-Type: {kind}", f"it begins {begins[:60]!r}"),
        remedy=("answer with  Content-Type: text/event-stream  (WHATWG HTML 9.2.2)",),
    )  # fmt: skip
