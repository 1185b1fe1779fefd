"""RFC 9112 section 7.1, the chunked transfer coding, clause by clause."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeding import assert_breaks, assert_decodes, assert_linear, drain
from labkit.errors import WireError
from labkit.wire.chunk_lines import FORBIDDEN_TRAILERS
from labkit.wire.chunks import ChunkCutter, encode_chunk, encode_last
from labkit.wire.whole_chunks import Chunk, ChunkDecoder, Trailers

LAST = b"0\r\n\r\n"
END = Trailers()


def decodes(wire: bytes, *expected: Chunk | Trailers) -> None:
    """A whole body, alone and with the next response's bytes behind it, which must be left over exactly."""
    assert_decodes(ChunkDecoder, wire, expected, then=lambda decoder: decoder.eof())
    behind = b"HTTP/1.1 200 OK\r\n5\r\n"

    def untouched(decoder: ChunkDecoder) -> None:
        assert decoder.done and decoder.leftover == behind

    assert_decodes(ChunkDecoder, wire + behind, expected, then=untouched)


def breaks(wire: bytes, section: str, *after: Chunk | Trailers, make=ChunkDecoder) -> None:
    assert_breaks(make, wire, f"RFC {section}", after=after)


# 7.1 the coding


@pytest.mark.parametrize(
    ("wire", "chunks"),
    [
        (b"", []),
        (b"5\r\nhello\r\n", [Chunk(b"hello")]),
        (b"1\r\na\r\n2\r\nbc\r\n", [Chunk(b"a"), Chunk(b"bc")]),
        (b"a\r\n0123456789\r\nA\r\n0123456789\r\n", [Chunk(b"0123456789")] * 2),
        (b"0005\r\nhello\r\n", [Chunk(b"hello")]),
        (b"4\r\n\r\n\r\n\r\n", [Chunk(b"\r\n\r\n")]),
        (b"5\r\n0\r\n\r\n\r\n", [Chunk(LAST)]),
    ],
)
def test_7_1_chunks_are_a_size_in_hexadecimal_then_that_many_bytes(wire: bytes, chunks: list[Chunk]) -> None:
    decodes(wire + LAST, *chunks, END)


def test_7_1_the_last_chunk_is_any_number_of_zeros() -> None:
    decodes(b"000\r\n\r\n", END)


def test_7_1_a_chunk_is_given_when_whole_and_not_before() -> None:
    decoder = ChunkDecoder()
    assert decoder.feed(b"5\r\nhello") == []
    assert decoder.leftover == b""
    assert decoder.feed(b"\r") == []
    assert decoder.feed(b"\n") == [Chunk(b"hello")]
    assert not decoder.done and decoder.leftover == b""


@pytest.mark.parametrize(
    "size", [b"", b" ", b"0x5", b"+5", b"-5", b" 5", b"5 ", b"5\t", b"5_0", b"g", b"5 5", b"\xd9\xa3"]
)
def test_7_1_a_size_is_hexadecimal_digits_and_nothing_else(size: bytes) -> None:
    breaks(b"1\r\na\r\n" + size + b"\r\nhello\r\n", "9112 section 7.1", Chunk(b"a"))


@pytest.mark.parametrize("end", [b"\n", b"XX", b"\rX", b"\n\r", b"x\r\n", b"0\r\n"])
def test_7_1_chunk_data_is_followed_by_crlf(end: bytes) -> None:
    breaks(b"5\r\nhello" + end, "9112 section 7.1")


def test_7_1_a_missing_crlf_is_seen_at_its_first_byte() -> None:
    with pytest.raises(WireError):
        ChunkDecoder().feed(b"5\r\nhello0")


def test_7_1_large_sizes_do_not_overflow() -> None:
    small = partial(ChunkDecoder, max_chunk_bytes=5)
    assert_decodes(small, b"5\r\nhello\r\n", [Chunk(b"hello")])
    breaks(b"6\r\n", "9112 section 7.1", make=small)
    breaks(b"ffffffffffffffff\r\n", "9112 section 7.1")
    breaks(b"1" + b"0" * 200 + b"\r\n", "9112 section 7.1")


def test_7_1_lines_have_a_limit() -> None:
    short = partial(ChunkDecoder, max_line_bytes=8)
    assert_decodes(short, b"0001;a\r\nx\r\n", [Chunk(b"x", (("a", None),))])
    assert_decodes(short, b"000001\r\nx\r\n", [Chunk(b"x")])
    breaks(b"0000001\r\nx\r\n", "9112 section 7.1", make=short)
    breaks(b"0" * 100, "9112 section 7.1", make=short)
    breaks(b"0\r\nabc: defg\r\n", "9112 section 7.1", make=short)


