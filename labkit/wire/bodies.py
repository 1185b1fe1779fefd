"""How a body is read: a decoder that cuts it, behind it a reader of what it carries, and before both its coding.

None of the three knows the others. A :class:`Reading` takes the bytes of one body as they come, of any size, and
gives items: a value and what each of its bytes was for. What it has not given when the body ends never became whole.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from labkit.wire.delimited import Delimited
from labkit.wire.envelope import Start, told, told_answer
from labkit.wire.event_stream import EventStreamDecoder, StreamEvent
from labkit.wire.multipart import PartDecoder
from labkit.wire.spans import MAX_HELD_BYTES, TOO_LONG, Category, Item, Run, spliced

_OURS = ("json", "gap", "closing")  # the types under which an event stream carries labkit's own JSON
_PIECE_BYTES = 1 << 16


class Reading(Protocol):
    """One body, as it is read."""

    def items(self, data: bytes) -> list[Item]:
        """Take what one read brought; give what it completed, all bytes up to there told."""

    def end(self) -> list[Item]:
        """The body has ended as it should; what that completed."""


class Whole:
    """A body that is one item, whole when it ends; payload, unless another category is said."""

    def __init__(self, label: str = "", category: Category = "payload", *, max_item_bytes: int | None = None) -> None:
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
        tell: takes a value of the decoder's, gives what it says and what its payload was for.
    """

    def __init__(self, decoder: Reading, tell: Callable[[Any], Item] = told) -> None:
        self._decoder = decoder
        self._tell = tell

    def items(self, data: bytes) -> list[Item]:
        return [item if item[0] is None else self._told(*item) for item in self._decoder.items(data)]

    def end(self) -> list[Item]:
        return [item if item[0] is None else self._told(*item) for item in self._decoder.end()]

    def _told(self, value: Any, runs: list[Run]) -> Item:
        said, inner = self._tell(value)
        return value if said is None else said, spliced(runs, inner)


def told_block(said: StreamEvent | str, runs: list[Run]) -> Item:
    """A block of an event stream: under three types labkit's JSON; a lone id says where it begins."""
    if isinstance(said, str):
        return Start(said), runs
    if said.type not in _OURS:
        return said, runs
    value, inner = told(said.data.encode())
    sighting = runs[0][3] if any(run[3] for run in inner) else None  # the block's own, with its id as it stood
    inner = [(count, category, label, run and sighting) for count, category, label, run in inner]
    runs = [(count, category, label, sighting) for count, category, label, _ in runs]
    return said if value is None else value, spliced(runs, inner)


class Gunzipped:
    """A body in the gzip coding, read as it comes; its coded bytes are what counts.

    What the coding made one is told as one: the coded bytes from the end of one item to the end of the next are payload
    as a whole, and of its event if it has just one. Where an item ends does not depend on where reads were cut: it is
    the first coded byte with which all of the item can be decoded.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._gzip = _Gzip()
        self._coded_bytes = 0  # not told yet
        self._plain_bytes = 0  # decoded, and not told by the reading yet
        self._failed = ""

    def items(self, data: bytes) -> list[Item]:
        if self._failed:
            return [(None, [(len(data), "payload", self._failed, None)])] if data else []
        before, plain, inner = self._gzip.copy(), self._plain_bytes, list[Item]()
        try:
            for piece in self._gzip.feed(data):
                self._plain_bytes += len(piece)
                inner += self._reading.items(piece)
        except zlib.error as error:
            self._failed = f"not gzip: {error}"
        told = self._by_place(inner, before, data, plain) if inner else []
        self._coded_bytes += len(data) - sum(count for _, runs in told for count, *_ in runs)
        if self._failed:
            told.append((None, [(self._coded_bytes, "payload", self._failed, None)]))
        return told

    def end(self) -> list[Item]:
        inner = self._reading.end() if self._gzip.is_whole else []
        found = [self._as_one(*item, 0) for item in inner[:-1]]
        if inner:
            found.append(self._as_one(*inner[-1], self._coded_bytes))
        elif self._gzip.is_whole and not self._plain_bytes and self._coded_bytes:
            found.append((None, [(self._coded_bytes, "payload", "gzip", None)]))  # its checksum and length
        return found

    def _by_place(self, inner: list[Item], gzip: _Gzip, data: bytes, plain: int) -> list[Item]:
        """The items, each with the coded bytes that it took to decode it."""
        found: list[Item] = []
        at, told_bytes = 0, self._coded_bytes
        ends, end = [], 0
        for _, runs in inner:
            end += sum(run[0] for run in runs)
            ends.append(end)
        self._plain_bytes -= end
        for item, wanted in zip(inner, ends, strict=True):
            while plain < wanted and at < len(data):
                try:
                    plain += sum(map(len, gzip.feed(data[at : at + 1])))
                except zlib.error:
                    break
                at += 1
            found.append(self._as_one(*item, told_bytes + at))
            told_bytes = -at
        return found

    @staticmethod
    def _as_one(value: Any, runs: list[Run], coded_bytes: int) -> Item:
        events = list(dict.fromkeys(run[3] for run in runs if run[3] is not None))
        if len(events) == 1:
            return value, [(coded_bytes, "payload", f"{events[0].label}, gzip", events[0])]
        places: list[Run] = [(0, "payload", f"{event.label}, gzip", event) for event in events]
        return value, [(coded_bytes, "payload", "gzip", None), *places]


class _Gzip:
    """A gzip stream of one or more members (RFC 1952 section 2.2), in pieces of bounded size."""

    def __init__(self) -> None:
        self._member: Any = zlib.decompressobj(31)

    def copy(self) -> _Gzip:
        twin = _Gzip()
        twin._member = self._member.copy()
        return twin

    @property
    def is_whole(self) -> bool:
        return bool(self._member.eof)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(31)
            while piece := self._member.decompress(data, _PIECE_BYTES):
                yield piece
                data = self._member.unconsumed_tail
            data = self._member.unused_data


def reading_of(content_type: str, coding: str = "", *, max_item_bytes: int | None = MAX_HELD_BYTES) -> Reading:
    """How an answer of this type is read; payload as a whole where type or coding is unknown.

    Args:
        content_type, coding: the header fields Content-Type and Content-Encoding.
    """
    kind = content_type.partition(";")[0].strip().lower()
    reading: Reading
    if kind == "text/event-stream":
        reading = EventStreamDecoder(max_item_bytes=max_item_bytes, tell=told_block)
    elif kind in ("application/x-ndjson", "application/jsonl"):
        reading = Told(Delimited(max_item_bytes=max_item_bytes))
    elif kind == "multipart/x-mixed-replace":
        reading = Told(PartDecoder(content_type, max_item_bytes=max_item_bytes))
    elif kind == "application/json":
        reading = Told(Whole(max_item_bytes=max_item_bytes), told_answer)
    else:
        return Opaque(f"unknown type {kind}" if kind else "no type")
    return decoded(reading, coding)


def decoded(reading: Reading, coding: str) -> Reading:
    """*reading* behind its coding: gzip, or none; payload as a whole where the coding is unknown."""
    name = coding.strip().lower()
    if name in ("", "identity"):
        return reading
    return Gunzipped(reading) if name in ("gzip", "x-gzip") else Opaque(f"unknown coding {name}")
