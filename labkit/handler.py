"""What every HTTP route of a lab has in common: who may ask, how parameters are read, how events are written.

A technique's handler touches the wire only through ``set_status``, ``set_header``, ``send`` and ``finish``. It
frames its events in the body, from one writer, and does not know which HTTP version carries it. What exists only
in HTTP/1.x is at the foot of this file.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders
from tornado.iostream import StreamClosedError, UnsatisfiableReadError
from tornado.log import app_log
from tornado.web import HTTPError, RequestHandler, stream_request_body

from labkit import fanout
from labkit.errors import CursorError, EventTooLarge, LabClosed
from labkit.events import Cursor, Event, Page, now_ns
from labkit.hub import Encode, Hub, Subscriber, TooManyTopics, check_data, check_topic, too_large
from labkit.tokens import Tokens

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
MAX_TIMEOUT_S = 600.0
LINGER_S = 2.0
MAX_AHEAD_BYTES = 256 << 10  # of requests pipelined behind a parked one; who sends more is let go
# the host, and with it perhaps a port, of a Host header or of an origin (RFC 3986 section 3.2; no user information)
_AUTHORITY = r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,255})(?::[0-9]{1,5})?"
_HOST = re.compile(_AUTHORITY, re.ASCII | re.IGNORECASE)
_ORIGIN = re.compile(rf"https?://{_AUTHORITY}", re.ASCII | re.IGNORECASE)
_LENGTH = re.compile(r"[0-9]{1,40}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,9})?", re.ASCII)


@dataclass(slots=True)
class Context:
    """What a server gives its handlers."""

    lab_id: str
    hub: Hub
    max_event_bytes: int = 1 << 20
    write_timeout_s: float = 60.0
    heartbeat_s: float = 15.0
    hold_s: float = 30.0
    fanout: str = "direct"
    allow_origins: set[str] = field(default_factory=set)
    exchanges: int = 0  # subscriptions being served now
    tokens: Tokens = field(default_factory=Tokens)

    def publish(self, data: str | bytes, topic: str, published_ns: int) -> Event:
        """Publish what a client sent.

        Raises:
            HTTPError: 413 over the limit, 503 when there is no room for another topic or the lab is closing.
        """
        try:
            check_data(data, self.max_event_bytes)
            return self.hub.publish(data, topic, published_ns)
        except EventTooLarge as error:
            raise Refusal(413, str(error)) from None
        except (TooManyTopics, LabClosed) as error:
            raise Refusal(503, str(error)) from None

    def allowed_host(self, host: str) -> bool:
        """Whether a Host names this machine: a foreign one is what DNS rebinding looks like."""
        match = _HOST.fullmatch(host)
        loopback = match is not None and match[1].lower() in LOOPBACK_NAMES
        return loopback or host.lower() in {origin.partition("://")[2] for origin in self.allow_origins}

    def allowed_origin(self, origin: str, host: str) -> bool:
        """Whether a page of *origin* may use this lab: a loopback page, the page's own origin, or an allowed one."""
        match = _ORIGIN.fullmatch(origin)
        if match is None:  # "null" too: any sandboxed frame has it
            return False
        own = origin.partition("://")[2] == host
        return match[1].lower() in LOOPBACK_NAMES or own or origin in self.allow_origins

    def allowed(self, origin: str | None, host: str, token: str) -> tuple[bool, bool]:
        """Whether a request with that Origin, that Host and that ``token`` may pass: for the origin, for the host."""
        by_token = self.tokens.admits(token, origin, host) if token else (False, False)
        own = origin is None or self.allowed_origin(origin, host)
        return by_token[0] or own, by_token[1] or self.allowed_host(host)

    def allow_origin(self, origin: str) -> None:
        """Let pages of *origin*, such as ``https://hub.example.org``, use the lab.

        Raises:
            ValueError: it is not an origin.
        """
        plain = origin.removesuffix("/").lower()
        if not _ORIGIN.fullmatch(plain):
            raise ValueError(f"not an origin: {origin!r} (expected one such as https://hub.example.org)")
        self.allow_origins.add(plain)


