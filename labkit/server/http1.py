"""What exists only in HTTP/1.x: a server's stream, and what a handler does to the connection that carries it.

Later HTTP versions end an answer, and tell of a peer that has gone, by themselves: there the functions that take a
handler do nothing, or what an ``Exchange`` does in place of the connection. ``accepted`` is for every stream, a
WebSocket's too. How requests are read, and where Tornado falls short of the RFCs there, is in ``http1_requests.py``.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio import Future
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders
from tornado.iostream import UnsatisfiableReadError
from tornado.web import RequestHandler

from labkit.server import fanout
from labkit.server.exchange import Exchange
from labkit.sockets import limit_unread

LINGER_S = 2.0
HEAD_S = 20.0
"""How long a head may take from its first bytes to its last; before it has begun, a kept connection may be idle."""
MAX_AHEAD_BYTES = 256 << 10  # of requests pipelined behind a parked one; who sends more is let go


class LabStream(fanout.TellingStream):
    """A server-side stream that can watch for its peer's going while a request of that peer is parked.

    Tornado stops listening once it holds unread bytes, so a client that pipelined a second request behind a parked
    one and left would stay unnoticed. While ``watching``, the stream listens regardless.

    A stream that is closed while its peer still sends a body would take the answer back: the system resets such a
    connection. With ``lingering`` it first throws away what comes, for a bounded time (RFC 9112 section 9.6).

    Nagle's algorithm is off from the first byte to the last. Tornado turns it on again after each finished response,
    the 101 included, and then what is sent after something unacknowledged waits for the peer's delayed acknowledgement.
    """

    __slots__ = ("_drain", "_holder", "_timed_head", "lingering", "state", "watching")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        super().set_nodelay(True)
        self.watching = self.lingering = False
        self._timed_head: Future[bytes] | None = None
        self._drain: tuple[socket.socket, asyncio.TimerHandle] | None = None
        self.state: dict[str, Any] | None = None
        self._holder: set[LabStream] = set()

    def held_in(self, holder: set[LabStream]) -> None:
        """Be in *holder* until closed."""
        self._holder = holder
        holder.add(self)

    def set_nodelay(self, value: bool) -> None:
        """Nothing: it is off for good."""

    def read_until_regex(self, regex: bytes, max_bytes: int | None = None) -> Awaitable[bytes]:
        """Read a request's head (Tornado reads nothing else by a regex)."""
        head = super().read_until_regex(regex, max_bytes)
        self._time_head()  # a part of it may have come with the request before
        return head

    def _handle_read(self) -> None:
        super()._handle_read()
        self._time_head()

    def _time_head(self) -> None:
        """Give a head that has begun, and is not whole, its time; one that comes at once has no timer."""
        head = self._read_future
        if self._read_regex is None or head is None or head is self._timed_head or not self._read_buffer_size:
            return
        self._timed_head = head
        timer = asyncio.get_running_loop().call_later(HEAD_S, self._end_head)
        head.add_done_callback(lambda _: timer.cancel())

    def _end_head(self) -> None:
        if not self.closed():
            self._say(b"408 Request Timeout")
            self.lingering = True  # it may still send
            super().close()

    def _say(self, status: bytes) -> None:
        if not len(self._write_buffer):  # else an answer before this one is not out yet
            with suppress(OSError):
                self.socket.send(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    def close(self, exc_info: Any = False) -> None:
        """Close; say why first, to a peer whose request has a head, or a chunk's head, beyond Tornado's limits."""
        if isinstance(exc_info, UnsatisfiableReadError) and not self.closed():
            status = b"400 Bad Request" if self._read_regex is None else b"431 Request Header Fields Too Large"
            self._say(status)
        super().close(exc_info)

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        if self.watching and self._read_buffer_size > MAX_AHEAD_BYTES:
            return 0  # an end
        return super().read_from_fd(buf)

    def close_fd(self) -> None:
        if self.lingering:
            self._begin_drain()
        else:
            super().close_fd()
            self._holder.discard(self)

    def _begin_drain(self) -> None:
        sock, self.socket = self.socket, None  # type: ignore[assignment]
        self._drain = sock, asyncio.get_running_loop().call_later(LINGER_S, self.end_drain)
        self.io_loop.add_handler(sock, self._drain_some, self.io_loop.READ)  # any loop can: Windows' own has no reader
        with suppress(OSError):
            sock.shutdown(socket.SHUT_WR)

    def _drain_some(self, *_: object) -> None:
        assert self._drain is not None
        with suppress(BlockingIOError):
            try:
                if self._drain[0].recv(1 << 16):
                    return
            except ConnectionError:
                pass
            self.end_drain()

    def end_drain(self) -> None:
        """Stop lingering, if it does."""
        if self._drain is not None:
            (sock, timer), self._drain = self._drain, None
            self.io_loop.remove_handler(sock)
            timer.cancel()
            sock.close()
            self._holder.discard(self)

    def reading(self) -> bool:
        return self.watching or super().reading()


async def accepted(write: asyncio.Future[None], timeout_s: float) -> None:
    """Wait until a write to a stream was accepted, at most *timeout_s* seconds: a peer may stop reading.

    The future is Tornado's own: cancelled, it is logged as an error, hence the shield; and its exception must be
    looked at even when nobody waits for it any more.

    Raises:
        TimeoutError: it was not.
    """
    if write.done():  # as it mostly is: the system took all of it
        return write.result()
    write.add_done_callback(lambda done: done.cancelled() or done.exception())
    async with asyncio.timeout(timeout_s):
        await asyncio.shield(write)


def watch(handler: RequestHandler, on: bool) -> None:
    """Notice at once when the client of a parked request goes. Later HTTP versions report it by themselves."""
    connection = handler.request.connection
    if isinstance(connection, HTTP1Connection) and isinstance(connection.stream, LabStream):
        stream = connection.stream
        stream.watching = on
        if on and stream.closed():
            handler.on_connection_close()  # it went with the request's own bytes: nobody will be told again
        elif on:
            stream._add_io_state(stream.io_loop.READ)
    elif isinstance(connection, Exchange) and on and connection.closed:
        handler.on_connection_close()


def linger(handler: RequestHandler) -> None:
    """Let the peer read the answer although it still sends. Later HTTP versions end one direction by themselves."""
    connection = handler.request.connection
    if isinstance(connection, HTTP1Connection) and isinstance(connection.stream, LabStream):
        connection.stream.lingering = True


def connection_state(handler: RequestHandler) -> dict[str, Any]:
    """HTTP/1.x only: what is remembered of the connection that carries this exchange (for pipelining)."""
    connection = handler.request.connection
    if handler.request.method == "HEAD":
        return {}  # it gives nothing
    if isinstance(connection, HTTP1Connection) and isinstance(connection.stream, LabStream):
        if connection.stream.state is None:
            connection.stream.state = {}
        return connection.stream.state
    return {}


def let_go_unread(handler: RequestHandler, timeout_s: float | None) -> None:
    """Give up the connection when its peer takes nothing of what was written for so long; None: leave that to us.

    In later versions many exchanges share it: how long it may take nothing is decided once.

    The end of an answer is no longer waited for once the system has accepted it.
    """
    connection = handler.request.connection
    if isinstance(connection, HTTP1Connection) and not connection.stream.closed():
        limit_unread(connection.stream.socket, timeout_s)


def accepted_in_time(handler: RequestHandler, written: Future[None], timeout_s: float) -> None:
    """Give up the exchange unless the system has accepted the end of an answer in time. Nothing waits for it."""
    if not written.done():
        late = asyncio.get_running_loop().call_later(timeout_s, abort, handler)
        written.add_done_callback(lambda _: late.cancel())


def forget_headers(handler: RequestHandler) -> None:
    """Let go of both heads once the answer's is out: a browser's takes kilobytes for as long as the stream lasts."""
    handler.request.headers = HTTPHeaders()
    handler._headers = HTTPHeaders()
    if isinstance(handler.request.connection, HTTP1Connection):
        handler.request.connection._request_headers = handler.request.headers


def abort(handler: RequestHandler, *, fault: bool = False) -> None:
    """Give up the exchange, in HTTP/1.x with its connection: its peer does not read, or by a *fault* of ours."""
    connection = handler.request.connection
    if isinstance(connection, HTTP1Connection):
        connection.stream.close()
    elif isinstance(connection, Exchange):
        connection.abort(fault=fault)


def require_upgrade(handler: RequestHandler, protocol: str) -> bool:
    """Name the protocol that this address speaks instead (RFC 9110 sections 7.8 and 15.5.22).

    False: from HTTP/2 on there is no upgrade, and no 426 (RFC 9113 section 8.6).
    """
    if not isinstance(handler.request.connection, HTTP1Connection):
        return False
    handler.set_header("Upgrade", protocol)
    handler.set_header("Connection", "Upgrade")
    return True


def end_body_by_closing(handler: RequestHandler) -> None:
    """HTTP/1.x only: no chunked coding, the body ends where the connection does (RFC 9112 section 6.3, rule 8).

    Tornado chunks every HTTP/1.1 answer without a length and keeps an HTTP/1.0 connection alive when asked to; so
    it is shown a request of HTTP/1.0 that did not ask. Later versions end a body by themselves: nothing is done.
    """
    connection = handler.request.connection
    if isinstance(connection, HTTP1Connection) and connection._request_start_line is not None:
        connection._request_start_line = connection._request_start_line._replace(version="HTTP/1.0")
        connection._request_headers = HTTPHeaders()
        connection._disconnect_on_finish = True
        handler.set_header("Connection", "close")
