"""One accepted connection: what comes is read at once, so that it is known when the other side leaves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from dataclasses import dataclass
from urllib.parse import parse_qs

import h11

MAX_HEAD = 64 * 1024
MAX_BODY = 4 * 1024 * 1024
"""Of what a client reports. One that sends more than this unread is left."""
WRITE_S = 10.0
"""How long a write may wait for a client that does not read."""
IDLE_S = 60.0
"""How long a connection may stay without a whole request."""


class Gone(Exception):
    """The other side has left, or does not read."""


class BadRequest(Exception):
    """What was sent is not HTTP, or too much; the message is for the answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """One whole request."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes
    keeps: bool

    @property
    def path(self) -> str:
        """The path of its target, which may be in absolute form (RFC 9112 section 3.2.2)."""
        path = self.target.partition("?")[0]
        return path if path.startswith("/") else f"/{path.partition('://')[2].partition('/')[2]}"

    def query(self, name: str, default: str = "") -> str:
        """A parameter of its target."""
        return parse_qs(self.target.partition("?")[2], errors="replace").get(name, [default])[0]

    def field(self, name: str) -> str:
        """The first field of that name; empty if there is none."""
        return next((value for key, value in self.fields if key.lower() == name), "")


class Peer:
    """The other side of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.buffer = bytearray()
        self.left = asyncio.Event()
        self._reader = reader
        self._writer = writer
        self._came = asyncio.Event()
        self._pump = asyncio.ensure_future(self._read())

    @property
    def name(self) -> str:
        """The address without the port."""
        return str(self._writer.get_extra_info("peername", ("?",))[0])

    async def _read(self) -> None:
        try:
            while len(self.buffer) <= MAX_BODY and (data := await self._reader.read(65536)):
                self.buffer += data
                self._came.set()
        except OSError:
            pass
        finally:
            self.left.set()
            self._came.set()

    async def more(self, timeout_s: float) -> bool:
        """Wait for more in ``buffer``; False if nothing came in time, or no more can come."""
        if self.left.is_set():
            return False
        self._came.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._came.wait()
        except TimeoutError:
            return False
        return not self.left.is_set() or bool(self.buffer)

    async def request(self) -> Request | None:
        """The next request; None if none comes whole within :data:`IDLE_S`.

        Raises:
            BadRequest: it is not HTTP/1.x, or too large.
        """
        try:
            async with asyncio.timeout(IDLE_S):
                return await self._request()
        except TimeoutError:
            return None

    async def _request(self) -> Request | None:
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        head: h11.Request | None = None
        body = bytearray()
        while True:
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError as error:
                raise BadRequest(str(error)) from None
            if event is h11.NEED_DATA:
                if parser.they_are_waiting_for_100_continue:
                    parser.send(h11.InformationalResponse(status_code=100, headers=[]))
                    await self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                if not self.buffer and not await self.more(IDLE_S):
                    return None
                parser.receive_data(bytes(self.buffer))
                self.buffer.clear()
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > MAX_BODY:
                    raise BadRequest(f"a body of over {MAX_BODY} bytes")
            else:
                break
        if head is None:
            return None
        self.buffer[:0] = parser.trailing_data[0]
        fields = [(_text(name), _text(value)) for name, value in head.headers.raw_items()]
        keeps = parser.our_state is not h11.MUST_CLOSE and parser.their_state is not h11.MUST_CLOSE
        return Request(_text(head.method), _text(head.target), fields, bytes(body), keeps)

    async def write(self, data: bytes) -> None:
        """One write, and no more once the other side has left.

        Raises:
            Gone: it has left, or takes nothing.
        """
        if self.left.is_set():
            raise Gone
        self._writer.write(data)
        try:
            async with asyncio.timeout(WRITE_S):
                await self._writer.drain()
        except (OSError, TimeoutError):
            raise Gone from None

    async def pause(self, s: float) -> None:
        """Nothing, for so long.

        Raises:
            Gone: the other side has left in the meantime.
        """
        try:
            async with asyncio.timeout(s):
                await self.left.wait()
        except TimeoutError:
            return
        raise Gone

    def reset(self) -> None:
        """End the connection by a reset."""
        linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        with contextlib.suppress(OSError):  # it is closed: the other side was faster
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()

    async def close(self) -> None:
        """End the connection; what was written is still sent, to whoever takes it in time."""
        self._pump.cancel()
        self._writer.close()
        try:
            async with asyncio.timeout(WRITE_S):
                await self._writer.wait_closed()
        except OSError:
            pass
        except BaseException:
            self._writer.transport.abort()
            raise


def _text(raw: bytes) -> str:
    """UTF-8 as it is; other bytes as ``\\xe9``, so that they are seen."""
    return raw.decode("utf-8", "backslashreplace")
