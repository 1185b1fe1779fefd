"""The network between client and server: a TCP relay with delay, jitter, a rate, and faults on command.

The bytes of each direction are read as they come, stamped, and written one network transit later, so the delay
does not limit the throughput. FIN and RST travel the same way, in their place in the byte order.

A relay in user space answers the SYN itself, so the client believes that it is connected at once. What a client does
before it hears from the server is therefore charged with the handshake: the relay opens its connection to the
target, and hands over the first bytes, three transits after the client's connect (SYN, SYN-ACK, and ACK with
the request). A refusal shows as a reset after that time, not as a failed connect.

What a relay of TCP cannot show, because the kernels on both sides of it talk over loopback: packet loss and
retransmission time-outs, slow start and congestion control, delayed acknowledgements, reordered or corrupted
packets. Latencies through a link are those of a network that loses nothing and whose windows are always open.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import socket
from collections import deque
from numbers import Real

from labkit.client.ledger import Ledger
from labkit.network.relay import Conversation, Relay
from labkit.network.relay_target import Target
from labkit.network.relay_wire import Flow, Wire
from labkit.sockets import MSS
from labkit.theory import Stretch
from labkit.theory.durations import ONE_WAY_S, seconds

_WATCH_S = 0.05
_UNLIMITED_IN_FLIGHT_BYTES = 4 << 20
_SLICE_S = 0.005  # with a rate, a read is handed on in pieces of this length: a network trickles
_FIN = b""


class Link(Relay):
    """A TCP relay that stands for a network path.

    Settings may be changed while it runs; they hold for bytes read from then on, and order is kept.

    Args:
        target: a lab, a relay or ``(host, port)``; may be given later, to ``bind``.
        one_way_s: one network transit, in seconds, in each direction.
        jitter_s: each read takes up to this much longer (uniform, seeded); never reorders.
        rate_bytes_per_s: bytes per second of each direction of each connection; None: no limit. Connections do
            not share it: each stands for a subscriber with an access line of its own.
        handshake: charge new connections with the time of the TCP handshake.
        seed: of the jitter.
        ledger: where the captures go, a new one by default.
        name: its hops are called ``NAME.near`` and ``NAME.far``.
        mss: TCP_MAXSEG of its sockets; None leaves the platform's.

    Raises:
        DurationError: a delay or jitter that is negative, or beyond what makes sense in seconds.
        ValueError: a rate that is not positive, or a segment size that is none.
    """

    def __init__(
        self,
        target: Target | None = None,
        *,
        one_way_s: float = 0.05,
        jitter_s: float = 0.0,
        rate_bytes_per_s: float | None = None,
        handshake: bool = True,
        seed: int = 0,
        ledger: Ledger | None = None,
        name: str = "link",
        mss: int | None = MSS,
    ) -> None:
        super().__init__(target, ledger=ledger, name=name, mss=mss)
        self._one_way_s, self._jitter_s = 0.0, 0.0
        self._rate: float | None = None
        self.one_way_s = one_way_s
        self.jitter_s = jitter_s
        self.rate_bytes_per_s = rate_bytes_per_s
        self.handshake = handshake
        self.seed = seed

    @property
    def one_way_s(self) -> float:
        """One network transit in seconds."""
        return self._one_way_s

    @one_way_s.setter
    def one_way_s(self, value: float) -> None:
        value = seconds("one_way_s", value, ONE_WAY_S)
        self.disturbed += value != self._one_way_s
        self._one_way_s = value

    @property
    def jitter_s(self) -> float:
        """The most that a read is delayed beyond one transit, in seconds."""
        return self._jitter_s

    @jitter_s.setter
    def jitter_s(self, value: float) -> None:
        value = seconds("jitter_s", value, ONE_WAY_S)
        self.disturbed += value != self._jitter_s
        self._jitter_s = value

    @property
    def rate_bytes_per_s(self) -> float | None:
        """Bytes per second of each direction of each connection; None: no limit."""
        return self._rate

    @rate_bytes_per_s.setter
    def rate_bytes_per_s(self, value: float | None) -> None:
        if value is not None and not (_is_number(value) and value > 0):
            raise ValueError(f"rate_bytes_per_s must be a number above 0, or None for no limit, not {value!r}")
        self.disturbed += value != self._rate
        self._rate = value

    @property
    def stretch(self) -> Stretch:
        obstacle = f"{self.name} has a limited rate: what an event takes depends on its bytes" if self._rate else ""
        return Stretch(self.name, self._one_way_s, self._jitter_s, self.handshake, obstacle=obstacle)

    @property
    def in_flight_bytes(self) -> int:
        """How much of one direction it takes in before its writer feels that the reader is slow.

        Without a rate 4 MiB, and so at most that much for each transit (80 MB/s at 50 ms). With a rate: two
        transits' worth and a little, about the queue of a well-kept router.
        """
        if self._rate is None:
            return _UNLIMITED_IN_FLIGHT_BYTES
        return max(1 << 14, int(self._rate * (2 * (self._one_way_s + self._jitter_s) + 4 * _SLICE_S)))

    def tune(self, sock: socket.socket) -> None:
        super().tune(sock)
        if self._rate is not None:  # else the kernel's receive buffer is a second, longer queue
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, max(1 << 14, int(self._rate * 2 * _SLICE_S)))

    async def _converse(self, talk: Conversation) -> None:
        ready_s = talk.accepted_s + (3 * self.one_way_s if self.handshake else 0)
        up = _Direction(self, talk.near, ready_s, f"{self.seed}/{talk.number}/out")
        try:
            async with asyncio.TaskGroup() as group:
                reading = [group.create_task(up.read())]
                await self.flow.until(ready_s)
                far = await talk.dial()
                down = _Direction(self, far, ready_s, f"{self.seed}/{talk.number}/in")
                reading.append(group.create_task(down.read()))
                writing = [group.create_task(up.write(far)), group.create_task(down.write(talk.near))]
                await up.delivered.wait()
                await down.delivered.wait()
                for task in (*reading, *writing):
                    task.cancel()
        except BaseExceptionGroup as ended:  # not `except*`: releases differ over what a raise in it becomes
            lost, others = ended.split(OSError)
            if others is not None:
                raise others from None
            raise ConnectionResetError("one side was reset, or the target refused") from lost


class _Direction:
    """One direction of one connection: what was read and is not yet written, with its time of release."""

    def __init__(self, link: Link, source: Wire, not_before_s: float, seed: str) -> None:
        self.delivered = asyncio.Event()
        self._link = link
        self._flow: Flow = link.flow
        self._source = source
        self._sink: Wire | None = None
        self._random = random.Random(seed)
        self._last_s = not_before_s
        self._queue: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._filled = asyncio.Event()
        self._room = asyncio.Event()

    async def read(self) -> None:
        """Take bytes in until FIN, then watch for RST.

        Raises:
            ConnectionResetError: RST came, one transit ago.
        """
        try:
            while data := await self._source.recv():
                self._take(data)
                await self._make_room()
            self._put(_FIN, self._release_s(0))
            while True:
                self._source.check()
                await asyncio.sleep(_WATCH_S)
        except ConnectionResetError:
            await self._flow.until(self._release_s(0))
            # what was sent before it is handed on before it, unless the receiver's window is shut
            while True:
                if not self._queue or (self._sink is not None and (self._sink.blocked or self._sink.lost)):
                    raise
                await asyncio.sleep(0.001)

    async def write(self, sink: Wire) -> None:
        """Hand on what is due, in order."""
        self._sink = sink
        while True:
            await self._next()
            release_s, data = self._queue[0]
            await self._flow.until(release_s)
            if data == _FIN:
                self._queue.clear()
                sink.finish()
                self.delivered.set()
                return
            try:
                await sink.send(data)
            except ConnectionResetError:
                return  # the one who reads from this wire reports it, after its transit back
            self._queue.popleft()
            self._held_bytes -= len(data)
            self._room.set()

    async def _next(self) -> None:
        while not self._queue:
            self._filled.clear()
            await self._filled.wait()

    async def _make_room(self) -> None:
        await asyncio.sleep(0)  # one read a turn: a fast sender does not starve the others
        while self._held_bytes >= self._link.in_flight_bytes:
            self._source.check()
            self._room.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WATCH_S):
                    await self._room.wait()

    def _take(self, data: bytes) -> None:
        rate = self._link.rate_bytes_per_s
        step = len(data) if rate is None else max(MSS, int(rate * _SLICE_S))
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            self._put(piece, self._release_s(len(piece)))

    def _put(self, data: bytes, release_s: float) -> None:
        self._queue.append((release_s, data))
        self._held_bytes += len(data)
        self._filled.set()

    def _release_s(self, size_bytes: int) -> float:
        """When bytes read now come out: after a transit and after those before them, the last bit included."""
        link = self._link
        due_s = self._flow.now() + link.one_way_s + link.jitter_s * self._random.random()
        serialisation_s = size_bytes / link.rate_bytes_per_s if link.rate_bytes_per_s else 0.0
        self._last_s = max(due_s, self._last_s) + serialisation_s
        return self._last_s


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
