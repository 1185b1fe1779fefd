"""What a header field costs over HTTP/2, in closed form (HPACK, RFC 7541).

A field that was sent before on the connection stands in the dynamic table, and is then one number: one byte, as long as
the table holds less than 65 of them (sections 5.1, 6.1, Appendix A: 61 fields are there from the start, and seven bits
hold up to 126). One whose value is new costs its name's number, the length of the value, and the value in the Huffman
code of Appendix B (section 6.2.1).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

TABLE_BYTES = 4096
"""Of the dynamic table, unless SETTINGS say otherwise (RFC 9113 section 6.5.2)."""
_BITS = {
    5: "012aceiost", 6: " %-./3456789=A_bdfghlmnpru", 7: ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz", 8: "&*,;XZ",
    10: '!"()?', 11: "'+|", 12: "#>", 13: "$@[]~", 14: "^}", 15: "<`{",
}  # fmt: skip
HUFFMAN_BITS = {letter: bits for bits, letters in _BITS.items() for letter in letters}
"""Of the printable letters of ASCII but the backslash, which takes 19."""


def huffman_bytes(value: str) -> int:
    """The bytes of a value in the Huffman code.

    Raises:
        KeyError: there is a letter in it that is not printable ASCII.
    """
    return math.ceil(sum(HUFFMAN_BITS[letter] for letter in value) / 8)


def changed_bytes(value: str) -> int:
    """The bytes of a field whose name is known and whose value is new; values under 127 bytes."""
    return 2 + min(huffman_bytes(value), len(value))


def repeated_request_bytes(unchanged: int, changed: Iterable[str] = ()) -> int:
    """The bytes of a request's HEADERS frame once all of its fields were sent before, but for some new values.

    Args:
        unchanged: fields that are as they were, the pseudo-fields counted.
        changed: the values of the others.
    """
    return 9 + unchanged + sum(map(changed_bytes, changed))


def entry_bytes(name: str, value: str) -> int:
    """What a field takes of the dynamic table (section 4.1)."""
    return len(name) + len(value) + 32


def forgets_at(unchanged: Iterable[tuple[str, str]], changed: tuple[str, str]) -> int:
    """The number of the first request that has to send again what was as it was, since the table has forgotten it.

    Each request puts its new value into the table, and the oldest fall out (section 4.4): those that never changed.
    With the first of them missing, each that is put back pushes out the next, so that one request sends them all.

    Args:
        unchanged: the fields that went into the table and stay as they were; not those of the static table.
        changed: the field that each request sends with another value.
    """
    room = TABLE_BYTES - sum(entry_bytes(*one) for one in unchanged)
    return room // entry_bytes(*changed) + 2
