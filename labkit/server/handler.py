"""What every HTTP route of a lab has in common: who may ask, how parameters are read, how events are written.

A technique's handler touches the wire only through ``set_status``, ``set_header``, ``send`` and ``finish``. It
frames its events in the body, from one writer, and does not know which HTTP version carries it. What exists only
in HTTP/1.x is in ``http1.py``.
"""

from __future__ import annotations

import asyncio
import math
import re
from asyncio import Future
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.log import app_log
from tornado.web import HTTPError, RequestHandler, stream_request_body

from labkit.errors import CursorError
from labkit.server import fanout, origins
from labkit.server.access import Context, Refusal
from labkit.server.encoding import Encode
from labkit.server.http1 import (
    abort,
    accepted_in_time,
    end_body_by_closing,
    forget_headers,
    let_go_unread,
    linger,
    watch,
)
from labkit.server.limits import check_topic, too_large
from labkit.server.subscriber import BLOCK_BYTES, Subscriber
from labkit.wire.events import Cursor, Page, now_ns

MAX_TIMEOUT_S = 600.0
_LENGTH = re.compile(r"[0-9]{1,40}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,20})?", re.ASCII)


class PushHandler(RequestHandler):
    """Base of the kit's own routes. Any Tornado handler can be a server half; this is what it would do without.

    - Who may ask: a foreign Host, Origin or a missing token is a 403, and a page that may gets its CORS fields.
    - ``self.topic`` and ``self.after`` are read and checked; what does not parse is a 400 that says why. More
      parameters: :meth:`text`, :meth:`seconds`, :meth:`choice`, :meth:`flag`.
    - ``self.context`` leads to the hub and the lab's limits (elsewhere: ``self.settings["context"]``).
    - :meth:`stream` is a whole stream: where it begins, each event, heartbeats, the slow-subscriber policy, the fast
      way to idle sockets. :meth:`subscribe` is a subscription for as long as the exchange lasts; :meth:`page` and
      :meth:`answer` are what a poll gives.
    - :meth:`send`, :meth:`answer` and :meth:`finish` are bounded in time, and a client that leaves is noticed.
    - Errors are one line of plain text, and no log's line is made of what was sent.
    """

    public = False  # what any page may have: nothing of a lab's is in it
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
        """Refuse a foreign Host, and a foreign Origin."""
        host, origin = self.request.headers.get("Host", "localhost"), self.request.headers.get("Origin")
        origin_passes, host_passes = self.context.allowed(origin, host, self.token())
        if not host_passes:
            raise Refusal(403, f"Host: {host[:80]!r} is not a name of this lab; use 127.0.0.1 or localhost")
        if origin is not None and not origin_passes and not self.public:
            raise Refusal(403, origins.refused(origin))

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

    def head(self, *args: str) -> Any:
        """The status and the fields that GET would have, at once (RFC 9110 section 9.3.2): see :meth:`subscribe`."""
        return self.get(*args)

    def options(self, *_: str) -> None:
        """Say what the route takes (RFC 9110 section 9.3.7), to a browser's preflight too (Fetch section 3.2)."""
        self.set_header("Allow", self.allowed())
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
        """Be a subscriber of the topic for as long as this exchange lasts; a HEAD is none, and waits for nothing."""
        cursor = after if after is not None else self.after
        subscriber = self.context.hub.subscribe(self.topic, cursor, encode, conflate=self.flag("conflate"))
        if self.request.method == "HEAD":
            subscriber.end("a HEAD has no content")
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

    async def stream(self, encode: Encode, heartbeat: bytes = b"", most_beats: float = math.inf) -> None:
        """Send where the stream begins, then every event as it comes, until one side has had enough.

        Args:
            most_beats: how many heartbeats may follow each other; with the last of them the stream ends.
        """
        if self.request.version == "HTTP/1.0":  # whatever its Connection says: nothing else can end the body
            end_body_by_closing(self)
        let_go_unread(self, None)  # a poll may have been answered on this connection
        self.ask_for_no_buffering()
        with self.subscribe(encode) as subscriber:
            await self.send(subscriber.encoded(subscriber.start()))
            forget_headers(self)
            if self.context.fanout == "direct":
                fanout.attach(self, subscriber)
            beats, reached = 0, subscriber.reached
            async for items in subscriber.batches():
                beats = 0 if items else beats + 1 if subscriber.reached == reached else 1
                reached = subscriber.reached
                await self.send(b"".join(map(subscriber.encoded, items)) if items else heartbeat)
                if beats >= most_beats:
                    subscriber.close()

    def ask_for_no_buffering(self) -> None:
        """Ask intermediaries to hand a body on as it comes: RFC 10036's field, and the older one of nginx.

        None has to: ``Lab(buffering_hint=False)`` does not ask.
        """
        if self.context.buffering_hint:
            self.set_header("X-Accel-Buffering", "no")
            self.set_header("Incremental", "?1")

    async def send(self, data: bytes) -> None:
        """Write *data* and wait until it was accepted, for a bounded time: a peer may stop reading."""
        try:
            connection = self.request.connection
            head_only = self.request.method == "HEAD"  # then a flush writes the head, and nothing after it
            if self._headers_written and not self._write_buffer and connection is not None and not head_only:
                flushed = connection.write(data)  # all that write() and flush() come to, once the head is out
            else:
                self.write(data)
                flushed = self.flush()
            if flushed.done():  # as it mostly is: the system took all of it
                flushed.result()
            else:
                async with asyncio.timeout(self.context.write_timeout_s):
                    await flushed
        except TimeoutError:
            abort(self)
            self.on_connection_close()
        except StreamClosedError:
            self.on_connection_close()

    async def answer(self, body: bytes) -> None:
        """Finish with *body*, written as a stream is: in blocks, each to be accepted within the write time-out."""
        self.set_header("Content-Length", str(len(body)))
        last = max(0, len(body) - 1) // BLOCK_BYTES * BLOCK_BYTES
        for start in range(0, last, BLOCK_BYTES):
            await self.send(body[start : start + BLOCK_BYTES])
            await asyncio.sleep(0)  # the loop belongs to others too
        let_go_unread(self, self.context.write_timeout_s)
        self.finish(body[last:])

    def finish(self, chunk: str | bytes | dict[str, Any] | None = None) -> Future[None]:
        """End the exchange. Who does not take the end of any answer within the write time-out is let go."""
        written = super().finish(chunk)
        accepted_in_time(self, written, self.context.write_timeout_s)
        return written

    def page(self, cursor: Cursor | None) -> Page:
        """What a poll answers: what one answer carries after *cursor*, or only the newest with ``?conflate=1``."""
        return self.context.hub.since(self.topic, cursor, conflate=self.flag("conflate"))

    def on_connection_close(self) -> None:
        super().on_connection_close()  # which also ends the wait for a body that will not come
        if self._subscriber is not None:
            self._subscriber.close()

    def compute_etag(self) -> None:
        return None  # Tornado's own would hash every answer; a poll's ETag is its cursor

    # -- errors -----------------------------------------------------------------------------------------------

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Say what is wrong; an answer that has begun is broken off: an end would say it is whole (RFC 9112, 8)."""
        if self._headers_written and not self._finished:
            abort(self, fault=True)
        else:
            super().send_error(status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        sentence = error.sentence if isinstance(error, Refusal) else self._reason
        if status_code == 503:
            self.set_header("Retry-After", "1")
        if status_code == 405:
            self.set_header("Allow", self.allowed())  # RFC 9110 section 15.5.6
            asked = "GET" if self.request.method == "HEAD" else str(self.request.method)[:20]
            sentence = f"{asked!r}: this route takes {' or '.join(filter(self.takes, ('GET', 'POST')))}"
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(sentence + "\n")

    def allowed(self) -> str:
        """The methods of the route, as ``Allow`` lists them."""
        read = ["GET", "HEAD"] if self.takes("GET") else []
        return ", ".join([*read, *(["POST"] if self.takes("POST") else []), "OPTIONS"])

    def takes(self, method: str) -> bool:
        """Whether the route has that method (Tornado's own, which all handlers inherit, answer 405)."""
        return getattr(type(self), method.lower()) is not getattr(RequestHandler, method.lower())

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if not isinstance(value, (HTTPError, StreamClosedError)):
            # not Tornado's own, which puts the whole address down, token and all; what is sent writes no log's lines
            app_log.error("in %s %.80a", self.request.method, self.request.path, exc_info=(typ, value, tb))


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