class Refusal(HTTPError):
    """An HTTP error whose body is one sentence in plain text."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(status, reason=HTTPStatus(status).phrase)
        self.sentence = sentence


class PushHandler(RequestHandler):
    """Base of the routes. ``self.context`` leads to the hub; ``self.topic`` and ``self.after`` are checked."""

    context: Context
    topic: str
    after: Cursor | None
    __slots__ = ("_subscriber", "after", "context", "topic")  # beside Tornado's own in __dict__, which grows at 31

    def initialize(self, context: Context) -> None:
        self.context = context
        self._subscriber: Subscriber | None = None

    # -- who may ask ------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        self.check_access()
        self.topic = self.text("topic", "")
        try:
            check_topic(self.topic)
        except ValueError as error:
            raise Refusal(400, str(error)) from None
        self.after = self.read_after()

    def check_access(self) -> None:
        host, origin = self.request.headers.get("Host", "localhost"), self.request.headers.get("Origin")
        origin_passes, host_passes = self.context.allowed(origin, host, self.token())
        if not host_passes:
            raise Refusal(403, f"Host: {host[:80]!r} is not a name of this lab; use 127.0.0.1 or localhost")
        if origin is not None and not origin_passes:
            raise Refusal(403, f"Origin: {origin[:80]!r} may not use this lab; allow it with Lab(allow_origins=...)")

    def token(self) -> str:
        """The request's ``token``, which lets pages of other origins in; empty without one."""
        given: list[bytes] = self.request.query_arguments.get("token", [b""])
        return given[-1].decode("utf-8", "replace")

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        origin, host = self.request.headers.get("Origin"), self.request.headers.get("Host", "localhost")
        if origin is not None:
            self.set_header("Vary", "Origin")
            context: Context = self.application.settings["context"]
            if all(context.allowed(origin, host, self.token())):
                self.set_header("Access-Control-Allow-Origin", origin)

    def options(self) -> None:
        """Answer a browser's preflight (Fetch section 3.2)."""
        self.set_header("Access-Control-Allow-Methods", "GET, POST")
        self.set_header("Access-Control-Allow-Headers", "Content-Type, Last-Event-ID, Authorization")
        self.set_header("Access-Control-Max-Age", "600")
        self.set_status(204)

    # -- parameters -------------------------------------------------------------------------------------------

    def text(self, name: str, default: str) -> str:
        """A parameter as it was sent, the last of that name."""
        try:
            return self.get_query_argument(name, default, strip=False)
        except HTTPError:
            raise Refusal(400, f"{name}: not UTF-8") from None

    def read_after(self) -> Cursor | None:
        return self.cursor_parameter("after", self.text("after", ""))

    def cursor_parameter(self, name: str, text: str) -> Cursor | None:
        try:
            return Cursor.parse(text) if text else None
        except CursorError as error:
            raise Refusal(400, f"{name}: {error}") from None

    def seconds(self, name: str, default_s: float) -> float:
        """A parameter in plain decimal seconds from 0 to 600."""
        text = self.text(name, "")
        if not text:
            return default_s
        if not _SECONDS.fullmatch(text) or float(text) > MAX_TIMEOUT_S:
            raise Refusal(400, f"{name}: {text[:40]!r} is not a number of seconds from 0 to {MAX_TIMEOUT_S:.0f}")
        return float(text)

    def choice(self, name: str, *choices: str) -> str:
        """A parameter that is one of *choices*, the first by default."""
        text = self.text(name, choices[0])
        if text not in choices:
            raise Refusal(400, f"{name}: {text[:40]!r} is not one of {', '.join(filter(None, choices))}")
        return text

    def flag(self, name: str) -> bool:
        """A parameter that is on as ``1`` and off as ``0`` or when absent."""
        return self.choice(name, "0", "1") == "1"

    # -- events out -------------------------------------------------------------------------------------------

    @contextmanager
    def subscribe(self, encode: Encode, after: Cursor | None = None) -> Iterator[Subscriber]:
        """Be a subscriber of the topic for as long as this exchange lasts."""
        cursor = after if after is not None else self.after
        subscriber = self.context.hub.subscribe(self.topic, cursor, encode, conflate=self.flag("conflate"))
        self._subscriber = subscriber
        self.context.exchanges += 1
        watch(self, True)
        try:
            yield subscriber
        finally:
            watch(self, False)
            self.context.exchanges -= 1
            subscriber.close()
            self._subscriber = None

    async def stream(self, encode: Encode, heartbeat: bytes = b"") -> None:
        """Send where the stream begins, then every event as it comes, until one side has had enough."""
        if self.request.version == "HTTP/1.0":  # whatever its Connection says: nothing else can end the body
            end_body_by_closing(self)
        with self.subscribe(encode) as subscriber:
            await self.send(subscriber.encoded(subscriber.start()))
            forget_headers(self)
            if self.context.fanout == "direct":
                fanout.attach(self, subscriber)
            async for block in subscriber.blocks(heartbeat):
                await self.send(block)

    async def send(self, data: bytes) -> None:
        """Write *data* and wait until it was accepted, for a bounded time: a peer may stop reading."""
        try:
            self.write(data)
            async with asyncio.timeout(self.context.write_timeout_s):
                await self.flush()
        except TimeoutError:
            abort(self)
            self.on_connection_close()
        except StreamClosedError:
            self.on_connection_close()

    def page(self, cursor: Cursor | None) -> Page:
        """What a poll answers: everything after *cursor*, or only the newest of it with ``?conflate=1``."""
        return self.context.hub.since(self.topic, cursor, conflate=self.flag("conflate"))

    def on_connection_close(self) -> None:
        super().on_connection_close()  # which also ends the wait for a body that will not come
        if self._subscriber is not None:
            self._subscriber.close()

    def compute_etag(self) -> None:
        return None  # Tornado's own would hash every answer; a poll's ETag is its cursor

    # -- errors -----------------------------------------------------------------------------------------------

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        sentence = error.sentence if isinstance(error, Refusal) else self._reason
        if status_code == 503:
            self.set_header("Retry-After", "1")
        if status_code == 405:
            allowed = [name for name in ("GET", "POST") if self.takes(name)]
            self.set_header("Allow", ", ".join([*allowed, "OPTIONS"]))  # RFC 9110 section 15.5.6
            sentence = f"{str(self.request.method)[:20]!r}: this route takes {' or '.join(allowed)}"
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(sentence + "\n")

    def takes(self, method: str) -> bool:
        """Whether the route has that method (Tornado's own, which all handlers inherit, answer 405)."""
        return getattr(type(self), method.lower()) is not getattr(RequestHandler, method.lower())

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if not isinstance(value, (HTTPError, StreamClosedError)):
            # not Tornado's own, which puts the whole address down, token and all
            app_log.error("in %s %s", self.request.method, self.request.path, exc_info=(typ, value, tb))


