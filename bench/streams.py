"""The receiving end of the bench over HTTP/2: many streams of Server-Sent Events, some on each connection.

As ``sink`` has it for HTTP/1.1: raw sockets, each event once on each stream, compared to the byte; between events there
may be heartbeats. Windows are opened as wide as they go, so that nothing is sent but requests. Linux only.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import struct
import time

from hpack import Encoder

from labkit.sockets import dial
from labkit.techniques.sse import block
from labkit.wire.event_stream import encode_comment
from labkit.wire.events import Event
from sink import GIVE_UP_S, NAP_S, Void, take

MOST = (1 << 31) - 1
DATA, HEADERS, SETTINGS, WINDOW_UPDATE = 0, 1, 4, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW_SIZE = 4
BEGIN = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
BEGINS = re.compile(rb"id: ?\d+@(\w+)\n\n")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2 (RFC 9113 section 4.1)."""
    return struct.pack(">BHBBI", len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


class Connection:
    """One connection, and the streams of it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.rest = b""
        self.streams: set[int] = set()
        self.left: set[int] = set()  # those that have not the event yet
        self.begun: dict[int, bytes] = {}
        wide = struct.pack(">HI", INITIAL_WINDOW_SIZE, MOST)
        sock.sendall(
            BEGIN + frame(SETTINGS, 0, 0, wide) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", MOST - (1 << 16)))
        )
        self.encoder = Encoder()

    def ask(self, path: str, count: int) -> None:
        """Begin *count* more streams."""
        asked = b""
        for number in range(2 * len(self.streams) + 1, 2 * (len(self.streams) + count) + 1, 2):
            fields = [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "localhost")]
            asked += frame(HEADERS, END_STREAM | END_HEADERS, number, self.encoder.encode(fields))
            self.begun[number] = b""
        self.streams |= self.begun.keys()
        self.sock.sendall(asked)

    def frames(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """What is whole: kind, stream and payload of each."""
        data, at, found = self.rest + data, 0, []
        while len(data) - at >= 9 and len(data) - at - 9 >= (size := int.from_bytes(data[at : at + 3])):
            kind, flags, stream = struct.unpack_from(">BBI", data, at + 3)
            found.append((kind, stream, data[at + 9 : at + 9 + size]))
            if kind == SETTINGS and not flags & ACK:
                self.sock.send(frame(SETTINGS, ACK, 0))
            elif flags & END_STREAM and kind in (DATA, HEADERS):
                raise Void(f"stream {stream} has ended")
            at += 9 + size
        self.rest = data[at:]
        return found


class Streams:
    """Many streams, each expecting the same events."""

    def __init__(self, per_connection: int, tls: ssl.SSLContext | None, epoch: str = "") -> None:
        self.per_connection = per_connection
        self.tls = tls
        self.epoch = epoch
        self.connections: dict[int, Connection] = {}
        self.ready = select.epoll()

    @property
    def count(self) -> int:
        return sum(len(connection.streams) for connection in self.connections.values())

    def open(self, port: int, path: str, count: int) -> int:
        """Make *count* more streams; returns how many are held."""
        while count > 0:
            sock = dial(port)
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_hostname="localhost")
            sock.settimeout(GIVE_UP_S)
            connection = Connection(sock)
            connection.ask(path, min(self.per_connection, count))
            while connection.begun:
                self._begin(connection)
            sock.setblocking(False)
            self.connections[sock.fileno()] = connection
            self.ready.register(sock, select.EPOLLIN)
            count -= len(connection.streams)
            self.rest()
        return self.count

    def _begin(self, connection: Connection) -> None:
        for kind, stream, payload in connection.frames(connection.sock.recv(1 << 16)):
            if kind == DATA and stream in connection.begun:
                connection.begun[stream] += payload
                if (match := BEGINS.fullmatch(connection.begun[stream])) is not None:
                    self.epoch = match[1].decode()
                    del connection.begun[stream]

    def expect(self, event_id: int, data: str, give_up_s: float = GIVE_UP_S) -> int:
        """Wait until every stream got this event, and nothing else; returns how many did.

        Raises:
            Void: one did not.
        """
        wanted = block(Event(event_id, data, 0), self.epoch)
        give_up_s += time.monotonic()
        for connection in self.connections.values():
            connection.left = set(connection.streams)
        while left := sum(len(connection.left) for connection in self.connections.values()):
            time.sleep(NAP_S)
            if not self._look(wanted) and time.monotonic() > give_up_s:
                raise Void(f"{left} of {self.count} streams did not get event {event_id}")
        return self.count

    def rest(self) -> None:
        """Between events: see to the heartbeats. Raises Void if anything else has come."""
        if not self.ready.closed:
            self._look(b"")

    def _look(self, wanted: bytes) -> bool:
        """Take what has come; whether anything has."""
        ready = self.ready.poll(0)
        for number, _ in ready:
            connection = self.connections[number]
            got = take(connection.sock, 1 << 20)
            if got == b"":
                raise Void("a connection has ended")
            for kind, stream, payload in connection.frames(got or b""):
                if kind != DATA or payload == encode_comment():
                    continue
                if payload != wanted or stream not in connection.left:
                    raise Void(f"expected {wanted!r} on stream {stream}, but the next bytes are {payload[-200:]!r}")
                connection.left.remove(stream)
        return bool(ready)

    def close(self) -> int:
        """End every connection; returns how many streams there were. Raises Void if one was sent more than expected."""
        count = self.count
        try:
            self.rest()
        finally:
            for connection in self.connections.values():
                connection.sock.close()
            self.ready.close()
        return count
