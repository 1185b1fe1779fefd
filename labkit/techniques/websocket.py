"""WebSocket: a connection that leaves HTTP behind; both sides send at any time.

RFC 6455; permessage-deflate (RFC 7692) with ``?deflate=1``. The server half is Tornado's, corrected in
``websocket_server.py``; the client half drives the Sans-I/O core of the ``websockets`` library over a counted socket.
A client publishes on the same connection: ``{"publish": "text", "ref": 1}`` is answered with
``{"published": 18, "ref": 1}``.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from tornado.iostream import IOStream, StreamClosedError

from labkit import fanout
from labkit.connection import Opened, Wiring
from labkit.encoding import Encode, Item
from labkit.errors import ConnectionLost, Refused
from labkit.events import Event, Gap
from labkit.handler import PushHandler
from labkit.http1 import accepted, forget_headers
from labkit.ledger import Ledger
from labkit.subscriber import Subscriber
from labkit.techniques.base import Delivery, Reader, Technique, answer_publish, mark_json
from labkit.websocket_client import WebSocketConnection
from labkit.websocket_server import CorrectedHandler, CorrectedProtocol
from labkit.wire import envelope
from labkit.wire.frames import Frame, Opcode, encode_frame

ID = struct.Struct("!Q")
SUBPROTOCOL = "labkit"


def text(item: Item, _: str) -> bytes:
    """An item as the payload of a text message."""
    return envelope.encode(item).encode()


def binary(item: Item, epoch: str) -> bytes:
    """An event as the payload of a binary message: 8 bytes of id, then the data. The rest stays text."""
    if isinstance(item, Event):
        return ID.pack(item.id) + (item.data.encode() if isinstance(item.data, str) else item.data)
    return text(item, epoch)


def text_message(item: Item, epoch: str) -> bytes:
    """An item as a text message, framed once for all sockets that are told in the same bytes."""
    return text_frame(text(item, epoch))


def binary_message(item: Item, epoch: str) -> bytes:
    """The same for an event as a binary message."""
    return (binary_frame if isinstance(item, Event) else text_frame)(binary(item, epoch))


def text_frame(payload: bytes) -> bytes:
    return encode_frame(Frame(Opcode.TEXT, payload))


def binary_frame(payload: bytes) -> bytes:
    return encode_frame(Frame(Opcode.BINARY, payload))


class WebSocketRoute(PushHandler, CorrectedHandler):
    """What ``/websocket`` and ``/websocket/echo`` share: access checks, compression on request, quiet errors."""

    def check_origin(self, origin: str) -> bool:
        return True  # prepare() has checked it, as on every route

    def token(self) -> str:
        """Also as a second subprotocol after ``labkit``: intermediaries write addresses into their logs."""
        offered = [name.strip() for name in self.request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        return offered[1] if len(offered) == 2 and offered[0] == SUBPROTOCOL else super().token()

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return SUBPROTOCOL if SUBPROTOCOL in subprotocols else None  # a browser gives up if none is chosen

    def get_compression_options(self) -> dict[str, Any] | None:
        return {} if self.flag("deflate") else None

    def say(self, *messages: str | bytes) -> Coroutine[Any, Any, None] | None:
        """Write messages in one piece. If the system did not take all of it, returns what is to be awaited."""
        protocol = self.open_protocol()
        return self.write_frames(b"".join(map(protocol.frame, messages)) if protocol is not None else b"")

    def write_frames(self, frames: bytes) -> Coroutine[Any, Any, None] | None:
        """The same for messages that are framed. (Named so that it is no handler of PUT.)"""
        if (protocol := self.open_protocol()) is None:
            PushHandler.on_connection_close(self)
            return None
        written = protocol.stream.write(frames)
        return None if written.done() and not written.exception() else self._taken(protocol.stream, written)

    def open_protocol(self) -> CorrectedProtocol | None:
        """The connection, for as long as neither side has begun to close it."""
        protocol = self.ws_connection
        return protocol if isinstance(protocol, CorrectedProtocol) and not protocol.is_closing() else None

    async def _taken(self, stream: IOStream, written: asyncio.Future[None]) -> None:
        """Wait until a write was accepted, for a bounded time: a peer may stop reading."""
        try:
            await accepted(written, self.context.write_timeout_s)
        except TimeoutError:
            stream.close()
        except StreamClosedError:
            PushHandler.on_connection_close(self)


class EventsSocket(WebSocketRoute):
    """Sends every event as one message; takes events to publish."""

    _writer: asyncio.Task[None] | None = None

    def prepare(self) -> None:
        super().prepare()
        self.binary, _, _ = self.flag("binary"), self.flag("conflate"), self.flag("deflate")  # a 400 before the 101

    def open(self) -> None:
        self._writer = asyncio.ensure_future(self.write_events())

    async def write_events(self) -> None:
        """The one writer of this socket: where the stream begins, then each event as a message."""
        if (protocol := self.open_protocol()) is None:
            return
        with self.subscribe(self.encoding(protocol)) as subscriber:
            await self.write_items(subscriber, [subscriber.start()], protocol.deflates)
            forget_headers(self)
            if self.context.fanout == "direct" and not protocol.deflates:
                fanout.attach_stream(protocol.stream, subscriber, None)
            async for items in subscriber.batches():
                if protocol.is_closing():
                    return  # a close frame was sent: nothing may follow it (RFC 6455 section 5.5.1)
                if items:
                    await self.write_items(subscriber, items, protocol.deflates)
                if items and isinstance(items[-1], envelope.Closing):
                    self.close(1013, items[-1].reason)  # "try again later"
                    return
            self.close(1001, "the lab has closed")  # no effect when it was the client that left

    def encoding(self, protocol: CorrectedProtocol) -> Encode:
        """Whole frames, made once for all sockets; deflated, they depend on what the socket was sent before."""
        if protocol.deflates:
            return binary if self.binary else text
        return binary_message if self.binary else text_message

    async def write_items(self, subscriber: Subscriber, items: list[Item], deflates: bool) -> None:
        if deflates:
            waiting = self.say(*[self.message(subscriber, item) for item in items])
        else:
            waiting = self.write_frames(b"".join(map(subscriber.encoded, items)))
        if waiting is not None:
            await waiting

    def message(self, subscriber: Subscriber, item: Item) -> str | bytes:
        payload = subscriber.encoded(item)
        return payload if self.binary and isinstance(item, Event) else payload.decode()

    def on_message(self, message: str | bytes) -> Coroutine[Any, Any, None] | None:
        return self.say(answer_publish(self.context, self.topic, message))

    def on_close(self) -> None:
        self.on_connection_close()
        if self._writer is not None:
            self._writer.cancel()


class EchoSocket(WebSocketRoute):
    """Sends back what it gets."""

    def on_message(self, message: str | bytes) -> Coroutine[Any, Any, None] | None:
        return self.say(message)


async def connect(
    url: str,
    *,
    after: str | None = None,
    topic: str = "",
    token: str | None = None,
    ledger: Ledger | None = None,
    on_open: Opened | None = None,
    subscriber: int = 0,
    binary: bool = False,
    deflate: bool = False,
    conflate: bool = False,
    **_: object,
) -> AsyncGenerator[Delivery | Gap, None]:
    """Read messages until the server closes the socket.

    Args:
        binary: 8 bytes of id and the data in binary messages, instead of JSON in text messages.
        deflate: offer permessage-deflate.

    Raises:
        ConnectionLost: the connection ended without a close frame.
        Refused: the upgrade was refused, or the server closed with a code other than 1000 and 1001.
    """
    wiring = Wiring(ledger or Ledger(0), "websocket", subscriber)
    query = {"after": after, "binary": "1" if binary else None, "conflate": "1" if conflate else None}
    socket = await WebSocketConnection.open(url, wiring, topic=topic, token=token, deflate=deflate, **query)
    reader = Reader(after, on_open)
    try:
        async for message in socket:
            received_ns = socket.connection.received_ns
            if isinstance(message, str):
                item = reader.read(message, received_ns)
            elif binary and len(message) >= ID.size:
                item = reader.delivered(ID.unpack_from(message)[0], message[ID.size :], received_ns)
            else:
                item = reader.foreign(message, received_ns)
            mark_message(socket, message, item)
            if item is not None:
                yield item
        if socket.close_code not in (1000, 1001, 1005):
            raise closed(socket)
    finally:
        await asyncio.shield(socket.close())


def closed(socket: WebSocketConnection) -> ConnectionLost | Refused:
    """Why the socket ended, as an error."""
    if socket.close_code == 1006:
        return ConnectionLost("the WebSocket ended without a close frame")
    reason = f"the server closed the WebSocket: {socket.close_code} {socket.close_reason or ''}".rstrip()
    return Refused(reason, status=socket.close_code or 0)


def mark_message(socket: WebSocketConnection, message: str | bytes, item: Delivery | Gap | None) -> None:
    """Mark the bytes of one message; deflated, its data and its envelope are no longer apart: all payload."""
    number = item.event_id if isinstance(item, Delivery) else None
    if socket.deflated:
        socket.body.mark(socket.message_bytes, "payload", f"event {number}, deflated", number)
    elif isinstance(message, str):
        mark_json(socket.body, message.encode(), [item])
    else:
        socket.body.mark(ID.size, "envelope", f"event {number}", number)
        socket.body.mark(len(message) - ID.size, "payload", f"event {number}", number)


WEBSOCKET = Technique(
    name="websocket",
    title="WebSocket",
    spec="RFC 6455",
    route="/websocket",
    handler=EventsSocket,
    connect=connect,
    binary=True,
    bidirectional=True,
    through_buffering=True,
    http1_only=("Upgrade",),
    hint="leaves HTTP behind; both sides send at any time",
)
