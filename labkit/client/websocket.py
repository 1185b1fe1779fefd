"""A WebSocket client over a counted connection: the Sans-I/O core of the ``websockets`` library (RFC 6455).

The core keeps the protocol's state, answers pings and closes properly. Beside it, labkit's own frame decoder reads
the same bytes to say which of them were frame headers; a message is marked when its last fragment is there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame as CoreFrame
from websockets.frames import Opcode as CoreOpcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from labkit.client import address
from labkit.client.connection import Connection, Wiring
from labkit.client.http import target
from labkit.client.http_connection import Body
from labkit.client.ledger import Category
from labkit.errors import ConnectionLost, Refused, WireError
from labkit.wire.frames import FrameDecoder

MAX_MESSAGE_BYTES = 16 << 20
CLOSE_TIMEOUT_S = 1.0


class WebSocketConnection:
    """One open WebSocket. ``async for message in connection`` until it is closed; then see ``close_code``."""

    def __init__(self, connection: Connection, core: ClientProtocol) -> None:
        self.connection = connection
        self.body = Body(connection.record)
        self.deflated = False
        self._core = core
        self._tap = FrameDecoder(masked=False, max_payload_bytes=MAX_MESSAGE_BYTES, reserved=frozenset({"rsv1"}))
        self._tapped = True
        self._tap_position = 0
        self._wire_bytes: deque[int] = deque()
        self.message_bytes = 0
        """Payload bytes of the newest message as they lay on the wire, deflated if they were."""
        self._frames: deque[CoreFrame] = deque()
        self._fragments: list[bytes] = []
        self._text = True
        self._writing = asyncio.Lock()
        self._pongs: dict[bytes, asyncio.Future[None]] = {}

    @classmethod
    async def open(
        cls,
        url: str,
        wiring: Wiring,
        *,
        topic: str = "",
        token: str | None = None,
        deflate: bool = False,
        **query: object,
    ) -> WebSocketConnection:
        """Connect and shake hands (RFC 6455 section 4.1).

        Raises:
            AddressError: neither ``ws://`` nor ``http://``.
            ConnectionLost: nobody listens there, or the connection ended during the handshake.
            Refused: any answer but 101.
        """
        parts = address.split(url)
        path = target(parts, topic=topic, deflate="1" if deflate else None, **query)
        core = ClientProtocol(
            parse_uri(f"ws://{parts.netloc}{path}"),
            extensions=[ClientPerMessageDeflateFactory()] if deflate else None,
            max_size=MAX_MESSAGE_BYTES,
        )
        request = core.connect()
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"
        self = cls(await Connection.open(parts.hostname or "", parts.port or 80, wiring), core)
        try:
            core.send_request(request)
            await self._flush("headers", f"GET {parts.path}, upgrade")
            self.connection.record.requests += 1
            await self._handshake()
        except BaseException:
            self.connection.close()
            raise
        return self

    async def _handshake(self) -> None:
        head = b""
        events: list[object] = []
        while not events and not self.connection.closed:  # the answer is an event once it is whole
            data = await self.connection.read()
            self._core.receive_data(data) if data else self._core.receive_eof()
            head += data
            events = list(self._core.events_received())
        end = head.find(b"\r\n\r\n") + 4
        record = self.connection.record
        if self._core.handshake_exc is not None or not events:
            record.mark("in", 0, len(head), "headers", "answer")
            response = next((e for e in events if isinstance(e, Response)), None)
            if response is None:
                raise ConnectionLost("the connection ended during the handshake")
            body = bytes(response.body or b"").decode("utf-8", "replace").strip()
            raise Refused(
                f"the server answered {response.status_code} {response.reason_phrase}: {body}".rstrip(": "),
                status=response.status_code,
            )
        record.responses += 1
        self.connection.accepted()
        record.mark("in", 0, end, "headers", "101, headers")
        self.deflated = bool(self._core.extensions)
        self._frames.extend(e for e in events if isinstance(e, CoreFrame))
        self._tap_position = end
        self._annotate(head[end:])

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Messages in order, until the connection is closed."""
        while True:
            while self._frames:
                message = self._assemble(self._frames.popleft())
                if message is not None:
                    yield message
            if not await self._receive():
                return

    async def _receive(self) -> bool:
        """Read once. False when the connection has ended."""
        if self.connection.closed:
            return False
        try:
            await self._flush("framing", "close")  # where a message was refused
            async with asyncio.timeout(CLOSE_TIMEOUT_S if self._core.close_expected() else None):
                data = await self.connection.read()
        except TimeoutError:  # it is for the server to end the connection (RFC 6455 section 7.1.1), but it does not
            self._core.receive_eof()
            self.connection.close()
            return False
        except ConnectionLost:
            self._core.receive_eof()
            if self.close_code == 1006:
                raise
            return False  # the server had said why, and did not wait for our half
        if not data:
            self._core.receive_eof()
            return False
        self._core.receive_data(data)
        self._frames.extend(e for e in self._core.events_received() if isinstance(e, CoreFrame))
        self._annotate(data)
        try:
            await self._flush("framing", "control frame")  # pongs, and our half of the closing handshake
        except ConnectionLost:
            self._core.receive_eof()  # what came before that is still to be handed over
        return True

    def _assemble(self, frame: CoreFrame) -> str | bytes | None:
        if frame.opcode is CoreOpcode.PONG:
            waiter = self._pongs.pop(bytes(frame.data), None)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
        if frame.opcode not in (CoreOpcode.TEXT, CoreOpcode.BINARY, CoreOpcode.CONT):
            return None
        if frame.opcode is not CoreOpcode.CONT:
            self._text = frame.opcode is CoreOpcode.TEXT
            self.message_bytes = 0
        self.message_bytes += self._wire_bytes.popleft() if self._wire_bytes else 0
        self._fragments.append(bytes(frame.data))
        if not frame.fin:
            return None
        data = b"".join(self._fragments)
        self._fragments = []
        try:
            return data.decode() if self._text else data
        except UnicodeDecodeError:
            self._core.fail(1007, "text is not UTF-8")  # RFC 6455 section 8.1
            return None

    def _annotate(self, data: bytes) -> None:
        """Mark frame headers; what lies between them is kept for the message's own marks."""
        if not self._tapped:
            return
        record, position = self.connection.record, self._tap_position
        try:
            frames = self._tap.feed(data)
        except WireError:
            self._tapped = False  # the core fails the connection; what is left of it has no marks
            return
        for frame in frames:
            head = position + frame.header_bytes
            stop = head + len(frame.payload)
            record.mark("in", position, head, "framing", f"{frame.opcode.name.lower()} frame header")
            if frame.opcode >= 8:
                record.mark("in", head, stop, "framing", frame.opcode.name.lower())
            else:
                self.body.add(head, stop)
                self._wire_bytes.append(stop - head)
            position = stop
        self._tap_position = position

    async def send(self, message: str | bytes) -> None:
        """Send one message. Raises ConnectionLost when the connection has ended."""
        data = message.encode() if isinstance(message, str) else message
        (self._core.send_text if isinstance(message, str) else self._core.send_binary)(data)
        await self._flush("framing", "message to the server", len(data))

    async def ping(self, data: bytes = b"") -> asyncio.Future[None]:
        """Send a ping; the future is done when its pong is read (somebody has to be reading)."""
        waiter = self._pongs[data] = asyncio.get_running_loop().create_future()
        self._core.send_ping(data)
        await self._flush("framing", "ping")
        return waiter

    async def close(self, code: int = 1000, reason: str = "", *, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Close with the closing handshake (RFC 6455 section 7.1.2), for at most *timeout_s* seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                if not self.connection.closed and self._core.state.name == "OPEN":
                    self._core.send_close(code, reason)
                    await self._flush("framing", "close")
                while not self.connection.closed and await self._receive():
                    self._frames.clear()
        except (TimeoutError, ConnectionLost):
            pass
        finally:
            self.connection.close()
            self.body.mark_rest()
            record = self.connection.record
            record.mark("in", self._tap_position, record.bytes_in, "framing", "unread")
            self._tap_position = record.bytes_in

    @property
    def close_code(self) -> int | None:
        """The code that the server closed with; 1006 when it did not say (RFC 6455 section 7.1.5)."""
        return self._core.close_code

    @property
    def close_reason(self) -> str | None:
        return self._core.close_reason

    async def _flush(self, category: Category, label: str, payload_bytes: int = 0) -> None:
        data = b"".join(self._core.data_to_send())  # taken before anything is awaited: the lock keeps the order
        async with self._writing:
            if not data or self.connection.closed:
                return
            record, start = self.connection.record, self.connection.record.bytes_out
            try:
                await self.connection.write(data)
            finally:  # a write that fails has sent a part
                sent = record.bytes_out
                head = min(start + len(data) - min(payload_bytes, len(data)), sent)
                record.mark("out", start, head, category, label)
                record.mark("out", head, sent, "payload", label)
