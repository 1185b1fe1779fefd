"""What a learner's reader of frames has to keep (RFC 6455 sections 5.2 to 5.5), and which slip breaks it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from labkit.claims.coding import Coding, NotKept, Promise, need
from labkit.course.reads import SHARED, Reads, bytewise, cuts, differs, given, in_turns, refused, returned, told, whole

Make = Callable[[], Any]
"""Gives a new reader: ``feed(data)`` returns a list of (opcode, payload)."""
Read = tuple[int, bytes]

HELLO = b"\x81\x05Hello"
MASKED = bytes.fromhex("818537fa213d7f9f4d5158")
"""Hello from a client, as RFC 6455 section 5.7 prints it."""
KEY = bytes.fromhex("0ff055aa")
CONTINUATION, TEXT, BINARY, CLOSE, PING, RESERVED = 0, 1, 2, 8, 9, 11


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, key: bytes = b"") -> bytes:
    """One frame, by the letter of section 5.2."""
    size, bit = len(payload), 0x80 if key else 0
    if size < 126:
        length = bytes([bit | size])
    else:
        marker, wide = (126, 2) if size < 1 << 16 else (127, 8)
        length = bytes([bit | marker]) + size.to_bytes(wide, "big")
    masked = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload)) if key else payload
    return bytes([(0x80 if fin else 0) | opcode]) + length + key + masked


LONG_WORD = b"the key goes round"
THREE = frame(TEXT, b"one") + frame(BINARY, b"\x00two") + frame(PING, b"3")
IN_PARTS = frame(TEXT, b"Hel", fin=False) + frame(CONTINUATION, b"l", fin=False) + frame(CONTINUATION, b"o")
PARTS_MASKED = frame(BINARY, b"Hello, ", fin=False, key=KEY) + frame(CONTINUATION, b"world", key=KEY[::-1])
BETWEEN = (
    frame(TEXT, b"Hel", fin=False) + frame(PING, b"there?") + frame(CONTINUATION, b"lo") + frame(CLOSE, b"\x03\xe8")
)
CLOSED_BETWEEN = frame(TEXT, b"Hel", fin=False) + frame(CLOSE, b"\x03\xe8")
RESERVED_BETWEEN = frame(TEXT, b"Hel", fin=False) + frame(RESERVED, b"new") + frame(CONTINUATION, b"lo")
OTHER = frame(BINARY, b"an", fin=False) + frame(CONTINUATION, b"oth", fin=False) + frame(CONTINUATION, b"er")
WHOLE = (
    "it is whole: FIN is the top bit of the first byte; the lower seven bits of the second count the payload to its "
    "last byte, and its top bit is 0, so no key follows"
)
LIST = "feed returns a list of pairs, and [] for nothing"
ANY_READS = "a read may end in a header, in a length, in the key, in the payload: keep what is left for the next"
EMPTY = frame(TEXT) + frame(BINARY, fin=False) + frame(CONTINUATION, b"x", fin=False) + frame(CONTINUATION)
HEAD = 14  # bytes: the longest header
LENGTHS = (125, 126, 300, 65_535, 65_536)


def _fed(make: Make, reads: Reads, hint: str = "") -> list[Read]:
    reader = make()
    with given(reads[0], hint):
        return _read(reader, reads, hint)


def _read(reader: Any, reads: Reads, hint: str) -> list[Read]:
    how, pieces = reads
    found = list[Read]()
    for piece in pieces:
        came = reader.feed(piece)
        returned(how, came, list, "a list", LIST)
        found += [_pair(how, one, hint) for one in came]
    return found


def _pair(how: str, one: Any, hint: str) -> Read:
    pair = "a pair: the opcode, and the payload as bytes"
    fits = isinstance(one, tuple | list) and len(one) == 2
    if not fits or not isinstance(one[1], bytes | bytearray):
        hint = pair + ", of a text too" * (fits and isinstance(one[1], str))
    elif isinstance(one[0], int):
        return int(one[0]), bytes(one[1])
    raise NotKept(f"{how}: {told(one)} is in the list", hint or pair)


def _same(make: Make, reads: Reads, wanted: Sequence[Read], hint: str = "") -> None:
    found = _fed(make, reads, hint)
    need(found == list(wanted), f"{reads[0]}: found {told(found)}, expected {told([*wanted])}", hint)


def reads_a_frame(make: Make) -> None:
    found = _fed(make, whole(HELLO))
    slip = "the opcode is the lower four bits; 0x81 has FIN in it" if found[:1] == [(0x81, b"Hello")] else ""
    slip = slip if found else WHOLE
    need(found == [(TEXT, b"Hello")], f"{told(HELLO)}: found {told(found)}, expected [(1, b'Hello')]", slip)


def unmasks(make: Make) -> None:
    for payload, opcode, wire in (
        (b"Hello", TEXT, MASKED),
        (LONG_WORD, BINARY, frame(BINARY, LONG_WORD, key=KEY)),
    ):
        hint = "the top bit of the second byte says that a key of four bytes follows"
        found = _fed(make, whole(wire), hint)
        right = found == [(opcode, payload)]
        if [len(data) for _, data in found] == [len(payload)] and found[0][1] != wire[6:]:
            hint = "byte i of the payload goes with key[i % 4]"
        elif len(found) == 1 and found[0][1] != payload and found[0][1].endswith(payload):
            hint = f"what came before it is of another object; {SHARED}"
        need(right, f"{told(wire)}: found {told(found)}, expected {told([(opcode, payload)])}", hint)
    _same(make, whole(frame(PING, key=KEY)), [(PING, b"")], "an empty payload has a key as well")


def reads_any_length(make: Make) -> None:
    hint = "126: the next two bytes are the length, 127: the next eight; the high byte first, then the key"
    for size in LENGTHS:
        for key in (b"", KEY):
            payload = (b"0123456789" * (size // 10 + 1))[:size]
            wire = frame(BINARY, payload, key=key)
            how = f"a payload of {size} bytes{', masked' if key else ''}, {told(wire[:HEAD])}…"
            found = _fed(make, (how, [wire]), hint)
            shown, wanted = [(opcode, len(data)) for opcode, data in found], [(BINARY, size)]
            need(shown == wanted, f"{how}: found {told(shown)} as opcodes and lengths, expected {wanted}", hint)
            slip = "the payload begins behind the key, and its byte i goes with key[i % 4]" if key else hint
            need(found[0][1] == payload, f"{how}: of the payload, {differs(found[0][1], payload)}", slip)


def reads_several(make: Make) -> None:
    wanted = [(TEXT, b"one"), (BINARY, b"\x00two"), (PING, b"3")]
    _same(make, whole(THREE), wanted, "one read may bring several frames: go on until what is left is no whole one")


def takes_any_reads(make: Make) -> None:
    for wire, wanted in (
        (THREE, [(TEXT, b"one"), (BINARY, b"\x00two"), (PING, b"3")]),
        (MASKED, [(TEXT, b"Hello")]),
        (frame(BINARY, b"x" * 130, key=KEY), [(BINARY, b"x" * 130)]),
        (frame(TEXT, b"x" * 65_536), [(TEXT, b"x" * 65_536)]),
    ):
        for reads in cuts(wire, most=200):
            _same(make, reads, wanted, ANY_READS)


def joins_fragments(make: Make) -> None:
    hint = "without FIN a message goes on; frames of opcode 0 continue it; its opcode is its first frame's"
    for reads in cuts(IN_PARTS):
        _same(make, reads, [(TEXT, b"Hello")], hint)
    _same(
        make, whole(IN_PARTS + HELLO), [(TEXT, b"Hello")] * 2, "after its last fragment a message is over: begin anew"
    )
    _same(
        make,
        whole(PARTS_MASKED),
        [(BINARY, b"Hello, world")],
        "each fragment has a key of its own, used from its byte 0",
    )


def shares_nothing(make: Make) -> None:
    both = bytewise(IN_PARTS), bytewise(OTHER)
    wanted = [(TEXT, b"Hello")], [(BINARY, b"another")]
    for reads, message in zip(both, wanted, strict=True):
        _same(make, reads, message, ANY_READS)
    for reads, came, message in zip(both, in_turns(make, both), wanted, strict=True):
        how = f"{reads[0]}, and another one in turns with it"
        found = [_pair(how, one, SHARED) for some in came for one in some]
        need(found == message, f"{how}: found {told(found)}, expected {told(message)}", SHARED)


def lets_control_frames_between(make: Make) -> None:
    wanted = [(PING, b"there?"), (TEXT, b"Hello"), (CLOSE, b"\x03\xe8")]
    hint = "opcodes from 8 on are control frames: they come out at once, and the message around them goes on"
    for reads in cuts(BETWEEN):
        _same(make, reads, wanted, hint)
    hint = "a control frame is one of any opcode from 8 on: 8 is a close, 9 a ping, 10 a pong, 11 to 15 are reserved"
    _same(make, whole(CLOSED_BETWEEN), [(CLOSE, b"\x03\xe8")], hint)
    _same(make, whole(RESERVED_BETWEEN), [(RESERVED, b"new"), (TEXT, b"Hello")], hint)


def knows_empty_payloads(make: Make) -> None:
    hint = "a payload may be empty, of a message and of a fragment: ask for None, or for FIN, and not for truth"
    _same(make, whole(EMPTY), [(TEXT, b""), (BINARY, b"x")], hint)


def refuses_what_does_not_fit(make: Make) -> None:
    for name, wire in {
        "a frame of opcode 0 with nothing to continue": frame(CONTINUATION, b"lo"),
        "the same after a message that is over": IN_PARTS + frame(CONTINUATION, b"lo"),
        "a new message inside the fragments of another": frame(TEXT, b"Hel", fin=False) + HELLO,
    }.items():
        hint = "which of the two it may be, a beginning or a continuation, depends on whether a message is under way"
        how = f"{name}, {told(wire)}"
        refused(how, partial(_read, make(), (how, [wire]), hint), hint)


READER = Coding(
    "Reader, with feed(data)",
    (
        Promise(
            "A whole frame gives its opcode and its payload.", reads_a_frame, "two bytes of header, then the payload"
        ),
        Promise("What is masked is unmasked.", unmasks, ""),
        Promise("Lengths of 7, 16 and 64 bits are read.", reads_any_length, ""),
        Promise("One read may bring several frames.", reads_several, ""),
        Promise("It gives the same byte by byte, and cut in two at any place.", takes_any_reads, "", needs_all=True),
        Promise("Fragments are one message, when the last one is there.", joins_fragments, ""),
        Promise("Two readers at once share nothing.", shares_nothing, "", needs_all=True),
        Promise("Control frames come out at once, between fragments too.", lets_control_frames_between, ""),
        Promise("An empty payload is one too.", knows_empty_payloads, ""),
        Promise("Fragments that do not fit are refused with ValueError.", refuses_what_does_not_fit, ""),
    ),
    "What is left to a server is to answer: a pong for each ping, a close for a close, and 1002 for a ValueError.",
    form="class",
)

EXERCISES: dict[str, Coding] = {"05.4": READER}
