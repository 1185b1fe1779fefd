"""A WebSocket client over a counted socket (RFC 6455), or over one stream of HTTP/2 (RFC 8441).

It shakes hands as any HTTP exchange begins (``upgrading``), permessage-deflate (RFC 7692) included. After that
``wire`` reads the bytes, once: what messages say, and what each byte was for. What is sent is never deflated. What
breaks a rule fails the connection, and is raised with its clause.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from labkit.client import address
from labkit.client.http import target
from labkit.client.ledger import ConnectionRecord
from labkit.client.speaking import speaking
from labkit.client.upgrading import Pipe, shaken
from labkit.client.wiring import Wiring
from labkit.errors import ConnectionLost, WireError
from labkit.wire.close_codes import decode_close, encode_close, failure_code
from labkit.wire.first_word import Messages
from labkit.wire.fragments import Message
from labkit.wire.frames import UTF8, Frame, Opcode, encode_frame
from labkit.wire.lane import Carrier
from labkit.wire.messages import MessageReader, Tell
from labkit.wire.spans import Category, Item, Mark

MAX_MESSAGE_BYTES = 16 << 20
CLOSE_TIMEOUT_S = 1.0


class WebSocketConnection:
    """One open WebSocket. ``async for message in connection`` until it is closed; then see ``close_code``.

    Attributes:
        close_code: the code that the server closed with; 1006 when it did not say (RFC 6455 section 7.1.5).
        close_reason: what it said besides.
    """

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self.close_code = 1006
        self.close_reason = ""
        self._reader: MessageReader | None = None
        self._said: deque[Any] = deque()
        self._error: WireError | None = None
        self._has_heard_close = False
        self._ends_s: float | None = None  # when the server is to have ended it, once a close was sent
        self._writing = asyncio.Lock()
        self._pongs: dict[bytes, asyncio.Future[None]] = {}

    @property
    def record(self) -> ConnectionRecord:
        """What went over its connection."""
        return self._pipe.record

    @property
    def received_ns(self) -> int:
        """When the read returned that brought the newest message."""
        return self._pipe.received_ns

    @classmethod
    async def open(
        cls,
        url: str,
        wiring: Wiring,
        *,
        topic: str = "",
        token: str | None = None,
        deflate: bool = False,
        tell: Tell | None = None,
        **query: object,
    ) -> WebSocketConnection:
        """Connect and shake hands (RFC 6455 section 4.1).

        Args:
            tell: reads each message of the server's; by default it is handed over as it came.

        Raises:
            AddressError: another scheme, or no address.
            ConnectionLost: nobody listens there, or the connection ended during the handshake.
            Refused: any answer but 101.
            WireError: an answer of 101 that breaks the rules.
        """
        place = address.split(url)
        path = target(place, topic=topic, deflate="1" if deflate else None, **query)
        authorization = place.authorization if token is None else f"Bearer {token}"
        fields = {} if authorization is None else {"Authorization": authorization}
        fields |= wiring.fields
        http = await speaking(place, wiring)
        try:
            pipe, data, deflated = await shaken(http, place.authority, path, fields, deflate=deflate)
            self = cls(pipe)
            self._reader = MessageReader(
                Carrier("in", pipe.exchange), pipe.start, deflated=deflated, tell=tell or as_it_came(),
                max_message_bytes=MAX_MESSAGE_BYTES, passes_over=False,
            )  # fmt: skip
            await self._take(data)
        except BaseException:
            http.close()
            raise
        return self

    async def __aiter__(self) -> AsyncIterator[Any]:
        """What messages say, in order, until the connection is closed.

        Raises:
            WireError: the server has broken a rule; what came before that has been handed over.
            ConnectionLost: the connection was reset.
        """
        while True:
            while self._said:
                yield self._said.popleft()
            if not await self._receive():
                break
        if self._error is not None:
            raise self._error

    async def _receive(self) -> bool:
        """Read once. False when the connection has ended."""
        if self._pipe.closed:
            return False
        try:
            if self._ends_s is not None and self._ends_s < asyncio.get_running_loop().time():
                raise TimeoutError
            async with asyncio.timeout_at(self._ends_s):
                data = await self._pipe.read()
        except TimeoutError:  # it is for the server to end the connection (RFC 6455 section 7.1.1), but it does not
            self._end()
            return False
        except ConnectionLost:
            self._end()
            if self.close_code == 1006 and self._error is None:
                raise
            return False  # the server had said why, and did not wait for our half
        if data:
            await self._take(data)
        else:
            self._end()
        return bool(data)

    async def _take(self, data: bytes) -> None:
        """Read what came, and answer pings and the close; what breaks the rules fails the connection."""
        assert self._reader is not None
        marks: list[Mark] = []
        said = self._reader.feed(data, marks)
        self._pipe.put_down(marks)
        for value in said:
            if self._has_heard_close:
                break  # right or wrong, it was the last that counts (RFC 6455 sections 5.5.1 and 7.1.7)
            if not isinstance(value, Frame):
                if self._ends_s is None:
                    self._said.append(value)
            elif value.opcode is Opcode.PING:
                await self._control(Opcode.PONG, value.payload)
            elif value.opcode is Opcode.PONG:
                waiter = self._pongs.pop(value.payload, None)
                if waiter is not None and not waiter.done():
                    waiter.set_result(None)
            else:
                await self._closed(value)
        if self._reader.error is not None and self._ends_s is None:
            await self._fail(self._reader.error)

    async def _closed(self, frame: Frame) -> None:
        """The server closes: answer with its own code (RFC 6455 section 5.5.1)."""
        self._has_heard_close = True
        try:
            self.close_code, self.close_reason = decode_close(frame.payload)
        except WireError as error:
            if self._ends_s is None:
                await self._fail(error)
            return
        await self._control(Opcode.CLOSE, frame.payload)

    async def _fail(self, error: WireError) -> None:
        """Fail the connection (RFC 6455 section 7.1.7): nothing more of it is handed over."""
        self._error = error
        await self._control(Opcode.CLOSE, encode_close(failure_code(error), str(error)[:100]))

    async def _control(self, opcode: Opcode, payload: bytes) -> None:
        """Send a control frame; nothing follows a close."""
        if self._ends_s is not None:
            return
        if opcode is Opcode.CLOSE:
            self._ends_s = asyncio.get_running_loop().time() + CLOSE_TIMEOUT_S
        try:
            await self._write(_masked(opcode, payload), "framing", opcode.name.lower())
        except ConnectionLost:
            pass  # what came before that is still to be handed over

    async def send(self, message: str | bytes) -> None:
        """Send one message.

        Raises:
            ConnectionLost: the connection has ended, or is about to.
            WireError: text that cannot be UTF-8.
        """
        self._check_open()
        try:
            data = message.encode() if isinstance(message, str) else message
        except UnicodeEncodeError:
            raise WireError("text with a lone surrogate cannot be UTF-8", clause=UTF8) from None
        opcode = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
        if not await self._write(_masked(opcode, data), "framing", "message to the server", len(data)):
            raise ConnectionLost("the WebSocket is closed")

    async def ping(self, data: bytes = b"") -> asyncio.Future[None]:
        """Send a ping; the future is done when its pong is read (somebody has to be reading).

        Raises:
            ConnectionLost: the connection has ended; the future's, when it ends without a pong.
            WireError: over 125 bytes.
        """
        self._check_open()
        frame = _masked(Opcode.PING, data)
        waiter = self._pongs.setdefault(data, asyncio.get_running_loop().create_future())
        if not await self._write(frame, "framing", "ping"):
            self._end()
        return waiter

    def _check_open(self) -> None:
        if self._ends_s is not None or self._pipe.closed:
            raise ConnectionLost("the WebSocket is closed")

    def _end(self) -> None:
        """Nothing more comes: who waits for a pong waits in vain."""
        self._pipe.close()
        for waiter in self._pongs.values():
            if not waiter.done():
                waiter.set_exception(ConnectionLost("the WebSocket ended before the pong"))
                waiter.exception()  # nobody need look at it
        self._pongs.clear()

    async def close(self, code: int = 1000, reason: str = "", *, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Close with the closing handshake (RFC 6455 section 7.1.2), for at most *timeout_s* seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                if not self._pipe.closed:
                    await self._control(Opcode.CLOSE, encode_close(code, reason))
                while not self._pipe.closed and await self._receive():
                    self._said.clear()
        except (TimeoutError, ConnectionLost):
            pass
        finally:
            self._end()
            marks: list[Mark] = []
            if self._reader is not None:
                self._reader.end(marks)
            self._pipe.put_down(marks)

    async def _write(self, data: bytes, category: Category, label: str, payload_bytes: int = 0) -> bool:
        """Write it, unless the connection has ended meanwhile; tells whether it was."""
        async with self._writing:  # a lock lets them in in the order in which they came
            if self._pipe.closed:
                return False
            head = len(data) - payload_bytes
            try:
                await self._pipe.write(data, [(head, category, label, None), (payload_bytes, "payload", label, None)])
            except BaseException:  # whoever gave up waiting has left a part of a frame, which nothing can follow
                self._end()
                raise
        return True


def as_it_came() -> Tell:
    """Hands each message over as text or bytes, whoever's it is."""
    words = Messages()

    def tell(message: Message) -> Item:
        return None, words.message(message)[1]

    return tell


def _masked(opcode: Opcode, payload: bytes) -> bytes:
    return encode_frame(Frame(opcode, payload, mask=os.urandom(4)))
