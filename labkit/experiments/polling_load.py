"""The experiments of 01_polling that look at the server and at single exchanges: P3, P4, P5."""

from __future__ import annotations

import contextlib
import math
import select
import socket
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from labkit import loop, schedules
from labkit.checks.polling_load_seen import Burden, Overheads, Revalidated
from labkit.connection import HTTPClient, Wiring
from labkit.lab import Lab
from labkit.ledger import Ledger
from labkit.measurement import measure
from labkit.progress import Progress
from labkit.runs import Run
from labkit.server import available_connections

KINDS = ("kept alive", "closed each time", "websocket")
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
PONG = b"\x8a\x80\0\0\0\0"  # masked with zeros, empty
TIME_WAIT = "06"
READ_TIMEOUT_S = 10.0


# P3: what clients cost the server


def weigh(*, batch: int = 120, batches: int = 4, rounds: int = 4, heartbeat_s: float = 0.5) -> Burden:
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
    return Burden(memory, descriptors, cpu, 15.0, time_wait, closed, _kernel_bytes(), settings=settings)


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
        began_s = time.monotonic()
        clients.answer_pings(1.0)
        beats = (time.monotonic() - began_s) / heartbeat_s * len(clients.held)
        return (clients.cpu_s() - before_s) / beats * 1e6
    clients.poll(polls)
    return (clients.cpu_s() - before_s) / polls * 1e6


class Clients:
    """Plain sockets of one kind at one lab, in this process; what they cost is read from the lab's."""

    def __init__(self, lab: Lab, kind: str) -> None:
        import psutil

        self.lab = lab
        self.kind = kind
        self.held: list[socket.socket] = []
        self.polls = 0
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
        return self

    def __exit__(self, *_: object) -> None:
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
            self.answer_pings(0.05)

    def poll(self, count: int) -> None:
        """So many polls: over the held connections in turn, or over one connection each."""
        if self.kind == "closed each time":
            self.add(count)
        else:
            for number in range(count):
                self._ask(self.held[number % len(self.held)])

    def answer_pings(self, seconds: float) -> None:
        """Read what the server sends on held WebSockets and answer each ping; for so long."""
        until_s = time.monotonic() + seconds
        with contextlib.closing(select.epoll()) as ready:
            by_number = {sock.fileno(): sock for sock in self.held}
            for number in by_number:
                ready.register(number, select.EPOLLIN)
            while (left_s := until_s - time.monotonic()) > 0:
                for number, _ in ready.poll(min(0.05, left_s)):
                    data = by_number[number].recv(4096)
                    if b"\x89" in data:  # the opcode of a ping; what else comes here is JSON, in ASCII
                        by_number[number].send(PONG)
                    elif not data:
                        ready.unregister(number)

    def _open(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.lab.port), READ_TIMEOUT_S)

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
        endings = {"kept alive": b"}", "websocket": b"}"}
        return self.kind in endings and got.endswith(endings[self.kind])

    def resident_bytes(self) -> int:
        return int(self._process.memory_info().rss)

    def descriptors(self) -> int:
        """The server's open ones; those that a client has just closed are waited for."""
        count, until_s = int(self._process.num_fds()), time.monotonic() + 1.0
        while time.monotonic() < until_s:
            time.sleep(0.01)
            if (now := int(self._process.num_fds())) == count:
                return count
            count = now
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


