"""What a measurement's own apparatus adds at least: the floor, and how long the loop that receives was held up.

Each event also goes over a bare socket pair that is read on the lab loop; how long that takes is the floor, a lower
bound: no HTTP, no fan-out and no other process is in it. It sees a loop that is held up only where an event falls in
it, so the loop is watched as well.

What Python's collector of cycles takes is none of the network's time: a full look at a notebook's objects, runs of
before among them, stops every thread for a tenth of a second or more. A run that ends spares the loop that.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import struct
from collections import deque
from collections.abc import Iterator

from labkit.wire.events import now_ns

WATCH_S = 0.005
LATE_MS = 2.0  # a timer's own rounding is no hold-up
FROZEN_BY_NOBODY = 10_000
"""Objects, fewer of which Python itself keeps from the collector (3.12: 375)."""
_FLOOR = struct.Struct("!q")


class Apparatus:
    """The floor and the watch of one run. Starts and stops on the lab loop.

    Args:
        keep: how many of the newest floors to keep; by default all.

    Attributes:
        floor_ms: how long each event took over the socket pair.
        held_up_ms: how late the loop came back to its watch: in all, at most, and how many times.
    """

    def __init__(self, keep: int | None = None) -> None:
        self.floor_ms: deque[float] = deque(maxlen=keep)
        self.held_up_ms = {"total": 0.0, "max": 0.0, "times": 0}
        self._ends: tuple[socket.socket, ...] = ()
        self._watching: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to read the floor, and to watch the loop."""
        self._ends = floor_in, _ = socket.socketpair()
        self._watching = [asyncio.ensure_future(watch) for watch in (self._read_floor(floor_in), self._watch_loop())]

    def published(self) -> None:
        """An event was published now: send it over the socket pair too. Safe from any thread."""
        if self._ends:
            with contextlib.suppress(OSError):
                self._ends[1].send(_FLOOR.pack(now_ns()))

    async def stop(self) -> None:
        """End both, and close the socket pair. What they noted stays."""
        for watch in self._watching:
            watch.cancel()
        try:
            await asyncio.gather(*self._watching, return_exceptions=True)
        finally:
            for end in self._ends:
                end.close()

    async def _read_floor(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        running, rest = asyncio.get_running_loop(), b""
        while data := await running.sock_recv(sock, 4096):
            received_ns = now_ns()
            rest += data
            while len(rest) >= _FLOOR.size:
                self.floor_ms.append((received_ns - _FLOOR.unpack_from(rest)[0]) / 1e6)
                rest = rest[_FLOOR.size :]

    async def _watch_loop(self) -> None:
        while True:
            began_ns = now_ns()
            await asyncio.sleep(WATCH_S)
            late_ms = (now_ns() - began_ns) / 1e6 - WATCH_S * 1e3
            if late_ms > LATE_MS:
                before = self.held_up_ms
                self.held_up_ms = {
                    "total": before["total"] + late_ms,
                    "max": max(before["max"], late_ms),
                    "times": before["times"] + 1,
                }


@contextlib.contextmanager
def looking_at_what_is_new() -> Iterator[None]:
    """Meanwhile the collector leaves alone what was there before; if somebody has told it so already, that stays."""
    ours = gc.get_freeze_count() < FROZEN_BY_NOBODY
    if ours:
        gc.freeze()
    try:
        yield
    finally:
        if ours:
            gc.unfreeze()
