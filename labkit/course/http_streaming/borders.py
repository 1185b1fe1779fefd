"""S5 and S8: who takes a message apart. Intermediaries that move the borders of chunks, and boundaries of parts."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import TYPE_CHECKING, Any

from labkit import loop
from labkit.charts import style
from labkit.client.connection import Connection
from labkit.client.ledger import Ledger
from labkit.client.wiring import Wiring
from labkit.course.alone import ready, started_now
from labkit.course.http_streaming import charts
from labkit.course.http_streaming.ends import TIMEOUT_S, request, until
from labkit.course.http_streaming.recycling import ONE_WAY_S
from labkit.course.shown import OfRun, Shown, as_table
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.network.intermediary import Intermediary
from labkit.techniques import Delivery, Opening, Technique
from labkit.techniques.http_streaming import HTTP_STREAMING
from labkit.wire.events import Gap
from labkit.wire.whole_chunks import Chunk, ChunkDecoder

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


def is_message(data: bytes) -> bool:
    """Whether these bytes are one whole event of the lab."""
    try:
        found = json.loads(data)
    except ValueError:
        return False
    return isinstance(found, dict) and "id" in found


@dataclass(frozen=True)
class Path:
    """What one path made of the same messages: the chunks that came, and what two parsers found in them."""

    title: str
    chunks: tuple[bytes, ...]
    messages: int
    rechunked: bool

    @property
    def by_chunk(self) -> int:
        """Messages found by a parser that takes each chunk for one message."""
        return sum(is_message(chunk) for chunk in self.chunks)

    @property
    def by_line(self) -> int:
        """Messages found by a parser that looks for line feeds in the bytes of all chunks."""
        return sum(is_message(line) for line in b"".join(self.chunks).split(b"\n"))


@dataclass(frozen=True, repr=False)
class Rechunked(Shown):
    """The same messages over several paths."""

    index = "bare"

    paths: tuple[Path, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """One row per path: chunks, and messages found by either parser."""
        rows = [(p.title, len(p.chunks), p.by_chunk, p.by_line, p.messages) for p in self.paths]
        columns = ["path", "chunks that came", "messages, each chunk taken for one", "messages, split at line feeds"]
        columns.append("messages sent")
        return as_table(rows, columns=columns).set_index("path")


def rechunked(lab: Lab, *, events: int = 40) -> Rechunked:
    """The same messages direct and through intermediaries that cut chunks, that merge them, and that do both."""
    ready(lab, events=(events, 1))
    return loop.run(_rechunked(lab, events))


_MOVES: dict[str, dict[str, Any]] = {
    "cut into chunks of at most 16 bytes": {"split_bytes": 16},
    "merged, what comes within 50 ms": {"merge_s": 0.05},
    "merged, then cut at 100 bytes": {"split_bytes": 100, "merge_s": 0.05},
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
    return Rechunked(tuple(paths), started_now())


async def _chunks(port: int, topic: str, events: int, begun: asyncio.Event) -> tuple[bytes, ...]:
    """The chunks of one stream, as they came."""
    connection = await Connection.open("127.0.0.1", port, Wiring(Ledger(0), "http-streaming"))
    try:
        await connection.write(request(f"/http-streaming?topic={topic}&recycle={events}"))
        data = await until(connection, b"\r\n\r\n")
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


@dataclass(frozen=True)
class Boundaries(OfRun):
    """One run with a part's boundary behind it (``trailing``) and before it (``leading``)."""

    run: Run

    def chart(self) -> go.Figure:
        """Latency along time of multipart streams with the boundary behind each part, and before it.

        Returns:
            A figure: a panel per place of the boundary, latency in ms over the time at which an event was due; theory,
            d and d plus one interval between events, as dashed lines.
        """
        d_ms, period_ms = self.one_way_s * 1e3, 1e3 / float(self.run.settings["schedule"]["rate_per_s"])
        rows = [
            ("trailing", "boundary behind each part", charts.CHUNKED, [(d_ms, "d")]),
            ("leading", "boundary before each part", charts.EOF, [(d_ms + period_ms, f"d + {style.ms(period_ms)}")]),
        ]
        means = [style.ms(self.run.summary().loc[name, "mean_ms"]) for name, *_ in rows]
        title = f"With the boundary before each part the mean is {means[1]}, behind it {means[0]}"
        return charts.along_time(self.run, rows, title)


def boundaries(lab: Lab, *, events: int = 24, rate_per_s: float = 8.0, one_way_s: float = ONE_WAY_S) -> Boundaries:
    """Multipart with the boundary behind each part, and before it, side by side."""
    ready(lab, events=(events, 2))
    techniques = [_multipart(name) for name in ("trailing", "leading")]
    schedule = schedules.periodic(rate_per_s, events / rate_per_s)
    return Boundaries(measure(lab, techniques, schedule, one_way_s=one_way_s, settle_s=0.5))


def _multipart(boundary: str) -> Technique:
    """With a leading boundary even the first part, the cursor, is not whole before an event: nobody waits for it."""

    @wraps(HTTP_STREAMING.client)
    def client(opening: Opening, **options: Any) -> AsyncGenerator[Delivery | Gap, None]:
        assert opening.on_open is not None and opening.after is not None
        opening.on_open(opening.after)
        return HTTP_STREAMING.client(replace(opening, on_open=None), **options)

    return HTTP_STREAMING.variant(boundary, client, format="multipart", boundary=boundary)
