"""What a learner's decoder of event streams has to keep (WHATWG HTML 9.2.5 and 9.2.6).

Its cases are those of ``labkit vectors``, written by hand; what is awkward in one is the hint where it breaks,
unless it has another below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

from labkit.claims.coding import Coding, Promise, need
from labkit.course.reads import SHARED, Reads, bytewise, cuts, given, in_turns, returned, told, whole
from labkit.strangers.vectors import event_fields, event_ids, event_streams
from labkit.strangers.vectors.case import Case
from labkit.wire.whole_chunks import Chunk, ChunkDecoder

Make = Callable[[], Any]
"""Gives a new decoder: ``feed(data)`` returns events, ``retry_ms`` is the reconnection time or None."""
Event = tuple[str, str, str]
"""Type, data, last event id."""

BLOCKS = ("plain", "lf")
SPACES = b"data: one\n \n\t\ndata: two\n\n"
FIRST = "the values of a block's data lines are joined by LF; the blank line ends the block, and the event is whole"
LINES = ("crlf", "mixed-line-ends", "blank-lines", "other-line-separators")
FIELDS = ("colons-in-data", "one-space", "separators-at-an-end", "empty-data", "empty-data-lines", "unknown-fields",
          "unknown-fields-alone", "json", "nul-in-data")  # fmt: skip
COMMENTS = ("comment-within", "comments-alone")
TYPES = ("event-name", "event-name-behind", "event-name-twice", "event-name-empty", "event-name-without-data",
         "event-name-of-any-kind", "event-name-in-capitals")  # fmt: skip
IDS = ("id", "id-stays", "id-then-comments", "id-behind", "id-twice", "id-alone-then-event", "id-empty",
       "id-without-colon", "id-with-nul", "id-with-spaces-around")  # fmt: skip
ENDS = ("no-blank-line-at-the-end", "no-line-end-at-the-end", "nothing-at-all")
TEXTS = ("any-alphabet", "not-utf-8", "character-cut-by-a-line-end")
MARKS = ("bom", "bom-twice", "bom-later", "bom-then-line-end", "bom-then-comment")
RETRIES = ("retry", "retry-alone", "retry-twice", "retry-leading-zeros", "retry-too-large")
NO_RETRIES = "retry-not-digits"
HINTS = {
    "plain": "",
    "lf": "",
    "crlf": "CRLF is one line end: it ends a line as LF does, and its LF ends nothing more",
    "comments-alone": "a line that begins with a colon is a comment; a block without data is no event",
    "json": "data may look like anything, and only the first colon of a line divides it",
    "id": "the last event id is that of the newest id line, this block's included",
    "any-alphabet": "the stream is UTF-8: a character has one to four bytes",
    "nothing-at-all": "of no bytes comes no event",
    "bom-then-comment": "the byte order mark is taken away before the first line is looked at, a comment too",
    "retry": "retry sets retry_ms",
    "retry-alone": "retry counts with its line, without data, and without a blank line behind it",
    "retry-twice": "of two times the newer one counts",
}
LIST = "feed returns a list of events, and [] for nothing"
ANY_READS = "a read may end between CR and LF, in a character, in the byte order mark, in a name: keep the rest of it"
NUMBER = "retry_ms is an int, in milliseconds"
IDS_HOLD = "the last event id holds from event to event, and is '' until one has come"
TWO = ([b"event: a\nid: 1\ndata: \xed\x95", b"\x9c\ndata: more\n", b"\n"], [b"data: o", b"ther\n", b"\n"])
"""Cut in a character as well, so that the half of it is somebody's."""
AT_ONCE = (b"data: one\n\n", b"data: one\r\r", b"data: one\r\n\r")


@cache
def _cases() -> dict[str, Case]:
    return {case.name: case for module in (event_streams, event_fields, event_ids) for case in module.CASES}


def wire_of(case: Case) -> bytes:
    """The body of a case's first answer, without its chunks."""
    items = ChunkDecoder().feed(case.answers[0].body)
    return b"".join(item.data for item in items if isinstance(item, Chunk))


