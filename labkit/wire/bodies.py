"""How a body is read: a decoder that cuts it, behind it a reader of what it carries, and before both its coding.

None of the three knows the others. A :class:`Reading` takes the bytes of one body as they come, of any size, and
gives items: a value and what each of its bytes was for. What it has not given when the body ends never became whole.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from labkit.errors import WireError
from labkit.wire.codings import CODINGS, Decoder, Undecodable, decoder, is_readable
from labkit.wire.delimited import Delimited
from labkit.wire.event_stream import EventStreamDecoder
from labkit.wire.first_word import Blocks, Words, answers
from labkit.wire.multipart import PartDecoder, boundary_of
from labkit.wire.spans import MAX_HELD_BYTES, MAX_ITEM_BYTES, TOO_LONG, Category, Item, Run, spliced

LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines",
         "application/jsonlines")  # fmt: skip
"""What servers call a stream of a JSON text in each line: none of it is registered."""
_MOST_CODINGS = 3


class Reading(Protocol):
    """One body, as it is read."""

    def items(self, data: bytes) -> list[Item]:
        """Take what one read brought; give what it completed, all bytes up to there told."""

    def end(self) -> list[Item]:
        """The body has ended as it should; what that completed."""


class Whole:
    """A body that is one item, whole when it ends; payload, unless another category is said."""

    def __init__(
        self, label: str = "", category: Category = "payload", *, max_item_bytes: int | None = MAX_ITEM_BYTES
    ) -> None:
        self._label = label
        self._category = category
        self._max_item_bytes = max_item_bytes
        self._body = bytearray()
        self._skipping = False

    def items(self, data: bytes) -> list[Item]:
        if self._skipping:
            return [(None, [(len(data), "payload", TOO_LONG, None)])] if data else []
        self._body += data
        if self._max_item_bytes is None or len(self._body) <= self._max_item_bytes:
            return []
        self._skipping, size = True, len(self._body)
        self._body.clear()
        return [(None, [(size, "payload", TOO_LONG, None)])]

    def end(self) -> list[Item]:
        body = bytes(self._body)
        self._body.clear()
        return [(body, [(len(body), self._category, self._label, None)])] if body else []


class AsItComes:
    """A body that is handed over as it comes, read by read."""

    def __init__(self, label: str = "", category: Category = "payload") -> None:
        self._label = label
        self._category = category

    def items(self, data: bytes) -> list[Item]:
        return [(data, [(len(data), self._category, self._label, None)])] if data else []

    def end(self) -> list[Item]:
        return []


class Opaque:
    """A body of which nothing is read: payload by default, and its label says why."""

    def __init__(self, label: str, category: Category = "payload") -> None:
        self._label = label
        self._category = category

    def items(self, data: bytes) -> list[Item]:
        return [(None, [(len(data), self._category, self._label, None)])] if data else []

    def end(self) -> list[Item]:
        return []


class Told:
    """A decoder and the reader of what it carries. What is none of ours is handed over as it came.

    Args:
        decoder: cuts the body.
        tell: takes a value of the decoder's, gives what it says and what its payload was for; by default, what a lab
            says in its JSON.
    """

    def __init__(self, decoder: Reading, tell: Callable[[Any], Item] | None = None) -> None:
        self._decoder = decoder
        self._tell = tell or Words()

    def items(self, data: bytes) -> list[Item]:
        return [item if item[0] is None else self._told(*item) for item in self._decoder.items(data)]

    def end(self) -> list[Item]:
        return [item if item[0] is None else self._told(*item) for item in self._decoder.end()]

    def _told(self, value: Any, runs: list[Run]) -> Item:
        said, inner = self._tell(value)
        return value if said is None else said, spliced(runs, inner)


class Decoded:
    """A body in a coding that is readable here, read as it comes; its coded bytes are what counts.

    What the coding made one is told as one: the coded bytes from the end of one item to the end of the next are payload
    as a whole, and of its event if it has just one. Where an item ends does not depend on where reads were cut: it is
    the first coded byte with which all of the item can be decoded.
    """

    def __init__(self, reading: Reading, coding: str = "gzip") -> None:
        self._reading = reading
        self._coding = coding
        self._decoder = decoder(coding)
        self._coded_bytes = 0  # not told yet
        self._plain_bytes = 0  # decoded, and not told by the reading yet
        self._has_begun = False
        self._label = ""  # of what follows an error
        self._error: WireError | None = None

    @property
    def error(self) -> WireError | None:
        """Why it could not be decoded, or not to its end; None if it could."""
        return self._error or coding_error(self._reading)

    def items(self, data: bytes) -> list[Item]:
        if self._error is not None:
            return [(None, [(len(data), "payload", self._label, None)])] if data else []
        self._has_begun |= bool(data)
        before, plain, inner = self._decoder.copy(), self._plain_bytes, list[Item]()
        bytewise = before is None  # what cannot be done again is done byte by byte
        sizes: list[int] = []
        try:
            for coded in _bytes_of(data) if bytewise else (data,):
                sizes.append(0)
                for piece in self._decoder.feed(coded):
                    sizes[-1] += len(piece)
                    inner += self._reading.items(piece)
        except Undecodable as error:
            if before is not None:
                sizes.append(self._read_up_to_error(before, data, sum(sizes), inner))
            self._label = f"not {self._coding}: {error}"
            self._error = WireError(self._label, clause=CODINGS[self._coding])
        self._plain_bytes += sum(sizes)
        grown = iter(sizes) if before is None else _sizes(before, data)
        told = self._by_place(inner, grown, plain) if inner else []
        self._coded_bytes += len(data) - sum(count for _, runs in told for count, *_ in runs)
        if self._error is not None:
            told.append((None, [(self._coded_bytes, "payload", self._label, None)]))
        return told

    def _read_up_to_error(self, before: Decoder, data: bytes, read_bytes: int, inner: list[Item]) -> int:
        """Read what is right of *data*, behind so many decoded bytes: a decoder keeps that back where an error follows.

        Returns:
            How many bytes more that was.
        """
        decoder, found_bytes = before.copy(), 0
        assert decoder is not None
        with contextlib.suppress(Undecodable):
            for coded in _bytes_of(data):
                for piece in decoder.feed(coded):
                    found_bytes += len(piece)
                    inner += self._reading.items(piece[max(0, len(piece) + read_bytes - found_bytes) :])
        return max(0, found_bytes - read_bytes)

    def end(self) -> list[Item]:
        if self._error is not None:
            return []  # all is told
        if not self._decoder.is_whole:
            if self._has_begun:
                ends = f"the body ends before its {self._coding} coding does"
                self._error = WireError(ends, clause=CODINGS[self._coding])
            return []
        inner = self._reading.end()
        found = [self._as_one(*item, 0) for item in inner[:-1]]
        if inner:
            found.append(self._as_one(*inner[-1], self._coded_bytes))
        elif not self._plain_bytes and self._coded_bytes:
            found.append((None, [(self._coded_bytes, "payload", self._coding, None)]))  # its checksum and length
        return found

    def _by_place(self, inner: list[Item], grown: Iterator[int], plain: int) -> list[Item]:
        """The items, each with the coded bytes that it took to decode it.

        Args:
            grown: by how much each coded byte makes what is decoded longer.
        """
        found: list[Item] = []
        at, told_bytes = 0, self._coded_bytes
        ends, end = [], 0
        for _, runs in inner:
            end += sum(run[0] for run in runs)
            ends.append(end)
        self._plain_bytes -= end
        for item, wanted in zip(inner, ends, strict=True):
            while plain < wanted and (more := next(grown, None)) is not None:
                plain += more
                at += 1
            found.append(self._as_one(*item, told_bytes + at))
            told_bytes = -at
        return found

    def _as_one(self, value: Any, runs: list[Run], coded_bytes: int) -> Item:
        events = list(dict.fromkeys(run[3] for run in runs if run[3] is not None))
        if len(events) == 1:
            return value, [(coded_bytes, "payload", f"{events[0].label}, {self._coding}", events[0])]
        places: list[Run] = [(0, "payload", f"{event.label}, {self._coding}", event) for event in events]
        return value, [(coded_bytes, "payload", self._coding, None), *places]


def reading_of(content_type: str, coding: str = "", *, max_item_bytes: int | None = MAX_HELD_BYTES) -> Reading:
    """How an answer of this type is read; payload as a whole where type or coding is unknown.

    Args:
        content_type, coding: the header fields Content-Type and Content-Encoding.
    """
    kind = content_type.partition(";")[0].strip().lower()
    reading: Reading
    if kind == "text/event-stream":
        reading = EventStreamDecoder(max_item_bytes=max_item_bytes, tell=Blocks())
    elif kind in LINES:
        reading = Told(Delimited(max_item_bytes=max_item_bytes))
    elif kind == "multipart/x-mixed-replace":
        reading = Told(PartDecoder(content_type, max_item_bytes=max_item_bytes))
    elif kind == "application/json":
        reading = Told(Whole(max_item_bytes=max_item_bytes), answers())
    else:
        return Opaque(f"unknown type {kind}" if kind else "no type")
    return decoded(reading, coding)


def lines_or_parts(content_type: str, says_its_end: bool, *, goes_on: bool) -> Reading:
    """How a stream of that type is read. A last line without its end is whole where the body says its own end.

    Args:
        goes_on: whether it was asked to go on from a cursor.

    Raises:
        WireError: a multipart type that names no boundary.
    """
    is_parts = content_type.lower().startswith("multipart/")
    if is_parts and not boundary_of(content_type):
        raise WireError(f"parts without a boundary: {content_type[:80]!r}", clause="RFC 2046 section 5.1.1")
    decoder: Reading = PartDecoder(content_type) if is_parts else Delimited(ends_last=says_its_end)
    return Told(decoder, Words(goes_on=goes_on))


def codings_of(text: str) -> list[str]:
    """The codings that a Content-Encoding names, in the order in which they were applied (RFC 9110 section 8.4)."""
    names = (name.strip().lower().removeprefix("x-") for name in text.split(","))
    return [name for name in names if name not in ("", "identity")]


def decoded(reading: Reading, coding: str) -> Reading:
    """*reading* behind its codings, if it has any; payload as a whole where one of them is unknown."""
    names = codings_of(coding)
    for name in names:
        if not is_readable(name) or len(names) > _MOST_CODINGS:
            return Opaque(f"unknown coding {name}")
        reading = Decoded(reading, name)
    return reading


def coding_error(reading: Reading) -> WireError | None:
    """Why the body could not be decoded, if it is a coded one and could not."""
    return reading.error if isinstance(reading, Decoded) else None


def _bytes_of(data: bytes) -> Iterator[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


def _sizes(before: Decoder, data: bytes) -> Iterator[int]:
    """How much each byte of *data* adds, decoded once more."""
    try:
        for coded in _bytes_of(data):
            yield sum(map(len, before.feed(coded)))
    except Undecodable:
        return
