"""Helpers for tests over real sockets: waiting, raw sockets, scripted servers.

None of them sleeps to synchronize: each waits for what it names, and raises when that takes longer than it may.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from conftest import UNIT

TIMEOUT_S = 10 * UNIT


def until(condition: Callable[[], Any], what: str = "", timeout_s: float = TIMEOUT_S) -> Any:
    """Wait until *condition* gives something true, and return that."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what or condition}")
        time.sleep(0.002)
    return value


def dial(port: int, data: bytes = b"", *, receive_buffer_bytes: int | None = None) -> socket.socket:
    """A plain blocking socket to a port of this machine, with *data* sent."""
    sock = socket.socket()
    if receive_buffer_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    sock.settimeout(TIMEOUT_S)
    try:
        sock.connect(("127.0.0.1", port))
        sock.sendall(data)
    except OSError:  # refused or reset
        sock.close()
        raise
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
