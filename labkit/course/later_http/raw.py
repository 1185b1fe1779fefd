"""An HTTP/2 connection by hand, on the protocol core of ``h2``: every frame of it with its time and its bytes.

It reads what comes and lets the experiment say which streams are read: what is not read is not acknowledged, and its
window is not opened again (RFC 9113 section 6.9).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal
from urllib.parse import urlsplit

from labkit.course.background import cancelled
from labkit.course.later_http.not_run import NothingSpeaksIt
from labkit.errors import LabkitError
from labkit.wire.events import now_ns
from labkit.wire.http2 import Frame, FrameCutter, Kind

MISSING = 'HTTP/2 needs h2: pip install "labkit[http2]"'
WAIT_S, FAREWELL_S = 10.0, 0.2
DEFAULT_WINDOW = 65_535
NEVER_NS = 1 << 62
Sender = Literal["client", "server"]


@dataclass(frozen=True, slots=True)
class Seen:
    """One frame as it went over the wire, and when."""

    t_ns: int
    sender: Sender
    frame: Frame

    @property
    def bytes(self) -> int:
        return len(self.frame.raw)


def h2() -> tuple[ModuleType, ModuleType, ModuleType]:
    """Its modules of connections, configurations and events.

    Raises:
        NothingSpeaksIt: it is not installed.
    """
    try:
        import h2.config
        import h2.connection
        import h2.events
    except ImportError:
        raise NothingSpeaksIt(MISSING) from None
    return h2.connection, h2.config, h2.events


@dataclass
class Stream:
    """One exchange. ``end``: how it ended, in words; ``pieces``: each DATA frame's content, with its time."""

    id: int
    read: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[tuple[int, bytes]] = field(default_factory=list)
    end: str = ""
    ended_ns: int = NEVER_NS

    @property
    def body(self) -> bytes:
        return b"".join(data for _, data in self.pieces)


