"""E3: answers that end an event stream's client for good, and one that does not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.course.alone import started_now
from labkit.course.case_server import STREAM, Asked, CaseServer, page_runs, shown
from labkit.course.shown import as_table
from labkit.course.sse.with_page import BROWSER, OURS, WithPage
from labkit.errors import Refused
from labkit.techniques.sse import SSE

if TYPE_CHECKING:
    import pandas as pd

WATCHED_S = 1.2


@dataclass(frozen=True)
class Ending:
    """What one client did with one kind of answer."""

    answer: str
    requests: int
    events: int
    given_up: bool


@dataclass(frozen=True, repr=False)
class Endings(WithPage):
    """What each client did with each kind of answer."""

    clients: Mapping[str, tuple[Ending, ...]]
    watched_s: float

    def table(self) -> pd.DataFrame:
        """One row for each answer and client."""
        columns = ["answer", "client", "requests", "events", "afterwards"]
        rows = [
            (e.answer, client, e.requests, e.events, "gives up" if e.given_up else "goes on")
            for client, endings in self.clients.items()
            for e in endings
        ]
        return as_table(rows, columns).set_index(["answer", "client"])

    def on_page(self) -> pd.DataFrame:
        return self.table().rename(columns={"requests": f"requests in {self.watched_s:g} s"})


ANSWERS: dict[str, str] = {
    "204": "204 at once",
    "204-later": "200, then 204",
    "text": "200 as text/plain",
    "500": "500",
    "charset": "200 with charset=utf-8, again and again",
}
_KINDS = {"text": "text/plain", "charset": "text/event-stream; charset=utf-8"}


async def _ending(asked: Asked) -> None:
    key = asked.path.split("/")[1]
    if key == "204" or (key == "204-later" and asked.number > 1):
        await asked.head("204 No Content", "")
        return
    await asked.head("500 Internal Server Error" if key == "500" else "200 OK", _KINDS.get(key, STREAM))
    await asked.write(b"retry: 100\ndata: a\n\n")


def endings(watched_s: float = WATCHED_S) -> Endings:
    """Answer in ways that are to end it, and in one that is not; see how often each client asks, and what it reads.

    Args:
        watched_s: how long to look on. The streams ask for a reconnection after 100 ms.

    Raises:
        ValueError: less than half a second.
    """
    if not watched_s >= 0.5:
        raise ValueError(f"watched_s={watched_s!r}: at least 0.5, five reconnections")
    return shown(_endings(watched_s), "watching endings")


async def _endings(watched_s: float) -> Endings:
    jobs = [
        {"key": key, "path": f"ending/{key}/page", "types": ["message"], "until": "time", "wait_ms": watched_s * 1e3}
        for key in ANSWERS
    ]
    async with CaseServer({"ending": _ending}) as server:
        ours, (told, browser, why) = await asyncio.gather(
            asyncio.gather(*(_ours(server, key, watched_s) for key in ANSWERS)),
            page_runs(server, jobs, parallel=len(jobs)),
        )
        clients = {OURS: tuple(ours)}
        if not why:
            clients[BROWSER] = tuple(_of_page(server, key, told.get(key)) for key in ANSWERS)
        return Endings(clients, watched_s, why=why, browser=browser, settings=started_now())


async def _ours(server: CaseServer, key: str, watched_s: float) -> Ending:
    path, events, given_up = f"ending/{key}/kernel", 0, True
    try:
        async with asyncio.timeout(watched_s), aclosing(SSE.connect(server.url(path), retry_s=0.1)) as items:
            async for _ in items:
                events += 1
    except TimeoutError:
        given_up = False
    except Refused:
        pass
    return Ending(ANSWERS[key], len(server.of(path)), events, given_up)


def _of_page(server: CaseServer, key: str, told: Mapping[str, Any] | None) -> Ending:
    requests, events = len(server.of(f"ending/{key}/page")), (told or {}).get("events", ())
    return Ending(ANSWERS[key], requests, len(events), (told or {}).get("state") == 2)
