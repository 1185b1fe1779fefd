"""The story of one event: the hops that it took, and what each of its bytes was for on both sides of each.

Told from the ledger, not from a script. A client's connection carries the marks that say what its bytes are. A
relay carries the same TCP stream on both of its sides, so that a byte has the same offset on every hop and the
client's marks hold for all of them; where an intermediary rewrites the stream, only the payload is looked for.

Not here: the drawing, which is ``charts.sequence``.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.errors import LabkitError, UnknownTechnique
from labkit.ledger import ConnectionRecord, Direction, Mark, Transfer

if TYPE_CHECKING:
    from labkit.runs import Run

ROW_BYTES = 16
SHOWN_BYTES = 256
"""Bytes shown of one part; of a longer one, its beginning and its end."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some neighbouring bytes that are for one thing."""

    category: str
    label: str
    start: int
    data: bytes
    own: bool
    """Whether they belong to this event, not to the exchange or read that brought it."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one side of one hop did with the event: a read or a write.

    Attributes:
        t_ms: when, from when the event was due (published or received, if that is not known).
        hop: ``client``, or a relay's name with ``.near`` (towards the client) or ``.far``.
        verb: ``read`` or ``wrote``.
        direction: ``out`` from client to server, ``in`` back.
    """

    t_ms: float
    hop: str
    verb: str
    direction: Direction
    parts: tuple[Part, ...]

    @property
    def size_bytes(self) -> int:
        return sum(len(part.data) for part in self.parts)

    @property
    def sentence(self) -> str:
        """``51.2 ms  client read 61 bytes, 42 of them the event's own``."""
        own = sum(len(part.data) for part in self.parts if part.own)
        share = f", {own} of them the event's own" if 0 < own < self.size_bytes else ""
        span = f" at {self.parts[0].start} of its stream" if self.parts else ""
        return f"{self.t_ms:9.3f} ms  {self.hop} {self.verb} {self.size_bytes} bytes{span}{share}"


@dataclass(frozen=True, slots=True)
class Story:
    """One arrival of the event at one subscriber: what happened on each hop, in the order of time."""

    technique: str
    subscriber: int
    topic: str
    milestones: tuple[tuple[str, float], ...]
    """What and when, in ms: due, published, received."""
    steps: tuple[Step, ...]
    notes: tuple[str, ...]

    @property
    def heading(self) -> str:
        topic = f", topic {self.topic!r}" if self.topic else ""
        return f"{self.technique}, subscriber {self.subscriber}{topic}"


class Explanation:
    """What ``run.explain`` returns; shows itself as a table in a notebook and as text elsewhere.

    Attributes:
        event_id: the event that it is about.
        stories: one for each technique, each with its steps hop by hop.
    """

    def __init__(self, run: Run, event_id: int, stories: tuple[Story, ...]) -> None:
        self._run = run
        self.event_id = event_id
        self.stories = stories

    @property
    def figure(self) -> Any:
        """The sequence diagram of the event, drawn from the recorded reads and writes."""
        return self.drawn()

    def drawn(self, theme: str | None = None) -> Any:
        """The same in a theme, ``light`` or ``dark``; the one of ``charts.use_theme`` by default."""
        from labkit import charts

        techniques = [story.technique for story in self.stories]
        subscribers = {story.subscriber for story in self.stories}
        subscriber = subscribers.pop() if len(subscribers) == 1 else None
        return charts.sequence(
            self._run, event_id=self.event_id, techniques=techniques, subscriber=subscriber, theme=theme
        )

    @property
    def text(self) -> str:
        """The annotated bytes of every hop, as plain text."""
        return "\n".join(line for story in self.stories for line in _story_lines(self.event_id, story))

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return (
            f'<div class="labkit-explain">{"".join(_story_html(self.event_id, story) for story in self.stories)}</div>'
        )


def explain(
    run: Run, event_id: int, technique: str | None = None, *, topic: str | None = None, subscriber: int | None = None
) -> Explanation:
    """Tell the story of one event.

    Args:
        technique: one of the run's; all that delivered the event, by default.
        topic: which topic's event, where several topics have one of that id.
        subscriber: the first that received it, by default.

    Raises:
        UnknownTechnique: the run did not have that technique.
        LabkitError: no such event, or it never arrived there; the message says which ids are known.
    """
    import pandas as pd

    frame = run.deliveries
    techniques = list(dict.fromkeys([*(run.settings.get("techniques") or ()), *frame["technique"].unique()]))
    if technique is not None and technique not in techniques:
        raise UnknownTechnique(f"no {technique!r} in this run; it had {', '.join(techniques) or 'no technique'}")
    topic = _topic_of(run, event_id) if topic is None else topic
    found = frame[(frame["event_id"] == event_id) & (frame["topic"] == topic)]
    if technique is not None:
        found = found[found["technique"] == technique]
    if subscriber is not None:
        found = found[found["subscriber"] == subscriber]
    if found.empty:
        raise LabkitError(_never_arrived(run, event_id, technique, topic, subscriber))
    of_page = found["client"] == "browser"  # whose bytes no ledger sees
    first = pd.concat([found[~of_page], found[of_page]]).drop_duplicates("technique").to_dict("records")
    first.sort(key=lambda row: techniques.index(row["technique"]))
    return Explanation(run, event_id, tuple(_story(run, row) for row in first))


