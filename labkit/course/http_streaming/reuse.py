"""S1b: a second request on the connection of a stream that has ended; and requests as bytes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit import loop
from labkit.client.connection import Connection, Wiring
from labkit.client.ledger import Ledger
from labkit.course.alone import ready, started_now
from labkit.course.shown import Shown, as_table
from labkit.errors import ConnectionLost
from labkit.lab.lab import Lab

if TYPE_CHECKING:
    import pandas as pd

TIMEOUT_S = 5.0


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
