"""The forever frame: HTTP streaming into a hidden iframe, an event a script element (about 1999 to 2012).

A browser runs a script element of a page that is still loading as soon as its end tag is there. So a page that never
ends calls its parent with each event. There is no specification. The emulation is of the bytes, the padding and the
escaping; the browsers of the time are gone.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path as File
from typing import Any

from labkit.server.encoding import Item
from labkit.server.handler import PushHandler
from labkit.techniques.base import Opening, Technique
from labkit.techniques.delivery import Delivery
from labkit.techniques.expecting import one_transit
from labkit.theory import Expectation, Mark, Path, Silent
from labkit.wire import envelope
from labkit.wire.bodies import Reading, Told
from labkit.wire.events import Gap
from labkit.wire.spans import MAX_ITEM_BYTES, TOO_LONG, Run
from labkit.wire.spans import Item as Read

PAGE = File(__file__).parent / "old_tricks.html"
PADDING = 1024  # browsers waited for this much before they rendered, and ran, anything
HEAD = b"<!doctype html><title>forever</title><body>\n<!--" + b" " * PADDING + b"-->\n"
CALL, END = b"<script>parent.labkit(", b")</script>\n"


def script(item: Item, _: str) -> bytes:
    """An item as a script element. A ``<`` in the data would end it; two separators ended a line, before ES2019."""
    text = envelope.encode(item).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return CALL + text.encode() + END


class ForeverFrameHandler(PushHandler):
    """A page that never ends."""

    async def get(self) -> None:
        self.set_header("Content-Type", "text/html; charset=utf-8")
        if self.flag("page"):  # a page that has such a frame in it
            self.finish(PAGE.read_bytes())
            return
        self.write(HEAD)
        await self.stream(script)


async def subscribe(opening: Opening) -> AsyncGenerator[Delivery | Gap, None]:
    """Read the page as a browser's parser does, one script element after another."""
    client = opening.http()
    reader = opening.reader()
    try:
        await client.ask({"after": opening.after})
        _, http = await client.head(200)
        async for said in http.values(scripts()):
            if (item := reader.take(said, http.connection.received_ns)) is not None:
                yield item
    finally:
        client.close()


def expect(options: Mapping[str, Any], path: Path) -> Expectation | Silent:
    """One transit; the page has no heartbeat."""
    return one_transit(options, path, beats=False)


def scripts() -> Reading:
    """How the page is read."""
    return Told(_Scripts())


class _Scripts:
    """A page in, the arguments of the calls in its script elements out."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._searched = 0

    def items(self, data: bytes) -> list[Read]:
        items: list[Read] = []
        self._rest += data
        while (found := self._rest.find(END, self._searched)) >= 0:
            before, call, argument = self._rest[:found].partition(CALL)
            size = len(argument) if call else 0
            runs: list[Run] = [(len(before) + len(call), "framing", "script element", None)]
            runs += [(size, "payload", "", None)] if size else []
            runs.append((len(END), "framing", "script element", None))
            items.append((bytes(argument) if size else None, runs))
            del self._rest[: found + len(END)]
            self._searched = 0
        self._searched = max(0, len(self._rest) - len(END))
        if self._searched > MAX_ITEM_BYTES:
            items.append((None, [(self._searched, "payload", TOO_LONG, None)]))
            del self._rest[: self._searched]
            self._searched = 0
        return items

    def end(self) -> list[Read]:
        return []


FOREVER_FRAME = Technique(
    name="forever-frame",
    title="Forever frame",
    spec="no specification",
    route="/forever-frame",
    handler=ForeverFrameHandler,
    client=subscribe,
    short="forever frame",
    mark=Mark("#5E8C31", "hourglass", "dot"),
    theory=expect,
    body=scripts,
    exhibit=True,
    hint="script elements in an iframe that never finishes loading",
)