def _known(run: Run) -> dict[str, set[int]]:
    known: dict[str, set[int]] = {}
    arrived = zip(run.deliveries["topic"].tolist(), run.deliveries["event_id"].tolist(), strict=True)
    for topic, event_id in [*run.published, *arrived]:
        known.setdefault(topic, set()).add(event_id)
    return known


def _topic_of(run: Run, event_id: int) -> str:
    known = _known(run)
    topics = [topic for topic, ids in known.items() if event_id in ids]
    if "" in topics or len(topics) == 1:
        return "" if "" in topics else topics[0]
    if topics:
        shown = ", ".join(topics[:8]) + (", ..." if len(topics) > 8 else "")
        raise LabkitError(f"event {event_id} is in {len(topics)} topics ({shown}): say which, with topic=...")
    ids = sorted(set().union(*known.values()))
    have = f"it has {_ranges(ids)}" if ids else "it has none"
    raise LabkitError(f"no event {event_id!r} in this run; {have}")


def _never_arrived(run: Run, event_id: int, technique: str | None, topic: str, subscriber: int | None) -> str:
    if event_id not in _known(run).get(topic, ()):
        have = _ranges(sorted(_known(run).get(topic, ()))) or "none"
        return f"no event {event_id} in topic {topic!r} of this run; it has {have}"
    frame = run.deliveries
    there = frame[frame["topic"] == topic]
    there = there if technique is None else there[there["technique"] == technique]
    there = there if subscriber is None else there[there["subscriber"] == subscriber]
    who = f"{technique or 'any technique'}" + ("" if subscriber is None else f", subscriber {subscriber}")
    arrived = _ranges(sorted(set(there["event_id"].tolist()))) or "nothing"
    return f"event {event_id} was published but never arrived over {who}; arrived there: {arrived}"


def _ranges(ids: list[int]) -> str:
    """``1 to 17, 19``; only the outermost ends of more than six ranges."""
    ranges: list[list[int]] = []
    for event_id in ids:
        if ranges and event_id == ranges[-1][1] + 1:
            ranges[-1][1] = event_id
        else:
            ranges.append([event_id, event_id])
    if len(ranges) > 6:
        return f"{len(ids)} ids from {ids[0]} to {ids[-1]}"
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in ranges)


def _story(run: Run, row: dict[str, Any]) -> Story:
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


def _candidates(run: Run, row: dict[str, Any]) -> Iterator[ConnectionRecord]:
    if row["client"] != "browser":
        yield from (c for c in run.ledger.of(row["technique"]) if c.subscriber == row["subscriber"])


def _carrier(run: Run, row: dict[str, Any]) -> tuple[ConnectionRecord | None, list[Mark]]:
    """The connection that read this id last before the delivery, and the event's marks there.

    Ids of several topics, and an id that arrived twice, are told apart by that time.
    """
    best: tuple[int, ConnectionRecord, list[Mark]] | None = None
    for record in _candidates(run, row):
        for marks in _arrivals(record, row["event_id"]):
            reads = _transfers(record, "in", marks[0].start, marks[-1].stop)
            if reads and reads[-1].t_ns <= row["received_ns"] and (best is None or reads[-1].t_ns > best[0]):
                best = (reads[-1].t_ns, record, marks)
    return (best[1], best[2]) if best else (None, [])


def _arrivals(record: ConnectionRecord, event_id: int) -> list[list[Mark]]:
    """The marks of each time that this id came in; another event or a new answer lies between two of them."""
    arrivals: list[list[Mark]] = []
    is_open = False
    for mark in _marks(record, "in"):
        if mark.event_id == event_id:
            arrivals = arrivals if is_open else [*arrivals, []]
            arrivals[-1].append(mark)
            is_open = True
        elif mark.event_id is not None or mark.category == "headers":
            is_open = False
    return arrivals


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
        if mark.event_id is not None or mark.stop != start:
            break
        start = mark.start
    end = stop
    for mark in [m for m in around if stop <= m.start and m.stop <= reads[-1].stop]:
        if mark.event_id is not None:
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


