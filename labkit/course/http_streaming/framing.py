"""S1: the same events in each framing. Where a body ends decides whether it can stream."""

from __future__ import annotations

import asyncio
import html
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from labkit import loop
from labkit.client.ledger import Ledger
from labkit.course.alone import ready, started_now
from labkit.course.shown import Shown, as_table
from labkit.course.variants import client_of
from labkit.lab.lab import Lab

if TYPE_CHECKING:
    import pandas as pd

TIMEOUT_S = 5.0
MARK = "<mark style='background:none;color:inherit;border-bottom:3px solid #e69f00'>"  # on a light and on a dark page
WORDS = "white-space:pre-wrap; word-break:normal; overflow-wrap:anywhere"  # JupyterLab breaks a pre inside words


@dataclass(frozen=True)
class Framing:
    """One response that was written event by event, the next one only when the last had been read.

    Attributes:
        framing: ``chunked``, ``eof`` or ``length`` (a Content-Length, filled slowly).
        head, body: the response's bytes as they came, chunk headers included.
        streamed: how many of the events were read before the next one was written.
    """

    version: str
    framing: str
    head: bytes
    body: bytes
    streamed: int
    events: int

    @property
    def title(self) -> str:
        return f"HTTP/{self.version}, {dict(eof='EOF', chunked='chunked', length='Content-Length')[self.framing]}"

    @property
    def declared(self) -> str:
        """The header field that says how long the body is."""
        names = (b"transfer-encoding", b"content-length", b"connection")
        lines = [line for line in self.head.split(b"\r\n") if line.lower().partition(b":")[0] in names]
        return "; ".join(line.decode("latin-1") for line in lines) or "none"


@dataclass(frozen=True, repr=False)
class Framings(Shown):
    """The same events in each framing."""

    index = "bare"

    cases: tuple[Framing, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, title: str) -> Framing:
        return next(case for case in self.cases if case.title == title)

    def table(self) -> pd.DataFrame:
        """One row per framing: what the head declares, events that were read in time, bytes of the body."""
        rows = [(c.title, c.declared, f"{c.streamed} of {c.events}", len(c.body)) for c in self.cases]
        return as_table(rows, columns=["", "the head says", "read before the next", "bytes"]).set_index("")

    def raw(self, *titles: str) -> SideBySide:
        """The raw bytes of some of them, side by side."""
        return SideBySide(tuple(self[title] for title in titles))


@dataclass(frozen=True)
class SideBySide:
    """Raw responses beside each other: HTTP's own lines plain, chunk framing marked, the events in bold."""

    cases: tuple[Framing, ...]

    def __repr__(self) -> str:
        return "\n\n".join(f"{c.title}\n{(c.head + c.body).decode('utf-8', 'replace')}" for c in self.cases)

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<td style='text-align:left;vertical-align:top'><b>{html.escape(case.title)}</b>"
            f"<pre style='line-height:1.35; background:none; {WORDS}'>{''.join(_lines(case))}</pre></td>"
            for case in self.cases
        )
        key = f"<b>bold</b>: an event; {MARK}marked</mark>: chunk framing; plain: HTTP and the cursor"
        return f"<table><tr>{cells}</tr></table><p>{key}; pale: CR is \\r and LF \\n.</p>"


def _lines(case: Framing) -> Iterator[str]:
    for number, line in enumerate((case.head + case.body).splitlines(keepends=True)):
        shown = html.escape(line.decode("utf-8", "replace").rstrip("\r\n"))
        ending = "\\r\\n" if line.endswith(b"\r\n") else "\\n"
        shown += f"<span style='opacity:0.45'>{ending}</span>\n"
        if line.startswith(b'{"id"'):
            yield f"<b>{shown}</b>"
        elif number >= case.head.count(b"\n") and not line.startswith(b"{"):
            yield f"{MARK}{shown}</mark>"
        else:
            yield shown


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
    return Framings(tuple(cases), started_now())


async def _watched(
    url: str, query: dict[str, Any], version: str, framing: str, events: int, publish: Callable[[str], object]
) -> Framing:
    """Read one response; publish each event when the one before it has come, or is not going to."""
    ledger = Ledger()
    client = client_of(url, "http-streaming", ledger=ledger, version=version)
    body, streamed = b"", 0
    try:
        await client.ask(query)
        _, http = await client.head()
        pieces = http.pieces()
        if framing != "length":
            body += await anext(pieces)  # the cursor: the subscription has begun
        for number in range(events):
            publish(str(number))
            with suppress(TimeoutError, StopAsyncIteration):
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
