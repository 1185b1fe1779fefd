"""One client connection over TCP that counts every byte.

``Connection`` works on a non-blocking socket; each read and write goes into the ledger with its time. What the bytes
mean is said elsewhere: by ``http_connection.py`` for HTTP, by ``websocket.py`` for WebSocket.

Not here: TLS and proxies. A lab client that hid those would hide what it measures.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.client.segments import read_segments
from labkit.errors import ConnectionLost
from labkit.sockets import MSS, READ_BYTES, send_at_once, set_mss
from labkit.wire.events import now_ns

CONNECT_TIMEOUT_S = 10.0

Opened = Callable[[str], None]
"""Told the cursor at which a subscription begins, as soon as the client knows it."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """Where a client's bytes are put down, and as whose."""

    ledger: Ledger
    technique: str
    subscriber: int = 0
    mss: int | None = MSS


class Connection:
    """One counted TCP connection. Use :meth:`open`; close it in a ``finally``."""

    def __init__(self, sock: socket.socket, record: ConnectionRecord, ledger: Ledger) -> None:
        self._sock = sock
        self._ledger = ledger
        self._loop = asyncio.get_running_loop()
        self.record = record
        self.received_ns = 0
        """When the newest read returned."""

    @classmethod
    async def open(cls, host: str, port: int, wiring: Wiring) -> Connection:
        """Connect to *host*:*port*.

        Raises:
            ConnectionLost: nobody listens there, or the answer took too long.
        """
        family, kind, proto, address = await _resolve(host, port)
        sock = socket.socket(family, kind, proto)
        try:
            sock.setblocking(False)
            send_at_once(sock)
            if wiring.mss is not None:
                set_mss(sock, wiring.mss)
            opened_ns = now_ns()
            async with asyncio.timeout(CONNECT_TIMEOUT_S):  # before 3.12, wait_for may lose a cancellation
                await asyncio.get_running_loop().sock_connect(sock, address)
            local, remote = sock.getsockname()[:2], sock.getpeername()[:2]  # raises if it was reset at once
        except (OSError, TimeoutError) as error:
            sock.close()
            raise ConnectionLost(f"no connection to {host}:{port}: {error or 'timed out'}") from None
        except BaseException:
            sock.close()
            raise
        own_addresses.add(local)
        record = wiring.ledger.opened(wiring.technique, wiring.subscriber, local=local, remote=remote, t_ns=opened_ns)
        record.connected_ns = now_ns()
        return cls(sock, record, wiring.ledger)

    async def read(self) -> bytes:
        """The next bytes; empty when the other side has ended the connection.

        Raises:
            ConnectionLost: the connection was reset.
        """
        try:
            data = await self._loop.sock_recv(self._sock, READ_BYTES)
        except OSError as error:
            self.close(by="reset")
            raise ConnectionLost(f"connection reset while reading: {error}") from None
        self.received_ns = now_ns()
        if data:
            self.record.transferred("in", data, self.received_ns)
        else:
            self.close(by="server")
        return data

    async def write(self, data: bytes) -> None:
        """Write all of *data*. Raises ConnectionLost when the other side is gone."""
        while data:
            t_ns = now_ns()
            try:
                sent = self._sock.send(data)
            except BlockingIOError:
                await self._writable()
                continue
            except OSError as error:
                self.close(by="reset")
                raise ConnectionLost(f"connection reset while writing: {error}") from None
            self.record.transferred("out", data[:sent], t_ns)
            data = data[sent:]

    def accepted(self) -> None:
        """Put down that what was just read is a success, by the rules of what is spoken here."""
        self._ledger.accepted_ns = self.received_ns

    async def _writable(self) -> None:
        ready = asyncio.Event()
        self._loop.add_writer(self._sock, ready.set)
        try:
            await ready.wait()
        finally:
            self._loop.remove_writer(self._sock)

    @property
    def ended(self) -> bool:
        """Whether it is of no more use: closed, or the other side has ended it while nothing was asked."""
        if not self.closed:
            try:
                if not self._sock.recv(1, socket.MSG_PEEK):
                    self.close(by="server")
            except BlockingIOError:
                pass
            except OSError:
                self.close(by="reset")
        return self.closed

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
            self._sock.close()


own_addresses: set[tuple[str, int]] = set()
"""Of the open connections in this process whose bytes are put down where they begin: clients' and relays'."""


async def _resolve(host: str, port: int) -> tuple[int, int, int, Any]:
    """Where to connect to. An address in digits needs no resolver, and so no other thread."""
    wanted = {"type": socket.SOCK_STREAM}
    try:
        try:
            found = socket.getaddrinfo(host, port, flags=socket.AI_NUMERICHOST, **wanted)
        except socket.gaierror:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, **wanted)
    except OSError as error:
        raise ConnectionLost(f"no address for {host}: {error}") from None
    family, kind, proto, _, address = found[0]
    return family, kind, proto, address
