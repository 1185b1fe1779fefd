"""The experiments of 02_long_polling about servers: what a held client costs (L7), and a bound on threads (L12)."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from labkit.course.long_polling.seen_held import Held, Threads
from labkit.lab.lab import Lab
from labkit.lab.server import available_connections
from labkit.progress import Progress
from labkit.sockets import dial, kernel_bytes

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
QUIET_S = 600
READ_TIMEOUT_S = 10.0
UPGRADE = f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
REQUESTS = {
    "long-polling": (f"/long-polling?timeout={QUIET_S}", ""),
    "sse": ("/sse", ""),
    "websocket": ("/websocket", UPGRADE),
}


def held_clients(*, batch: int = 150, batches: int = 5) -> Held:
    """Memory and descriptors of a server in a process of its own, for each held client of three techniques.

    The clients are plain sockets here; they are added in batches, and what each batch adds is read.
    """
    settings = {"started": datetime.now(UTC).isoformat(), "batch": batch, "batches": batches}
    if sys.platform != "linux":
        return Held(why="the counts are read from Linux's /proc", settings=settings)
    available_connections()
    progress, memory, descriptors = Progress(), {}, {}
    for technique in REQUESTS:
        progress.show(f"holding {batch * (batches + 1)} clients of {technique}")
        with Lab(f"held-{technique}", process=True, heartbeat_s=QUIET_S) as lab:
            memory[technique], descriptors[technique] = _batches(lab, technique, batch, batches)
    progress.done()
    return Held(memory, descriptors, kernel_bytes=kernel_bytes(), settings=settings)


def _batches(lab: Lab, technique: str, batch: int, batches: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    import psutil

    assert lab.pid is not None
    process, held, found = psutil.Process(lab.pid), [], []
    try:
        for number in range(batches + 1):  # what the first adds is not counted: everything is done once before
            before = process.memory_info().rss, process.num_fds()
            held += [_held(lab, technique) for _ in range(batch)]
            _wait_for(lab, len(held))
            if number:
                grown = process.memory_info().rss - before[0], process.num_fds() - before[1]
                found.append((grown[0] / 1024 / batch, grown[1] / batch))
    finally:
        for sock in held:
            sock.close()
    return tuple(kib for kib, _ in found), tuple(each for _, each in found)


def _held(lab: Lab, technique: str) -> socket.socket:
    path, fields = REQUESTS[technique]
    sock = dial(lab.port, READ_TIMEOUT_S)
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{lab.port}\r\n{fields}\r\n".encode())
    return sock


def _wait_for(lab: Lab, subscribers: int) -> None:
    deadline_s = time.monotonic() + READ_TIMEOUT_S
    while lab.stats()["subscribers"] < subscribers and time.monotonic() < deadline_s:
        time.sleep(0.01)


# L12


class ThreadServer(HTTPServer):
    """A server of the old kind: a request has a thread for as long as it lasts, and there are so many threads."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, threads: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.happened = threading.Event()
        self._pool = ThreadPoolExecutor(threads, "labkit-bounded")

    def process_request(self, request: Any, client_address: Any) -> None:
        self._pool.submit(self._serve, request, client_address)

    def _serve(self, request: Any, client_address: Any) -> None:
        with contextlib.suppress(OSError):
            self.finish_request(request, client_address)
        self.shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        self._pool.shutdown(cancel_futures=True)


class _Handler(BaseHTTPRequestHandler):
    """``/polling`` answers at once, ``/long-polling?timeout=S`` when something has happened or the time is up."""

    server: ThreadServer
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/long-polling":
            self.server.happened.wait(float(query.partition("timeout=")[2] or 1))
        body = b'{"events":[]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def thread_server(threads: int) -> Iterator[int]:
    """Such a server, on a port that is given back."""
    server = ThreadServer(threads)
    serving = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="labkit-bounded-accept"
    )
    serving.start()
    try:
        yield server.server_address[1]
    finally:
        server.happened.set()
        server.shutdown()
        serving.join()
        server.server_close()


def threads(lab: Lab, *, threads: int = 16, hold_s: float = 0.8) -> Threads:
    """Hold as many long polls as there are threads, then ask once more, with a long poll and with a plain one.

    Then the same number of clients and one, who only poll.
    """
    poll_s, get_s, short_s = {}, {}, {}
    with thread_server(threads) as bounded:
        for name, port in ((f"{threads} threads", bounded), ("the lab's event loop", lab.port)):
            poll_s[name], get_s[name] = _one_more(port, threads, hold_s)
            short_s[name] = _short(port, threads + 1, hold_s / 2)
    return Threads(threads, hold_s, poll_s, get_s, short_s, {"started": datetime.now(UTC).isoformat()})


def _one_more(port: int, count: int, hold_s: float) -> tuple[float, float]:
    """Seconds beyond what they asked for: of a long poll that is to be held for a moment, and of a plain poll."""
    held = [_ask(port, f"/long-polling?topic=02-threads&timeout={hold_s:g}") for _ in range(count)]
    moment_s = 0.05
    with contextlib.ExitStack() as stack:
        for sock in held:
            stack.enter_context(sock)
        time.sleep(0.1)  # they have arrived
        began_s = time.monotonic()
        more = stack.enter_context(_ask(port, f"/long-polling?topic=02-threads&timeout={moment_s:g}"))
        plain = stack.enter_context(_ask(port, "/polling"))
        plain.recv(65536)
        get_s = time.monotonic() - began_s
        more.recv(65536)
        poll_s = max(0.0, time.monotonic() - began_s - moment_s)
        for sock in held:
            sock.recv(65536)
    return poll_s, get_s


def _short(port: int, count: int, for_s: float, every_s: float = 0.2) -> float:
    """The longest wait of so many clients who poll, one after the other, again and again."""
    longest_s, began_s = 0.0, time.monotonic()
    while time.monotonic() - began_s < for_s:
        asked = [(time.monotonic(), _ask(port, "/polling")) for _ in range(count)]
        for asked_s, sock in asked:
            with sock:
                sock.recv(65536)
            longest_s = max(longest_s, time.monotonic() - asked_s)
        time.sleep(max(0.0, every_s - (time.monotonic() - asked[0][0])))
    return longest_s


def _ask(port: int, path: str) -> socket.socket:
    sock = dial(port, READ_TIMEOUT_S)
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
    return sock
