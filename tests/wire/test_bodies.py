"""Lines, parts, event streams, answers and frames: values, and runs that cover every byte, however they are cut."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from feeding import assert_decodes, assert_linear
from labkit.wire.bodies import Reading, Whole, reading_of
from labkit.wire.chunks import ChunkCutter, encode_chunk, encode_last
from labkit.wire.delimited import Delimited
from labkit.wire.envelope import Closing, Received, Start, decode, encode, told, told_answer, told_binary
from labkit.wire.event_stream import EventStreamDecoder
from labkit.wire.events import Event, Gap
from labkit.wire.first_word import Blocks
from labkit.wire.frames import Frame, FrameDecoder, Opcode, PassedOver, encode_frame
from labkit.wire.multipart import PartDecoder, boundary_of


class Fed:
    """A decoder whose items are plain: value, and (bytes, category, label, id) of its runs."""

    def __init__(self, make: Callable[[], Reading]) -> None:
        self._reading = make()

    def feed(self, data: bytes) -> list[Any]:
        return [(value, plain(runs)) for value, runs in self._reading.items(data)]


def plain(runs: list[Any]) -> list[tuple[int, str, str, str | None]]:
    """Neighbours that say the same are one: an LF that came with a later read is a run of its own."""
    found: list[tuple[int, str, str, str | None]] = []
    for count, *what, event in runs:
        says = (*what, event and (event.wire_id or "#"))
        if found and found[-1][1:] == says:
            found[-1] = (found[-1][0] + count, *says)
        else:
            found.append((count, *says))
    return found


def decodes(make: Callable[[], Reading], wire: bytes, *expected: Any, left_over: bytes = b"") -> None:
    assert_decodes(partial(Fed, make), wire, expected, left_over=left_over)


# -- lines and NULs --------------------------------------------------------------------------------------------------


def test_lines_end_with_lf_or_crlf_and_empty_ones_carry_nothing() -> None:
    end = (1, "framing", "delimiter", None)
    decodes(
        Delimited,
        b"a\n\nbc\r\n\r\n",
        (b"a", [(1, "payload", "", None), end]),
        (None, [end]),
        (b"bc", [(2, "payload", "", None), (2, "framing", "delimiter", None)]),
        (None, [(2, "framing", "delimiter", None)]),
        left_over=b"rest",
    )


def test_nul_ended_messages_keep_their_cr_and_lf() -> None:
    nul = (1, "framing", "NUL", None)
    decodes(partial(Delimited, b"\0", "NUL"), b"a\r\n\0\0", (b"a\r\n", [(3, "payload", "", None), nul]), (None, [nul]))


# -- parts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/x-mixed-replace; boundary=b", "b"),
        ('multipart/x-mixed-replace;Boundary="a b;c"; x=y', "a b;c"),
        ("multipart/x-mixed-replace; x=1; boundary=b;y=2", "b"),
        ("multipart/x-mixed-replace", ""),
    ],
)
def test_the_boundary_is_named_by_the_content_type(content_type: str, boundary: str) -> None:
    assert boundary_of(content_type) == boundary


def test_parts_stand_between_boundaries() -> None:
    part = [(8, "framing", "part head", None), (1, "payload", "", None), (7, "framing", "delimiter", None)]
    decodes(
        partial(PartDecoder, "multipart/x-mixed-replace; boundary=b"),
        b"p\n--b\r\nA: b\r\n\r\nx\r\n--b\r\n\r\n\r\n--b\r\nA: b\r\n\r\ny\r\n--b--",
        (None, [(2, "framing", "preamble", None), (5, "framing", "delimiter", None)]),
        (b"x", part),
        (b"", [(2, "framing", "part head", None), (0, "payload", "", None), (7, "framing", "delimiter", None)]),
        (b"y", part),
    )


def test_a_boundary_inside_a_line_is_none_in_a_part_too_long_to_read_either() -> None:
    wire = b"--b\r\n" + b"x" * 200 + b"y--b\r\n" + b"z" * 300 + b"\r\n--b\r\n\r\na\r\n--b--"
    make = partial(PartDecoder, "a/b; boundary=b", max_item_bytes=9)
    for reads in ([wire], [wire[i : i + 1] for i in range(len(wire))]):
        decoder = make()
        items = [item for read in reads for item in decoder.items(read)]
        assert [value for value, _ in items if value is not None] == [b"a"]
        assert plain([run for _, runs in items for run in runs if run[0]])[:2] == [
            (5, "framing", "delimiter", None),
            (508, "payload", "too long to read", None),
        ]


# -- labkit's JSON ---------------------------------------------------------------------------------------------------


@given(st.text() | st.binary())
def test_an_event_is_told_as_it_is_decoded_and_every_byte_has_a_run(data: str | bytes) -> None:
    raw = encode(Event(17, data, 0)).encode()
    value, runs = told(raw)
    assert value == decode(raw) == Received(17, data)
    payload = len(data if isinstance(data, bytes) else data.encode())
    assert sum(run[0] for run in runs) == len(raw)
    assert sum(run[0] for run in runs if run[1] == "payload") == payload
    assert {run[3].wire_id for run in runs if run[3]} == {"17"}


@given(st.text(st.sampled_from('{}[]":,\\ \n\tid atbse641700uF'), max_size=40))
def test_any_text_is_told_as_it_is_decoded(text: str) -> None:
    raw = text.encode()
    value, runs = told(raw)
    assert value == decode(raw)
    assert sum(run[0] for run in runs) == len(raw)
    assert (value is None) <= any(run[3] for run in runs)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"id":0,"data":"x"}', None),
        (b'{"id":01,"data":"x"}', None),
        (b'{"id":1,"data":"\xff"}', None),
        (b'{"id":1,"data":"a\tb"}', None),
        (b'{"id":1,"data":"x"} ', Received(1, "x")),
        (b'{"id":1,"data":"\x7f"}', Received(1, "\x7f")),
        (b'{"closing":"slow"}', Closing("slow")),
        (b'{"gap":{"after":"1","next":9},"cursor":"8@k3f9"}', Gap("1", 9, "8@k3f9")),
    ],
)
def test_what_is_plain_is_read_without_a_parser_and_means_the_same(raw: bytes, value: Any) -> None:
    assert told(raw)[0] == decode(raw) == value


def test_a_member_name_that_is_written_with_escapes_leaves_its_data_unplaced() -> None:
    raw = b'{"id":1,"d\\u0061ta":"x"}'
    value, runs = told(raw)
    assert value == Received(1, "x")
    assert plain(runs) == [(0, "payload", "", "1"), (len(raw), "envelope", "JSON", None)]


def test_a_binary_message_is_8_bytes_of_id_and_the_data() -> None:
    value, runs = told_binary(b"\0" * 7 + b"\x11ab")
    assert value == Received(17, b"ab")
    assert plain(runs) == [(8, "envelope", "", "17"), (2, "payload", "", "17")]
    assert told_binary(b"short")[0] is None


def test_data_that_looks_like_an_event_is_not_taken_for_one() -> None:
    inside = '{"id":2,"data":"no"}'
    events = [Event(1, inside, 0), Event(2, "yes", 0)]
    raw = f'{{"events":[{",".join(map(encode, events))}],"cursor":"2@k3f9"}}'.encode()
    _, runs = told_answer(raw)
    assert [run[0] for run in runs if run[1] == "payload"] == [len(inside), 3]
    assert sum(run[0] for run in runs) == len(raw)


# -- every reading ---------------------------------------------------------------------------------------------------

READINGS: dict[str, Callable[[], Reading]] = {
    "event stream": lambda: reading_of("text/event-stream"),
    "lines": lambda: reading_of("application/x-ndjson"),
    "parts": lambda: reading_of("multipart/x-mixed-replace; boundary=b"),
    "answer": lambda: reading_of("application/json"),
    "unknown": lambda: reading_of("text/html"),
    "whole": Whole,
    "short": lambda: EventStreamDecoder(max_item_bytes=9),
    "short lines": lambda: Delimited(max_item_bytes=3),
    "short parts": lambda: PartDecoder("a/b; boundary=b", max_item_bytes=3),
}
BITS = [b"\r", b"\n", b"\r\n\r\n", b"data: x", b"id: 7", b"event: json", b"--b", b"--", b'{"id":7,"data":"y"}', b" :a"]


@pytest.mark.parametrize("name", READINGS)
@example(bits=[b"id: 7", b"\r", b"\0\0", b"\r", b"\n"])  # too long with the LF that a later read brings
@example(bits=[b":", b"data: x", b"data: x", b"\r"])  # a comment that is too long, whole in one read
@example(bits=[b"data: xid: 7--b\r\r", b"\xef\xbb\xbf", b": hb\r"])  # only the stream's first line may have this mark
@given(bits=st.lists(st.sampled_from(BITS) | st.binary(max_size=3), max_size=12))
def test_any_bytes_are_told_once_and_alike_however_they_are_cut(name: str, bits: list[bytes]) -> None:
    wire = b"".join(bits)
    found = []
    for reads in ([wire], [wire[i : i + 1] for i in range(len(wire))]):
        reading = READINGS[name]()
        items = [item for read in reads for item in reading.items(read)] + reading.end()
        runs = plain([run for _, runs in items for run in runs if run[0]])
        assert sum(run[0] for run in runs) <= len(wire)
        found.append(([value for value, _ in items if value is not None], runs))
    assert found[0] == found[1]


@example(bits=[b"id: 7\n", b"data: x\n", b"\n"])
@example(bits=[b"data: x\n", b"retry:0\n", b"\n"])
@given(bits=st.lists(st.sampled_from([*BITS, b"id", b":", b"retry:0", b"\n"]), max_size=12))
def test_what_holds_after_a_block_that_is_too_long_is_the_same_however_it_is_cut(bits: list[bytes]) -> None:
    wire = b"".join(bits)
    held = []
    for reads in (
        [wire],
        [wire[i : i + 1] for i in range(len(wire))],
        *((wire[:i], wire[i:]) for i in range(len(wire))),
    ):
        decoder = EventStreamDecoder("0", max_item_bytes=9)
        ids = [event.last_event_id for read in reads for event in decoder.feed(read)]
        held.append((ids, decoder.last_event_id, decoder.retry_ms))
    assert held == held[:1] * len(held)


def test_an_id_of_a_block_that_is_too_long_does_not_count() -> None:
    for wire in (b"id: 7\ndata: more than nine\n\ndata: x\n\n", b"data: more than nine\nid: 7\n\ndata: x\n\n"):
        (event,) = EventStreamDecoder("3", max_item_bytes=9).feed(wire)
        assert (event.data, event.last_event_id) == ("x", "3")


@pytest.mark.parametrize("name", ["event stream", "lines", "parts"])
def test_reading_byte_by_byte_takes_linear_time(name: str) -> None:
    assert_linear(partial(Fed, READINGS[name]), lambda size: b"data: x\r\n\r\n--b\r\n" * (size // 16))


# -- chunks and frames as they come ----------------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=5), st.binary(max_size=5))
def test_pieces_of_chunks_are_what_whole_chunks_are(bodies: list[bytes], behind: bytes) -> None:
    wire = b"".join(map(encode_chunk, bodies)) + encode_last([("A", "b")]) + behind
    for reads in ([wire], [wire[i : i + 1] for i in range(len(wire))]):
        cutter = ChunkCutter()
        pieces = [piece for read in reads for piece in cutter.pieces(read)]
        assert b"".join(data for _, data in pieces) == b"".join(bodies)
        assert sum(framing for framing, _ in pieces) == len(wire) - len(behind) - sum(map(len, bodies))
        assert cutter.done and cutter.leftover == behind


def test_pieces_come_before_a_chunk_is_whole() -> None:
    cutter = ChunkCutter()
    assert cutter.pieces(b"5\r\nhe") == [(3, b"he")]
    assert cutter.pieces(b"llo\r") == [(0, b"llo")]
    assert cutter.pieces(b"\n3") == [(2, b"")]


@pytest.mark.parametrize("mask", [None, b"mask"])
@pytest.mark.parametrize("payload", [b"", b"x" * 5, b"x" * 6, b"x" * 300])
def test_a_frame_over_the_limit_is_passed_over_as_it_comes(payload: bytes, mask: bytes | None) -> None:
    frames = [
        Frame(Opcode.TEXT, payload, fin=False, mask=mask),
        Frame(Opcode.PING, b"longer than 5", mask=mask),
        Frame(Opcode.TEXT, b"a", mask=mask),
    ]
    wire = b"".join(map(encode_frame, frames))
    for reads in ([wire], [wire[i : i + 1] for i in range(len(wire))]):
        decoder = FrameDecoder(max_payload_bytes=13)
        pieces = [piece for read in reads for piece in decoder.pieces(read)]
        assert [piece for piece in pieces if isinstance(piece, Frame)] == frames[len(payload) > 13 :]
        passed = [piece for piece in pieces if isinstance(piece, PassedOver)]
        assert sum(piece.header_bytes for piece in passed) == frames[0].header_bytes * (len(payload) > 13)
        assert sum(piece.payload_bytes for piece in passed) == len(payload) * (len(payload) > 13)
        assert not any(piece.fin for piece in passed)


def test_the_last_bytes_of_a_frame_that_is_passed_over_say_whether_its_message_ends() -> None:
    wire = encode_frame(Frame(Opcode.TEXT, b"x" * 9))
    for reads in ([wire], [wire[i : i + 1] for i in range(len(wire))]):
        decoder = FrameDecoder(max_payload_bytes=8)
        ends = [piece.fin for read in reads for piece in decoder.pieces(read) if isinstance(piece, PassedOver)]
        assert ends == [False] * (len(ends) - 1) + [True]


def test_a_lone_id_says_where_a_stream_begins_and_a_comment_waits_for_nothing() -> None:
    stream = EventStreamDecoder(tell=Blocks())
    assert [value for value, _ in stream.items(b"id: 7@k3f9\n\n")] == [Start("7@k3f9")]
    ((value, runs),) = stream.items(b": beat\n")
    assert value is None and sum(run[0] for run in runs) == 7 and all(run[3] is None for run in runs)


@pytest.mark.parametrize(("lines", "held"), [(b"a\n" * 70, True), (b"a\n" * 90, False), (b"data\n" * 300, False)])
def test_a_block_of_very_short_lines_is_too_long_before_its_bytes_are(lines: bytes, held: bool) -> None:
    wire = b"data: x\n" + lines + b"\ndata: next\n\n"
    for size in (len(wire), 1, 7):
        decoder = EventStreamDecoder(max_item_bytes=1600)
        items = [item for at in range(0, len(wire), size) for item in decoder.items(wire[at : at + size])]
        assert [event.data for event, _ in items if event is not None] == ["x"] * held + ["next"]
        assert sum(run[0] for _, runs in items for run in runs) == len(wire)
