"""One socket of a relay, and the clock that stands still while the relay is stalled.

Each read and write of a :class:`Wire` goes into the ledger with its time, so a relay's captures are true whatever it
does with the bytes. What that is, and what the wires lead to, is the affair of ``relay.py`` and its subclasses.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import Literal

from labkit.client.connection import own_addresses
from labkit.client.ledger import ConnectionRecord
from labkit.client.segments import read_segments
from labkit.network.observer import Observer
from labkit.sockets import READ_BYTES, RESET
from labkit.wire.events import now_ns
from labkit.wire.spans import Direction

_LINGER_S = 1.0


class Flow:
    """The clock of a relay: it stands still while the relay is stalled, and so does whatever waits on it."""

    def __init__(self) -> None:
        self._going = asyncio.Event()
        self._going.set()
        self._stopped_at = 0.0
        self._lost_s = 0.0

    def now(self) -> float:
        """Seconds, monotonic, less all the time spent stalled."""
        return (time.monotonic() if self._going.is_set() else self._stopped_at) - self._lost_s

    @property
    def stopped(self) -> bool:
        return not self._going.is_set()

    def stop(self) -> None:
        if self._going.is_set():
            self._stopped_at = time.monotonic()
            self._going.clear()

    def go(self) -> None:
        if not self._going.is_set():
            self._lost_s += time.monotonic() - self._stopped_at
            self._going.set()

    async def moving(self) -> None:
        """Return at once, or when the stall ends."""
        while not self._going.is_set():
            await self._going.wait()

    async def until(self, when_s: float) -> None:
        """Return once :meth:`now` has reached *when_s*, and never during a stall."""
        await self.moving()
        while (left_s := when_s - self.now()) > 0:
            await asyncio.sleep(left_s)
            await self.moving()


class Wire:
    """One socket of a relay. Each read and write is recorded as it happens; nothing happens during a stall."""

    def __init__(
        self, sock: socket.socket, record: ConnectionRecord, flow: Flow, *, near: bool, observer: Observer | None = None
    ) -> None:
        self.record = record
        self._observer = observer
        self.lost = False
        self._sock = sock
        self._flow = flow
        self._peer, self._other = ("client", "server") if near else ("server", "client")
        self._incoming: Direction = "out" if near else "in"
        self._outgoing: Direction = "in" if near else "out"
        self._waiting: dict[str, asyncio.Future[None]] = {}

    @property
    def blocked(self) -> bool:
        """Whether a send waits because the peer does not read."""
        return "write" in self._waiting

    async def recv(self) -> bytes:
        """The next bytes, as one read of the socket gave them; empty at the peer's FIN.

        Raises:
            ConnectionResetError: the peer sent RST, or this end is closed.
        """
        while True:
            await self._flow.moving()
            try:
                data = self._sock.recv(READ_BYTES)
                break
            except (BlockingIOError, InterruptedError):
                await self._ready("read")
            except OSError as error:
                raise self._broken() from error
        if data:
            self.record.transferred(self._incoming, data, now_ns())
            if self._observer is not None:
                self._observer.passed(self._incoming, data)
        elif self.lost:  # a failed send took the error; what is left looks like FIN
            raise self._broken()
        else:
            self._ended(self._peer)
        return data

    async def send(self, data: bytes) -> None:
        """Write all of *data*, waiting while the peer does not read.

        Raises:
            ConnectionResetError: the peer sent RST, or this end is closed.
        """
        view = memoryview(data)
        while view:
            await self._flow.moving()
            t_ns = now_ns()  # before: the peer may have read it before this thread has another turn
            try:
                sent = self._sock.send(view)
            except (BlockingIOError, InterruptedError):
                await self._ready("write")
                continue
            except OSError as error:
                raise self._broken() from error
            part = data if sent == len(data) else bytes(view[:sent])
            self.record.transferred(self._outgoing, part, t_ns)
            if self._observer is not None:
                self._observer.passed(self._outgoing, part)
            view = view[sent:]

    def catch_up(self) -> None:
        """Dissect what has passed up to now."""
        if self._observer is not None:
            self._observer.catch_up()

    def finish(self, by: str | None = None) -> None:
        """Send FIN; the other direction stays open."""
        self._ended(by or self._other)
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def check(self) -> None:
        """Raise ConnectionResetError if RST has come. Needed where nothing reads: after FIN, or when full."""
        try:
            self.lost = self.lost or self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
        except OSError:
            self.lost = True
        if self.lost:
            raise self._broken()

    def abort(self, by: str = "reset") -> None:
        """Close with RST; what the kernel had not delivered is lost."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close(by)

    def close(self, by: str = "relay") -> None:
        """Close both directions. Idempotent."""
        if (fd := self._sock.fileno()) < 0:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(fd)
        loop.remove_writer(fd)
        read_segments(self._sock, self.record, accepted=self._peer == "client")
        self._sock.close()
        own_addresses.discard(self.record.local)
        self._ended(by)
        self.record.closed_ns = now_ns()
        if self._observer is not None:
            self._observer.end()
        for waiting in self._waiting.values():
            _wake(waiting)

    async def linger(self, after: asyncio.Task[None]) -> None:
        """After FIN: drop what still comes until the peer closes too. To close on unread bytes sends RST.

        Args:
            after: the task that reads from this wire until it has ended.
        """
        await asyncio.wait([after])
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while True:
                    try:
                        if not self._sock.recv(READ_BYTES):
                            return
                    except BlockingIOError:
                        await self._ready("read")

    def _ended(self, by: str) -> None:
        if not self.record.closed_by:
            self.record.closed_by, self.record.ended_ns = by, now_ns()
            if self._observer is not None:
                self._observer.ending()

    def _broken(self) -> ConnectionResetError:
        self.lost = True
        self._ended("reset")
        return ConnectionResetError(f"the {self._peer} reset the connection")

    async def _ready(self, to: Literal["read", "write"]) -> None:
        loop, fd = asyncio.get_running_loop(), self._sock.fileno()
        add, remove = (loop.add_reader, loop.remove_reader) if to == "read" else (loop.add_writer, loop.remove_writer)
        waiting = self._waiting[to] = loop.create_future()
        add(fd, _wake, waiting)
        try:
            await waiting
        finally:
            del self._waiting[to]
            if self._sock.fileno() == fd:  # else it is closed, and the number may be another socket's by now
                remove(fd)


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
