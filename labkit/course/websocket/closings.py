"""Every close code of a WebSocket on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit import loop
from labkit.course.alone import started_now
from labkit.course.shown import Shown, as_table
from labkit.course.websocket.raw import RawSocket
from labkit.lab.lab import Lab
from labkit.network.link import Link
from labkit.wire.close_codes import encode_close
from labkit.wire.frames import Frame, Opcode

if TYPE_CHECKING:
    import pandas as pd

MEANINGS = {
    1000: "done",
    1001: "going away",
    1002: "protocol error",
    1003: "a kind of data it cannot take",
    1005: "no code was in the close frame",
    1006: "no close frame came at all",
    1007: "data that contradicts its type",
    1008: "against its policy",
    1009: "too big",
    1010: "the client misses an extension",
    1011: "the server has met a fault",
    1012: "the server restarts",
    1013: "try again later",
    1014: "a gateway got a bad answer",
    1015: "the TLS handshake failed",
    3000: "the first of the registered ones",
    4000: "the first of the private ones",
}


@dataclass(frozen=True)
class Closing:
    """One close code: what made somebody send it, and its close frame as it lay on the wire (empty: none came)."""

    code: int
    provoked_by: str
    sender: str
    frame: bytes

    @property
    def shown(self) -> str:
        """Header and code in hex, the reason as text."""
        reason = self.frame[4:].decode("utf-8", "replace")
        return self.frame[:4].hex(" ") + (f" “{reason}”" if reason else "") if self.frame else "no frame"


@dataclass(frozen=True, repr=False)
class Closings(Shown):
    left = True
    index = "column"

    rows: Sequence[Closing]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        rows = [[c.code, MEANINGS[c.code], c.provoked_by, c.sender, c.shown] for c in self.rows]
        columns = ["code", "means", "provoked by", "sent by", "the close frame on the wire"]
        return as_table(rows, columns).set_index("code")


def close_codes() -> Closings:
    """Provoke every close code there is, each on a connection of its own, and keep its close frame.

    Returns:
        A row for each code. Those that never travel have no frame; what there is instead stands beside them.
    """
    started = started_now()
    with Lab("close-codes", slow="disconnect", queue=2, max_event_bytes=1 << 18) as lab:
        found = loop.run(_close_codes(lab))
        last = loop.run(RawSocket.open(lab.port, "/websocket"))
    found.append(Closing(1001, "a lab that is closed", "server", loop.run(_farewell(last))))
    return Closings(tuple(sorted(found, key=lambda closing: closing.code)), started)


async def _close_codes(lab: Lab) -> list[Closing]:
    found = list[Closing]()

    for code in (1000, 1003, 1008, 1010, 1011, 1012, 1014, 3000, 4000):
        sent = Frame(Opcode.CLOSE, encode_close(code), mask=os.urandom(4))
        found.append(Closing(code, "a client that closes with it", "server, in answer", await _provoked(lab, sent)))
    bad = {
        1002: ("a frame without a mask", [Frame(Opcode.TEXT, b"hello")]),
        1007: ("text that is not UTF-8", [Frame(Opcode.TEXT, b"\xc3\x28", mask=os.urandom(4))]),
        1009: ("a message of 2 MiB", [Frame(Opcode.BINARY, bytes(2 << 20), mask=os.urandom(4))]),
        1005: ("a client that closes without a code", [Frame(Opcode.CLOSE, mask=os.urandom(4))]),
    }
    for code, (why, frames) in bad.items():
        found.append(Closing(code, why, "server", await _provoked(lab, *frames)))
    found.append(Closing(1013, "a subscriber that does not read", "server", await _too_slow(lab)))
    found.append(Closing(1006, "a cut link", "nobody", await _cut(lab)))
    found.append(Closing(1015, "TLS spoken to a port without TLS", "nobody", await _tls(lab)))
    return found


async def _farewell(socket: RawSocket) -> bytes:
    async with socket:
        return await socket.close_frame()


async def _provoked(lab: Lab, *frames: Frame) -> bytes:
    async with await RawSocket.open(lab.port, "/websocket/echo") as socket:
        await socket.send(*frames)
        return await socket.close_frame()


async def _too_slow(lab: Lab) -> bytes:
    """Let more be published than a subscriber that does not read may fall behind; then read it all."""
    async with await RawSocket.open(lab.port, "/websocket?topic=slow") as socket:
        for _ in range(400):
            lab.publish("x" * (1 << 18), "slow")
            await asyncio.sleep(0)
            if lab.stats()["disconnected"]:
                break
        return await socket.close_frame()


async def _cut(lab: Lab) -> bytes:
    async with Link(lab, one_way_s=0.0) as link, await RawSocket.open(link.ports["http"], "/websocket") as socket:
        link.cut()
        return await socket.close_frame()


async def _tls(lab: Lab) -> bytes:
    """A TLS client at a port that speaks HTTP: the handshake fails before there is any WebSocket."""
    context = ssl.create_default_context()
    with contextlib.suppress(ssl.SSLError, OSError):
        _, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", lab.port, ssl=context), 2.0)
        writer.close()
        return b"a TLS session"
    return b""
