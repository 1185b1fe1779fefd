"""Client connections that count every byte.

``Connection`` is one TCP connection over a non-blocking socket; each read and write goes into the ledger with its
time. ``HTTPConnection`` speaks HTTP/1.0 and 1.1 on it with h11's Sans-I/O parser (RFC 9112), keeps it alive,
pipelines when asked to, and says of each byte whether it was header, framing or body.

Not here: redirects, TLS, proxies, decompression. A lab client that hid those would hide what it measures.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

import h11

from labkit.errors import ConnectionLost, Refused
from labkit.events import now_ns
from labkit.ledger import Category, ConnectionRecord, Ledger

MSS = 1460  # what Ethernet carries; loopback's own segments of 64 KiB are those of no network
READ_BYTES = 64 << 10
CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Wiring:
    """Where a client's bytes are put down, and as whose."""

    ledger: Ledger
    technique: str
    subscriber: int = 0
    mss: int | None = MSS


class Connection:
    """One counted TCP connection. Use :meth:`open`; close it in a ``finally``."""

    def __init__(self, sock: socket.socket, record: ConnectionRecord) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self.record = record
        self.received_ns = 0
        """When the newest read returned."""

    @classmethod
    async def open(cls, host: str, port: int, wiring: Wiring) -> Connection:
        """Connect to *host*:*port*.

        Raises:
            ConnectionLost: nobody listens there, or the answer took too long.
        """
        family, kind, proto, address = await _resolve(host, port)
        sock = socket.socket(family, kind, proto)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if wiring.mss is not None:
                set_mss(sock, wiring.mss)
            opened_ns = now_ns()
            async with asyncio.timeout(CONNECT_TIMEOUT_S):  # before 3.12, wait_for may lose a cancellation
                await asyncio.get_running_loop().sock_connect(sock, address)
            local, remote = sock.getsockname()[:2], sock.getpeername()[:2]  # raises if it was reset at once
        except (OSError, TimeoutError) as error:
            sock.close()
            raise ConnectionLost(f"no connection to {host}:{port}: {error or 'timed out'}") from None
        except BaseException:
            sock.close()
            raise
        record = wiring.ledger.opened(wiring.technique, wiring.subscriber, local=local, remote=remote, t_ns=opened_ns)
        record.connected_ns = now_ns()
        return cls(sock, record)

    async def read(self) -> bytes:
        """The next bytes; empty when the other side has ended the connection.

        Raises:
            ConnectionLost: the connection was reset.
        """
        try:
            data = await self._loop.sock_recv(self._sock, READ_BYTES)
        except OSError as error:
            self.close(by="reset")
            raise ConnectionLost(f"connection reset while reading: {error}") from None
        self.received_ns = now_ns()
        if data:
            self.record.transferred("in", data, self.received_ns)
        else:
            self.close(by="server")
        return data

    async def write(self, data: bytes) -> None:
        """Write all of *data*. Raises ConnectionLost when the other side is gone."""
        while data:
            t_ns = now_ns()
            try:
                sent = self._sock.send(data)
            except BlockingIOError:
                await self._writable()
                continue
            except OSError as error:
                self.close(by="reset")
                raise ConnectionLost(f"connection reset while writing: {error}") from None
            self.record.transferred("out", data[:sent], t_ns)
            data = data[sent:]

    async def _writable(self) -> None:
        ready = asyncio.Event()
        self._loop.add_writer(self._sock, ready.set)
        try:
            await ready.wait()
        finally:
            self._loop.remove_writer(self._sock)

    @property
    def ended(self) -> bool:
        """Whether it is of no more use: closed, or the other side has ended it while nothing was asked."""
        if not self.closed:
            try:
                if not self._sock.recv(1, socket.MSG_PEEK):
                    self.close(by="server")
            except BlockingIOError:
                pass
            except OSError:
                self.close(by="reset")
        return self.closed

    @property
    def closed(self) -> bool:
        return self.record.closed_ns is not None

    def close(self, by: str = "client") -> None:
        """End the connection; the second call does nothing."""
        if not self.closed:
            read_segments(self._sock, self.record)
            self.record.closed_ns = now_ns()
            self.record.closed_by = by
            self._sock.close()


