"""Who listens to heartbeats: a client made of the kit's decoder, and the page, each with a watchdog of its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from labkit.course.case_server import CaseServer, page_wait_s, show, why_not
from labkit.course.variants import client_of
from labkit.network.link import Link
from labkit.wire.event_stream import EventStreamDecoder, encode_comment
from labkit.wire.events import now_ns

KINDS = {"comment": encode_comment(), "named event": b"event: beat\ndata\n\n"}


@dataclass
class Listener:
    """One client's stream of heartbeats, as it goes on."""

    client: str
    kind: str
    seen_ns: list[int] = field(default_factory=list)
    alarms_ns: list[int] = field(default_factory=list)
    errors_ns: list[int] = field(default_factory=list)


def kind_of(path: str) -> str:
    return "comment" if path.endswith("comment") else "named event"


def path_of(key: str) -> str:
    return f"beats/{key.replace(' ', '-')}"


async def listen(link: Link, key: str, stream: Listener, watchdog_s: float) -> None:
    """What a page's code would see: whatever is dispatched winds the watchdog up."""
    running = asyncio.get_running_loop()

    def wind() -> asyncio.TimerHandle:
        return running.call_later(watchdog_s, lambda: stream.alarms_ns.append(now_ns()))

    client = client_of(f"http://127.0.0.1:{link.ports['http']}/{path_of(key)}", "sse")
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


async def open_page(server: CaseServer, link: Link, watchdog_s: float) -> tuple[str, str]:
    """Let the page listen through the link. Its reports come to the server's own port. The browser, or why not."""
    if not (wait_s := page_wait_s()):
        return "", why_not(wait_s)
    address = f"http://127.0.0.1:{link.ports['http']}"
    jobs = [{"key": f"page/{kind}", "path": f"{address}/{path_of(f'page/{kind}')}"} for kind in KINDS]
    show(server, jobs, watchdog_ms=watchdog_s * 1e3)
    browser = await server.presence(wait_s)
    return browser, "" if browser else why_not(wait_s)


async def hear(server: CaseServer, streams: dict[str, Listener]) -> None:
    while True:
        t_ns, told = await server.reports.get()
        if (stream := streams.get(told.get("key", ""))) is not None:
            lists = {"seen": stream.seen_ns, "alarm": stream.alarms_ns, "error": stream.errors_ns}
            lists.get(told["what"], []).append(t_ns)
