"""The story of one event as values: a story has steps, a step has parts."""

from __future__ import annotations

from dataclasses import dataclass

from labkit.wire.spans import Direction


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