async def _resolve(host: str, port: int) -> tuple[int, int, int, Any]:
    """Where to connect to. An address in digits needs no resolver, and so no other thread."""
    wanted = {"type": socket.SOCK_STREAM}
    try:
        try:
            found = socket.getaddrinfo(host, port, flags=socket.AI_NUMERICHOST, **wanted)
        except socket.gaierror:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, **wanted)
    except OSError as error:
        raise ConnectionLost(f"no address for {host}: {error}") from None
    family, kind, proto, _, address = found[0]
    return family, kind, proto, address


def set_mss(sock: socket.socket, mss: int) -> None:
    """Limit the segments of a socket; nothing happens where the platform does not allow it."""
    option = getattr(socket, "TCP_MAXSEG", None)
    if option is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, option, mss)


def limit_send_buffer(sock: socket.socket, size: int | None) -> None:
    """Set how many bytes the system holds for a peer that does not take them; None leaves it to the system."""
    if size is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)


def read_segments(sock: socket.socket, record: ConnectionRecord) -> None:
    """Put down the kernel's count of TCP segments (Linux: struct tcp_info, segs_out and segs_in)."""
    option = getattr(socket, "TCP_INFO", None)
    if option is None or not hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux has both
        return
    with contextlib.suppress(OSError, struct.error):
        info = sock.getsockopt(socket.IPPROTO_TCP, option, 256)
        record.segments_out, record.segments_in = struct.unpack_from("II", info, 136)
        timestamps = info[5] & 1  # TCPI_OPT_TIMESTAMPS
        ip = 20 if sock.family == socket.AF_INET else 40
        record.segment_header_bytes = ip + (32 if timestamps else 20)


@dataclass(frozen=True, slots=True)
class Response:
    """Status and header fields of one response (names in lower case)."""

    status: int
    reason: str
    http_version: str
    headers: Mapping[str, str]


class Body:
    """Where each byte of a response body lies in the connection's stream, so that it can be marked later."""

    def __init__(self, record: ConnectionRecord) -> None:
        self._record = record
        self._pieces: deque[tuple[int, int]] = deque()  # (start, stop) in the stream, not yet marked
        self._held: list[bytes] = []

    def add(self, start: int, stop: int) -> None:
        self._pieces.append((start, stop))

    def mark(self, count: int, category: Category, label: str = "", event_id: int | None = None) -> None:
        """Say what the next *count* body bytes are."""
        while count > 0 and self._pieces:
            start, stop = self._pieces.popleft()
            end = min(stop, start + count)
            self._record.mark("in", start, end, category, label, event_id)
            count -= end - start
            if end < stop:
                self._pieces.appendleft((end, stop))

    def hold(self, raw: bytes) -> None:
        """Keep body bytes until it is known what they are."""
        self._held.append(raw)

    def holds_blank_line(self) -> bool:
        """Whether what is kept ends with an empty line; the LF of a CRLF that was cut in two is none."""
        before, last = (b"\n", *self._held)[-2:]
        return last in (b"\n", b"\r", b"\r\n") and before.endswith((b"\n", b"\r")) and before[-1:] + last != b"\r\n"

    def held(self) -> bytes:
        """The bytes that were kept, once."""
        raw, self._held = b"".join(self._held), []
        return raw

    def mark_rest(self) -> None:
        """The connection has ended: what was read and never became an event is envelope, since it is no payload."""
        self._held.clear()
        self.mark(self._record.bytes_in, "envelope", "unread")


