"""What each exchange of a tap was, made of its log: which technique, when what came, how it ended.

Techniques are recognized by the bytes. A change of protocol is a WebSocket, the type ``text/event-stream`` an event
stream; a body of lines or parts, or one that goes on for longer than a second, is a stream. What is asked for again
and again is polled: held, where the client waits longer for answers than between them. Then each answer with a body is
an event, unless more is known of it. What is none of these is a request like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from labkit.strangers.tap.log import Entry
from labkit.strangers.tap.named import EVENTS, HELD, POLLED, SOCKET, STREAMED, STREAMS
from labkit.strangers.tap.reading import EVENT_STREAM, READ
from labkit.wire.bodies import codings_of
from labkit.wire.codings import is_readable
from labkit.wire.http1 import PROTOCOL

HELD_S = 0.01
"""An answer that comes sooner was not held."""
STREAM_S = 1.0
AGAIN = 3
"""So many requests for the same thing are polls."""
OTHER = "request"
TUNNEL = "tunnel"


@dataclass(slots=True, eq=False)
class Seen:
    """One exchange. Times are ns from the beginning of the tap; -1 where it has not come to that."""

    number: int
    connection: int = 0
    client: str = ""
    method: str = ""
    target: str = ""
    request: dict[str, str] = field(default_factory=dict)
    response: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    """Of HTTP, as ``request`` and ``answer`` said it."""
    status: int = 0
    asked_ns: int = -1
    answered_ns: int = -1
    body_ns: int = -1
    events: list[Entry] = field(default_factory=list)
    beats: list[Entry] = field(default_factory=list)
    sent: list[Entry] = field(default_factory=list)
    controls: list[Entry] = field(default_factory=list)
    pieces: list[Entry] = field(default_factory=list)
    gaps: list[Entry] = field(default_factory=list)
    last_ns: int = -1
    """When the newest byte was seen of either direction."""
    heard_ns: int = -1
    """When the newest thing came from the server."""
    fin_ns: int = -1
    """When one side's FIN came that the other one has not followed for a while; ``fin_by`` says whose."""
    fin_by: str = ""
    ended_ns: int = -1
    how: str = ""
    whole: bool = False
    sizes: dict[str, int] = field(default_factory=dict)
    technique: str = ""
    longest_ns: int = 0
    """The longest that the server said nothing, after its head."""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def last_event_id(self) -> str | None:
        """What the request says that it held."""
        return self.request.get("last-event-id")

    @property
    def newest_id(self) -> str | None:
        """The newest id that came."""
        return next((entry["id"] for entry in reversed(self.events) if entry.get("id")), None)

    @property
    def is_open(self) -> bool:
        return self.ended_ns < 0

    @property
    def left(self) -> tuple[str, int]:
        """How and when it ended, or whose FIN came and when, where that was all by the tap's end; -1: neither."""
        return (self.fin_by, self.fin_ns) if self.is_open else (self.how, self.ended_ns)

    @property
    def unread(self) -> str:
        """The coding in which its body could not be read; empty if it could."""
        codings = codings_of(self.response.get("content-encoding", ""))
        return next((name for name in codings if not is_readable(name)), "")

    @property
    def pings(self) -> list[Entry]:
        """Of a WebSocket's server."""
        return [entry for entry in self.controls if entry["op"] == "ping" and entry["way"] == "in"]

    @property
    def kind(self) -> str:
        return self.response.get("content-type", "").partition(";")[0].strip().lower()

    def happened(self, entry: Entry) -> None:
        """Take the next happening of it."""
        t_ns, what = entry["t_ns"], entry["what"]
        if "version" in entry:
            self.versions[what] = entry["version"]
        if what == "request":
            self.connection, self.method, self.target = entry["c"], entry["method"], entry["target"]
            self.request, self.asked_ns = _values(entry["fields"]), t_ns
        elif what == "answer":
            self.status, self.response, self.answered_ns = entry["status"], _values(entry["fields"]), t_ns
            self.heard_ns = t_ns
        elif what == "body":
            self.body_ns = t_ns
        elif what == "sizes":
            self.sizes = entry["bytes"]
        elif what == "fin":
            self.fin_ns, self.fin_by = t_ns, entry["by"]
        elif what == "end":
            self.ended_ns, self.how, self.whole, self.sizes = t_ns, entry["how"], entry["whole"], entry["bytes"]
        else:
            kept = {"event": self.events, "beat": self.beats, "message": self.sent, "control": self.controls,
                    "piece": self.pieces, "gap": self.gaps}.get(what)  # fmt: skip
            if kept is not None:
                kept.append(entry)
        if what in ("event", "beat", "piece", "gap") or (what == "control" and entry["way"] == "in"):
            if self.heard_ns >= 0:
                self.longest_ns = max(self.longest_ns, t_ns - self.heard_ns)
            self.heard_ns = t_ns
        if what not in ("fin", "sizes", "end"):
            self.last_ns = t_ns

    def forget(self) -> None:
        """Let go what came, all but its times and the end of a WebSocket: for one that is only told as it goes."""
        for kept in (self.events, self.beats, self.sent, self.pieces, self.gaps):
            kept.clear()
        self.controls = [entry for entry in self.controls if entry["op"] == "close"]


