"""Answers that come whole and late, or not at all: rows 1, 2, 7 and 24."""

from __future__ import annotations

from labkit.strangers.probe.finding import Finding, tap_between
from labkit.strangers.probe.observation import TOGETHER_S, Observation, Seen
from labkit.strangers.probe.remedies import HOLDS, UNBUFFER, lines, suspect
from labkit.strangers.probe.rules.clear_text import clear_text

LATE_S = 0.5
"""Nobody calls a stream held that was whole sooner."""
FEWEST = 3
FASTEST_PER_S = 200.0
"""Tokens a second of a fast language model: whoever makes no more than that in the time holds nothing."""


def no_head(seen: Seen) -> Finding | None:
    """Row 7, or 1: not even a head within the time."""
    first = seen.first
    if first.end != "silent" or seen.holds:
        return None
    also = seen.others.get("also")
    also_flows = also is not None and also.head_s is not None
    evidence = (f"{first.end_s:.1f} s after the request: not one byte",)
    left = (f"a proxy that holds the head with the body until it is whole, or its buffers are full: {HOLDS} (row 1)",
            "a module that inspects the whole body, such as a web application firewall (row 7)",
            "a server without a free worker (row 25), or one that sends no head before its first event",
            "a hop that holds a GET and not a POST (row 5)",
            "a long poll that waits for its first event", *clear_text(first))  # fmt: skip
    return Finding(7, "consistent with", f"no head came within {first.end_s:.0f} s", evidence,
                   left[:2] if also_flows else left, lines(UNBUFFER, first),
                   tap_between(seen, "who holds it"))  # fmt: skip


def came_at_once(one: Observation) -> bool:
    """Whether several events came together at the end of a silence, and nothing after them."""
    if not one.is_live or one.kind == "messages" or len(one.events) < FEWEST or one.end not in ("clean", "closed"):
        return False
    first, last = one.events[0].t_s, one.events[-1].t_s
    return first >= LATE_S and last - first <= max(TOGETHER_S, 0.02 * first) and one.end_s - last <= 0.1 * first + 0.05


def is_no_wonder(one: Observation) -> str:
    """Why what came at once may have been made at once; empty where it was not."""
    if one.kind == "lines" and "content-length" in one.headers:
        return "the head says how long it is, as of a file or a query's answer, which is whole before it begins"
    span_s = max(TOGETHER_S, one.events[-1].t_s - one.events[0].t_s) if one.events else 0.0
    if len(one.events) < 2 + FASTEST_PER_S * span_s:  # and what begins and ends it
        return "they are so few that they may have been made in that moment"
    return ""


def all_at_once(seen: Seen) -> Finding | None:
    """Rows 1 and 24: which of them, the borders of the chunks say where there are any."""
    first, plain = seen.first, seen.others.get("identity")
    if not came_at_once(first) or first.head_s is None or is_no_wonder(first):
        return None
    if first.is_coded and (plain is None or not came_at_once(plain)):  # it may be the compressor
        return None
    count, at = len(first.events), first.events[0].t_s
    is_head_late = first.head_s >= 0.8 * at
    apart = len(first.chunks) >= count
    evidence = (
        f"head after {first.head_s:.2f} s, {count} events within {1000 * (first.events[-1].t_s - at):.0f} ms after "
        f"{at:.2f} s, the end after {first.end_s:.2f} s",
        f"the body came in {len(first.pieces)} reads"
        + (f" and {len(first.chunks)} chunks" if first.chunks else ", without chunks"),
    )
    proxy = f"a proxy that buffers, head included: {HOLDS} (row 1)"
    if "x-accel-buffering" in first.headers:
        proxy = "a proxy that buffers and does not know X-Accel-Buffering, which came through unread (row 2)"
    replay = "an application or a gateway that generates the whole answer first and then replays it (row 24)"
    end = ("a missing X-Accel-Buffering proves nothing: nginx obeys and removes it",)
    if apart:  # who wrote them wrote each for itself, and in a moment
        return Finding(
            24, "consistent with", f"all {count} events came at once, after {at:.1f} s, each in a chunk of its own",
            (*evidence, "whoever wrote these chunks had all of it when it began"), (replay, proxy),
            ("ask the gateway, or the application, to stream: its answer is generated first and replayed",
             *lines(UNBUFFER, first)),
            "ask the address behind it: --also ADDRESS",
        )  # fmt: skip
    row = 1 if is_head_late else 24
    head = "with the head" if is_head_late else f"though the head was there after {first.head_s:.2f} s"
    return Finding(row, "consistent with", f"all {count} events came at once, after {at:.1f} s, {head}",
                   (*evidence, *(end if is_head_late or suspect(first) == "nginx" else ())),
                   (proxy, replay, *clear_text(first)),
                   lines(UNBUFFER, first), "ask the address behind it: --also ADDRESS")  # fmt: skip
