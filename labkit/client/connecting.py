"""A TCP connection to a name: each of its addresses gets its chance, and none keeps the others waiting (RFC 8305)."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from typing import Any

from labkit.errors import ConnectionLost
from labkit.sockets import send_at_once, set_mss

CONNECT_TIMEOUT_S = 10.0
ATTEMPT_DELAY_S = 0.25  # "Connection Attempt Delay", RFC 8305 section 5

_Place = tuple[int, int, int, Any]
"""Family, kind, protocol and address of a socket."""


async def connect(host: str, port: int, mss: int | None, timeout_s: float = CONNECT_TIMEOUT_S) -> socket.socket:
    """A socket that is connected to *host*:*port*, for a loop's use.

    Raises:
        ConnectionLost: there is no such name, nobody listens there, or the answer took longer than *timeout_s*.
    """
    try:
        async with asyncio.timeout(timeout_s):  # before 3.12, wait_for may lose a cancellation
            places = await _resolve(host, port)
            return await (_attempt(places[0], mss) if len(places) == 1 else _first(places, mss))
    except TimeoutError:
        raise ConnectionLost(f"no connection to {host}:{port}: not within {timeout_s:.3g} s") from None
    except OSError as error:
        raise ConnectionLost(f"no connection to {host}:{port}: {error}") from None


async def _resolve(host: str, port: int) -> list[_Place]:
    """Where to connect to. An address in digits needs no resolver, and so no other thread."""
    wanted = {"type": socket.SOCK_STREAM}
    try:
        try:
            found = socket.getaddrinfo(host, port, flags=socket.AI_NUMERICHOST, **wanted)
        except socket.gaierror:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, **wanted)
    except (OSError, UnicodeError) as error:
        raise ConnectionLost(f"no address for {host}: {error}") from None
    seen = Counter[int]()
    places: list[tuple[int, _Place]] = []
    for family, kind, proto, _, address in found:
        places.append((seen[family], (family, kind, proto, address)))
        seen[family] += 1
    return [place for _, place in sorted(places, key=lambda each: each[0])]  # families take turns (section 4)


async def _attempt(place: _Place, mss: int | None) -> socket.socket:
    *kind, address = place
    sock = socket.socket(*kind)
    try:
        sock.setblocking(False)
        send_at_once(sock)
        if mss is not None:
            set_mss(sock, mss)
        await asyncio.get_running_loop().sock_connect(sock, address)
        sock.getpeername()  # raises if it was reset at once
    except BaseException:
        sock.close()
        raise
    return sock


async def _first(places: list[_Place], mss: int | None) -> socket.socket:
    """The first that answers. The next one begins when the one before has failed, or has not answered for a while."""
    waiting, under_way, failed = list(places), set[asyncio.Task[socket.socket]](), list[str]()
    won: socket.socket | None = None
    try:
        while won is None and (waiting or under_way):
            if waiting:
                under_way.add(asyncio.create_task(_attempt(waiting.pop(0), mss)))
            limit_s = ATTEMPT_DELAY_S if waiting else None
            done, _ = await asyncio.wait(under_way, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (error := task.exception()) is not None:
                    failed.append(str(error))
                    under_way.discard(task)
                elif won is None:
                    won = task.result()
                    under_way.discard(task)
    finally:
        for task in under_way:
            task.cancel()
        for late in await asyncio.gather(*under_way, return_exceptions=True):
            if isinstance(late, socket.socket):
                late.close()
    if won is None:
        raise OSError("; ".join(dict.fromkeys(failed)))
    return won
