"""S1b and S2: what can follow the end of a stream on its connection, and how clients take an end and a cut."""

from __future__ import annotations

import asyncio
import http.client
import platform
import shutil
import subprocess
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from labkit import loop
from labkit.client.connection import Connection
from labkit.client.ledger import Ledger
from labkit.client.wiring import Wiring
from labkit.course.alone import ready, started_now
from labkit.course.shown import Shown, as_table
from labkit.errors import ConnectionLost
from labkit.lab.lab import Lab
from labkit.network.link import Link
from labkit.progress import Progress
from labkit.techniques.http_streaming import HTTP_STREAMING

if TYPE_CHECKING:
    import pandas as pd

TIMEOUT_S = 5.0
HOW = {"end": "ended properly", "fin": "cut, with FIN", "reset": "cut, with RST"}


@dataclass(frozen=True)
class Second:
    """A second request on a connection whose first response, a stream, has ended. ``answer``: its status line."""

    title: str
    framing: str
    events: int
    answer: str
    closed: bool


@dataclass(frozen=True, repr=False)
class Seconds(Shown):
    """What can follow a stream on its connection."""

    index = "bare"

    cases: tuple[Second, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """One row per framing: events of the first response, the answer to the second request."""
        rows = [
            (c.title, c.events, c.answer or "none", "closed by the server" if c.closed else "open") for c in self.cases
        ]
        columns = ["", "events in the first", "answer to the second", "then the connection is"]
        return as_table(rows, columns=columns).set_index("")


def seconds(lab: Lab, *, events: int = 2) -> Seconds:
    """End a stream after some events, and send a second request on the same connection."""
    ready(lab, events=(events, 1))
    return loop.run(_seconds(lab, events))


async def _seconds(lab: Lab, events: int) -> Seconds:
    cases = []
    for title, version, framing, header in (
        ("HTTP/1.1, chunked", "1.1", "chunked", ""),
        ("HTTP/1.1, EOF", "1.1", "eof", ""),
        ("HTTP/1.0, EOF, the client asks to keep it", "1.0", "eof", "Connection: keep-alive\r\n"),
    ):
        cases.append(await _second(lab, title, version, framing, header, events))
    return Seconds(tuple(cases), started_now())


async def _second(lab: Lab, title: str, version: str, framing: str, header: str, events: int) -> Second:
    topic = f"03-second-{version}-{framing}"
    connection = await Connection.open("127.0.0.1", lab.port, Wiring(Ledger(0), "http-streaming"))
    try:
        query = f"topic={topic}&recycle={events}" + "&framing=eof" * (framing == "eof")
        await connection.write(request(f"/http-streaming?{query}", version, header))
        first = await until(connection, b'{"cursor"')
        for number in range(events):
            lab.publish(str(number), topic)
        first += await until(connection, b"0\r\n\r\n" if framing == "chunked" else None)
        answer = b""
        with suppress(ConnectionLost):
            if not connection.ended:
                await connection.write(request(f"/polling?topic={topic}&after=0", version, header))
                answer = await until(connection, b"\r\n\r\n")
        status = answer.partition(b"\r\n")[0].decode("latin-1")
        return Second(title, framing, first.count(b'{"id"'), status, connection.ended)
    finally:
        connection.close()


def request(target: str, version: str = "1.1", header: str = "") -> bytes:
    """A request as bytes."""
    return f"GET {target} HTTP/{version}\r\nHost: localhost\r\n{header}\r\n".encode()


async def until(connection: Connection, mark: bytes | None) -> bytes:
    """Read until *mark* has come, or the end."""
    data = b""
    with suppress(TimeoutError):
        async with asyncio.timeout(TIMEOUT_S):
            while (mark is None or mark not in data) and not connection.closed and (piece := await connection.read()):
                data += piece
    return data


@dataclass(frozen=True)
class Ending:
    """How one client took the end of a stream.

    Attributes:
        how: ``end`` (the server ends it properly), ``fin`` or ``reset`` (cut in the middle, by FIN or RST).
        events: how many events the client had by then.
        error: what it raised or said; empty if it took it for the end.
    """

    client: str
    framing: str
    how: str
    events: int
    error: str


@dataclass(frozen=True, repr=False)
class Endings(Shown):
    """Streams ended properly and cut, as several clients saw it."""

    index = "bare"

    cases: tuple[Ending, ...]
    sent: int
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """One row per client and framing; a column per ending: silent, or the error."""
        rows = [(c.client, c.framing, HOW[c.how], c.error or "silent") for c in self.cases]
        frame = as_table(rows, ["client", "framing", "how", "said"])
        wide = frame.pivot(index=["framing", "client"], columns="how", values="said")
        return wide[[name for name in HOW.values() if name in wide]].sort_index(ascending=[False, True])


def endings(lab: Lab, *, events: int = 3) -> Endings:
    """Streams that end properly, and streams cut in the middle by FIN and by RST, as three clients take it."""
    ready(lab, events=(events, 1))
    clients: dict[str, _Client] = {"this kit": _with_the_kit}
    python = f"http.client of Python {platform.python_version()}"
    clients[f"{python}, read1()"] = partial(_with_http_client, False)
    clients[f"{python}, readline()"] = partial(_with_http_client, True)
    if curl := shutil.which("curl"):
        clients[_version(curl)] = partial(_with_curl, curl)
    progress, cases = Progress(), []
    for framing in ("eof", "chunked"):
        for how in ("end", "fin", "reset"):
            progress.show(f"streams by {framing}, {how}")
            cases += _round(lab, clients, framing, how, events)
    progress.done()
    return Endings(tuple(cases), events, started_now())


_Client = Callable[[str, Callable[[], None]], str]
"""Reads an address to its end, tells each event, and returns its error."""


def _round(lab: Lab, clients: dict[str, _Client], framing: str, how: str, events: int) -> list[Ending]:
    topic = f"03-{framing}-{how}-{time.monotonic_ns()}"
    path = f"/http-streaming?topic={topic}&after=0" + "&framing=eof" * (framing == "eof")
    path += f"&recycle={events}" * (how == "end")
    counts = dict.fromkeys(clients, 0)
    had = threading.Condition()

    def tell(client: str) -> None:
        with had:
            counts[client] += 1
            had.notify_all()

    with Link(lab, one_way_s=0.005) as link, ThreadPoolExecutor(len(clients)) as pool:
        url = f"http://127.0.0.1:{link.ports['http']}{path}"
        try:
            reading = {name: pool.submit(read, url, partial(tell, name)) for name, read in clients.items()}
            for number in range(events):
                lab.publish(str(number), topic)
            with had:
                had.wait_for(lambda: all(n >= events for n in counts.values()), TIMEOUT_S)
            at_the_cut = dict(counts)
            if how != "end":
                link.cut(how)
            return [Ending(name, framing, how, at_the_cut[name], r.result(TIMEOUT_S)) for name, r in reading.items()]
        finally:
            link.cut()  # whoever still reads, after an interrupt too, comes to an end


def _with_the_kit(url: str, tell: Callable[[], None]) -> str:
    async def read() -> str:
        try:
            async for _ in HTTP_STREAMING.connect(url):
                tell()
        except ConnectionLost as error:
            return type(error).__name__
        return ""

    return loop.run(read())


def _with_http_client(by_line: bool, url: str, tell: Callable[[], None]) -> str:
    host, _, path = url.removeprefix("http://").partition("/")
    with closing(http.client.HTTPConnection(host, timeout=TIMEOUT_S)) as connection:
        try:
            connection.request("GET", f"/{path}")
            with connection.getresponse() as response:
                while data := response.readline() if by_line else response.read1(1 << 16):
                    for _ in range(data.count(b'{"id"')):
                        tell()
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
    return ""


def _with_curl(curl: str, url: str, tell: Callable[[], None]) -> str:
    command = [curl, "-sSN", "--noproxy", "*", "--max-time", str(2 * TIMEOUT_S), url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            if line.startswith(b'{"id"'):
                tell()
        return textwrap.shorten(process.stderr.read().decode().removeprefix("curl: "), 30, placeholder="...")


def _version(curl: str) -> str:
    return " ".join(subprocess.run([curl, "--version"], capture_output=True, text=True).stdout.split()[:2]) or "curl"
