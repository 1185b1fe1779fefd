"""What a page has told, as rows, facts and sentences of a run.

A page is here what :meth:`labkit.lab.pages.Pages.of` gives: plain data. Times are of the lab's clock, in ns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from labkit.lab.attached import Published
from labkit.measuring.rounding import counted
from labkit.webpage.settings import COMM

SUBSCRIBED = "subscribed"


def is_there(page: Mapping[str, Any]) -> bool:
    """Attached, and each of its techniques subscribed or saying why not."""
    return page["attached"] and all(stream["state"] != "connecting" for stream in page["streams"])


def in_words(page: Mapping[str, Any]) -> str:
    """How a page stands, as a phrase for people."""
    if not page["attached"]:
        where = "the page has left"
    else:
        hidden = ", hidden" if page["presence"].get("hidden") else ""
        where = f"attached through {page['through']}{hidden}"
    streams = (
        f"{s['technique']} {s['state']}{' (' + s['why'] + ')' if s['why'] else ''}, {counted(s['count'], 'event')}"
        for s in page["streams"]
    )
    return f"{where}: {'; '.join(streams)}; clock ± {page['error_ms']:.2g} ms"


def place(page: Mapping[str, Any], stream: Mapping[str, Any]) -> str:
    """The key of one technique of one page."""
    return f"{page['id']} {stream['technique']}"


def rows(
    page: Mapping[str, Any], stream: Mapping[str, Any], published: Published, since_ns: int
) -> Iterator[dict[str, Any]]:
    """What a stream has brought since then, as ``Run.deliveries`` has it."""
    comm = stream["technique"] == COMM
    for event_id, received_ns, error_ms, payload_bytes in stream["arrivals"]:
        times = published.get((page["topic"], event_id))
        if times is None and received_ns < since_ns:
            continue
        due_ns, published_ns = times if times is not None else (None, None)
        yield {
            "technique": stream["technique"],
            "client": "browser",
            "http_version": "" if comm else page["version"],
            "topic": page["topic"],
            "subscriber": stream["number"],
            "event_id": event_id,
            "wire_id": str(event_id),
            "due_ns": due_ns,
            "published_ns": published_ns,
            "received_ns": received_ns,
            "latency_ms": None if due_ns is None else (received_ns - due_ns) / 1e6,
            "transit_ms": None if published_ns is None else (received_ns - published_ns) / 1e6,
            "clock_error_ms": error_ms,
            "bytes": None,  # what it took for each, no ledger of a page's own says
            "payload_bytes": payload_bytes,
            "scheduled": times is not None,
            "conflated": 0,
        }


def facts(page: Mapping[str, Any], since_ns: int) -> dict[str, Any]:
    """What a run keeps of a page: how its clock stood, by what address it came, how it was."""
    names = ("id", "topic", "through", "version", "attached", "offset_ms", "error_ms", "round_trip_ms")
    known = {name: page[name] for name in names}
    for name in ("away", "hidden"):
        known[f"{name}_s"] = _seconds(page[name], since_ns)
    return {**known, "streams": {s["technique"]: [s["state"], s["why"]] for s in page["streams"]}}


def notes(page: Mapping[str, Any], since_ns: int) -> Iterator[str]:
    """Sentences on what a run should know of a page: late, away, hidden, not subscribed, forgotten."""
    names = ", ".join(stream["technique"] for stream in page["streams"])
    if page["came_ns"] > since_ns > 0:
        yield f"a page came {(page['came_ns'] - since_ns) / 1e9:.1f} s into the run and is not in it ({names})."
        return
    for begin, end in _since(page["away"], since_ns) if since_ns else ():
        at_s, for_s = (max(begin, since_ns) - since_ns) / 1e9, (end - max(begin, since_ns)) / 1e9
        yield f"the page was away {for_s:.1f} s, from {at_s:.1f} s on ({names}); its rows up to then stay."
    hidden_s = _seconds(page["hidden"], since_ns)
    if since_ns and hidden_s:
        yield f"the page was hidden for {hidden_s:.1f} s ({names})."
    for stream in page["streams"]:
        if stream["state"] != SUBSCRIBED:
            yield f"{stream['technique']} ended {stream['state']}{': ' + stream['why'] if stream['why'] else ''}."
        if stream["forgotten"]:
            yield f"{stream['technique']}: {stream['forgotten']} of the oldest arrivals are no longer held."


def _since(spans: Iterable[tuple[int, int]], since_ns: int) -> list[tuple[int, int]]:
    return [(begin, end) for begin, end in spans if end > since_ns]


def _seconds(spans: Iterable[tuple[int, int]], since_ns: int) -> float:
    """How long the spans last, from then on."""
    return sum((end - max(begin, since_ns)) / 1e9 for begin, end in _since(spans, since_ns))
