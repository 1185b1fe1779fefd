"""What a server listens with: its ports, how many connections it has room for, and how each is taken.

Over TLS a connection is wrapped before anything of it is read. Each begins as one of HTTP/1.x, whose first line tells
of HTTP/2: its preface has been given that form.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from tornado.httpserver import HTTPServer, _HTTPRequestContext
from tornado.iostream import IOStream

from labkit.errors import LabkitError, MissingPackage
from labkit.loop import max_sockets
from labkit.server.exchange import Limits, Room
from labkit.server.http1 import LabStream
from labkit.server.http1_requests import PREFACE, ServerConnection
from labkit.server.tls import SecureStream
from labkit.sockets import check_port, limit_send_buffer, set_mss

if TYPE_CHECKING:
    from labkit.server.http2 import Connection

BACKLOG = 4096
LOOK_S = 0.05  # for the first bytes of a connection that there is no room for
MAX_TURNED = 64  # of such connections at a time
MAX_CONNECTIONS = 1 << 20  # however many descriptors there may be
OPEN_MAX = 10_240  # macOS: what a process may have where its limit says that there is none
SPARE_DESCRIPTORS = 256  # for everything in this process that is not one of the server's connections
# Windows' SO_REUSEADDR would let two servers have one port, and without its other option others could take it
VERSIONS = (1, 2)  # of HTTP, by their first number
NO_H2 = 'HTTP/2 needs h2, which is not installed: pip install "labkit[http2]"'
OF_ONE_SERVER: int = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)


class LabHTTPServer(HTTPServer):
    """Tornado's HTTP server with a limit on connections, no Nagle delay, and streams that watch for their peer.

    Its private names used here: ``_handle_connection``, ``_connections``, ``_HTTPRequestContext``.
    """

    def initialize(  # type: ignore[override]
        self,
        *args: Any,
        has_room: Callable[[], bool],
        send_buffer_bytes: int | None,
        tls: ssl.SSLContext | None,
        versions: Collection[int] = (1,),
        write_timeout_s: float = 60.0,
        **kwargs: Any,
    ) -> None:
        super().initialize(*args, **kwargs)
        self.tls = tls
        self.versions = versions
        self.write_timeout_s = write_timeout_s
        self.http2: set[Connection] = set()
        self.room = Room(has_room)
        self._turned: dict[socket.socket, asyncio.TimerHandle] = {}
        self.has_room = has_room
        self.send_buffer_bytes = send_buffer_bytes
        self.streams: set[LabStream] = set()

    def _handle_connection(self, connection: socket.socket, address: Any) -> None:
        if not self.has_room():
            self.turn_away(connection)
            return
        limit_send_buffer(connection, self.send_buffer_bytes)
        kind: type[LabStream] = LabStream
        if self.tls is not None:
            try:
                connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            except OSError:  # it has gone
                connection.close()
                return
            kind = SecureStream
        stream = kind(connection, max_buffer_size=self.max_buffer_size, read_chunk_size=self.read_chunk_size)
        stream.held_in(self.streams)
        self.handle_stream(stream, address)

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        context = _HTTPRequestContext(stream, address, self.protocol)
        connection = ServerConnection(stream, self.conn_params, context)
        connection.versions, connection.serve_http2 = self.versions, self.serve_http2
        self._connections.add(connection)
        connection.start_serving(self)

    def turn_away(self, connection: socket.socket) -> None:
        """End a connection that there is no room for; say why where no handshake would have to come first.

        Where two versions are spoken, its first bytes tell in which; some of them are waited for, for a moment.
        """
        if self.tls is not None:
            connection.close()
        elif 2 not in self.versions or len(self._turned) >= MAX_TURNED:
            say_full(connection)
        else:
            connection.setblocking(False)
            self._turned[connection] = asyncio.get_running_loop().call_later(LOOK_S, self._say_full, connection)

    def _say_full(self, connection: socket.socket) -> None:
        self._turned.pop(connection).cancel()
        said = b""
        with contextlib.suppress(OSError):
            said = connection.recv(1 << 16)  # taken, or the system would reset the connection at its end
        say_full(connection, in_http2=said.startswith(PREFACE))

    def stop(self) -> None:
        super().stop()
        for connection in list(self._turned):
            self._say_full(connection)

    async def serve_http2(self, connection: ServerConnection) -> None:
        """Go on with a connection that has begun as HTTP/2 does; over TLS by agreement only (RFC 9113 section 3.2)."""
        from labkit.server.http2 import Connection

        stream = connection.stream
        assert isinstance(stream, LabStream)
        if stream.closed():  # it left while its first bytes were read
            return
        if isinstance(stream.socket, ssl.SSLSocket) and stream.socket.selected_alpn_protocol() != "h2":
            stream.close()
            return
        limits = Limits(self.conn_params.max_body_size or 0, self.conn_params.body_timeout)
        http2 = Connection(
            stream,
            lambda exchange: self.start_request(connection, exchange),
            connection.context,
            limits,
            self.write_timeout_s,
            self.room,
        )
        self.http2.add(http2)
        try:
            await http2.serve()
        finally:
            self.http2.discard(http2)


def spoken(versions: Collection[int]) -> tuple[int, ...]:
    """The versions of HTTP that were asked for, if each can be spoken here.

    Raises:
        ValueError: none, or one that is not known.
        MissingPackage: HTTP/2, without what it takes.
    """
    asked = tuple(versions) if isinstance(versions, Collection) else (versions,)
    if not asked or not set(asked) <= set(VERSIONS) or len(set(asked)) < len(asked):
        raise ValueError(f"http={versions!r}: expected (1,), (1, 2) or (2,)")
    if 2 in asked:
        try:
            import h2  # noqa: F401
        except ImportError:
            raise MissingPackage(NO_H2) from None
    return tuple(sorted(asked))


def say_full(connection: socket.socket, *, in_http2: bool = False) -> None:
    """Answer a connection that there is no room for, with 503 or GOAWAY, and end it."""
    body = b"this lab holds as many connections as it can: try again later\n"
    answer = (
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 1\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    if in_http2:
        from labkit.server.http2 import turned_away

        answer = turned_away(body.strip())
    try:
        connection.send(answer)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    connection.close()


def bind(port: int, mss: int | None) -> list[socket.socket]:
    """Listening sockets on a port of 127.0.0.1.

    Raises:
        LabkitError: the port is in use, or may not be used; the message names it.
    """
    check_port(port)
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, OF_ONE_SERVER, 1)
        if mss is not None:
            set_mss(sock, mss)  # accepted sockets inherit it
        sock.bind(("127.0.0.1", port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise LabkitError(f"port {port} {why}: choose another, or 0 for a free one") from None
    return [sock]


def available_connections() -> int:
    """Raise the soft descriptor limit as far as it goes; how many connections it, and the loop, leave room for."""
    watched = max_sockets() or MAX_CONNECTIONS
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return max(64, watched - SPARE_DESCRIPTORS)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, OPEN_MAX):  # macOS reports an unlimited hard limit, which cannot be set
        if soft != resource.RLIM_INFINITY and (wanted == resource.RLIM_INFINITY or soft < wanted):
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
                soft = wanted
    taken = watched if soft == resource.RLIM_INFINITY else min(soft, watched)
    return max(64, taken - SPARE_DESCRIPTORS)