@pytest.mark.parametrize("wire", [b"5\nhello\r\n", b"5;a\nhello\r\n", b"0\n\r\n", b"0\r\n\n", b"0\r\nA: b\n\r\n"])
def test_2_2_a_bare_lf_ends_no_line(wire: bytes) -> None:
    breaks(wire, "9112 section 2.2")


@pytest.mark.parametrize("wire", [b"5\rhello\r\n", b"5\r\rhello\r\n"])
def test_2_2_a_bare_cr_ends_no_line(wire: bytes) -> None:
    breaks(wire, "9112 section 7.1")


# 7.1.1 extensions


@pytest.mark.parametrize(
    ("text", "extensions"),
    [
        (b";a", [("a", None)]),
        (b";a=b;c", [("a", "b"), ("c", None)]),
        (b" ; a = b\t;\tc", [("a", "b"), ("c", None)]),
        (b';a="b c;=d"', [("a", "b c;=d")]),
        (b';a="\\"\\\\x\\y"', [("a", '"\\xy')]),
        (b';a=""', [("a", "")]),
        (b';a="\xe9";b', [("a", "é"), ("b", None)]),
        (b";a=1;a=2", [("a", "1"), ("a", "2")]),
    ],
)
def test_7_1_1_extensions_are_names_with_tokens_or_quoted_strings(text: bytes, extensions: list) -> None:
    decodes(b"1" + text + b"\r\nx\r\n0" + text + b"\r\n\r\n", Chunk(b"x", tuple(extensions)), END)


@pytest.mark.parametrize(
    "text",
    [
        b";",
        b"; ",
        b";;a",
        b";a=",
        b";=b",
        b";a b",
        b";a=b c",
        b';a="b',
        b';a="b"c',
        b';a=b"c"',
        b";a;",
        b";a\0",
        b';a="\x7f"',
        b";\xe9",
        b";a ",
    ],
)
def test_7_1_1_extensions_that_do_not_parse(text: bytes) -> None:
    with pytest.raises(WireError, match=r"RFC 9112 section 7\.1"):
        ChunkDecoder().feed(b"1" + text + b"\r\nx\r\n")
    with pytest.raises(WireError, match=r"RFC 9112 section 7\.1"):
        ChunkDecoder().feed(b"0" + text + b"\r\n\r\n")


def test_7_1_1_a_broken_extension_names_its_clause() -> None:
    breaks(b"1;a=\r\n", "9112 section 7.1.1")
    breaks(b"1;\r\n", "9112 section 7.1.1")
    breaks(b"1 a\r\n", "9112 section 7.1")
    breaks(b"1;a;;b\r\n", "9112 section 7.1.1")


# 7.1.2 trailers


@pytest.mark.parametrize(
    ("section", "fields"),
    [
        (b"A: b\r\n", [("A", "b")]),
        (b"A:b\r\nX-Long-Name:\t two words \t\r\nA: c\r\n", [("A", "b"), ("X-Long-Name", "two words"), ("A", "c")]),
        (b"A:\r\nB: \xe9:\r\n", [("A", ""), ("B", "é:")]),
    ],
)
def test_7_1_2_trailer_fields_come_after_the_last_chunk(section: bytes, fields: list) -> None:
    decodes(b"1\r\nx\r\n0\r\n" + section + b"\r\n", Chunk(b"x"), Trailers(tuple(fields)))


@pytest.mark.parametrize(
    "line", [b"A", b": b", b"A : b", b" A: b", b"\tfolded", b"A: b\0", b"A: b\rc", b"A\xe9: b", b"A: \x7f"]
)
def test_5_a_trailer_field_that_does_not_parse(line: bytes) -> None:
    breaks(b"0\r\n" + line + b"\r\n\r\n", "9112 section 5")


@pytest.mark.parametrize(
    "name", ["Transfer-Encoding", "content-length", "HOST", "Trailer", "Set-Cookie", "Content-Type"]
)
def test_9110_6_5_1_fields_that_may_not_be_trailers(name: str) -> None:
    breaks(b"0\r\n" + name.encode() + b": 1\r\n\r\n", "9110 section 6.5.1")
    with pytest.raises(WireError, match=r"6\.5\.1"):
        encode_last([(name, "1")])


def test_7_1_2_the_trailer_section_has_a_limit() -> None:
    tight = partial(ChunkDecoder, max_trailer_bytes=12)
    assert_decodes(tight, b"0\r\nA: b\r\nA: b\r\n\r\n", [Trailers((("A", "b"),) * 2)])
    breaks(b"0\r\nA: b\r\nA: bc\r\n\r\n", "9112 section 7.1.2", make=tight)


