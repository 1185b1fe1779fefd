"""Healthy servers of other people, each a few lines over its library, an event each 0.1 s."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.network.programs import PROGRAMS
from labkit.network.programs.nginx import AROUND
from symptoms.servers import compressing, free_port, needs, node, python, running

Asked = tuple[str, dict[str, Any]]
World = Callable[[], contextlib.AbstractContextManager[Asked]]

ASGI = """
import asyncio, json, os, gzip
import uvicorn
%s
uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
"""
STARLETTE = """
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Route
async def events():
    for n in range(1000):
        yield {"id": str(n), "data": f"event {n}"}
        await asyncio.sleep(0.1)
async def stream(request):
    return EventSourceResponse(events(), ping=15)
app = Starlette(routes=[Route("/", stream)])
if os.environ.get("GZIPPED"):
    app.add_middleware(GZipMiddleware)
"""
FASTAPI = """
from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
app = FastAPI()
async def lines():
    for n in range(1000):
        yield f"id: {n}\\ndata: event {n}\\n\\n"
        await asyncio.sleep(0.1)
@app.get("/streaming")
async def streaming():
    return StreamingResponse(lines(), media_type="text/event-stream")
@app.get("/own", response_class=EventSourceResponse)
async def own():
    for n in range(1000):
        yield ServerSentEvent(data={"n": n}, id=str(n))
        await asyncio.sleep(0.1)
@app.post("/tokens", response_class=EventSourceResponse)
async def tokens():
    await asyncio.sleep(0.8)
    for n in range(20):
        yield {"token": n}
        await asyncio.sleep(0.03)
    yield ServerSentEvent(raw_data="[DONE]")
@app.websocket("/socket")
async def socket(there: WebSocket):
    await there.accept()
    for n in range(1000):
        await there.send_text(f"message {n}")
        await asyncio.sleep(0.1)
"""
MCP = '''
from mcp.server.mcpserver import Context, MCPServer
server = MCPServer("probed")
@server.tool()
async def work(context: Context) -> str:
    """Work, and report progress."""
    for n in range(8):
        await context.report_progress(n, 8)
        await asyncio.sleep(0.15)
    return "done"
app = server.streamable_http_app(stateless_http=True)
'''
AIOHTTP = """
import asyncio, os
from aiohttp import web
async def events(request):
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    for n in range(1000):
        await answer.write(f"id: {n}\\ndata: event {n}\\n\\n".encode())
        await asyncio.sleep(0.1)
async def socket(request):
    there = web.WebSocketResponse(heartbeat=0.5)
    await there.prepare(request)
    for n in range(1000):
        await there.send_str(f"message {n}")
        await asyncio.sleep(0.1)
app = web.Application()
app.add_routes([web.get("/events", events), web.get("/socket", socket)])
web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), print=None)
"""
CHANNELS = """
import asyncio
import os
import django
from django.conf import settings
settings.configure(SECRET_KEY="probed", ROOT_URLCONF="served", ALLOWED_HOSTS=["*"], INSTALLED_APPS=["channels"])
django.setup()
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.http import StreamingHttpResponse
from django.urls import path
async def lines():
    for n in range(1000):
        yield f"id: {n}\\ndata: event {n}\\n\\n"
        await asyncio.sleep(0.1)
async def stream(request):
    return StreamingHttpResponse(lines(), content_type="text/event-stream")