class HTTPConnection:
    """HTTP/1.x over one counted connection: requests out, responses in, in order."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.record = connection.record
        self.body = Body(connection.record)
        self._h11 = h11.Connection(h11.CLIENT)
        self._ahead: deque[h11.Request] = deque()  # written, not yet announced to h11 (pipelined)
        self._consumed = 0
        self.waiting = 0
        """Requests that have been written and whose responses have not been read to their ends."""

    async def request(
        self, method: str, target: str, headers: Mapping[str, str], *, body: bytes = b"", version: str = "1.1"
    ) -> None:
        """Write one request. While an earlier one is unanswered, the new one is pipelined behind it."""
        fields = list(headers.items())
        if body or method in ("POST", "PUT"):
            fields.append(("Content-Length", str(len(body))))
        request = h11.Request(method=method, target=target, headers=fields)
        head = b"".join(
            [f"{method} {target} HTTP/{version}\r\n".encode("ascii")]
            + [f"{name}: {value}\r\n".encode("latin-1") for name, value in fields]
            + [b"\r\n"]
        )
        self.waiting += 1
        if self._h11.our_state is h11.IDLE:
            self._announce(request)
        else:
            self._ahead.append(request)
        start = self.record.bytes_out
        self.record.requests += 1
        try:
            await self.connection.write(head + body)
        finally:  # a write that fails has sent a part
            sent = self.record.bytes_out
            middle = min(start + len(head), sent)
            self.record.mark("out", start, middle, "headers", f"{method} {target.partition('?')[0]}")
            self.record.mark("out", middle, sent, "payload", "request body")

    def _announce(self, request: h11.Request) -> None:
        self._h11.send(request)
        if dict(request.headers).get(b"content-length") in (None, b"0"):
            self._h11.send(h11.EndOfMessage())
        else:
            self._h11.send(h11.Data(data=b"\0" * int(dict(request.headers)[b"content-length"])))
            self._h11.send(h11.EndOfMessage())

    async def response(self) -> Response:
        """Read the head of the next response.

        Raises:
            ConnectionLost: the connection ended before it.
        """
        while True:
            event, _ = await self._next()
            if isinstance(event, h11.InformationalResponse) and event.status_code != 101:
                continue
            if isinstance(event, (h11.Response, h11.InformationalResponse)):
                self.record.responses += 1
                return Response(
                    event.status_code,
                    event.reason.decode("latin-1"),
                    event.http_version.decode(),
                    {k.decode(): v.decode("latin-1") for k, v in event.headers},
                )
            raise ConnectionLost("the server closed the connection before answering")

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body of the present response as it arrives. Pieces are reads, not chunks and not events.

        Raises:
            ConnectionLost: cut in the middle of a chunked or counted body. A body ended by the close cannot
                tell a cut from an end (RFC 9112 section 8).
        """
        while True:
            event, data = await self._next()
            if isinstance(event, h11.Data):
                yield data
            else:
                break

    async def read_body(self) -> bytes:
        """The whole body of the present response."""
        return b"".join([piece async for piece in self.pieces()])

    def next_cycle(self) -> bool:
        """Make ready for the next exchange; False when the connection cannot carry another."""
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE and not self.connection.closed:
            self._h11.start_next_cycle()
            self.waiting -= 1
            if self._ahead:
                self._announce(self._ahead.popleft())
            return True
        return False

    @property
    def unparsed(self) -> bytes:
        """Bytes that were read and do not belong to HTTP: what follows a 101."""
        return self._h11.trailing_data[0]

    def close(self, by: str = "client") -> None:
        """End the connection; bytes that were read and are part of nothing whole get their marks."""
        self.connection.close(by)
        self.body.mark_rest()
        self.record.mark("in", self._consumed, self.record.bytes_in, "framing", "unread")
        self._consumed = self.record.bytes_in

    async def _next(self) -> tuple[Any, bytes]:
        """The next h11 event; the bytes it consumed are marked as headers, framing or kept for the body."""
        while True:
            before = len(self._h11.trailing_data[0])
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                self.close(by="server")
                raise ConnectionLost(f"the answer was cut or is not HTTP: {error}") from None
            start = self._consumed
            self._consumed += before - len(self._h11.trailing_data[0])
            data = bytes(event.data) if isinstance(event, h11.Data) else b""
            if isinstance(event, (h11.Response, h11.InformationalResponse)):
                self.record.mark("in", start, self._consumed, "headers", f"{event.status_code}, headers")
            else:
                self.record.mark("in", start, self._consumed - len(data), "framing", "chunk")
                if data:
                    self.body.add(self._consumed - len(data), self._consumed)
            if event is not h11.NEED_DATA:
                if isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                    self.connection.close(by="server")
                return event, data
            received = await self.connection.read()
            self._h11.receive_data(received)


