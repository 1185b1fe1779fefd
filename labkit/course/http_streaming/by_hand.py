"""The experiments of 03_http_streaming whose servers are a few lines of sockets: S6 and T2."""

from __future__ import annotations

import http.client
import importlib
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from labkit.course.http_streaming.judges_reading import FirstShown, Shown, Steps
from labkit.lab.lab import Lab
from labkit.progress import Progress
from labkit.wire.events import now_ns

TIMEOUT_S = 5.0
EVENT = b'{"id":%6d,"data":"' + b"." * 44 + b'"}\n'
EVENT_BYTES = len(EVENT % 0)
LIMIT_BYTES = 8 << 10
FIRST_PAUSE_S = 0.3
PAUSE_S = 0.004
PAGE_TOPIC = "03-page"


# S6


class Drip:
    """A server for one request: an event, a pause, an event after another, until somebody says that one is shown.

    Args:
        framing: ``chunked`` or ``eof``.
    """

    def __init__(self, framing: str) -> None:
        self.framing = framing
        self.shown = threading.Event()
        self.written_bytes = 0
        self.ended = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(TIMEOUT_S)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._serve, name="labkit-drip", daemon=True)

    def __enter__(self) -> Drip:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shown.set()
        self._listener.close()
        self._thread.join(TIMEOUT_S)

    def _serve(self) -> None:
        with suppress(OSError), self._listener.accept()[0] as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.settimeout(TIMEOUT_S)
            client.recv(1 << 16)
            coding = "Transfer-Encoding: chunked" if self.framing == "chunked" else "Connection: close"
            client.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n{coding}\r\n\r\n".encode())
            pause_s = FIRST_PAUSE_S
            while self.written_bytes < LIMIT_BYTES:
                self._write(client, EVENT % (self.written_bytes // EVENT_BYTES))
                if self.shown.wait(pause_s):
                    return
                pause_s = PAUSE_S
            self.ended = True
            if self.framing == "chunked":
                client.sendall(b"0\r\n\r\n")

    def _write(self, client: socket.socket, event: bytes) -> None:
        self.written_bytes += len(event)
        client.sendall(b"%x\r\n%s\r\n" % (len(event), event) if self.framing == "chunked" else event)


def first_shown(page: Any = None, lab: Lab | None = None) -> FirstShown:
    """How much must be written until each client that is installed shows its program the first event.

    Args:
        page: a :class:`labkit.BrowserSubscriber` of *lab* on the topic ``03-page``, for the browser's ``fetch``.
        lab: the lab of the page.
    """
    progress, cases, missing = Progress(), list[Shown](), dict[str, str]()
    for name, first in _clients(missing):
        for framing in ("chunked", "eof"):
            progress.show(f"{name}, {framing}")
            cases.append(_tried(name, framing, first))
    if page is not None and lab is not None:
        found = in_the_page(lab, page)
        cases += [found] if isinstance(found, Shown) else []
        missing |= {} if isinstance(found, Shown) else {"the page's fetch": found}
    else:
        missing["the page's fetch"] = "no page attached"
    progress.done(f"{len(cases)} responses")
    return FirstShown(tuple(cases), missing, {"started": datetime.now(UTC).isoformat()})


def _tried(name: str, framing: str, first: Callable[[str], object]) -> Shown:
    with Drip(framing) as drip:
        first(drip.url)
        ended, written_bytes = drip.ended, drip.written_bytes
        drip.shown.set()
    return Shown(name, framing, None if ended else written_bytes, EVENT_BYTES, LIMIT_BYTES)


def _clients(missing: dict[str, str]) -> Iterator[tuple[str, Callable[[str], object]]]:
    """Name and version of each client, and a function that returns once the first event shows."""
    yield "urllib, read()", partial(_with_urllib, lambda answer: answer.read())
    yield "urllib, read(1024)", partial(_with_urllib, lambda answer: answer.read(1024))
    yield "urllib, for line in", partial(_with_urllib, lambda answer: next(iter(answer)))
    if curl := shutil.which("curl"):
        version = subprocess.run([curl, "--version"], capture_output=True, text=True).stdout.split()[1]
        yield f"curl {version}", partial(_with_curl, [curl, "-sS"])
        yield f"curl {version}, -N", partial(_with_curl, [curl, "-sSN"])
    else:
        missing["curl"] = "not installed"
    for name, ways in _LIBRARIES.items():
        try:
            library = importlib.import_module(name)
        except ImportError:
            missing[name] = "not installed"
            continue
        for way, first in ways.items():
            yield f"{name} {library.__version__}, {way}", partial(first, library)


def _with_urllib(first: Callable[[http.client.HTTPResponse], object], url: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=2 * TIMEOUT_S) as answer:
        first(answer)


def _with_curl(command: list[str], url: str) -> None:
    """What another program sees of it: standard output is a pipe."""
    with subprocess.Popen([*command, "--noproxy", "*", url], stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        process.kill()


def _requests_get(requests: Any, url: str) -> None:
    with _requests(requests) as session:
        session.get(url, timeout=2 * TIMEOUT_S)


def _requests_lines(requests: Any, url: str) -> None:
    with _requests(requests) as session, session.get(url, stream=True, timeout=2 * TIMEOUT_S) as answer:
        next(answer.iter_lines())


@contextmanager
def _requests(requests: Any) -> Iterator[Any]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def _httpx_lines(httpx: Any, url: str) -> None:
    with httpx.Client(trust_env=False, timeout=2 * TIMEOUT_S) as client, client.stream("GET", url) as answer:
        next(answer.iter_lines())


_LIBRARIES: dict[str, dict[str, Callable[[Any, str], None]]] = {
    "requests": {"get()": _requests_get, "iter_lines()": _requests_lines},
    "httpx": {"iter_lines()": _httpx_lines},
}


def in_the_page(lab: Lab, page: Any) -> Shown | str:
    """Publish to the page's ``fetch`` until it has shown an event; why not, where there is none."""
    if not page.wait(TIMEOUT_S, progress=False):
        return "no page attached"
    before, written = page.count(), 0
    deadline_s = time.monotonic() + TIMEOUT_S
    while page.count() == before and time.monotonic() < deadline_s and written < LIMIT_BYTES:
        lab.publish("." * 44, PAGE_TOPIC)
        written += EVENT_BYTES
        pause_s = time.monotonic() + (FIRST_PAUSE_S if written == EVENT_BYTES else PAUSE_S)
        while page.count() == before and time.monotonic() < pause_s:
            time.sleep(PAUSE_S)
    return Shown("the page's fetch", "chunked", written if page.count() > before else None, EVENT_BYTES, LIMIT_BYTES)


# T2

HEAD, PAYLOAD, QUESTION = b"h" * 5, b"p" * 100, b"q" * 50
WAYS = {"two writes": (0, 2), "two writes, TCP_NODELAY": (1, 2), "one write": (0, 1)}


def two_writes(*, events: int = 24) -> Steps:
    """Send a header and its payload over loopback in two writes and in one, with and without Nagle's algorithm.

    Raises:
        ValueError: too few events for a median's interval.
    """
    if events < 8:
        raise ValueError(f"events must be at least 8, not {events!r}")
    progress, samples = Progress(), dict[tuple[str, str], tuple[float, ...]]()
    for pattern in ("stream", "asked"):
        for way in WAYS:
            progress.show(f"{pattern}: {way}")
            samples[pattern, way] = exchanges(pattern, *WAYS[way], events)
    progress.done(f"{events} events each")
    return Steps(samples, {"started": datetime.now(UTC).isoformat()})


def exchanges(pattern: str, no_delay: int, writes: int, events: int) -> tuple[float, ...]:
    """Latencies in seconds, from before the first write to after the read that brought the payload's last byte.

    Args:
        pattern: ``stream``, the server writes every 20 ms; ``asked``, it answers, and is asked again at once.
        no_delay: TCP_NODELAY of the server's socket.
        writes: 2 for header and payload apart, 1 for both at once.

    Raises:
        ValueError: another pattern.
    """
    if pattern not in ("stream", "asked"):
        raise ValueError(f"pattern must be 'stream' or 'asked', not {pattern!r}")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), TIMEOUT_S)
        server = listener.accept()[0]
    began_ns: list[int] = []
    with client, server:
        server.settimeout(TIMEOUT_S)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, no_delay)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = threading.Thread(target=_write, args=(server, pattern, writes, events, began_ns), daemon=True)
        thread.start()
        try:
            return tuple(_read(client, pattern, events, began_ns))
        finally:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            thread.join(TIMEOUT_S)


def _write(server: socket.socket, pattern: str, writes: int, events: int, began_ns: list[int]) -> None:
    with suppress(OSError):
        for number in range(events):
            if pattern == "stream":
                time.sleep(0.02)
            if pattern == "asked" or not number:
                server.recv(len(QUESTION))
            began_ns.append(now_ns())
            for data in (HEAD, PAYLOAD) if writes == 2 else (HEAD + PAYLOAD,):
                server.send(data)


def _read(client: socket.socket, pattern: str, events: int, began_ns: list[int]) -> Iterator[float]:
    for number in range(events):
        if pattern == "asked" or not number:
            client.send(QUESTION)
        missing = len(HEAD + PAYLOAD)
        while missing:
            data = client.recv(missing)
            if not data:
                return
            missing -= len(data)
        yield (now_ns() - began_ns[number]) / 1e9
