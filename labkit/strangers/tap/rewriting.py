"""The heads of a conversation through another address, as if it had gone to the target itself.

Towards the target ``Host`` names it, and ``Origin`` and ``Referer`` where they named the address that is listened on;
towards the client ``Location``, ``Access-Control-Allow-Origin`` and cookies name that address again. All other bytes
pass as they are and at once, the bodies among them; of a head, what there is waits until it is whole. Bytes that are
no HTTP/1 end the reading: they pass, and so does all that follows them.

HTTP/1 heads alone (RFC 9112): an HTTP/2 client's pass as they are. Addresses within bodies are not looked for.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable

from labkit.client.address import DEFAULT_PORTS, Address
from labkit.errors import WireError
from labkit.wire.chunks import ChunkCutter
from labkit.wire.http1 import Head, body_length, head_end, read_request, read_response

_FIELD = re.compile(rb"(?m)^([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(:[ \t]*)([^\r\n]*)")
_DOMAIN = re.compile(rb";[ \t]*domain[ \t]*=[^;]*", re.IGNORECASE)
_SECURE = re.compile(rb";[ \t]*secure[ \t]*(?=;|$)", re.IGNORECASE)

Change = Callable[[Head, bytes], bytes]
"""Takes a head, read and as it came; gives it as it goes on."""


class Heads:
    """One direction: bytes in, bytes out, each whole head through *change*.

    Args:
        read: reads a head.
        change: what is made of it.
        length: of the body behind it: bytes, ``chunked``, ``close``; or ``raw`` where HTTP ends.
    """

    def __init__(self, read: Callable[[bytes], Head], change: Change, length: Callable[[Head], int | str]) -> None:
        self._read = read
        self._change = change
        self._length = length
        self._held = bytearray()
        self._left: int | None = 0  # of a body; None: to the end
        self._chunks: ChunkCutter | None = None

    @property
    def is_raw(self) -> bool:
        """Whether nothing more of it is read."""
        return self._left is None

    def feed(self, data: bytes) -> bytes:
        """What goes on of this."""
        gone = bytearray()
        while data:
            if self._left is None:
                gone += data
                break
            if self._chunks is not None:
                data = self._chunked(data, gone)
            elif self._left:
                gone += data[: self._left]
                data, self._left = data[self._left :], max(0, self._left - len(data))
            else:
                data = self._head(data, gone)
        return bytes(gone)

    def rest(self) -> bytes:
        """What was held when the direction ended."""
        held = bytes(self._held)
        self._held.clear()
        return held

    def go_raw(self) -> None:
        """Read nothing more."""
        self._left, self._chunks = None, None

    def _head(self, data: bytes, gone: bytearray) -> bytes:
        self._held += data
        try:
            size = head_end(self._held)
            if size is None:
                return b""
            raw = bytes(self._held[:size])
            head = self._read(raw)
            gone += self._change(head, raw)
            length = self._length(head)
        except WireError:
            gone += self.rest()
            self.go_raw()
            return b""
        rest = bytes(self._held[size:])
        self._held.clear()
        if length == "chunked":
            self._chunks = ChunkCutter()
        elif isinstance(length, int):
            self._left = length
        else:
            self.go_raw()
        return rest

    def _chunked(self, data: bytes, gone: bytearray) -> bytes:
        assert self._chunks is not None
        try:
            self._chunks.pieces(data)
        except WireError:
            self.go_raw()
            return data
        rest = self._chunks.leftover if self._chunks.done else b""
        gone += data[: len(data) - len(rest)]
        if self._chunks.done:
            self._chunks = None
        return rest


class Rewriter:
    """Both directions of one connection.

    Args:
        here: the address that is listened on.
        there: the target's.
    """

    def __init__(self, here: Address, there: Address) -> None:
        self._here, self._there = here, there
        self._methods: deque[str] = deque()
        self.out = Heads(read_request, self._asked, self._body_of_request)
        self.back = Heads(read_response, self._answered, self._body_of_answer)

    def _asked(self, head: Head, raw: bytes) -> bytes:
        self._methods.append(head.method)
        here, there = origins(self._here), origins(self._there)[0]

        def changed(found: re.Match[bytes]) -> bytes:
            name, colon, value = found.groups()
            kind = name.lower()
            if kind == b"host":
                value = self._there.authority.encode()
            elif kind in (b"origin", b"referer"):
                value = moved(value, here, there)
            return name + colon + value

        return _FIELD.sub(changed, raw)

    def _answered(self, head: Head, raw: bytes) -> bytes:
        here, there = origins(self._here)[0], origins(self._there)

        def changed(found: re.Match[bytes]) -> bytes:
            name, colon, value = found.groups()
            kind = name.lower()
            if kind in (b"location", b"content-location", b"access-control-allow-origin"):
                value = moved(value, there, here)
            elif kind == b"set-cookie":
                value = _DOMAIN.sub(b"", value)
                value = value if self._here.is_secure else _SECURE.sub(b"", value)
            return name + colon + value

        return _FIELD.sub(changed, raw)

    def _body_of_request(self, head: Head) -> int | str:
        if head.method == "CONNECT":
            return "raw"
        return body_length(head)

    def _body_of_answer(self, head: Head) -> int | str:
        if head.status == 101:
            self.out.go_raw()
            return "raw"
        if head.status < 200:
            return 0
        return body_length(head, self._methods.popleft() if self._methods else "")


def origins(address: Address) -> list[bytes]:
    """How an address may be named as an origin: as a client writes it, then with the port, then by the loopback's other
    names."""
    scheme = {"ws": "http", "wss": "https"}.get(address.scheme, address.scheme)
    hosts = [address.host]
    if address.host in ("127.0.0.1", "localhost"):
        hosts = [address.host, *({"127.0.0.1", "localhost"} - {address.host})]
    found = [f"{scheme}://{address.authority}"]
    found += [f"{scheme}://{f'[{host}]' if ':' in host else host}:{address.port}" for host in hosts]
    if address.port == DEFAULT_PORTS[address.scheme]:
        found += [f"{scheme}://{host}" for host in hosts]
    return [one.encode() for one in dict.fromkeys(found)]


def moved(value: bytes, before: list[bytes], after: bytes) -> bytes:
    """*value* with the origin *after* for one of *before*, if it begins with one; else as it is."""
    for origin in before:
        rest = value[len(origin) :]
        if value[: len(origin)].lower() == origin.lower() and (not rest or rest[:1] in b"/?#"):
            return after + rest
    return value
