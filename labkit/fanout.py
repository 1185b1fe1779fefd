"""The fast way out: events straight to the sockets of idle subscribers. A learner never needs to open this file.

A technique's handler is parked in ``Subscriber.blocks()`` while nothing is queued for it, and Tornado's stream has
nothing buffered. Then an event need not wake the handler: its bytes, framed once for all subscribers of a group,
go to ``socket.send`` from the fan-out loop. Whatever the socket does not take at once is given to Tornado's stream,
in order, and the next events go the ordinary way until handler and stream are idle again.

Why that is safe: everything runs on one thread; bytes are sent directly only while the stream's write buffer is
empty, so they cannot overtake or split anything that Tornado writes (a pong, a close frame, the last chunk); and
the handler learns from its position in the log that the event was delivered.

The private names of Tornado used here: ``IOStream._write_buffer``, ``HTTP1Connection._chunking_output``,
``WebSocketProtocol13._compressor``.
``Lab(fanout="plain")`` does without.
"""

from __future__ import annotations

from collections.abc import Callable

from tornado.http1connection import HTTP1Connection
from tornado.iostream import IOStream, SSLIOStream
from tornado.web import RequestHandler
from tornado.websocket import WebSocketHandler, WebSocketProtocol13

from labkit.hub import Subscriber, Wrap


def attach(handler: RequestHandler, subscriber: Subscriber) -> None:
    """Let fan-out send to this handler's subscriber directly, where its connection allows."""
    connection = handler.request.connection
    if isinstance(connection, HTTP1Connection):
        wrap = as_chunk if connection._chunking_output else None
        attach_stream(connection.stream, subscriber, wrap)


def attach_websocket(handler: WebSocketHandler, subscriber: Subscriber, frame: Wrap) -> None:
    """The same for a WebSocket whose messages are not deflated; *frame* puts the frame header around one."""
    protocol = handler.ws_connection
    if isinstance(protocol, WebSocketProtocol13) and protocol._compressor is None:
        attach_stream(protocol.stream, subscriber, frame)
        if (send := subscriber.direct) is not None:  # no data frame after a close frame (RFC 6455 section 5.5.1)
            subscriber.direct = lambda data: not protocol.server_terminated and send(data)


def attach_stream(stream: IOStream, subscriber: Subscriber, wrap: Wrap | None) -> None:
    """The same for any stream: *wrap* adds what the connection puts around one event's bytes."""
    if not isinstance(stream, SSLIOStream) and not subscriber.closed and not stream.closed():
        subscriber.topic.hub.regroup(subscriber, wrap, sender(stream))


def as_chunk(data: bytes) -> bytes:
    """One chunk of RFC 9112 section 7.1."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def sender(stream: IOStream) -> Callable[[bytes], bool]:
    """A function that sends to *stream*'s socket; False when the ordinary way must be taken."""
    send = stream.socket.send
    buffered = stream._write_buffer

    def direct(data: bytes) -> bool:
        if buffered._size:
            return False
        try:
            sent = send(data)
        except BlockingIOError:
            return False
        except OSError as error:
            if not stream.closed():
                stream.close(exc_info=error)
            return False
        if sent != len(data):
            stream.write(memoryview(data)[sent:])
        return True

    return direct
