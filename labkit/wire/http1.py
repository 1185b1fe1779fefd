"""HTTP/1.x heads, and how the body behind each is delimited (RFC 9112 sections 2 to 6).

For reading what others exchanged: it takes what both sides understood of each other, a bare LF as the end of a line
too (section 2.2), and does not refuse what is merely unusual. Not here: the coding of bodies (``chunks``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from labkit.errors import WireError

MAX_HEAD_BYTES = 1 << 16
FRAMING = "RFC 9112 section 6.3"

_END = re.compile(rb"\n\r?\n")
_REQUEST = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) (\S+) (HTTP/1\.[0-9])")
_STATUS = re.compile(r"(HTTP/1\.[0-9]) ([1-9][0-9]{2})(?: (.*))?")
_FIELD = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*")
_LENGTH = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Head:
    """A request's or a response's first lines.

    Attributes:
        version: ``HTTP/1.1``.
        method, target: of a request.
        status, reason: of a response.
        fields: (name, value) in the order sent.
        size_bytes: with the blank line, and with blank lines before it (section 2.2).
    """

    version: str
    fields: tuple[tuple[str, str], ...]
    size_bytes: int
    method: str = ""
    target: str = ""
    status: int = 0
    reason: str = ""
    values: Mapping[str, str] = field(init=False)
    """By name in lower case; what was sent several times is joined by commas (RFC 9110 section 5.2)."""

    def __post_init__(self) -> None:
        values: dict[str, str] = {}
        for name, value in self.fields:
            key = name.lower()
            values[key] = f"{values[key]}, {value}" if key in values else value
        object.__setattr__(self, "values", values)

    def has(self, name: str, option: str) -> bool:
        """Whether a field's list names this option, in any case."""
        return option in (part.strip().lower() for part in self.values.get(name, "").split(","))


def head_end(buffer: bytes | bytearray) -> int | None:
    """Where the head that *buffer* begins with ends; None while it is not whole.

    Raises:
        WireError: it is longer than anybody's.
    """
    start = 0
    while buffer[start : start + 1] in (b"\r", b"\n") and buffer[start : start + 1]:
        start += 1
    found = _END.search(buffer, start)
    if (found.end() if found else len(buffer)) > MAX_HEAD_BYTES:
        raise WireError(f"a head over {MAX_HEAD_BYTES} bytes", clause="RFC 9112 section 3")
    return found.end() if found else None


def read_request(raw: bytes) -> Head:
    """The head of a request.

    Raises:
        WireError: it is none (RFC 9112 sections 3 and 5).
    """
    first, fields = _lines(raw)
    found = _REQUEST.fullmatch(first)
    if found is None:
        raise WireError(f"not a request line: {first[:80]!r}", clause="RFC 9112 section 3")
    return Head(found[3], fields, len(raw), method=found[1], target=found[2])


def read_response(raw: bytes) -> Head:
    """The head of a response.

    Raises:
        WireError: it is none (RFC 9112 sections 4 and 5).
    """
    first, fields = _lines(raw)
    found = _STATUS.fullmatch(first)
    if found is None:
        raise WireError(f"not a status line: {first[:80]!r}", clause="RFC 9112 section 4")
    return Head(found[1], fields, len(raw), status=int(found[2]), reason=found[3] or "")


def _lines(raw: bytes) -> tuple[str, tuple[tuple[str, str], ...]]:
    first, *rest = raw.decode("latin-1").strip("\r\n").split("\n")
    fields: list[tuple[str, str]] = []
    for line in rest:
        line = line.rstrip("\r")
        if line[:1] in (" ", "\t") and fields:  # obsolete line folding (section 5.2)
            fields[-1] = fields[-1][0], f"{fields[-1][1]} {line.strip()}"
            continue
        found = _FIELD.fullmatch(line)
        if found is None:
            raise WireError(f"not a field: {line[:80]!r}", clause="RFC 9112 section 5")
        fields.append((found[1], found[2]))
    return first.rstrip("\r"), tuple(fields)


def body_length(head: Head, method: str = "") -> int | str:
    """How the body behind this head ends: after so many bytes, ``chunked``, or with the connection: ``close``.

    Args:
        method: of the request that a response answers.

    Raises:
        WireError: a length that is none, or a request whose coding does not say where it ends (section 6.3).
    """
    is_response = bool(head.status)
    if is_response and (method == "HEAD" or head.status < 200 or head.status in (204, 304)):
        return 0
    if is_response and method == "CONNECT" and head.status < 300:
        return "close"
    coding = head.values.get("transfer-encoding")
    if coding is not None and head.version != "HTTP/1.0":  # which has none (section 6.1)
        if coding.rpartition(",")[2].strip().lower() == "chunked":
            return "chunked"
        if is_response:
            return "close"
        raise WireError(f"a request whose coding ends nowhere: {coding[:40]!r}", clause=FRAMING)
    length = head.values.get("content-length")
    if length is None:
        return "close" if is_response else 0
    lengths = {part.strip() for part in length.split(",")}
    if len(lengths) != 1 or not _LENGTH.fullmatch(one := lengths.pop()):
        raise WireError(f"not a length: {length[:40]!r}", clause=FRAMING)
    return int(one)
