"""The far side of a connection to an HTTP proxy: where it leads is known with its first head (RFC 9112 section 3.2.2).

A request in the absolute form goes on in the origin form, with ``Connection: close``, so that one connection has one
server; what was for the proxy alone stays here. A CONNECT is answered once its server is reached, and what follows
passes unread (RFC 9110 section 9.3.6). It stands in the place of a wire, as ``far`` does.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from labkit.client.address import split
from labkit.errors import AddressError, WireError
from labkit.network.relay_wire import Wire
from labkit.wire.http1 import Head, head_end, read_request

_OWN = re.compile(rb"(?im)^proxy-[a-z-]+[ \t]*:[^\r\n]*\r?\n")
_CONNECTION = re.compile(rb"(?im)^connection[ \t]*:[^\r\n]*\r?\n")
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
NO_PROXY = "this is a proxy, and was asked as a server: curl -x, or a browser's --proxy-server"


class Forward:
    """A wire to whichever server the first request names.

    Args:
        dial: connects to a host and port.
    """

    def __init__(self, dial: Callable[[str, int], Awaitable[Wire]]) -> None:
        self._dial = dial
        self._wire: Wire | None = None
        self._held = bytearray()
        self._known = asyncio.Event()  # where it leads, or that it leads nowhere
        self._first = b""  # what the proxy itself answers
        self._has_ended = False

    @property
    def blocked(self) -> bool:
        return self._wire is not None and self._wire.blocked

    @property
    def lost(self) -> bool:
        return self._wire is not None and self._wire.lost

    def check(self) -> None:
        if self._wire is not None:
            self._wire.check()

    async def recv(self) -> bytes:
        """The next bytes for the client; empty at the end.

        Raises:
            ConnectionResetError: the server has reset the connection.
        """
        await self._known.wait()
        first, self._first = self._first, b""
        if first:
            return first
        return await self._wire.recv() if self._wire is not None else b""

    async def send(self, data: bytes) -> None:
        """Write what the client sent; hold it while its head is not whole.

        Raises:
            ConnectionResetError: the server has reset the connection.
        """
        if self._wire is not None:
            await self._wire.send(data)
        elif not self._known.is_set():
            self._held += data
            await self._begin()

    def finish(self, by: str | None = None) -> None:
        """Send the client's FIN."""
        if self._wire is not None:
            self._wire.finish(by)
        else:
            self._known.set()

    async def _begin(self) -> None:
        try:
            size = head_end(self._held)
            if size is None:
                return
            raw, rest = bytes(self._held[:size]), bytes(self._held[size:])
            head = read_request(raw)
            host, port, raw = led(head, raw)
        except (WireError, AddressError) as error:
            self._refuse(400, str(error))
            return
        try:
            self._wire = await self._dial(host, port)
        except OSError as error:
            self._refuse(502, f"{host}:{port} cannot be reached: {told(error)}")
            return
        if head.method == "CONNECT":
            self._first = ESTABLISHED
        if raw + rest:
            await self._wire.send(raw + rest)
        self._known.set()

    def _refuse(self, status: int, why: str) -> None:
        text = f"labkit tap: {why}\n".encode()
        self._first = (
            b"HTTP/1.1 %d \r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
            % (status, len(text))
        ) + text
        self._known.set()


def told(error: OSError) -> str:
    """Why, in the system's words: asyncio puts the address in their place."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


def led(head: Head, raw: bytes) -> tuple[str, int, bytes]:
    """Where a request to a proxy leads, and how it goes on there; nothing of a CONNECT does.

    Raises:
        AddressError: it names no server, or one that is not spoken to in clear text.
    """
    if head.method == "CONNECT":
        place = split(f"http://{head.target}")
        if ":" not in head.target:
            raise AddressError(f"CONNECT names a host and a port, not {head.target[:80]!r}")
        return place.host, place.port, b""
    if not head.target.lower().startswith("http://"):
        raise AddressError(NO_PROXY)
    place, parts = split(head.target), urlsplit(head.target)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    line, _, fields = raw.lstrip(b"\r\n").partition(b"\n")
    fields = _OWN.sub(b"", fields)
    if not head.has("connection", "upgrade"):
        fields = b"Connection: close\r\n" + _CONNECTION.sub(b"", fields)
    method, _, version = line.decode("latin-1").rstrip("\r").split(" ")
    return place.host, place.port, f"{method} {target} {version}\r\n".encode("latin-1") + fields