def _hops(run: Run, record: ConnectionRecord) -> list[ConnectionRecord]:
    """The connection's record on every hop, from the client on: each relay's near and far side."""
    hops, here = [record], record
    while len(hops) < 2 * _MOST_RELAYS:
        port = here.local[1]
        nears = [c for c in run.ledger.connections if c.hop.endswith(".near") and port in (c.local[1], c.remote[1])]
        if not nears:
            break
        near = _nearest_in_time(nears, here)  # ports come back into use
        hops.append(near)
        far = _other_side(run, near)
        if far is None:
            break
        hops.append(far)
        here = far
    return hops


def _nearest_in_time(records: list[ConnectionRecord], here: ConnectionRecord) -> ConnectionRecord:
    return min(records, key=lambda record: abs(record.opened_ns - here.opened_ns))


def _other_side(run: Run, near: ConnectionRecord) -> ConnectionRecord | None:
    """A relay puts down both sides of a connection in one order, under one number where it numbers them."""
    nears = [c for c in run.ledger.connections if c.hop == near.hop]
    fars = [c for c in run.ledger.connections if c.hop == near.hop.removesuffix(".near") + ".far"]
    numbered = [c for c in fars if (c.technique, c.subscriber) == (near.technique, near.subscriber)]
    if len(numbered) == 1:
        return numbered[0]
    index = next(i for i, c in enumerate(nears) if c is near)
    return fars[index] if index < len(fars) else None


def _steps(run: Run, record: ConnectionRecord, marks: list[Mark], zero_ns: int, notes: list[str]) -> Iterator[Step]:
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


def _why_no_bytes(run: Run, row: dict[str, Any]) -> str:
    if row["client"] == "browser":
        return "A page received it: the ledger has no bytes of a browser's own connections."
    if any(record.dropped_bytes for record in _candidates(run, row)):
        return (
            f"The bytes were let go: each connection keeps its newest {run.ledger.keep_bytes} (keep_bytes). "
            "Measure with a larger keep_bytes to see them."
        )
    return "The ledger holds no bytes that are marked as this event's."


def _story_lines(event_id: int, story: Story) -> Iterator[str]:
    yield f"event {event_id} over {story.heading}"
    timed: list[tuple[float, list[str]]] = [(ms, [f"{ms:9.3f} ms  {name}"]) for name, ms in story.milestones]
    for step in story.steps:
        lines = [f"{'':14}{line}" for part in step.parts for line in _part_lines(part)]
        timed.append((step.t_ms, [step.sentence, *lines]))
    for _, lines in sorted(timed, key=lambda entry: entry[0]):
        yield from lines
    yield from story.notes


def _part_lines(part: Part) -> Iterator[str]:
    name = f"{part.category:9} {part.label[:24]:24} {len(part.data):6}"
    for row in _dump(part.data):
        yield f"{name}  {row[0]:{3 * ROW_BYTES}} {row[1]}"
        name = " " * len(name)


def _dump(data: bytes) -> Iterator[tuple[str, str]]:
    """Hex and text of 16 bytes a row; the middle of long data is left out and counted."""
    half = SHOWN_BYTES // 2
    ends = [data] if len(data) <= SHOWN_BYTES else [data[:half], data[-half:]]
    for i, end in enumerate(ends):
        if i:
            yield f"... {len(data) - SHOWN_BYTES} bytes more ...", ""
        for at in range(0, len(end), ROW_BYTES):
            row = end[at : at + ROW_BYTES]
            yield row.hex(" "), "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)


def _story_html(event_id: int, story: Story) -> str:
    body = "".join(_step_html(step) for step in story.steps)
    times = "; ".join(f"{name} at {ms:.3f} ms" for name, ms in story.milestones)
    head = "".join(f'<th scope="col" style="text-align: left">{name}</th>' for name in _HEADINGS)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if body else ""
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in story.notes)
    return f"<h4>Event {event_id} over {html.escape(story.heading)}</h4><p>{times}</p>{table}{notes}"


def _step_html(step: Step) -> str:
    what = (
        f'<tr><th colspan="5" scope="colgroup" style="text-align: left">{html.escape(step.sentence.strip())}</th></tr>'
    )
    return what + "".join(_part_html(part) for part in step.parts)


def _part_html(part: Part) -> str:
    dump = list(_dump(part.data))
    cells = [part.category, part.label, str(len(part.data))]
    columns = ["\n".join(row[i] for row in dump) for i in (0, 1)]
    plain = "".join(f'<td style="text-align: left; vertical-align: top">{html.escape(cell)}</td>' for cell in cells)
    left = 'style="text-align: left"'
    dumped = "".join(f"<td {left}><pre {left}>{html.escape(column)}</pre></td>" for column in columns)
    return f"<tr>{plain}{dumped}</tr>"


_HEADINGS = ("category", "label", "bytes", "hex", "text")
_MOST_RELAYS = 16
