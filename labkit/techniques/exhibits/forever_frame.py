"""The forever frame: HTTP streaming into a hidden iframe, an event a script element (about 1999 to 2012).

A browser runs a script element of a page that is still loading as soon as its end tag is there. So a page that never
ends calls its parent with each event. There is no specification. The emulation is of the bytes, the padding and the
escaping; the browsers of the time are gone.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from pathlib import Path

from labkit.client.http import refuse_unless
from labkit.server.encoding import Item
from labkit.server.handler import PushHandler
from labkit.techniques.base import Opening, Technique
from labkit.techniques.reading import Delivery, mark_json
from labkit.theory import Mark
from labkit.wire import envelope
from labkit.wire.events import Gap

PAGE = Path(__file__).parent / "old_tricks.html"
PADDING = 1024  # browsers waited for this much before they rendered, and ran, anything
HEAD = b"<!doctype html><title>forever</title><body>\n<!--" + b" " * PADDING + b"-->\n"
CALL, END = b"<script>parent.labkit(", b")</script>\n"
_SCRIPT = re.compile(re.escape(CALL) + b"(.*?)" + re.escape(END), re.DOTALL)


def script(item: Item, _: str) -> bytes:
    """An item as a script element. A ``<`` in the data would end it, and two line separators are no JavaScript."""
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
    reader, rest = opening.reader(), b""
    try:
        await client.ask({"after": opening.after})
        response, http = await client.head()
        refuse_unless(response, (200,))
        async for piece in http.pieces():
            rest += piece
            while found := _SCRIPT.search(rest):
                raw, rest = found[1], rest[found.end() :]
                item = reader.read(raw.decode(), http.connection.received_ns)
                http.body.mark(found.start(1), "framing", "script element")
                mark_json(http.body, raw, [item])
                http.body.mark(len(END), "framing", "script element")
                if item is not None:
                    yield item
    finally:
        client.close()


FOREVER_FRAME = Technique(
    name="forever-frame",
    title="Forever frame",
    spec="no specification",
    route="/forever-frame",
    handler=ForeverFrameHandler,
    client=subscribe,
    short="forever frame",
    mark=Mark("#5E8C31", "hourglass", "dot"),
    exhibit=True,
    hint="script elements in an iframe that never finishes loading",
)
