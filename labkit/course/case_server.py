"""A small server for single cases of Server-Sent Events, and the page that opens them with the browser's EventSource.

It answers with exactly the bytes that a case asks for, cut where the case asks for it, and keeps when it was asked and
when its answer ended: what the lab's own server, which keeps to the rules, cannot do. Each answer ends its connection.
The page runs in a frame of the notebook and tells this server what its EventSource dispatched; both are known only by
a random path. Not here: keep-alive, requests of any size, security beyond 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import os
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from labkit import loop
from labkit.charts import ground
from labkit.course.background import cancelled
from labkit.progress import Progress
from labkit.webpage.settings import NO_PAGE
from labkit.wire.events import now_ns

T = TypeVar("T")
STREAM = "text/event-stream"
PAGE_WAIT_S = 15.0
SECOND_WAIT_S = 3.0  # once a page has not come, the next is hardly waited for
APART_S = 0.003  # between two writes that are to arrive apart
_PAGE = Path(__file__).with_name("event_source.html")
_absent = False


@dataclass
class Asked:
    """One request, and the answer to it."""

    path: str
    number: int
    """Which request of this path it is, from 1."""
    headers: Mapping[str, str]
    writer: asyncio.StreamWriter
    began_ns: int
    ended_ns: int = 0
    sent_ns: list[int] = field(default_factory=list)

    async def head(self, status: str = "200 OK", kind: str = STREAM) -> None:
        """Write the status line and the header fields."""
        fields = [f"Content-Type: {kind}"] if kind else []
        fields += ["Cache-Control: no-store", "Access-Control-Allow-Origin: *", "Connection: close"]
        await self.write("\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode())

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()
        self.sent_ns.append(now_ns())


Answer = Callable[[Asked], Awaitable[None]]


class CaseServer:
    """Answers each path by its own coroutine. Use ``async with`` on the lab loop.

    Args:
        answers: by the path's first part, without slashes.
    """

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.asked: list[Asked] = []
        self.reports: asyncio.Queue[tuple[int, dict[str, Any]]] = asyncio.Queue()
        self.token = secrets.token_urlsafe(12)
        self.task: dict[str, Any] = {}
        self.over = False
        """Tells the page to stop."""
        self._answers = {**answers, self.token: self._own}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers: Counter[str] = Counter()
        self._page = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await cancelled(*self._tasks)
        await asyncio.sleep(0)  # the transports' own turn

    @property
    def ports(self) -> dict[str, int]:
        assert self._server is not None
        return {"http": self._server.sockets[0].getsockname()[1]}

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.ports['http']}/{path}"

    def of(self, path: str) -> list[Asked]:
        """The requests of one path, in order."""
        return [asked for asked in self.asked if asked.path == path]

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._converse(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked: Asked | None = None
        try:
            request, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
            began_ns = now_ns()
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.readexactly(min(int(headers.get("content-length", "0")), 1 << 20))
            path = request.split(" ")[1].partition("?")[0].strip("/")
            self._numbers[path] += 1
            asked = Asked(path, self._numbers[path], {**headers, "": body.decode()}, writer, began_ns)
            self.asked.append(asked)
            await self._answers.get(path.partition("/")[0], _not_found)(asked)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, IndexError):
            pass  # whoever asked is gone, or spoke no HTTP
        finally:
            writer.close()
            if asked is not None:
                asked.ended_ns = now_ns()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _own(self, asked: Asked) -> None:
        """The page, and what it tells."""
        if asked.path.endswith("/report"):
            told = json.loads(asked.headers[""])
            self._page = self._page or told["page"]
            if told["page"] == self._page:  # a second tab shows the same notebook
                self.reports.put_nowait((asked.began_ns, told))
            await asked.head("205 Reset Content" if self.over else "204 No Content", "")
        else:
            text = _PAGE.read_text(encoding="utf-8").replace("TASK", json.dumps(self.task).replace("<", "\\u003c"))
            await asked.head(kind="text/html; charset=utf-8")
            await asked.write(text.encode())

    async def presence(self, wait_s: float) -> str:
        """Wait for the page's first words; the browser's name, or "" if there is no page."""
        global _absent
        try:
            async with asyncio.timeout(wait_s):
                _, told = await self.reports.get()
        except TimeoutError:
            _absent = True
            return ""
        _absent = False
        return str(told["browser"])


async def _not_found(asked: Asked) -> None:
    await asked.head("404 Not Found", "text/plain")


def page_wait_s() -> float:
    """How long to wait for a page: not at all in a kernel without a front end."""
    if "JPY_SESSION_NAME" not in os.environ:
        return 0.0
    return SECOND_WAIT_S if _absent else PAGE_WAIT_S


def why_not(wait_s: float) -> str:
    """Why there is no page."""
    if not wait_s:
        return NO_PAGE
    return f"no page answered within {wait_s:g} s: it must reach 127.0.0.1 of the kernel's machine"


def show(server: CaseServer, jobs: Sequence[Mapping[str, Any]], **task: Any) -> None:
    """Put the page into the notebook, with what it has to do."""
    server.task = {"jobs": list(jobs), **task}
    ground.frame(server.url(f"{server.token}/page"), height=46)


async def page_runs(
    server: CaseServer, jobs: Sequence[Mapping[str, Any]], *, parallel: int = 4
) -> tuple[dict[str, dict[str, Any]], str, str]:
    """Let the page's EventSource do some jobs.

    Args:
        jobs: each with ``key``, ``path``, ``types`` to listen to, ``until`` (``error``, ``closed`` or ``time``) and
            ``wait_ms``, after which it ends in any case.

    Returns:
        What the page told of each job, the browser's name, and why there is no page if there is none.
    """
    wait_s = page_wait_s()
    if wait_s:
        show(server, jobs, parallel=parallel)
    browser = await server.presence(wait_s) if wait_s else ""
    told: dict[str, dict[str, Any]] = {}
    if not browser:
        return told, "", why_not(wait_s)
    limit_s = 10 + sum(job["wait_ms"] for job in jobs) / 1e3 / parallel
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            while len(told) < len(jobs):
                _, report = await server.reports.get()
                told |= {done["key"]: done for done in report.get("done", ())}
    return told, browser, ""


def shown(coroutine: Coroutine[Any, Any, T], what: str) -> T:
    """Run it on the lab loop, with a line of progress; an interrupt cancels it."""
    line, began_ns, future = Progress(), now_ns(), loop.submit(coroutine)
    try:
        while not future.done():
            concurrent.futures.wait([future], timeout=0.2)
            line.show(f"{what}: {(now_ns() - began_ns) / 1e9:.0f} s")
    except KeyboardInterrupt:
        future.cancel()
        concurrent.futures.wait([future], timeout=loop.CLEAN_UP_S)
        raise
    line.done()
    return future.result()
