"""Long polling: the server holds the request until it has something to say.

RFC 6202 sections 2.1 and 5.5. The client asks again as soon as it has an answer; what is published meanwhile waits
in the log and shares the next answer. With ``pipelined`` the next request is already at the server when an answer
leaves (RFC 6202 section 5.2), so the server goes on from what this connection was given.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from labkit.client.backoff import Backoff
from labkit.server.encoding import Item
from labkit.server.handler import PushHandler
from labkit.server.http1 import connection_state
from labkit.techniques.base import Opening, Technique
from labkit.techniques.delivery import Delivery
from labkit.techniques.expecting import held_request
from labkit.theory import (
    Expectation,
    Mark,
    Path,
    Silent,
    long_polling_newest_latency,
    long_polling_pipelined_latency,
)
from labkit.wire.bodies import Told, Whole
from labkit.wire.events import Cursor, Gap
from labkit.wire.first_word import answers

RAN_OUT = (204, 408)  # a poll that brought nothing, by others' servers and intermediaries (RFC 6202 section 5.5)
TOPICS = 100  # of how many a connection's newest answers are remembered
LEAST_S = 0.01  # from one request to the next, of a server that may hold none


class LongPollingHandler(PushHandler):
    """Answers when there is an event after the cursor, or with an empty list when the hold time-out has passed."""

    async def get(self) -> None:
        timeout_s = self.seconds("timeout", self.context.hold_s)
        given = connection_state(self)
        asked, began, end = given.get(self.topic, (None, None, None))
        cursor = self.after if self.after != asked else began  # asked again: before the answer was read
        cursor = later(cursor, began, end) if self.flag("pipelined") else self.after
        cursor = cursor or self.context.hub.cursor(self.topic)
        with self.subscribe(woken, after=cursor) as parked:
            await parked.wait_until_ready(timeout_s)
            if parked.closed and not self.context.hub.closed:
                return  # the client has gone
        page = self.page(cursor)
        given.pop(self.topic, None)
        given[self.topic] = self.after, cursor, Cursor.parse(page.cursor)
        if len(given) > TOPICS:
            del given[next(iter(given))]
        self.set_header("Content-Type", "application/json")
        await self.answer(self.context.hub.answer(self.topic, page).encode())


def woken(_: Item, __: str) -> bytes:
    """A parked poll is only woken; its answer is written from the log."""
    return b""


def later(asked: Cursor | None, began: Cursor | None, given: Cursor | None) -> Cursor | None:
    """The later of the request's cursor and what its connection was given by the answer before.

    Epochs have no order: a request that asks from where that answer began was sent before the answer was read.
    """
    if given is None or (
        asked is not None and asked != began and (asked.epoch not in (None, given.epoch) or asked.n > given.n)
    ):
        return asked
    return given


async def subscribe(
    opening: Opening,
    *,
    hold_s: float | None = None,
    pipelined: bool = False,
    conflate: bool = False,
    keep_alive: bool = True,
    http_version: str = "1.1",
) -> AsyncGenerator[Delivery | Gap, None]:
    """Poll again and again, each request held by the server for at most *hold_s* seconds (None: its default).

    A poll that ran out by 204 or 408, as other people's servers have it, is asked again; after one that did so at
    once, or told only what was told before, with backoff.

    Args:
        pipelined: keep one more request waiting behind the parked one. Opt-in: an intermediary that shares its
            connections among clients would mix up what each of them was given.
        keep_alive: one connection for all polls; False opens one for each.
    """
    client = opening.http(keep_alive=keep_alive, version=http_version, hold_s=hold_s)
    reader, tell, backoff, clock = opening.reader(), answers(), Backoff(), asyncio.get_running_loop().time
    query = {"timeout": hold_s, "pipelined": "1" if pipelined else None, "conflate": "1" if conflate else None}
    try:
        while True:
            asked_s = clock()
            await client.ask({"after": reader.cursor, **query})
            if reader.cursor:
                reader.opened(reader.cursor)  # parked, as far as a client can know
            if pipelined:
                await client.ask({"after": reader.cursor, **query}, ahead=1)
            response, said = await client.told(Told(Whole(), tell), *RAN_OUT)
            for item in reader.take_answer(said if response.status == 200 else None, client.received_ns):
                yield item
            backoff.answered(clock() - asked_s, brought=reader.brought)
            if not (reader.brought or (pipelined and reader.is_lab)):
                await asyncio.sleep(backoff.next_s())
            elif not reader.is_lab:
                await asyncio.sleep(max(0.0, asked_s + LEAST_S - clock()))
    finally:
        client.close()


def expect(options: Mapping[str, Any], path: Path) -> Expectation | Silent:
    """One transit for an event that finds a parked poll; one that comes between two polls waits for the next."""
    fresh = path.fresh_connections or not options["keep_alive"] or options["http_version"] == "1.0"
    hold_s = path.hold_s if options["hold_s"] is None else options["hold_s"]
    pipelined = options["pipelined"] and not fresh  # a connection that ends with its answer has no next poll on it
    plain = held_request(path, hold_s, fresh=fresh)
    if isinstance(plain, Silent) or path.rate_per_s is None or not (pipelined or options["conflate"]):
        return plain
    if path.jitter_s or (pipelined and options["conflate"]):
        return Silent("the closed form of pipelined or conflated polls is about one of the two, without jitter")
    gap_s = path.gap_s(fresh)
    if options["conflate"]:
        return long_polling_newest_latency(path.rate_per_s, path.one_way_s, hold_s, gap_s)
    if path.gateway:
        return Silent("pipelined, but an intermediary passes one poll on at a time")
    if hold_s < gap_s:
        return Silent("pipelined, and held so briefly that both polls may be under way")
    return long_polling_pipelined_latency(path.rate_per_s, path.one_way_s, hold_s, gap_s)


LONG_POLLING = Technique(
    name="long-polling",
    title="Long polling",
    spec="RFC 6202 section 2",
    route="/long-polling",
    handler=LongPollingHandler,
    client=subscribe,
    short="long polling",
    kind="hold",
    mark=Mark("#B58A00", "square", "dash"),
    theory=expect,
    body="answer",
    through_buffering=True,
    http1_only=("pipelined",),
    hint="the server holds the request until it has something to say",
)