class HTTPClient:
    """One address, one connection at a time, kept alive unless told otherwise.

    Args:
        url: the technique's full address.
        topic, token: sent with every request.
        wiring: where the bytes are put down.
        keep_alive: False opens a connection for each request.
        version: ``1.1`` or ``1.0``.
    """

    def __init__(
        self,
        url: str,
        *,
        topic: str,
        token: str | None,
        wiring: Wiring,
        keep_alive: bool = True,
        version: str = "1.1",
    ) -> None:
        self.parts: SplitResult = urlsplit(url)
        self.topic = topic
        self.wiring = wiring
        self.keep_alive = keep_alive
        self.version = version
        self.headers = {"Host": self.parts.netloc, "User-Agent": "labkit", "Accept": "*/*"}
        if token is not None:
            self.headers["Authorization"] = f"Bearer {token}"
        if version == "1.0" or not keep_alive:
            self.headers["Connection"] = "close"
        self.http: HTTPConnection | None = None

    async def connected(self) -> HTTPConnection:
        """The connection that is open and free, or a new one."""
        http = self.http
        if http is not None and (http.connection.closed or (not http.waiting and http.connection.ended)):
            http.close()
            self.http = None
        if self.http is None:
            host, port = self.parts.hostname or "", self.parts.port or 80
            self.http = HTTPConnection(await Connection.open(host, port, self.wiring))
        return self.http

    def target(self, **query: object) -> str:
        """The request target with *query* added (values of None or "" are left out)."""
        return target(self.parts, topic=self.topic, **query)

    async def ask(
        self, query: Mapping[str, object], headers: Mapping[str, str] | None = None, *, ahead: int = 0
    ) -> None:
        """Send a GET, unless *ahead* + 1 of them already wait for their answers on this connection."""
        http = await self.connected()
        if http.waiting <= ahead:
            fields = {**self.headers, **(headers or {})}
            await http.request("GET", self.target(**query), fields, version=self.version)

    async def head(self) -> tuple[Response, HTTPConnection]:
        """The head of the oldest unanswered request's response, and the connection to read its body from."""
        assert self.http is not None, "ask first"
        return await self.http.response(), self.http

    async def answer(self) -> tuple[Response, str]:
        """The whole response to the oldest unanswered request. Anything but 200 or 304 is :class:`Refused`."""
        response, http = await self.head()
        text = (await http.read_body()).decode("utf-8", "replace")
        if not http.next_cycle() or not self.keep_alive:
            http.connection.close()  # its marks are still to come
        refuse_unless(response, (200, 304), text)
        return response, text

    def close(self) -> None:
        if self.http is not None:
            self.http.close()


def target(parts: SplitResult, **query: object) -> str:
    """The request target of an address with query parameters added; None and "" are left out."""
    pairs = [f"{name}={quote(str(value), safe='@')}" for name, value in query.items() if value not in (None, "")]
    joined = "&".join(filter(None, [parts.query, *pairs]))
    return (parts.path or "/") + (f"?{joined}" if joined else "")


def refuse_unless(response: Response, allowed: tuple[int, ...], text: str = "") -> None:
    """Raise :class:`Refused` with the server's own words when the status is not one of *allowed*."""
    if response.status not in allowed:
        wait = response.headers.get("retry-after", "")
        raise Refused(
            f"the server answered {response.status} {response.reason}: {text.strip()[:200]}".rstrip(": "),
            status=response.status,
            retry_after_s=float(wait) if wait.isdigit() else None,
        )


Opened = Callable[[str], None]
"""Told the cursor at which a subscription begins, as soon as the client knows it."""
