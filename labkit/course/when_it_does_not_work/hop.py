"""What stands between and is wrong in one way: a program of the kit's own that does what others are known to do."""

from __future__ import annotations

import asyncio
import zlib
from typing import Literal, get_args

import h11

from labkit.course.when_it_does_not_work.stream import READ_BYTES, Served, while_there

Flush = Literal["after", "before", "never"]
"""When a compressor hands on what it has: after each event, before it, or when the answer has ended."""


class Cut(Exception):
    """The hop ends the connection."""


class Coder:
    """gzip, and when it is flushed; without *flush* the bytes as they are."""

    def __init__(self, flush: Flush | None) -> None:
        self.flush = flush
        self._deflate = zlib.compressobj(wbits=31)

    def feed(self, data: bytes) -> bytes:
        """What is handed on as *data* comes."""
        if self.flush is None:
            return data
        early = self._deflate.flush(zlib.Z_SYNC_FLUSH) if self.flush == "before" else b""
        out = early + self._deflate.compress(data)
        return out + self._deflate.flush(zlib.Z_SYNC_FLUSH) if self.flush == "after" else out

    def end(self) -> bytes:
        return self._deflate.flush() if self.flush is not None else b""


class Hop(Served):
    """An HTTP proxy in front of 127.0.0.1:*target*; without options nobody notices it.

    Args:
        hold: keeps an answer, its head too, until it has ended: a buffer.
        gzip: compresses for those who take gzip, and when it flushes.
        idle_s: ends both sides after so long without a byte of the answer.
        age_s: ends both sides so long after the request.

    Raises:
        ValueError: another way to flush.
    """

    def __init__(
        self, target: int, *, hold: bool = False, gzip: Flush | None = None, idle_s: float | None = None,
        age_s: float | None = None,
    ) -> None:  # fmt: skip
        if gzip not in (None, *get_args(Flush)):
            raise ValueError(f"gzip must be one of {', '.join(get_args(Flush))}, not {gzip!r}")
        super().__init__()
        self._target, self._hold, self._gzip, self._idle_s, self._age_s = target, hold, gzip, idle_s, age_s

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        near = h11.Connection(h11.SERVER)
        request = await _next(near, reader, None)
        if not isinstance(request, h11.Request):
            return
        await while_there(self._pass_on(near, request, writer), reader, self._age_s)

    async def _pass_on(self, near: h11.Connection, request: h11.Request, writer: asyncio.StreamWriter) -> None:
        reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        far, held, coder = h11.Connection(h11.CLIENT), list[bytes](), Coder(self._flush(request))

        async def send(event: h11.Event) -> None:
            if data := near.send(event):
                held.append(data)
            if not self._hold or isinstance(event, h11.EndOfMessage):
                writer.write(b"".join(held))
                held.clear()
                await writer.drain()

        try:
            far_writer.write((far.send(request) or b"") + (far.send(h11.EndOfMessage()) or b""))
            while True:
                event = await _next(far, reader, self._idle_s)
                if isinstance(event, h11.Response):
                    fields = [*event.headers, *([(b"content-encoding", b"gzip")] if coder.flush else [])]
                    await send(h11.Response(status_code=event.status_code, headers=fields))
                elif isinstance(event, h11.Data):
                    if data := coder.feed(bytes(event.data)):
                        await send(h11.Data(data=data))
                else:
                    if data := coder.end():
                        await send(h11.Data(data=data))
                    await send(h11.EndOfMessage())
                    return
        finally:
            far_writer.close()

    def _flush(self, request: h11.Request) -> Flush | None:
        accepted = dict(request.headers).get(b"accept-encoding", b"")
        return self._gzip if b"gzip" in accepted else None


async def _next(side: h11.Connection, reader: asyncio.StreamReader, idle_s: float | None) -> h11.Event:
    """The next event of one side.

    Raises:
        Cut: nothing came for so long.
    """
    while True:
        event = side.next_event()
        if event is not h11.NEED_DATA and event is not h11.PAUSED:
            return event  # type: ignore[return-value]
        try:
            async with asyncio.timeout(idle_s):
                side.receive_data(await reader.read(READ_BYTES))
        except TimeoutError:
            raise Cut from None
