"""Clients of P3: plain sockets that poll, and WebSockets that are held and silent."""

from __future__ import annotations

import os
import select
import socket
import threading
from pathlib import Path

from labkit.course.held import READ_TIMEOUT_S, UPGRADE
from labkit.lab.lab import Lab
from labkit.sockets import dial

PING, PONG = b"\x89\0", b"\x8a\x80\0\0\0\0"  # both empty; the client's masked, with zeros
TIME_WAIT = "06"


class Clients:
    """Plain sockets of one kind at one lab, in this process; what they cost is read from the lab's."""

    def __init__(self, lab: Lab, kind: str) -> None:
        self.lab = lab
        self.kind = kind
        self.held: list[socket.socket] = []
        self.polls = self.beats = 0
        self.stopped = threading.Event()
        self._ready = select.epoll()
        self._answering = threading.Thread(target=self._answer_pings, name="labkit-pongs", daemon=True)
        host = f"Host: 127.0.0.1:{lab.port}\r\n"
        after = lab.cursor("")
        poll = f"GET /polling?after={after} HTTP/1.1\r\n{host}"
        self._requests = {
            "kept alive": f"{poll}\r\n",
            "closed each time": f"{poll}Connection: close\r\n\r\n",
            "websocket": f"GET /websocket HTTP/1.1\r\n{host}{UPGRADE}\r\n",
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

    def time_wait(self) -> int:
        """Sockets in TIME_WAIT with the server's port at either end."""
        port, count = f":{self.lab.port:04X}", 0
        for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
            _, local, remote, state, *_ = line.split()
            count += state == TIME_WAIT and port in (local[-5:], remote[-5:])
        return count
