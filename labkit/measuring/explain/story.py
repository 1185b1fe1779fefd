"""The story of one event as values: a story has passages, a passage has parts, and a step for each hop that it took."""

from __future__ import annotations

from dataclasses import dataclass

from labkit.measuring.rounding import counted
from labkit.wire.spans import Direction

STREAMS = {"out": "what the client sent", "in": "what the server sent"}


@dataclass(frozen=True, slots=True)
class Part:
    """Some neighbouring bytes that are for one thing."""

    category: str
    label: str
    start: int
    data: bytes
    own: bool
    """Whether they belong to this event, not to the exchange that brought it."""


@dataclass(frozen=True, slots=True)
class Step:
    """When one side of one hop had a passage.

    Attributes:
        t_ms: when, from when the event was due (published or received, if that is not known): the end of the last read,
            the beginning of the first write.
        hop: ``client``, or a relay's name with ``.near`` (towards the client) or ``.far``.
        verb: ``read`` or ``wrote``.
        pieces: in how many reads or writes.
        remark: what is to be known of that time.
    """

    t_ms: float
    hop: str
    verb: str
    pieces: int = 1
    remark: str = ""

    @property
    def sentence(self) -> str:
        """``51.2 ms  link.near wrote``."""
        pieces = f", in {self.pieces} {'reads' if self.verb == 'read' else 'writes'}" if self.pieces > 1 else ""
        remark = f", {self.remark}" if self.remark else ""
        return f"{self.t_ms:9.3f} ms  {self.hop} {self.verb}{pieces}{remark}"


@dataclass(frozen=True, slots=True)
class Passage:
    """A run of bytes that belong together, once, and when each hop had them, in the order of time.

    Attributes:
        name: ``request``, ``answer``, ``head``, ``chunk``, ``frame``, ``event``, or ``payload`` alone.
        direction: ``out`` from client to server, ``in`` back.
        events: the ids of all events with bytes in it.
    """

    name: str
    direction: Direction
    parts: tuple[Part, ...]
    steps: tuple[Step, ...]
    events: tuple[str, ...] = ()

    @property
    def start(self) -> int:
        """Where it begins among all bytes of its direction on this connection."""
        return self.parts[0].start

    @property
    def data(self) -> bytes:
        return b"".join(part.data for part in self.parts)

    @property
    def sentence(self) -> str:
        """``chunk: 45 bytes, 36 of them the event's own, from byte 249 of what the server sent on this connection``."""
        size, own = len(self.data), sum(len(part.data) for part in self.parts if part.own)
        share = f", {own} of them the event's own," if 0 < own < size else ""
        shared = f"; {len(self.events)} events share it: {', '.join(self.events)}" if len(self.events) > 1 else ""
        where = f"from byte {self.start} of {STREAMS[self.direction]} on this connection"
        return f"{self.name}: {counted(size, 'byte')}{share} {where}{shared}"


@dataclass(frozen=True, slots=True)
class Story:
    """One arrival of the event at one subscriber: its bytes, and when each hop had them."""

    technique: str
    subscriber: int
    topic: str
    milestones: tuple[tuple[str, float], ...]
    """What and when, in ms: due, published, received."""
    passages: tuple[Passage, ...]
    notes: tuple[str, ...]

    @property
    def heading(self) -> str:
        topic = f", topic {self.topic!r}" if self.topic else ""
        return f"{self.technique}, subscriber {self.subscriber}{topic}"
