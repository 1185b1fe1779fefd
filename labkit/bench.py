"""The bench: what one delivery and one held subscriber cost the server. ``python -m labkit bench [--quick]``.

Fan-out: server CPU per delivery, for labkit's ``direct`` and ``plain`` fan-out over WebSocket and SSE; beside them,
``broadcast()`` of the ``websockets`` library, and a bare loop of ``send()``. All servers hold their subscribers at
once, each in a process of its own on one core; the clients are on another. Rounds are interleaved and ratios taken
within a round, so that what else the machine does falls on all alike. One event is in flight at a time: the next is
published when every subscriber has the last. Memory: growth of the server's resident memory per subscriber held,
beyond the first few hundred.

The receiving end is a :class:`Sink`: raw sockets, compared to the byte with what the next event must look like. A run
in which one connection loses, repeats or swaps an event is void. Each process plays one role of this file: a sink, or
a server to compare with.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.metadata
import json
import os
import platform
import re
import select
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import labkit
from labkit.errors import LabkitError
from labkit.events import Event
from labkit.fanout import as_chunk
from labkit.lab import Lab
from labkit.server import SPARE_DESCRIPTORS, available_connections
from labkit.techniques import find
from labkit.techniques.sse import block
from labkit.techniques.websocket import text, text_frame
from labkit.wire.envelope import Start, encode

BROADCAST = "websockets broadcast()"
QUIET_S = 600.0  # heartbeats, pings and hold time-outs come after the end
GIVE_UP_S = 30.0
NAP_S = 0.001  # a sink asleep in epoll is woken by each send, at the server's expense and by chance
AT_ONCE = 64  # connections being made at a time
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}")
BEGINS = {  # an answer's beginning, up to and including the cursor that the stream starts from
    "websocket": re.compile(
        rb"HTTP/1\.1 101 .*" + re.escape(ACCEPT) + rb'.*\r\n\r\n..\{"cursor":"\d+@(\w+)"\}', re.DOTALL
    ),
    "sse": re.compile(rb"HTTP/1\.1 200 .*\r\n\r\n[0-9a-f]+\r\nid: ?\d+@(\w+)\n\n\r\n", re.DOTALL),
}


class Void(LabkitError):
    """A subscriber did not get every event once and in order: what was measured does not count."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is measured: fan-out rounds of some events each, and subscribers held, beyond a first few."""

    subscribers: int = 1000
    rounds: int = 12
    events: int = 40
    payload_bytes: int = 20
    held: int = 5000
    first: int = 500


# -- the receiving end -----------------------------------------------------------------------------------------------


class Sink:
    """Many client connections of one technique, each expecting the same events."""

    def __init__(self, technique: str, epoch: str = "") -> None:
        self.technique = technique
        self.epoch = epoch
        self.sockets: dict[int, socket.socket] = {}
        self.ready = select.epoll()

    def open(self, port: int, path: str, count: int) -> int:
        """Make *count* more connections; returns how many are held."""
        headers = [
            f"GET {path} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            *(UPGRADE if self.technique == "websocket" else ()),
        ]
        request = "\r\n".join([*headers, "", ""]).encode()
        for start in range(0, count, AT_ONCE):
            some = [socket.create_connection(("127.0.0.1", port)) for _ in range(min(AT_ONCE, count - start))]
            for sock in some:
                sock.sendall(request)
            for sock in some:
                if self.technique in BEGINS:
                    self.epoch = self._begin(sock)
                self.hold(sock)
        return len(self.sockets)

    def _begin(self, sock: socket.socket) -> str:
        sock.settimeout(GIVE_UP_S)
        got = b""
        while (match := BEGINS[self.technique].fullmatch(got)) is None:
            got += (piece := sock.recv(4096))
            if not piece or len(got) > 4096:
                raise Void(f"{self.technique}: not the beginning of a stream: {got[:200]!r}")
        return match[1].decode()

    def hold(self, sock: socket.socket) -> None:
        """Take a connection that is past its beginning."""
        sock.setblocking(False)
        self.sockets[sock.fileno()] = sock
        self.ready.register(sock, select.EPOLLIN)

    def wanted(self, event: Event) -> bytes:
        """What one subscriber must be sent for an event, to the byte."""
        if self.technique == "websocket":
            return text_frame(text(event, self.epoch))
        if self.technique == "sse":
            return as_chunk(block(event, self.epoch))
        return f'{{"events":[{encode(event)}],"cursor":"{event.id}@{self.epoch}"}}'.encode()

    def expect(self, event_id: int, data: str, give_up_s: float = GIVE_UP_S) -> int:
        """Wait until every connection got this event, and nothing else; returns how many did.

        Raises:
            Void: one did not.
        """
        wanted = self.wanted(Event(event_id, data, 0))
        head = b"\r\n\r\n" if self.technique == "long-polling" else b""
        parts: dict[int, bytes] = {}
        left, size = set(self.sockets), 4096 + len(wanted)
        give_up_s += time.monotonic()
        while left:
            time.sleep(NAP_S)
            ready = self.ready.poll(0)
            if not ready and time.monotonic() > give_up_s:
                raise Void(f"{self.technique}: {len(left)} of {len(self.sockets)} did not get event {event_id}")
            for number, _ in ready:
                got: bytes = self.sockets[number].recv(size)
                if got == wanted and number in left and number not in parts:
                    left.remove(number)
                    continue
                parts[number] = whole = parts.get(number, b"") + got
                body = whole.partition(head)[2] if head else whole
                if not got or number not in left or not wanted.startswith(body):
                    raise Void(f"{self.technique}: expected {wanted!r}, but the next bytes are {whole[-200:]!r}")
                if body == wanted:
                    left.remove(number)
        return len(self.sockets)

    def close(self) -> int:
        """End every connection; returns how many there were. Raises Void if one was sent more than expected."""
        more = len(self.ready.poll(0))
        for sock in self.sockets.values():
            sock.close()
        self.ready.close()
        if more:
            raise Void(f"{self.technique}: {more} subscribers were sent more than was published")
        return len(self.sockets)


