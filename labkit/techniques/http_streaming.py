"""HTTP streaming: one response that does not end, with an event after another in its body.

RFC 6202 section 3. On HTTP/1.1 the body is chunked, or ended by the close with ``?framing=eof``; on HTTP/1.0 there
is only the close. Events are newline-delimited JSON, or parts of multipart/x-mixed-replace (RFC 2046 section 5.1)
with ``?format=multipart``. Chunks are not messages: a client looks for newlines and boundaries only.

With ``?recycle=N`` the server ends the response once N events are in it, together with whatever else is queued, and
the client asks again from its cursor (RFC 6202 section 3.2); with N = 1 that is long polling.
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from labkit.server.access import Refusal
from labkit.server.encoding import Encode, Item
from labkit.server.handler import PushHandler
from labkit.server.http1 import end_body_by_closing
from labkit.techniques.base import Opening, Technique
from labkit.techniques.delivery import Delivery
from labkit.techniques.expecting import one_transit, recycled
from labkit.theory import Expectation, Mark, Path, Silent
from labkit.wire import envelope
from labkit.wire.bodies import lines_or_parts
from labkit.wire.events import Event, Gap

BOUNDARY = b"--labkit-event"  # cannot occur in a part: JSON holds no line feed
PART_HEAD = b"Content-Type: application/json\r\n\r\n"
IDLE = b"X-Idle: 1\r\n"  # the heartbeat of parts: a field of the next one's head that may be ignored (RFC 2046, 5.1)
MOST_IDLE = 100  # of those in one head: readers have limits, 128 fields and 8 KiB among them
DEFAULTS = ("chunked", "lines", "trailing")
_COUNT = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)


def line(item: Item, _: str) -> bytes:
    return envelope.encode(item).encode() + b"\n"


def part(item: Item, _: str) -> bytes:
    """An item as a part with the boundary after it, so that a client knows at once that the part is whole."""
    return PART_HEAD + envelope.encode(item).encode() + b"\r\n" + BOUNDARY + b"\r\n"


def leading_part(item: Item, _: str) -> bytes:
    """An item as a part with the boundary before it: it is whole only when the next one begins."""
    return b"\r\n" + BOUNDARY + b"\r\n" + PART_HEAD + envelope.encode(item).encode()


class HTTPStreamingHandler(PushHandler):
    """Keeps one response open and writes every event into it."""

    async def get(self) -> None:
        multipart = self.choice("format", "lines", "multipart") == "multipart"
        leading = self.choice("boundary", "trailing", "leading") == "leading"
        recycle = self.recycle()
        if self.choice("framing", "chunked", "eof") == "eof":
            end_body_by_closing(self)
        if not multipart:
            self.set_header("Content-Type", "application/x-ndjson")
            return await self.write_events(line, b"\n", recycle)
        self.set_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY[2:].decode()}")
        self.write(b"" if leading else BOUNDARY + b"\r\n")
        await self.write_events(leading_part if leading else part, b"" if leading else IDLE, recycle, MOST_IDLE)
        self.write(b"\r\n" * leading + BOUNDARY + b"--\r\n")  # the last part is whole now (RFC 2046 section 5.1.1)

    def recycle(self) -> int:
        """After how many events the response ends; 0: never."""
        text = self.text("recycle", "")
        if text and not _COUNT.fullmatch(text):
            raise Refusal(400, f"recycle: {text[:40]!r} is not a whole number from 1 to 999999")
        return int(text or 0)

    async def write_events(self, encode: Encode, heartbeat: bytes, recycle: int, most_beats: float = math.inf) -> None:
        """Write the body; one that is recycled ends with the write that reaches *recycle* events."""
        if not recycle:
            await self.stream(encode, heartbeat, most_beats if heartbeat else math.inf)
            return
        if self.request.version == "HTTP/1.0":
            end_body_by_closing(self)
        self.ask_for_no_buffering()
        with self.subscribe(encode) as subscriber:
            await self.send(subscriber.encoded(subscriber.start()))
            async for items in subscriber.batches():
                await self.send(b"".join(map(subscriber.encoded, items)) or heartbeat)
                recycle -= sum(isinstance(item, Event) for item in items)
                if recycle <= 0:
                    subscriber.close()


async def subscribe(
    opening: Opening,
    *,
    http_version: str = "1.1",
    framing: str = "chunked",
    format: str = "lines",
    boundary: str = "trailing",
    conflate: bool = False,
    recycle: int | None = None,
) -> AsyncGenerator[Delivery | Gap, None]:
    """Read one endless response. Ends when the server ends it, unless it is a lab's that was to recycle it.

    Args:
        http_version: ``1.1``, or ``1.0`` where only the close can end the body.
        framing: ``chunked``, or ``eof``.
        format: ``lines`` or ``multipart``; *boundary* is ``trailing`` or ``leading``.
        recycle: have the response ended after so many events, and ask again, on the same connection if it lasts.

    Raises:
        ConnectionLost: cut. With ``eof`` a cut by FIN looks like an end: the iterator just stops.
        Refused: another status than 200.
    """
    client, reader = opening.http(version=http_version), opening.reader()
    asked = {"framing": framing, "format": format, "boundary": boundary}
    query: dict[str, object] = {name: how for name, how in asked.items() if how not in DEFAULTS}
    query |= {"conflate": "1" if conflate else None, "recycle": recycle}
    try:
        while True:
            await client.ask({"after": reader.cursor, **query})
            response, http = await client.head(200)
            kind, goes_on = response.headers.get("content-type", ""), bool(reader.cursor)
            async for said in http.values(lines_or_parts(kind, http.says_its_end, goes_on=goes_on)):
                if (item := reader.take(said, http.received_ns)) is not None:
                    yield item
            if not recycle or not reader.is_lab:
                return
            if not http.next_cycle():
                client.close()
    finally:
        client.close()


def expect(options: Mapping[str, Any], path: Path) -> Expectation | Silent:
    """One transit, as long as the response goes on; what comes between two of them waits for the next request."""
    if options["format"] == "multipart" and options["boundary"] == "leading":
        return Silent("with a leading boundary a part is whole only when the next begins")
    return recycled(options, path, one_transit(options, path))


HTTP_STREAMING = Technique(
    name="http-streaming",
    title="HTTP streaming",
    spec="RFC 6202 section 3",
    route="/http-streaming",
    handler=HTTPStreamingHandler,
    client=subscribe,
    short="HTTP streaming",
    mark=Mark("#007A55", "triangle-up", "dot"),
    theory=expect,
    body="lines",
    http1_only=("framing=eof",),
    hint="one response that does not end",
)
