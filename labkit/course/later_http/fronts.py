"""H7: what the version at the edge changes: real programs that speak HTTP/2 in front of a lab that speaks HTTP/1.1."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from labkit import loop
from labkit.course.alone import started_now
from labkit.course.background import until
from labkit.course.later_http import raw
from labkit.course.later_http.edges import FRONTS
from labkit.course.later_http.not_run import or_says_why
from labkit.course.shown import Shown, as_table
from labkit.lab.lab import Lab
from labkit.network.link import Link
from labkit.network.real_intermediary import RealIntermediary, real_intermediary
from labkit.progress import Progress
from labkit.wire.events import now_ns
from labkit.wire.http2 import Kind

if TYPE_CHECKING:
    import pandas as pd

STREAMS = 20
EVENTS, EVERY_S = 10, 0.02
QUIET_S = 0.7
"""What has not come after that is held back."""
FRAMINGS = {"chunked": "", "ended by close": "&framing=eof"}


@dataclass(frozen=True)
class Front:
    """One program as an HTTP/2 edge.

    Attributes:
        streams: that a client may have at once, as it says; None where it says nothing.
        extended_connect: whether it offers WebSocket over HTTP/2 (RFC 8441).
        carried: streams that were opened on one connection of the client's, and began.
        up: connections that the program then had to the lab; None where nobody can say.
        p50_s: median latency of their events.
        answer: bytes of an answer's HEADERS, the first and a later one.
        ends: by how the server frames a body, what the client is told where the server's end breaks off in the middle.
        held: by HTTP version of the edge, events of ten that had come in time with nothing but the default
            configuration, from a server that does not ask for it.
    """

    name: str
    streams: int | None
    extended_connect: bool
    carried: int
    up: int | None
    p50_s: float
    answer: tuple[int, int]
    ends: Mapping[str, str]
    held: Mapping[int, int]


@dataclass(frozen=True, repr=False)
class Fronts(Shown):
    """Programs as HTTP/2 edges. ``missing``: by program, why it was not tried."""

    index = "bare"

    fronts: Sequence[Front]
    missing: Mapping[str, str]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def caption(self) -> str:
        return f"{STREAMS} streams of one client, on one connection" if self.fronts else "not run"

    @property
    def note(self) -> str:
        return "; ".join(self.missing.values())

    def table(self) -> pd.DataFrame:
        """One row for each program."""
        rows = [
            (
                f.name, f"{f.carried} of {STREAMS}", f.up, "any number" if f.streams is None else f.streams,
                "yes" if f.extended_connect else "no", f"{f.answer[0]}, {f.answer[1]}", f"{f.held[1]}, {f.held[2]}",
                *(f.ends[name] for name in FRAMINGS),
            )
            for f in self.fronts
        ]  # fmt: skip
        columns = [
            "", "streams begun", "connections to the lab", "streams allowed", "WebSocket (RFC 8441)",
            "answer's headers, first and later (B)", f"by default, of {EVENTS} events: HTTP/1.1, HTTP/2",
            *(f"server's end is cut, {name}" for name in FRAMINGS),
        ]  # fmt: skip
        return as_table(rows, columns=columns).set_index("")


@or_says_why
def at_the_edge(programs: Sequence[str] = FRONTS) -> Fronts:
    """Each program that is installed, as an HTTP/2 edge before a lab that speaks HTTP/1.1."""
    raw.h2()
    found, missing, progress = list[Front](), dict[str, str](), Progress()
    with Lab("fronts") as lab, Lab("fronts, unasked", buffering_hint=False) as unasked:
        for name in programs:
            front = real_intermediary(name, config="recommended", http=2)
            if front.missing:
                missing[name] = front.missing
                continue
            progress.show(f"through {name}")
            held = {http: _held(real_intermediary(name, unasked, http=http), unasked) for http in (1, 2)}
            with Link(lab) as link, front.bind(link):
                found.append(loop.run(_through(lab, link, front, held)))
    progress.done()
    return Fronts(found, missing, started_now())


async def _through(lab: Lab, link: Link, front: RealIntermediary, held: Mapping[int, int]) -> Front:
    topic = f"14-front-{front.name}"
    async with raw.talk(front.url, cafile=front.cafile) as talk:
        answers = []
        for _ in range(3):
            stream = talk.ask(f"/polling?topic={topic}&after=0")
            await talk.until(lambda stream=stream: stream.end)
            mine = [seen for seen in talk.frames if seen.sender == "server" and seen.frame.stream == stream.id]
            answers.append(sum(seen.bytes for seen in mine if seen.frame.kind == Kind.HEADERS))
        many = [talk.ask(f"/http-streaming?topic={topic}") for _ in range(STREAMS)]
        await talk.until(lambda: all(stream.pieces for stream in many))
        carried = sum(bool(stream.pieces) for stream in many)
        up = _connections(front, link.address[1])
        due_ns = []
        for number in range(EVENTS):
            due_ns.append(now_ns())
            lab.publish(f"event {number}", topic)
            await asyncio.sleep(EVERY_S)
        await talk.until(lambda: all(len(raw.arrivals(stream.pieces)) >= EVENTS for stream in many))
        late_s = [
            (t_ns - due) / 1e9
            for stream in many
            for t_ns, due in zip(raw.arrivals(stream.pieces), due_ns, strict=False)
        ]
        settings = talk.core.remote_settings
        most, extended = settings.get(3), bool(settings.get(8))
    ends = {}
    for name, query in FRAMINGS.items():
        async with raw.talk(front.url, cafile=front.cafile) as talk:
            stream = talk.ask(f"/http-streaming?topic={topic}-{len(query)}{query}")
            await talk.until(lambda stream=stream: stream.pieces)
            link.cut("fin")
            await talk.until(lambda stream=stream: stream.end)
            ends[name] = stream.end or "nothing"
            link.heal()
    named = f"{front.name} {front.version}"
    p50_s = median(late_s) if late_s else float("nan")
    return Front(named, most, extended, carried, up, p50_s, (answers[0], answers[-1]), ends, held)


def _held(front: RealIntermediary, lab: Lab) -> int:
    """Events that come in time through a program as it is, from a lab that does not ask it to let them through."""
    with front:
        return loop.run(_come(front, lab))


async def _come(front: RealIntermediary, lab: Lab) -> int:
    topic = f"14-held-{front.name}-{front.http}"
    if front.http == 2:
        async with raw.talk(front.url, cafile=front.cafile) as talk:
            stream = talk.ask(f"/http-streaming?topic={topic}&after=0")
            await _publish(lab, topic)
            await talk.until(lambda: len(raw.arrivals(stream.pieces)) >= EVENTS, QUIET_S)
            return len(raw.arrivals(stream.pieces))
    pieces: list[tuple[int, bytes]] = []
    async with raw.followed(front.address[1], f"/http-streaming?topic={topic}&after=0", pieces):
        await _publish(lab, topic)
        await until(lambda: len(raw.arrivals(pieces)) >= EVENTS, QUIET_S)
        return len(raw.arrivals(pieces))


async def _publish(lab: Lab, topic: str) -> None:
    for number in range(EVENTS):
        lab.publish(f"event {number}", topic)
        await asyncio.sleep(EVERY_S)


def _connections(front: RealIntermediary, port: int) -> int | None:
    """How many it has to a port of this machine, all of its processes together; None where nobody can say."""
    try:
        import psutil

        first = psutil.Process(front.pid)
        found = [c for p in (first, *first.children(recursive=True)) for c in p.net_connections("tcp")]
    except (ImportError, psutil.Error):
        return None
    return len([c for c in found if c.raddr and c.raddr.port == port and c.status == psutil.CONN_ESTABLISHED])