@stream_request_body
class PublishHandler(PushHandler):
    """``POST /events``: the body is the data of one event.

    The body is read as it comes, so that one over the limit is refused at once and a form-encoded one is not parsed.
    """

    def prepare(self) -> None:
        self.published_ns = now_ns()
        self.parts: list[bytes] = []
        self.size = 0
        super().prepare()
        length = self.request.headers.get("Content-Length", "")
        # one that does not parse is refused by Tornado, which reads the body next
        if self.request.method == "POST" and _LENGTH.fullmatch(length) and int(length) > self.context.max_event_bytes:
            linger(self)
            raise Refusal(413, too_large(self.context.max_event_bytes))

    def data_received(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size <= self.context.max_event_bytes:
            self.parts.append(chunk)
        elif not self._finished:
            self.parts.clear()
            linger(self)
            too_much = Refusal(413, too_large(self.context.max_event_bytes))
            self.send_error(413, exc_info=(Refusal, too_much, None))  # what is raised here, Tornado logs as a fault

    def post(self) -> None:
        data: str | bytes = b"".join(self.parts)
        content_type = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if content_type != "application/octet-stream":
            try:
                data = bytes(data).decode("utf-8")  # type: ignore[arg-type]
            except UnicodeDecodeError:
                raise Refusal(
                    400, "the body is not UTF-8: send it with Content-Type: application/octet-stream"
                ) from None
        event = self.context.publish(data, self.topic, self.published_ns)
        self.set_header("Content-Type", "application/json")
        self.finish(f'{{"id":{event.id}}}')


class NotFoundHandler(PushHandler):
    """Any other path: says which there are."""

    async def get(self, *_: str) -> None:
        routes = " ".join(sorted(self.application.settings["routes"]))
        raise Refusal(404, f"nothing here; the routes are: {routes}")

    head = post = put = patch = delete = get


class LabStream(fanout.TellingStream):
    """A server-side stream that can watch for its peer's going while a request of that peer is parked.

    Tornado stops listening once it holds unread bytes, so a client that pipelined a second request behind a parked
    one and left would stay unnoticed. While ``watching``, the stream listens regardless.

    A stream that is closed while its peer still sends a body would take the answer back: the system resets such a
    connection. With ``lingering`` it first throws away what comes, for a bounded time (RFC 9112 section 9.6).
    """

    __slots__ = ("_drain", "_holder", "lingering", "state", "watching")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.watching = self.lingering = False
        self._drain: tuple[socket.socket, asyncio.TimerHandle] | None = None
        self.state: dict[str, Any] | None = None
        self._holder: set[LabStream] = set()

    def held_in(self, holder: set[LabStream]) -> None:
        """Be in *holder* until closed."""
        self._holder = holder
        holder.add(self)

    def close(self, exc_info: Any = False) -> None:
        """Close; say why first, to a peer whose request has a head, or a chunk's head, beyond Tornado's limits."""
        if isinstance(exc_info, UnsatisfiableReadError) and not self.closed():
            status = b"400 Bad Request" if self._read_regex is None else b"431 Request Header Fields Too Large"
            with suppress(OSError):
                self.socket.send(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
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
        loop = asyncio.get_running_loop()
        self._drain = sock, loop.call_later(LINGER_S, self.end_drain)
        loop.add_reader(sock, self._drain_some)
        with suppress(OSError):
            sock.shutdown(socket.SHUT_WR)

    def _drain_some(self) -> None:
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
            asyncio.get_running_loop().remove_reader(sock)
            timer.cancel()
            sock.close()
            self._holder.discard(self)

    def reading(self) -> bool:
        return self.watching or super().reading()


async def accepted(write: Awaitable[None], timeout_s: float) -> None:
    """Wait until a write to a stream was accepted, at most *timeout_s* seconds: a peer may stop reading.

    The future is Tornado's own: cancelled, it is logged as an error, hence the shield; and its exception must be
    looked at even when nobody waits for it any more.

    Raises:
        TimeoutError: it was not.
    """
    future = asyncio.ensure_future(write)
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    async with asyncio.timeout(timeout_s):
        await asyncio.shield(future)


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


def linger(handler: RequestHandler) -> None:
    """Let the peer read the answer although it still sends. Later HTTP versions end one direction by themselves."""
    connection = handler.request.connection
    if isinstance(connection, HTTP1Connection) and isinstance(connection.stream, LabStream):
        connection.stream.lingering = True


def connection_state(handler: RequestHandler) -> dict[str, Any]:
    """HTTP/1.x only: what is remembered of the connection that carries this exchange (for pipelining)."""
    connection = handler.request.connection
    if isinstance(connection, HTTP1Connection) and isinstance(connection.stream, LabStream):
        if connection.stream.state is None:
            connection.stream.state = {}
        return connection.stream.state
    return {}


def forget_headers(handler: RequestHandler) -> None:
    """Let go of both heads once the answer's is out: a browser's takes kilobytes for as long as the stream lasts."""
    handler.request.headers = HTTPHeaders()
    handler._headers = HTTPHeaders()
    if isinstance(handler.request.connection, HTTP1Connection):
        handler.request.connection._request_headers = handler.request.headers


def abort(handler: RequestHandler) -> None:
    """Give up the exchange: its peer does not read."""
    connection = handler.request.connection
    if isinstance(connection, HTTP1Connection):
        connection.stream.close()


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
