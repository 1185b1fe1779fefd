"""A WebSocket client made by hand over a counted connection, which sends whatever it is told to."""

from __future__ import annotations

import asyncio
import base64
import os
from collections import deque
from typing import Self

from labkit.client.connection import Connection
from labkit.client.ledger import Ledger
from labkit.client.wiring import Wiring
from labkit.errors import ConnectionLost, Refused
from labkit.theory import Mark
from labkit.wire.events import now_ns
from labkit.wire.frames import Frame, FrameDecoder, Opcode, encode_frame

TIMEOUT_S = 5.0
SAMPLE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The key of the example in RFC 6455 section 1.3; its accept is s3pPLMBiTxaQ9kYGzzhZRbK+xOo=."""
UP, DOWN = Mark("#B84300", "triangle-up", "dash"), Mark("#0072B2", "triangle-down", "solid")
"""What stands for each direction in charts."""


def opening(port: int, path: str, key: str, *fields: str) -> bytes:
    """The request that a handshake begins with (RFC 6455 section 4.1)."""
    own = ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *own, *fields, "\r\n"]).encode()


class RawSocket:
    """One WebSocket after its handshake. ``async with await RawSocket.open(port, path) as socket``.

    Attributes:
        request, answer: the two heads of the handshake, as they lay on the wire.
        raw: everything that came after the answer.
    """

    def __init__(self, connection: Connection, request: bytes, answer: bytes, rest: bytes) -> None:
        self.connection = connection
        self.record = connection.record
        self.request = request
        self.answer = answer
        self.raw = bytearray()
        self._decoder = FrameDecoder(masked=False, reserved=frozenset({"rsv1"}), max_payload_bytes=1 << 26)
        self._frames: deque[Frame] = deque()
        self._take(rest)

    @classmethod
    async def open(cls, port: int, path: str, *, key: str = "", fields: tuple[str, ...] = ()) -> RawSocket:
        """Connect and shake hands (RFC 6455 section 4.1).

        Raises:
            ConnectionLost: nobody is there, or the connection ended.
            Refused: any answer but 101.
        """
        request = opening(port, path, key or base64.b64encode(os.urandom(16)).decode(), *fields)
        connection = await Connection.open("127.0.0.1", port, Wiring(Ledger(), "websocket", 0))
        try:
            await connection.write(request)
            data = b""
            async with asyncio.timeout(TIMEOUT_S):
                while b"\r\n\r\n" not in data:
                    piece = await connection.read()
                    if not piece:
                        raise ConnectionLost("the connection ended during the handshake")
                    data += piece
            head, _, rest = data.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101 "):
                raise Refused(f"the server answered {head.splitlines()[0].decode('latin-1')}", status=int(head[9:12]))
            return cls(connection, request, head + b"\r\n\r\n", rest)
        except BaseException:
            connection.close()
            raise

    async def send(self, *frames: Frame | bytes) -> None:
        """Write frames, or bytes that are none, at once."""
        await self.connection.write(b"".join(f if isinstance(f, bytes) else encode_frame(f) for f in frames))

    async def text(self, payload: bytes) -> int:
        """Send one text message, masked with a new key. Returns when, in ns."""
        sent_ns = now_ns()
        await self.send(Frame(Opcode.TEXT, payload, mask=os.urandom(4)))
        return sent_ns

    async def frame(self, timeout_s: float = TIMEOUT_S) -> Frame | None:
        """The next frame; None when the connection has ended.

        Raises:
            TimeoutError: nothing came.
        """
        async with asyncio.timeout(timeout_s):
            while not self._frames:
                try:
                    data = await self.connection.read() if not self.connection.closed else b""
                except ConnectionLost:
                    return None
                if not data:
                    return None
                self._take(data)
        return self._frames.popleft()

    async def close_frame(self, timeout_s: float = TIMEOUT_S) -> bytes:
        """The close frame that ends the connection, as it lay on the wire; empty if it ended without one."""
        while (frame := await self.frame(timeout_s)) is not None:
            if frame.opcode is Opcode.CLOSE:
                return encode_frame(frame)
        return b""

    def _take(self, data: bytes) -> None:
        self.raw += data
        self._frames.extend(self._decoder.feed(data))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.connection.close()