def _kernel_bytes() -> int | None:
    """What the kernel keeps for one end of an idle TCP connection; None where it does not say."""
    try:
        lines = Path("/proc/slabinfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    sizes = {name: int(size) for name, _, _, size, *_ in (line.split() for line in lines[2:])}
    return sizes.get("TCP")


# P4: If-None-Match


def revalidate(lab: Lab, sizes: tuple[int, ...] = (0, 1, 2, 3, 4, 6, 8, 16, 32, 64)) -> Revalidated:
    """Poll topics that hold so many events of 20 bytes, with a cursor and for the whole, plainly and with an ETag."""
    import pandas as pd

    topic = f"resource-{time.monotonic_ns()}"
    rows = [row for size in sizes for row in _revalidate(lab, f"{topic}-{size}", size)]
    return Revalidated(pd.DataFrame(rows), {"started": datetime.now(UTC).isoformat()})


def _revalidate(lab: Lab, topic: str, size: int) -> Iterator[dict[str, Any]]:
    for number in range(size):
        lab.publish(schedules.payload(number + 1, 20), topic)
    cursor = lab.cursor(topic)
    cases = [(how, conditional) for how in ("cursor", "whole") for conditional in (False, True)]
    client = HTTPClient(lab.url_of("polling"), topic=topic, token=None, wiring=Wiring(Ledger(0), "polling"))
    try:
        before = {case: loop.run(_poll(client, cursor, *case)) for case in cases}
        etags = {case: found[3] for case, found in before.items()}
        again = {case: loop.run(_poll(client, cursor, *case, etag=etags[case])) for case in cases}
        lab.publish(schedules.payload(size + 1, 20), topic)
        changed = {case: loop.run(_poll(client, cursor, *case, etag=etags[case])) for case in cases}
    finally:
        client.close()
    for case in cases:
        how, conditional = case
        yield {
            "events": size,
            "resource_bytes": before["whole", False][2],
            "how": how,
            "conditional": conditional,
            "status": again[case][0],
            "bytes": again[case][1],
            "changed_status": changed[case][0],
            "changed_bytes": changed[case][1],
        }


async def _poll(
    client: HTTPClient, cursor: str, how: str, conditional: bool, *, etag: str = ""
) -> tuple[int, int, int, str]:
    """Status, bytes both ways, bytes of the body, and the ETag of one poll."""
    http = await client.connected()
    before = http.record.bytes_total
    query = {"after": "0" if how == "whole" else cursor, "etag": "1" if conditional else None}
    await client.ask(query, {"If-None-Match": etag} if conditional and etag else {})
    response, text = await client.answer()
    return response.status, http.record.bytes_total - before, len(text.encode()), response.headers.get("etag", "")


# P5: overhead of a message


def overheads(
    lab: Lab, *, each: int = 4, every_s: float = 0.2, duration_s: float = 2.4, one_way_s: float = 0.05
) -> Overheads:
    """One message for each poll, as in the published tables, through polling and WebSocket."""
    schedule = schedules.periodic(1 / every_s, duration_s, seed=5)
    run = measure(
        lab, ["polling", "websocket"], schedule, one_way_s=one_way_s, poll_interval_s=every_s, subscribers=each
    )
    found: dict[str, list[tuple[float, float]]] = {"polling": [], "websocket": []}
    for technique, mine in found.items():
        mine += [_overhead(run, technique, subscriber) for subscriber in range(each)]
    opened = [record.by_category["headers"] for record in run.ledger.of("websocket")]
    pairs = tuple(found["polling"]), tuple(found["websocket"])
    return Overheads(*pairs, sum(opened) / len(opened), len(run.published), run, dict(run.settings))


def _overhead(run: Run, technique: str, subscriber: int) -> tuple[float, float]:
    """Headers and framing of one message, and its TCP/IP headers.

    Of a WebSocket only the frames that carried events: not its opening, though the segments of that are counted.
    """
    records = [record for record in run.ledger.of(technique) if record.subscriber == subscriber]
    derived = sum(math.nan if record.tcp_ip_bytes is None else record.tcp_ip_bytes for record in records)
    if technique == "polling":
        polls = sum(record.requests for record in records)
        bare = sum(record.by_category["headers"] + record.by_category["framing"] for record in records)
        return bare / polls, derived / polls
    # a frame's header is known to be an event's by what follows it
    frames = [mark for record in records for mark in record.marks if mark.direction == "in"]
    bare = sum(
        mark.stop - mark.start
        for mark, after in pairwise(frames)
        if mark.category == "framing" and after.event_id is not None
    )
    return bare / len(run.published), derived / len(run.published)
