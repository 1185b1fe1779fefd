"""One HTTP exchange as Tornado's ``HTTPConnection``, whatever carries it: a stream of HTTP/2, and of later versions.

An HTTP/1 connection carries one exchange after another, and Tornado's own class is both. From HTTP/2 on they are two:
a ``Carrier`` moves heads and pieces of bodies, and this is what a handler of any technique sees of it. What
``RequestHandler`` wants beyond the interface: ``set_close_callback``, a ``context`` of the exchange's own, ``detach``.

A request with a body is handed on as it comes, as fast as its handler takes it; the peer may send more when it has.
An answer that ends before its request does is a whole answer all the same (RFC 9110 section 7.5): what still comes is
dropped. Fields that are a connection's own business are dropped on both ways (RFC 9110 section 7.6.1).
"""

from __future__ import annotations

import asyncio
import copy
from asyncio import Future
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    HTTPOutputError,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import StreamClosedError
from tornado.log import app_log

from labkit.server.carrier import Carrier
from labkit.server.tunnel import Tunnel

HOP_BY_HOP = frozenset(
    "connection keep-alive proxy-connection te transfer-encoding upgrade sec-websocket-accept http2-settings".split()
)
"""What one connection's two ends tell each other, in lower case, and what answers a WebSocket's key."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request's body may have: bytes, and seconds from its head to its end."""

    body_bytes: int
    body_s: float | None


class Room:
    """How many exchanges a server has that share connections: each takes as much as a connection of HTTP/1 does.

    Args:
        is_left: whether there is room for one more.
    """

    __slots__ = ("is_left", "taken")

    def __init__(self, is_left: Callable[[], bool]) -> None:
        self.is_left = is_left
        self.taken = 0


