"""Long polling: the server holds the request until it has something to say.

RFC 6202 sections 2.1 and 5.5. The client asks again as soon as it has an answer; what is published meanwhile waits
in the log and shares the next answer. With ``pipelined`` the next request is already at the server when an answer
leaves (RFC 6202 section 5.2), so the server goes on from what this connection was given.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from labkit.connection import HTTPClient, Opened, Wiring
from labkit.events import Cursor, Gap
from labkit.handler import PushHandler, connection_state
from labkit.hub import Item
from labkit.ledger import Ledger
from labkit.techniques.base import Delivery, Reader, Technique, read_answer
from labkit.wire import envelope


class LongPollingHandler(PushHandler):
    """Answers when there is an event after the cursor, or with an empty list when the hold time-out has passed."""

    async def get(self) -> None:
        timeout_s = self.seconds("timeout", self.context.hold_s)
        cursor = self.after or self.context.hub.cursor(self.topic)
        given = connection_state(self)
        if self.flag("pipelined"):
            cursor = later(cursor, given.get(self.topic))
        with self.subscribe(woken, after=cursor) as parked:
            await parked.wait_until_ready(timeout_s)
            if parked.closed:
                return  # the client has gone, or the lab has closed
        page = self.page(cursor)
        given[self.topic] = Cursor.parse(page.cursor)
        self.set_header("Content-Type", "application/json")
        self.finish(envelope.answer(page))


def woken(_: Item, __: str) -> bytes:
    """A parked poll is only woken; its answer is written from the log."""
    return b""


def later(asked: Cursor, given: Cursor | None) -> Cursor:
    """The later of the request's cursor and what its connection was already given."""
    return given if given is not None and given.epoch == asked.epoch and given.n > asked.n else asked


async def connect(
    url: str,
    *,
    after: str | None = None,
    topic: str = "",
    token: str | None = None,
    ledger: Ledger | None = None,
    on_open: Opened | None = None,
    subscriber: int = 0,
    hold_s: float | None = None,
    pipelined: bool = False,
    keep_alive: bool = True,
    http_version: str = "1.1",
    **_: object,
) -> AsyncIterator[Delivery | Gap]:
    """Poll again and again, each request held by the server for at most *hold_s* seconds (None: its default).

    Args:
        pipelined: keep one more request waiting behind the parked one. Opt-in: an intermediary that shares its
            connections among clients would mix up what each of them was given.
        keep_alive: one connection for all polls; False opens one for each.
    """
    wiring = Wiring(ledger or Ledger(0), "long-polling", subscriber)
    client = HTTPClient(
        url, topic=topic, token=token, wiring=wiring, keep_alive=keep_alive, version=http_version
    )
    reader = Reader(after, on_open)
    query = {"timeout": hold_s, "pipelined": "1" if pipelined else None}
    try:
        while True:
            await client.ask(after=reader.cursor, **query)
            if reader.cursor:
                reader.opened(reader.cursor)  # parked, as far as a client can know
            if pipelined:
                await client.ask(after=reader.cursor, ahead=1, **query)
            _, text = await client.answer()
            for item in read_answer(client, reader, text):
                yield item
    finally:
        client.close()


LONG_POLLING = Technique(
    name="long-polling",
    title="Long polling",
    spec="RFC 6202 section 2",
    route="/long-polling",
    handler=LongPollingHandler,
    connect=connect,
    through_buffering=True,
    http1_only=("pipelining",),
    hint="the server holds the request until it has something to say",
)
