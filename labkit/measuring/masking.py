"""What a run's connections carried without what lets somebody in: for files that are handed on.

The values of the fields below are written over, in heads alone and byte for byte, so that lengths, places and times
stay as they were. A connection of which nobody told what its bytes were for, a relay's, is read as if all were heads.

In HTTP/2 a value is a string of its field block (RFC 7541 section 5.2), and a relay's copy of it is known by its bytes.

Of an address in a head, the query values that are called as what lets somebody in (``token=``) are written over too.

Not here: secrets in paths, and in what events carry.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from labkit.client.ledger import ConnectionRecord, Ledger, Transfer
from labkit.wire.hpack import value_of
from labkit.wire.spans import Direction

if TYPE_CHECKING:
    from labkit.measuring.recording import Recording

FIELDS = ("Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie")
LEFT_OUT = b"(left out)"
QUERY = (
    r"[?&;#](?=[a-z0-9_.-]+=)(?:[a-z0-9_.-]*(?:token|secret|password|passwd|signature|credential|apikey|api[_-]key|session)"
    r"[a-z0-9_.-]*|(?:[a-z0-9_.-]*[_.-])?key|sig|sid|auth|jwt|code)="
)
"""What stands in an address before a value that lets somebody in, by its name; in any case."""
VALUE = r"([^&;\s\"#]+)"
_QUERY = re.compile((QUERY + VALUE).encode(), re.IGNORECASE)
_LINE = rb"[^\r\n]*(?:\r(?!\n)[^\r\n]*)*"
"""Up to its end: a bare CR ends none (RFC 9112 section 2.2)."""
WAYS: tuple[Direction, Direction] = ("out", "in")

_TOKEN = re.compile(rb'\A\{"subscribe"[^\0]*?"token"\s*:\s*"((?:[^"\\\0]|\\.)+)"')
"""Of a plugin socket's first message, which has no head."""

_STAR_CODED = b"\xf9"
"""``*`` in Huffman's code (RFC 7541 appendix B): of one byte, so that what is written over is still a string."""
_SURELY_BYTES = 6  # of a coded value that is looked for in other connections

Place = tuple[int, int, bytes]
"""From where to where in one direction's stream, and what is written there."""


def without_secrets(run: Recording) -> Ledger:
    """The run's connections, with placeholders for what is said in :data:`FIELDS`, in whatever fields it was told to
    send besides, and for a plugin socket's token."""
    masked, named = Ledger(run.ledger.keep_bytes), (*FIELDS, *run.settings.get("headers", ()))
    field = re.compile(
        rb"(?:^|\n)(?:%b)[ \t]*:[ \t]*(?:\r?\n[ \t]+)*(?:(?:Basic|Bearer|Digest|Negotiate)[ \t]+)?"
        rb"(?!\r?\n)(%b(?:\r?\n[ \t]%b)*)" % ("|".join(map(re.escape, named)).encode(), _LINE, _LINE),
        re.IGNORECASE,
    )
    names, copies = frozenset(name.lower() for name in named), dict[bytes, bytes]()
    told = {
        id(record): {way: [*_in_heads(record, way, field), *_in_blocks(record, way, names, copies)] for way in WAYS}
        for record in run.ledger.connections
    }
    for record in run.ledger.connections:
        if copies and not record.marks:
            for way in WAYS:
                told[id(record)][way] += _copied(record, way, copies)
    masked.connections = [_masked(record, told[id(record)]) for record in run.ledger.connections]
    return masked


def placeholder(size: int) -> bytes:
    """As many bytes, which say what they are where there is room."""
    return LEFT_OUT.ljust(size, b"*") if size >= len(LEFT_OUT) else b"*" * size


def _masked(record: ConnectionRecord, found: Mapping[Direction, list[Place]]) -> ConnectionRecord:
    if not any(found.values()):
        return record
    streams = {way: _written_over(*_held(record, way), found[way]) for way in WAYS}
    transfers = deque[Transfer]()
    for transfer in record.transfers:
        first, stream = streams[transfer.direction]
        data = stream[transfer.start - first : transfer.stop - first]
        transfers.append(transfer if data == transfer.data else replace(transfer, data=data))
    return replace(record, transfers=transfers)


def _held(record: ConnectionRecord, direction: Direction) -> tuple[int, bytes]:
    """Where the bytes begin that are held of one direction, and these."""
    held = [transfer for transfer in record.transfers if transfer.direction == direction]
    return (held[0].start if held else 0), b"".join(transfer.data for transfer in held)


def _in_blocks(
    record: ConnectionRecord, direction: Direction, names: frozenset[str], copies: dict[bytes, bytes]
) -> Iterator[Place]:
    """Where the field blocks of HTTP/2 have them: there a mark is of one field, and called as that.

    Args:
        copies: what is found is added, with what is to stand for it.
    """
    marks = [m for m in record.marks if (m.category, m.direction) == ("headers", direction) and m.label in names]
    first, stream = _held(record, direction) if marks else (0, b"")
    for mark in marks:
        one = stream[max(0, mark.start - first) : max(0, mark.stop - first)]
        if mark.start < first:  # the rest of one that was let go
            yield first, mark.stop, _STAR_CODED * len(one)
        elif (found := value_of(one)) is not None:
            at, is_coded = found
            text = _STAR_CODED * (len(one) - at) if is_coded else placeholder(len(one) - at)
            if len(text) >= _SURELY_BYTES:
                copies[one[at:]] = text
            yield mark.start + at, mark.stop, text


def _copied(record: ConnectionRecord, direction: Direction, copies: Mapping[bytes, bytes]) -> Iterator[Place]:
    first, stream = _held(record, direction)
    for value, text in copies.items():
        at = stream.find(value)
        while at >= 0:
            yield first + at, first + at + len(value), text
            at = stream.find(value, at + len(value))


def _in_heads(record: ConnectionRecord, direction: Direction, field: re.Pattern[bytes]) -> Iterator[Place]:
    """Where the heads of HTTP/1 have them, and a plugin socket's first message."""
    first, stream = _held(record, direction)
    if not stream:
        return
    heads = [(m.start, m.stop) for m in record.marks if (m.category, m.direction) == ("headers", direction)]
    for start, stop in heads if record.marks else [(first, first + len(stream))]:
        raw = stream[max(0, start - first) : max(0, stop - first)]
        if start < first and raw:  # the line that it begins with may be the rest of a secret
            rest = len(raw.partition(b"\n")[0])
            yield first, first + rest, placeholder(rest)
        for pattern, blank in ((field, b" "), (_QUERY, b"-")):  # a request's target holds none (RFC 9112 section 3.2)
            for match in pattern.finditer(raw):
                at, size = max(start, first) + match.start(1), len(match[1])
                yield at, at + size, placeholder(size).replace(b" ", blank)
    if direction == "out" and not first and (token := _TOKEN.match(stream)) is not None:
        yield *token.span(1), placeholder(len(token[1]))


def _written_over(first: int, stream: bytes, places: list[Place]) -> tuple[int, bytes]:
    """The same, with what is to stand in these places."""
    data = bytearray(stream)
    for start, stop, text in places:
        begin, end = max(start, first), min(stop, first + len(stream))
        if begin < end:
            data[begin - first : end - first] = text[begin - start : end - start]
    return first, bytes(data)