def _values(fields: Iterable[Sequence[str]]) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in fields:
        key = name.lower()
        values[key] = f"{values[key]}, {value}" if key in values else value
    return values


class Board:
    """The exchanges, kept up with the log: ``happened`` takes one entry after another."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.exchanges: dict[int, Seen] = {}
        self.clients: dict[int, str] = {}
        self.notes: list[Entry] = []
        for entry in entries:
            self.happened(entry)

    def happened(self, entry: Entry) -> Seen | None:
        """Take one entry; the exchange that it is of."""
        if entry["what"] == "opened":
            self.clients[entry["c"]] = entry["client"]
        elif entry["what"] == "note":
            self.notes.append(entry)
        number = entry.get("x")
        if not number:
            return None
        seen = self.exchanges.setdefault(number, Seen(number))
        seen.happened(entry)
        seen.client = self.clients.get(seen.connection, "")
        return seen

    def recognized(self) -> list[Seen]:
        """All of them by number, each with its technique."""
        found = [self.exchanges[number] for number in sorted(self.exchanges)]
        asked: dict[tuple[str, str], list[Seen]] = {}
        for seen in found:
            seen.technique = technique_of(seen)
            asked.setdefault((seen.method, seen.path), []).append(seen)
        for alike in asked.values():
            polls = [seen for seen in alike if seen.technique == OTHER and seen.method == "GET"]
            if len(polls) >= AGAIN:
                name = HELD if _are_held(polls) else POLLED
                for seen in polls:
                    seen.technique = name
                    if seen.pieces and not seen.events and seen.status == 200:
                        size = sum(entry["bytes"] for entry in seen.pieces)
                        seen.events = [{**seen.pieces[-1], "what": "event", "id": None, "type": "", "bytes": size}]
        return found


def _are_held(polls: list[Seen]) -> bool:
    """Whether a client waits longer for these answers than between them."""
    waits = sorted(seen.answered_ns - seen.asked_ns for seen in polls if seen.answered_ns >= 0)
    pauses = [after.asked_ns - before.answered_ns for before, after in pairwise(polls) if before.answered_ns >= 0]
    if not waits or waits[len(waits) // 2] < HELD_S * 1e9:
        return False
    return sum(waits) > sum(pause for pause in pauses if pause > 0)


def technique_of(seen: Seen) -> str:
    """What can be told by the exchange alone."""
    if seen.method == "CONNECT":
        return TUNNEL
    if seen.status == 101:
        return SOCKET if PROTOCOL in seen.response.get("upgrade", "").lower() else OTHER
    if seen.kind == EVENT_STREAM and seen.status == 200:
        return EVENTS
    goes_on = [*seen.events, *seen.pieces]
    if seen.status == 200 and goes_on and "content-length" not in seen.response:
        if seen.kind in READ or goes_on[-1]["t_ns"] - goes_on[0]["t_ns"] > STREAM_S * 1e9:
            return STREAMED
    return OTHER


def exchanges_of(entries: Iterable[Entry]) -> list[Seen]:
    """The exchanges of a log, by number."""
    return Board(entries).recognized()


def by_route(found: Iterable[Seen]) -> dict[tuple[str, str], list[Seen]]:
    """Those of one technique and path together, in the order of their first."""
    routes: dict[tuple[str, str], list[Seen]] = {}
    for seen in found:
        routes.setdefault((seen.technique, seen.path), []).append(seen)
    return routes


def reconnections(found: Iterable[Seen]) -> list[tuple[Seen, Seen]]:
    """Of each stream that the same host and program asked for again, before and after.

    A POST is a question of its own, and comes back for nothing.
    """
    pairs: list[tuple[Seen, Seen]] = []
    ended: dict[tuple[str, str, str], list[Seen]] = {}
    streams = [seen for seen in found if seen.method == "GET" and seen.technique in (*STREAMS, OTHER)]
    for seen in sorted(streams, key=lambda one: one.asked_ns):
        key = seen.client.rpartition(":")[0], seen.request.get("user-agent", ""), seen.path
        waiting = ended.setdefault(key, [])
        before = [one for one in waiting if 0 <= one.ended_ns <= seen.asked_ns]
        if before:
            waiting.remove(before[-1])
            pairs.append((before[-1], seen))
        if seen.technique in STREAMS:
            waiting.append(seen)
    return pairs
