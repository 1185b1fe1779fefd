"""WebSocket servers and clients that others wrote, each made to echo: what is tried for conformance.

Those that are not installed are left out. Everything here runs on the lab loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import tornado.web
import tornado.websocket
from tornado.httpserver import HTTPServer

from labkit.client.ledger import Ledger
from labkit.client.websocket import WebSocketConnection
from labkit.client.wiring import Wiring
from labkit.errors import LabkitError
from labkit.lab.lab import Lab

HOST = "127.0.0.1"


class StockHandler(tornado.websocket.WebSocketHandler):
    """Tornado as it is: echoes, and tells when a connection is over."""

    def initialize(self, over: Callable[[], None] = lambda: None) -> None:
        self.over = over

    async def on_message(self, message: str | bytes) -> None:
        with contextlib.suppress(tornado.websocket.WebSocketClosedError):
            await self.write_message(message, isinstance(message, bytes))

    def on_close(self) -> None:
        self.over()


@asynccontextmanager
async def stock_tornado(over: Callable[[], None] = lambda: None, **settings: Any) -> AsyncIterator[int]:
    """Tornado's own WebSocket server; gives its port."""
    server = HTTPServer(tornado.web.Application([("/.*", StockHandler, {"over": over})], **settings))
    from tornado.netutil import bind_sockets

    sockets = bind_sockets(0, HOST)
    server.add_sockets(sockets)
    try:
        yield int(sockets[0].getsockname()[1])
    finally:
        server.stop()
        await server.close_all_connections()


@asynccontextmanager
async def _websockets_server() -> AsyncIterator[int]:
    from websockets.asyncio.server import serve
    from websockets.exceptions import ConnectionClosed

    async def echo(connection: Any) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                await connection.send(message)

    async with serve(echo, HOST, 0, compression=None, close_timeout=0.2) as server:
        yield next(iter(server.sockets)).getsockname()[1]


@asynccontextmanager
async def _aiohttp_server() -> AsyncIterator[int]:
    from aiohttp import WSMsgType, web

    async def echo(request: Any) -> Any:
        socket = web.WebSocketResponse(compress=False, timeout=0.2)
        await socket.prepare(request)
        with contextlib.suppress(ConnectionError):
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    await socket.send_str(message.data)
                elif message.type == WSMsgType.BINARY:
                    await socket.send_bytes(message.data)
        return socket

    app = web.Application()
    app.router.add_get("/{path:.*}", echo)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, 0)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _wsproto_server() -> AsyncIterator[int]:
    from wsproto import ConnectionType, WSConnection, events
    from wsproto.utilities import LocalProtocolError, RemoteProtocolError

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        core, parts = WSConnection(ConnectionType.SERVER), []
        with contextlib.suppress(ConnectionError, LocalProtocolError, RemoteProtocolError):
            while data := await reader.read(1 << 16):
                core.receive_data(data)
                for event in core.events():
                    if isinstance(event, events.Request):
                        writer.write(core.send(events.AcceptConnection()))
                    elif isinstance(event, events.Ping | events.CloseConnection):
                        writer.write(core.send(event.response()))
                    elif isinstance(event, events.Message):
                        parts.append(event.data)
                        if event.message_finished:
                            whole, parts = type(event.data)().join(parts), []
                            writer.write(core.send(type(event)(data=whole)))
                await writer.drain()
                if core.state.name in ("CLOSED", "LOCAL_CLOSING"):
                    break
        writer.close()

    async with _listening(converse) as port:
        yield port


@asynccontextmanager
async def _listening(converse: Callable[..., Awaitable[None]]) -> AsyncIterator[int]:
    server = await asyncio.start_server(converse, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def _ours(lab: Lab) -> AsyncIterator[int]:
    yield lab.port


Servers = dict[str, Callable[[], AbstractAsyncContextManager[int]]]
Clients = dict[str, Callable[[str], Awaitable[None]]]


def named(package: str, title: str = "") -> str:
    """The package with its version."""
    try:
        return f"{title or package} {version(package)}"
    except PackageNotFoundError:
        return title or package


def servers(lab: Lab) -> Servers:
    """Each server by name and version; entering it gives its port."""
    found: Servers = {
        "labkit": lambda: _ours(lab),
        named("tornado", "stock Tornado"): stock_tornado,
        named("websockets"): _websockets_server,
    }
    if find_spec("wsproto"):
        found[named("wsproto")] = _wsproto_server
    if find_spec("aiohttp"):
        found[named("aiohttp")] = _aiohttp_server
    return found


async def _labkit_client(url: str) -> None:
    with contextlib.suppress(LabkitError):
        socket = await WebSocketConnection.open(url.replace("ws:", "http:"), Wiring(Ledger(0), "websocket", 0))
        try:
            async for message in socket:
                await socket.send(message)
        finally:
            await asyncio.shield(socket.close(timeout_s=0.2))


async def _websockets_client(url: str) -> None:
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException

    with contextlib.suppress(WebSocketException, OSError):
        async with connect(url, compression=None, close_timeout=0.2, proxy=None) as connection:
            async for message in connection:
                await connection.send(message)


async def _tornado_client(url: str) -> None:
    connection = await tornado.websocket.websocket_connect(url)
    try:
        while (message := await connection.read_message()) is not None:
            await connection.write_message(message, isinstance(message, bytes))
    except tornado.websocket.WebSocketClosedError:
        pass
    finally:
        connection.close()


async def _aiohttp_client(url: str) -> None:
    import aiohttp

    with contextlib.suppress(aiohttp.ClientError, ConnectionError):
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            async for message in socket:
                if message.type == aiohttp.WSMsgType.TEXT:
                    await socket.send_str(message.data)
                elif message.type == aiohttp.WSMsgType.BINARY:
                    await socket.send_bytes(message.data)


def clients() -> Clients:
    """Each client by name and version: a coroutine that connects to a URL and echoes until the end."""
    found: Clients = {
        "labkit": _labkit_client,
        named("websockets"): _websockets_client,
        named("tornado", "stock Tornado"): _tornado_client,
    }
    if find_spec("aiohttp"):
        found[named("aiohttp")] = _aiohttp_client
    return found
