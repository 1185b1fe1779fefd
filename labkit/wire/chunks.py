"""HTTP/1.1 chunked coding: encoder and strict decoder (RFC 9112 section 7.1).

Strict, because every leniency here (a bare LF, blanks after a size, a sign) has let two parsers disagree about
where a body ends, which is how requests are smuggled (RFC 9112 section 11.2). Not here: the rest of HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from labkit.errors import WireError

CODING = "RFC 9112 section 7.1"
EXTENSIONS = "RFC 9112 section 7.1.1"
TRAILER_SECTION = "RFC 9112 section 7.1.2"
LINES = "RFC 9112 section 2.2"
FIELDS = "RFC 9112 section 5"
INCOMPLETE = "RFC 9112 section 8"
TRAILER_LIMITS = "RFC 9110 section 6.5.1"

_TOKEN_TEXT = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED_TEXT = r'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_TOKEN = re.compile(_TOKEN_TEXT)
_PLAIN_HEAD = re.compile(rb"([0-9A-Fa-f]{1,7})\r\n")
_SIZE = re.compile(r"[0-9A-Fa-f]+")
_EXTENSION = re.compile(rf"[ \t]*;[ \t]*({_TOKEN_TEXT})(?:[ \t]*=[ \t]*({_TOKEN_TEXT}|{_QUOTED_TEXT}))?")
_VISIBLE = re.compile(r"[\t -~\x80-\xff]*")

FORBIDDEN_TRAILERS = frozenset(
    # framing and routing; modifiers and conditions; authentication; control data and format of the content
    "transfer-encoding content-length host connection trailer te upgrade keep-alive proxy-connection "
    "cache-control expect max-forwards pragma range if-match if-none-match if-modified-since if-unmodified-since "
    "if-range authorization proxy-authorization www-authenticate proxy-authenticate cookie set-cookie "
    "age date expires location retry-after vary warning content-encoding content-type content-range".split()
)

Extension = tuple[str, str | None]
Field = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk: its data, and its extensions as (name, value), value None where there was no ``=``."""

    data: bytes
    extensions: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class Trailers:
    """The end of the body: its trailer fields as (name, value) in the order sent."""

    fields: tuple[Field, ...] = ()


def _encode_extension(name: str, value: str | None) -> str:
    if not _TOKEN.fullmatch(name):
        raise WireError(f"extension name {name!r} is not a token", clause=EXTENSIONS)
    if value is None:
        return f";{name}"
    if _TOKEN.fullmatch(value):
        return f";{name}={value}"
    if not _VISIBLE.fullmatch(value):
        raise WireError(f"extension value {value!r} cannot be quoted", clause=EXTENSIONS)
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return f';{name}="{quoted}"'


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
    head = f"{len(data):x}" + "".join(_encode_extension(*extension) for extension in extensions)
    return b"%b\r\n%b\r\n" % (head.encode("latin-1"), data)


def encode_last(trailers: Iterable[Field] = ()) -> bytes:
    """The last chunk, the trailer fields and the blank line after them.

    Raises:
        WireError: a field that does not parse (RFC 9112 section 5) or may not be a trailer (RFC 9110 section 6.5.1).
    """
    lines = []
    for name, value in trailers:
        line = f"{name}: {value}"
        if _parse_field(line) != (name, value):
            raise WireError(f"not a field: {line[:80]!r}", clause=FIELDS)
        lines.append(line + "\r\n")
    return b"0\r\n%b\r\n" % "".join(lines).encode("latin-1")


def _parse_size(line: str) -> tuple[int, tuple[Extension, ...]]:
    size = _SIZE.match(line)
    if size is None:
        raise WireError(f"a chunk begins with its size in hexadecimal, not {line[:40]!r}", clause=CODING)
    extensions: list[Extension] = []
    position = size.end()
    while position < len(line):
        found = _EXTENSION.match(line, position)
        if found is None:
            rest = line[position:]
            clause = EXTENSIONS if extensions or rest.lstrip(" \t").startswith(";") else CODING
            raise WireError(f"neither an extension nor the end of the line: {rest[:40]!r}", clause=clause)
        extensions.append((found[1], _unquote(found[2])))
        position = found.end()
    return int(size[0], 16), tuple(extensions)


def _unquote(value: str | None) -> str | None:
    if value is None or not value.startswith('"'):
        return value
    return re.sub(r"\\(.)", r"\1", value[1:-1])


