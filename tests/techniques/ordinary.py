"""Two techniques in one file: an ordinary Tornado handler, and one that says nothing of itself.

A lab in a process of its own loads this file for their sake, and so it needs little.
"""

from __future__ import annotations

from json_seq import JSON_SEQ, record
from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler

from labkit.server.subscriber import Subscriber
from labkit.techniques import Technique
from labkit.wire.events import Cursor


class PlainHandler(RequestHandler):
    """A server half that knows nothing of the kit but the hub."""

    subscriber: Subscriber | None = None

    async def get(self) -> None:
        after = self.get_query_argument("after", "")
        hub = self.settings["context"].hub
        self.subscriber = hub.subscribe(
            self.get_query_argument("topic", ""), Cursor.parse(after) if after else None, record
        )
        try:
            self.write(self.subscriber.encoded(self.subscriber.start()))
            await self.flush()
            async for block in self.subscriber.blocks():
                self.write(block)
                await self.flush()
        except StreamClosedError:
            pass  # the client has gone
        finally:
            self.subscriber.close()

    def on_connection_close(self) -> None:
        if self.subscriber is not None:
            self.subscriber.close()


PLAIN = Technique(
    name="plain",
    title="An ordinary handler",
    spec="Tornado",
    route="/plain",
    handler=PlainHandler,
    client=JSON_SEQ.client,
    body="lines",
)
NAMELESS = Technique(
    name="nameless", title="Nameless", spec="none", route="/json-seq", handler=None, client=JSON_SEQ.client
)
