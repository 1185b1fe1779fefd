"""The experiments of 03_http_streaming: S1, S1b, S2, S3, S5, S6, S8, T2.

Those about where a body ends are in :mod:`labkit.course.http_streaming.ends`, those whose servers are a few
lines of sockets in :mod:`labkit.course.http_streaming.by_hand`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any

from labkit import loop
from labkit.client.connection import Connection, Wiring
from labkit.client.ledger import Ledger
from labkit.course.http_streaming.by_hand import exchanges, first_shown, in_the_page, two_writes
from labkit.course.http_streaming.ends import (
    TIMEOUT_S,
    endings,
    framings,
    ready,
    request,
    seconds,
    settings,
    until,
)
from labkit.course.http_streaming.judges import CLOSED, KEPT, Recycled
from labkit.course.http_streaming.judges_reading import Boundaries, Path, Rechunked
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.measuring.schedules import Planned, Schedule
from labkit.network.intermediary import Intermediary
from labkit.techniques import Delivery, Opening, Technique
from labkit.techniques.http_streaming import HTTP_STREAMING
from labkit.wire.chunks import Chunk, ChunkDecoder
from labkit.wire.events import Gap

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
SWEEP = (1, 2, 5, 10, 20)


def variant(name: str, **options: Any) -> Technique:
    """HTTP streaming with other options under another name, so that several can be measured side by side."""
    return HTTP_STREAMING.variant(name, **options)


# S3


def recycled(lab: Lab, *, bursts: int = 14, every: int = 3, one_way_s: float = ONE_WAY_S) -> Recycled:
    """Recycle streams every so many events, kept alive and by EOF, and publish bursts of one event more.

    So in each burst one event comes 10 ms after an end, wherever in the burst the end falls.

    Raises:
        ValueError: no event between ends; a transit below 40 ms, of which 10 ms would be too large a part.
    """
    ready(lab, every=(every, 1), bursts=(bursts, 1), one_way_s=(one_way_s, 0.04))
    techniques = [HTTP_STREAMING, variant(KEPT, recycle=every), variant(CLOSED, recycle=every, framing="eof")]
    times = [8 * one_way_s * burst + 0.01 * n for burst in range(bursts) for n in range(every + 1)]
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
    ready(lab, events=(events, 1))
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
    return Rechunked(tuple(paths), settings())


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


# S8


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
        return HTTP_STREAMING.client(dataclasses.replace(opening, on_open=None), **options)

    return HTTP_STREAMING.variant(boundary, client, format="multipart", boundary=boundary)
