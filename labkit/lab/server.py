"""The push server: one hub, one HTTP port with a route for each technique, one port for the plugin socket.

A ``Server`` belongs to the event loop it is started on: the lab loop inside a kernel, the main loop of a child process
or of ``python -m labkit serve``. ``labkit.Lab`` is what people use.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from tornado.web import Application

from labkit.errors import LabkitError
from labkit.lab.listening import LabHTTPServer, available_connections, bind, spoken
from labkit.lab.page_files import PageHandler
from labkit.lab.page_socket import BrowserSocket
from labkit.lab.pages import Pages
from labkit.server.access import Context
from labkit.server.handler import MAX_TIMEOUT_S, NotFoundHandler, PublishHandler, PushHandler
from labkit.server.hub import Hub
from labkit.server.limits import check_counts, message_limit
from labkit.server.socket_route import EchoSocket
from labkit.server.subscriber import SlowPolicy
from labkit.server.tls import Identity
from labkit.sockets import MSS
from labkit.techniques import TECHNIQUES, Technique
from labkit.techniques.plugin_socket import PluginSocketServer
from labkit.theory.durations import seconds
from labkit.theory.path import HEARTBEAT_S, HOLD_S
from labkit.wire.events import HISTORY_BYTES, HISTORY_EVENTS

GRACE_S = 0.25  # for farewells at close
DAY_S = 86_400.0


class Server:
    """A push server on the running loop.

    Args:
        techniques: which to serve.
        slow, queue: the slow-subscriber policy and the number of events that it lets a subscriber fall behind.
        history_events, history_bytes: bounds of each topic's history.
        history_total_bytes: bound of all histories together. The topic that nobody has published or listened to for
            longest is let go of first, its oldest event first; its ids go on, so an old cursor is a gap.
        max_event_bytes: the largest event, 1 MiB by default.
        max_topics: how many topics may hold a log.
        max_connections: None takes what the descriptor limit allows. A stream of HTTP/2 counts as one more.
        allow_origins: pages of other origins that may use the lab, such as ``https://hub.example.org``; with the
            scheme's default port or without is the same.
        hold_s: how long a long poll is held by default (RFC 6202 section 5.5).
        heartbeat_s: a stream that was silent for so long gets a heartbeat; a WebSocket is pinged as often.
        write_timeout_s: who takes nothing of a stream or an answer for so long is let go.
        fanout: ``direct``, or ``plain`` for Tornado's own writes only.
        buffering_hint: ask intermediaries, in 40 bytes of each stream's head, to hand it on as it comes
            (``Incremental: ?1``, RFC 10036, and nginx's ``X-Accel-Buffering: no``); some do not listen.
        mss: largest TCP segment, bytes of payload; None leaves it to the system.
        send_buffer_bytes: how much the system may hold of what a slow subscriber has not taken yet, for each
            connection (SO_SNDBUF); None leaves it to the system, which makes it larger as it sees fit.
        http: versions of HTTP to speak on the one port, ``(1,)``, ``(1, 2)`` or ``(2,)``: HTTP/2 over TLS by ALPN, in
            clear text by prior knowledge (RFC 9113 section 3). Its events go through each handler's own flush, as with
            ``fanout="plain"``: streams share a connection, which frames the bytes of each.
        tls: speak TLS on the HTTP port, and prove it by this. Not on the plugin socket's, whose clients knew none.
            Events then go through each handler's own flush, as with ``fanout="plain"``: TLS seals every connection's
            bytes apart.

    Raises:
        ValueError: names the option that cannot be.
    """

    def __init__(
        self,
        techniques: Iterable[Technique] = TECHNIQUES,
        *,
        slow: SlowPolicy = "drop-oldest",
        queue: int = 256,
        history_events: int = HISTORY_EVENTS,
        history_bytes: int = HISTORY_BYTES,
        history_total_bytes: int = 256 << 20,
        max_event_bytes: int = 1 << 20,
        max_topics: int = 10_000,
        max_connections: int | None = None,
        allow_origins: Iterable[str] = (),
        hold_s: float = HOLD_S,
        heartbeat_s: float = HEARTBEAT_S,
        write_timeout_s: float = 60.0,
        fanout: str = "direct",
        buffering_hint: bool = True,
        mss: int | None = MSS,
        send_buffer_bytes: int | None = None,
        http: Collection[int] = (1,),
        tls: Identity | None = None,
    ) -> None:
        check_counts(max_event_bytes=max_event_bytes, max_connections=1 if max_connections is None else max_connections)
        seconds("hold_s", hold_s, MAX_TIMEOUT_S)
        seconds("heartbeat_s", heartbeat_s, DAY_S, above_0=True)
        seconds("write_timeout_s", write_timeout_s, DAY_S, above_0=True)
        if send_buffer_bytes is not None and not (
            isinstance(send_buffer_bytes, int) and 0 < send_buffer_bytes < 1 << 31
        ):
            raise ValueError(f"send_buffer_bytes={send_buffer_bytes!r}: expected a number of bytes above 0, or None")
        if fanout not in ("direct", "plain"):
            raise ValueError(f"fanout={fanout!r}: expected 'direct' or 'plain'")
        versions = spoken(http)
        self.id = secrets.token_hex(8)
        self.techniques = tuple(techniques)
        self.tls = tls
        self.mss = mss
        self.hub = Hub(
            asyncio.get_running_loop(),
            slow=slow,
            queue=queue,
            history_events=history_events,
            history_bytes=history_bytes,
            history_total_bytes=history_total_bytes,
            max_topics=max_topics,
            heartbeat_s=heartbeat_s,
        )
        self.context = Context(
            self.id,
            self.hub,
            max_event_bytes=max_event_bytes,
            write_timeout_s=write_timeout_s,
            heartbeat_s=heartbeat_s,
            hold_s=hold_s,
            fanout=fanout,
            buffering_hint=buffering_hint,
        )
        if isinstance(allow_origins, str):
            raise ValueError("allow_origins is a list of origins, not one origin")
        for origin in allow_origins:
            self.context.allow_origin(origin)
        self.pages = Pages()
        self.max_connections = available_connections() if max_connections is None else max_connections
        self.http = LabHTTPServer(
            self._application(),
            has_room=self.has_room,
            send_buffer_bytes=send_buffer_bytes,
            tls=None if tls is None else tls.context(versions),
            versions=versions,
            write_timeout_s=write_timeout_s,
            max_buffer_size=message_limit(max_event_bytes) + (1 << 20),  # a WebSocket's frame is read whole
            max_body_size=2 * max_event_bytes + (1 << 20),
            idle_connection_timeout=600.0,
            body_timeout=60.0,
        )
        self.plugin = PluginSocketServer(
            self.context,
            has_room=self.has_room,
            send_buffer_bytes=send_buffer_bytes,
        )
        self.sockets: dict[str, list[socket.socket]] = {}

    def _application(self) -> Application:
        given = {"context": self.context}
        routes: list[Any] = [
            (t.route, t.handler, given if issubclass(t.handler, PushHandler) else {})  # any Tornado handler will do
            for t in self.techniques
            if t.handler is not None
        ]
        routes += [("/events", PublishHandler, given), ("/websocket/echo", EchoSocket, given)]
        routes += [("/browser", BrowserSocket, {**given, "pages": self.pages})]
        page = {**given, "techniques": self.techniques}
        routes += [("/", PageHandler, page), ("/page/(.+)", PageHandler, page)]
        return Application(
            routes,
            default_handler_class=NotFoundHandler,
            default_handler_args=given,
            context=self.context,
            routes=[r[0] for r in routes if "(" not in r[0]],
            log_function=lambda handler: None,
            websocket_ping_interval=self.context.heartbeat_s,
            websocket_ping_timeout=self.context.heartbeat_s,
            websocket_max_message_size=message_limit(self.context.max_event_bytes),
        )

    def start(
        self,
        *,
        port: int = 0,
        plugin_port: int = 0,
        sockets: Mapping[str, list[socket.socket]] | None = None,
    ) -> None:
        """Listen on 127.0.0.1: on these ports (0: free ones), or on sockets taken over from another server."""
        if sockets:
            self.sockets = {name: list(some) for name, some in sockets.items()}
        else:
            self.sockets = {"http": bind(port, self.mss)}
            try:
                self.sockets["plugin"] = bind(plugin_port, self.mss)
            except LabkitError:
                for sock in self.sockets["http"]:
                    sock.close()
                raise
        self.http.add_sockets(self.sockets["http"])
        self.plugin.add_sockets(self.sockets["plugin"])

    @property
    def ports(self) -> dict[str, int]:
        """``http`` and ``plugin``."""
        return {name: some[0].getsockname()[1] for name, some in self.sockets.items()}

    def give_up_sockets(self) -> dict[str, list[socket.socket]]:
        """Stop listening, and hand the listening sockets to a successor: nobody is refused meanwhile."""
        given = {name: [sock.dup() for sock in some] for name, some in self.sockets.items()}
        self.http.stop()
        self.plugin.stop()
        return given

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self.http.streams) + len(self.plugin.streams)

    def has_room(self) -> bool:
        """Whether one more connection, or stream of one that is shared, may be."""
        return self.connections + self.http.room.taken < self.max_connections

    @property
    def page_calls(self) -> dict[str, Callable[..., Any]]:
        """What concerns pages and their origins, by name; safe from any thread."""
        tokens = self.context.tokens
        return {
            "allow_origin": self.context.allow_origin,
            "allow_token": tokens.allow,
            "forget_token": tokens.forget,
            "pages": self.pages.of,
            "forget_pages": self.pages.forget,
        }

    def stats(self) -> dict[str, int]:
        """Counts since the start (published, delivered, dropped, ...) and what is held now."""
        counts = self.hub.counts
        return {name: getattr(counts, name) for name in counts.__slots__} | {
            "subscribers": self.hub.subscribers,
            "connections": self.connections,
            "topics": self.hub.topics,
        }

    async def close(self) -> None:
        """Stop listening, say farewell, end every connection. Nothing stays behind."""
        self.http.stop()
        self.plugin.stop()
        for connection in list(self.http.http2):
            connection.go_away()
        self.hub.close()
        for each in list(self.context.answering):
            each.close(1001, "the lab has closed")
        deadline = self.hub.loop.time() + GRACE_S
        while (self.context.exchanges or self.context.answering) and self.hub.loop.time() < deadline:  # noqa: ASYNC110  handlers end in their time
            await asyncio.sleep(0.002)
        self.plugin.close_all()
        for connection in list(self.http.http2):
            connection.flush()
        for stream in list(self.http.streams):
            stream.close()
            stream.end_drain()
        await self.http.close_all_connections()
        await asyncio.sleep(0)
