"""L12: a server with a bounded number of threads, and one client too many."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

from labkit.course.alone import started_now
from labkit.course.held import READ_TIMEOUT_S
from labkit.course.shown import Shown, as_table
from labkit.lab.lab import Lab
from labkit.sockets import dial

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Threads(Shown):
    """A server with a bounded number of threads beside the lab, and one client too many. All by server, in seconds.

    ``poll_s``: how much longer than it asked for a long poll took that came when all threads were held; ``get_s``:
    until a plain poll was answered that came with it; ``short_s``: the longest that one of as many clients waited who
    only poll, while nobody holds a thread.
    """

    threads: int
    hold_s: float
    poll_s: dict[str, float]
    get_s: dict[str, float]
    short_s: dict[str, float]
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        rows = [(name, self.poll_s[name], self.get_s[name], self.short_s[name]) for name in self.poll_s]
        columns = ["server", "a long poll more (s)", "a plain poll more (s)", "all of them polling (s)"]
        return as_table(rows, columns=columns).set_index("server")


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
    return Threads(threads, hold_s, poll_s, get_s, short_s, started_now())


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
