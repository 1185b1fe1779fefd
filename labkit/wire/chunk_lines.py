"""The lines of HTTP/1.1's chunked coding: a chunk's size with its extensions, a trailer field (RFC 9112 section 7.1).

Strict, because every leniency here (a bare LF, blanks after a size, a sign) has let two parsers disagree about
where a body ends, which is how requests are smuggled (RFC 9112 section 11.2). Not here: the data between them.
"""

from __future__ import annotations

import re

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


def encode_extension(name: str, value: str | None) -> str:
    """An extension behind its semicolon.

    Raises:
        WireError: the grammar has no place for it (RFC 9112 section 7.1.1).
    """
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


def parse_field(line: str, *, any_name: bool = False) -> Field:
    """Name and value of a trailer field; *any_name*: of one that may not be a trailer as well.

    Raises:
        WireError: it does not parse, or may not be a trailer.
    """
    name, colon, value = line.partition(":")
    if not (colon and _TOKEN.fullmatch(name) and _VISIBLE.fullmatch(value)):
        raise WireError(f"not a field: {line[:80]!r}", clause=FIELDS)
    if not any_name and name.lower() in FORBIDDEN_TRAILERS:
        raise WireError(f"{name} may not be a trailer field", clause=TRAILER_LIMITS)
    return name, value.strip(" \t")


class Held:
    """What is held of a chunked body, and the lines that it begins with.

    Args:
        max_line_bytes: the longest line (size and extensions, or one trailer field), its CRLF included.
        max_trailer_bytes: all trailer fields together.
        any_trailers: whether a field that may not be a trailer is passed over (RFC 9110 section 6.5.1).

    Attributes:
        buffer: the bytes.
        trailers: fields as (name, value) in the order sent.
    """

    __slots__ = ("_any_trailers", "_max_line_bytes", "_trailer_bytes_left", "buffer", "trailers")

    def __init__(
        self, max_line_bytes: int = 1 << 13, max_trailer_bytes: int = 1 << 16, *, any_trailers: bool = False
    ) -> None:
        self.buffer = bytearray()
        self.trailers: list[Field] = []
        self._max_line_bytes = max_line_bytes
        self._trailer_bytes_left = max_trailer_bytes
        self._any_trailers = any_trailers

    def head(self) -> tuple[int, tuple[Extension, ...]] | None:
        """Take a chunk's size and extensions; None until their line is whole."""
        line = self._line()
        return None if line is None else _parse_size(line)

    def has_end_of_data(self, at: int) -> bool:
        """Whether the CRLF behind a chunk's data is there."""
        end = bytes(self.buffer[at : at + 2])
        if not b"\r\n".startswith(end):
            raise WireError(f"chunk data is followed by {end!r}, not by CRLF", clause=CODING)
        return len(end) == 2

    def take_trailers(self) -> bool:
        """Take the trailer fields that are here; whether they have ended."""
        while (line := self._line()) is not None:
            if not line:
                return True
            self._trailer_bytes_left -= len(line) + 2
            if self._trailer_bytes_left < 0:
                raise WireError("too many trailer fields", clause=TRAILER_SECTION)
            self.trailers.append(parse_field(line, any_name=self._any_trailers))
        return False

    def _line(self) -> str | None:
        """The next line without its CRLF, as Latin-1; None until it is whole."""
        end = self.buffer.find(b"\n", 0, self._max_line_bytes)
        if end < 0:
            if len(self.buffer) >= self._max_line_bytes:
                raise WireError(f"a line over {self._max_line_bytes} bytes", clause=CODING)
            return None
        line = self.buffer[: end + 1].decode("latin-1")
        if not line.endswith("\r\n"):
            raise WireError("a line ends with LF alone", clause=LINES)
        del self.buffer[: end + 1]
        return line[:-2]
