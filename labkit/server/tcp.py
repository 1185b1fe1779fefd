"""A server of conversations over plain TCP: counted and bounded as on the HTTP port, with no HTTP in it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Callable

from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError
from tornado.tcpserver import TCPServer

from labkit.server import fanout
from labkit.server.access import Context
from labkit.server.http1 import LINGER_S, accepted
from labkit.sockets import READ_BYTES, limit_send_buffer


class ConversationServer(TCPServer):
    """Accepts connections as long as there is room, and has :meth:`converse` speak on each."""

    def __init__(self, context: Context, has_room: Callable[[], bool], send_buffer_bytes: int | None = None) -> None:
        super().__init__(max_buffer_size=1 << 20)  # messages are read piece by piece
        self.context = context
        self.has_room = has_room
        self.send_buffer_bytes = send_buffer_bytes
        self.streams: set[IOStream] = set()

    async def handle_stream(self, stream: IOStream, address: object) -> None:
        if not self.has_room():
            stream.close()
            return
        stream = fanout.TellingStream(stream.socket, max_buffer_size=stream.max_buffer_size)  # it has read nothing yet
        self.streams.add(stream)
        stream.set_nodelay(True)
        limit_send_buffer(stream.socket, self.send_buffer_bytes)
        try:
            await self.converse(stream)
        except (StreamClosedError, UnsatisfiableReadError, TimeoutError):
            pass  # gone, or silent, or sent more than a message may have
        finally:
            stream.close()
            self.streams.discard(stream)

    async def converse(self, stream: IOStream) -> None:
        """Speak with one client; its connection is closed afterwards."""
        raise NotImplementedError

    async def say(self, stream: IOStream, data: bytes) -> None:
        """Write, and wait until it was accepted, for a bounded time: a peer may stop reading."""
        await accepted(stream.write(data), self.context.write_timeout_s)

    async def end_with(self, stream: IOStream, data: bytes) -> None:
        """Say a last thing. What the peer still sends is dropped: a reset would take the answer back."""
        await self.say(stream, data)
        if not stream.closed():
            with contextlib.suppress(OSError):
                stream.socket.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(LINGER_S):
            while True:
                await stream.read_bytes(READ_BYTES, partial=True)

    def close_all(self) -> None:
        """Stop listening and end every connection."""
        self.stop()
        for stream in list(self.streams):
            stream.close()


async def ended_by(end: bytes, stream: IOStream, limit: int) -> AsyncGenerator[bytes, None]:
    """The messages that end with *end*, until one has more than *limit* bytes."""
    held = bytearray()
    while len(held) <= limit:
        *wholes, rest = (await stream.read_bytes(READ_BYTES, partial=True)).split(end)
        for whole in wholes:
            held += whole
            if len(held) > limit:
                return
            yield bytes(held)
            held.clear()
        held += rest
