"""The healthy stream: a server of a few lines, whose answers are event streams that end as they should."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Self

from labkit import loop
from labkit.course.background import cancelled

EVERY_S = 0.15
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nConnection: close\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LAST = b"0\r\n\r\n"
BEAT = b":\n\n"
READ_BYTES = 1 << 16

Pauses = Callable[[int], Sequence[float]]
"""Of an answer, by which one it is from 0: how long it waits before each of its events, in seconds."""


def steadily(count: int, every_s: float = EVERY_S) -> Pauses:
    return lambda _: [every_s] * count


def chunk(data: bytes) -> bytes:
    """RFC 9112 section 7.1."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def while_there(answering: Coroutine[Any, Any, None], reader: asyncio.StreamReader,
                      most_s: float | None = None) -> None:  # fmt: skip
    """Answer a client until it has gone, and for no longer than *most_s*."""
    tasks = [asyncio.ensure_future(answering), asyncio.ensure_future(_left(reader))]
    try:
        await asyncio.wait(tasks, timeout=most_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancelled(*tasks)


async def _left(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(READ_BYTES):
            pass


class Served:
    """A server on 127.0.0.1, on the lab loop, from ``start`` to ``close``."""

    def __init__(self) -> None:
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/events"

    def start(self) -> Self:
        loop.run(self._start())
        return self

    def close(self) -> None:
        loop.run(self._close())

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer whatever a connection asks."""
        raise NotImplementedError

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        await cancelled(*self._tasks)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._converse(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, EOFError):
                await self.answer(reader, writer)
        finally:
            writer.close()


class Stream(Served):
    """Events one after the other.

    Args:
        beat_s: after so long without one a comment is sent; None: never.
        after_s: how long the last event waits for the end.
    """

    def __init__(self, pauses: Pauses, beat_s: float | None = None, after_s: float = 0.0) -> None:
        super().__init__()
        self._pauses, self._beat_s, self._after_s = pauses, beat_s, after_s
        self._numbers = itertools.count()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        await while_there(self._say(asked, writer), reader)

    async def _say(self, asked: bytes, writer: asyncio.StreamWriter) -> None:
        is_old = b" HTTP/1.0\r\n" in asked  # which knows no chunks: the end of the connection is the end
        writer.write(HEAD + (b"" if is_old else CHUNKED) + b"\r\n")

        async def write(data: bytes) -> None:
            writer.write(data if is_old else chunk(data))
            await writer.drain()

        for number, pause_s in enumerate(self._pauses(next(self._numbers)), 1):
            while self._beat_s is not None and pause_s > self._beat_s:
                await asyncio.sleep(self._beat_s)
                pause_s -= self._beat_s
                await write(BEAT)
            await asyncio.sleep(pause_s)
            await write(f"id: {number}\ndata: event {number}\n\n".encode())
        await asyncio.sleep(self._after_s)
        writer.write(b"" if is_old else LAST)
        await writer.drain()
