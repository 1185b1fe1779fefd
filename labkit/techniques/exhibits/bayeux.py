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

from labkit.client.backoff import Backoff
from labkit.client.http import HTTPClient
from labkit.errors import Refused, WireError
from labkit.server.access import Refusal
from labkit.server.handler import PushHandler
from labkit.techniques.base import Opening, Technique
from labkit.techniques.delivery import Delivery
from labkit.techniques.expecting import held_request
from labkit.techniques.long_polling import woken
from labkit.techniques.reading import Reader
from labkit.theory import Expectation, Mark, Path, Silent
from labkit.wire import envelope
from labkit.wire.bodies import Reading, Told, Whole
from labkit.wire.events import Cursor, Gap
from labkit.wire.http1 import printable
from labkit.wire.spans import Item, Sighting

CHANNEL = "/events"
CLIENTS = 1000
LONGEST_PAUSE_MS = 86_400_000  # that is obeyed


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
        """The answers to one message; that on its own channel has its id, if it has one (Bayeux 1.0 section 4.1.4)."""
        channel, own = message["channel"], {"id": message["id"]} if "id" in message else {}
        if channel == "/meta/handshake":
            id = secrets.token_hex(8)
            self.clients[id] = _Client()
            while len(self.clients) > CLIENTS:
                self.clients.popitem(last=False)
            types = ["long-polling"]
            return [self.meta(channel, **own, clientId=id, supportedConnectionTypes=types, version="1.0")]
        client = self.clients.get(message["clientId"])
        if client is None:  # restarted, or forgotten: Bayeux 1.0 section 5.2
            return [_dumps({"channel": channel, "successful": False, **own, "advice": {"reconnect": "handshake"}})]
        if channel == "/meta/subscribe":
            client.cursor = self.after or self.context.hub.cursor(self.topic)
            return [self.meta(channel, **own, subscription=CHANNEL, ext={"cursor": str(client.cursor)})]
        if channel == "/meta/connect":
            events, more = await self.events(client)
            return [*events, self.meta(channel, at_once=more, **own)]
        return [_dumps({"channel": channel, "successful": False, **own, "error": "400::unknown channel"})]

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

    Raises:
        WireError: an answer that is none.
        Refused: the server will not have this client.
    """
    client, clock = opening.http(hold_s=hold_s), asyncio.get_running_loop().time
    reader, backoff = opening.reader(), Backoff()
    pause = None if advised_interval_s is None else f"{advised_interval_s:.3f}"
    query = {"after": opening.after, "timeout": hold_s, "interval": pause}
    try:
        _, hello = await _exchange(client, reader, query, channel="/meta/handshake", version="1.0")
        me = {"clientId": _member(hello, "clientId", "")}
        if not me["clientId"]:
            raise Refused(f"the handshake was refused: {printable(_member(hello, 'error', 'without a word'))}")
        _, subscribed = await _exchange(client, reader, query, channel="/meta/subscribe", subscription=CHANNEL, **me)
        begins = envelope.Start.of(_member(_member(subscribed, "ext", {}), "cursor", ""))
        if begins is not None:  # a lab's word
            reader.take(begins, client.received_ns)
        while True:
            asked_s = clock()
            items, meta = await _exchange(client, reader, query, channel="/meta/connect", **me)
            for item in items:
                yield item
            advice = _member(meta, "advice", {})
            if _member(advice, "reconnect", "retry") != "retry":
                return
            backoff.answered(clock() - asked_s, brought=bool(items))
            idle = not (items or reader.is_lab)
            pause_ms = min(max(0, _member(advice, "interval", 0)), LONGEST_PAUSE_MS)
            await asyncio.sleep(max(pause_ms / 1000, backoff.next_s() if idle else 0.0))
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
    if not isinstance(answer, tuple):
        raise WireError(f"no array of Bayeux messages: {(answer or b'')[:60]!r}", clause="Bayeux 1.0 section 4")
    said, meta = answer
    read = [
        reader.take(text if value is None or not reader.is_lab else value, client.received_ns) for value, text in said
    ]
    return [item for item in read if item is not None], meta


def _member(message: Any, name: str, otherwise: Any) -> Any:
    """A member of that name and of the type of *otherwise*, which stands for one that is not there."""
    value = message.get(name, otherwise) if isinstance(message, dict) else otherwise
    return value if isinstance(value, type(otherwise)) and value is not True else otherwise


def expect(options: Mapping[str, Any], path: Path) -> Expectation | Silent:
    """As long polling, with the advised pause in its gap."""
    return held_request(path, options["hold_s"], pause_s=options["advised_interval_s"] or 0.0)


def answers() -> Reading:
    """How the body of an answer is read."""
    return Told(Whole(), _told)


def _told(raw: bytes) -> Item:
    """What the messages on channels say, in a lab's JSON and as text, and the newest meta message."""
    try:
        messages = envelope.request(raw)
        is_meta = [message["channel"].startswith("/meta/") for message in messages]
        texts = [_dumps(one["data"]) for one, meta in zip(messages, is_meta, strict=True) if "data" in one and not meta]
        said = [(envelope.decode(text), text) for text in texts]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None, [(len(raw), "payload", "", Sighting())]
    events = [value for value, _ in said if isinstance(value, envelope.Received)]
    metas = [one for one, is_one in zip(messages, is_meta, strict=True) if is_one]
    return (said, metas[-1] if metas else {}), envelope.around(events, raw)


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
