"""The receiving end of the bench: many client connections in one process, each expecting the same events.

Raw sockets, compared to the byte with what the next event must look like. A run in which one connection loses, repeats
or swaps an event is void. Linux only: it looks with epoll.
"""

from __future__ import annotations

import re
import select
import socket
import time

from labkit.errors import LabkitError
from labkit.server.fanout import as_chunk
from labkit.sockets import dial
from labkit.techniques.sse import block
from labkit.techniques.websocket import text, text_frame
from labkit.wire.envelope import encode
from labkit.wire.events import Event

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
            some = [dial(port) for _ in range(min(AT_ONCE, count - start))]
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
