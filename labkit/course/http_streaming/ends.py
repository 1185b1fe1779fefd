"""The experiments of 03_http_streaming about where a body ends: S1, S1b and S2; and what the others share."""

from __future__ import annotations

import asyncio
import http.client
import json
import platform
import shutil
import subprocess
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from labkit import loop
from labkit.client.connection import Connection, Wiring
from labkit.client.http import HTTPClient
from labkit.client.ledger import Ledger
from labkit.course.http_streaming.judges_wire import Ending, Endings, Framing, Framings, Second, Seconds
from labkit.errors import ConnectionLost, LabClosed
from labkit.lab.lab import Lab
from labkit.network.link import Link
from labkit.progress import Progress
from labkit.techniques.http_streaming import HTTP_STREAMING

TIMEOUT_S = 5.0


def ready(lab: Lab, **least: tuple[float, float]) -> None:
    """Raise LabClosed for a closed lab, ValueError for a parameter, given as (value, least), that is too small."""
    if lab.closed:
        raise LabClosed(f"lab {lab.name!r} is closed: start another with labkit.Lab()")
    for name, (value, lowest) in least.items():
        if not value >= lowest:
            raise ValueError(f"{name} must be at least {lowest:g}, not {value!r}")


def settings() -> dict[str, Any]:
    """When it was."""
    return {"started": datetime.now(UTC).isoformat()}


# S1


def framings(lab: Lab, *, events: int = 3) -> Framings:
    """The same events chunked and by EOF on HTTP/1.1, by EOF on 1.0, and on 1.0 with a Content-Length filled slowly.

    Each event is written only when the one before it has been read, so what counts as streamed needs no clock.

    Raises:
        ValueError: fewer than one event.
    """
    ready(lab, events=(events, 1))
    return loop.run(_framings(lab, events))


async def _framings(lab: Lab, events: int) -> Framings:
    cases = []
    for version, framing in (("1.1", "chunked"), ("1.1", "eof"), ("1.0", "eof")):
        topic = f"03-{version}-{framing}"
        query = {"recycle": events, "framing": "eof" if (version, framing) == ("1.1", "eof") else ""}
        url = f"http://127.0.0.1:{lab.port}/http-streaming?topic={topic}"
        cases.append(await _watched(url, query, version, framing, events, partial(lab.publish, topic=topic)))
    lines: asyncio.Queue[str] = asyncio.Queue()
    size = len(_line("0")) * events
    async with await asyncio.start_server(partial(_declared, size, lines), "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        cases.append(await _watched(url, {}, "1.0", "length", events, lines.put_nowait))
    return Framings(tuple(cases), settings())


async def _watched(
    url: str, query: dict[str, Any], version: str, framing: str, events: int, publish: Callable[[str], object]
) -> Framing:
    """Read one response; publish each event when the one before it has come, or is not going to."""
    ledger = Ledger()
    client = HTTPClient(url, topic="", token=None, wiring=Wiring(ledger, "http-streaming"), version=version)
    body, streamed = b"", 0
    try:
        await client.ask(query)
        _, http = await client.head()
        pieces = http.pieces()
        if framing != "length":
            body += await anext(pieces)  # the cursor: the subscription has begun
        for number in range(events):
            publish(str(number))
            with suppress(TimeoutError):
                async with asyncio.timeout(TIMEOUT_S):
                    while body.count(b'{"id"') <= number:
                        body += await anext(pieces)
                    streamed += 1
        with suppress(TimeoutError, StopAsyncIteration):
            async with asyncio.timeout(TIMEOUT_S):
                while True:
                    await anext(pieces)
    finally:
        client.close()
    raw = b"".join(t.data for t in ledger.connections[0].transfers if t.direction == "in")
    head, blank, rest = raw.partition(b"\r\n\r\n")
    return Framing(version, framing, head + blank, rest, streamed, events)


def _line(data: str) -> bytes:
    return json.dumps({"id": 1, "data": data}, separators=(",", ":")).encode() + b"\n"


async def _declared(
    size: int, lines: asyncio.Queue[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """A server of HTTP/1.0 that knows the length of its body beforehand, and fills it event by event."""
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.0 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        while size > 0:
            line = _line(await lines.get())
            writer.write(line)
            await writer.drain()
            size -= len(line)
    writer.close()


# S1b


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
    return Seconds(tuple(cases), settings())


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


# S2


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
    progress.done(f"{len(cases)} streams")
    return Endings(tuple(cases), events, settings())


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
