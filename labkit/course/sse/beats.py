"""What an event costs in bytes (E5), and heartbeats that a page's code can see and cannot see (E6)."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime

from labkit.client.connection import Wiring
from labkit.client.http import HTTPClient
from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.course.case_server import Asked, CaseServer, lateness, page_wait_s, show, shown, why_not
from labkit.course.sse.seen import BROWSER, OURS, Beats, Framing, Heartbeats
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.network.link import Link
from labkit.techniques.sse import SSE
from labkit.wire.event_stream import EventStreamDecoder, encode_comment
from labkit.wire.events import now_ns

# E5

PAYLOAD_BYTES = 20
SHORTER = (b"data:a", b"data:a\n", b"data\na\n\n", b":a\n\n", b"a\n\n")
"""Blocks with the payload ``a`` and six bytes of framing at most."""


def framing(lab: Lab, *, events: int = 40, one_way_s: float = 0.05) -> Framing:
    """Count what an event costs besides its payload, in the barest stream there is and in the lab's own.

    Raises:
        ValueError: fewer than three events.
        LabClosed: the lab is closed.
    """
    if events < 3:
        raise ValueError(f"events={events!r}: at least 3, since what lies between them is counted")
    schedule = schedules.periodic(rate_per_s=20, duration_s=events / 20, payload_bytes=PAYLOAD_BYTES)
    run = measure(lab, ["sse"], schedule, one_way_s=one_way_s)
    bare = shown(_bare(events), "reading the barest stream")
    own = between(next(iter(run.ledger.of("sse"))))
    shorter = {raw: sum(e.data == "a" for e in EventStreamDecoder().feed(raw)) for raw in SHORTER}
    return Framing(between(bare), own, float(PAYLOAD_BYTES), events, shorter, run, dict(run.settings))


async def _bare(events: int) -> ConnectionRecord:
    """Read a stream that ends with its connection, of blocks of one data line without a space."""

    async def answer(asked: Asked) -> None:
        if asked.number > 1:
            await asked.head("204 No Content", "")
            return
        await asked.head()
        for number in range(events):
            await asked.write(f"data:{number:0{PAYLOAD_BYTES}}\n\n".encode())

    ledger = Ledger()
    async with CaseServer({"bare": answer}) as server:
        async with aclosing(SSE.connect(server.url("bare"), ledger=ledger, retry_s=0.01)) as items:
            async for _ in items:
                pass
    return next(ledger.of("sse"))


ORDER = ("data:", "a space after it", "line ends of the block", "id: and its line end", "the id itself", "chunk")
_PARTS = {"data:": "data:", "line end": "line ends of the block", "id:": "id: and its line end", "chunk": "chunk"}


def between(record: ConnectionRecord) -> dict[str, float]:
    """Bytes per event from the end of the first payload to the end of the last, by part, the payloads left out."""
    marks = [mark for mark in record.marks if mark.direction == "in"]
    payloads = [number for number, mark in enumerate(marks) if mark.category == "payload"]
    found: Counter[str] = Counter()
    for mark in marks[payloads[0] + 1 : payloads[-1]]:
        size = mark.stop - mark.start
        if mark.label == "data:":
            found["data:"] += 5
            found["a space after it"] += size - 5
        elif mark.category != "payload":
            found[_PARTS.get(mark.label, "the id itself")] += size
    of_ids = sum(mark.label == "id:" for mark in marks[payloads[0] + 1 : payloads[-1]])
    found["line ends of the block"] -= of_ids
    if of_ids:
        found["id: and its line end"] += of_ids
    return {part: found[part] / (len(payloads) - 1) for part in ORDER if found[part]}


# E6

BEAT_S = 0.15
WATCHDOG_S = 3 * BEAT_S
ROUNDS = 4
KINDS = {"comment": encode_comment(), "named event": b"event: beat\ndata\n\n"}


@dataclass
class _Stream:
    """One client's stream of heartbeats, as it goes on."""

    client: str
    kind: str
    seen_ns: list[int] = field(default_factory=list)
    alarms_ns: list[int] = field(default_factory=list)
    errors_ns: list[int] = field(default_factory=list)

    def beats(self, sent_ns: Iterable[int]) -> Beats:
        times = tuple(self.seen_ns), tuple(self.alarms_ns), tuple(self.errors_ns)
        return Beats(self.client, self.kind, tuple(sent_ns), *times)


def heartbeats(*, rounds: int = ROUNDS, beat_s: float = BEAT_S, one_way_s: float = 0.02, seed: int = 4) -> Heartbeats:
    """Send heartbeats as comments and as named events, stall the link several times, and see who notices.

    Both clients have the same watchdog: it goes off when nothing was dispatched for three intervals. One client is
    made of the kit's decoder, in the kernel; the other is the page's EventSource, if there is a page.

    Args:
        rounds: how often the link stalls.
        beat_s: from one heartbeat to the next, in seconds.

    Raises:
        ValueError: no round, or heartbeats closer than 50 ms.
    """
    if rounds < 1 or not 0.05 <= beat_s <= 60:
        raise ValueError(f"rounds={rounds!r}, beat_s={beat_s!r}: at least one round, and 0.05 to 60 seconds")
    return shown(_heartbeats(rounds, beat_s, one_way_s, random.Random(seed)), "listening for heartbeats")


