"""What a learner's decoder of chunks has to keep (RFC 9112 section 7.1), and which slip breaks it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from labkit.claims.coding import Coding, NotKept, Promise, need
from labkit.course.reads import SHARED, Reads, bytewise, cuts, given, in_turns, in_two, refused, returned, told, whole

Make = Callable[[], Any]
"""Gives a new decoder: ``feed(data)`` returns data, ``ended()`` whether the body has ended."""

HELLO = b"hello, world"
PLAIN = b"5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n"
AWKWARD_DATA = b"a\r\n0\r\n\r\nb\xed\x95\x9c\xff\x00\n\r"
AWKWARD = b"9\r\n" + AWKWARD_DATA[:9] + b"\r\n7\r\n" + AWKWARD_DATA[9:] + b"\r\n0\r\n\r\n"
SIZES = {
    "small letters": (b"1a\r\n" + b"x" * 26 + b"\r\n0\r\n\r\n", 26),
    "capitals": (b"1A\r\n" + b"x" * 26 + b"\r\n0\r\n\r\n", 26),
    "two digits": (b"10\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n", 16),
    "three digits": (b"12c\r\n" + b"x" * 300 + b"\r\n0\r\n\r\n", 300),
    "zeros in front": (b"0005\r\nxxxxx\r\n000\r\n\r\n", 5),
}
EXTENDED = b'5;a=1;b="c;d"\r\nhello\r\n7;e\r\n, world\r\n0;f=2\r\n\r\n'
TRAILED = b"5\r\nhello\r\n7\r\n, world\r\n0\r\nX-Parts: 2\r\nX-Sum: 5\r\n\r\n"
NO_SIZES = (b"\r\n", b"hello\r\n", b"-5\r\n", b"+5\r\n", b"0x5\r\n", b"1_0\r\n", b" 5\r\n", b";a=1\r\n")
NO_ENDS = (b"5\r\nhelloXX0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"3\r\nhello\r\n")
ZEROS = b"5\r\nhello\r\n000\r\n\r\n"
BARE_LF = b"5\nhello\r\n0\r\n\r\n"
BARE_LF_AT_THE_END = PLAIN[:-2] + b"\n"
OTHER = b"5\r\nother\r\n4\r\n one\r\n0\r\n\r\n"
BYTES = "feed returns bytes, and b'' for nothing"
METHOD = "ended is a method: def ended(self), which returns whether the body has ended"
ANY_READS = "a read may end in a size, between CR and LF, in the data: keep the rest of it"
WHOLE = "a chunk is whole with the CR LF behind its data; until then nothing of it is given out"
NEXT = b"HTTP/1.1 200 OK\r\n"


def _fed(make: Make, reads: Reads, hint: str = "") -> tuple[Any, bytes]:
    decoder = make()
    with given(reads[0], hint):
        return decoder, _data(decoder, reads)


def _data(decoder: Any, reads: Reads) -> bytes:
    how, pieces = reads
    found = b""
    for piece in pieces:
        data = decoder.feed(piece)
        returned(how, data, (bytes, bytearray), "bytes", BYTES)
        found += data
    return found


def _same(make: Make, reads: Reads, wanted: bytes, hint: str = "") -> Any:
    decoder, found = _fed(make, reads, hint)
    need(found == wanted, f"{reads[0]}: found {told(found)}, expected {told(wanted)}", hint or _slip(found, wanted))
    return decoder


def _ended(decoder: Any, how: str) -> Any:
    method = getattr(decoder, "ended", None)
    need(callable(method), f"{how}: ended is {method!r}, and no method", METHOD)
    with given(f"{how}: ended()"):
        said = decoder.ended()
        returned(how, said, (object,), "an answer", METHOD, "ended")
        return said


def _slip(found: bytes, wanted: bytes) -> str:
    if found.startswith(wanted.rstrip()[:5] + b"\r\n"):
        return "the CR LF behind a chunk's data is framing, and no data"
    return "" if found else "nothing came out: feed returns the data, and does not keep them"


def gives_the_data(make: Make) -> None:
    _same(make, whole(PLAIN), HELLO)


def counts(make: Make) -> None:
    _same(make, whole(AWKWARD), AWKWARD_DATA, "a size says how many bytes are data; what they look like does not count")


def takes_any_reads(make: Make) -> None:
    for wire, wanted in ((PLAIN, HELLO), (AWKWARD, AWKWARD_DATA)):
        for reads in cuts(wire):
            _same(make, reads, wanted, ANY_READS)


def shares_nothing(make: Make) -> None:
    both = bytewise(PLAIN), bytewise(OTHER)
    for reads, wanted in zip(both, (HELLO, b"other one"), strict=True):
        _same(make, reads, wanted, ANY_READS)
    for reads, data, wanted in zip(both, in_turns(make, both), (HELLO, b"other one"), strict=True):
        found = b"".join(data)
        how = f"{reads[0]}, and another one in turns with it"
        need(found == wanted, f"{how}: found {told(found)}, expected {told(wanted)}", SHARED)


def holds_nothing_back(make: Make) -> None:
    first = PLAIN[: PLAIN.index(b"7")]
    _same(make, whole(first), b"hello", "the chunk is whole, and a stream may send no other for an hour")
    for at in range(1, len(first)):
        _same(make, whole(first[:at]), b"", WHOLE)


def reads_hexadecimal(make: Make) -> None:
    for name, (wire, size) in SIZES.items():
        reads = f"a size in {name}, {told(wire)}", [wire]
        _, found = _fed(make, reads, "a size is hexadecimal: int(digits, 16)")
        need(found == b"x" * size, f"{reads[0]}: found {len(found)} bytes of data, expected {size}")


def passes_over_extensions(make: Make) -> None:
    _same(make, whole(EXTENDED), HELLO, "behind the size, from a semicolon on, a line may hold extensions")


def passes_over_trailers(make: Make) -> None:
    _same(make, whole(TRAILED), HELLO, "fields may stand behind the chunk of size 0: trailers, and no data")


def tells_the_end(make: Make) -> None:
    for wire in (PLAIN, TRAILED, ZEROS):
        for at in range(len(wire) + 1):
            decoder, _ = _fed(make, whole(wire[:at]))
            said = _ended(decoder, f"after {told(wire[:at], from_behind=True)}")
            if bool(said) is not (at == len(wire)):
                hint = METHOD if said is None else _at_the_end(wire, at)
                raise NotKept(f"after {told(wire[:at], from_behind=True)} ended() is {said!r}", hint)


def _at_the_end(wire: bytes, at: int) -> str:
    if at == len(wire) and wire is ZEROS:
        return "the size of the last chunk is 0, in one digit or more: compare the number"
    if at == len(wire) and wire is TRAILED:
        return "the trailers end at a blank line, and so does the body"
    if at == len(wire):
        return "the chunk of size 0 and its blank line have come: this is the end"
    if wire.find(b"\r\n0") + 2 < at:
        return "the chunk of size 0 is not all: trailers may follow, and a blank line ends them"
    return "the chunk of size 0 has not come: a connection that is lost here has lost a part of the body"


def refuses_what_is_no_size(make: Make) -> None:
    for line in NO_SIZES:
        _refused(
            make,
            line + b"hello\r\n0\r\n\r\n",
            "hexadecimal digits and no more; int() also takes signs, blanks, 0x and _",
        )


def ends_lines_at_cr_lf(make: Make) -> None:
    hint = "a line ends at CR LF; who takes an LF alone for one reads another body than others"
    _refused(make, BARE_LF, hint)
    try:
        decoder, _ = _fed(make, whole(BARE_LF_AT_THE_END))
    except NotKept as error:
        if isinstance(error.__cause__, ValueError):  # refused at once
            return
        raise
    how = f"after {told(BARE_LF_AT_THE_END, from_behind=True)}"
    need(not _ended(decoder, how), f"{how} ended() is true", hint)


def refuses_data_without_an_end(make: Make) -> None:
    for wire in NO_ENDS:
        _refused(
            make, wire, "CR LF stands behind the data; who passes over anything else reads another body than others"
        )


def _refused(make: Make, wire: bytes, hint: str) -> None:
    for reads in (whole(wire), bytewise(wire)):
        refused(reads[0], partial(_data, make(), reads), hint)


def stops_at_the_end(make: Make) -> None:
    for reads in (whole(PLAIN + NEXT), in_two(PLAIN + NEXT, len(PLAIN))):
        hint = "what follows the end belongs to the next answer on this connection: leave it alone"
        decoder = _same(make, reads, HELLO, hint)
        said = _ended(decoder, reads[0])
        need(said, f"{reads[0]}: ended() is {said!r}", METHOD if said is None else hint)


DECHUNKER = Coding(
    "Dechunker, with feed(data) and ended()",
    (
        Promise("A body in one read gives its data.", gives_the_data, "a size, CR LF, so many bytes of data, CR LF"),
        Promise("Data may look like framing, and need not be text.", counts, ""),
        Promise("It gives the same byte by byte, and cut in two at any place.", takes_any_reads, "", needs_all=True),
        Promise("Two decoders at once share nothing.", shares_nothing, "", needs_all=True),
        Promise("A chunk comes out as soon as it is whole, and not before.", holds_nothing_back, ""),
        Promise("Sizes are hexadecimal.", reads_hexadecimal, "a size is hexadecimal: int(digits, 16)"),
        Promise("Extensions are passed over.", passes_over_extensions, ""),
        Promise("Trailers are passed over.", passes_over_trailers, ""),
        Promise("ended() tells the end from a cut at any byte.", tells_the_end, ""),
        Promise("What is no size is refused with ValueError.", refuses_what_is_no_size, ""),
        Promise("A line ends at CR LF, and not at LF alone.", ends_lines_at_cr_lf, ""),
        Promise("Data without CR LF behind them are refused with ValueError.", refuses_data_without_an_end, ""),
        Promise("What follows the end is left alone.", stops_at_the_end, ""),
    ),
    "Where ended() is false when the connection ends, the message is incomplete (RFC 9112 section 8).",
    form="class",
)

EXERCISES: dict[str, Coding] = {"03.4": DECHUNKER}
