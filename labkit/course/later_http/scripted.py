"""Servers that answer as they are told: HTTP/2 on the protocol core of ``h2``, HTTP/1.1 by the byte."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from labkit.course.later_http import raw
from labkit.server.tls import Identity
from labkit.wire.events import now_ns
from labkit.wire.http2 import FrameCutter

LINES = (b'{"cursor":"0@14ab"}\n', b'{"id":1,"data":"one"}\n', b'{"id":2,"data":"two"}\n', b'{"id":3,"data":"three"}\n')
"""A stream of three events."""
How = Literal["end", "give up", "cut"]
Framing = Literal["EOF", "chunked", "HTTP/2"]
FIRST = "/first"
"""The path whose answer ends as it is told; any other's ends properly."""
PAUSE_S = 0.01


@dataclass
class Heard:
    """What came to a server: the frames of each connection."""

    port: int = 0
    connections: list[list[raw.Seen]] = field(default_factory=list)


@contextlib.asynccontextmanager
async def http2(how: How = "end", identity: Identity | None = None) -> AsyncIterator[Heard]:
    """A server of HTTP/2 whose streams end by END_STREAM, by RST_STREAM, or with the connection.

    Args:
        identity: speak it over TLS.
    """
    connection, config, events = raw.h2()
    heard = Heard()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        core = connection.H2Connection(config.H2Configuration(client_side=False, header_encoding="utf-8"))
        core.initiate_connection()
        writer.write(core.data_to_send())
        cut, seen = FrameCutter("out"), list[raw.Seen]()
        heard.connections.append(seen)
        while data := await reader.read(1 << 16):
            seen += [raw.Seen(now_ns(), "client", frame) for frame in cut.feed(data, [])]
            for event in core.receive_data(data):
                if isinstance(event, events.RequestReceived):
                    await _answer(core, writer, event, how)
            writer.write(core.data_to_send())
        writer.close()

    context = None
    if identity is not None:
        context = identity.context()
        context.set_alpn_protocols(["h2"])
    async with _served(serve, heard, context):
        yield heard


async def _answer(core: Any, writer: asyncio.StreamWriter, event: Any, how: How) -> None:
    stream, first = event.stream_id, dict(event.headers)[":path"] == FIRST
    core.send_headers(stream, [(":status", "200"), ("content-type", "application/x-ndjson")])
    for line in LINES:
        core.send_data(stream, line)
    writer.write(core.data_to_send())
    await asyncio.sleep(PAUSE_S)  # so that clients have them before the end comes
    if how == "end" or not first:
        core.end_stream(stream)
    elif how == "give up":
        core.reset_stream(stream, error_code=2)  # INTERNAL_ERROR
    else:
        writer.close()


@contextlib.asynccontextmanager
async def http1(framing: Framing, how: How) -> AsyncIterator[Heard]:
    """A server of HTTP/1.1 whose body ends with the connection or is chunked; it can only give up by closing."""
    heard = Heard()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.connections.append([])
        chunked = framing == "chunked"
        field = "Transfer-Encoding: chunked" if chunked else "Connection: close"
        with contextlib.suppress(asyncio.IncompleteReadError):
            while request := await reader.readuntil(b"\r\n\r\n"):
                writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n{field}\r\n\r\n".encode())
                lines = LINES if how == "end" or FIRST.encode() not in request else LINES[:-1]
                for line in lines:
                    writer.write(b"%x\r\n%s\r\n" % (len(line), line) if chunked else line)
                await asyncio.sleep(PAUSE_S)
                if not chunked or lines is not LINES:
                    break
                writer.write(b"0\r\n\r\n")
        writer.close()

    async with _served(serve, heard, None):
        yield heard


@contextlib.asynccontextmanager
async def _served(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], heard: Heard, context: Any
) -> AsyncIterator[None]:
    under_way = set[asyncio.Task[None]]()

    async def kept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        under_way.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):  # by nobody but the end below
                await serve(reader, writer)
        finally:
            under_way.discard(task)
            writer.close()

    server = await asyncio.start_server(kept, "127.0.0.1", 0, ssl=context)
    heard.port = server.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        server.close()
        for task in list(under_way):
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
