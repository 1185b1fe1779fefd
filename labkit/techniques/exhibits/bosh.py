"""BOSH, XMPP over HTTP: long polling that always keeps one request at the server (RFC 6202 section 4.2; XEP-0124).

XML bodies. The session says how long a request may *wait* and how many the server may *hold*: with hold='1' and two
connections, a client that has something to say sends a second request, and the server answers the first at once. So
the server always has a request to answer, and the client is never without a voice. *rid* counts requests, so that they
can be put in order. Left out: requests repeated after a lost answer, XMPP inside, more than one held.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from xml.sax.saxutils import escape, unescape

from labkit.client.backoff import Backoff
from labkit.client.http import HTTPClient, plain
from labkit.errors import Refused, WireError
from labkit.server.access import Refusal
from labkit.server.handler import PushHandler
from labkit.techniques.base import Opening, Technique
from labkit.techniques.delivery import Delivery
from labkit.techniques.expecting import held_request
from labkit.techniques.long_polling import woken
from labkit.techniques.reading import Reader
from labkit.theory import Expectation, Mark, Path, Silent
from labkit.theory.path import HOLD_S
from labkit.wire import envelope
from labkit.wire.bodies import Reading, Told, Whole
from labkit.wire.events import Cursor, Gap, now_ns
from labkit.wire.http1 import printable
from labkit.wire.spans import Item, Sighting

SPACE = "http://jabber.org/protocol/httpbind"
SESSIONS = 1000
_BODY = re.compile(r"<body((?:\s+[\w:]+='[^'<>]*')*)\s*(?:/>|>(.*)</body>)", re.DOTALL)
_ATTRIBUTE = re.compile(r"([\w:]+)='([^'<>]*)'")
_WAIT = re.compile(r"[0-9]{1,6}(\.[0-9]{1,9})?", re.ASCII)
_MESSAGE = re.compile(r"<message><body>(.*?)</body></message>", re.DOTALL)


@dataclass
class _Session:
    cursor: Cursor | None
    wait_s: float
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Ends the request that is held."""


class BOSHHandler(PushHandler):
    """Makes a session, then holds one request of it, until an event, its wait, or the next request."""

    sessions: ClassVar[OrderedDict[str, _Session]] = OrderedDict()

    async def post(self) -> None:
        whole = _BODY.fullmatch(self.request.body.decode("utf-8", "replace").strip())
        if whole is None:
            raise Refusal(400, "expected <body rid='1' .../>, its attributes in single quotes (XEP-0124)")
        attributes = dict(_ATTRIBUTE.findall(whole[1]))
        self.set_header("Content-Type", "text/xml; charset=utf-8")
        if "sid" not in attributes:
            self.finish(self.begin(attributes))
            return
        session = self.sessions.get(attributes["sid"])
        if session is None:
            raise Refusal(404, "no such session (item-not-found)")
        for text in _MESSAGE.findall(whole[2] or ""):
            self.context.publish(unescape(text), self.topic, now_ns())
        session.held.set()  # hold='1': the request before is answered now
        await self.answer((await self.hold(session)).encode())

    def begin(self, attributes: dict[str, str]) -> str:
        wait = attributes.get("wait", "30")
        if not _WAIT.fullmatch(wait):
            raise Refusal(400, f"wait: {wait[:40]!r} is not a number of seconds")
        wait_s = min(float(wait), self.context.hold_s)
        cursor, sid = self.after or self.context.hub.cursor(self.topic), secrets.token_hex(8)
        self.sessions[sid] = _Session(cursor, wait_s)
        while len(self.sessions) > SESSIONS:
            self.sessions.popitem(last=False)
        return f"<body xmlns='{SPACE}' sid='{sid}' wait='{wait_s:g}' hold='1' requests='2' cursor='{cursor}'/>"

    async def hold(self, session: _Session) -> str:
        session.held = released = asyncio.Event()
        with self.subscribe(woken, after=session.cursor) as parked:
            ready = asyncio.ensure_future(parked.wait_until_ready(session.wait_s))
            let_go = asyncio.ensure_future(released.wait())
            await asyncio.wait([ready, let_go], return_when=asyncio.FIRST_COMPLETED)
            for task in (ready, let_go):
                task.cancel()
            await asyncio.gather(ready, let_go, return_exceptions=True)
        page = self.page(session.cursor)
        session.cursor = Cursor.parse(page.cursor)
        items = [envelope.encode(page.gap)] if page.gap else []
        items += [envelope.event_json(event) for event in page.events]
        inside = "".join(f"<message><body>{escape(item)}</body></message>" for item in items)
        return f"<body xmlns='{SPACE}'>{inside}</body>" if inside else f"<body xmlns='{SPACE}'/>"


