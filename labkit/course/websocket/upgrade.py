"""W1: the opening handshake, and what an HTTP parser makes of it and of what follows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import h11

from labkit import loop
from labkit.course.alone import started_now
from labkit.course.shown import Shown, as_table
from labkit.course.websocket.raw import SAMPLE_KEY, RawSocket
from labkit.lab.lab import Lab
from labkit.wire.frames import Frame, Opcode

if TYPE_CHECKING:
    import pandas as pd

BLANK_LINE = b"\r\n\r\n"


@dataclass(frozen=True, repr=False)
class Handshake(Shown):
    """One opening handshake, and what an HTTP parser makes of each part of the connection.

    ``parsed``: part -> what the parser said, beginning with ``takes`` or ``rejects``.
    """

    left = True
    index = "column"

    key: str
    accept: str
    request: bytes
    answer: bytes
    down: bytes
    up: bytes
    parsed: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        parts = {"request": self.request, "answer": self.answer, "then, from the client": self.up}
        parts["then, from the server"] = self.down
        rows = [[name, len(data), repr(data[:44])[1:], self.parsed[name]] for name, data in parts.items()]
        columns = ["", "bytes", "begins with", "an HTTP parser"]
        return as_table(rows, columns).set_index("")


def handshake(lab: Lab, key: str = SAMPLE_KEY) -> Handshake:
    """Shake hands by hand, exchange two messages, and give each part of the connection to an HTTP parser.

    The second message is a blank line, masked with a key of zeros so that it stays one on the wire: a blank line ends a
    head in HTTP, so that a parser need not wait for more.

    Raises:
        LabClosed: the lab is closed.
        Refused: the server does not take the key.
    """
    return loop.run(_handshake(lab, key))


async def _handshake(lab: Lab, key: str) -> Handshake:
    started = started_now()
    async with await RawSocket.open(lab.port, "/websocket/echo", key=key) as socket:
        for payload, mask in ((b"Hello", os.urandom(4)), (BLANK_LINE, bytes(4))):
            await socket.send(Frame(Opcode.TEXT, payload, mask=mask))
            await socket.frame()
        record = socket.record
        sent = b"".join(t.data for t in record.transfers if t.direction == "out")[len(socket.request) :]
        fields = (line.partition(b":") for line in socket.answer.split(b"\r\n"))
        accept = next(
            (value.strip().decode() for name, _, value in fields if name.lower() == b"sec-websocket-accept"), ""
        )
        parsed = {
            "request": _parsed(h11.SERVER, socket.request),
            "answer": _parsed(h11.CLIENT, socket.answer),
            "then, from the client": _parsed(h11.SERVER, sent),
            "then, from the server": _parsed(h11.CLIENT, bytes(socket.raw)),
        }
        heads = socket.request, socket.answer
        return Handshake(key, accept, *heads, bytes(socket.raw), sent, parsed, started)


def _parsed(role: Any, data: bytes) -> str:
    """What h11 makes of *data*, read as a server or as a client that has just asked."""
    parser = h11.Connection(role)
    if role is h11.CLIENT:
        get = h11.Request(method="GET", target="/", headers=[("Host", "localhost"), ("Upgrade", "websocket")])
        parser.send(get)
        parser.send(h11.EndOfMessage())
    parser.receive_data(data)
    try:
        event = parser.next_event()
    except h11.RemoteProtocolError as error:
        return f"rejects it: {str(error).partition(':')[0]}"
    if isinstance(event, h11.Request):
        return f"takes it: {event.method.decode()} {event.target.decode()}"
    if isinstance(event, h11.Response | h11.InformationalResponse):
        return f"takes it: {event.status_code} {event.reason.decode()}"
    return "waits for more of it"
