"""Servers that write to their socket by themselves: what is planted is how an answer is put on the wire."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator

from planted_streams import LAST, chunk, event, head

from wait import read_until, serving


def in_two_writes(sock: socket.socket) -> None:
    """Row 23: a server that keeps connections and writes head and body apart, so that the body waits."""
    while asked := read_until(sock, b"\r\n\r\n"):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n")
        if not asked.startswith(b"HEAD"):
            sock.sendall(b'{"n":')
            sock.sendall(b" 12345}")


def field(name: bytes, value: bytes) -> bytes:
    """A literal without indexing (RFC 7541 section 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


@contextlib.contextmanager
def over_http2(context: ssl.SSLContext, *fields: tuple[bytes, bytes]) -> Iterator[str]:
    """Row 19: answers HTTP/2 with these fields, HTTP/1.1 as it should."""

    def script(sock: socket.socket) -> None:
        with contextlib.suppress(ssl.SSLError), context.wrap_socket(sock, server_side=True) as secure:
            if secure.selected_alpn_protocol() != "h2":
                read_until(secure, b"\r\n\r\n")
                secure.sendall(head() + chunk(event(1)) + LAST)
                return
            secure.sendall(frame(4, 0, 0))
            seen = b""
            while b"\x01" not in [seen[at + 3 : at + 4] for at in _frames(seen)]:
                if not (more := secure.recv(4096)):
                    return
                seen += more
            block = b"".join(field(*each) for each in ((b":status", b"200"), *fields))
            secure.sendall(frame(1, 4, 1, block) + frame(0, 1, 1, event(1)))
            while secure.recv(4096):
                pass

    with serving(script) as url:
        yield url.replace("http://", "https://")


def _frames(seen: bytes) -> Iterator[int]:
    at = 24  # the preface
    while at + 9 <= len(seen):
        yield at
        at += 9 + int.from_bytes(seen[at : at + 3], "big")
