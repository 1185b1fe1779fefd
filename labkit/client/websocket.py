"""A WebSocket client over a counted socket (RFC 6455).

The Sans-I/O core of the ``websockets`` library shakes hands, permessage-deflate (RFC 7692) included. After that
``wire`` reads the bytes, once: what messages say, and what each byte was for. What is sent is never deflated.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.http11 import Response
from websockets.uri import parse_uri

from labkit.client import address
from labkit.client.connection import Connection, Wiring
from labkit.client.http import target
from labkit.errors import ConnectionLost, Refused, WireError
from labkit.wire.frames import Frame, Message, Opcode, decode_close, encode_close, encode_frame, failure_code
from labkit.wire.http1 import Head
from labkit.wire.lane import Carrier
from labkit.wire.messages import MessageReader, Tell, told_message
from labkit.wire.spans import Category, Exchange, Item, Mark

MAX_MESSAGE_BYTES = 16 << 20
CLOSE_TIMEOUT_S = 1.0


def as_it_came(message: Message) -> Item:
    """A message as text or bytes, whoever's it is."""
    return None, told_message(message)[1]


class WebSocketConnection:
    """One open WebSocket. ``async for message in connection`` until it is closed; then see ``close_code``.

    Attributes:
        close_code: the code that the server closed with; 1006 when it did not say (RFC 6455 section 7.1.5).
        close_reason: what it said besides.
    """

    def __init__(self, connection: Connection, exchange: Exchange) -> None:
        self.connection = connection
        self.close_code = 1006
        self.close_reason = ""
        self._exchange = exchange
        self._reader: MessageReader | None = None
        self._said: deque[Any] = deque()
        self._has_sent_close = False
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
        tell: Tell = as_it_came,
        **query: object,
    ) -> WebSocketConnection:
        """Connect and shake hands (RFC 6455 section 4.1).

        Args:
            tell: reads each message of the server's.

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
        )
        request = core.connect()
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"
        exchange = Exchange(1)
        exchange.ask(Head("HTTP/1.1", tuple(request.headers.raw_items()), 0, method="GET", target=path))
        self = cls(await Connection.open(parts.hostname or "", parts.port or 80, wiring), exchange)
        try:
            core.send_request(request)
            await self._write(b"".join(core.data_to_send()), "headers", f"GET {exchange.path}, upgrade")
            self.connection.record.requests += 1
            await self._shake(core, tell)
        except BaseException:
            self.connection.close()
            raise
        return self

    async def _shake(self, core: ClientProtocol, tell: Tell) -> None:
        """Read the answer; what follows it in the same read is the server's first messages."""
        head = b""
        answer: Response | None = None
        while answer is None and not self.connection.closed:
            data = await self.connection.read()
            core.receive_data(data) if data else core.receive_eof()
            head += data
            answer = next((event for event in core.events_received() if isinstance(event, Response)), None)
        record, marks, carrier = self.connection.record, list[Mark](), Carrier("in", self._exchange)
        if core.handshake_exc is not None or answer is None:
            carrier.beside(0, len(head), "headers", "answer", marks)
            record.mark_all(marks)
            if answer is None:
                raise ConnectionLost("the connection ended during the handshake")
            body = bytes(answer.body or b"").decode("utf-8", "replace").strip()
            raise Refused(
                f"the server answered {answer.status_code} {answer.reason_phrase}: {body}".rstrip(": "),
                status=answer.status_code,
            )
        end = head.find(b"\r\n\r\n") + 4
        self._exchange.status = answer.status_code
        record.responses += 1
        self.connection.accepted()
        carrier.beside(0, end, "headers", "101, headers", marks)
        record.mark_all(marks)
        self._reader = MessageReader(
            carrier, end, deflated=bool(core.extensions), tell=tell,
            max_message_bytes=MAX_MESSAGE_BYTES, passes_over=False,
        )  # fmt: skip
        await self._take(head[end:])

    async def __aiter__(self) -> AsyncIterator[Any]:
        """What messages say, in order, until the connection is closed."""
        while True:
            while self._said:
                yield self._said.popleft()
            if not await self._receive():
                return

    async def _receive(self) -> bool:
        """Read once. False when the connection has ended."""
        if self.connection.closed:
            return False
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S if self._has_sent_close else None):
                data = await self.connection.read()
        except TimeoutError:  # it is for the server to end the connection (RFC 6455 section 7.1.1), but it does not
            self.connection.close()
            return False
        except ConnectionLost:
            if self.close_code == 1006:
                raise
            return False  # the server had said why, and did not wait for our half
        if data:
            await self._take(data)
        return bool(data)

    async def _take(self, data: bytes) -> None:
        """Read what came, and answer pings and the close; what breaks the rules fails the connection."""
        assert self._reader is not None
        marks: list[Mark] = []
        said = self._reader.feed(data, marks)
        self.connection.record.mark_all(marks)
        for value in said:
            if not isinstance(value, Frame):
                if not self._has_sent_close:
                    self._said.append(value)
            elif value.opcode is Opcode.PING:
                await self._control(Opcode.PONG, value.payload)
            elif value.opcode is Opcode.PONG:
                waiter = self._pongs.pop(value.payload, None)
                if waiter is not None and not waiter.done():
                    waiter.set_result(None)
            else:
                await self._closed(value)
        if self._reader.error is not None:
            await self._fail(self._reader.error)

    async def _closed(self, frame: Frame) -> None:
        """The server closes: answer with its own code (RFC 6455 section 5.5.1)."""
        try:
            self.close_code, self.close_reason = decode_close(frame.payload)
        except WireError as error:
            await self._fail(error)
            return
        await self._control(Opcode.CLOSE, frame.payload)

    async def _fail(self, error: WireError) -> None:
        """Fail the connection (RFC 6455 section 7.1.7)."""
        await self._control(Opcode.CLOSE, encode_close(failure_code(error), str(error)[:100]))

    async def _control(self, opcode: Opcode, payload: bytes) -> None:
        """Send a control frame; nothing follows a close."""
        if self._has_sent_close:
            return
        self._has_sent_close = opcode is Opcode.CLOSE
        try:
            await self._write(_masked(opcode, payload), "framing", opcode.name.lower())
        except ConnectionLost:
            pass  # what came before that is still to be handed over

    async def send(self, message: str | bytes) -> None:
        """Send one message. Raises ConnectionLost when the connection has ended."""
        if self._has_sent_close:
            raise ConnectionLost("the WebSocket is closed")
        data = message.encode() if isinstance(message, str) else message
        opcode = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
        await self._write(_masked(opcode, data), "framing", "message to the server", len(data))

    async def ping(self, data: bytes = b"") -> asyncio.Future[None]:
        """Send a ping; the future is done when its pong is read (somebody has to be reading)."""
        waiter = self._pongs[data] = asyncio.get_running_loop().create_future()
        await self._control(Opcode.PING, data)
        return waiter

    async def close(self, code: int = 1000, reason: str = "", *, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Close with the closing handshake (RFC 6455 section 7.1.2), for at most *timeout_s* seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                if not self.connection.closed:
                    await self._control(Opcode.CLOSE, encode_close(code, reason))
                while not self.connection.closed and await self._receive():
                    self._said.clear()
        except (TimeoutError, ConnectionLost):
            pass
        finally:
            self.connection.close()
            marks: list[Mark] = []
            if self._reader is not None:
                self._reader.end(marks)
            self.connection.record.mark_all(marks)

    async def _write(self, data: bytes, category: Category, label: str, payload_bytes: int = 0) -> None:
        async with self._writing:  # a lock lets them in in the order in which they came
            if self.connection.closed:
                return
            record, start, marks = self.connection.record, self.connection.record.bytes_out, list[Mark]()
            try:
                await self.connection.write(data)
            finally:  # a write that fails has sent a part
                sent, carrier = record.bytes_out, Carrier("out", self._exchange)
                head = min(start + len(data) - payload_bytes, sent)
                carrier.beside(start, head, category, label, marks)
                carrier.beside(head, sent, "payload", label, marks)
                record.mark_all(marks)


def _masked(opcode: Opcode, payload: bytes) -> bytes:
    return encode_frame(Frame(opcode, payload, mask=os.urandom(4)))