async def _heartbeats(rounds: int, beat_s: float, one_way_s: float, dice: random.Random) -> Heartbeats:
    async def answer(asked: Asked) -> None:
        await asked.head()
        asked.sent_ns.clear()
        while True:
            await asyncio.sleep(beat_s)
            await asked.write(KINDS[_kind(asked.path)])

    started_ns, watchdog_s = now_ns(), 3 * beat_s
    async with CaseServer({"beats": answer}) as server, Link(server, one_way_s=one_way_s) as link:
        streams = {f"kernel/{kind}": _Stream(OURS, kind) for kind in KINDS}
        tasks = [asyncio.ensure_future(_listen(link, key, s, watchdog_s)) for key, s in streams.items()]
        late = asyncio.ensure_future(lateness(beat_s))
        try:
            browser, why = await _page(server, link, watchdog_s)
            if browser:
                streams |= {f"page/{kind}": _Stream(BROWSER, kind) for kind in KINDS}
                tasks.append(asyncio.ensure_future(_hear(server, streams)))
            stalls = [await _stall(link, streams, beat_s, dice) for _ in range(rounds)]
            named = {key: s for key, s in streams.items() if s.kind == "named event"}
            await _until(lambda: all(len(s.seen_ns) >= len(_sent(server, key)) for key, s in named.items()), 2 + beat_s)
            beats = tuple(s.beats(_sent(server, key)) for key, s in streams.items())
            server.over = True  # the page hears of it with its next report
            await asyncio.sleep(3 * beat_s if browser else 0)
        finally:
            for task in (late, *tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        settings = {"started": datetime.now(UTC).isoformat()}
        return Heartbeats(
            beats, tuple(stalls), beat_s, watchdog_s, one_way_s, started_ns, tuple(await late), why, browser, settings
        )


def _kind(path: str) -> str:
    return "comment" if path.endswith("comment") else "named event"


def _path(key: str) -> str:
    return f"beats/{key.replace(' ', '-')}"


def _sent(server: CaseServer, key: str) -> list[int]:
    return [t_ns for asked in server.of(_path(key)) for t_ns in asked.sent_ns]


async def _listen(link: Link, key: str, stream: _Stream, watchdog_s: float) -> None:
    """What a page's code would see: whatever is dispatched winds the watchdog up."""
    running = asyncio.get_running_loop()

    def wind() -> asyncio.TimerHandle:
        return running.call_later(watchdog_s, lambda: stream.alarms_ns.append(now_ns()))

    url = f"http://127.0.0.1:{link.ports['http']}/{_path(key)}"
    client = HTTPClient(url, topic="", token=None, wiring=Wiring(Ledger(0), "sse", 0))
    decoder, timer = EventStreamDecoder(), None
    try:
        await client.ask({}, {"Accept": "text/event-stream"})
        _, http = await client.head()
        timer = wind()
        async for piece in http.pieces():
            for _ in decoder.feed(piece):
                stream.seen_ns.append(now_ns())
                timer.cancel()
                timer = wind()
    finally:
        if timer is not None:
            timer.cancel()
        client.close()


async def _page(server: CaseServer, link: Link, watchdog_s: float) -> tuple[str, str]:
    """Let the page listen through the link. Its reports come to the server's own port. The browser, or why not."""
    if not (wait_s := page_wait_s()):
        return "", why_not(wait_s)
    address = f"http://127.0.0.1:{link.ports['http']}"
    jobs = [{"key": f"page/{kind}", "path": f"{address}/{_path(f'page/{kind}')}"} for kind in KINDS]
    show(server, jobs, watchdog_ms=watchdog_s * 1e3)
    browser = await server.presence(wait_s)
    return browser, "" if browser else why_not(wait_s)


async def _hear(server: CaseServer, streams: dict[str, _Stream]) -> None:
    while True:
        t_ns, told = await server.reports.get()
        if (stream := streams.get(told.get("key", ""))) is not None:
            lists = {"seen": stream.seen_ns, "alarm": stream.alarms_ns, "error": stream.errors_ns}
            lists.get(told["what"], []).append(t_ns)


async def _stall(link: Link, streams: dict[str, _Stream], beat_s: float, dice: random.Random) -> tuple[int, int]:
    """One round: all is well for a while, then nothing passes until every named heartbeat's client has noticed.

    The stall lasts three watchdogs at most, and twice as long as it took to notice, so that others may notice too.
    """
    await _healthy(streams, now_ns(), beat_s)
    await asyncio.sleep(beat_s * (4 + dice.random()))  # long enough for a watchdog to go off without a cause
    link.stall()
    began_ns = now_ns()
    named = [stream for stream in streams.values() if stream.kind == "named event"]
    await _until(lambda: all(s.alarms_ns and s.alarms_ns[-1] > began_ns for s in named), 9 * beat_s)
    await asyncio.sleep((now_ns() - began_ns) / 1e9)
    ended_ns = now_ns()
    link.heal()
    return began_ns, ended_ns


async def _healthy(streams: dict[str, _Stream], since_ns: int, beat_s: float) -> None:
    """Wait until every client of named heartbeats has seen one since then, for a bounded time."""
    named = [stream for stream in streams.values() if stream.kind == "named event"]
    await _until(lambda: all(s.seen_ns and s.seen_ns[-1] > since_ns for s in named), 5 + 10 * beat_s)


async def _until(is_so: Callable[[], bool], limit_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            while not is_so():  # noqa: ASYNC110  it comes from several places
                await asyncio.sleep(0.005)