class Exchange(HTTPConnection):
    """A request and its answer. Its carrier calls :meth:`begin`, :meth:`received`, :meth:`ended` and :meth:`lost`."""

    __slots__ = (
        "_begun",
        "_body",
        "_body_left",
        "_carrier",
        "_close_callback",
        "_delegate",
        "_is_tunnel",
        "_late",
        "_left",
        "_limits",
        "_method",
        "_tunnel",
        "_upgraded",
        "_waiting",
        "_whole",
        "closed",
        "context",
    )

    def __init__(self, carrier: Carrier, context: object, limits: Limits) -> None:
        self.context = copy.copy(context)  # Tornado may write into it what this request's fields say of its client
        self.closed = False
        self._carrier = carrier
        self._limits = limits
        self._delegate: HTTPMessageDelegate | None = None  # until the request is whole
        self._close_callback: Callable[[], None] | None = None
        self._body: deque[bytes | None] = deque()  # None: its end
        self._body_left = limits.body_bytes
        self._waiting = False  # the handler has not taken the last piece yet
        self._late: asyncio.TimerHandle | None = None
        self._method = ""
        self._left: int | None = None  # of the answer's Content-Length
        self._begun = self._whole = False  # the answer is
        self._is_tunnel = self._upgraded = False
        self._tunnel: Tunnel | None = None

    # -- the request: called by the carrier ---------------------------------------------------------------------

    def begin(
        self, delegate: HTTPMessageDelegate, line: RequestStartLine, headers: HTTPHeaders, *, tunnel: bool = False
    ) -> None:
        """Hand the request's head on. *tunnel*: it asks for a WebSocket, and looks as if it did by an upgrade."""
        self._delegate, self._method, self._is_tunnel = delegate, line.method, tunnel
        if self._limits.body_s is not None and not tunnel:
            self._late = asyncio.get_running_loop().call_later(self._limits.body_s, self.abort)
        self._hand_on(lambda: delegate.headers_received(line, headers))
        if tunnel:
            self.ended()
            self._tunnel = Tunnel(self._carrier)  # what comes then is no body
        elif headers.get("Expect", "").lower() == "100-continue" and not self._begun and not self.closed:
            self._carrier.begin(100, [], ends=False)

    def received(self, data: bytes, size: int) -> None:
        """Hand a piece of the body on, *size* bytes as the carrier counts them."""
        if self._tunnel is not None:
            self._tunnel.feed(data, size)
            return
        self._body_left -= len(data)
        if self._delegate is None or self._body_left < 0:
            self._carrier.taken(size)
            if self._body_left < 0:
                self.refuse(413)
            return
        if size > len(data):
            self._carrier.taken(size - len(data))  # padding
        self._body.append(data)
        self._go_on()

    def ended(self) -> None:
        """The request is whole; of a tunnel: its peer says no more."""
        if self._tunnel is not None:
            self._tunnel.end()
            return
        if self._delegate is not None:
            self._body.append(None)
            self._go_on()

    def lost(self) -> None:
        """The peer has given up the exchange, or its connection has ended."""
        if self.closed:
            return
        self.closed = True
        delegate, callback = self._delegate, self._close_callback
        self._end_request()
        self._body.clear()
        self._close_callback = None
        if self._tunnel is not None:
            self._tunnel.lost()
        if delegate is not None:
            delegate.on_connection_close()
        elif callback is not None:
            callback()

    def refuse(self, status: int, more: Sequence[tuple[str, str]] = ()) -> None:
        """Answer with nothing but a status and *more* fields; one that has begun to be answered is given up."""
        if self._whole or self.closed:
            return
        if self._begun:
            self.abort()
            return
        self._begun = self._whole = True
        self._carrier.begin(status, [("content-length", "0"), *more], ends=True)
        self._carrier.stop()
        self.lost()

    def _go_on(self) -> None:
        """Hand on what is here, as far as the handler takes it at once."""
        while self._body and not self._waiting and (delegate := self._delegate) is not None:
            piece = self._body.popleft()
            if piece is None:
                self._end_request()
                self._hand_on(delegate.finish)
            else:
                self._hand_on(lambda piece=piece: delegate.data_received(piece), len(piece))  # type: ignore[misc]

    def _hand_on(self, call: Callable[[], Awaitable[None] | None], size: int = 0) -> None:
        try:
            waited = call()
        except HTTPInputError:
            self.refuse(400)
        except Exception:
            app_log.error("in an exchange", exc_info=True)
            self.abort(fault=True)
        else:
            if waited is None:
                self._carrier.taken(size)
                return
            self._waiting = True
            asyncio.ensure_future(waited).add_done_callback(lambda done: self._ready(done, size))

    def _ready(self, done: Future[None], size: int) -> None:
        self._waiting = False
        if not done.cancelled() and done.exception() is not None:
            app_log.error("in an exchange", exc_info=done.exception())
            self.abort(fault=True)
        elif not self.closed:
            self._carrier.taken(size)
            self._go_on()

    def _end_request(self) -> None:
        self._delegate = None
        if self._late is not None:
            self._late.cancel()
            self._late = None

    # -- the answer: called by Tornado --------------------------------------------------------------------------

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Have *callback* called when the exchange is lost before its answer is whole."""
        self._close_callback = callback

    def write_headers(self, start_line: Any, headers: HTTPHeaders, chunk: bytes | None = None) -> Future[None]:
        assert isinstance(start_line, ResponseStartLine)
        if self.closed:
            return _failed()
        dropped = HOP_BY_HOP | {name.strip().lower() for name in headers.get("Connection", "").split(",")}
        fields = [(name.lower(), value) for name, value in headers.get_all() if name.lower() not in dropped]
        if start_line.code == 101:
            if not self._is_tunnel:
                self.abort(fault=True)
                raise HTTPOutputError("an upgrade is HTTP/1's")
            self._begun = self._upgraded = True
            self._carrier.begin(200, fields, ends=False)  # RFC 8441 section 5
            return _done()
        if self._is_tunnel and 200 <= start_line.code < 300:  # the peer would take it for a WebSocket
            self.refuse(405)
            return _failed()
        empty = self._method == "HEAD" or start_line.code in (204, 304)
        length = headers.get("Content-Length")
        self._left = 0 if empty else None if length is None else int(length)
        chunk = chunk or b""
        self._count(chunk)
        self._begun, self._whole = True, self._left == 0
        self._carrier.begin(start_line.code, fields, ends=self._whole and not chunk)
        return self._carrier.write(chunk, ends=self._whole) if chunk else _done()

    def write(self, chunk: bytes) -> Future[None]:
        if self.closed:
            return _failed()
        if self._whole and not chunk:
            return _done()
        self._count(chunk)
        self._whole = self._left == 0
        return self._carrier.write(chunk, ends=self._whole)

    def finish(self) -> None:
        if self._upgraded or self.closed:
            return
        if self._left:
            self.abort(fault=True)
            raise HTTPOutputError(f"{self._left} bytes less than Content-Length")
        if not self._whole:
            self._whole = True
            self._carrier.write(b"", ends=True)
        if self._tunnel is not None:
            self._carrier.stop()
        elif self._delegate is not None:
            self._carrier.stop()
            asyncio.get_running_loop().call_soon(self.lost)  # who waits for the rest of the body

    def _count(self, chunk: bytes) -> None:
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:
                self.abort(fault=True)
                raise HTTPOutputError("more bytes than Content-Length")

    def detach(self) -> Any:
        """The tunnel in place of a stream, for a WebSocket (RFC 8441)."""
        self._close_callback = None
        return self._tunnel

    def abort(self, *, fault: bool = False) -> None:
        """Give up the exchange: its peer does not read, or by a *fault* of ours."""
        if not self.closed:
            self._carrier.reset(fault=fault)
            self.lost()


def _done() -> Future[None]:
    future: Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


def _failed() -> Future[None]:
    future: Future[None] = asyncio.get_running_loop().create_future()
    future.set_exception(StreamClosedError())
    future.exception()  # nobody has to look at it
    return future
