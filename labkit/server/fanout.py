"""The fast way out: events straight to the sockets of idle subscribers. A learner never needs to open this file.

A technique's handler is parked in ``Subscriber.blocks()`` while nothing is queued for it, and Tornado's stream has
nothing buffered. Then an event need not wake the handler: its bytes, framed once for all subscribers of a group,
go to ``socket.send`` from the fan-out loop. Whatever the socket does not take at once is given to Tornado's stream,
in order, and the next events go the ordinary way until handler and stream are idle again.

Why that is safe: everything runs on one thread; bytes are sent directly only while the handler is parked and the
stream's write buffer is empty, so they cannot overtake or split what Tornado writes meanwhile (a ping, a pong, the
answer to a publish): a write closes the direct way, and opens it again only if all of it has left. They cannot follow
what must come last: with the last chunk the subscriber is closed, and before a close frame the stream parts from it.
The handler learns from its position in the log that the event was delivered.

Over TLS there is no direct way, and none over HTTP/2, whose streams share a connection, its windows and its frames:
each event goes through the handlers and their own flushes.

The private names of Tornado used here: ``IOStream._write_buffer``, ``HTTP1Connection._chunking_output``.
``Lab(fanout="plain")`` does without.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable
from typing import Any

from tornado.http1connection import HTTP1Connection
from tornado.iostream import IOStream, SSLIOStream
from tornado.web import RequestHandler

from labkit.server.encoding import Wrap
from labkit.server.subscriber import Subscriber
from labkit.wire.chunks import encode_chunk


def attach(handler: RequestHandler, subscriber: Subscriber) -> None:
    """Let fan-out send to this handler's subscriber directly, where its connection allows."""
    connection = handler.request.connection
    if isinstance(connection, HTTP1Connection):
        wrap = encode_chunk if connection._chunking_output else None
        attach_stream(connection.stream, subscriber, wrap)


def attach_stream(stream: IOStream, subscriber: Subscriber, wrap: Wrap | None) -> None:
    """The same for any stream: *wrap* adds what the connection puts around one event's bytes."""
    if not isinstance(stream, TellingStream) or isinstance(stream, SSLIOStream):
        return  # TLS seals each connection's bytes apart, and may have to read before it can write
    if not subscriber.closed and subscriber.closing is None and not stream.closed():
        stream.told = subscriber
        subscriber.attach(wrap, StreamSocket(stream))


class TellingStream(IOStream):
    """A stream that tells a subscriber when anybody writes to it."""

    __slots__ = ("told",)  # a 31st attribute in its ``__dict__`` would take 1.3 KiB

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.told: Subscriber | None = None

    def write(self, data: bytes | memoryview) -> Future[None]:
        if self.told is None:
            return super().write(data)
        self.told.go_ordinary_way()
        written = super().write(data)
        self.told.go_direct()
        return written

    def part(self) -> None:
        """Let nothing be sent directly any more: what is written next comes last (RFC 6455 section 5.5.1)."""
        if self.told is not None:
            self.told.go_ordinary_way()
            self.told.direct = None
            self.told = None


class StreamSocket:
    """The socket of a stream as a :class:`labkit.server.subscriber.Direct`."""

    __slots__ = ("_stream", "send")

    def __init__(self, stream: TellingStream) -> None:
        self._stream = stream
        self.send: Callable[[bytes], int] = stream.socket.send

    def free(self) -> bool:
        return not self._stream.closed() and not len(self._stream._write_buffer)

    def rest(self, data: memoryview) -> None:
        self._stream.write(data)

    def refused(self, error: OSError) -> None:
        if not isinstance(error, BlockingIOError) and not self._stream.closed():
            self._stream.close(exc_info=error)
