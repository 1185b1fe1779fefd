"""WHATWG HTML 9.2.5 (parsing) and 9.2.6 (interpreting an event stream), clause by clause."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeding import assert_decodes, assert_linear, cuts, drain
from labkit.errors import WireError
from labkit.wire.event_stream import EventStreamDecoder, StreamEvent, encode_comment, encode_event, encode_id


def message(data: str, last_event_id: str = "", wire_id: str | None = None, type: str = "message") -> StreamEvent:
    return StreamEvent(type, data, last_event_id, wire_id)


def decodes(wire: bytes, *expected: StreamEvent, last_event_id: str = "", retry_ms: int | None = None) -> None:
    def state(decoder: EventStreamDecoder) -> None:
        assert (decoder.last_event_id, decoder.retry_ms) == (last_event_id, retry_ms)

    assert_decodes(EventStreamDecoder, wire, expected, left_over=b"data: unfinished\nid: 9", then=state)


# 9.2.5 parsing an event stream


@pytest.mark.parametrize(
    "wire",
    [
        b"data:a\ndata:b\n\n",
        b"data:a\rdata:b\r\r",
        b"data:a\r\ndata:b\r\n\r\n",
        b"data:a\rdata:b\n\r\n",
        b"data:a\r\ndata:b\r\r\n",
    ],
)
def test_9_2_5_lines_end_at_lf_cr_or_crlf(wire: bytes) -> None:
    decodes(wire, message("a\nb"))


def test_9_2_5_crlf_is_one_line_end_and_lf_cr_two() -> None:
    decodes(b"data:a\r\ndata:b\r\n\r\n", message("a\nb"))
    decodes(b"data:a\n\rdata:b\n\r", message("a"), message("b"))


def test_9_2_5_no_other_character_ends_a_line() -> None:
    odd = "a\x0bb\x0cc\x1cd\x1ee\x85f\u2028g\u2029h"
    decodes(f"data:{odd}\n\n".encode(), message(odd))


def test_9_2_5_an_event_is_dispatched_at_the_cr_without_waiting_for_its_lf() -> None:
    decoder = EventStreamDecoder()
    assert decoder.feed(b"data:a\r\n\r") == [message("a")]
    assert decoder.feed(b"\ndata:b\r\n\r") == [message("b")]
    assert decoder.feed(b"\n") == []


def test_9_2_5_an_empty_read_between_cr_and_lf_changes_nothing() -> None:
    assert drain(EventStreamDecoder(), [b"data:a\r", b"", b"\ndata:b\n\n"]) == ([message("a\nb")], None)


def test_9_2_5_a_byte_order_mark_is_stripped_once() -> None:
    bom = b"\xef\xbb\xbf"
    decodes(bom + b"data:a\n\n", message("a"))
    decodes(bom + b"\ndata:a\n\n", message("a"))
    decodes(bom + bom + b"data:a\n\ndata:b\n\n", message("b"))
    decodes(b"data:a\n\n" + bom + b"data:b\n\ndata:c\n\n", message("a"), message("c"))
    decodes(b"data:" + bom + b"a\n\n", message("\ufeffa"))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("안녕 é 🙂".encode(), "안녕 é 🙂"),
        (b"\xff", "\ufffd"),
        (b"\xe2\x82", "\ufffd"),  # cut short by the end of the line
        (b"\xf0\x9f\x99x", "\ufffdx"),
        (b"\xc0\xaf", "\ufffd\ufffd"),  # an overlong form
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),  # a surrogate
    ],
)
def test_9_2_5_streams_are_utf_8_and_what_is_not_is_replaced(raw: bytes, text: str) -> None:
    decodes(b"data:" + raw + b"\n\n", message(text))


# 9.2.6 interpreting an event stream


def test_9_2_6_a_blank_line_dispatches() -> None:
    decodes(b"data: YHOO\ndata: +2\ndata: 10\n\n", message("YHOO\n+2\n10"))
    decodes(b"\n\n\ndata:a\n\n\n\n", message("a"))


def test_9_2_6_the_standards_example_of_four_blocks() -> None:
    wire = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n"
    decodes(wire + b"\n", message("first event", "1", "1"), message("second event", "", ""), message(" third event"))


def test_9_2_6_the_standards_example_of_empty_data() -> None:
    decodes(b"data\n\ndata\ndata\n\ndata:", message(""), message("\n"))


def test_9_2_6_a_line_that_begins_with_a_colon_is_a_comment() -> None:
    decodes(b":\n: x\n:data:x\n\n")
    decodes(b"data:a\n:data:x\ndata:b\n\n", message("a\nb"))


def test_9_2_6_one_leading_space_of_a_value_is_removed() -> None:
    decodes(b"data:a\n\ndata: a\n\ndata:  a\n\ndata:\ta\n\n", *map(message, ("a", "a", " a", "\ta")))


def test_9_2_6_a_value_keeps_its_colons() -> None:
    decodes(b"data:a: b:c\n\n", message("a: b:c"))


def test_9_2_6_a_line_without_a_colon_is_a_field_with_an_empty_value() -> None:
    decodes(b"data\n\n", message(""))
    decodes(b"event: x\nevent\ndata\n\n", message(""))


def test_9_2_6_unknown_fields_are_ignored_and_names_are_exact() -> None:
    decodes(b"foo: 1\nData: x\ndata : x\n data: x\ndatas: x\n\n")
    decodes(b"foo\nDATA:x\ndata:a\n\n", message("a"))


def test_9_2_6_the_event_field_names_the_type_of_one_event() -> None:
    decodes(b"event: add\ndata:a\n\ndata:b\n\n", message("a", type="add"), message("b"))
    decodes(b"event: x\nevent: y\ndata:a\n\n", message("a", type="y"))
    decodes(b"event:\ndata:a\n\n", message("a"))


def test_9_2_6_a_block_without_data_dispatches_nothing_and_forgets_its_type() -> None:
    decodes(b"event: add\n\ndata:a\n\n", message("a"))


def test_9_2_6_the_id_is_kept_across_events_and_cleared_by_an_empty_one() -> None:
    decodes(
        b"id: 1\ndata:a\n\ndata:b\n\nid\ndata:c\n\ndata:d\n\n",
        message("a", "1", "1"),
        message("b", "1"),
        message("c", "", ""),
        message("d"),
    )


def test_9_2_6_a_block_of_only_an_id_sets_it_and_dispatches_nothing() -> None:
    decodes(b"id: 17@k3f9\n\n", last_event_id="17@k3f9")
    decodes(b"id: 17@k3f9\n\ndata:a\n\n", message("a", "17@k3f9"), last_event_id="17@k3f9")


def test_9_2_6_an_id_is_committed_at_the_blank_line_only() -> None:
    decodes(b"id: 1\n\nid: 2\ndata: cut", last_event_id="1")


def test_9_2_6_an_id_with_nul_is_ignored() -> None:
    decodes(b"id: 1\n\nid: 2\0\ndata:a\n\n", message("a", "1"), last_event_id="1")
    decodes(b"data: a\0b\n\n", message("a\0b"))


@pytest.mark.parametrize(
    ("value", "retry_ms"),
    [
        (b"1500", 1500),
        (b" 0", 0),
        (b"007", 7),
        (b"9" * 5000, 10**15),
        (b"0" * 5000 + b"3", 3),
        (b"", None),
        (b"-5", None),
        (b"+5", None),
        (b"1.5", None),
        (b"1e3", None),
        (b"  5", None),
        (b"5 ", None),
        (b"1_000", None),
        ("\u0663".encode(), None),  # a digit, but not an ASCII one
        ("²".encode(), None),
    ],
)
def test_9_2_6_retry_takes_ascii_digits_only(value: bytes, retry_ms: int | None) -> None:
    wire = b"retry:" + value + b"\n"
    if len(wire) < 100:
        decodes(wire + b"data:a\n\n", message("a"), retry_ms=retry_ms)
    decoder = EventStreamDecoder()
    decoder.feed(wire)
    assert decoder.retry_ms == retry_ms, "it counts at its line, with no blank line needed"


def test_9_2_6_a_bad_retry_leaves_the_last_good_one() -> None:
    decodes(b"retry: 10\nretry: x\n\n", retry_ms=10)


def test_9_2_6_an_event_that_the_end_cuts_short_is_discarded() -> None:
    for wire in (b"data: a", b"data: a\n", b"data: a\r\n"):
        assert drain(EventStreamDecoder(), [wire]) == ([], None)


def test_a_reconnected_stream_may_start_with_the_id_that_was_held() -> None:
    decoder = EventStreamDecoder("5@k3f9")
    assert decoder.feed(b"data:a\n\n") == [message("a", "5@k3f9")]


# the encoder


def test_an_encoded_event_has_exactly_these_bytes() -> None:
    assert encode_event("a\nb", event="add", id="1@k3f9", retry_ms=0) == (
        b"event: add\nid: 1@k3f9\nretry: 0\ndata: a\ndata: b\n\n"
    )
    assert encode_event("") == b"data: \n\n"
    assert encode_id("17@k3f9") == b"id: 17@k3f9\n\n"
    assert encode_comment() == b":\n"
    assert encode_comment("x\ny") == b": x\n: y\n"


@pytest.mark.parametrize(
    ("encode", "clause"),
    [
        (lambda: encode_event("a\rb"), "WHATWG HTML 9.2.5"),
        (lambda: encode_event("a\r\nb"), "WHATWG HTML 9.2.5"),
        (lambda: encode_event("\ud800"), "WHATWG HTML 9.2.5"),
        (lambda: encode_event("a", event="x\ny"), "WHATWG HTML 9.2.5"),
        (lambda: encode_event("a", event="x\ry"), "WHATWG HTML 9.2.5"),
        (lambda: encode_event("a", id="1\n"), "WHATWG HTML 9.2.5"),
        (lambda: encode_event("a", id="1\r"), "WHATWG HTML 9.2.5"),
        (lambda: encode_event("a", id="1\0"), "WHATWG HTML 9.2.6"),
        (lambda: encode_event("a", retry_ms=-5), "WHATWG HTML 9.2.6"),
        (lambda: encode_id("1\n"), "WHATWG HTML 9.2.5"),
        (lambda: encode_id("1\0"), "WHATWG HTML 9.2.6"),
        (lambda: encode_comment("a\rb"), "WHATWG HTML 9.2.5"),
    ],
)
def test_what_a_block_cannot_carry_is_refused_with_the_clause(encode, clause: str) -> None:
    with pytest.raises(WireError) as caught:
        encode()
    assert caught.value.clause == clause


no_surrogates = st.characters(exclude_categories=["Cs"])
texts = st.text(st.one_of(no_surrogates, st.sampled_from("\n: \ufeff\0")), max_size=40).filter(lambda t: "\r" not in t)
one_line = texts.filter(lambda t: "\n" not in t)
ids = one_line.filter(lambda t: "\0" not in t)


@given(st.lists(st.tuples(texts, st.none() | one_line, st.none() | ids), max_size=4), st.data())
def test_what_is_encoded_comes_back_however_it_is_cut(blocks, data) -> None:
    wire, expected, last = b"", [], ""
    for text, event, id in blocks:
        wire += encode_event(text, event=event, id=id) + encode_comment(text)
        last = last if id is None else id
        expected.append(StreamEvent(event or "message", text, last, id))
    places = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=5)))
    reads = [wire[a:b] for a, b in zip([0, *places], [*places, len(wire)], strict=True)]
    assert drain(EventStreamDecoder(), reads) == (expected, None)


@given(st.lists(st.sampled_from([b"data", b":", b" ", b"\r", b"\n", b"id", b"\xef\xbb\xbf", b"\xe2", b"\0", b"7"])))
def test_any_bytes_decode_alike_however_they_are_cut(parts) -> None:
    wire = b"".join(parts)
    whole = drain(EventStreamDecoder(), [wire])
    for reads in cuts(wire):
        assert drain(EventStreamDecoder(), reads) == whole


@pytest.mark.alone
@pytest.mark.parametrize("wire", [lambda n: b"data:" + b"x" * n, lambda n: b"data:\n" * (n // 6), lambda n: b"\r" * n])
def test_decoding_byte_by_byte_takes_linear_time(wire) -> None:
    assert_linear(EventStreamDecoder, wire)
