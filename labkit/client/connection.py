"""One client connection over TCP, which counts every byte.

``Connection`` works on a non-blocking socket; each read and write goes into the ledger with its time. What the bytes
mean is said elsewhere: by ``http_connection.py`` for HTTP, by ``websocket.py`` for WebSocket. No wait of it is without
an end: what says nothing for long enough is taken for lost. TLS over it is in ``secure_connection.py``.

Not here: proxies (``proxy.py``). A lab client that hid those would hide what it measures.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeVar

from labkit.client.connecting import connect
from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.client.segments import read_segments
from labkit.client.tls import RECORD_BYTES, is_tls
from labkit.client.wiring import Wiring
from labkit.errors import ConnectionLost, TLSFailed
from labkit.sockets import READ_BYTES
from labkit.wire.events import now_ns
from labkit.wire.spans import Mark

TURN_NS = 5_000_000
"""For how long one connection may read on without giving the loop a turn."""
T = TypeVar("T")
Watch = Callable[[socket.socket, Callable[[], None]], None]
Forget = Callable[[socket.socket], bool]


class Late(ConnectionLost):
    """An answer that did not begin in time."""


class Connection:
    """One counted connection. Use :meth:`open`; close it in a ``finally``."""

    def __init__(self, sock: socket.socket, record: ConnectionRecord, wiring: Wiring) -> None:
        self._sock = sock
        self._ledger = wiring.ledger
        self.silence_s = wiring.silence_s
        self.read_silence_s: float | None = wiring.silence_s
        """How long a read waits; None: for as long as the connection lasts."""
        self._answer_s = wiring.answer_s
        self._loop = asyncio.get_running_loop()
        self.record = record
        self._turn_ns = 0
        self._has_come, self._takes_more = asyncio.Event(), asyncio.Event()
        self.received_ns = 0
        """When the newest read returned."""

    @classmethod
    async def open(cls, host: str, port: int, wiring: Wiring) -> Self:
        """Connect to *host*:*port*.

        Raises:
            ConnectionLost: nobody listens there, or the answer took too long.
        """
        opened_ns = now_ns()
        sock = await connect(host, port, wiring.mss, wiring.connect_s)
        try:
            local, remote = sock.getsockname()[:2], sock.getpeername()[:2]
        except OSError as error:
            sock.close()
            raise ConnectionLost(f"no connection to {host}:{port}: {error}") from None
        own_addresses.add(local)
        record = wiring.ledger.opened(wiring.technique, wiring.subscriber, local=local, remote=remote, t_ns=opened_ns)
        record.connected_ns = now_ns()
        return cls(sock, record, wiring)

    @property
    def begins_in(self) -> int:
        """Where the next byte lies, of all that it has carried, that a read brings."""
        return self.record.carried_in

    @property
    def issuer(self) -> str:
        """Who made the certificate of the other side; empty without TLS, and where it was not checked."""
        return ""

    async def read(self) -> bytes:
        """The next bytes; empty when the other side has ended the connection.

        Raises:
            ConnectionLost: it was reset, or nothing came for too long.
            TLSFailed: it speaks TLS, and is spoken to in plain text.
        """
        data = await self._received()
        if data:
            self.record.transferred("in", data, self.received_ns)
            if self.record.carried_in == len(data) and is_tls(data):
                self._refuse_tls()
        else:
            self.close(by="server")
        return data

    async def answer(self, begins: Coroutine[Any, Any, T], within_s: float | None = None) -> T:
        """What *begins* an answer, as long as it may take: by default, what the wiring says.

        Raises:
            ConnectionLost: it took longer. Or as *begins* raises.
        """
        try:
            return await self.in_time(begins, within_s)
        except Late:
            self.close()
            raise

    async def in_time(self, begins: Coroutine[Any, Any, T], within_s: float | None = None) -> T:
        """The same, with the connection left open where it takes longer."""
        limit_s = self._answer_s if within_s is None else within_s
        try:
            async with asyncio.timeout(limit_s):
                return await begins
        except TimeoutError:
            raise Late(f"no answer within {limit_s:.3g} s") from None

    async def _received(self) -> bytes:
        if self.received_ns - self._turn_ns > TURN_NS:  # who sends without a pause does not keep the loop from others
            self._turn_ns = self.received_ns
            await asyncio.sleep(0)
        while True:
            try:
                data = self._sock.recv(READ_BYTES)
                self.received_ns = now_ns()
                return data
            except BlockingIOError:
                await self._ready(
                    self._has_come, self._loop.add_reader, self._loop.remove_reader, self.read_silence_s, "nothing came"
                )
                self._turn_ns = now_ns()
            except OSError as error:
                self.close(by="reset")
                raise ConnectionLost(f"connection reset while reading: {error}") from None

    async def write(self, data: bytes) -> None:
        """Write all of *data*.

        Raises:
            ConnectionLost: the other side is gone, or takes nothing for too long.
        """
        while data:
            t_ns, sent = await self._send(data)
            self.record.transferred("out", data[:sent], t_ns)
            data = data[sent:]

    async def _send(self, data: bytes) -> tuple[int, int]:
        """Write as much of *data* as the system takes; when, and how many bytes."""
        while True:
            t_ns = now_ns()
            try:
                return t_ns, self._sock.send(data)
            except BlockingIOError:
                taken = "the other side has taken nothing"
                await self._ready(
                    self._takes_more, self._loop.add_writer, self._loop.remove_writer, self.silence_s, taken
                )
            except OSError as error:
                self.close(by="reset")
                raise ConnectionLost(f"connection reset while writing: {error}") from None

    def accepted(self, ledger: Ledger | None = None) -> None:
        """Put down that what was just read is a success, by the rules of what is spoken here.

        Args:
            ledger: of the client whose it is, where several share the connection.
        """
        (ledger or self._ledger).accepted_ns = self.received_ns

    async def _ready(
        self, ready: asyncio.Event, watch: Watch, forget: Forget, silence_s: float | None, silent: str
    ) -> None:
        """Wait for the socket, or until it is closed by somebody else, who wakes all that wait."""
        ready.clear()
        watch(self._sock, ready.set)
        try:
            async with asyncio.timeout(silence_s):
                await ready.wait()
        except TimeoutError:
            self.close()
            raise ConnectionLost(f"{silent} for {silence_s:.3g} s") from None
        finally:
            if self._sock.fileno() >= 0:
                forget(self._sock)
        if self._sock.fileno() < 0:
            raise ConnectionLost("the connection was closed meanwhile")

    @property
    def ended(self) -> bool:
        """Whether it is of no more use: closed, or the other side has ended it while nothing was asked."""
        if not self.closed:
            try:
                if self._is_over():
                    self.close(by="server")
            except BlockingIOError:
                pass
            except OSError:
                self.close(by="reset")
        return self.closed

    def _is_over(self) -> bool:
        return not self._sock.recv(1, socket.MSG_PEEK)

    @property
    def speaks(self) -> bool:
        """Whether something has come that nobody has read yet; ask :attr:`ended` first."""
        try:
            return not self.closed and bool(self._sock.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    @property
    def closed(self) -> bool:
        return self.record.closed_ns is not None

    def close(self, by: str = "client") -> None:
        """End the connection; the second call does nothing."""
        if not self.closed:
            read_segments(self._sock, self.record)
            self.record.closed_ns = now_ns()
            self.record.closed_by = by
            own_addresses.discard(self.record.local)
            self._loop.remove_reader(self._sock)  # who still waits is not to be woken for another socket of this number
            self._loop.remove_writer(self._sock)
            self._has_come.set()
            self._takes_more.set()
            self._sock.close()

    def say_last(self, data: bytes) -> None:
        """Write what can be written at once, before the connection is closed."""
        data, t_ns = data[:RECORD_BYTES], now_ns()
        if not self.closed and data:
            with contextlib.suppress(OSError):
                self._say(data, t_ns)

    def _say(self, data: bytes, t_ns: int) -> None:
        self.record.transferred("out", data[: self._sock.send(data)], t_ns)

    def _refuse_tls(self) -> None:
        self.record.mark_all([Mark("in", 0, self.record.carried_in, "tls", "TLS")])
        self.close()
        host, port = self.record.remote
        raise TLSFailed(f"{host}:{port} speaks TLS, and was spoken to in plain text; write https:// or wss://")


own_addresses: set[tuple[str, int]] = set()
"""Of the open connections in this process whose bytes are put down where they begin: clients' and relays'."""
