"""The browser-plugin era: Flash ``XMLSocket`` framing over plain TCP, with its policy file.

Adobe, "Setting up a socket policy file server" and ActionScript 3.0's XMLSocket: messages end with a NUL, and a player
first asks for a policy on the same port. A wire exhibit on a port of its own; no browser speaks it any more. A first
byte other than ``<`` or ``{`` closes the connection, so that a web page's HTTP request cannot get in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator

from tornado.iostream import IOStream, StreamClosedError

from labkit.client import address
from labkit.client.message_socket import MessageSocket
from labkit.errors import CursorError, Refused
from labkit.server import fanout
from labkit.server.encoding import Item
from labkit.server.limits import check_topic, message_limit
from labkit.server.subscriber import Subscriber
from labkit.server.tcp import ConversationServer, ended_by
from labkit.techniques.base import Opening, Technique
from labkit.techniques.delivery import Delivery
from labkit.techniques.expecting import one_transit
from labkit.techniques.publishing import answer_publish
from labkit.theory import Mark
from labkit.wire import envelope
from labkit.wire.bodies import Told
from labkit.wire.delimited import Delimited
from labkit.wire.events import Cursor, Gap
from labkit.wire.first_word import Words
from labkit.wire.http1 import printable

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


class PluginSocketServer(ConversationServer):
    """Answers the policy request, or sends every event as NUL-terminated JSON and takes events to publish."""

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
            async with contextlib.aclosing(ended_by(b"\0", stream, limit)) as requests:
                async for request in requests:
                    await self.say(stream, answer_publish(self.context, topic, request).encode() + b"\0")
        finally:
            subscriber.close()
            writer.cancel()
        too_long = {"error": f"a message has at most {limit} bytes", "ref": None}
        await self.end_with(stream, json.dumps(too_long).encode() + b"\0")

    async def write_events(self, stream: IOStream, subscriber: Subscriber) -> None:
        with contextlib.suppress(StreamClosedError, TimeoutError):
            await self.say(stream, subscriber.encoded(subscriber.start()))
            if self.context.fanout == "direct":
                fanout.attach_stream(stream, subscriber, None)
            async for block in subscriber.blocks():
                await self.say(stream, block)
        stream.close()


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
    """Subscribe on ``tcp://host:port`` and read NUL-terminated JSON until the server closes.

    Raises:
        Refused: the first that is said is why there is no subscription.
    """
    place = address.split(opening.url, address.TCP)
    socket = await MessageSocket.open(place.host, place.port, opening.wiring, opening.topic)
    reader = opening.reader()
    asked = {"topic": opening.topic, "after": opening.after or ""} | ({"token": opening.token} if opening.token else {})
    try:
        await socket.ask(json.dumps({"subscribe": asked}).encode() + b"\0")
        async for said in socket.values(Told(Delimited(b"\0", "NUL"), Words(goes_on=bool(opening.after)))):
            if reader.count == opening.arrived:
                refuse_if_refused(said)
            if (item := reader.take(said, socket.connection.received_ns)) is not None:
                yield item
    finally:
        socket.close()


def refuse_if_refused(said: object) -> None:
    """Raise Refused with what a lab says to a subscription that it does not understand."""
    if not isinstance(said, bytes):
        return
    with contextlib.suppress(ValueError, RecursionError):
        match envelope.request(said):
            case {"error": str() as why, **others} if not others:
                raise Refused(f"the server refused the subscription: {printable(why)}")


PLUGIN_SOCKET = Technique(
    name="plugin-socket",
    title="Plugin socket",
    spec="Adobe Flash XMLSocket",
    route="",
    handler=None,
    client=subscribe,
    short="plugin socket",
    mark=Mark("#CB6FAC", "x", "longdashdot"),
    theory=one_transit,
    body="nul",
    port="plugin",
    bidirectional=True,
    exhibit=True,
    http_version="",
    hint="NUL-terminated messages over TCP, as Flash had them",
)
