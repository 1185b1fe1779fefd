"""The trace of one event in the ledger: its bytes, and when each hop had them.

Told from the ledger, not from a script. A client's connection carries the marks that say what its bytes are. A
relay carries the same TCP stream on both of its sides, so that a byte has the same offset on every hop and the
client's marks hold for all of them; where an intermediary rewrites the stream, only the payload is looked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from labkit.client.ledger import ConnectionRecord, Transfer
from labkit.errors import package
from labkit.measuring.explain.extents import Extent, extents, in_order
from labkit.measuring.explain.hops import hops
from labkit.measuring.explain.story import Part, Passage, Step, Story
from labkit.measuring.joining import arrivals
from labkit.measuring.natures import Natures
from labkit.wire.spans import Direction, Mark

if TYPE_CHECKING:
    from labkit.measuring.recording import Recording

_CHARGED_MS = 1.0  # what a relay takes to open its far side when it charges nothing


def story_of(run: Recording, row: dict[str, Any]) -> Story:
    """The arrival that a row of ``run.deliveries`` tells of, followed through the ledger."""
    pd = package("pandas")

    times = {name: row[f"{name}_ns"] for name in ("due", "published", "received") if not pd.isna(row[f"{name}_ns"])}
    zero_ns = next(iter(times.values()))
    milestones = tuple((name, (t_ns - zero_ns) / 1e6) for name, t_ns in times.items())
    record, marks = _carrier(run, row)
    passages: tuple[Passage, ...] = ()
    notes: list[str] = []
    if record is None:
        notes.append(_why_no_bytes(run, row))
    else:
        is_poll = Natures(run.settings).kind(row["technique"]) in ("poll", "hold")
        passages = tuple(_Teller(run, record, marks, zero_ns, notes).passages(is_poll))
    return Story(row["technique"], row["subscriber"], row["topic"], milestones, passages, tuple(notes))


def _candidates(run: Recording, row: dict[str, Any]) -> Iterator[ConnectionRecord]:
    if row["client"] != "browser":
        yield from (c for c in run.ledger.of(row["technique"]) if c.shared or c.subscriber == row["subscriber"])
    else:  # what a relay that the page comes through saw of it
        yield from run.ledger.of_route(row["technique"], row["topic"])


def _carrier(run: Recording, row: dict[str, Any]) -> tuple[ConnectionRecord | None, list[Mark]]:
    """The connection that read this id last before the delivery, and the event's marks there.

    Ids of several topics, and an id that arrived twice, are told apart by that time.
    """
    pd = package("pandas")

    best: tuple[int, ConnectionRecord, list[Mark]] | None = None
    error_ms = row["clock_error_ms"]  # of a page's clock
    until_ns = row["received_ns"] + (0 if pd.isna(error_ms) else int(1e6 * error_ms))
    for record, marks in arrivals(_candidates(run, row), row):
        reads = _transfers(record, "in", marks[0].start, marks[-1].stop)
        if reads and reads[-1].t_ns <= until_ns and (best is None or reads[-1].t_ns > best[0]):
            best = (reads[-1].t_ns, record, marks)
    return (best[1], best[2]) if best else (None, [])


def _transfers(record: ConnectionRecord, direction: Direction, start: int, stop: int) -> list[Transfer]:
    """The reads or writes that hold these bytes; none if they are not all held."""
    held = [t for t in record.transfers if t.direction == direction and t.start < stop and start < t.stop]
    return held if held and held[0].start <= start and stop <= held[-1].stop else []


def _bytes(transfers: list[Transfer], start: int, stop: int) -> bytes:
    return b"".join(t.data[max(0, start - t.start) : stop - t.start] for t in transfers)


class _Teller:
    """Tells of one event on one connection, hop by hop."""

    def __init__(
        self, run: Recording, record: ConnectionRecord, own: list[Mark], zero_ns: int, notes: list[str]
    ) -> None:
        self._record, self._own, self._zero_ns, self._notes = record, own, zero_ns, notes
        self._hops = hops(record, run.ledger.connections)
        self._keep_bytes = run.ledger.keep_bytes

    def passages(self, is_poll: bool) -> Iterator[Passage]:
        found = list(extents(self._record, self._own, is_poll, self._bytes_at))
        for extent in found:
            yield from self._passage(extent)
        if self._record.dropped_bytes and found[0].name != "request":
            self._let_go("the request")

    def _bytes_at(self, start: int, stop: int) -> bytes:
        return _bytes(_transfers(self._record, "in", start, stop), start, stop)

    def _let_go(self, what: str) -> None:
        self._notes.append(
            f"Of {what} the bytes were let go: each connection keeps its newest {self._keep_bytes} (keep_bytes)."
        )

    def _passage(self, extent: Extent) -> Iterator[Passage]:
        way, start, stop = extent.direction, extent.start, extent.stop
        oldest = next((t.start for t in self._record.transfers if t.direction == way), stop)
        if oldest > start:
            self._let_go(f"the {extent.name}" if oldest >= stop else f"the beginning of the {extent.name}")
            if oldest >= stop:
                return
            start = oldest
        data = _bytes(_transfers(self._record, way, start, stop), start, stop)
        steps, other = list[Step](), list[Passage]()
        for hop in self._hops:
            held = _transfers(hop, way, start, stop)
            if _bytes(held, start, stop) == data:
                timed = _transfers(hop, way, max(start, extent.timed[0]), extent.timed[1])
                steps.append(self._step(hop, way, timed, opens=start == 0))
            else:
                other += self._rewritten(hop, way)
        parts = tuple(_parts(in_order(self._record, way), start, stop, data, self._own))
        yield Passage(extent.name, way, parts, _in_time(steps), extent.events)
        yield from other

    def _step(self, hop: ConnectionRecord, way: Direction, held: list[Transfer], *, opens: bool = False) -> Step:
        reads = (way == "in") != hop.hop.endswith(".near")
        t_ms = ((held[-1] if reads else held[0]).t_ns - self._zero_ns) / 1e6
        remark = self._charged(hop) if opens and way == "out" and hop.hop.endswith(".far") else ""
        return Step(t_ms, hop.hop, "read" if reads else "wrote", len(held), remark)

    def _charged(self, far: ConnectionRecord) -> str:
        """What a connection's first bytes waited for at a relay that opened its far side later than its near one."""
        near = self._hops[self._hops.index(far) - 1]
        waited_ms = (far.opened_ns - near.opened_ns) / 1e6
        if waited_ms < _CHARGED_MS:
            return ""
        return f"held until the far side was opened, {waited_ms:.1f} ms after the near one: the handshake is charged"

    def _rewritten(self, hop: ConnectionRecord, way: Direction) -> Iterator[Passage]:
        """The payload alone, wherever it lies on a hop whose stream is not the client's."""
        payload = [mark for mark in self._own if mark.category == "payload"]
        there = [t for t in hop.transfers if t.direction == way]
        if way == "in" and payload and there:
            start, stop = payload[0].start, payload[-1].stop
            data = self._bytes_at(start, stop)
            at = _bytes(there, there[0].start, there[-1].stop).find(data) + there[0].start
            held = _transfers(hop, "in", at, at + len(data))
            if at >= there[0].start and held:
                self._note(f"{hop.hop} carries another stream than the client's: only the payload is shown there.")
                part = Part("payload", payload[0].label, at, data, True)
                yield Passage(f"payload on {hop.hop}", "in", (part,), (self._step(hop, way, held),))
                return
        self._note(f"{hop.hop} no longer holds these bytes ({way}), or never carried them as the client saw them.")

    def _note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)


def _in_time(steps: Iterable[Step]) -> tuple[Step, ...]:
    return tuple(sorted(steps, key=lambda step: step.t_ms))


def _parts(around: Sequence[Mark], start: int, stop: int, data: bytes, own: Sequence[Mark]) -> Iterator[Part]:
    at, of_event = start, frozenset(own)
    for mark in around:
        first, last = max(mark.start, at), min(mark.stop, stop)
        if first >= last:
            continue
        if first > at:
            yield Part("unmarked", "", at, data[at - start : first - start], False)
        yield Part(mark.category, mark.label, first, data[first - start : last - start], mark in of_event)
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
