"""A stream that a cache recorded: row 26."""

from __future__ import annotations

import re

from labkit.strangers.probe.finding import Finding
from labkit.strangers.probe.observation import Observation, Seen

FLOWING = 3
"""Arrivals of a stream that comes as it is made."""
HIT = re.compile(r"(?<![a-z])hit(?![a-z]|[-_ ]for)", re.I)
"""As a word: TCP_HIT is one, white.example is none, and hit-for-pass is a cache that passes it on."""
HITS = ("x-cache", "cf-cache-status", "x-cache-status", "cache-status", "x-proxy-cache", "cdn-cache")


def _is_file(one: Observation) -> bool:
    """Whether these lines are a file's: of a known length, and of a version that can be asked for again."""
    return one.kind == "lines" and "content-length" in one.headers and not {"etag", "last-modified"}.isdisjoint(
        one.headers)  # fmt: skip


def recorded(seen: Seen) -> Finding | None:
    """Row 26: Age or a HIT on a stream, whose events come at once."""
    first = seen.first
    if first.kind not in ("event-stream", "lines", "parts") or _is_file(first):
        return None
    hits = [f"{name}: {first.headers[name]}" for name in HITS if HIT.search(first.headers.get(name, ""))]
    age = first.headers.get("age", "")
    if age.isdigit() and int(age):
        hits.append(f"Age: {age}")
    if not hits:
        return None
    again = seen.others.get("again")
    same: tuple[str, ...] = ()
    if again is not None and again.events and [e.key for e in again.events] == [e.key for e in first.events]:
        same = (f"asked again: the same {len(again.events)} events",)
    ids = ", ".join(event.wire_id or event.said[:20] for event in first.events[:4])
    if len(first.groups) >= FLOWING:
        return Finding(
            26, "consistent with", f"a cache stands in the stream's way ({hits[0]})", (*hits, f"its events came in "
            f"{len(first.groups)} arrivals"), ("a cache that recorded the first client's answer (row 26)",
            "a cache that passes one answer on to many while it comes"),
            ("answer with  Cache-Control: no-store  (and leave the path out of the CDN's cache)",),
        )  # fmt: skip
    return Finding(
        26, "seen", f"a cache answers with what it recorded ({hits[0]})",
        (*hits, f"{len(first.events)} events ({ids}...), then {first.end}", *same),
        remedy=("answer with  Cache-Control: no-store  (and leave the path out of the CDN's cache)",),
    )  # fmt: skip
