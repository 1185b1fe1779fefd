"""The trace of one event in the ledger: its bytes on each hop, and the request that asked for them.

Told from the ledger, not from a script. A client's connection carries the marks that say what its bytes are. A
relay carries the same TCP stream on both of its sides, so that a byte has the same offset on every hop and the
client's marks hold for all of them; where an intermediary rewrites the stream, only the payload is looked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from labkit.client.ledger import ConnectionRecord, Transfer
from labkit.measuring.explain.story import Part, Step, Story
from labkit.measuring.joining import arrivals
from labkit.wire.spans import Direction, Mark

if TYPE_CHECKING:
    from labkit.measuring.recording import Recording

_MOST_RELAYS = 16


def story_of(run: Recording, row: dict[str, Any]) -> Story:
    """The arrival that a row of ``run.deliveries`` tells of, followed through the ledger."""
    import pandas as pd

    times = {name: row[f"{name}_ns"] for name in ("due", "published", "received") if not pd.isna(row[f"{name}_ns"])}
    zero_ns = next(iter(times.values()))
    milestones = tuple((name, (t_ns - zero_ns) / 1e6) for name, t_ns in times.items())
    record, marks = _carrier(run, row)
    steps: tuple[Step, ...] = ()
    notes: list[str] = []
    if record is None:
        notes.append(_why_no_bytes(run, row))
    else:
        steps = tuple(sorted(_steps(run, record, marks, zero_ns, notes), key=lambda step: step.t_ms))
    return Story(row["technique"], row["subscriber"], row["topic"], milestones, steps, tuple(notes))


def _candidates(run: Recording, row: dict[str, Any]) -> Iterator[ConnectionRecord]:
    if row["client"] != "browser":
        yield from (c for c in run.ledger.of(row["technique"]) if c.subscriber == row["subscriber"])
    else:  # what a relay that the page comes through saw of it
        yield from run.ledger.of_route(row["technique"], row["topic"])


def _carrier(run: Recording, row: dict[str, Any]) -> tuple[ConnectionRecord | None, list[Mark]]:
    """The connection that read this id last before the delivery, and the event's marks there.

    Ids of several topics, and an id that arrived twice, are told apart by that time.
    """
    import pandas as pd

    best: tuple[int, ConnectionRecord, list[Mark]] | None = None
    error_ms = row["clock_error_ms"]  # of a page's clock
    until_ns = row["received_ns"] + (0 if pd.isna(error_ms) else int(1e6 * error_ms))
    for record, marks in arrivals(_candidates(run, row), row):
        reads = _transfers(record, "in", marks[0].start, marks[-1].stop)
        if reads and reads[-1].t_ns <= until_ns and (best is None or reads[-1].t_ns > best[0]):
            best = (reads[-1].t_ns, record, marks)
    return (best[1], best[2]) if best else (None, [])


def _marks(record: ConnectionRecord, direction: Direction) -> list[Mark]:
    return sorted((mark for mark in record.marks if mark.direction == direction), key=lambda mark: mark.start)


def _transfers(record: ConnectionRecord, direction: Direction, start: int, stop: int) -> list[Transfer]:
    """The reads or writes that hold these bytes; none if they are not all held."""
    held = [t for t in record.transfers if t.direction == direction and t.start < stop and start < t.stop]
    return held if held and held[0].start <= start and stop <= held[-1].stop else []


def _bytes(transfers: list[Transfer], start: int, stop: int) -> bytes:
    return b"".join(t.data[max(0, start - t.start) : stop - t.start] for t in transfers)


def _widened(record: ConnectionRecord, marks: list[Mark]) -> tuple[int, int]:
    """The event's span, with what the same reads brought around it that is no other event's."""
    start, stop = marks[0].start, marks[-1].stop
    reads = _transfers(record, "in", start, stop)
    around = _marks(record, "in")
    for mark in reversed([m for m in around if reads[0].start <= m.start and m.stop <= start]):
        if mark.event is not None or mark.stop != start:
            break
        start = mark.start
    end = stop
    for mark in [m for m in around if stop <= m.start and m.stop <= reads[-1].stop]:
        if mark.event is not None:
            return start, stop  # what lies between belongs to the next event
        if mark.start != end:
            break
        end = mark.stop
    return start, end


def _asked(record: ConnectionRecord, at: int, before_ns: int) -> tuple[int, int] | None:
    """Where the request lies whose answer holds byte *at*: the n-th answer is that of the n-th request."""
    answers = [m for m in _marks(record, "in") if m.category == "headers" and m.start <= at]
    requests = [m for m in _marks(record, "out") if m.category == "headers"]
    if answers and len(answers) <= len(requests) and not record.dropped_bytes:
        return requests[len(answers) - 1].start, requests[len(answers) - 1].stop
    written = [t for t in record.transfers if t.direction == "out" and t.t_ns <= before_ns]
    return (written[-1].start, written[-1].stop) if written else None


def _hops(run: Recording, record: ConnectionRecord) -> list[ConnectionRecord]:
    """The connection's record on every hop, from the client on: each relay's near and far side."""
    hops, here = list[ConnectionRecord](), record
    if record.hop == "client":
        hops.append(record)
    while len(hops) < 2 * _MOST_RELAYS:
        port = here.local[1]
        nears = [c for c in run.ledger.connections if c.hop.endswith(".near") and port in (c.local[1], c.remote[1])]
        if not nears:
            break
        near = _nearest_in_time(nears, here) if hops else record  # ports come back into use
        hops.append(near)
        far = _other_side(run, near)
        if far is None:
            break
        hops.append(far)
        here = far
    return hops


def _nearest_in_time(records: list[ConnectionRecord], here: ConnectionRecord) -> ConnectionRecord:
    return min(records, key=lambda record: abs(record.opened_ns - here.opened_ns))


def _other_side(run: Recording, near: ConnectionRecord) -> ConnectionRecord | None:
    """A relay puts down both sides of a connection in one order, under one number where it numbers them."""
    nears = [c for c in run.ledger.connections if c.hop == near.hop]
    fars = [c for c in run.ledger.connections if c.hop == near.hop.removesuffix(".near") + ".far"]
    numbered = [c for c in fars if (c.technique, c.subscriber) == (near.technique, near.subscriber)]
    if len(numbered) == 1:
        return numbered[0]
    index = next(i for i, c in enumerate(nears) if c is near)
    return fars[index] if index < len(fars) else None


def _steps(
    run: Recording, record: ConnectionRecord, marks: list[Mark], zero_ns: int, notes: list[str]
) -> Iterator[Step]:
    start, stop = _widened(record, marks)
    read_ns = _transfers(record, "in", start, stop)[0].t_ns
    asked = _asked(record, start, read_ns)
    spans: list[tuple[Direction, int, int]] = [("in", start, stop)]
    if asked is not None and _transfers(record, "out", *asked):
        spans.insert(0, ("out", *asked))
    for direction, first, last in spans:
        wanted = _bytes(_transfers(record, direction, first, last), first, last)
        for hop in _hops(run, record):
            held = _transfers(hop, direction, first, last)
            if _bytes(held, first, last) == wanted:
                parts = tuple(_parts(_marks(record, direction), first, last, wanted, marks))
            else:
                held, parts = _rewritten(hop, direction, marks, record, notes)
            if parts:
                reads = (direction == "in") != hop.hop.endswith(".near")
                t_ns = held[-1].t_ns if reads else held[0].t_ns
                yield Step((t_ns - zero_ns) / 1e6, hop.hop, "read" if reads else "wrote", direction, parts)


def _rewritten(
    hop: ConnectionRecord, direction: Direction, marks: list[Mark], record: ConnectionRecord, notes: list[str]
) -> tuple[list[Transfer], tuple[Part, ...]]:
    """The payload alone, wherever it lies on a hop whose stream is not the client's."""
    payload = [mark for mark in marks if mark.category == "payload"]
    there = [t for t in hop.transfers if t.direction == direction]
    if direction == "in" and payload and there:
        start, stop = payload[0].start, payload[-1].stop
        data = _bytes(_transfers(record, "in", start, stop), start, stop)
        at = _bytes(there, there[0].start, there[-1].stop).find(data) + there[0].start
        held = _transfers(hop, "in", at, at + len(data))
        if at >= there[0].start and held:
            notes.append(f"{hop.hop} carries another stream than the client's: only the payload is shown there.")
            return held, (Part("payload", payload[0].label, at, data, True),)
    notes.append(f"{hop.hop} no longer holds these bytes ({direction}), or never carried them as the client saw them.")
    return [], ()


def _parts(around: list[Mark], start: int, stop: int, data: bytes, own: list[Mark]) -> Iterator[Part]:
    at = start
    for mark in around:
        first, last = max(mark.start, at), min(mark.stop, stop)
        if first >= last:
            continue
        if first > at:
            yield Part("unmarked", "", at, data[at - start : first - start], False)
        yield Part(mark.category, mark.label, first, data[first - start : last - start], mark in own)
        at = last
    if at < stop:
        yield Part("unmarked", "", at, data[at - start :], False)


def _why_no_bytes(run: Recording, row: dict[str, Any]) -> str:
    if row["client"] == "browser":
        return "A page received it: the ledger has no bytes of a browser's own connections."
    if any(record.dropped_bytes for record in _candidates(run, row)):
        return (
            f"The bytes were let go: each connection keeps its newest {run.ledger.keep_bytes} (keep_bytes). "
            "Measure with a larger keep_bytes to see them."
        )
    return "The ledger holds no bytes that are marked as this event's."
