"""What fields cost in closed form, beside an encoder that somebody else wrote."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.theory.field_blocks import (
    HUFFMAN_BITS,
    changed_bytes,
    forgets_at,
    huffman_bytes,
    repeated_request_bytes,
)

hpack = pytest.importorskip("hpack")
LETTERS = "".join(sorted(set(map(chr, range(32, 127))) - {"\\"}))
SAME = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost:8000"), ("accept", "application/json")]


def test_each_printable_letter_has_its_length() -> None:
    assert set(HUFFMAN_BITS) == set(LETTERS) and len(string.printable) > len(LETTERS)


@given(st.text(LETTERS, max_size=100))
def test_a_value_takes_as_many_bytes_as_an_encoder_gives_it(value: str) -> None:
    from hpack.huffman import HuffmanEncoder
    from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

    assert huffman_bytes(value) == len(HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(value.encode()))


def path(number: int) -> str:
    return f"/polling?topic=board&after={number}@k3f9"


def test_a_repeated_request_costs_what_an_encoder_makes_of_it_until_the_table_forgets() -> None:
    encoder, sizes = hpack.Encoder(), {}
    for number in range(100, 200):
        sizes[number - 99] = 9 + len(encoder.encode([*SAME, (":path", path(number))]))
    usual = repeated_request_bytes(len(SAME), [path(100)])
    forgotten = forgets_at(SAME[2:], (":path", path(100)))
    assert {n for n, size in sizes.items() if n > 1 and size > usual} == {forgotten} or forgotten > 100
    assert all(abs(size - usual) <= 1 for n, size in sizes.items() if n not in (1, forgotten))
    assert sizes[1] > 2 * usual - 9 - changed_bytes(path(100)) and 40 < forgotten < 60
