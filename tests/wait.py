"""Helpers for tests over real sockets: receivers on the lab loop, scripted servers, a relay that counts and cuts.

None of them sleeps to synchronize: each waits for what it names, and raises when that takes longer than it may.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import aclosing
from typing import Any

from conftest import UNIT
from labkit import loop
from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.errors import LabkitError
from labkit.techniques import Delivery, Technique
from labkit.wire.events import Gap

TIMEOUT_S = 10 * UNIT


def until(condition: Callable[[], Any], what: str = "", timeout_s: float = TIMEOUT_S) -> Any:
    """Wait until *condition* gives something true, and return that."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what or condition}")
        time.sleep(0.002)
    return value


class Receiver:
    """A technique's client on the lab loop; what it brings is in ``items``, in order.

    Args:
        url: the technique's address.
        stop_after: leave after this many items, in the middle of nothing.
        pause_after: read nothing more after this many items, until :meth:`resume`.
        resumes: connect again from the cursor of the newest item when the connection is lost.
    """

    def __init__(
        self,
        technique: Technique,
        url: str,
        *,
        stop_after: int | None = None,
        pause_after: int | None = None,
        resumes: bool = False,
        **options: Any,
    ) -> None:
        self.technique, self.url, self.options = technique, url, options
        self.stop_after, self.pause_after, self.resumes = stop_after, pause_after, resumes
        self.items: list[Delivery | Gap] = []
        self.begins: list[str] = []
        self.ledger = Ledger(64 << 20)
        self.error: LabkitError | None = None
        self.ended = False
        self.lost = 0
        self._changed = threading.Condition()
        self._gate = asyncio.Event()
        self._future = loop.submit(self._receive())

    async def _receive(self) -> None:
        after = self.options.pop("after", None)
        try:
            while True:
                try:
                    await self._connect(self.items[-1].cursor if self.items else after)
                    return
                except LabkitError as error:
                    if not self.resumes:
                        raise
                    self.lost += 1
                    self.error = error
                    await asyncio.sleep(0)
        except LabkitError as error:
            self.error = error
        finally:
            self._change(lambda: setattr(self, "ended", True))

    async def _connect(self, after: str | None) -> None:
        items = self.technique.connect(self.url, after=after, ledger=self.ledger, on_open=self._opened, **self.options)
        async with aclosing(items) as arriving:
            async for item in arriving:
                self._change(lambda item=item: self.items.append(item))
                if len(self.items) == self.stop_after:
                    return
                if len(self.items) == self.pause_after:
                    await self._gate.wait()

    def _opened(self, cursor: str) -> None:
        self._change(lambda: self.begins.append(cursor))

    def _change(self, how: Callable[[], Any]) -> None:
        with self._changed:
            how()
            self._changed.notify_all()

    def wait(self, condition: Callable[[], Any], timeout_s: float = TIMEOUT_S) -> None:
        """Wait until *condition* holds; it is asked again whenever something has arrived."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout_s):
                raise AssertionError(f"{self.technique.name}: not within {timeout_s} s; {self!r}")

    def wait_for(self, count: int) -> list[Delivery | Gap]:
        """Wait until *count* items have come."""
        self.wait(lambda: len(self.items) >= count or (self.ended and not self.resumes))
        assert len(self.items) >= count, repr(self)
        return self.items

    def wait_end(self, timeout_s: float = TIMEOUT_S) -> None:
        self.wait(lambda: self.ended, timeout_s)

    def resume(self) -> None:
        loop.get_loop().call_soon_threadsafe(self._gate.set)

    @property
    def deliveries(self) -> list[Delivery]:
        return [item for item in self.items if isinstance(item, Delivery)]

    @property
    def ids(self) -> list[int]:
        return [item.event_id for item in self.deliveries]

    @property
    def gaps(self) -> list[Gap]:
        return [item for item in self.items if isinstance(item, Gap)]

    @property
    def received(self) -> bytes:
        """Every byte that came in, over all connections."""
        return b"".join(bytes_of(record, "in") for record in self.ledger.connections)

    def close(self) -> None:
        """Leave, as a client that was cancelled does."""
        self._future.cancel()
        self.wait_end()

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        tail = ", ".join(map(str, self.items[-2:]))[:200]
        return f"<Receiver {self.technique.name}: {len(self.items)} items, ended={self.ended}, {self.error!r}, {tail}>"


def bytes_of(record: ConnectionRecord, direction: str) -> bytes:
    """What one direction of a connection carried."""
    return b"".join(transfer.data for transfer in record.transfers if transfer.direction == direction)


def check_marks(record: ConnectionRecord) -> None:
    """Every byte of each direction is marked exactly once, and the counters say the same."""
    for direction, total in (("in", record.bytes_in), ("out", record.bytes_out)):
        at = 0
        for mark in sorted((m for m in record.marks if m.direction == direction), key=lambda m: m.start):
            assert mark.start == at, f"{record.technique} {direction}: {at} to {mark.start} unmarked or twice; {mark}"
            at = mark.stop
        around = bytes_of(record, direction)[at - 20 : at + 60]  # type: ignore[arg-type]
        assert at == total, f"{record.technique} {direction}: {at} of {total} bytes are marked; {around!r}"
    assert sum(record.by_category.values()) == record.bytes_total


# -- raw sockets -----------------------------------------------------------------------------------------------------


def dial(port: int, data: bytes = b"", *, receive_buffer_bytes: int | None = None) -> socket.socket:
    """A plain blocking socket to a port of this machine, with *data* sent."""
    sock = socket.socket()
    if receive_buffer_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    sock.settimeout(TIMEOUT_S)
    sock.connect(("127.0.0.1", port))
    sock.sendall(data)
    return sock


def get(target: str, *fields: str, version: str = "1.1") -> bytes:
    """A GET request with those header fields."""
    return "\r\n".join([f"GET {target} HTTP/{version}", "Host: 127.0.0.1", *fields, "", ""]).encode()


def read_until(sock: socket.socket, end: bytes) -> bytes:
    """Read up to and with *end*; what is there without it, when the other side ends first."""
    data = b""
    while not data.endswith(end):
        more = sock.recv(1)
        if not more:
            break
        data += more
    return data


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def reset(sock: socket.socket) -> None:
    """Close with a reset instead of a FIN."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@contextlib.contextmanager
