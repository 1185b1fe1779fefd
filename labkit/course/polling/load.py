"""P3: what polling clients cost a server in a process of its own, beside WebSockets that are held."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from labkit.course.polling.seen_load import Burden
from labkit.lab.lab import Lab
from labkit.lab.server import available_connections
from labkit.progress import Progress
from labkit.sockets import dial, kernel_bytes

KINDS = ("kept alive", "closed each time", "websocket")
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
PING, PONG = b"\x89\0", b"\x8a\x80\0\0\0\0"  # both empty; the client's masked, with zeros
TIME_WAIT = "06"
READ_TIMEOUT_S = 10.0
SETTLE_S = 2.0


def weigh(*, batch: int = 120, batches: int = 4, rounds: int = 4, heartbeat_s: float = 1.0) -> Burden:
    """Memory, descriptors and CPU of a server in a process of its own, for each kind of client.

    Args:
        batch, batches: clients are added so many at a time, and what each batch adds is read.
        rounds: of polls by *batch* clients, and of waiting through a second of heartbeats.
        heartbeat_s: of the held WebSockets; short, so that a second holds some. Their cost is then reckoned for the
            kit's own 15 s.
    """
    settings = {"started": datetime.now(UTC).isoformat(), "batch": batch, "batches": batches, "rounds": rounds,
                "heartbeat_s": heartbeat_s}  # fmt: skip
    if sys.platform != "linux":
        return Burden(why="the counts are read from Linux's /proc", settings=settings)
    available_connections()
    progress, subjects = Progress(), dict[str, Clients]()
    memory, descriptors, cpu = (dict[str, tuple[float, ...]]() for _ in range(3))
    with contextlib.ExitStack() as stack:
        for kind in KINDS:
            progress.show(f"a server for clients of the kind: {kind}")
            beat_s = heartbeat_s if kind == "websocket" else 600.0
            lab = stack.enter_context(Lab(f"weighed-{kind}", process=True, heartbeat_s=beat_s))
            subjects[kind] = clients = stack.enter_context(Clients(lab, kind))
            clients.add(batch)  # everything is done once before it counts
            memory[kind], descriptors[kind] = _growth(clients, batch, batches)
        for number in range(rounds):
            progress.show(f"round {number + 1} of {rounds}")
            for kind, clients in subjects.items():
                cpu[kind] = (*cpu.get(kind, ()), _round(clients, batch, heartbeat_s))
        time_wait = subjects[KINDS[1]].time_wait()
        closed = subjects[KINDS[1]].polls
    progress.done()
    return Burden(memory, descriptors, cpu, 15.0, time_wait, closed, kernel_bytes(), settings=settings)


def _growth(clients: Clients, batch: int, batches: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What each batch of clients adds, for each client: resident KiB and descriptors."""
    kib, held = [], []
    for _ in range(batches):
        before = clients.resident_bytes(), clients.descriptors()
        clients.add(batch)
        kib.append((clients.resident_bytes() - before[0]) / 1024 / batch)
        held.append((clients.descriptors() - before[1]) / batch)
    return tuple(kib), tuple(held)


def _round(clients: Clients, polls: int, heartbeat_s: float) -> float:
    """The server's CPU, in µs, for each poll of a round; of WebSockets for each heartbeat in a second."""
    before_s = clients.cpu_s()
    if clients.kind == "websocket":
        beats = clients.beats
        clients.stopped.wait(heartbeat_s)
        return (clients.cpu_s() - before_s) / max(1, clients.beats - beats) * 1e6
    clients.poll(polls)
    return (clients.cpu_s() - before_s) / polls * 1e6


class Clients:
    """Plain sockets of one kind at one lab, in this process; what they cost is read from the lab's."""

    def __init__(self, lab: Lab, kind: str) -> None:
        import psutil

        self.lab = lab
        self.kind = kind
        self.held: list[socket.socket] = []
        self.polls = self.beats = 0
        self.stopped = threading.Event()
        self._ready = select.epoll()
        self._answering = threading.Thread(target=self._answer_pings, name="labkit-pongs", daemon=True)
        assert lab.pid is not None
        self._process = psutil.Process(lab.pid)
        host = f"Host: 127.0.0.1:{lab.port}\r\n"
        after = lab.cursor("")
        poll = f"GET /polling?after={after} HTTP/1.1\r\n{host}"
        self._requests = {
            "kept alive": f"{poll}\r\n",
            "closed each time": f"{poll}Connection: close\r\n\r\n",
            "websocket": f"GET /websocket HTTP/1.1\r\n{host}Connection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n",
        }

    def __enter__(self) -> Clients:
        self._answering.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self._answering.join()
        self._ready.close()
        for sock in self.held:
            sock.close()

    def add(self, count: int) -> None:
        """So many clients more: each opens a connection and asks once, and keeps it if its kind does."""
        for _ in range(count):
            sock = self._open()
            self._ask(sock)
            if self.kind == "closed each time":
                sock.close()
            else:
                self.held.append(sock)
            if self.kind == "websocket":
                self._ready.register(sock.fileno(), select.EPOLLIN)

    def poll(self, count: int) -> None:
        """So many polls: over the held connections in turn, or over one connection each."""
        if self.kind == "closed each time":
            self.add(count)
        else:
            for number in range(count):
                self._ask(self.held[number % len(self.held)])

    def _answer_pings(self) -> None:
        """On a thread of its own: a server lets a WebSocket go that does not answer its heartbeat."""
        while not self.stopped.is_set():
            for number, _ in self._ready.poll(0.05):
                try:
                    data = os.read(number, 4096)
                    if PING in data:  # what else comes here is JSON, in ASCII
                        os.write(number, PONG)
                        self.beats += 1
                except OSError:
                    data = b""
                if not data:
                    self._ready.unregister(number)

    def _open(self) -> socket.socket:
        return dial(self.lab.port, READ_TIMEOUT_S)

    def _ask(self, sock: socket.socket) -> None:
        sock.sendall(self._requests[self.kind].encode())
        self.polls += 1
        got = b""
        while not self._whole(got):
            got += (piece := sock.recv(4096))
            if not piece:
                break

    def _whole(self, got: bytes) -> bool:
        """Whether the answer is there; of a closed connection its end says so."""
        return self.kind != "closed each time" and got.endswith(b"}")

    def resident_bytes(self) -> int:
        return int(self._process.memory_info().rss)

    def descriptors(self) -> int:
        """The server's open ones; those that a client has just closed are waited for."""
        count, until_s = int(self._process.num_fds()), time.monotonic() + SETTLE_S
        steady_s = time.monotonic()
        while time.monotonic() < until_s and time.monotonic() - steady_s < SETTLE_S / 20:
            time.sleep(0.01)
            if (now := int(self._process.num_fds())) != count:
                count, steady_s = now, time.monotonic()
        return count

    def cpu_s(self) -> float:
        """CPU seconds of the server's process: Linux has a clock for each, to the nanosecond."""
        return time.clock_gettime(~self._process.pid << 3 | 2)

    def time_wait(self) -> int:
        """Sockets in TIME_WAIT with the server's port at either end."""
        port, count = f":{self.lab.port:04X}", 0
        for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
            _, local, remote, state, *_ = line.split()
            count += state == TIME_WAIT and port in (local[-5:], remote[-5:])
        return count
