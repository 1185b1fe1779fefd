"""What every WebSocket route of a lab shares: a handler's checks before a corrected WebSocket, bounded writes."""

from __future__ import annotations

from typing import Any

from tornado.websocket import WebSocketClosedError, WebSocketProtocol13

from labkit.server.handler import PushHandler
from labkit.server.http1 import accepted
from labkit.server.websocket import CorrectedHandler

SUBPROTOCOL = "labkit"


class WebSocketRoute(PushHandler, CorrectedHandler):
    """What ``/websocket`` and ``/websocket/echo`` share: access checks, compression on request, quiet errors."""

    def check_origin(self, origin: str) -> bool:
        return True  # prepare() has checked it, as on every route

    def token(self) -> str:
        """Also as a second subprotocol after ``labkit``: intermediaries write addresses into their logs."""
        offered = [name.strip() for name in self.request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        return offered[1] if len(offered) == 2 and offered[0] == SUBPROTOCOL else super().token()

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return SUBPROTOCOL if SUBPROTOCOL in subprotocols else None  # a browser gives up if none is chosen

    def get_compression_options(self) -> dict[str, Any] | None:
        return {} if self.flag("deflate") else None

    async def say(self, message: str | bytes | dict[str, Any]) -> None:
        """Write one message and wait until it was accepted, for a bounded time: a peer may stop reading."""
        try:
            await accepted(self.write_message(message, isinstance(message, bytes)), self.context.write_timeout_s)
        except TimeoutError:
            if isinstance(self.ws_connection, WebSocketProtocol13):
                self.ws_connection.stream.close()
        except WebSocketClosedError:
            PushHandler.on_connection_close(self)


class EchoSocket(WebSocketRoute):
    """Sends back what it gets."""

    async def on_message(self, message: str | bytes) -> None:
        await self.say(message)
