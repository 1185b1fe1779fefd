"""What a WebSocket costs, in 05_websocket: compression (W9), and bare TCP beside it (W10)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from labkit import loop
from labkit.client.connection import Connection, Wiring
from labkit.client.ledger import Ledger
from labkit.course.websocket.raw import RawSocket, cancelled, lateness, quantile
from labkit.course.websocket.seen import Beside, Deflated
from labkit.lab.lab import Lab
from labkit.network.link import Link
from labkit.progress import Progress
from labkit.wire.events import now_ns
from labkit.wire.frames import Frame, Opcode, encode_frame

# W9

PLAIN, TAKEOVER, ALONE = "plain", "deflate, context kept", "deflate, each message alone"
OFFERS: dict[str, tuple[str, ...]] = {
    PLAIN: (),
    TAKEOVER: ("Sec-WebSocket-Extensions: permessage-deflate",),
    ALONE: ("Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover",),
}


def messages(kind: str, count: int, seed: int = 5) -> list[bytes]:
    """Payloads to compress: ``ticks`` (small JSON, much alike), ``page`` (2 KB of JSON), ``noise`` (cannot shrink)."""
    plan = random.Random(seed)
    if kind == "ticks":
        return [_tick(plan, number) for number in range(count)]
    if kind == "page":
        return [b"[" + b",".join(_tick(plan, number * 40 + row) for row in range(40)) + b"]" for number in range(count)]
    return [plan.randbytes(96) for _ in range(count)]


def _tick(plan: random.Random, number: int) -> bytes:
    price = 100 + plan.random()
    return f'{{"symbol":"LAB","n":{number},"price":{price:.2f},"size":{plan.randrange(100)}}}'.encode()


def deflate(*, count: int = 800, rounds: int = 6, connections: int = 30) -> Deflated:
    """Echo messages plain, deflated with the context kept, and each deflated alone, at a server of its own process.

    The client sends plain in every mode (a client may); what comes back is counted.

    Args:
        count: messages of each round and mode.
        rounds: how often CPU is measured in each mode.
        connections: opened in each mode to see what one adds to the server's memory.
    """
    with Lab("deflate", process=True) as lab:
        return loop.run(_deflate(lab, count, rounds, connections))


async def _deflate(lab: Lab, count: int, rounds: int, connections: int) -> Deflated:
    started, progress = datetime.now(UTC).isoformat(), Progress()
    kinds = ("ticks", "page", "noise")
    payloads = {kind: messages(kind, 200) for kind in kinds}
    wire: dict[str, dict[str, float]] = {kind: {} for kind in kinds}
    for kind in kinds:
        for mode in OFFERS:
            wire[kind][mode] = await _echoed(lab, mode, payloads[kind])
    cpu_us: dict[str, list[float]] = {mode: [] for mode in OFFERS}
    page = messages("page", 40) * (count // 40)
    await _echoed(lab, PLAIN, page)  # what is done once is done
    for number in range(rounds):
        for mode in OFFERS:
            progress.show(f"measuring the CPU of the server, round {number + 1} of {rounds}")
            before_s = _cpu_s(lab)
            await _echoed(lab, mode, page)
            cpu_us[mode].append((_cpu_s(lab) - before_s) / len(page) * 1e6)
    rss = {}
    async with contextlib.AsyncExitStack() as stack:
        for mode in OFFERS:
            before = _usage(lab)["rss_bytes"]
            for _ in range(connections):
                socket = await stack.enter_async_context(
                    await RawSocket.open(lab.port, _path(mode), fields=OFFERS[mode])
                )
                await socket.text(page[0])
                await socket.frame()
            rss[mode] = (_usage(lab)["rss_bytes"] - before) / connections
    progress.done(f"{rounds * len(OFFERS) * len(page)} messages echoed")
    sizes = {kind: sum(map(len, data)) / len(data) for kind, data in payloads.items()}
    return Deflated(sizes, wire, cpu_us, rss, connections, {"started": started})


def _usage(lab: Lab) -> dict[str, float]:
    found = lab.usage()
    assert found is not None, "a lab in a process of its own"
    return found


def _cpu_s(lab: Lab) -> float:
    """CPU seconds of the server's process; Linux counts them in ns, others in ticks."""
    if sys.platform == "linux" and lab.pid is not None:
        with contextlib.suppress(OSError):
            return time.clock_gettime((~lab.pid << 3) | 2)  # clock_getcpuclockid(3) of that process
    return _usage(lab)["cpu_s"]


