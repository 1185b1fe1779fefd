"""labkit's own JSON around events, cursors and gaps, both ways.

=====================================================================  =================================
``{"id":17,"data":"..."}``, binary ``{"id":17,"base64":"..."}``        an event
``{"cursor":"17@k3f9"}``                                               where a stream begins
``{"gap":{"after":"17@k3f9","next":42},"cursor":"41@p7q2"}``           events that cannot be delivered
``{"closing":"slow subscriber"}``                                      why the server ends a stream
``{"events":[...],"cursor":"17@k3f9"}``, and ``gap`` beside them       the answer to a poll
``"more":true`` beside ``cursor``                                      it was cut: ask again at once
=====================================================================  =================================

Separators are compact and UTF-8 is not escaped; LF, CR and NUL always are, so one line, one message or one
NUL-terminated string holds one item. Decoding takes foreign bodies too: what is not exactly one of these is None.

``told`` and ``told_answer`` say beside it what each byte was for. Of an event, its data is payload and what stands
around it envelope; what escapes and base64 add to the data counts as envelope.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from labkit.errors import CursorError
from labkit.wire.events import ID_LIMIT, Cursor, Event, Gap, Page, size_bytes
from labkit.wire.spans import Item, Run, Sighting

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Start:
    """The cursor at which a stream begins, stated before anything else."""

    cursor: str

    @classmethod
    def of(cls, text: str) -> Start | None:
        """At *text*, if that is a cursor that names its epoch, as all of ours on the wire do."""
        return cls(text) if _parse(text) else None


@dataclass(frozen=True, slots=True)
class Closing:
    """The server ends the stream, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Received:
    """An event as it came: its id, and its data as str or, if it was binary, bytes."""

    id: int
    data: str | bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a poll: perhaps a gap, then events; ``cursor`` is the one to ask with next, at once if ``more``."""

    events: tuple[Received, ...]
    cursor: str
    gap: Gap | None = None
    more: bool = False


def event_json(event: Event) -> str:
    """The JSON of one event."""
    data = event.data
    if isinstance(data, str):
        return f'{{"id":{event.id},"data":{_dumps(data)}}}'
    return f'{{"id":{event.id},"base64":"{base64.b64encode(data).decode()}"}}'


def encode(item: Event | Gap | Start | Closing) -> str:
    """The JSON of one item of a stream."""
    if isinstance(item, Event):
        return event_json(item)
    if isinstance(item, Gap):
        return _dumps({"gap": {"after": item.after, "next": item.next}, "cursor": item.cursor})
    if isinstance(item, Start):
        return _dumps({"cursor": item.cursor})
    return _dumps({"closing": item.reason})


def answer(page: Page, *, render: Callable[[Event], str] = event_json) -> str:
    """The JSON of a poll's answer.

    Args:
        page: what comes after the poll's cursor.
        render: gives the JSON of one event; a server that holds encoded events passes its own.
    """
    events = ",".join(map(render, page.events))
    gap = "" if page.gap is None else f',"gap":{_dumps({"after": page.gap.after, "next": page.gap.next})}'
    more = ',"more":true' if page.more else ""
    return f'{{"events":[{events}],"cursor":{_dumps(page.cursor)}{more}{gap}}}'


def decode(text: str | bytes) -> Received | Gap | Start | Closing | None:
    """Read one item of a stream; None if it is not one. Never raises."""
    members = _json(text)
    match members:
        case {"id": _}:
            return _event(members)
        case {"gap": gap, "cursor": cursor, **rest} if not rest:
            return _gap(gap, cursor)
        case {"cursor": str(cursor), **rest} if not rest and _parse(cursor):
            return Start(cursor)
        case {"closing": str(reason), **rest} if not rest and _is_unicode(reason):
            return Closing(reason)
    return None


def decode_answer(text: str | bytes) -> Answer | None:
    """Read the answer to a poll; None if it is not one. Never raises."""
    match _json(text):
        case {"events": list(items), "cursor": str(cursor), **rest} if (
            _parse(cursor) and not rest.keys() - {"gap", "more"} and rest.get("more", True) is True
        ):
            events = tuple(event for item in items if (event := _event(item)) is not None)
            more = "more" in rest
            gap = _answer_gap(rest["gap"], cursor) if "gap" in rest else None
            endless = more and not events  # asked again at once, time after time
            if len(events) == len(items) and (gap is not None) is ("gap" in rest) and not endless:
                return Answer(events, cursor, gap, more)
    return None


_PLAIN = re.compile(rb'\{"id":([1-9][0-9]{0,17}),"data":"([^"\\\x00-\x1f]*)"\}')
_DATA = re.compile(rb'\{\s*"(?:id"\s*:\s*[0-9]+\s*,\s*"(?:data|base64)|data|base64)"\s*:\s*"')
"""The beginning of an event up to its data: these quotes are bare, so they stand in no string."""


def told(raw: bytes) -> Item:
    """One item of a stream, and what its bytes were for. Text that is none of ours is an event as a whole.

    The value is what ``decode`` gives; None for bytes that are somebody else's.
    """
    plain = _PLAIN.fullmatch(raw)  # an event without escapes needs no parser
    if plain is not None:
        start, stop = plain.span(2)
        try:
            data = plain[2].decode()
        except UnicodeDecodeError:
            return None, [(len(raw), "payload", "", Sighting())]
        wire_id = plain[1].decode()
        event = Sighting(wire_id)
        return Received(int(wire_id), data), [
            (start, "envelope", "", event),
            (stop - start, "payload", "", event),
            (len(raw) - stop, "envelope", "JSON", None),
        ]
    value = decode(raw)
    if value is None:
        return None, [(len(raw), "payload", "", Sighting())]
    return value, around([value] if isinstance(value, Received) else [], raw)


def told_answer(raw: bytes) -> Item:
    """The answer to a poll, and what its bytes were for. One that is none of ours is an event as a whole."""
    value = decode_answer(raw)
    if value is None:
        return None, [(len(raw), "payload", "", Sighting())]
    return value, around(value.events, raw)


def told_binary(raw: bytes) -> Item:
    """A binary message, 8 bytes of id and then the data (``/websocket?binary=1``)."""
    if len(raw) < 8 or raw[0] >= 0x80:  # ID_LIMIT
        return None, [(len(raw), "payload", "", Sighting())]
    wire_id = str(int.from_bytes(raw[:8], "big"))
    event = Sighting(wire_id)
    runs: list[Run] = [(8, "envelope", "", event), (len(raw) - 8, "payload", "", event)]
    return Received(int(wire_id), raw[8:]), runs


def around(events: Sequence[Received], raw: bytes) -> list[Run]:
    """What the bytes of *raw* were for, which holds these events in this order, each in our JSON."""
    runs: list[Run] = []
    at = 0
    for received in events:
        event = Sighting(str(received.id))
        found = _DATA.search(raw, at)
        if found is None:  # a member's name is written with escapes: known to be there, not where
            runs.append((0, "payload", "", event))
            continue
        size = size_bytes(received.data)
        runs.append((found.start() - at, "envelope", "JSON", None))
        runs.append((found.end() - found.start(), "envelope", "", event))
        runs.append((size, "payload", "", event))
        at = found.end() + size
    runs.append((len(raw) - at, "envelope", "JSON", None))
    return runs


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):  # parsers differ over which one counts (RFC 8259 section 4): not ours
        raise ValueError("a member name is repeated")
    return members


_loads = json.JSONDecoder(object_pairs_hook=_unique).decode


def request(text: str | bytes) -> Any:
    """The JSON that a client sent, in UTF-8.

    Raises:
        ValueError: it is none (RFC 8259; Python's NaN and Infinity are none), or has a number that no float can hold,
            and which an answer would have to give back as Infinity.
        RecursionError: it is nested too deep.
    """
    return _strict(text if isinstance(text, str) else text.decode())


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:40]} is beyond what a float can hold")
    return number


def _whole(digits: str) -> int:
    _finite(digits)
    return int(digits)


_strict = json.JSONDecoder(parse_float=_finite, parse_int=_whole, parse_constant=_finite).decode


def _json(text: str | bytes) -> Any:
    try:
        return _loads(text if isinstance(text, str) else text.decode())
    except (ValueError, RecursionError):
        return None


def _event(members: Any) -> Received | None:
    match members:
        case {"id": int(id), "data": str(data), **rest} if not rest and _is_id(id) and _is_unicode(data):
            return Received(id, data)
        case {"id": int(id), "base64": str(digits), **rest} if not rest and _is_id(id):
            try:
                return Received(id, base64.b64decode(digits, validate=True))
            except ValueError:
                return None
    return None


def _gap(members: Any, cursor: Any) -> Gap | None:
    match members:
        case {"after": str(after), "next": int(next), **rest} if not rest and _is_id(next) and _is_unicode(after):
            return Gap(after, next, cursor) if isinstance(cursor, str) and _parse(cursor) else None
    return None


def _answer_gap(members: Any, cursor: str) -> Gap | None:
    """The gap of an answer, whose cursor is already past the events: the gap's own lies just before the first."""
    gap, end = _gap(members, cursor), _parse(cursor)
    if gap is None or end is None:
        return None
    return Gap(gap.after, gap.next, str(Cursor(gap.next - 1, end.epoch)))


def _parse(cursor: str) -> Cursor | None:
    """The cursor, if it names its epoch, as all of ours on the wire do."""
    try:
        parsed = Cursor.parse(cursor)
    except CursorError:
        return None
    return parsed if parsed.epoch else None


def _is_id(number: int) -> bool:
    return number is not True and 1 <= number < ID_LIMIT  # JSON's true is an int to Python


def _is_unicode(text: str) -> bool:
    """False for a lone surrogate: JSON can escape one, but no UTF-8 can carry it on."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
