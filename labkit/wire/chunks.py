"""HTTP/1.1 chunked coding: the encoder, and a strict decoder of bodies as they come (RFC 9112 section 7.1).

Chunks that are given whole, with their extensions and trailers, are in ``whole_chunks.py``. Not here: the rest of HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from labkit.errors import WireError
from labkit.wire.chunk_lines import CODING, FIELDS, Extension, Field, Held, encode_extension, parse_field

_PLAIN_HEAD = re.compile(rb"([0-9A-Fa-f]{1,7})\r\n")


def encode_chunk(data: bytes, extensions: Iterable[Extension] = ()) -> bytes:
    """One chunk.

    Args:
        data: at least one byte, since a chunk of none ends the body.
        extensions: (name, value) pairs; None as value for a bare name. Values are quoted where they must be.

    Raises:
        WireError: no data (RFC 9112 section 7.1), or an extension that the grammar has no place for (7.1.1).
    """
    if not data:
        raise WireError("an empty chunk would end the body: use encode_last", clause=CODING)
    if not extensions:
        return b"%x\r\n%b\r\n" % (len(data), data)
    head = f"{len(data):x}" + "".join(encode_extension(*extension) for extension in extensions)
    return b"%b\r\n%b\r\n" % (head.encode("latin-1"), data)


def encode_last(trailers: Iterable[Field] = ()) -> bytes:
    """The last chunk, the trailer fields and the blank line after them.

    Raises:
        WireError: a field that does not parse (RFC 9112 section 5) or may not be a trailer (RFC 9110 section 6.5.1).
    """
    lines = []
    for name, value in trailers:
        line = f"{name}: {value}"
        if parse_field(line) != (name, value):
            raise WireError(f"not a field: {line[:80]!r}", clause=FIELDS)
        lines.append(line + "\r\n")
    return b"0\r\n%b\r\n" % "".join(lines).encode("latin-1")


class ChunkCutter:
    """A chunked body in, its framing and its bytes out as they come, of chunks that are not whole as well.

    No chunk is too large here, as none is held. Trailer fields are not handed over, and so one that should not be there
    is passed over (RFC 9110 section 6.5.1).

    Attributes:
        done: whether the body has ended.
        before_error: when ``pieces`` has raised, those of that read that came before the error.
    """

    def __init__(self) -> None:
        self.done = False
        self.before_error: list[tuple[int, bytes]] = []
        self._held = Held(any_trailers=True)
        self._has_head = False  # of the chunk under way
        self._left: int | None = None  # of its data
        self._error: WireError | None = None

    @property
    def leftover(self) -> bytes:
        """Bytes after the end of the body, which belong to the next response; none before it is done."""
        return bytes(self._held.buffer) if self.done else b""

    def pieces(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take what one read brought: (bytes of framing, the body's bytes behind them), in order.

        Raises:
            WireError: anything outside the grammar or over a limit. Every later call raises it again.
        """
        if self._error is not None:
            raise self._error
        found: list[tuple[int, bytes]] = []
        at = framing = 0
        if not self._held.buffer and not self._has_head:  # whole chunks without extensions, as nearly all: none is held
            while (head := _PLAIN_HEAD.match(data, at)) is not None:
                start, stop = head.end(), head.end() + int(head[1], 16)
                if start == stop or data[stop : stop + 2] != b"\r\n":
                    break
                found.append((framing + start - at, data[start:stop]))
                at, framing = stop + 2, 2
            if at == len(data):
                return [*found, (framing, b"")] if framing else found
        self._held.buffer += data[at:]
        try:
            self._cut(found, framing)
        except WireError as error:
            self._error, self.before_error = error, found
            raise
        return found

    def _cut(self, found: list[tuple[int, bytes]], framing: int) -> None:
        """Cut what is held, behind so many bytes of *framing*."""
        buffer = self._held.buffer
        try:
            while not self.done and buffer:
                before = len(buffer)
                if self._left:
                    piece = bytes(buffer[: self._left])
                    self._left -= len(piece)
                    del buffer[: len(piece)]
                    found.append((framing, piece))
                    framing = 0
                    continue
                if self._left is not None:
                    if not self._held.has_end_of_data(0):
                        return
                    del buffer[:2]
                    self._left, self._has_head = None, False
                elif self._has_head:
                    self.done = self._held.take_trailers()
                elif (head := self._held.head()) is not None:
                    self._left, self._has_head = head[0] or None, True
                framing += before - len(buffer)
                if before == len(buffer):
                    return
        finally:
            if framing:
                found.append((framing, b""))