def events_of(case: Case) -> list[Event]:
    """The events that have to come of it."""
    return [(event["type"], event["data"], event["lastEventId"]) for event in case.outcomes[0].had["events"]]


def _fed(make: Make, reads: Reads, hint: str = "") -> tuple[Any, list[Event]]:
    how, pieces = reads
    decoder, found = make(), list[Event]()
    with given(how, hint):
        for piece in pieces:
            came = decoder.feed(piece)
            returned(how, came, list, "a list", LIST)
            found += came
    return decoder, found


def _same(make: Make, reads: Reads, wanted: list[Event], hint: str) -> Any:
    decoder, found = _fed(make, reads, hint)
    at = next((i for i, (mine, theirs) in enumerate(zip(found, wanted, strict=False)) if mine != theirs), None)
    if at is not None:
        slip = _slip(found[at], wanted[at]) or _slip_of_values(found[at], wanted[at], b"".join(reads[1])) or hint
        need(False, f"{reads[0]}: event {at + 1} is {told(found[at])}, expected {told(wanted[at])}", slip)
    if len(found) != len(wanted):
        fault = "is missing" if len(found) < len(wanted) else "is one too many"
        odd = told(max(found, wanted, key=len)[min(len(found), len(wanted))])
        need(False, f"{reads[0]}: found {len(found)} events, expected {len(wanted)}: {odd} {fault}", hint)
    return decoder


def _slip(found: Any, wanted: Event) -> str:
    """What is wrong with the shape of an event, whatever it is of; empty if its shape is right."""
    if not isinstance(found, tuple) or len(found) != 3:
        return "each event is a tuple: (type, data, last event id)"
    if found[:2] == wanted[:2] and not wanted[2] and not found[2]:
        return IDS_HOLD
    if not all(isinstance(part, str) for part in found):
        return "type, data and last event id are text (str), never bytes or None"
    if found != wanted and sorted(found) == sorted(wanted):
        return "in this order: type, data, last event id"
    if not found[0]:
        return "the type is message where no event line, or an empty one, says another"
    return ""


def _slip_of_values(found: Event, wanted: Event, wire: bytes) -> str:
    """What is wrong with its values, whatever it is of."""
    if found[1] == f" {wanted[1]}":
        return "one space behind the colon is no part of the value"
    if found[1] != wanted[1] and found[1].encode("latin-1", "replace") == wanted[1].encode():
        return "the stream is UTF-8: decode it as that; a character may have more than one byte"
    if found[2] and b"id" not in wire:
        return f"this id came to another object; {SHARED}"
    return ""


def _hint(case: Case) -> str:
    return HINTS.get(case.name, case.about)


def in_one_read(names: tuple[str, ...], make: Make) -> None:
    """Each of these cases in one read."""
    for name in names:
        case = _cases()[name]
        _same(make, whole(wire_of(case)), events_of(case), _hint(case))


def knows_blank_lines(make: Make) -> None:
    """A line of a space or a tab is none."""
    in_one_read(LINES, make)
    hint = "a blank line has nothing in it: a space, or a tab, is a field that nobody knows"
    _same(make, whole(SPACES), [("message", "one\ntwo", "")], hint)


def drops_what_is_cut_short(make: Make) -> None:
    """Also where the end is told by a read of no bytes, as of a socket."""
    for name in ENDS:
        case = _cases()[name]
        for how, pieces in (whole(wire_of(case)), (f"{told(wire_of(case))} and then b''", [wire_of(case), b""])):
            _same(make, (how, pieces), events_of(case), _hint(case))


def in_any_reads(make: Make) -> None:
    """All of them byte by byte, and cut in two at every place."""
    for name in (*BLOCKS, "cr", *LINES, *FIELDS, *COMMENTS, *TYPES, *IDS, *TEXTS, *MARKS):
        case = _cases()[name]
        for reads in cuts(wire_of(case)):
            _same(make, reads, events_of(case), ANY_READS)