# 8 incomplete messages


@pytest.mark.parametrize("at", range(len(b"5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n")))
def test_8_a_body_that_is_cut_anywhere_is_incomplete(at: int) -> None:
    decoder = ChunkDecoder()
    decoder.feed(b"5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n"[:at])
    with pytest.raises(WireError, match="RFC 9112 section 8"):
        decoder.eof()


def test_8_the_end_of_a_broken_body_tells_what_broke_it() -> None:
    decoder = ChunkDecoder()
    drain(decoder, [b"x\r\n"])
    with pytest.raises(WireError, match=r"RFC 9112 section 7\.1"):
        decoder.eof()


def test_reads_after_the_end_are_left_over_too() -> None:
    decoder = ChunkDecoder()
    assert decoder.feed(LAST + b"HT") == [END]
    assert decoder.feed(b"TP") == []
    assert decoder.leftover == b"HTTP"


# the encoder


def test_encoded_chunks_have_exactly_these_bytes() -> None:
    assert encode_chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert encode_chunk(b"x", [("a", None), ("b", "c"), ("d", 'e "f\\')]) == b'1;a;b=c;d="e \\"f\\\\"\r\nx\r\n'
    assert encode_last() == LAST
    assert encode_last([("A", "b"), ("B", "")]) == b"0\r\nA: b\r\nB: \r\n\r\n"


@pytest.mark.parametrize(
    ("encode", "section"),
    [
        (lambda: encode_chunk(b""), "7.1"),
        (lambda: encode_chunk(b"x", [("a b", None)]), "7.1.1"),
        (lambda: encode_chunk(b"x", [("", "b")]), "7.1.1"),
        (lambda: encode_chunk(b"x", [("a", "b\r\n")]), "7.1.1"),
        (lambda: encode_chunk(b"x", [("a", "가")]), "7.1.1"),
        (lambda: encode_last([("A b", "c")]), "5"),
        (lambda: encode_last([("A", "b\r\nHost: c")]), "5"),
        (lambda: encode_last([("A", " b")]), "5"),
        (lambda: encode_last([("A:b", "c")]), "5"),
        (lambda: encode_last([("A", "가")]), "5"),
    ],
)
def test_what_the_coding_cannot_carry_is_refused_with_the_clause(encode, section: str) -> None:
    with pytest.raises(WireError) as caught:
        encode()
    assert caught.value.clause == f"RFC 9112 section {section}"


tokens = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=6)
visible = st.text(st.sampled_from("\t !\"'\\;=~aé\xa0\xff"), max_size=10)
chunks = st.builds(
    Chunk, st.binary(min_size=1, max_size=20), st.lists(st.tuples(tokens, st.none() | visible), max_size=3).map(tuple)
)
fields = st.tuples(tokens.filter(lambda t: t.lower() not in FORBIDDEN_TRAILERS), visible.map(lambda t: t.strip(" \t")))


@given(st.lists(chunks, max_size=4), st.lists(fields, max_size=3).map(tuple), st.binary(max_size=8), st.data())
def test_an_encoded_body_comes_back_however_it_is_cut(body, trailers, behind, data) -> None:
    wire = b"".join(encode_chunk(c.data, c.extensions) for c in body) + encode_last(trailers) + behind
    places = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=5)))
    reads = [wire[a:b] for a, b in zip([0, *places], [*places, len(wire)], strict=True)]
    decoder = ChunkDecoder()
    assert drain(decoder, reads) == ([*body, Trailers(trailers)], None)
    assert decoder.done and decoder.leftover == behind


@given(st.lists(st.sampled_from([b"0", b"1", b"a", b";", b"=", b'"', b" ", b"\r\n", b"\r", b"\n", b"x", b":"])))
def test_any_bytes_give_chunks_or_the_kits_own_error_alike_however_they_are_cut(parts) -> None:
    wire = b"".join(parts)
    whole = drain(ChunkDecoder(), [wire])
    bytewise = drain(ChunkDecoder(), [wire[i : i + 1] for i in range(len(wire))])
    assert bytewise == whole


@pytest.mark.alone
@pytest.mark.parametrize("wire", [lambda n: b"%x\r\n" % n + bytes(n), lambda n: b"1\r\nx\r\n" * (n // 6)])
def test_decoding_byte_by_byte_takes_linear_time(wire) -> None:
    assert_linear(ChunkDecoder, wire)


def test_a_trailer_that_should_not_be_there_is_passed_over_where_none_is_handed_over() -> None:
    cutter = ChunkCutter()
    assert b"".join(data for _, data in cutter.pieces(b"1\r\na\r\n0\r\nHost: x\r\n\r\n")) == b"a" and cutter.done
