"""The clients of ``figures.py`` that ask: connections that are kept, each with one request and its answer at a time.

Raw sockets, plain or TLS. Every answer is read whole, and counted; one that is none makes the run void.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import time
from collections.abc import Callable

from labkit.sockets import dial
from labkit.wire.frames import Frame, Opcode, encode_frame
from sink import GIVE_UP_S, NAP_S, UPGRADE, Void, take

LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n")


def whole_answer(got: bytes) -> bool:
    """Whether this is an answer of HTTP/1.1 with all of its content."""
    head, end, body = got.partition(b"\r\n\r\n")
    length = LENGTH.search(head + b"\r\n")
    return bool(end) and length is not None and len(body) >= int(length[1])


def two_frames(got: bytes) -> bool:
    """Whether these are two short messages: what a socket is told of what it published, and the event itself."""
    count = 0
    while len(got) >= 2 and len(got) >= (end := 2 + got[1]):
        got, count = got[end:], count + 1
    return count == 2 and not got


class Asker:
    """Connections that ask."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self.tls = tls
        self.sockets: dict[int, socket.socket] = {}
        self.asked: set[int] = set()
        self.latest: list[int] = []
        self.ready = select.epoll()

    def open(self, port: int, count: int) -> int:
        """Make *count* more connections; returns how many are held."""
        for _ in range(count):
            sock = dial(port)
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_hostname="localhost")
            sock.setblocking(False)
            self.sockets[sock.fileno()] = sock
            self.ready.register(sock, select.EPOLLIN)
        return len(self.sockets)

    def ask(self, request: str, apart_s: float = 0.0) -> int:
        """Send one request on each connection, and read its answer: all at once, or one after another."""
        numbers = list(self.sockets)
        for start in range(0, len(numbers), len(numbers) if not apart_s else 1):
            some = numbers[start:] if not apart_s else numbers[start : start + 1]
            due_s = time.monotonic() + apart_s
            self._send(some, request.encode())
            self._read(set(some), whole_answer)
            time.sleep(max(0.0, due_s - time.monotonic()))
        return len(numbers)

    def send(self, request: str, apart_s: float = 0.0) -> int:
        """Send one request on each connection; its answer is for :meth:`read`."""
        for number in self.sockets:
            self._send([number], request.encode())
            if apart_s:
                time.sleep(apart_s)
        return len(self.sockets)

    def read(self, within: str, times: int) -> int:
        """Read an answer on each connection, in which something stands so many times."""
        for got in self._read(set(self.sockets), whole_answer):
            if got.count(within.encode()) != times:
                raise Void(f"expected {within!r} {times} times in {got[-200:]!r}")
        return len(self.sockets)

    def send_new(self, request: str) -> int:
        """The same on those that have not asked yet."""
        self._send(new := [number for number in self.sockets if number not in self.asked], request.encode())
        return len(new)

    def read_new(self) -> int:
        """Read the answers of those that asked last."""
        return len(self._read(set(self.latest), whole_answer))

    def upgrade(self, path: str) -> int:
        """Make a WebSocket of each connection, with a topic of its own."""
        for place, number in enumerate(self.sockets):
            head = [f"GET {path}{place} HTTP/1.1", "Host: 127.0.0.1", *UPGRADE, "", ""]
            self._send([number], "\r\n".join(head).encode())
            self._read({number}, lambda got: got.endswith(b'"}') and b"101 " in got)
        return len(self.sockets)

    def message(self, text: str, apart_s: float = 0.0) -> int:
        """Send one message on each WebSocket that publishes, and read what comes of it."""
        frame = encode_frame(Frame(Opcode.TEXT, text.encode(), mask=bytes(4)))
        for number in self.sockets:
            due_s = time.monotonic() + apart_s
            self._send([number], frame)
            if apart_s:
                self._read({number}, two_frames)
                time.sleep(max(0.0, due_s - time.monotonic()))
        if not apart_s:
            self._read(set(self.sockets), two_frames)
        return len(self.sockets)

    def _send(self, numbers: list[int], data: bytes) -> None:
        self.asked.update(numbers)
        self.latest = numbers
        for number in numbers:
            self.sockets[number].sendall(data)

    def _read(self, left: set[int], whole: Callable[[bytes], bool]) -> list[bytes]:
        found: list[bytes] = []
        parts = dict.fromkeys(left, b"")
        give_up_s = time.monotonic() + GIVE_UP_S
        while parts:
            time.sleep(NAP_S if len(left) > 1 else NAP_S / 10)
            for number, _ in self.ready.poll(0):
                if (got := take(self.sockets[number], 1 << 16)) is None:
                    continue
                if not got or number not in parts:
                    raise Void(f"a connection has ended, or was told more than it asked: {got[:200]!r}")
                parts[number] += got
                if whole(parts[number]):
                    found.append(parts.pop(number))
            if time.monotonic() > give_up_s:
                raise Void(f"{len(parts)} of {len(left)} have no whole answer: {next(iter(parts.values()))[:300]!r}")
        return found

    def close(self) -> int:
        for sock in self.sockets.values():
            sock.close()
        self.ready.close()
        return len(self.sockets)
