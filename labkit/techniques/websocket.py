"""WebSocket: a connection that leaves HTTP behind; both sides send at any time.

RFC 6455; permessage-deflate (RFC 7692) with ``?deflate=1``. The server half is Tornado's, corrected in
``server/websocket.py``; the client half drives the Sans-I/O core of the ``websockets`` library over a counted socket.
A client publishes on the same connection: ``{"publish": "text", "ref": 1}`` is answered with
``{"published": 18, "ref": 1}``.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator

from labkit.client.websocket import WebSocketConnection
from labkit.errors import ConnectionLost, Refused
from labkit.server import fanout
from labkit.server.encoding import Item
from labkit.server.http1 import forget_headers
from labkit.server.socket_route import WebSocketRoute
from labkit.server.subscriber import Subscriber
from labkit.techniques.base import Opening, Technique, one_transit
from labkit.techniques.publishing import answer_publish
from labkit.techniques.reading import Delivery, mark_json
from labkit.theory import Mark
from labkit.wire import envelope
from labkit.wire.events import Event, Gap
from labkit.wire.frames import Frame, Opcode, encode_frame

ID = struct.Struct("!Q")


def text(item: Item, _: str) -> bytes:
    """An item as the payload of a text message."""
    return envelope.encode(item).encode()


def binary(item: Item, epoch: str) -> bytes:
    """An event as the payload of a binary message: 8 bytes of id, then the data. The rest stays text."""
    if isinstance(item, Event):
        return ID.pack(item.id) + (item.data.encode() if isinstance(item.data, str) else item.data)
    return text(item, epoch)


def text_frame(payload: bytes) -> bytes:
    return encode_frame(Frame(Opcode.TEXT, payload))


def binary_frame(payload: bytes) -> bytes:
    return encode_frame(Frame(Opcode.BINARY, payload))


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
        with self.subscribe(binary if self.binary else text) as subscriber:
            await self.say(self.message(subscriber, subscriber.start()))
            forget_headers(self)
            if self.context.fanout == "direct":
                fanout.attach_websocket(self, subscriber, binary_frame if self.binary else text_frame)
            async for items in subscriber.batches():
                if self.ws_connection is None or self.ws_connection.is_closing():
                    return  # a close frame was sent: nothing may follow it (RFC 6455 section 5.5.1)
                for item in items:
                    await self.say(self.message(subscriber, item))
                if items and isinstance(items[-1], envelope.Closing):
                    self.close(1013, items[-1].reason)  # "try again later"
                    return
            self.close(1001, "the lab has closed")  # no effect when it was the client that left

    def message(self, subscriber: Subscriber, item: Item) -> str | bytes:
        payload = subscriber.encoded(item)
        return payload if self.binary and isinstance(item, Event) else payload.decode()

    async def on_message(self, message: str | bytes) -> None:
        await self.say(answer_publish(self.context, self.topic, message))

    def on_close(self) -> None:
        self.on_connection_close()
        if self._writer is not None:
            self._writer.cancel()


async def subscribe(
    opening: Opening, *, binary: bool = False, deflate: bool = False, conflate: bool = False
) -> AsyncGenerator[Delivery | Gap, None]:
    """Read messages until the server closes the socket.

    Args:
        binary: 8 bytes of id and the data in binary messages, instead of JSON in text messages.
        deflate: offer permessage-deflate.

    Raises:
        ConnectionLost: the connection ended without a close frame.
        Refused: the upgrade was refused, or the server closed with a code other than 1000 and 1001.
    """
    query = {"after": opening.after, "binary": "1" if binary else None, "conflate": "1" if conflate else None}
    socket = await WebSocketConnection.open(
        opening.url, opening.wiring, topic=opening.topic, token=opening.token, deflate=deflate, **query
    )
    reader = opening.reader()
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
    client=subscribe,
    short="WebSocket",
    mark=Mark("#0072B2", "cross", "longdash"),
    theory=one_transit,
    body="messages",
    binary=True,
    bidirectional=True,
    through_buffering=True,
    in_browser=True,
    http1_only=("Upgrade",),
    hint="leaves HTTP behind; both sides send at any time",
)