class Counter(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept()
        self.task = asyncio.create_task(self.count())
    async def count(self):
        for n in range(1000):
            await self.send(text_data=f"message {n}")
            await asyncio.sleep(0.1)
    async def disconnect(self, code):
        self.task.cancel()
urlpatterns = [path("events", stream)]
app = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": URLRouter([path("socket", Counter.as_asgi())])})
"""
WEBSOCKETS = """
import asyncio, os
from websockets.asyncio.server import serve
async def count(there):
    for n in range(1000):
        await there.send(f"message {n}")
        await asyncio.sleep(0.1)
async def main():
    async with serve(count, "127.0.0.1", int(os.environ["PORT"]), ping_interval=0.5) as server:
        await server.serve_forever()
asyncio.run(main())
"""
NODE_HTTP = """
const http = require("http")
http.createServer((request, response) => {
  response.writeHead(200, {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
  let n = 0
  const timer = setInterval(() => response.write(`id: ${++n}\\ndata: event ${n}\\n\\n`), 100)
  request.on("close", () => clearInterval(timer))
}).listen(process.env.PORT, "127.0.0.1")
"""
NODE_WS = """
const {WebSocketServer} = require("ws")
const server = new WebSocketServer({host: "127.0.0.1", port: process.env.PORT})
server.on("connection", there => {
  let n = 0
  const timer = setInterval(() => there.send(`message ${++n}`), 100), beat = setInterval(() => there.ping(), 500)
  there.on("close", () => { clearInterval(timer); clearInterval(beat) })
})
"""
SOCKET_IO = """
const {Server} = require("socket.io")
const server = require("http").createServer()
new Server(server, {pingInterval: 1000})
server.listen(process.env.PORT, "127.0.0.1")
"""
NCHAN = """load_module {module};
{around}
  server {{
    listen 127.0.0.1:{port};
    location /publish {{ nchan_publisher; nchan_channel_id all; }}
    location /subscribe {{ nchan_subscriber; nchan_channel_id all; nchan_eventsource_ping_interval 1; }}
  }}
}}
"""
INITIALIZED = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
               "params": {"name": "work", "arguments": {}, "_meta": {"progressToken": "p"}}}  # fmt: skip


def of(text: str, modules: tuple[str, ...], path: str = "", *, asgi: bool = True, socket: bool = False,
       **options: Any) -> World:  # fmt: skip
    """A program of Python."""

    @contextlib.contextmanager
    def world() -> Iterator[Asked]:
        needs(*modules, *(["uvicorn"] if asgi else []))
        with running([python(), "-c", ASGI % text if asgi else text], free_port()) as url:
            yield (url.replace("http:", "ws:") if socket else url) + path, options

    return world


def of_node(text: str, *modules: str, path: str = "", socket: bool = False) -> World:
    @contextlib.contextmanager
    def world() -> Iterator[Asked]:
        with running([node(*modules), "-e", text], free_port()) as url:
            yield (url.replace("http:", "ws:") if socket else url) + path, {}

    return world


def of_channels(path: str, *, socket: bool = False) -> World:
    @contextlib.contextmanager
    def world() -> Iterator[Asked]:
        needs("channels", "daphne")
        port = free_port()
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "served.py").write_text(CHANNELS)
            with running([python(), "-m", "daphne", "-p", str(port), "served:app"], port, folder) as url:
                yield (url.replace("http:", "ws:") if socket else url) + path, {}

    return world


def of_nchan(socket: bool) -> World:
    @contextlib.contextmanager
    def world() -> Iterator[Asked]:
        module = os.environ.get("LABKIT_NCHAN_MODULE", "/usr/lib/nginx/modules/ngx_nchan_module.so")
        program, port = PROGRAMS["nginx"].find(), free_port()
        if program is None or not Path(module).exists():
            pytest.skip("nginx with nchan is not installed: apt install libnginx-mod-nchan")
        over = threading.Event()

        def publish(url: str) -> None:
            number = 0
            while not over.wait(0.1):
                number += 1
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"{url}publish", data=f"event {number}".encode()).close()

        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)  # nobody's workers

            Path(folder, "nginx.conf").write_text(NCHAN.format(module=module, around=AROUND, port=port))
            words = [str(program), "-e", "stderr", "-p", folder, "-c", "nginx.conf"]
            with running(words, port) as url:
                thread = threading.Thread(target=publish, args=(url,))
                thread.start()
                try:
                    yield (url.replace("http:", "ws:") if socket else url) + "subscribe", {}
                finally:
                    over.set()
                    thread.join()

    return world


@contextlib.contextmanager
def flushed_after() -> Iterator[Asked]:
    yield from compressing("after")


FAST, MCP_CALL = ("fastapi", "fastapi.sse"), json.dumps(INITIALIZED)
FOREIGN: dict[str, World] = {
    "sse-starlette": of(STARLETTE, ("sse_starlette",)),
    "sse-starlette, behind starlette's gzip": of('os.environ["GZIPPED"] = "1"\n' + STARLETTE, ("sse_starlette",)),
    "FastAPI, a streaming response": of(FASTAPI, FAST, "streaming"),
    "FastAPI, its own event stream": of(FASTAPI, FAST, "own"),
    "FastAPI, tokens that a POST began": of(FASTAPI, FAST, "tokens", data="{}"),
    "FastAPI and uvicorn, a WebSocket": of(FASTAPI, FAST, "socket", socket=True),
    "mcp, a tool that reports progress": of(MCP, ("mcp.server.mcpserver",), "mcp", data=MCP_CALL),
    "aiohttp, an event stream": of(AIOHTTP, ("aiohttp",), "events", asgi=False),
    "aiohttp, a WebSocket": of(AIOHTTP, ("aiohttp",), "socket", asgi=False, socket=True),
    "Django and daphne, an event stream": of_channels("events"),
    "Django channels, a WebSocket": of_channels("socket", socket=True),
    "websockets": of(WEBSOCKETS, ("websockets",), asgi=False, socket=True),
    "node http": of_node(NODE_HTTP),
    "node ws": of_node(NODE_WS, "ws", socket=True),
    "node compression, flushed after each event": flushed_after,
    "socket.io, its poll": of_node(SOCKET_IO, "socket.io", path="socket.io/?EIO=4&transport=polling"),
    "socket.io, its WebSocket": of_node(
        SOCKET_IO, "socket.io", path="socket.io/?EIO=4&transport=websocket", socket=True
    ),
    "nchan, an event stream": of_nchan(False),
    "nchan, a WebSocket": of_nchan(True),
}
