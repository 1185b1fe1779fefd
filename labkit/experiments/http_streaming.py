"""The experiments of 03_http_streaming: S1, S1b, S2, S3, S5, S6, S8, T2.

Those with a lab of ours are here; S6 and T2, whose servers are a few lines of sockets, are in
:mod:`labkit.experiments.http_streaming_sockets`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import http.client
import json
import platform
import shutil
import subprocess
import textwrap
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from labkit import loop, schedules
from labkit.checks.http_streaming import CLOSED, KEPT, Boundaries, Recycled
from labkit.checks.http_streaming_wire import Ending, Endings, Framing, Framings, Path, Rechunked, Second, Seconds
from labkit.connection import Connection, HTTPClient, Opened, Wiring
from labkit.errors import ConnectionLost
from labkit.events import Gap
from labkit.experiments.http_streaming_sockets import (
    exchanges,
    first_shown,
    in_the_page,
    two_writes,
)
from labkit.intermediary import Intermediary
from labkit.lab import Lab
from labkit.ledger import Ledger
from labkit.link import Link
from labkit.measurement import measure
from labkit.progress import Progress
from labkit.runs import Run
from labkit.schedules import Planned, Schedule
from labkit.techniques import Delivery, Technique
from labkit.techniques.http_streaming import HTTP_STREAMING
from labkit.wire.chunks import Chunk, ChunkDecoder

__all__ = [
    "boundaries",
    "endings",
    "exchanges",
    "first_shown",
    "framings",
    "in_the_page",
    "rechunked",
    "recycled",
    "seconds",
    "sweep",
    "two_writes",
    "variant",
]

ONE_WAY_S = 0.05
TIMEOUT_S = 5.0
SWEEP = (1, 2, 5, 10, 20)


def variant(name: str, **options: Any) -> Technique:
    """HTTP streaming with other options under another name, so that several can be measured side by side."""
    return dataclasses.replace(HTTP_STREAMING, name=name, connect=partial(HTTP_STREAMING.connect, **options))


def _settings() -> dict[str, Any]:
    return {"started": datetime.now(UTC).isoformat()}


# S1


def framings(lab: Lab, *, events: int = 3) -> Framings:
    """The same events chunked and by EOF on HTTP/1.1, by EOF on 1.0, and on 1.0 with a Content-Length filled slowly.

    Each event is written only when the one before it has been read, so what counts as streamed needs no clock.

    Raises:
        ValueError: fewer than one event.
    """
    if events < 1:
        raise ValueError(f"events must be at least 1, not {events!r}")
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
    return Framings(tuple(cases), _settings())


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
    return loop.run(_seconds(lab, events))


async def _seconds(lab: Lab, events: int) -> Seconds:
    cases = []
    for title, version, framing, header in (
        ("HTTP/1.1, chunked", "1.1", "chunked", ""),
        ("HTTP/1.1, EOF", "1.1", "eof", ""),
        ("HTTP/1.0, EOF, the client asks to keep it", "1.0", "eof", "Connection: keep-alive\r\n"),
    ):
        cases.append(await _second(lab, title, version, framing, header, events))
    return Seconds(tuple(cases), _settings())


async def _second(lab: Lab, title: str, version: str, framing: str, header: str, events: int) -> Second:
    topic = f"03-second-{version}-{framing}"
    connection = await Connection.open("127.0.0.1", lab.port, Wiring(Ledger(0), "http-streaming"))
    try:
        query = f"topic={topic}&recycle={events}" + "&framing=eof" * (framing == "eof")
        await connection.write(_request(f"/http-streaming?{query}", version, header))
        first = await _until(connection, b'{"cursor"')
        for number in range(events):
            lab.publish(str(number), topic)
        first += await _until(connection, b"0\r\n\r\n" if framing == "chunked" else None)
        answer = b""
        with suppress(ConnectionLost):
            if not connection.ended:
                await connection.write(_request(f"/polling?topic={topic}&after=0", version, header))
                answer = await _until(connection, b"\r\n\r\n")
        status = answer.partition(b"\r\n")[0].decode("latin-1")
        return Second(title, framing, first.count(b'{"id"'), status, connection.ended)
    finally:
        connection.close()


def _request(target: str, version: str = "1.1", header: str = "") -> bytes:
    return f"GET {target} HTTP/{version}\r\nHost: localhost\r\n{header}\r\n".encode()


async def _until(connection: Connection, mark: bytes | None) -> bytes:
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
    return Endings(tuple(cases), events, _settings())


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


# S3


def recycled(lab: Lab, *, cycles: int = 14, every: int = 3, one_way_s: float = ONE_WAY_S) -> Recycled:
    """Recycle streams every so many events, and have an event due 10 ms after each end: kept alive, and by EOF.

    Raises:
        ValueError: fewer than two events between ends, so that the first would be the last as well.
    """
    if every < 2 or cycles < 1:
        raise ValueError("every must be at least 2, cycles at least 1")
    techniques = [HTTP_STREAMING, variant(KEPT, recycle=every), variant(CLOSED, recycle=every, framing="eof")]
    step_s = 5 * one_way_s
    times = [(step_s * (every - 1) + 0.01) * c + step_s * n for c in range(cycles) for n in range(every)]
    return Recycled(measure(lab, techniques, _at(times), one_way_s=one_way_s, settle_s=1.0), every)


def _at(times_s: Sequence[float]) -> Schedule:
    planned = [Planned(at_s, f"{number}") for number, at_s in enumerate(times_s)]
    return Schedule("right after each end", {"events": len(planned)}, times_s[-1], None, False, lambda: iter(planned))


def sweep(lab: Lab, *, rate_per_s: float = 16.0, duration_s: float = 8.0, one_way_s: float = ONE_WAY_S) -> Run:
    """Streams recycled every 1 to 20 events beside one that never ends, all at once, through one link.

    The techniques of the run are called ``every 1``, ``every 2``..., and ``never``.
    """
    techniques = [*(variant(f"every {n}", recycle=n) for n in SWEEP), variant("never")]
    return measure(lab, techniques, schedules.poisson(rate_per_s, duration_s, seed=3), one_way_s=one_way_s)


# S5


def rechunked(lab: Lab, *, events: int = 40) -> Rechunked:
    """The same messages direct and through intermediaries that cut chunks, that merge them, and that do both."""
    return loop.run(_rechunked(lab, events))


_MOVES: dict[str, dict[str, Any]] = {
    "chunks of at most 16 bytes": {"split_bytes": 16},
    "what comes within 50 ms is one chunk": {"merge_s": 0.05},
    "both, 100 bytes": {"split_bytes": 100, "merge_s": 0.05},
}


async def _rechunked(lab: Lab, events: int) -> Rechunked:
    topic = f"03-chunks-{time.monotonic_ns()}"
    relays = [Intermediary(lab, name=f"03-{number}", **told) for number, told in enumerate(_MOVES.values())]
    try:
        for relay in relays:
            relay.start()
        ports = [lab.port, *(relay.ports["http"] for relay in relays)]
        begun = [asyncio.Event() for _ in ports]
        reading = [
            asyncio.ensure_future(_chunks(port, topic, events, opened))
            for port, opened in zip(ports, begun, strict=True)
        ]
        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.gather(*(opened.wait() for opened in begun))
        for number in range(events):
            lab.publish(f"message {number}", topic)
            await asyncio.sleep(0.012)
        found = await asyncio.gather(*reading)
    finally:
        for relay in relays:
            relay.close()
    titles = ["direct", *_MOVES]
    paths = [Path(t, chunks, events, t != "direct") for t, chunks in zip(titles, found, strict=True)]
    return Rechunked(tuple(paths), _settings())


async def _chunks(port: int, topic: str, events: int, begun: asyncio.Event) -> tuple[bytes, ...]:
    """The chunks of one stream, as they came."""
    connection = await Connection.open("127.0.0.1", port, Wiring(Ledger(0), "http-streaming"))
    try:
        await connection.write(_request(f"/http-streaming?topic={topic}&recycle={events}"))
        data = await _until(connection, b"\r\n\r\n")
        decoder, chunks, piece = ChunkDecoder(), list[bytes](), data.partition(b"\r\n\r\n")[2]
        with suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT_S + 0.02 * events):
                while not decoder.done:
                    chunks += [item.data for item in decoder.feed(piece) if isinstance(item, Chunk)]
                    if chunks and b"\n" in b"".join(chunks):
                        begun.set()
                    piece = b"" if decoder.done else await connection.read()
        return tuple(chunks)
    finally:
        begun.set()
        connection.close()


# S8


def boundaries(lab: Lab, *, events: int = 24, rate_per_s: float = 8.0, one_way_s: float = ONE_WAY_S) -> Boundaries:
    """Multipart with the boundary behind each part, and before it, side by side."""
    techniques = [_multipart(name) for name in ("trailing", "leading")]
    schedule = schedules.periodic(rate_per_s, events / rate_per_s)
    return Boundaries(measure(lab, techniques, schedule, one_way_s=one_way_s, settle_s=0.5))


def _multipart(boundary: str) -> Technique:
    """With a leading boundary even the first part, the cursor, is not whole before an event: nobody waits for it."""
    made = variant(boundary, format="multipart", boundary=boundary)

    def connect(url: str, *, on_open: Opened, after: str, **options: Any) -> AsyncGenerator[Delivery | Gap, None]:
        on_open(after)
        return made.connect(url, after=after, **options)

    return dataclasses.replace(made, connect=connect)


# On their own


@contextmanager
def _own() -> Iterator[Lab]:
    with Lab("soak-http-streaming") as lab:
        yield lab


def _in_a_lab(experiment: Callable[[Lab], Any]) -> Callable[[], Any]:
    def run() -> Any:
        with _own() as lab:
            return experiment(lab)

    return run


EXPERIMENTS: dict[str, Callable[[], Any]] = {
    "S1": _in_a_lab(framings),
    "S1b": _in_a_lab(seconds),
    "S2": _in_a_lab(endings),
    "S3": _in_a_lab(recycled),
    "S5": _in_a_lab(rechunked),
    "S6": first_shown,
    "S8": _in_a_lab(boundaries),
    "T2": two_writes,
}
