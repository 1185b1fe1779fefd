"""JSON text sequences: a body of JSON texts, each behind a record separator (RFC 7464).

A technique that the package does not have, in one file, as a learner would write it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from labkit.client.http import refuse_unless
from labkit.server.encoding import Item
from labkit.server.handler import PushHandler
from labkit.techniques import Delivery, Opening, Technique
from labkit.techniques.base import one_transit
from labkit.techniques.reading import mark_json
from labkit.theory import Mark
from labkit.wire import envelope
from labkit.wire.events import Gap

RS = b"\x1e"


def record(item: Item, _: str) -> bytes:
    """An item as one JSON text: a record separator, the text, a line feed (RFC 7464 section 2.2)."""
    return RS + envelope.encode(item).encode() + b"\n"


class JSONSeqHandler(PushHandler):
    """Keeps one response open and writes every event into it."""

    async def get(self) -> None:
        self.set_header("Content-Type", "application/json-seq")
        await self.stream(record)


async def subscribe(opening: Opening, *, conflate: bool = False) -> AsyncGenerator[Delivery | Gap, None]:
    """Read texts until the response ends; one is whole at its line feed."""
    client, reader, rest = opening.http(), opening.reader(), b""
    try:
        await client.ask({"after": opening.after, "conflate": "1" if conflate else None})
        response, http = await client.head()
        refuse_unless(response, (200,))
        async for piece in http.pieces():
            *texts, rest = (rest + piece).split(b"\n")
            for text in texts:
                raw = text.removeprefix(RS)
                item = reader.read(raw.decode(), http.connection.received_ns)
                http.body.mark(len(RS), "framing", "record separator")
                mark_json(http.body, raw, [item])
                http.body.mark(1, "framing", "line feed")
                if item is not None:
                    yield item
    finally:
        client.close()


JSON_SEQ = Technique(
    name="json-seq",
    title="JSON text sequences",
    spec="RFC 7464",
    route="/json-seq",
    handler=JSONSeqHandler,
    client=subscribe,
    short="JSON-seq",
    mark=Mark("#AA3377", "diamond-tall", "8px,2px"),
    theory=one_transit,
    body="lines",
    hint="JSON texts, each behind a record separator",
)