def _path(mode: str) -> str:
    return "/websocket/echo" if mode == PLAIN else "/websocket/echo?deflate=1"


async def _echoed(lab: Lab, mode: str, payloads: Sequence[bytes]) -> float:
    """Echo all of them; bytes on the wire of one answer, on average."""
    key = os.urandom(4)
    async with await RawSocket.open(lab.port, _path(mode), fields=OFFERS[mode]) as socket:
        asked = b"".join(encode_frame(Frame(Opcode.BINARY, payload, mask=key)) for payload in payloads)
        sending = asyncio.ensure_future(socket.send(asked))
        try:
            for _ in payloads:
                await socket.frame()
        finally:
            await cancelled(sending)
        return len(socket.raw) / len(payloads)


# W10


class _Echo(asyncio.Protocol):
    """Bare TCP: what comes goes back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


def against_tcp(
    lab: Lab,
    *,
    sizes: Sequence[int] = (1, 4, 16, 128, 1024, 16384),
    trips: int = 16,
    bare_trips: int = 150,
    one_way_s: float = 0.05,
) -> Beside:
    """Echo over a WebSocket and over bare TCP at the same time, through links of the same delay and with none.

    Args:
        sizes: payloads, in bytes.
        trips: round trips of each size through the links.
        bare_trips: round trips of 128 bytes with no network between.

    Raises:
        LabClosed: the lab is closed.
        ValueError: a payload of less than one byte, which bare TCP cannot echo.
    """
    if min(sizes) < 1:
        raise ValueError("bare TCP has no message of 0 bytes: sizes start at 1")
    return loop.run(_against_tcp(lab, sizes, trips, bare_trips, one_way_s))


async def _against_tcp(lab: Lab, sizes: Sequence[int], trips: int, bare_trips: int, one_way_s: float) -> Beside:
    started = datetime.now(UTC).isoformat()
    server = await asyncio.get_running_loop().create_server(_Echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with (
            Link(lab, one_way_s=one_way_s) as near_lab,
            Link(("127.0.0.1", port), one_way_s=one_way_s) as near_tcp,
            lateness() as late_ms,
        ):
            found = await asyncio.gather(*(_pair(near_lab.address[1], near_tcp.address[1], n, trips) for n in sizes))
        _, bare = await _pair(lab.port, port, 128, bare_trips, together=False)
    finally:
        server.close()
    counted = {size: result[0] for size, result in zip(sizes, found, strict=True)}
    taken = {size: result[1] for size, result in zip(sizes, found, strict=True)}
    return Beside(one_way_s, counted, taken, bare, quantile(late_ms, 0.95) / 1e3, {"started": started})


async def _pair(
    websocket_port: int, tcp_port: int, size: int, trips: int, *, together: bool = True
) -> tuple[tuple[int, int], list[tuple[float, float]]]:
    """Bytes of one trip over each, and the pairs of round trips, the WebSocket's first."""
    payload = random.Random(size).randbytes(size)
    bare = await Connection.open("127.0.0.1", tcp_port, Wiring(Ledger(0), "tcp", 0))
    try:
        async with await RawSocket.open(websocket_port, "/websocket/echo") as socket:
            await _trip(bare, payload)  # the link charges a handshake to what is sent first
            before = socket.record.bytes_total, bare.record.bytes_total
            pairs = []
            for _ in range(trips):
                over_websocket, over_tcp = _message(socket, payload), _trip(bare, payload)
                if together:
                    pairs.append(await asyncio.gather(over_websocket, over_tcp))
                else:
                    pairs.append((await over_websocket, await over_tcp))
            websocket_bytes = (socket.record.bytes_total - before[0]) // trips
            return (websocket_bytes, (bare.record.bytes_total - before[1]) // trips), pairs
    finally:
        bare.close()


async def _message(socket: RawSocket, payload: bytes) -> float:
    begun_ns = now_ns()
    await socket.send(Frame(Opcode.BINARY, payload, mask=os.urandom(4)))
    await socket.frame()
    return (now_ns() - begun_ns) / 1e9


async def _trip(connection: Connection, payload: bytes) -> float:
    begun_ns, left = now_ns(), len(payload)
    await connection.write(payload)
    while left > 0:
        left -= len(await connection.read())
    return (now_ns() - begun_ns) / 1e9