def _parse_field(line: str, *, any_name: bool = False) -> Field:
    name, colon, value = line.partition(":")
    if not (colon and _TOKEN.fullmatch(name) and _VISIBLE.fullmatch(value)):
        raise WireError(f"not a field: {line[:80]!r}", clause=FIELDS)
    if not any_name and name.lower() in FORBIDDEN_TRAILERS:
        raise WireError(f"{name} may not be a trailer field", clause=TRAILER_LIMITS)
    return name, value.strip(" \t")


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
        self.pieces_before_error: list[tuple[int, bytes]] = []
        self._max_chunk_bytes = max_chunk_bytes
        self._max_line_bytes = max_line_bytes
        self._trailer_bytes_left = max_trailer_bytes
        self._buffer = bytearray()
        self._head: tuple[int, tuple[Extension, ...]] | None = None  # size and extensions of the chunk under way
        self._left: int | None = None  # of its data, for ``pieces``
        self._trailers: list[Field] = []
        self._hands_over_trailers = True
        self._error: WireError | None = None

    @property
    def leftover(self) -> bytes:
        """Bytes after the end of the body, which belong to the next response; none before it is done."""
        return bytes(self._buffer) if self.done else b""

    def feed(self, data: bytes) -> list[Chunk | Trailers]:
        """Take what one read brought and return the chunks that it completed.

        Raises:
            WireError: anything outside the grammar or over a limit. Every later call raises it again.
        """
        if self._error is not None:
            raise self._error
        self._buffer += data
        items: list[Chunk | Trailers] = []
        try:
            while not self.done and (item := self._next()) is not None:
                items.append(item)
        except WireError as error:
            self._error, self.before_error = error, items
            raise
        return items

    def pieces(self, data: bytes) -> list[tuple[int, bytes]]:
        """The same as it comes, chunks that are not whole included: (bytes of framing, the body's bytes behind them).

        A decoder is fed with this or with ``feed``, not with both. No chunk is too large here, as none is held. Trailer
        fields are not handed over, and so one that should not be there is passed over (RFC 9110 section 6.5.1).

        Raises:
            WireError: as ``feed``; what came before it is in ``pieces_before_error``.
        """
        if self._error is not None:
            raise self._error
        self._hands_over_trailers = False
        found: list[tuple[int, bytes]] = []
        at = framing = 0
        if not self._buffer and self._head is None:  # whole chunks without extensions, as nearly all: nothing is held
            while (head := _PLAIN_HEAD.match(data, at)) is not None:
                start, stop = head.end(), head.end() + int(head[1], 16)
                if start == stop or data[stop : stop + 2] != b"\r\n":
                    break
                found.append((framing + start - at, data[start:stop]))
                at, framing = stop + 2, 2
            if at == len(data):
                return [*found, (framing, b"")] if framing else found
        self._buffer += data[at:]
        try:
            self._cut(found, framing)
        except WireError as error:
            self._error, self.pieces_before_error = error, found
            raise
        return found

    def eof(self) -> None:
        """Say that the connection has ended.

        Raises:
            WireError: the body had not (RFC 9112 section 8).
        """
        if not self.done:
            raise self._error or WireError("the connection ended inside a chunked body", clause=INCOMPLETE)

    def _cut(self, found: list[tuple[int, bytes]], framing: int) -> None:
        """Cut what is held, behind so many bytes of *framing*."""
        buffer = self._buffer
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
                    if not self._end_of_data(0):
                        return
                    del buffer[:2]
                    self._left = self._head = None
                elif self._head is not None:
                    self._trailer_section()
                elif (line := self._line()) is not None:
                    self._head = _parse_size(line)
                    self._left = self._head[0] or None
                framing += before - len(buffer)
                if before == len(buffer):
                    return
        finally:
            if framing:
                found.append((framing, b""))

    def _next(self) -> Chunk | Trailers | None:
        if self._head is None:
            line = self._line()
            if line is None:
                return None
            self._head = _parse_size(line)
            if self._head[0] > self._max_chunk_bytes:
                raise WireError(f"chunk over {self._max_chunk_bytes} bytes", clause=CODING)
        size, extensions = self._head
        return self._data(size, extensions) if size else self._trailer_section()

    def _line(self) -> str | None:
        """The next line without its CRLF, as Latin-1; None until it is whole."""
        end = self._buffer.find(b"\n", 0, self._max_line_bytes)
        if end < 0:
            if len(self._buffer) >= self._max_line_bytes:
                raise WireError(f"a line over {self._max_line_bytes} bytes", clause=CODING)
            return None
        line = self._buffer[: end + 1].decode("latin-1")
        if not line.endswith("\r\n"):
            raise WireError("a line ends with LF alone", clause=LINES)
        del self._buffer[: end + 1]
        return line[:-2]

    def _end_of_data(self, at: int) -> bool:
        """Whether the CRLF behind a chunk's data is there."""
        end = bytes(self._buffer[at : at + 2])
        if not b"\r\n".startswith(end):
            raise WireError(f"chunk data is followed by {end!r}, not by CRLF", clause=CODING)
        return len(end) == 2

    def _data(self, size: int, extensions: tuple[Extension, ...]) -> Chunk | None:
        if not self._end_of_data(size):
            return None
        with memoryview(self._buffer) as view:
            chunk = Chunk(bytes(view[:size]), extensions)
        del self._buffer[: size + 2]
        self._head = None
        return chunk

    def _trailer_section(self) -> Trailers | None:
        while (line := self._line()) is not None:
            if not line:
                self.done = True
                return Trailers(tuple(self._trailers))
            self._trailer_bytes_left -= len(line) + 2
            if self._trailer_bytes_left < 0:
                raise WireError("too many trailer fields", clause=TRAILER_SECTION)
            self._trailers.append(_parse_field(line, any_name=not self._hands_over_trailers))
        return None