def shares_nothing(make: Make) -> None:
    """Two of them, which get their reads in turns."""
    one, other = ((f"{told(b''.join(pieces))} in {len(pieces)} reads", pieces) for pieces in TWO)
    _same(make, whole(b"".join(TWO[1])), [("message", "other", "")], SHARED)
    alone = [_fed(make, reads)[1] for reads in (one, other)]
    for reads, came, before in zip((one, other), in_turns(make, (one, other)), alone, strict=True):
        found = [event for events in came for event in events]
        how = f"{reads[0]}, and another one in turns with it"
        need(found == before, f"{how}: found {told(found)}, and alone {told(before)}", SHARED)


def at_once(make: Make) -> None:
    """An event comes out with the byte that ends its blank line."""
    for wire in AT_ONCE:
        for reads in (whole(wire), bytewise(wire)):
            hint = "CR ends a line by itself: the event is whole, and an LF that comes later belongs to that line end"
            _same(make, reads, [("message", "one", "")], hint)


def keeps_the_time(make: Make) -> None:
    """The reconnection time is told as ``retry_ms``."""
    none = "retry_ms is None until the stream has said something"
    decoder = _same(make, whole(b"data: one\n\n"), [("message", "one", "")], none)
    with given("retry_ms", none):
        hint = "it is a value that is read, and no method that is called" if callable(decoder.retry_ms) else none
        need(decoder.retry_ms is None, f"retry_ms is {decoder.retry_ms!r:.60} before any retry", hint)
    for wire, wanted, hint in _retries():
        decoder, _ = _fed(make, whole(wire), hint)
        with given(told(wire), none):
            said = decoder.retry_ms
        slip = NUMBER if said is not None and type(said) is not int else hint
        right = type(said) is int and said == wanted
        need(right, f"{told(wire)}: retry_ms is {said!r}, expected {wanted}", slip)


def _retries() -> Iterator[tuple[bytes, int, str]]:
    """Bytes, the time that they set, in ms, and the hint. What is no time stands in bytes of its own each."""
    for name in RETRIES:
        case = _cases()[name]
        assert case.waits_ms[0] is not None
        yield wire_of(case), int(case.waits_ms[0]), _hint(case)
    yield b"retry: 0\n", 0, "0 is a time like any other: ask whether the value is digits, and not whether it is true"
    case = _cases()[NO_RETRIES]
    first, *others = wire_of(case).splitlines(keepends=True)
    for line in others:
        if line.startswith(b"retry"):
            yield first + line, 700, _hint(case)


def _promises() -> Iterator[Promise]:
    for sentence, names in (
        ("A block with data is one event.", BLOCKS),
        ("A line ends at LF, at CR, at CRLF, and at nothing else.", LINES),
        ("A field is a name and a value; data lines are joined by LF.", FIELDS),
        ("Comments are passed over.", COMMENTS),
        ("event names the type of one block.", TYPES),
        ("An id holds until the next one; one with a NUL is none.", IDS),
        ("What the end cuts short is no event.", ENDS),
        ("The stream is UTF-8; what is none becomes U+FFFD.", TEXTS),
        ("One byte order mark at the beginning is taken away.", MARKS),
    ):
        if names is ENDS:  # which leaves blocks open
            yield Promise("Two decoders at once share nothing.", shares_nothing, "")
        keep = {LINES: knows_blank_lines, ENDS: drops_what_is_cut_short}.get(names, partial(in_one_read, names))
        yield Promise(sentence, keep, FIRST if names is BLOCKS else "")
    yield Promise("An event comes out with its blank line, at a lone CR too.", at_once, "")
    yield Promise("It gives the same byte by byte, and cut in two at any place.", in_any_reads, "", needs_all=True)
    yield Promise("retry sets retry_ms if it is digits only.", keeps_the_time, "")


DECODER = Coding(
    "Decoder, with feed(data) and retry_ms",
    tuple(_promises()),
    "The cases are of `labkit vectors`, written by hand; a browser's EventSource is tried on the same.",
    form="class",
)

EXERCISES: dict[str, Coding] = {"04.4": DECODER}
