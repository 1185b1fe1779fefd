"""Bayeux, the protocol of CometD: long polling with manners (RFC 6202 section 4.1; Bayeux 1.0).

JSON messages on channels, several in one POST. ``/meta/handshake`` gives a client id, ``/meta/subscribe`` a channel,
``/meta/connect`` is the long poll. Each answer carries *advice*: whether to come again, how long to wait first, how
long a poll may take; so a server can calm its clients. Left out: several subscriptions, publishing, the ack
extension (an answer that is lost takes its events with it), callback-polling.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from labkit.client.http import HTTPClient
from labkit.server.access import Refusal
from labkit.server.handler import PushHandler
from labkit.techniques.base import Opening, Technique
from labkit.techniques.expecting import held_request
from labkit.techniques.long_polling import woken
from labkit.techniques.reading import Delivery, Reader
from labkit.theory import Expectation, Mark, Path, Silent
from labkit.wire import envelope
from labkit.wire.bodies import Reading, Told, Whole
from labkit.wire.events import Cursor, Gap
from labkit.wire.spans import Item, Sighting

CHANNEL = "/events"
CLIENTS = 1000


@dataclass
class _Client:
    """What the server remembers of a client: where it is."""

    cursor: Cursor | None = None


class BayeuxHandler(PushHandler):
    """Answers the three meta messages; ``?interval=`` is the pause in seconds that it advises."""

    clients: ClassVar[OrderedDict[str, _Client]] = OrderedDict()

    async def post(self) -> None:
        try:
            messages = envelope.request(self.request.body)
            answers = [part for message in messages for part in await self.reply(message)]
            answer = ("[" + ",".join(answers) + "]").encode()  # a channel that is a lone surrogate cannot be
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise Refusal(400, "expected a JSON array of Bayeux messages") from None
        self.set_header("Content-Type", "application/json")
        await self.answer(answer)

    async def reply(self, message: dict[str, Any]) -> list[str]:
        channel = message["channel"]
        if channel == "/meta/handshake":
            id = secrets.token_hex(8)
            self.clients[id] = _Client()
            while len(self.clients) > CLIENTS:
                self.clients.popitem(last=False)
            types = ["long-polling"]
            return [self.meta(channel, clientId=id, supportedConnectionTypes=types, version="1.0")]
        client = self.clients.get(message["clientId"])
        if client is None:  # restarted, or forgotten: Bayeux 1.0 section 5.2
            return [_dumps({"channel": channel, "successful": False, "advice": {"reconnect": "handshake"}})]
        if channel == "/meta/subscribe":
            client.cursor = self.after or self.context.hub.cursor(self.topic)
            return [self.meta(channel, subscription=CHANNEL, ext={"cursor": str(client.cursor)})]
        if channel == "/meta/connect":
            events, more = await self.events(client)
            return [*events, self.meta(channel, at_once=more)]
        return [_dumps({"channel": channel, "successful": False, "error": "400::unknown channel"})]

    async def events(self, client: _Client) -> tuple[list[str], bool]:
        """What has come since the answer before, and whether there is more than one answer carries; waits for it."""
        with self.subscribe(woken, after=client.cursor) as parked:
            await parked.wait_until_ready(self.seconds("timeout", self.context.hold_s))
        page = self.page(client.cursor)
        client.cursor = Cursor.parse(page.cursor)
        gap = [f'{{"channel":"{CHANNEL}","data":{envelope.encode(page.gap)}}}'] if page.gap else []
        events = [f'{{"channel":"{CHANNEL}","data":{envelope.event_json(event)}}}' for event in page.events]
        return gap + events, page.more

    def meta(self, channel: str, at_once: bool = False, **more: Any) -> str:
        advice = {
            "reconnect": "retry",
            "interval": 0 if at_once else int(self.seconds("interval", 0.0) * 1000),
            "timeout": int(self.seconds("timeout", self.context.hold_s) * 1000),
        }
        return _dumps({"channel": channel, "successful": True, **more, "advice": advice})


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


async def subscribe(
    opening: Opening,
    *,
    hold_s: float | None = None,
    advised_interval_s: float | None = None,
) -> AsyncGenerator[Delivery | Gap, None]:
    """Handshake, subscribe, then connect again and again, as the server advises.

    Args:
        advised_interval_s: what the server is asked to advise, so that obedience can be measured.
    """
    client = opening.http()
    reader = opening.reader()
    pause = None if advised_interval_s is None else f"{advised_interval_s:.3f}"
    query = {"after": opening.after, "timeout": hold_s, "interval": pause}
    try:
        hello = await _exchange(client, reader, query, channel="/meta/handshake", version="1.0")
        me = {"clientId": hello[1]["clientId"]}
        subscribed = await _exchange(client, reader, query, channel="/meta/subscribe", subscription=CHANNEL, **me)
        reader.opened(subscribed[1]["ext"]["cursor"])
        while True:
            items, meta = await _exchange(client, reader, query, channel="/meta/connect", **me)
            for item in items:
                yield item
            advice = meta["advice"]
            if advice["reconnect"] != "retry":
                return
            await asyncio.sleep(advice.get("interval", 0) / 1000)
    finally:
        client.close()


async def _exchange(
    client: HTTPClient, reader: Reader, query: Mapping[str, Any], **message: Any
) -> tuple[list[Delivery | Gap], dict[str, Any]]:
    """Send one message; what events came with the answer, and its meta message."""
    http = await client.connected()
    body = _dumps([{**message, "connectionType": "long-polling"}]).encode()
    await http.request(
        "POST", client.target(**query), {**client.headers, "Content-Type": "application/json"}, body=body
    )
    _, answer = await client.told(answers())
    said, meta = answer
    read = [reader.take(each, client.received_ns) for each in said]
    return [item for item in read if item is not None], meta


def expect(options: Mapping[str, Any], path: Path) -> Expectation | Silent:
    """As long polling, with the advised pause in its gap."""
    return held_request(path, options["hold_s"], pause_s=options["advised_interval_s"] or 0.0)


def answers() -> Reading:
    """How the body of an answer is read."""
    return Told(Whole(), _told)


def _told(raw: bytes) -> Item:
    """What the messages on the channel say, and the meta message behind them."""
    try:
        *messages, meta = json.loads(raw)
        said = [envelope.decode(_dumps(message["data"])) or _dumps(message["data"]) for message in messages]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None, [(len(raw), "payload", "", Sighting())]
    return (said, meta), envelope.around([each for each in said if isinstance(each, envelope.Received)], raw)


BAYEUX = Technique(
    name="bayeux",
    title="Bayeux",
    spec="Bayeux 1.0; RFC 6202 section 4.1",
    route="/bayeux",
    handler=BayeuxHandler,
    client=subscribe,
    short="Bayeux",
    kind="hold",
    mark=Mark("#8C6BB1", "pentagon", "dash"),
    theory=expect,
    body=answers,
    through_buffering=True,
    exhibit=True,
    hint="long polling on channels, with advice on when to come again",
)
