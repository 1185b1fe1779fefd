"""JSONP polling: a script element for each poll, since a script may come from any host (about 2005 to 2014).

A page may not read another host's answers (the same-origin policy), but it may run its scripts. So the answer is a
script: a call of a function whose name the page has chosen. RFC 6202 section 2 under it: the request is held. What it
costs: any host that is asked this way runs code in the page; nothing can be cancelled; an error has no status.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from labkit.client.backoff import Backoff
from labkit.client.http import HTTPClient
from labkit.server.access import Refusal
from labkit.server.handler import PushHandler
from labkit.techniques.base import Opening, Technique
from labkit.techniques.delivery import Delivery
from labkit.techniques.expecting import held_request
from labkit.techniques.long_polling import RAN_OUT, woken
from labkit.techniques.reading import Reader
from labkit.theory import Expectation, Mark, Path, Silent
from labkit.wire.bodies import Reading, Told, Whole
from labkit.wire.envelope import told_answer
from labkit.wire.events import Gap
from labkit.wire.spans import Item, Run

_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]{0,63}", re.ASCII)
_CALL = re.compile(rb"(/\*\*/[A-Za-z0-9_$]+\()(.*)(\);)", re.DOTALL)


class JSONPPollingHandler(PushHandler):
    """A long poll whose answer is a script: ``/**/callback({...});``."""

    async def get(self) -> None:
        callback = self.text("callback", "callback")
        if not _NAME.fullmatch(callback):  # else the page that asks could make this host say anything it likes
            raise Refusal(400, f"callback: {callback[:40]!r} is not a name of a function")
        cursor = self.after or self.context.hub.cursor(self.topic)
        with self.subscribe(woken, after=cursor) as parked:
            await parked.wait_until_ready(self.seconds("timeout", self.context.hold_s))
            if parked.closed and not self.context.hub.closed:
                return
        answer = self.context.hub.answer(self.topic, self.page(cursor))
        self.set_header("Content-Type", "text/javascript; charset=utf-8")
        # the comment keeps a caller from choosing the first bytes of the answer, which Flash would have run
        await self.answer(f"/**/{callback}({_for_script(answer)});".encode())


def _for_script(text: str) -> str:
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


async def subscribe(
    opening: Opening,
    *,
    hold_s: float | None = None,
) -> AsyncGenerator[Delivery | Gap, None]:
    """Ask for a script again and again, and read its argument instead of running it."""
    client, clock = opening.http(hold_s=hold_s), asyncio.get_running_loop().time
    reader, number, backoff = opening.reader(), 0, Backoff()
    try:
        while True:
            asked_s = clock()
            begins = not number and not reader.cursor
            for item in await _ask(client, reader, number, 0.0 if begins else hold_s):
                yield item
            number += 1
            backoff.answered(clock() - asked_s, brought=reader.brought)
            if not reader.brought:
                await asyncio.sleep(backoff.next_s())
    finally:
        client.close()


async def _ask(client: HTTPClient, reader: Reader, number: int, hold_s: float | None) -> list[Delivery | Gap]:
    query = {"after": reader.cursor, "timeout": hold_s}
    await client.ask({**query, "callback": f"labkit{number}"})
    if reader.cursor:
        reader.opened(reader.cursor)
    response, said = await client.told(calls(), *RAN_OUT)
    return reader.take_answer(said if response.status == 200 else None, client.received_ns)


def expect(options: Mapping[str, Any], path: Path) -> Expectation | Silent:
    """As long polling."""
    return held_request(path, options["hold_s"])


def calls() -> Reading:
    """How the script is read."""
    return Told(Whole(), _told)


def _told(raw: bytes) -> Item:
    call = _CALL.fullmatch(raw)
    if call is None:
        return told_answer(raw)
    said, runs = told_answer(call[2])
    around: list[Run] = [(len(call[1]), "framing", "call", None), (len(call[3]), "framing", "call", None)]
    return call[2] if said is None else said, [around[0], *runs, around[1]]


JSONP_POLLING = Technique(
    name="jsonp-polling",
    title="JSONP polling",
    spec="no specification",
    route="/jsonp-polling",
    handler=JSONPPollingHandler,
    client=subscribe,
    short="JSONP polling",
    kind="hold",
    mark=Mark("#B07C00", "bowtie", "dash"),
    theory=expect,
    body=calls,
    through_buffering=True,
    exhibit=True,
    hint="a held request whose answer is a script that calls the page",
)
