"""Chunks whole, with their extensions, and at last the trailers: a strict decoder (RFC 9112 section 7.1).

For who asks where chunks begin and end; a body is read as it comes (``chunks.py``).
"""

from __future__ import annotations

from dataclasses import dataclass

from labkit.errors import WireError
from labkit.wire.chunk_lines import CODING, INCOMPLETE, Extension, Field, Held


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk: its data, and its extensions as (name, value), value None where there was no ``=``."""

    data: bytes
    extensions: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class Trailers:
    """The end of the body: its trailer fields as (name, value) in the order sent."""

    fields: tuple[Field, ...] = ()


class ChunkDecoder:
    """A chunked body in, whole chunks and finally its trailers out.

    Args:
        max_chunk_bytes: the largest chunk.
        max_line_bytes: the longest line (size and extensions, or one trailer field), its CRLF included.
        max_trailer_bytes: all trailer fields together.

    Attributes:
        done: whether the body has ended; ``Trailers`` was then the last value returned.
        before_error: when ``feed`` has raised, the chunks of that read that came whole before the error.
    """

    def __init__(
        self, *, max_chunk_bytes: int = 1 << 24, max_line_bytes: int = 1 << 13, max_trailer_bytes: int = 1 << 16
    ) -> None:
        self.done = False
        self.before_error: list[Chunk | Trailers] = []
        self._max_chunk_bytes = max_chunk_bytes
        self._held = Held(max_line_bytes, max_trailer_bytes)
        self._head: tuple[int, tuple[Extension, ...]] | None = None  # size and extensions of the chunk under way
        self._error: WireError | None = None

    @property
    def leftover(self) -> bytes:
        """Bytes after the end of the body, which belong to the next response; none before it is done."""
        return bytes(self._held.buffer) if self.done else b""

    def feed(self, data: bytes) -> list[Chunk | Trailers]:
        """Take what one read brought and return the chunks that it completed.

        Raises:
            WireError: anything outside the grammar or over a limit. Every later call raises it again.
        """
        if self._error is not None:
            raise self._error
        self._held.buffer += data
        items: list[Chunk | Trailers] = []
        try:
            while not self.done and (item := self._next()) is not None:
                items.append(item)
        except WireError as error:
            self._error, self.before_error = error, items
            raise
        return items

    def eof(self) -> None:
        """Say that the connection has ended.

        Raises:
            WireError: the body had not (RFC 9112 section 8).
        """
        if not self.done:
            raise self._error or WireError("the connection ended inside a chunked body", clause=INCOMPLETE)

    def _next(self) -> Chunk | Trailers | None:
        if self._head is None:
            self._head = self._held.head()
            if self._head is None:
                return None
            if self._head[0] > self._max_chunk_bytes:
                raise WireError(f"chunk over {self._max_chunk_bytes} bytes", clause=CODING)
        size, extensions = self._head
        if size:
            return self._data(size, extensions)
        self.done = self._held.take_trailers()
        return Trailers(tuple(self._held.trailers)) if self.done else None

    def _data(self, size: int, extensions: tuple[Extension, ...]) -> Chunk | None:
        if not self._held.has_end_of_data(size):
            return None
        with memoryview(self._held.buffer) as view:
            chunk = Chunk(bytes(view[:size]), extensions)
        del self._held.buffer[: size + 2]
        self._head = None
        return chunk
