"""The checks of 03_http_streaming: S1, S1b, S2, S3, S5, S6, S8, T2.

S3 is judged here where a stream was recycled, else as in the start notebook. Where a body ends is judged in
``judges_wire``, who holds a message back in ``judges_reading``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.claims import confidence
from labkit.claims.finding import Finding
from labkit.claims.judging import EARLY, LEAST_EVENTS, TOLERANCE, Part, ends, finding, named, timed
from labkit.claims.seen import Seen, see, skipped_part
from labkit.claims.values import shown
from labkit.course.http_streaming.recycling import CLOSED, KEPT, Recycled
from labkit.course.latency import one_stream, streaming_is_one_transit

if TYPE_CHECKING:
    from labkit.measuring.run import Run

JUST_NS = 2e6
"""What is published within this of an end is the event that ended it."""


def streaming_and_its_ends(seen: Any) -> Finding:
    """S3: one transit while the stream lasts; three for what comes right after its end, five where EOF ended it."""
    if not isinstance(seen, Recycled):
        return streaming_is_one_transit(seen)
    whole, base = one_stream(seen.run)
    kept, closed = see(seen.run, KEPT), see(seen.run, CLOSED)
    parts = [named("never recycled", part) for part in base]
    for name, saw in ((KEPT, kept), (CLOSED, closed)):
        parts += [_end_part(name, saw, _after_ends(seen.run, name, saw), seen.longest_s(name)), skipped_part(saw)]
    return finding(parts, whole.n, whole.one_way_s, whole.median)


def _end_part(name: str, seen: Seen, whole_s: list[float], expected_s: float) -> Part:
    """The median as theory has it, 10 % and what the apparatus adds allowed for: three or five hops add up.

    From when an end left the server, which is a transit before the client asks again, to the arrival of the event right
    after it. Told from a transit less and a transit more.
    """
    if len(whole_s) < LEAST_EVENTS:
        return Part("undecided", f"{name}: too few events right after an end, {len(whole_s)}")
    median = confidence.median_interval(whole_s)
    d, high_s = seen.one_way_s, (1 + TOLERANCE) * expected_s + seen.shift_s
    verdict = confidence.agrees(median, (1 - EARLY) * expected_s, high_s, expected_s - d, expected_s + d)
    text = (
        f"{name}: an event right after an end is there {shown(median.value, 's')} after that left the server, median, "
    )
    text += f"{ends(median)} at 99.8 %, theory {shown(expected_s, 's')} (n = {median.n})"
    return timed(Part(verdict, text), seen.noise)


def _after_ends(run: Run, technique: str, seen: Seen) -> list[float]:
    """From each end's leaving the server to the arrival of the event that was published right after it, in seconds.

    When an end left is told from the ledger: one transit before the client asked again, or connected again.
    """
    soon_ns, events = (
        seen.one_way_s * 1e9 / 2,
        sorted(zip(seen.frame["published_ns"], seen.frame["received_ns"], strict=True)),
    )
    whole_s = []
    for asked_ns in _asked_again(run, technique):
        ended_ns = asked_ns - seen.one_way_s * 1e9
        received = next((r for published, r in events if JUST_NS < published - ended_ns <= soon_ns), None)
        whole_s += [] if received is None else [(received - ended_ns) / 1e9]
    return whole_s


def _asked_again(run: Run, technique: str) -> list[int]:
    records = sorted(run.ledger.of(technique), key=lambda record: record.opened_ns)
    again = [record.opened_ns for record in records[1:]]
    for record in records:
        again += [t.t_ns for t in record.transfers if t.direction == "out"][1:]
    return again