def play_sink(technique: str, epoch: str) -> None:
    """The role of the clients: a command a line, an answer a line."""
    available_connections()
    sink = Sink(technique, epoch)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer = {"value": getattr(sink, name)(*arguments)}
        except (Void, OSError) as error:
            answer = {"void": str(error)}
        print(json.dumps(answer), flush=True)


async def play_broadcast() -> None:
    """The role of a server built on the ``websockets`` library: each line is a message to all."""
    from websockets.asyncio.server import ServerConnection, broadcast, serve

    available_connections()
    connections: set[ServerConnection] = set()

    async def hold(connection: ServerConnection) -> None:
        await connection.send(encode(Start("0@peer")))
        connections.add(connection)
        await connection.wait_closed()
        connections.discard(connection)

    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with serve(hold, "127.0.0.1", 0, compression=None, ping_interval=None, backlog=4096) as server:
        print(json.dumps({"value": server.sockets[0].getsockname()[1]}), flush=True)
        while line := await lines.readline():
            broadcast(connections, line[:-1].decode())


def play_bare() -> None:
    """The role of the least that a server can do here: one ``send()`` a subscriber, and nothing else."""
    available_connections()
    connections: list[socket.socket] = []
    listening = socket.create_server(("127.0.0.1", 0), backlog=4096)

    def accept() -> None:
        while True:
            connection, _ = listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.recv(4096)
            head = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
            connection.sendall(head + text_frame(encode(Start("0@peer")).encode()))
            connection.setblocking(False)
            connections.append(connection)

    threading.Thread(target=accept, daemon=True).start()
    print(json.dumps({"value": listening.getsockname()[1]}), flush=True)
    for line in sys.stdin.buffer:
        message = text_frame(line[:-1])
        for connection in connections:
            connection.send(message)


class Role:
    """A child process that plays a role of this file."""

    def __init__(self, *arguments: str) -> None:
        path = os.pathsep.join(filter(None, sys.path))
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from labkit.bench import play; play()", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        answer = json.loads(self.process.stdout.readline() or '{"void": "a process of the bench has ended"}')
        if "void" in answer:
            raise Void(answer["void"])
        return answer["value"]

    def ask(self, *command: Any) -> Any:
        self.say(json.dumps(command))
        return self.answer()

    def publish(self, event_id: int, data: str) -> None:
        """Have a reference server send the message that labkit makes of the event."""
        self.say(encode(Event(event_id, data, 0)))

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


def play() -> None:
    """Play the role that the command line names."""
    role, *arguments = sys.argv[1:]
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        if role == "sink":
            play_sink(*arguments)
        elif role == "bare":
            play_bare()
        else:
            asyncio.run(play_broadcast())


# -- what is measured ------------------------------------------------------------------------------------------------