class Talk:
    """A client's side of one connection."""

    def __init__(self, url: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, window: int) -> None:
        connection, config, self._events = h2()
        self._authority, self._scheme = urlsplit(url).netloc, urlsplit(url).scheme
        self._reader, self._writer = reader, writer
        self.core = connection.H2Connection(config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.frames: list[Seen] = []
        self._cut: dict[Sender, FrameCutter] = {"client": FrameCutter("out"), "server": FrameCutter("in")}
        self.streams: dict[int, Stream] = {}
        self.goaway: tuple[int, int] | None = None
        """The last stream that the server takes, and the code, once it has said so."""
        self._happened = asyncio.Condition()
        self.core.initiate_connection()  # with h2's own SETTINGS: streams of 65 535 bytes, no push
        if window > DEFAULT_WINDOW:
            self.core.increment_flow_control_window(window - DEFAULT_WINDOW)
        self.flush()

    def ask(self, path: str, headers: Mapping[str, str] | None = None, *, read: bool = True) -> Stream:
        """Begin a GET. *read*: whether what comes is acknowledged."""
        number = self.core.get_next_available_stream_id()
        found = self.streams[number] = Stream(number, read)
        own = {":method": "GET", ":scheme": self._scheme, ":authority": self._authority, ":path": path}
        self.core.send_headers(number, [*own.items(), *(headers or {}).items()], end_stream=True)
        self.flush()
        return found

    async def leave(self) -> None:
        """End the connection, whatever is under way on it."""
        self._writer.close()
        try:
            async with asyncio.timeout(FAREWELL_S):  # some let the farewell of TLS unanswered while streams are open
                await self._writer.wait_closed()
        except TimeoutError:
            self._writer.transport.abort()
        except (OSError, ssl.SSLError):  # it has ended otherwise
            pass

    def read_at_last(self, stream: Stream) -> None:
        """Acknowledge what has come on a stream that was not read, and what comes from now on."""
        stream.read = True
        if stream.body and not stream.end:
            self.core.acknowledge_received_data(len(stream.body), stream.id)
            self.flush()

    def flush(self) -> None:
        """Write what the core has to say."""
        data: bytes = self.core.data_to_send()
        if data:
            self.frames += [Seen(now_ns(), "client", frame) for frame in self._cut["client"].feed(data, [])]
            self._writer.write(data)

    def fields(self, stream: Stream, sender: Sender) -> bytes:
        """The field block of a request or of an answer, as it was coded."""
        mine = [seen.frame for seen in self.frames if seen.sender == sender and seen.frame.stream == stream.id]
        return b"".join(frame.content for frame in mine if frame.kind in (Kind.HEADERS, Kind.CONTINUATION))

    async def until(self, is_so: Any, limit_s: float = WAIT_S) -> bool:
        """Wait until something is so that frames bring about; whether it came to be in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s), self._happened:
                await self._happened.wait_for(is_so)
                return True
        return bool(is_so())

    async def listen(self) -> None:
        """Take what comes, until the connection ends."""
        why = "the connection ended"
        try:
            while data := await self._reader.read(1 << 16):
                await self._take(data)
        except OSError as error:
            why = f"the connection was lost ({type(error).__name__})"
        async with self._happened:
            for stream in self.streams.values():
                _end(stream, why)
            self._happened.notify_all()

    async def _take(self, data: bytes) -> None:
        t_ns = now_ns()
        for frame in self._cut["server"].feed(data, []):
            self.frames.append(Seen(t_ns, "server", frame))
            if frame.kind == Kind.GOAWAY:  # after it h2's core takes nothing more, though its streams go on
                last, code = (int.from_bytes(frame.payload[at : at + 4], "big") for at in (0, 4))
                self.goaway = (last & 0x7FFFFFFF, code)
                continue
            for event in self.core.receive_data(frame.raw):
                self._took(event, t_ns)
        self.flush()
        async with self._happened:
            self._happened.notify_all()

    def _took(self, event: Any, t_ns: int) -> None:
        known, stream = self._events, self.streams.get(getattr(event, "stream_id", 0) or 0)
        if stream is None:
            return
        if isinstance(event, known.ResponseReceived):
            stream.headers = dict(event.headers)
        elif isinstance(event, known.DataReceived):
            stream.pieces.append((t_ns, event.data))
            if stream.read and event.flow_controlled_length:
                self.core.acknowledge_received_data(event.flow_controlled_length, stream.id)
        elif isinstance(event, known.StreamEnded):
            _end(stream, "END_STREAM", t_ns)
        elif isinstance(event, known.StreamReset):
            _end(stream, f"RST_STREAM, {getattr(event.error_code, 'name', event.error_code)}", t_ns)


def arrivals(pieces: Iterable[tuple[int, bytes]]) -> list[int]:
    """When each event of a stream of lines was whole; the line that says where it begins is none."""
    return [t_ns for t_ns, _ in events(pieces)]


def ids(pieces: Iterable[tuple[int, bytes]]) -> list[int]:
    """The id of each event of a stream of lines."""
    return [json.loads(line)["id"] for _, line in events(pieces)]


def events(pieces: Iterable[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Each event's line of a body, chunked or not, and when it was whole."""
    found, line = [], b""
    for t_ns, data in pieces:
        *whole, line = (line + data).split(b"\n")
        found += [(t_ns, one) for one in whole if one.startswith(b'{"id"')]
    return found


def _end(stream: Stream, how: str, t_ns: int | None = None) -> None:
    if not stream.end:
        stream.end, stream.ended_ns = how, now_ns() if t_ns is None else t_ns


@contextlib.asynccontextmanager
async def talk(url: str, *, cafile: str | None = None, window: int = DEFAULT_WINDOW) -> AsyncIterator[Talk]:
    """A connection to an address, over TLS where that is ``https``, and in clear text by prior knowledge elsewhere.

    Args:
        window: what the server may send on the whole connection before something is acknowledged, in bytes.

    Raises:
        LabkitError: over TLS HTTP/2 is not spoken there.
    """
    address, context = urlsplit(url), None
    if address.scheme == "https":
        context = ssl.create_default_context(cafile=cafile)
        context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection(address.hostname, address.port, ssl=context)
    try:
        secured = writer.get_extra_info("ssl_object")
        if secured is not None and secured.selected_alpn_protocol() != "h2":
            raise LabkitError(f"no HTTP/2 is spoken at {url}")
        found = Talk(url, reader, writer, window)
        reading = asyncio.ensure_future(found.listen())
        try:
            yield found
        finally:
            await cancelled(reading)
            await found.leave()
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def followed(
    port: int, path: str, pieces: list[tuple[int, bytes]], host: str = "127.0.0.1"
) -> AsyncIterator[None]:
    """A stream over HTTP/1.1 on a connection of its own, what it brings put down as it comes."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    async def read() -> None:
        while data := await reader.read(1 << 16):
            pieces.append((now_ns(), data))

    reading = asyncio.ensure_future(read())
    try:
        yield
    finally:
        await cancelled(reading)
        writer.close()