def serving(*scripts: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server of scripts: the n-th connection gets the n-th, the last one all later ones. Yields its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def serve(sock: socket.socket, script: Callable[[socket.socket], None]) -> None:
        sock.settimeout(TIMEOUT_S)
        with sock, contextlib.suppress(OSError):
            script(sock)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                script = scripts[min(len(threads), len(scripts) - 1)]
                threads.append(threading.Thread(target=serve, args=(sock, script)))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        for thread in threads:
            thread.join()


class CountingRelay:
    """A TCP relay of threads and blocking sockets that shares nothing with the package but the bytes.

    Args:
        port: where to relay to.
        cut_after: how many bytes towards the client the n-th connection carries before both sides are reset.

    Attributes:
        up, down: what came from and went to each client, by the client's port.
    """

    def __init__(self, port: int, cut_after: Callable[[int], int | None] = lambda n: None) -> None:
        self._target = ("127.0.0.1", port)
        self._cut_after = cut_after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.up: dict[int, bytes] = {}
        self.down: dict[int, bytes] = {}
        self._pumps_ended: Counter[int] = Counter()
        self._threads = [threading.Thread(target=self._accept)]
        self._sockets: list[socket.socket] = []
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, (_, client) = self._listener.accept()
                far = socket.create_connection(self._target)
                self._sockets += [near, far]
                budget = self._cut_after(len(self.up))
                self.up[client] = self.down[client] = b""
                pumps = [
                    threading.Thread(target=self._pump, args=(near, far, self.up, client, None)),
                    threading.Thread(target=self._pump, args=(far, near, self.down, client, budget)),
                ]
                self._threads += pumps
                for pump in pumps:
                    pump.start()

    def _pump(
        self, source: socket.socket, sink: socket.socket, seen: dict[int, bytes], client: int, budget: int | None
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                data = data if budget is None else data[: budget - len(seen[client])]
                seen[client] += data
                sink.sendall(data)
                if len(seen[client]) == budget:
                    for sock in (sink, source):
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        sock.shutdown(socket.SHUT_RD)
                        sock.close()
                    break
            else:
                sink.shutdown(socket.SHUT_WR)
        self._pumps_ended[client] += 1

    def ended(self, client: int) -> bool:
        """Whether both directions of that client's connection are over."""
        return self._pumps_ended[client] == 2

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for sock in self._sockets:
            sock.close()

    def __enter__(self) -> CountingRelay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