async def subscribe(
    opening: Opening,
    *,
    hold_s: float | None = None,
) -> AsyncGenerator[Delivery | Gap, None]:
    """Make a session, then keep one request at the server.

    Raises:
        WireError: an answer that is none.
        Refused: the server ended the session.
    """
    client, clock = opening.http(hold_s=hold_s), asyncio.get_running_loop().time
    reader, rid, backoff = opening.reader(), secrets.randbelow(1 << 31), Backoff()
    wait_s = HOLD_S if hold_s is None else hold_s
    try:
        hello = f"<body xmlns='{SPACE}' rid='{rid}' wait='{plain(wait_s)}' hold='1'/>"
        begun = (await _post(client, reader, opening.after, hello))[0]
        if "sid" not in begun:
            raise WireError("the server made no session: its body has no sid", clause="XEP-0124 section 7.2")
        begins = envelope.Start.of(begun.get("cursor", ""))
        if begins is not None:  # a lab's word
            reader.take(begins, client.received_ns)
        while True:
            rid, asked_s = rid + 1, clock()
            body = f"<body xmlns='{SPACE}' rid='{rid}' sid='{begun['sid']}'/>"
            items = (await _post(client, reader, opening.after, body))[1]
            for item in items:
                yield item
            backoff.answered(clock() - asked_s, brought=bool(items))
            if not (items or reader.is_lab):
                await asyncio.sleep(backoff.next_s())
    finally:
        client.close()


async def _post(
    client: HTTPClient, reader: Reader, after: str | None, body: str
) -> tuple[dict[str, str], list[Delivery | Gap]]:
    """Send one body; the answer's attributes, and the events in it."""
    http = await client.connected()
    fields = {**client.headers, "Content-Type": "text/xml; charset=utf-8"}
    await http.request("POST", client.target(after=after), fields, body=body.encode())
    _, answer = await client.told(answers())
    if not isinstance(answer, tuple):
        raise WireError(f"no body element: {(answer or b'')[:60]!r}", clause="XEP-0124 section 4")
    said, attributes = answer
    if attributes.get("type") == "terminate":
        raise Refused(f"the session was ended: {printable(attributes.get('condition', 'without a word'))}")
    read = [
        reader.take(text if value is None or not reader.is_lab else value, client.received_ns) for value, text in said
    ]
    return attributes, [item for item in read if item is not None]


def expect(options: Mapping[str, Any], path: Path) -> Expectation | Silent:
    """As long polling; a session waits for as long as its client asked, and no longer than the server holds."""
    wait_s = HOLD_S if options["hold_s"] is None else options["hold_s"]
    return held_request(path, min(wait_s, path.hold_s))


def answers() -> Reading:
    """How the body of an answer is read."""
    return Told(Whole(), _told)


def _told(raw: bytes) -> Item:
    """What the messages in a body say, in a lab's JSON and as text, and its attributes."""
    whole = _BODY.fullmatch(raw.decode("utf-8", "replace"))
    if whole is None:
        return None, [(len(raw), "payload", "", Sighting())]
    texts = [unescape(text) for text in _MESSAGE.findall(whole[2] or "")]
    said = [(envelope.decode(text), text) for text in texts]
    events = [value for value, _ in said if isinstance(value, envelope.Received)]
    return (said, dict(_ATTRIBUTE.findall(whole[1]))), envelope.around(events, raw)


BOSH = Technique(
    name="bosh",
    title="BOSH",
    spec="XEP-0124; RFC 6202 section 4.2",
    route="/bosh",
    handler=BOSHHandler,
    client=subscribe,
    short="BOSH",
    kind="hold",
    mark=Mark("#A65628", "hexagram", "dash"),
    theory=expect,
    body=answers,
    through_buffering=True,
    exhibit=True,
    hint="XML over long polling that always keeps one request at the server",
)
