"""The browser-plugin era: Flash ``XMLSocket`` framing over plain TCP, with its policy file.

Adobe, "Setting up a socket policy file server" and ActionScript 3.0's XMLSocket: messages end with a NUL, and a player
first asks for a policy on the same port. A wire exhibit on a port of its own; no browser speaks it any more. A first
byte other than ``<`` or ``{`` closes the connection, so that a web page's HTTP request cannot get in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncGenerator, Callable

from tornado.iostream import IOStream, StreamClosedError, UnsatisfiableReadError
from tornado.tcpserver import TCPServer

from labkit.client import address
from labkit.client.connection import Connection
from labkit.client.http_connection import Body
from labkit.errors import CursorError
from labkit.server import fanout
from labkit.server.access import Context
from labkit.server.encoding import Item
from labkit.server.http1 import LINGER_S, accepted
from labkit.server.limits import check_topic, message_limit
from labkit.server.subscriber import Subscriber
from labkit.sockets import READ_BYTES, limit_send_buffer
from labkit.techniques.base import Opening, Technique, one_transit
from labkit.techniques.publishing import answer_publish
from labkit.techniques.reading import Delivery, mark_json
from labkit.theory import Mark
from labkit.wire import envelope
from labkit.wire.events import Cursor, Gap

FIRST_MESSAGE_S = 5.0
FIRST_MESSAGE_BYTES = 4096
POLICY_REQUEST = b"<policy-file-request/>\0"
POLICY = (
    b'<?xml version="1.0"?><cross-domain-policy>'
    b'<allow-access-from domain="localhost" to-ports="%d"/><allow-access-from domain="127.0.0.1" to-ports="%d"/>'
    b"</cross-domain-policy>\0"
)


def nul_terminated(item: Item, _: str) -> bytes:
    return envelope.encode(item).encode() + b"\0"


class PluginSocketServer(TCPServer):
    """Answers the policy request, or sends every event as NUL-terminated JSON and takes events to publish."""

    def __init__(self, context: Context, has_room: Callable[[], bool], send_buffer_bytes: int | None = None) -> None:
        super().__init__(max_buffer_size=1 << 20)  # messages are read piece by piece
        self.context = context
        self.has_room = has_room
        self.send_buffer_bytes = send_buffer_bytes
        self.streams: set[IOStream] = set()

    async def handle_stream(self, stream: IOStream, address: object) -> None:
        if not self.has_room():
            stream.close()
            return
        stream = fanout.TellingStream(stream.socket, max_buffer_size=stream.max_buffer_size)  # it has read nothing yet
        self.streams.add(stream)
        stream.set_nodelay(True)
        limit_send_buffer(stream.socket, self.send_buffer_bytes)
        try:
            await self.converse(stream)
        except (StreamClosedError, UnsatisfiableReadError, TimeoutError):
            pass  # gone, or silent, or sent more than a first message may have
        finally:
            stream.close()
            self.streams.discard(stream)

    async def converse(self, stream: IOStream) -> None:
        async with asyncio.timeout(FIRST_MESSAGE_S):
            first = await stream.read_bytes(1)
            if first not in (b"<", b"{"):
                return
            message = first + await stream.read_until(b"\0", max_bytes=FIRST_MESSAGE_BYTES)
        if message == POLICY_REQUEST:
            port = stream.socket.getsockname()[1]
            await stream.write(POLICY % (port, port))
            return
        try:
            topic, cursor = read_subscription(message[:-1])
        except (ValueError, CursorError) as error:
            await stream.write(json.dumps({"error": str(error)}).encode() + b"\0")
            return
        subscriber = self.context.hub.subscribe(topic, cursor, nul_terminated)
        writer = asyncio.ensure_future(self.write_events(stream, subscriber))
        limit = message_limit(self.context.max_event_bytes)
        try:
            async with contextlib.aclosing(messages(stream, limit)) as requests:
                async for request in requests:
                    answer = answer_publish(self.context, topic, request).encode() + b"\0"
                    await accepted(stream.write(answer), self.context.write_timeout_s)
        finally:
            subscriber.close()
            writer.cancel()
        await self.refuse(stream, f"a message has at most {limit} bytes")

    async def refuse(self, stream: IOStream, why: str) -> None:
        """Say why, and end. What the peer still sends is dropped: a reset would take the answer back."""
        answer = json.dumps({"error": why, "ref": None}).encode() + b"\0"
        await accepted(stream.write(answer), self.context.write_timeout_s)
        if not stream.closed():
            with contextlib.suppress(OSError):
                stream.socket.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(LINGER_S):
            while True:
                await stream.read_bytes(READ_BYTES, partial=True)

    async def write_events(self, stream: IOStream, subscriber: Subscriber) -> None:
        with contextlib.suppress(StreamClosedError, TimeoutError):
            await accepted(stream.write(subscriber.encoded(subscriber.start())), self.context.write_timeout_s)
            if self.context.fanout == "direct":
                fanout.attach_stream(stream, subscriber, None)
            async for block in subscriber.blocks():
                await accepted(stream.write(block), self.context.write_timeout_s)
        stream.close()

    def close_all(self) -> None:
        """Stop listening and end every connection."""
        self.stop()
        for stream in list(self.streams):
            stream.close()


async def messages(stream: IOStream, limit: int) -> AsyncGenerator[bytes, None]:
    """The NUL-terminated messages, until one has more than *limit* bytes."""
    held = bytearray()
    while len(held) <= limit:
        *ends, rest = (await stream.read_bytes(READ_BYTES, partial=True)).split(b"\0")
        for end in ends:
            held += end
            if len(held) > limit:
                return
            yield bytes(held)
            held.clear()
        held += rest


def read_subscription(message: bytes) -> tuple[str, Cursor | None]:
    """Topic and cursor of ``{"subscribe": {"topic": "", "after": "17@k3f9"}}``."""
    try:
        request = envelope.request(message)["subscribe"]
        topic, after = request.get("topic", ""), request.get("after", "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError('expected {"subscribe": {"topic": "", "after": "17@k3f9"}}') from None
    if not isinstance(topic, str) or not isinstance(after, str):
        raise ValueError("topic and after are strings")
    check_topic(topic)
    return topic, Cursor.parse(after) if after else None


async def subscribe(opening: Opening) -> AsyncGenerator[Delivery | Gap, None]:
    """Subscribe on ``tcp://host:port`` and read NUL-terminated JSON until the server closes."""
    parts = address.split(opening.url, address.TCP)
    connection = await Connection.open(parts.hostname or "", parts.port or 843, opening.wiring)
    reader, body, position, rest = opening.reader(), Body(connection.record), 0, b""
    asked = {"topic": opening.topic, "after": opening.after or ""} | ({"token": opening.token} if opening.token else {})
    hello = json.dumps({"subscribe": asked}).encode() + b"\0"
    try:
        await connection.write(hello)
        connection.record.mark("out", 0, len(hello), "envelope", "subscribe")
        while data := await connection.read():
            connection.accepted()
            body.add(position, position + len(data))
            position += len(data)
            *messages, rest = (rest + data).split(b"\0")
            for raw in messages:
                item = reader.read(raw.decode("utf-8", "replace"), connection.received_ns)
                mark_json(body, raw, [item])
                body.mark(1, "framing", "NUL")
                if item is not None:
                    yield item
    finally:
        connection.close()
        body.mark_rest()


PLUGIN_SOCKET = Technique(
    name="plugin-socket",
    title="Plugin socket",
    spec="Adobe Flash XMLSocket",
    route="",
    handler=None,
    client=subscribe,
    short="plugin socket",
    mark=Mark("#CC79A7", "x", "longdashdot"),
    theory=one_transit,
    body="nul",
    port="plugin",
    bidirectional=True,
    exhibit=True,
    http_version="",
    hint="NUL-terminated messages over TCP, as Flash had them",
)
