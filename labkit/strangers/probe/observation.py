"""What one request brought, as data: when, how much, in which pieces, and how it ended. Rules read nothing else.

Times are seconds since the request was written. A piece is what one read brought of the body; its place is counted in
the body as it was coded, an event's in the body behind its coding.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Literal

Kind = Literal["event-stream", "lines", "parts", "messages", "whole"]
"""How its body is read: messages are a WebSocket's, whole is what carries no events that could be told apart."""
End = Literal["open", "clean", "closed", "cut", "reset", "refused", "broken", "silent", "stopped"]
"""open: it went on when the probe had seen enough; clean: the last chunk, the length, END_STREAM or a close frame;
closed: a body that only the connection's end ends; cut: FIN before that; refused: no connection or no TLS; broken: a
rule of HTTP; silent: no head within the time; stopped: none yet when the probe was interrupted."""
LIVE: tuple[Kind, ...] = ("event-stream", "lines", "parts")

TOGETHER_S = 0.03
"""What arrives within this time of each other arrived at once."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one read brought of a body."""

    t_s: float
    start: int
    size: int

    @property
    def stop(self) -> int:
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class Event:
    """One event, part, line or message.

    Attributes:
        t_s: when it was whole.
        bare_s: when the last byte of what it says was there, without the line end or boundary that makes it whole.
        stop: the end of its bytes in the body.
        key: what the same event is known by in another answer: its id, else what it says.
        said: the beginning of it.
    """

    t_s: float
    bare_s: float
    stop: int
    size: int
    key: str
    wire_id: str | None = None
    type: str = ""
    said: str = ""


@dataclass(frozen=True, slots=True)
class Violation:
    """Bytes that break a rule, and which."""

    clause: str
    what: str
    at: int
    offending: str
    loses: bool = True
    """Whether a client loses something by it; else it is worth a note."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One request and all that came back."""

    name: str
    address: str
    changed: str = ""
    method: str = "GET"
    request: Mapping[str, str] = field(default_factory=dict)
    proxy: str = ""
    """What it was asked through; empty for nothing."""
    started_s: float = 0.0
    """Since the probe began."""
    http_version: str = ""
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    head_s: float | None = None
    kind: Kind = "whole"
    pieces: Sequence[Piece] = ()
    chunks: Sequence[int] = ()
    """Where chunks begin in the body; empty where there are none, or they cannot be told."""
    events: Sequence[Event] = ()
    heartbeats: Sequence[float] = ()
    last_s: float | None = None
    """When the newest byte came."""
    end: End = "open"
    end_s: float = 0.0
    complaint: str = ""
    words: str = ""
    """Of a refusal, the beginning."""
    decoded_bytes: int = 0
    """Of its body, behind its coding."""
    begun: int | None = None
    """Where in the body an event begins that was not whole in the end."""
    reads_as_events: bool = False
    """Whether a body of another type is an event stream in all of its bytes."""
    asks_password: bool = False
    """Whether it is a page (HTML) with a place for a password, or called a log-in."""
    violations: Sequence[Violation] = ()
    retry_ms: int | None = None
    close_code: int | None = None
    close_reason: str = ""
    split_characters: int = 0
    """Pieces that end within a character."""
    kept: bool = False
    """Whether the connection had been used before."""
    issuer: str = ""
    """Who made the server's certificate."""
    offers_http2: bool = False

    @property
    def is_coded(self) -> bool:
        return self.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")

    @property
    def is_http1_by_choice(self) -> bool:
        """Whether the server has chosen HTTP/1: in clear text browsers ask for nothing else."""
        return self.http_version in ("1.0", "1.1") and (self.offers_http2 or not self.address.startswith("https:"))

    @property
    def is_event_source(self) -> bool:
        """Whether it asks as an EventSource does."""
        return "text/event-stream" in self.request.get("Accept", "")

    @property
    def is_live(self) -> bool:
        """Whether its events are expected one after another."""
        return self.kind == "messages" or self.kind in LIVE

    @property
    def idle_s(self) -> float:
        """Between the newest byte and the end."""
        return self.end_s - (self.last_s if self.last_s is not None else 0.0)

    @property
    def is_cut(self) -> bool:
        return self.end in ("cut", "reset")

    @property
    def groups(self) -> list[list[Event]]:
        """Events, those together that arrived at once."""
        found: list[list[Event]] = []
        for event in self.events:
            if found and event.t_s - found[-1][-1].t_s <= TOGETHER_S:
                found[-1].append(event)
            else:
                found.append([event])
        return found

    @property
    def gaps_s(self) -> list[float]:
        """Between bytes, one read after another; the head counts as one."""
        times = [*([self.head_s] if self.head_s is not None else []), *(piece.t_s for piece in self.pieces)]
        return [later - earlier for earlier, later in pairwise(times)]

    @property
    def period_s(self) -> float:
        """The median time between arrivals of events; 0 where there are fewer than three."""
        times = [group[0].t_s for group in self.groups]
        return statistics.median([b - a for a, b in pairwise(times)]) if len(times) > 2 else 0.0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Seen:
    """All that a probe has asked: the first request, and those with one thing changed, by what it was."""

    first: Observation
    others: Mapping[str, Observation] = field(default_factory=dict)
    sendable: bool = True
    """Whether the request may be sent again."""
    returns: bool = False
    """Whether a cut and a return were asked for."""
    interrupted: bool = False
    """Whether somebody has ended it before its time: what was to be asked further was not."""
    published: Mapping[str, float] = field(default_factory=dict)
    """What the probe itself has published to a lab, and when, in seconds since the first request."""
    holds: bool = False
    """Whether a long poll was asked, whose answer waits for an event."""

    def __iter__(self) -> Any:
        return iter((self.first, *self.others.values()))

    @property
    def url(self) -> str:
        return self.first.address
