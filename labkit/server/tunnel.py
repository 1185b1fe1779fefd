"""What a WebSocket handler takes for its stream, where an exchange carries the WebSocket (RFC 8441).

Of Tornado's ``IOStream`` this has what its WebSocket protocol uses, no more. The end of either direction closes both,
as the end of a TCP connection does there.
"""

from __future__ import annotations

import asyncio
from asyncio import Future

from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError

from labkit.server.carrier import Carrier


class Tunnel:
    """Bytes both ways. The peer may send more when what it has sent is read, or waited for."""

    __slots__ = ("_buffer", "_carrier", "_closed", "_ended", "_held", "_read", "_size", "io_loop")

    def __init__(self, carrier: Carrier) -> None:
        self.io_loop = IOLoop.current()
        self._carrier = carrier
        self._buffer = bytearray()
        self._held = 0  # bytes that the peer has sent and was not given back
        self._read: Future[bytes] | None = None
        self._size = 0  # that it waits for
        self._closed = self._ended = False

    def closed(self) -> bool:
        return self._closed

    def set_nodelay(self, value: bool) -> None:
        """Nothing: streams share a connection, where nothing waits."""

    # -- what a WebSocket calls ---------------------------------------------------------------------------------

    def write(self, data: bytes) -> Future[None]:
        if self._closed:
            raise StreamClosedError
        return self._carrier.write(data)

    def read_bytes(self, size: int) -> Future[bytes]:
        """Wait for that many bytes.

        Raises:
            StreamClosedError: they will not come.
        """
        assert self._read is None, "one reader"
        self._read = read = asyncio.get_running_loop().create_future()
        self._size = size
        self._go_on()
        return read

    def close(self, exc_info: object = False) -> None:
        """End both directions, once what was written has left."""
        if not self._closed:
            self._closed = True
            self._carrier.write(b"", ends=True)
            self._carrier.stop()
            self._fail()

    # -- what the exchange calls --------------------------------------------------------------------------------

    def feed(self, data: bytes, size: int) -> None:
        """Bytes have come, *size* as the carrier counts them."""
        if self._closed:
            self._carrier.taken(size)
            return
        self._buffer += data
        self._held += size
        self._go_on()

    def end(self) -> None:
        """The peer says no more. What it has said can still be read."""
        self._ended = True
        self._go_on()

    def lost(self) -> None:
        """The exchange is over."""
        self._closed = True
        self._fail()

    def _go_on(self) -> None:
        read = self._read
        if read is not None and self._size <= len(self._buffer):
            data = bytes(self._buffer[: self._size])
            del self._buffer[: self._size]
            self._read = None
            if not read.done():
                read.set_result(data)
        elif self._closed:
            self._fail()
        elif self._ended and read is not None:
            self.close()
        keeps = len(self._buffer) if self._read is None else 0
        if self._held > keeps:
            self._carrier.taken(self._held - keeps)
            self._held = keeps

    def _fail(self) -> None:
        read, self._read = self._read, None
        if read is not None and not read.done():
            read.set_exception(StreamClosedError())
            read.exception()
