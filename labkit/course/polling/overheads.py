"""P4 and P5: polls with ``If-None-Match``, and the overhead of one message through polling and WebSocket."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from labkit import loop
from labkit.client.connection import Wiring
from labkit.client.http import HTTPClient
from labkit.client.ledger import Ledger
from labkit.course.polling.seen_load import Overheads, Revalidated
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run

# P4: If-None-Match


def revalidate(lab: Lab, sizes: tuple[int, ...] = (0, 1, 2, 3, 4, 6, 8, 16, 32, 64)) -> Revalidated:
    """Poll topics that hold so many events of 20 bytes, with a cursor and for the whole, plainly and with an ETag."""
    import pandas as pd

    topic = f"resource-{time.monotonic_ns()}"
    rows = [row for size in sizes for row in _revalidate(lab, f"{topic}-{size}", size)]
    return Revalidated(pd.DataFrame(rows), {"started": datetime.now(UTC).isoformat()})


def _revalidate(lab: Lab, topic: str, size: int) -> Iterator[dict[str, Any]]:
    for number in range(size):
        lab.publish(schedules.payload(number + 1, 20), topic)
    cursor = lab.cursor(topic)
    cases = [(how, conditional) for how in ("cursor", "whole") for conditional in (False, True)]
    client = HTTPClient(lab.url_of("polling"), topic=topic, token=None, wiring=Wiring(Ledger(0), "polling"))
    try:
        before = {case: loop.run(_poll(client, cursor, *case)) for case in cases}
        etags = {case: found[3] for case, found in before.items()}
        again = {case: loop.run(_poll(client, cursor, *case, etag=etags[case])) for case in cases}
        lab.publish(schedules.payload(size + 1, 20), topic)
        changed = {case: loop.run(_poll(client, cursor, *case, etag=etags[case])) for case in cases}
    finally:
        client.close()
    for case in cases:
        how, conditional = case
        yield {
            "events": size,
            "resource_bytes": before["whole", False][2],
            "how": how,
            "conditional": conditional,
            "status": again[case][0],
            "bytes": again[case][1],
            "changed_status": changed[case][0],
            "changed_bytes": changed[case][1],
        }


async def _poll(
    client: HTTPClient, cursor: str, how: str, conditional: bool, *, etag: str = ""
) -> tuple[int, int, int, str]:
    """Status, bytes both ways, bytes of the body, and the ETag of one poll."""
    http = await client.connected()
    before = http.record.bytes_total
    query = {"after": "0" if how == "whole" else cursor, "etag": "1" if conditional else None}
    await client.ask(query, {"If-None-Match": etag} if conditional and etag else {})
    response, text = await client.answer()
    return response.status, http.record.bytes_total - before, len(text.encode()), response.headers.get("etag", "")


# P5: overhead of a message


def overheads(
    lab: Lab, *, each: int = 4, every_s: float = 0.2, duration_s: float = 2.4, one_way_s: float = 0.05
) -> Overheads:
    """One message for each poll, as in the published tables, through polling and WebSocket."""
    schedule = schedules.periodic(1 / every_s, duration_s, seed=5)
    run = measure(
        lab, ["polling", "websocket"], schedule, one_way_s=one_way_s, poll_interval_s=every_s, subscribers=each
    )
    found: dict[str, list[tuple[float, float]]] = {"polling": [], "websocket": []}
    for technique, mine in found.items():
        mine += [_overhead(run, technique, subscriber) for subscriber in range(each)]
    opened = [record.by_category["headers"] for record in run.ledger.of("websocket")]
    pairs = tuple(found["polling"]), tuple(found["websocket"])
    return Overheads(*pairs, sum(opened) / len(opened), len(run.published), run, dict(run.settings))


def _overhead(run: Run, technique: str, subscriber: int) -> tuple[float, float]:
    """Headers and framing of one message, and its TCP/IP headers.

    Of a WebSocket only the frames that carried events: not its opening, though the segments of that are counted.
    """
    records = [record for record in run.ledger.of(technique) if record.subscriber == subscriber]
    derived = sum(math.nan if record.tcp_ip_bytes is None else record.tcp_ip_bytes for record in records)
    marks = [mark for record in records for mark in record.marks]
    if technique == "polling":
        counts = {"out": sum(r.requests for r in records), "in": sum(r.responses for r in records)}
        heads = [mark for mark in marks if mark.category in ("headers", "framing")]
        each = sum((mark.stop - mark.start) / counts[mark.direction] for mark in heads)
        return each, derived / counts["in"]
    # a frame's header is known to be an event's by what follows it
    frames = [mark for mark in marks if mark.direction == "in"]
    bare = sum(
        mark.stop - mark.start
        for mark, after in pairwise(frames)
        if mark.category == "framing" and after.event_id is not None
    )
    return bare / len(run.published), derived / len(run.published)
