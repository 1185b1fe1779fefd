"""The experiments of 05_websocket: W1 to W7, W9 to W11.

Here: the handshake, frames on the wire, traffic both ways (W1 to W3, W11). ``websocket_conformance.py`` tries
implementations (W4 to W6), ``websocket_closing.py`` provokes every close code and watches dead peers (W7),
``websocket_costs.py`` measures compression and bare TCP beside it (W9, W10).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import h11

from labkit import loop
from labkit.client.connection import Wiring
from labkit.client.ledger import Ledger
from labkit.client.websocket import WebSocketConnection
from labkit.course.websocket.closing import close_codes, dead_peers
from labkit.course.websocket.conformance import conformance
from labkit.course.websocket.costs import against_tcp, deflate
from labkit.course.websocket.raw import RawSocket, lateness, quantile
from labkit.course.websocket.seen import BothWays, Handshake, Header, Headers
from labkit.lab.lab import Lab
from labkit.network.link import Link
from labkit.wire.events import Event, now_ns
from labkit.wire.frames import Frame, Opcode

__all__ = [
    "against_tcp",
    "both_ways",
    "close_codes",
    "conformance",
    "dead_peers",
    "deflate",
    "handshake",
    "headers",
]

ONE_WAY_S = 0.05
SAMPLE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The key of the example in RFC 6455 section 1.3; its accept is s3pPLMBiTxaQ9kYGzzhZRbK+xOo=."""
SIZES = (0, 125, 126, 65535, 65536)
BLANK_LINE = b"\r\n\r\n"


def _now() -> str:
    return datetime.now(UTC).isoformat()


# W1


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
    started = _now()
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
        return Handshake(
            key, accept, socket.request, socket.answer, bytes(socket.raw), sent, parsed, {"started": started}
        )


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


# W3, W11


def headers(lab: Lab, sizes: Sequence[int] = SIZES) -> Headers:
    """Send binary messages of *sizes* bytes, get them back, and count what each took on the wire.

    The frames are those of labkit's client (the core of ``websockets``) and of its server.

    Raises:
        LabClosed: the lab is closed.
    """
    return loop.run(_headers(lab, sizes))


async def _headers(lab: Lab, sizes: Sequence[int]) -> Headers:
    started, frames = _now(), []
    url = f"http://127.0.0.1:{lab.port}/websocket/echo"
    socket = await WebSocketConnection.open(url, Wiring(Ledger(0), "websocket", 0))
    record = socket.connection.record
    try:
        messages = socket.__aiter__()
        for size in sizes:
            before = record.bytes_out, record.bytes_in
            await socket.send(bytes(size))
            await anext(messages)
            frames.append(Header("client", size, record.bytes_out - before[0]))
            frames.append(Header("server", size, record.bytes_in - before[1]))
    finally:
        await socket.close()
    return Headers(tuple(frames), {"started": started})


# W2


def both_ways(
    lab: Lab, *, rate_per_s: float = 20.0, duration_s: float = 4.0, one_way_s: float = ONE_WAY_S, seed: int = 5
) -> BothWays:
    """Both sides send at random times of their own on one WebSocket through a link.

    The client publishes on the socket; the lab publishes to it. When a message of the client's has reached the server
    is told by a second subscriber, which is beside it.

    Args:
        rate_per_s: messages of each side.
        one_way_s: one network transit.

    Raises:
        LabClosed: the lab is closed.
    """
    plan = random.Random(seed)
    times = tuple(_poisson(plan, rate_per_s, duration_s) for _ in range(2))
    return loop.run(_both_ways(lab, times, one_way_s))


def _poisson(plan: random.Random, rate_per_s: float, duration_s: float) -> list[float]:
    times, at_s = [], plan.expovariate(rate_per_s)
    while at_s < duration_s:
        times.append(at_s)
        at_s += plan.expovariate(rate_per_s)
    return times


async def _both_ways(lab: Lab, times: Sequence[list[float]], one_way_s: float) -> BothWays:
    started, topic = _now(), f"both-ways-{random.getrandbits(32):08x}"
    sent: dict[str, int] = {}
    held: dict[str, int] = {}
    async with contextlib.AsyncExitStack() as stack:
        link = await stack.enter_async_context(Link(lab, one_way_s=one_way_s))
        far = await stack.enter_async_context(await RawSocket.open(link.ports["http"], f"/websocket?topic={topic}"))
        beside = await stack.enter_async_context(await RawSocket.open(lab.port, f"/websocket?topic={topic}"))
        late_ms = await stack.enter_async_context(lateness())
        reading = [
            asyncio.ensure_future(_hold(far, "down", held)),
            asyncio.ensure_future(_hold(beside, "up", held)),
        ]
        begun_ns = now_ns()

        async def from_client() -> None:
            for number, at_s in enumerate(times[0]):
                await asyncio.sleep(begun_ns / 1e9 + at_s - now_ns() / 1e9)
                message = json.dumps({"publish": f"up {number}", "ref": number}).encode()
                sent[f"up {number}"] = await far.text(message)

        async def from_server() -> None:
            for number, at_s in enumerate(times[1]):
                await asyncio.sleep(begun_ns / 1e9 + at_s - now_ns() / 1e9)
                event: Event = lab.publish_event(f"down {number}", topic)
                sent[f"down {number}"] = event.published_ns

        await asyncio.gather(from_client(), from_server())
        deadline_ns = now_ns() + int((1.0 + 6 * one_way_s) * 1e9)
        while len(held) < len(sent) and now_ns() < deadline_ns:  # noqa: ASYNC110  two readers fill it
            await asyncio.sleep(0.01)
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
    rows = {
        way: tuple(
            ((sent[name] - begun_ns) / 1e9, (held[name] - sent[name]) / 1e9)
            for name in sent
            if name.startswith(way) and name in held
        )
        for way in ("up", "down")
    }
    lost = len(sent.keys() - held.keys())
    return BothWays(one_way_s, rows["up"], rows["down"], lost, quantile(late_ms, 0.95) / 1e3, {"started": started})


async def _hold(socket: RawSocket, way: str, held: dict[str, int]) -> None:
    """Put down when each event of one way was held here."""
    while (frame := await socket.frame(3600.0)) is not None:
        if frame.opcode is not Opcode.TEXT:
            continue
        received_ns = socket.connection.received_ns
        data = json.loads(frame.payload).get("data", "")
        if data.startswith(way):
            held.setdefault(data, received_ns)
