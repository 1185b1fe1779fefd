"""X1: the conversation of a Flash movie with its plugin socket."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit import loop
from labkit.client.connection import Connection
from labkit.client.ledger import Ledger
from labkit.client.wiring import Wiring
from labkit.course.alone import started_now
from labkit.course.shown import Shown, Wire, as_table, text_table
from labkit.lab.lab import Lab

if TYPE_CHECKING:
    import pandas as pd

READ_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Exchange:
    """Bytes of one conversation: what the client sent, what the server sent back, and how it ended."""

    title: str
    sent: bytes
    received: bytes
    ended: bool


@dataclass(frozen=True, repr=False)
class Conversation(Shown):
    """What was seen of the plugin socket: its exchanges, and whether an event went each way."""

    exchanges: tuple[Exchange, ...]
    delivered: bool
    published: bool
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """One row for each exchange."""
        rows = [tuple(map(str, row)) for row in self._rows()]
        return as_table(rows, columns=["exchange", "client", "server", "server then"]).set_index("exchange")

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                e.title,
                Wire.of(e.sent),
                Wire.of(e.received) if e.received else "nothing",
                "closes" if e.ended else "stays",
            )
            for e in self.exchanges
        ]

    def _repr_html_(self) -> str:
        return text_table(["", "client", "server", "server then"], self._rows())


def flash(lab: Lab) -> Conversation:
    """Speak to the plugin socket as a Flash movie did: policy file, subscription, an event each way; then as HTTP.

    Raises:
        LabClosed: the lab is closed.
    """
    return loop.run(_flash(lab))


async def _flash(lab: Lab) -> Conversation:
    policy = await _exchange(lab, "policy file", b"<policy-file-request/>\0", until=b"\0")
    http = await _exchange(lab, "an HTTP request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", until=b"")
    topic = "06-flash"
    subscribe = json.dumps({"subscribe": {"topic": topic, "after": "0"}}, separators=(",", ":")).encode() + b"\0"
    connection = await _open(lab)
    try:
        await connection.write(subscribe)
        begun = await _read(connection, b"\0")
        lab.publish("from the server", topic)
        down = await _read(connection, b"\0")
        upward = b'{"publish":"from the client","ref":1}\0'
        await connection.write(upward)
        up = await _read(connection, b"published")
    finally:
        connection.close()
    exchanges = (
        policy,
        Exchange("subscribe; an event comes", subscribe, begun + down, False),
        Exchange("publish on the same connection", upward, up, False),
        http,
    )
    went_down = b'"from the server"' in down and down.endswith(b"\0")
    return Conversation(exchanges, went_down, b'"published"' in up, started_now())


async def _open(lab: Lab) -> Connection:
    return await Connection.open("127.0.0.1", lab.plugin_port, Wiring(Ledger(0), "plugin-socket", 0))


async def _exchange(lab: Lab, title: str, sent: bytes, until: bytes) -> Exchange:
    connection = await _open(lab)
    try:
        await connection.write(sent)
        received = await _read(connection, until) if until else b""
        rest = await _read(connection, None)
        return Exchange(title, sent, received + rest, connection.ended)
    finally:
        connection.close()


async def _read(connection: Connection, until: bytes | None) -> bytes:
    """Read until *until* has come; None: until the end."""
    data = b""
    async with asyncio.timeout(READ_TIMEOUT_S):
        while not connection.ended and (until is None or until not in data):
            piece = await connection.read()
            if not piece:
                break
            data += piece
    return data
