"""How WebSockets end, in 05_websocket: every close code on the wire, and peers that end without a word (W7)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime

from labkit import loop
from labkit.course.websocket.peers import named, stock_tornado
from labkit.course.websocket.raw import RawSocket, cancelled, lateness, quantile
from labkit.course.websocket.seen import Closing, Closings, DeadPeer, DeadPeers
from labkit.lab.lab import Lab
from labkit.network.link import Link
from labkit.progress import Progress
from labkit.wire.events import now_ns
from labkit.wire.frames import Frame, Opcode, encode_close

WATCH_S = 0.002


# Every close code


def close_codes() -> Closings:
    """Provoke every close code there is, each on a connection of its own, and keep its close frame.

    Returns:
        A row for each code. Those that never travel have no frame; what there is instead stands beside them.
    """
    started = datetime.now(UTC).isoformat()
    with Lab("close-codes", slow="disconnect", queue=2, max_event_bytes=1 << 18) as lab:
        found = loop.run(_close_codes(lab))
        last = loop.run(RawSocket.open(lab.port, "/websocket"))
    found.append(Closing(1001, MEANINGS[1001], "a lab that is closed", "server", loop.run(_farewell(last))))
    return Closings(tuple(sorted(found, key=lambda closing: closing.code)), {"started": started})


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


async def _close_codes(lab: Lab) -> list[Closing]:
    found = list[Closing]()

    def add(code: int, provoked_by: str, sender: str, frame: bytes) -> None:
        found.append(Closing(code, MEANINGS[code], provoked_by, sender, frame))

    for code in (1000, 1003, 1008, 1010, 1011, 1012, 1014, 3000, 4000):
        sent = Frame(Opcode.CLOSE, encode_close(code), mask=os.urandom(4))
        add(code, "a client that closes with it", "server, in answer", await _provoked(lab, sent))
    bad = {
        1002: ("a frame without a mask", [Frame(Opcode.TEXT, b"hello")]),
        1007: ("text that is not UTF-8", [Frame(Opcode.TEXT, b"\xc3\x28", mask=os.urandom(4))]),
        1009: ("a message of 2 MiB", [Frame(Opcode.BINARY, bytes(2 << 20), mask=os.urandom(4))]),
        1005: ("a client that closes without a code", [Frame(Opcode.CLOSE, mask=os.urandom(4))]),
    }
    for code, (why, frames) in bad.items():
        add(code, why, "server", await _provoked(lab, *frames))
    add(1013, "a subscriber that does not read", "server", await _too_slow(lab))
    add(1006, "a cut link", "nobody", await _cut(lab))
    add(1015, "TLS spoken to a port without TLS", "nobody", await _tls(lab))
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


# W7


def dead_peers(*, peers: int = 8, heartbeat_s: float = 0.5, one_way_s: float = 0.05, stock: bool = True) -> DeadPeers:
    """Open sockets one after the other, let their links go silent at one moment, and watch when the server notices.

    Beside this kit's server, with pings: the same without (a heartbeat of 10 min), and Tornado's own.

    Args:
        peers: of this kit's server.
        heartbeat_s: the ping interval; the ping's time-out is as long.
        stock: with Tornado's own server, which is watched for 5 s more.

    Raises:
        ValueError: no peer, or no time between pings.
    """
    if peers < 1 or heartbeat_s <= 0:
        raise ValueError("there must be at least one peer, and heartbeat_s above 0")
    with Lab("dead-peers", heartbeat_s=heartbeat_s) as lab, Lab("never-pings", heartbeat_s=600.0) as mute:
        spread_s = [(number + 0.5) / peers * heartbeat_s for number in range(peers)]  # every phase of the pings
        return loop.run(_dead_peers(lab, mute, spread_s, heartbeat_s, one_way_s, stock))


async def _dead_peers(
    lab: Lab, mute: Lab, spread_s: Sequence[float], heartbeat_s: float, one_way_s: float, stock: bool
) -> DeadPeers:
    started, peers, progress = datetime.now(UTC).isoformat(), len(spread_s), Progress()
    over: list[int] = []
    async with contextlib.AsyncExitStack() as stack:
        pings = {"websocket_ping_interval": heartbeat_s, "websocket_ping_timeout": heartbeat_s}
        tornado_port = await stack.enter_async_context(stock_tornado(lambda: over.append(now_ns()), **pings))
        late_ms = await stack.enter_async_context(lateness())
        links: list[Link] = []
        begun_ns = now_ns()

        async def open_one(target: Lab | tuple[str, int], at_s: float) -> int:
            """Be a peer of *target* from then on; when it answered, in ns."""
            await asyncio.sleep(max(0.0, at_s - (now_ns() - begun_ns) / 1e9))
            link = await stack.enter_async_context(Link(target, one_way_s=one_way_s))
            links.append(link)
            socket = await RawSocket.open(link.address[1], "/websocket")
            stack.callback(socket.connection.close)
            opened_ns = now_ns() - int(one_way_s * 1e9)
            answering = asyncio.ensure_future(_answer_pings(socket))
            stack.push_async_callback(cancelled, answering)
            return opened_ns

        others: list[Lab | tuple[str, int]] = [mute, *([("127.0.0.1", tornado_port)] if stock else [])]
        opening = [open_one(lab, at_s) for at_s in spread_s] + [open_one(other, heartbeat_s) for other in others]
        opened = await asyncio.gather(*opening)
        await asyncio.sleep(1.5 * heartbeat_s)
        # no ping of any peer may be just about to leave or to be answered: then nobody could say which it will be
        step_s = heartbeat_s / peers
        since_s = (now_ns() - opened[0]) / 1e9 - 2 * one_way_s
        await asyncio.sleep((step_s / 2 - since_s) % step_s)
        for link in links:
            link.stall()
        stalled_ns = now_ns()
        expected = [_left_s(at_ns, stalled_ns, heartbeat_s, one_way_s) for at_ns in opened]
        watched_s = 2 * heartbeat_s * 1.5 + (5.5 if stock else 0.0)
        noticed: list[float] = []
        while (watching_s := (now_ns() - stalled_ns) / 1e9) < watched_s:
            progress.show(f"watching silent links: {watching_s:.0f} of {watched_s:.0f} s")
            gone = peers - lab.stats()["subscribers"]
            noticed += [watching_s] * (gone - len(noticed))
            if len(noticed) == peers and (len(over) or not stock):
                break
            await asyncio.sleep(WATCH_S)
        still_there = mute.stats()["subscribers"] == 1
    progress.done(f"{len(noticed)} of {peers} noticed")
    stock_name = named("tornado", "stock Tornado")
    rows = [
        DeadPeer("labkit", expected_s, noticed[n] if n < len(noticed) else None)
        for n, expected_s in enumerate(sorted(expected[:peers]))
    ]
    rows.append(DeadPeer("labkit, without pings", float("inf"), None if still_there else watched_s))
    if stock:
        took_s = (over[0] - stalled_ns) / 1e9 if over else None
        rows.append(DeadPeer(stock_name, expected[-1] + 5.0, took_s))
    late_s = quantile(late_ms, 0.95) / 1e3, max(late_ms, default=0.0) / 1e3
    settings = {"started": started}
    return DeadPeers(tuple(rows), heartbeat_s, heartbeat_s, one_way_s, watched_s, late_s, settings)


def _left_s(opened_ns: int, stalled_ns: int, heartbeat_s: float, one_way_s: float) -> float:
    """How long after the stall a peer can be known to be dead: the first ping that it cannot answer, and its time-out.

    Pings leave a heartbeat apart, the first one after the handshake; one that left less than two transits before the
    stall is not answered any more.
    """
    since_s = (stalled_ns - opened_ns) / 1e9
    last = max(0, int((since_s - 2 * one_way_s) / heartbeat_s))  # the newest ping that was answered
    return (last + 2) * heartbeat_s - since_s


async def _answer_pings(socket: RawSocket) -> None:
    while (frame := await socket.frame(3600.0)) is not None:
        if frame.opcode is Opcode.PING:
            await socket.send(Frame(Opcode.PONG, frame.payload, mask=os.urandom(4)))
