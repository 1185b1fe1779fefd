"""What every WebSocket route of a lab shares: a handler's checks before a corrected WebSocket, bounded writes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from typing import Any

from tornado.iostream import IOStream, StreamClosedError

from labkit.server.access import Refusal
from labkit.server.handler import PushHandler
from labkit.server.http1 import accepted, require_upgrade
from labkit.server.http1_requests import members
from labkit.server.websocket import CorrectedHandler, CorrectedProtocol
from labkit.wire.http1 import PROTOCOL

SUBPROTOCOL = "labkit"
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==", re.ASCII)


class WebSocketRoute(PushHandler, CorrectedHandler):
    """What ``/websocket`` and ``/websocket/echo`` share: access checks, compression on request, quiet errors."""

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Shake hands (RFC 6455 section 4.2). HTTP/1.0 has no upgrade (RFC 9110 section 7.8)."""
        headers = self.request.headers
        asked = PROTOCOL in members(headers, "Upgrade") and "upgrade" in members(headers, "Connection")
        if not asked or self.request.version == "HTTP/1.0":
            self.head()
        if not _KEY.fullmatch(headers.get("Sec-WebSocket-Key", "")):
            raise Refusal(400, "Sec-WebSocket-Key: not 16 bytes in base64 (RFC 6455 section 4.2.1)")
        headers["Upgrade"] = PROTOCOL  # Tornado takes no list of them
        await super().get(*args, **kwargs)

    def head(self, *_: str) -> None:
        """Only HTTP/1 has an upgrade to ask for (RFC 9113 section 8.6); from HTTP/2 on it is CONNECT (RFC 8441)."""
        status = 426 if self.request.version.startswith("HTTP/1.") else 400
        raise Refusal(status, "this route speaks WebSocket (RFC 6455): open it as ws:// or wss://")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == 426 and not require_upgrade(self, PROTOCOL):
            status_code = 400
            self.set_status(status_code)
        super().write_error(status_code, **kwargs)

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

    def say(self, *messages: str | bytes) -> Coroutine[Any, Any, None] | None:
        """Write messages in one piece. If the system did not take all of it, returns what is to be awaited."""
        protocol = self.open_protocol()
        return self.write_frames(b"".join(map(protocol.frame, messages)) if protocol is not None else b"")

    def write_frames(self, frames: bytes) -> Coroutine[Any, Any, None] | None:
        """The same for messages that are framed. (Named so that it is no handler of PUT.)"""
        if (protocol := self.open_protocol()) is None:
            PushHandler.on_connection_close(self)
            return None
        written = protocol.stream.write(frames)
        return None if written.done() and not written.exception() else self._taken(protocol.stream, written)

    def open_protocol(self) -> CorrectedProtocol | None:
        """The connection, for as long as neither side has begun to close it."""
        protocol = self.ws_connection
        return protocol if isinstance(protocol, CorrectedProtocol) and not protocol.is_closing() else None

    async def _taken(self, stream: IOStream, written: asyncio.Future[None]) -> None:
        """Wait until a write was accepted, for a bounded time: a peer may stop reading."""
        try:
            await accepted(written, self.context.write_timeout_s)
        except TimeoutError:
            stream.close()
        except StreamClosedError:
            PushHandler.on_connection_close(self)


class AnsweringSocket(WebSocketRoute):
    """One that answers what it is told. It waits for no event, so it is the server that says farewell to it."""

    def open(self) -> Coroutine[Any, Any, None] | None:
        self.context.answering.add(self)
        return None

    def on_close(self) -> None:
        self.context.answering.discard(self)
        self.on_connection_close()


class EchoSocket(AnsweringSocket):
    """Sends back what it gets."""

    def on_message(self, message: str | bytes) -> Coroutine[Any, Any, None] | None:
        return self.say(message)
