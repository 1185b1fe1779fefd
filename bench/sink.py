"""The receiving end of the bench: many client connections in one process, each expecting the same events.

Raw sockets, compared to the byte with what the next event must look like. Between events there may be heartbeats; pings
are answered. A run in which one connection loses, repeats or swaps an event is void. Linux only: it looks with epoll.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import time

from labkit.errors import LabkitError
from labkit.sockets import dial
from labkit.techniques.http_streaming import line
from labkit.techniques.sse import block
from labkit.techniques.websocket import text_message
from labkit.wire.chunks import encode_chunk
from labkit.wire.envelope import encode
from labkit.wire.event_stream import encode_comment
from labkit.wire.events import Event
from labkit.wire.frames import Frame, Opcode, encode_frame

GIVE_UP_S = 30.0
NAP_S = 0.001  # a sink asleep in epoll is woken by each send, at the server's expense and by chance
AT_ONCE = 64  # connections being made at a time
PING = encode_frame(Frame(Opcode.PING))[:1]
BEATS = {"sse": encode_chunk(encode_comment()), "http-streaming": encode_chunk(b"\n")}
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}")
BEGINS = {  # an answer's beginning, up to and including the cursor that the stream starts from
    "websocket": re.compile(
        rb"HTTP/1\.1 101 .*" + re.escape(ACCEPT) + rb'.*\r\n\r\n..\{"cursor":"\d+@(\w+)"\}', re.DOTALL
    ),
    "http-streaming": re.compile(rb'HTTP/1\.1 200 .*\r\n\r\n[0-9a-f]+\r\n\{"cursor":"\d+@(\w+)"\}\n\r\n', re.DOTALL),
    "sse": re.compile(rb"HTTP/1\.1 200 .*\r\n\r\n[0-9a-f]+\r\nid: ?\d+@(\w+)\n\n\r\n", re.DOTALL),
}


class Void(LabkitError):
    """A subscriber did not get every event once and in order: what was measured does not count."""


def take(sock: socket.socket, size: int) -> bytes | None:
    """What has come; None if that was TLS's own. At the end, nothing."""
    if not isinstance(sock, ssl.SSLSocket):
        return sock.recv(size)
    got = b""
    try:
        while (piece := sock.recv(size)) and (got := got + piece) and sock.pending():
            pass
    except ssl.SSLWantReadError:
        return got or None
    return got


class Sink:
    """Many client connections of one technique, each expecting the same events."""

    def __init__(self, technique: str, epoch: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.technique = technique
        self.tls = tls
        self.epoch = epoch
        self.sockets: dict[int, socket.socket] = {}
        self.parts: dict[int, bytes] = {}  # of what is not whole yet
        self.beats = 0
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
            if self.tls is not None:
                some = [self.tls.wrap_socket(sock, server_hostname="localhost") for sock in some]
            for sock in some:
                sock.sendall(request)
            for sock in some:
                if self.technique in BEGINS:
                    self.epoch = self._begin(sock)
                self.hold(sock)
            self.rest()
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
            return text_message(event, self.epoch)
        if self.technique in BEATS:
            return encode_chunk(self._in_body(event))
        return f'{{"events":[{encode(event)}],"cursor":"{event.id}@{self.epoch}"}}'.encode()

    def _in_body(self, event: Event) -> bytes:
        return block(event, self.epoch) if self.technique == "sse" else line(event, self.epoch)

    def expect(self, event_id: int, data: str, give_up_s: float = GIVE_UP_S) -> int:
        """Wait until every connection got this event, and nothing else; returns how many did.

        Raises:
            Void: one did not.
        """
        return self._expect(self.wanted(Event(event_id, data, 0)), event_id, give_up_s)

    def expect_several(self, first_id: int, data: list[str], in_one_chunk: bool) -> tuple[int, int]:
        """The same for several events that are written together; and when the last connection had them."""
        events = [Event(first_id + place, one, 0) for place, one in enumerate(data)]
        wanted = b"".join(map(self.wanted, events))
        if in_one_chunk and self.technique in BEATS:
            wanted = encode_chunk(b"".join(map(self._in_body, events)))
        return self._expect(wanted, first_id, GIVE_UP_S), time.monotonic_ns()

    def _expect(self, wanted: bytes, event_id: int, give_up_s: float) -> int:
        left, size = set(self.sockets), 4096 + len(wanted)
        give_up_s += time.monotonic()
        while left:
            time.sleep(NAP_S)
            ready = self.ready.poll(0)
            if not ready and time.monotonic() > give_up_s:
                raise Void(f"{self.technique}: {len(left)} of {len(self.sockets)} did not get event {event_id}")
            for number, _ in ready:
                if (got := take(self.sockets[number], size)) is None:
                    continue
                whole = got == wanted and number not in self.parts
                if number in left and (whole or self._brings(wanted, number, got)):
                    left.remove(number)
                elif number not in left:
                    self._brings(b"", number, got)
        return len(self.sockets)

    def rest(self) -> None:
        """Between events: see to the heartbeats. Raises Void if anything else has come."""
        for number, _ in () if self.ready.closed else self.ready.poll(0):
            if (got := take(self.sockets[number], 4096)) is not None:
                self._brings(b"", number, got)

    def beaten(self) -> int:
        """How many heartbeats have come."""
        self.rest()
        return self.beats

    def _brings(self, wanted: bytes, number: int, got: bytes) -> bool:
        """Whether these bytes complete what is *wanted*. Raises Void if they are neither that nor heartbeats."""
        whole = self._behind_beats(number, self.parts.pop(number, b"") + got)
        body = whole.partition(b"\r\n\r\n")[2] if self.technique == "long-polling" else whole
        complete = bool(wanted) and body.startswith(wanted)
        rest = self._behind_beats(number, body[len(wanted) :]) if complete else whole
        begun = self._begins_beat(rest) or (not complete and wanted.startswith(body))
        if not got or not begun:
            raise Void(f"{self.technique}: expected {wanted!r}, but the next bytes are {rest[-200:]!r}")
        if rest:
            self.parts[number] = rest
        return complete

    def _behind_beats(self, number: int, data: bytes) -> bytes:
        """*data* without the heartbeats that it begins with; a ping is answered."""
        if self.technique == "websocket":
            while data[:1] == PING and len(data) > 1 and len(data) >= (end := 2 + data[1]):
                self.sockets[number].send(encode_frame(Frame(Opcode.PONG, data[2:end], mask=bytes(4))))
                data = data[end:]
                self.beats += 1
        beat = BEATS.get(self.technique)
        while beat is not None and data.startswith(beat):
            data = data[len(beat) :]
            self.beats += 1
        return data

    def _begins_beat(self, data: bytes) -> bool:
        """Whether a heartbeat may begin with *data*, if there is any."""
        return not data or (
            data[:1] == PING if self.technique == "websocket" else BEATS.get(self.technique, b"").startswith(data)
        )

    def close(self) -> int:
        """End every connection; returns how many there were. Raises Void if one was sent more than expected."""
        try:
            self.rest()
        except Void:
            raise Void(f"{self.technique}: subscribers were sent more than was published") from None
        finally:
            for sock in self.sockets.values():
                sock.close()
            self.ready.close()
        return len(self.sockets)
