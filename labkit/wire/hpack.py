"""HPACK field blocks (RFC 7541): where each field lies in the coded bytes, so that it is known what it cost.

What a field *says* needs the dynamic table, and so every block of its direction from the first: that is the affair of
whoever decodes (``h2`` in a client, ``hpack`` beside a relay). How long each one is stands in the block itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from labkit.errors import WireError
from labkit.wire.spans import Direction, Mark, Run

How = Literal["indexed", "literal, indexed from now on", "literal", "literal, never indexed", "table size"]
"""RFC 7541 sections 6.1, 6.2.1, 6.2.2, 6.2.3 and 6.3."""
TABLE_SIZE = "dynamic-table-size"
"""The label of what is no field, but sets the size of the table."""
INTEGERS = "RFC 7541 section 5.1"
STRINGS = "RFC 7541 section 5.2"
_LONGEST = 10  # bytes of one integer


class Coded(NamedTuple):
    """One representation in a block.

    Attributes:
        size_bytes: of it all, name and value included where they stand there.
        how: which representation it is.
    """

    size_bytes: int
    how: How


def representations(block: bytes) -> Iterator[Coded]:
    """What a block holds, one behind the other without a hole.

    Raises:
        WireError: it ends within one, or an integer of it has no end.
    """
    at = 0
    while at < len(block):
        start, first = at, block[at]
        how: How
        if first & 0x80:
            how, (_, at) = "indexed", _integer(block, at, 7)
        elif first & 0xE0 == 0x20:
            how, (_, at) = "table size", _integer(block, at, 5)
        else:
            bits: tuple[How, int] = ("literal, indexed from now on", 6)
            if not first & 0x40:
                bits = ("literal, never indexed", 4) if first & 0x10 else ("literal", 4)
            how, (index, at) = bits[0], _integer(block, at, bits[1])
            for _ in range(1 if index else 2):
                at = _past_string(block, at)
        yield Coded(at - start, how)


def value_of(one: bytes) -> tuple[int, bool] | None:
    """Where the value begins in one whole representation, which it ends, and whether it is in Huffman's code.

    None where it has none of its own (section 6.1), or where this is no representation.
    """
    if not one or one[0] & 0x80 or one[0] & 0xE0 == 0x20:
        return None
    try:
        index, at = _integer(one, 0, 6 if one[0] & 0x40 else 4)
        at = at if index else _past_string(one, at)
        return len(one) - _integer(one, at, 7)[0], bool(one[at] & 0x80)
    except (WireError, IndexError):
        return None


def _integer(block: bytes, at: int, prefix_bits: int) -> tuple[int, int]:
    """The integer that begins at *at*, and where it ends (section 5.1)."""
    most = (1 << prefix_bits) - 1
    value = block[at] & most
    at += 1
    if value < most:
        return value, at
    for place in range(_LONGEST):
        if at >= len(block):
            break
        byte = block[at]
        value += (byte & 0x7F) << (7 * place)
        at += 1
        if not byte & 0x80:
            return value, at
    raise WireError("an integer without an end in a field block", clause=INTEGERS)


def _past_string(block: bytes, at: int) -> int:
    if at >= len(block):
        raise WireError("a field block ends where a string should begin", clause=STRINGS)
    size, at = _integer(block, at, 7)
    if at + size > len(block):
        raise WireError("a field block ends within a string", clause=STRINGS)
    return at + size


def runs_of_fields(block: bytes, names: Iterable[str]) -> list[Run]:
    """What the bytes of a block were for: a run for each field, under its name.

    Args:
        names: of the fields that it decodes to, in their order.
    """
    named = iter(names)
    return [
        (one.size_bytes, "headers", TABLE_SIZE if one.how == "table size" else next(named, "field"), None)
        for one in representations(block)
    ]


def costs(marks: Iterable[Mark], direction: Direction = "out") -> dict[str, list[int]]:
    """Name of a field -> its coded bytes in each exchange that had it, in their order: the first and the hundredth.

    Args:
        marks: of one HTTP/2 connection, as its ledger has them.
        direction: ``out`` for requests, ``in`` for answers.
    """
    found: dict[str, dict[int, int]] = {}
    for mark in marks:
        if mark.category == "headers" and mark.direction == direction and mark.exchange is not None:
            by_exchange = found.setdefault(mark.label, {})
            number = mark.exchange.number
            by_exchange[number] = by_exchange.get(number, 0) + mark.stop - mark.start
    return {name: [sizes[number] for number in sorted(sizes)] for name, sizes in found.items()}
