"""WebSocket: a connection that leaves HTTP behind; both sides send at any time.

RFC 6455; permessage-deflate (RFC 7692) with ``?deflate=1``. A client publishes on the same connection:
``{"publish": "text", "ref": 1}`` is answered with ``{"published": 18, "ref": 1}``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from labkit.client.websocket import WebSocketConnection
from labkit.errors import ConnectionLost, Refused
from labkit.server import fanout
from labkit.server.encoding import Item
from labkit.server.http1 import forget_headers
from labkit.server.socket_route import WebSocketRoute
from labkit.server.subscriber import Subscriber
from labkit.techniques.base import Opening, Technique
from labkit.techniques.delivery import Delivery
from labkit.techniques.expecting import one_transit
from labkit.techniques.publishing import answer_publish
from labkit.theory import Mark
from labkit.wire import envelope
from labkit.wire.events import Event, Gap
from labkit.wire.first_word import Messages
from labkit.wire.frames import Frame, Opcode, encode_frame
from labkit.wire.http1 import printable


def text(item: Item, _: str) -> bytes:
    """An item as the payload of a text message."""
    return envelope.encode(item).encode()


def binary(item: Item, epoch: str) -> bytes:
    """An event as the payload of a binary message: 8 bytes of id, then the data. The rest stays text."""
    if isinstance(item, Event):
        return item.id.to_bytes(8, "big") + (item.data.encode() if isinstance(item.data, str) else item.data)
    return text(item, epoch)


def text_message(item: Item, epoch: str) -> bytes:
    """An item as a text message, framed once for all sockets that are told in the same bytes."""
    return encode_frame(Frame(Opcode.TEXT, text(item, epoch)))


def binary_message(item: Item, epoch: str) -> bytes:
    """The same for an event as a binary message."""
    return encode_frame(Frame(Opcode.BINARY if isinstance(item, Event) else Opcode.TEXT, binary(item, epoch)))


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
        # whole frames, made once for all sockets; deflated, they depend on what the socket was sent before
        encodings = (text, binary) if protocol.deflates else (text_message, binary_message)
        with self.subscribe(encodings[self.binary]) as subscriber:
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
                    return self.close(1013, items[-1].reason)  # "try again later"
            self.close(1001, "the lab has closed")  # no effect when it was the client that left
            await protocol.answered()

    async def write_items(self, subscriber: Subscriber, items: list[Item], deflates: bool) -> None:
        if deflates:
            payloads = ((subscriber.encoded(item), self.binary and isinstance(item, Event)) for item in items)
            waiting = self.say(*[raw if is_binary else raw.decode() for raw, is_binary in payloads])
        else:
            waiting = self.write_frames(b"".join(map(subscriber.encoded, items)))
        if waiting is not None:
            await waiting

    def on_message(self, message: str | bytes) -> Coroutine[Any, Any, None] | None:
        return self.say(answer_publish(self.context, self.topic, message))

    def on_close(self) -> None:
        self.on_connection_close()
        if self._writer is not None:
            self._writer.cancel()


async def subscribe(
    opening: Opening, *, binary: bool = False, deflate: bool = False, conflate: bool = False
) -> AsyncGenerator[Delivery | Gap, None]:
    """Read messages until the server closes the socket.

    Args:
        binary: binary messages, of 8 bytes of id and the data, instead of JSON.
        deflate: offer permessage-deflate.

    Raises:
        ConnectionLost: the connection ended without a close frame.
        WireError: the server broke a rule of the handshake, of frames or of messages.
        Refused: the upgrade was refused, or the server closed with a code, other than 1000 and 1001.
    """
    query = {"after": opening.after, "binary": "1" if binary else None, "conflate": "1" if conflate else None}
    socket = await WebSocketConnection.open(
        opening.url, opening.wiring, topic=opening.topic, token=opening.token, deflate=deflate,
        tell=Messages(with_id=binary, goes_on=bool(opening.after)).message, **query,
    )  # fmt: skip
    reader = opening.reader()
    try:
        async for said in socket:
            take = reader.foreign if isinstance(said, bytes) else reader.take
            if (item := take(said, socket.received_ns)) is not None:
                yield item
        if socket.close_code == 1006:
            raise ConnectionLost("the WebSocket ended without a close frame (RFC 6455 section 7.1.5)")
        if socket.close_code not in (1000, 1001, 1005):
            reason = f"the server closed the WebSocket: {socket.close_code} {printable(socket.close_reason)}".rstrip()
            raise Refused(reason, status=socket.close_code)
    finally:
        await asyncio.shield(socket.close())


WEBSOCKET = Technique(
    name="websocket",
    title="WebSocket",
    spec="RFC 6455",
    route="/websocket",
    handler=EventsSocket,
    client=subscribe,
    short="WebSocket",
    mark=Mark("#00487F", "cross", "longdash"),
    theory=one_transit,
    body="messages",
    binary=True,
    bidirectional=True,
    through_buffering=True,
    http1_only=("Upgrade",),
    hint="leaves HTTP behind; both sides send at any time",
)
