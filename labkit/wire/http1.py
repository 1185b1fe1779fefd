"""HTTP/1.x heads, and how the body behind each is delimited (RFC 9112 sections 2 to 6).

Written strictly: nothing goes into a head that could end a line of it. Read as both sides of an exchange would
understand each other: a bare LF ends a line too (section 2.2), and what is merely unusual is not refused. Not here: the
coding of bodies (``chunks``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from labkit.errors import WireError

MAX_HEAD_BYTES = 1 << 16
BLANKS = " \t"
"""Around a value (RFC 9110 section 5.6.3). Not what else Python strips, which other readers take for a part of it."""
FRAMING = "RFC 9112 section 6.3"
VALUES = "RFC 9110 section 5.5"
PROTOCOL = "websocket"  # that Upgrade asks for; the name of the protocol, not of a technique

_END = re.compile(rb"\n\r?\n")
_BLANK_LINES = re.compile(rb"[\r\n]*")
TARGET = re.compile(r"[!-~]+")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*(.*)")
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_UNSAID = re.compile(
    r"[^\x20-\x7e\xa0-\U0010ffff]|[\u2028\u2029\ud800-\udfff]"
    r"|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # these turn the rest of a line around (UAX 9)
)
_REQUEST = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~\x80-\xff]+) (HTTP/1\.[0-9])")
_STATUS = re.compile(r"(HTTP/1\.[0-9]) ([1-9][0-9]{2})(?: (.*))?")
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
        return option in (part.strip(BLANKS).lower() for part in self.values.get(name, "").split(","))


def field_value(value: str | bytes) -> bytes:
    """A field's value as it is sent (Fetch section 2.2.2): without blanks around it; text is one byte a character.

    Raises:
        WireError: it holds NUL, CR or LF, or text that bytes cannot be.
    """
    try:
        raw = value if isinstance(value, bytes) else value.encode("latin-1")
    except UnicodeEncodeError as error:  # what else it says may be a key
        found = error.object[error.start]
        raise WireError(f"text beyond Latin-1 is no field's value, and {found!r} is in it", clause=VALUES) from None
    raw = raw.strip(b" \t\r\n")
    if any(byte in raw for byte in b"\0\r\n"):
        raise WireError("a field's value holds no NUL, CR or LF", clause=VALUES)
    return raw


def request_head(method: str, target: str, fields: Iterable[tuple[str, str | bytes]], version: str = "1.1") -> bytes:
    """The head of a request.

    Raises:
        WireError: a method or a field's name that is no token, a target with a blank or beyond ASCII (RFC 9112 section
            3), a value that cannot be sent.
    """
    if not TOKEN.fullmatch(method) or not TARGET.fullmatch(target):
        raise WireError(f"no request line: {method[:20]!r} {target[:80]!r}", clause="RFC 9112 section 3")
    lines = [f"{method} {target} HTTP/{version}".encode()]
    for name, value in fields:
        if not TOKEN.fullmatch(name):
            raise WireError(f"no field's name: {name[:40]!r}", clause="RFC 9110 section 5.1")
        lines.append(name.encode() + b": " + field_value(value))
    return b"\r\n".join([*lines, b"", b""])


def printable(text: str, most: int = 200) -> str:
    """What a server said, for people to read: no controls in it, of text's direction neither, and not too much."""
    return without_controls(text[: 4 * most]).strip()[:most]


def without_controls(text: str) -> str:
    """The text with a blank for each character that a terminal would do something at."""
    return _UNSAID.sub(" ", text)


def head_end(buffer: bytes | bytearray, searched: int = 0) -> int | None:
    """Where the head that *buffer* begins with ends; None while it is not whole.

    Args:
        searched: how much of it was there before, without an end.

    Raises:
        WireError: it is longer than anybody's.
    """
    blank = _BLANK_LINES.match(buffer)
    found = _END.search(buffer, max(blank.end() if blank else 0, searched - 2))
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
    first, *rest = raw.decode("latin-1").strip("\r\n").replace("\0", " ").split("\n")
    fields: list[tuple[str, str]] = []
    for line in rest:
        line = line.rstrip("\r").replace("\r", " ")  # a bare CR is a blank (section 2.2), and so is NUL (9110 5.5)
        if line[:1] in (" ", "\t") and fields:  # obsolete line folding (section 5.2)
            fields[-1] = fields[-1][0], f"{fields[-1][1]} {line.strip(BLANKS)}"
            continue
        name, colon, value = line.partition(":")
        if not colon or not TOKEN.fullmatch(name):
            raise WireError(f"not a field: {line[:80]!r}", clause="RFC 9112 section 5")
        fields.append((name, value.strip(BLANKS)))
    return first.rstrip("\r"), tuple(fields)


def origin_form(target: str) -> str:
    """A request's target without the server's name, where it has one, as towards a proxy (RFC 9112 section 3.2.2)."""
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        return target
    return found[1] if found[1].startswith("/") else f"/{found[1]}"


def is_tunnel(head: Head, method: str) -> bool:
    """Whether all behind this answer to a request of that *method* is somebody else's (section 6.3)."""
    return method == "CONNECT" and 200 <= head.status < 300


def body_length(head: Head, method: str = "") -> int | str:
    """How the body behind this head ends: after so many bytes, ``chunked``, or with the connection: ``close``.

    Args:
        method: of the request that a response answers.

    Raises:
        WireError: a length that is none, or a request whose coding does not say where it ends (section 6.3).
    """
    is_response = bool(head.status)
    if is_tunnel(head, method):
        return "close"
    if is_response and (method == "HEAD" or head.status < 200 or head.status in (204, 304)):
        return 0
    coding = head.values.get("transfer-encoding")
    if coding is not None and head.version != "HTTP/1.0":  # which has none (section 6.1)
        if coding.rpartition(",")[2].strip(BLANKS).lower() == "chunked":
            return "chunked"
        if is_response:
            return "close"
        raise WireError(f"a request whose coding ends nowhere: {coding[:40]!r}", clause=FRAMING)
    length = head.values.get("content-length")
    if length is None:
        return "close" if is_response else 0
    lengths = {part.strip(BLANKS) for part in length.split(",")}
    if len(lengths) != 1 or not _LENGTH.fullmatch(one := lengths.pop()):
        raise WireError(f"not a length: {length[:40]!r}", clause=FRAMING)
    return int(one)
