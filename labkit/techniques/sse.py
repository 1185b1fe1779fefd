"""Server-Sent Events: HTTP streaming with a grammar, and a client that comes back by itself.

WHATWG HTML section 9.2. Text goes raw into ``data:`` lines. Binary data, and text that holds a CR, which the grammar
cannot carry, goes as ``event: json`` with the same JSON as on the other carriers; a subscriber decodes by the event
type and never looks into the data. The id is the cursor, so that a browser's own reconnection resumes.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator

from labkit.client.backoff import Backoff
from labkit.errors import ConnectionLost, CursorError, Refused
from labkit.server.encoding import Item
from labkit.server.handler import PushHandler
from labkit.techniques.base import Opening, Technique
from labkit.techniques.delivery import Delivery
from labkit.techniques.expecting import one_transit
from labkit.techniques.reading import Reader, Said
from labkit.theory import Mark
from labkit.wire import envelope
from labkit.wire.event_stream import EventStreamDecoder, StreamEvent, encode_comment, encode_event, encode_id
from labkit.wire.events import ID_LIMIT, Cursor, Event, Gap
from labkit.wire.first_word import Blocks
from labkit.wire.http1 import printable

LEAST_S = 1.0  # what a server that is about to be given up has to answer
RETRY_S = 3.0  # "a few seconds", until the server sends `retry` (WHATWG HTML 9.2.2)


def block(item: Item, epoch: str) -> bytes:
    """An item as one block of an event stream."""
    match item:
        case Event(id, str(data)) if "\r" not in data:
            return encode_event(data, id=f"{id}@{epoch}")
        case Event(id):
            return encode_event(envelope.encode(item), event="json", id=f"{id}@{epoch}")
        case Gap(cursor=cursor):
            return encode_event(envelope.encode(item), event="gap", id=cursor)
        case envelope.Start(cursor):
            return encode_id(cursor)
        case envelope.Closing():
            return encode_event(envelope.encode(item), event="closing")


class SSEHandler(PushHandler):
    """Keeps one response open and writes every event into it as a block; a comment when there is none."""

    def read_after(self) -> Cursor | None:
        """A non-empty Last-Event-ID wins; one that does not parse is a gap: a 400 would end an EventSource for ever."""
        last = self.request.headers.get("Last-Event-ID", "")
        if not last:
            return super().read_after()
        try:
            return Cursor.parse(last)
        except CursorError:
            return Cursor.foreign(last[:80])

    async def get(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        await self.stream(block, heartbeat=encode_comment())


async def subscribe(
    opening: Opening,
    *,
    retry_s: float = RETRY_S,
    give_up_s: float = math.inf,
    conflate: bool = False,
    http_version: str = "1.1",
) -> AsyncGenerator[Delivery | Gap, None]:
    """Read an event stream; reconnect when it ends, *retry_s* seconds later, with ``Last-Event-ID`` in UTF-8.

    Where the backoff asks for more, it rules, "to avoid overloading a potentially already overloaded server" (9.2.3 of
    WHATWG HTML); a 204 ends it for good (9.2.2). An id that is no lab's cursor is a Last-Event-ID from the beginning.

    Args:
        give_up_s: seconds without a stream after which the last error is raised; a browser never gives up.

    Raises:
        ConnectionLost: the first connection could not be made, or none for *give_up_s* seconds.
        Refused: another status than 200 and 204, or another type than ``text/event-stream``.
    """
    client, reader = opening.http(version=http_version), opening.reader()
    after = opening.after if Cursor.is_labs(opening.after or "") else None
    decoder = EventStreamDecoder("" if after else opening.after or "")
    backoff, clock = Backoff(), asyncio.get_running_loop().time
    held_s: float | None = None  # until when there was a stream
    try:
        while True:
            began_s, before, open_ = clock(), reader.count, False
            left_s = math.inf if held_s is None else max(LEAST_S, give_up_s - (began_s - held_s))
            client.answer_s = min(opening.answer_s, left_s)
            try:
                last_id = decoder.last_event_id.encode(errors="replace")
                last = {"Last-Event-ID": last_id} if last_id else {}
                query = {"after": None if last else after, "conflate": "1" if conflate else None}
                await client.ask(query, {"Accept": "text/event-stream", "Cache-Control": "no-cache", **last})
                response, http = await client.head(200, 204)
                if response.status == 204:
                    return
                kind = response.headers.get("content-type", "")
                if kind.partition(";")[0].strip().lower() != "text/event-stream":
                    raise Refused(f"not an event stream: Content-Type {printable(kind)!r} (WHATWG HTML 9.2.2)")
                open_, blocks = True, Blocks(goes_on=bool(last or after))
                decoder = EventStreamDecoder(decoder.last_event_id, tell=blocks)
                async for said in http.values(decoder):
                    item = take(reader, said, http.received_ns, blocks.is_lab, after or "")
                    if item is not None:
                        yield item
            except ConnectionLost:
                if not open_ and (held_s is None or clock() - held_s > give_up_s):
                    raise
            client.close()
            if open_:
                held_s = clock()
                backoff.answered(held_s - began_s, brought=reader.count > before)
            if decoder.retry_ms is not None:
                retry_s = decoder.retry_ms / 1000
            await asyncio.sleep(max(retry_s, backoff.next_s()))
    finally:
        client.close()


def take(
    reader: Reader, said: Said | StreamEvent, received_ns: int, is_lab: bool | None, after: str
) -> Delivery | Gap | None:
    """What one block said; other people's arrive as they came, and *after* is where one without an id goes on from."""
    if not isinstance(said, StreamEvent):
        return reader.take(said, received_ns)
    try:
        cursor = Cursor.parse(said.wire_id or "") if is_lab and said.type == "message" else None
    except CursorError:
        cursor = None
    if cursor is None or cursor.epoch is None or cursor.n >= ID_LIMIT:
        return reader.foreign(said.data, received_ns, said.wire_id, said.last_event_id or after)
    return reader.delivered(cursor.n, said.data, received_ns, said.wire_id)


SSE = Technique(
    name="sse",
    title="Server-Sent Events",
    spec="WHATWG HTML section 9.2",
    route="/sse",
    handler=SSEHandler,
    client=subscribe,
    short="SSE",
    mark=Mark("#3C96DC", "triangle-down", "dashdot"),
    theory=one_transit,
    body="event-stream",
    resumes=True,
    hint="HTTP streaming with a grammar and automatic reconnection",
)
