"""The roles of the bench: a process each for its sinks, and for the servers that labkit is compared with.

A :class:`Role` is a child process that plays one role of this file: a sink, a server built on the ``websockets``
library or on Tornado alone, or the least that a server can do. What a sink is told and answers is a line of JSON each;
a line to a server is a message to all of its subscribers. All but the least ping as often as a lab does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from labkit.lab.listening import available_connections
from labkit.techniques.sse import block
from labkit.theory.path import HEARTBEAT_S  # what a lab has by default
from labkit.wire.envelope import Start, encode
from labkit.wire.events import Event
from labkit.wire.frames import Frame, Opcode, encode_frame
from sink import ACCEPT, Sink, Void

if TYPE_CHECKING:
    from streams import Streams

REST_S = 0.1  # from one look of an idle sink for pings to the next


def play_sink(technique: str, epoch: str, streams: str, cafile: str) -> None:
    """The role of the clients that are told."""
    available_connections()
    sink = make_sink(technique, epoch, int(streams), cafile)
    obey(sink, sink.rest)


def play_asker(cafile: str) -> None:
    """The role of the clients that ask."""
    from asking import Asker

    available_connections()
    obey(Asker(ssl.create_default_context(cafile=cafile) if cafile else None), lambda: None)


def obey(sink: object, rest: Callable[[], None]) -> None:
    """A command a line, an answer a line; *rest* in between."""
    while True:
        try:
            while not select.select([sys.stdin], [], [], REST_S)[0]:
                rest()
            if not (line := sys.stdin.readline()):
                return
            name, *arguments = json.loads(line)
            answer = {"value": getattr(sink, name)(*arguments)}
        except (Void, OSError) as error:
            answer = {"void": str(error)}
        print(json.dumps(answer), flush=True)


def make_sink(technique: str, epoch: str, streams: int, cafile: str) -> Sink | Streams:
    """One of connections, or where *streams* share each of them; over TLS if it is told whom to believe."""
    tls = ssl.create_default_context(cafile=cafile) if cafile else None
    if not streams:
        return Sink(technique, epoch, tls)
    from streams import Streams

    if tls is not None:
        tls.set_alpn_protocols(["h2"])
    return Streams(streams, tls, epoch)


async def play_broadcast() -> None:
    """The role of a server built on the ``websockets`` library: each line is a message to all."""
    from websockets.asyncio.server import ServerConnection, broadcast, serve

    available_connections()
    connections: set[ServerConnection] = set()

    async def hold(connection: ServerConnection) -> None:
        await connection.send(encode(Start("0@peer")))
        connections.add(connection)
        await connection.wait_closed()
        connections.discard(connection)

    async with serve(
        hold, "127.0.0.1", 0, compression=None, ping_interval=HEARTBEAT_S, ping_timeout=HEARTBEAT_S, backlog=4096
    ) as server:
        async for line in told(server.sockets[0].getsockname()[1]):
            broadcast(connections, line)


async def told(port: int) -> AsyncIterator[str]:
    """Say which port a server listens on; then what it is to send, message by message."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print(json.dumps({"value": port}), flush=True)
    while line := await lines.readline():
        yield line[:-1].decode()


async def play_tornado(technique: str) -> None:
    """The role of a server built on Tornado alone: a loop over the handlers, each writes for itself."""
    available_connections()
    sockets: set[WebSocketHandler] = set()
    streams: set[RequestHandler] = set()

    class Socket(WebSocketHandler):
        def open(self) -> None:
            self.write_message(encode(Start("0@peer")))
            sockets.add(self)

        def on_close(self) -> None:
            sockets.discard(self)

    class Stream(RequestHandler):
        async def get(self) -> None:
            self.set_header("Content-Type", "text/event-stream")
            self.write(block(Start("0@peer"), "peer"))
            await self.flush()
            streams.add(self)
            await asyncio.Event().wait()  # for good: the process ends first

        def on_connection_close(self) -> None:
            streams.discard(self)

    server = HTTPServer(Application([("/websocket", Socket), ("/sse", Stream)], websocket_ping_interval=HEARTBEAT_S))
    listening = bind_sockets(0, "127.0.0.1", backlog=4096)
    server.add_sockets(listening)
    async for line in told(listening[0].getsockname()[1]):
        if technique == "sse":
            event = json.loads(line)
            data = block(Event(event["id"], event["data"], 0), "peer")
            for stream in streams:
                stream.write(data)
                stream.flush()
        for handler in sockets:
            handler.write_message(line)


def play_bare() -> None:
    """The role of the least that a server can do here: one ``send()`` a subscriber, and nothing else."""
    available_connections()
    connections: list[socket.socket] = []
    listening = socket.create_server(("127.0.0.1", 0), backlog=4096)

    def accept() -> None:
        while True:
            connection, _ = listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.recv(4096)
            head = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
            connection.sendall(head + encode_frame(Frame(Opcode.TEXT, encode(Start("0@peer")).encode())))
            connection.setblocking(False)
            connections.append(connection)

    threading.Thread(target=accept, daemon=True).start()
    print(json.dumps({"value": listening.getsockname()[1]}), flush=True)
    for line in sys.stdin.buffer:
        message = encode_frame(Frame(Opcode.TEXT, line[:-1]))
        for connection in connections:
            connection.send(message)


class Role:
    """A child process that plays a role of this file."""

    def __init__(self, *arguments: str) -> None:
        path = os.pathsep.join(filter(None, sys.path))
        self.process = subprocess.Popen(
            [sys.executable, __file__, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        answer = json.loads(self.process.stdout.readline() or '{"void": "a process of the bench has ended"}')
        if "void" in answer:
            raise Void(answer["void"])
        return answer["value"]

    def ask(self, *command: Any) -> Any:
        self.say(json.dumps(command))
        return self.answer()

    def publish(self, event_id: int, data: str) -> None:
        """Have a reference server send the message that labkit makes of the event."""
        self.say(encode(Event(event_id, data, 0)))

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


def play() -> None:
    """Play the role that the command line names."""
    role, *arguments = sys.argv[1:]
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        if role == "sink":
            play_sink(*arguments)
        elif role == "asker":
            play_asker(*arguments)
        elif role == "serve":
            from serving import serve

            asyncio.run(serve(json.loads(*arguments)))
        elif role == "bare":
            play_bare()
        elif role == "tornado":
            asyncio.run(play_tornado(*arguments))
        else:
            asyncio.run(play_broadcast())


if __name__ == "__main__":
    play()
