"""What an event stream's client does when the stream has ended: comes back (E2), or does not (E3).

The kit's own client and the page's EventSource do the same against the same server, which keeps when each answer ended
and when the next request came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from labkit.client.ledger import Ledger
from labkit.course.case_server import STREAM, Asked, CaseServer, lateness, page_runs, shown
from labkit.course.sse.seen import BROWSER, OURS, Ending, Endings, Returns
from labkit.errors import Refused
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.network.link import Link
from labkit.techniques import Delivery
from labkit.techniques.sse import SSE

RETRIES = {0.2: 20, 0.3: 18, 0.5: 13}
"""How often a client has to come back, by ``retry`` in seconds."""
CUT_S, HEAL_S = 1.5, 2.0
WATCHED_S = 1.2


# E2


def returns(retries: Mapping[float, int] = RETRIES) -> Returns:
    """End a stream again and again after it has said ``retry``, and see when its client is back.

    Args:
        retries: how often, by the reconnection time in seconds. All of them run at once.

    Raises:
        ValueError: a reconnection time that is no whole number of milliseconds above 0, or nothing to do.
    """
    for retry_s, times in retries.items():
        if not (retry_s > 0 and abs(retry_s * 1e3 - round(retry_s * 1e3)) < 1e-6 and times >= 1):
            raise ValueError(f"retries={{{retry_s!r}: {times!r}}}: whole milliseconds above 0, and once at least")
    if not retries:
        raise ValueError("retries: at least one reconnection time")
    return shown(_returns(dict(retries)), "coming back")


async def _returns(retries: dict[float, int]) -> Returns:
    async def answer(asked: Asked) -> None:
        retry_ms = int(asked.path.split("/")[1])
        if asked.number > retries[retry_ms / 1e3] + 1:
            await asked.head("204 No Content", "")
            return
        await asked.head()
        await asked.write(f"retry: {retry_ms}\nid: {asked.number}\ndata: {asked.number}\n\n".encode())

    jobs = []
    for retry_s, times in retries.items():
        wait_ms = round(times * (retry_s * 1.5 + 0.2) * 1e3) + 2000
        path = f"returns/{round(retry_s * 1e3)}/page"
        jobs.append({"key": path, "path": path, "types": ["message"], "until": "closed", "wait_ms": wait_ms})
    async with CaseServer({"returns": answer}) as server:
        late = asyncio.ensure_future(lateness(min(retries)))
        kernel = (_follow(server.url(f"returns/{round(retry_s * 1e3)}/kernel")) for retry_s in retries)
        page = page_runs(server, jobs, parallel=len(jobs))
        _, (_, browser, why) = await asyncio.gather(asyncio.gather(*kernel), page)
        late.cancel()
        clients = {OURS: "kernel", **({} if why else {BROWSER: "page"})}
        gaps_s = {name: _gaps(server, retries, path) for name, path in clients.items()}
        if not why and not gaps_s[BROWSER]:
            why = f"{browser} did not come back in time"
            del clients[BROWSER], gaps_s[BROWSER]
        resumed = {name: _resumed(server, retries, path) for name, path in clients.items()}
        return Returns(gaps_s, resumed, tuple(await late), why, browser, {"started": datetime.now(UTC).isoformat()})


async def _follow(url: str) -> list[Delivery]:
    """labkit's own client, to the end."""
    async with aclosing(SSE.connect(url, ledger=Ledger(0))) as items:
        return [item async for item in items if isinstance(item, Delivery)]


def _gaps(server: CaseServer, retries: Mapping[float, int], client: str) -> dict[float, tuple[float, ...]]:
    found = {}
    for retry_s in retries:
        asked = server.of(f"returns/{round(retry_s * 1e3)}/{client}")
        if gaps_s := tuple((after.began_ns - before.ended_ns) / 1e9 for before, after in pairwise(asked)):
            found[retry_s] = gaps_s
    return found


def _resumed(server: CaseServer, retries: Mapping[float, int], client: str) -> bool:
    asked = [a for retry_s in retries for a in server.of(f"returns/{round(retry_s * 1e3)}/{client}") if a.number > 1]
    return bool(asked) and all(a.headers.get("last-event-id") == str(a.number - 1) for a in asked)


def cut(lab: Lab, link: Link | None = None, *, duration_s: float = 4.0, rate_per_s: float = 10.0) -> Run:
    """Measure through a link that is cut at 1.5 s and put back at 2.0 s.

    Args:
        link: between the clients and the lab, started, so that a page's subscriber can go through it too; one of
            50 ms by default.
    """
    link = link or Link(one_way_s=0.05)
    schedule = schedules.periodic(rate_per_s=rate_per_s, duration_s=duration_s)
    fault = {CUT_S: link.cut, HEAL_S: link.heal}
    return measure(lab, ["sse"], schedule, through=link, at=fault, options={"sse": {"retry_s": 0.3}})


# E3

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
        return Endings(clients, watched_s, why, browser, {"started": datetime.now(UTC).isoformat()})


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