@dataclass
class Subject:
    """One server, with subscribers of one technique, and what its rounds have cost."""

    name: str
    technique: str
    reference: str
    pid: int
    publish: Callable[[int, str], object]
    sink: Role
    published: int = 0
    deliveries: int = 0
    cpu_us: list[float] = field(default_factory=list)

    def round(self, events: int, payload_bytes: int) -> None:
        """Publish so many events, one after another has arrived everywhere; keep the CPU per delivery."""
        delivered, before_s = 0, cpu_s(self.pid)
        for event_id in range(self.published + 1, self.published + events + 1):
            data = f"{event_id:0{payload_bytes}d}"
            self.sink.say(json.dumps(["expect", event_id, data]))
            self.publish(event_id, data)
            delivered += self.sink.answer()
        self.cpu_us.append((cpu_s(self.pid) - before_s) / delivered * 1e6)
        self.published += events
        self.deliveries += delivered


def cpu_s(pid: int) -> float:
    """CPU seconds so far, user and system, of another process: Linux has a clock for each, to the nanosecond."""
    return time.clock_gettime(~pid << 3 | 2)


@contextlib.contextmanager
def on_core(number: int) -> Iterator[None]:
    """What is started meanwhile stays on one core, where there are two."""
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    os.sched_setaffinity(0, {cores[number % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def lab_on_core(name: str, fanout: str = "direct") -> Iterator[Lab]:
    with on_core(0):
        lab = Lab(name, process=True, fanout=fanout, heartbeat_s=QUIET_S)
    with lab:
        yield lab


def subscribers(stack: contextlib.ExitStack, technique: str, port: int, path: str, count: int, epoch: str = "") -> Role:
    """A sink with *count* connections."""
    with on_core(1):
        sink = Role("sink", technique, epoch)
    stack.callback(sink.end)
    sink.ask("open", port, path, count)
    return sink


def path_of(technique: str, topic: str, after: str) -> str:
    return f"{find(technique).route}?topic={topic}&after={after}&timeout={QUIET_S:.0f}"


def fan_out(settings: Settings) -> list[dict[str, Any]]:
    """CPU per delivery of every subject, in µs, and its ratios to its reference round by round."""
    with contextlib.ExitStack() as stack:
        subjects = list(start_subjects(stack, settings.subscribers))
        turns = deque(subjects)
        for number in range(settings.rounds + 1):
            for subject in turns:
                subject.round(settings.events, settings.payload_bytes)
                if number == 0:  # everything is done once before it counts
                    subject.cpu_us.clear()
            turns.rotate(1)
        for subject in subjects:
            subject.sink.ask("close")
    return [fan_out_row(subject, subjects) for subject in subjects]


def publisher(lab: labkit.Lab, topic: str) -> Callable[[int, str], object]:
    """What publishes the n-th event of a round."""
    return lambda n, data: lab.publish(data, topic)


def start_subjects(stack: contextlib.ExitStack, count: int) -> Iterator[Subject]:
    """Two references, then labkit in both ways with both techniques."""
    for name, role in ((BROADCAST, "broadcast"), ("a loop of send()", "bare")):
        with on_core(0):
            peer = Role(role)
        stack.callback(peer.end)
        sink = subscribers(stack, "websocket", peer.answer(), "/", count)
        yield Subject(name, "websocket", BROADCAST, peer.process.pid, peer.publish, sink)
    for fanout in ("direct", "plain"):
        lab = stack.enter_context(lab_on_core(f"bench {fanout}", fanout))
        assert lab.pid is not None
        for technique, reference in (("websocket", BROADCAST), ("sse", "labkit plain")):
            sink = subscribers(stack, technique, lab.port, path_of(technique, technique, lab.cursor(technique)), count)
            yield Subject(f"labkit {fanout}", technique, reference, lab.pid, publisher(lab, technique), sink)


def fan_out_row(subject: Subject, among: list[Subject]) -> dict[str, Any]:
    reference = next(s for s in among if (s.name, s.technique) == (subject.reference, subject.technique))
    return {
        "server": subject.name,
        "technique": subject.technique,
        "deliveries": subject.deliveries,
        "cpu_us": subject.cpu_us,
        "reference": subject.reference,
        "ratios": [cost / other for cost, other in zip(subject.cpu_us, reference.cpu_us, strict=True)],
    }


def memory(technique: str, settings: Settings) -> dict[str, Any]:
    """Growth of the server's resident memory per subscriber of one technique, in KiB."""
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(lab_on_core(f"bench memory {technique}"))
        cursor = lab.cursor(technique)
        path = path_of(technique, technique, cursor)
        sink = subscribers(stack, technique, lab.port, path, settings.first, cursor.partition("@")[2])
        before_bytes = resident_bytes(lab, settings.first)
        held = sink.ask("open", lab.port, path, settings.held)
        after_bytes = resident_bytes(lab, held)
        lab.publish("x" * settings.payload_bytes, technique)
        reached = sink.ask("expect", 1, "x" * settings.payload_bytes)
        sink.ask("close")
    kib = (after_bytes - before_bytes) / settings.held / 1024
    return {"technique": technique, "held": settings.held, "reached": reached, "kib_per_subscriber": kib}


def resident_bytes(lab: Lab, subscribers: int) -> float:
    """Resident memory once so many subscribers are held."""
    give_up_s = time.monotonic() + GIVE_UP_S
    while (held := lab.stats()["subscribers"]) != subscribers:
        if time.monotonic() > give_up_s:
            raise Void(f"the server holds {held} subscribers, not {subscribers}")
        time.sleep(0.01)
    usage = lab.usage()
    assert usage is not None
    return usage["rss_bytes"]


# -- the command -----------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return 0; 1 if the run is void.

    Raises:
        LabkitError: the system has no epoll, or too few descriptors.
    """
    parser = argparse.ArgumentParser(prog="labkit bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="only see that it runs: few subscribers, few events")
    parser.add_argument("--subscribers", type=int, metavar="N", help="of each server in fan-out (default: 1000)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every round to this file")
    arguments = parser.parse_args(argv)
    settings = Settings(50, rounds=2, events=5, held=100, first=20) if arguments.quick else Settings()
    if arguments.subscribers is not None:
        settings = Settings(**{**asdict(settings), "subscribers": arguments.subscribers})
    check(settings)
    try:
        result = measure(settings)
    except Void as error:
        print(f"void: {error}", file=sys.stderr)
        return 1
    print(table(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def check(settings: Settings) -> None:
    if not hasattr(select, "epoll"):
        raise LabkitError("the bench needs Linux: its clients use epoll, its clock is the kernel's")
    most = max(2 * settings.subscribers, settings.first + settings.held)
    if settings.subscribers < 1:
        raise LabkitError(f"--subscribers {settings.subscribers}: expected 1 or more")
    if most > available_connections():
        raise LabkitError(f"{most + SPARE_DESCRIPTORS} open files are needed: raise the limit with `ulimit -n`")


def measure(settings: Settings) -> dict[str, Any]:
    """Everything, as one value that JSON can hold."""
    load = [os.getloadavg()[0]]
    result: dict[str, Any] = {
        "settings": asdict(settings),
        "machine": {"system": platform.platform(), "processor": processor(), "cores": os.cpu_count()},
        "versions": {"labkit": labkit.__version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in ("tornado", "websockets")},
        "fan_out": fan_out(settings),
        "memory": [memory(technique, settings) for technique in ("sse", "websocket", "long-polling")],
    }
    return result | {"load": [*load, os.getloadavg()[0]]}


def processor() -> str:
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M)
    return names[0] if names else platform.machine()


def table(result: dict[str, Any]) -> str:
    """The result for people: minimum, median and maximum over the rounds."""
    settings = result["settings"]
    lines = [
        ", ".join(f"{name} {version}" for name, version in result["versions"].items()),
        f"{result['machine']['processor']}, {result['machine']['cores']} cores, load {result['load'][0]:.2f} before",
        f"fan-out to {settings['subscribers']} subscribers, {settings['payload_bytes']} bytes of data, "
        f"{settings['rounds']} rounds of {settings['events']} events: least, median, most over the rounds",
        f"{'server':<24}{'technique':<12}{'server CPU per delivery, µs':<30}ratio",
    ]
    for row in result["fan_out"]:
        lines.append(
            f"{row['server']:<24}{row['technique']:<12}{spread(row['cpu_us']):<30}"
            f"{spread(row['ratios'])} to {row['reference']}"
        )
    lines.append("server memory per subscriber held")
    for row in result["memory"]:
        lines.append(f"{row['technique']:<24}{row['held']:<12}{row['kib_per_subscriber']:.1f} KiB")
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    return "  ".join(f"{value:.2f}" for value in (min(values), median(values), max(values)))
