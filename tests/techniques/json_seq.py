"""JSON text sequences: a body of JSON texts, each behind a record separator (RFC 7464).

A technique that the package does not have, in one file, as a learner would write it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from labkit.client.http import refuse_unless
from labkit.server.encoding import Item
from labkit.server.handler import PushHandler
from labkit.techniques import Delivery, Opening, Technique
from labkit.techniques.expecting import one_transit
from labkit.theory import Mark
from labkit.wire import envelope
from labkit.wire.bodies import Reading, Told
from labkit.wire.delimited import Delimited
from labkit.wire.events import Gap
from labkit.wire.spans import Item as Read
from labkit.wire.spans import Run

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
    client, reader = opening.http(), opening.reader()
    try:
        await client.ask({"after": opening.after, "conflate": "1" if conflate else None})
        response, http = await client.head()
        refuse_unless(response, (200,))
        async for said in http.values(texts()):
            if (item := reader.take(said, http.connection.received_ns)) is not None:
                yield item
    finally:
        client.close()


def texts() -> Reading:
    """How the body is read: cut into texts, and what each says in a lab's JSON."""
    return Told(Texts())


class Texts:
    """Bytes in, JSON texts out, and what each byte was for."""

    def __init__(self) -> None:
        self._lines = Delimited(b"\n", "line feed")

    def items(self, data: bytes) -> list[Read]:
        return [self._text(*item) for item in self._lines.items(data)]

    def _text(self, raw: bytes | None, runs: list[Run]) -> Read:
        if raw is None or not raw.startswith(RS):
            return raw, runs
        text = raw.removeprefix(RS)
        return text, [(1, "framing", "record separator", None), (len(text), "payload", "", None), runs[-1]]

    def end(self) -> list[Read]:
        return []


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
    body=texts,
    hint="JSON texts, each behind a record separator",
)
