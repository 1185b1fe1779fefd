"""HTTP/2 between two others: what each byte was for, however reads cut it; and what each field of a block cost."""

from __future__ import annotations

import random

import pytest
from dissecting import assert_told

from labkit.errors import WireError
from labkit.wire.dissect import Dissector
from labkit.wire.hpack import representations, runs_of_fields
from labkit.wire.http2 import PREFACE, Frame, FrameCutter, Places
from labkit.wire.spans import MAX_HELD_BYTES, Direction, Mark
from raw_http2 import (
    PADDED,
    Code,
    Kind,
    Setting,
    continuation,
    data,
    fields,
    frame,
    goaway,
    headers,
    ping,
    priority,
    rst,
    settings,
    window,
)

hpack = pytest.importorskip("hpack", reason="hpack is not installed (pip install 'labkit[http2]')")

BLOCKS = [
    ("indexed", b"\x82", [(1, "indexed")]),
    ("an index of two bytes", b"\xff\x00", [(2, "indexed")]),
    ("a value, kept", b"\x41\x03abc", [(5, "literal, indexed from now on")]),
    ("name and value, kept", b"\x40\x01n\x02vw", [(6, "literal, indexed from now on")]),
    ("not kept", b"\x04\x01/", [(3, "literal")]),
    ("never kept", b"\x1f\x08\x01s", [(4, "literal, never indexed")]),
    ("a table's size", b"\x3f\xe1\x1f\x82", [(3, "table size"), (1, "indexed")]),
    ("Huffman-coded", b"\x41\x8b\x08\x9d\x5c\x0b\x81\x70\xdc\x6d\xa7\x84\xdf", [(13, "literal, indexed from now on")]),
]


@pytest.mark.parametrize(("what", "block", "found"), BLOCKS, ids=[what for what, *_ in BLOCKS])
def test_a_block_says_how_long_each_field_is(what: str, block: bytes, found: list[tuple[int, str]]) -> None:
    assert [tuple(one) for one in representations(block)] == found, what
    for end in range(1, len(block)):
        try:
            assert sum(one.size_bytes for one in representations(block[:end])) == end
        except WireError as error:
            assert error.clause in ("RFC 7541 section 5.1", "RFC 7541 section 5.2")


def test_an_integer_has_an_end() -> None:
    with pytest.raises(WireError, match=r"without an end.*section 5\.1"):
        list(representations(b"\xff" + bytes([0x80]) * 20))


def test_any_block_of_an_encoder_is_told_without_a_hole() -> None:
    rng, encoder, decoder = random.Random(7541), hpack.Encoder(), hpack.Decoder()
    for round_ in range(200):
        said = [(f"x-{rng.randrange(30)}", "v" * rng.randrange(200)) for _ in range(rng.randrange(1, 12))]
        if round_ % 50 == 49:
            encoder.header_table_size = 100 * rng.randrange(1, 40)
        block = encoder.encode(said)
        names = [name for name, _ in decoder.decode(block)]
        runs = runs_of_fields(block, names)
        assert sum(run[0] for run in runs) == len(block)
        assert [run[2] for run in runs if run[2] != "dynamic-table-size"] == names


def test_frames_are_cut_alike_however_they_come() -> None:
    talk = PREFACE + settings((Setting.ENABLE_PUSH, 0)) + headers(1) + ping() + data(1, b"abc", end=True)
    whole = FrameCutter("out").feed(talk, [])
    assert [each.name for each in whole] == ["SETTINGS", "HEADERS", "PING", "DATA"]
    cutter, found = FrameCutter("out"), list[Frame]()
    for index in range(len(talk)):
        found += cutter.feed(talk[index : index + 1], [])
    assert found == whole and cutter.at == len(talk)


def test_marks_of_a_stream_are_moved_to_where_its_bytes_lie() -> None:
    places = Places()
    places.add(100, 4)
    places.add(200, 4)
    late = places.laid([Mark("in", 4, 6, "framing", "header")])  # before what lies in front of it
    both = places.laid([Mark("in", 0, 4, "payload", "a"), Mark("in", 6, 8, "payload", "b")])
    assert [(m.start, m.stop) for m in late + both] == [(200, 202), (100, 104), (202, 204)]


# -- conversations ---------------------------------------------------------------------------------------------------

WINDOWS = settings((Setting.INITIAL_WINDOW_SIZE, 1 << 20)) + window(0, 100)


def asked(stream: int, path: str, *more: tuple[str, str], method: str = "GET", end: bool = True) -> bytes:
    pseudo = ((":method", method), (":path", path), (":scheme", "http"))
    return headers(stream, (*pseudo, *more), end=end)


def answered(stream: int, kind: str, *, status: str = "200") -> bytes:
    return headers(stream, ((":status", status), ("content-type", kind)), end=False)


def size(*pairs: tuple[str, str]) -> bytes:
    return fields(*pairs)


def told_heads(*pairs: tuple[str, str]) -> list[tuple[bytes, str, str, None]]:
    return [(fields(pair), "headers", pair[0], None) for pair in pairs]


def header_of(part: bytes, kind: str) -> tuple[bytes, str, str, None]:
    return part[:9], "framing", f"{kind} frame header", None


def test_two_streams_that_interleave_are_told_apart() -> None:
    sse, ndjson = answered(1, "text/event-stream"), answered(3, "application/x-ndjson")
    ones = data(1, b"id: 1@k3f9\n"), data(1, b"data: x\n\n")
    line = data(3, b'{"id":7,"data":"y"}\n')
    padded = frame(Kind.DATA, PADDED, 3, b"\x03" + b"\n" + bytes(3))
    first = data(1, b"id: 0@k3f9\n\n")
    begun = data(3, b'{"cursor":"6@k3f9"}\n')
    talk: list[tuple[Direction, bytes]] = [
        ("out", PREFACE + WINDOWS + asked(1, "/sse")),
        ("out", asked(3, "/lines?topic=t")),
        ("in", settings() + sse + ndjson + first + begun),
        ("in", ones[0] + line + ones[1] + padded),
        ("out", rst(3)),
        ("out", window(1, 5) + goaway()),
    ]
    assert_told(
        talk,
        sent=[
            (PREFACE, "framing", "connection preface", None),
            (settings((Setting.INITIAL_WINDOW_SIZE, 1 << 20)), "framing", "SETTINGS", None),
            (window(0, 100), "framing", "WINDOW_UPDATE", None),
            header_of(asked(1, "/sse"), "HEADERS"),
            *told_heads((":method", "GET"), (":path", "/sse"), (":scheme", "http")),
            header_of(asked(3, "/lines?topic=t"), "HEADERS"),
            *told_heads((":method", "GET"), (":path", "/lines?topic=t"), (":scheme", "http")),
            (rst(3), "framing", "RST_STREAM", None),
            (window(1, 5), "framing", "WINDOW_UPDATE", None),
            (goaway(), "framing", "GOAWAY", None),
        ],
        came=[
            (settings(), "framing", "SETTINGS", None),
            header_of(sse, "HEADERS"),
            *told_heads((":status", "200"), ("content-type", "text/event-stream")),
            header_of(ndjson, "HEADERS"),
            *told_heads((":status", "200"), ("content-type", "application/x-ndjson")),
            header_of(first, "DATA"),
            (b"id: ", "framing", "id:", None),
            (b"0@k3f9", "envelope", "value", None),
            (b"\n\n", "framing", "line end", None),
            header_of(begun, "DATA"),
            (b'{"cursor":"6@k3f9"}', "envelope", "JSON", None),
            (b"\n", "framing", "delimiter", None),
            header_of(ones[0], "DATA"),
            (b"id: ", "framing", "id:", "1@k3f9"),
            (b"1@k3f9", "envelope", "value", "1@k3f9"),
            (b"\n", "framing", "line end", "1@k3f9"),
            header_of(line, "DATA"),
            (b'{"id":7,"data":"', "envelope", "event 7", "7"),
            (b"y", "payload", "event 7", "7"),
            (b'"}', "envelope", "JSON", None),
            (b"\n", "framing", "delimiter", None),
            header_of(ones[1], "DATA"),
            (b"data: ", "framing", "data:", "1@k3f9"),
            (b"x", "payload", "event 1", "1@k3f9"),
            (b"\n\n", "framing", "line end", "1@k3f9"),
            (padded[:10], "framing", "DATA frame header", None),
            (b"\n", "framing", "delimiter", None),
            (bytes(3), "framing", "padding", None),
        ],
    )


def test_a_block_in_several_frames_trailers_and_a_request_body_are_told() -> None:
    head = fields((":method", "POST"), (":path", "/events"), (":scheme", "http"))
    sent = (
        PREFACE
        + frame(Kind.HEADERS, 0, 1, head[:5])
        + continuation(1, head[5:9])
        + continuation(1, head[9:], last=True)
    )
    body = data(1, b"hello", end=True)
    came = answered(1, "application/json") + data(1, b'{"id":1}') + headers(1, (("x-sum", "1"),))
    dissector = Dissector()
    marks = dissector.feed("out", sent + body) + dissector.feed("in", settings() + came) + dissector.end()
    (exchange,) = {mark.exchange.number: mark.exchange for mark in marks if mark.exchange is not None}.values()
    assert (exchange.method, exchange.path, exchange.status, exchange.is_whole) == ("POST", "/events", 200, True)
    assert exchange.by_category["payload"] == 5 and exchange.by_category["envelope"] == 8
    assert exchange.by_category["headers"] == len(head) + len(
        fields((":status", "200"), ("content-type", "application/json"), ("x-sum", "1"))
    )
    assert_told([("out", sent + body), ("in", settings() + came)])


def test_a_websocket_over_one_stream_is_read_message_by_message() -> None:
    connect = headers(
        1, ((":method", "CONNECT"), (":protocol", "websocket"), (":path", "/websocket"), (":scheme", "http")), end=False
    )
    message = b'\x81\x13{"id":1,"data":"x"}'
    ping_frame = b"\x89\x00"
    opening = b'\x81\x13{"cursor":"0@k3f9"}'
    talk: list[tuple[Direction, bytes]] = [
        ("out", PREFACE + settings() + connect),
        ("in", settings((Setting.ENABLE_CONNECT_PROTOCOL, 1)) + headers(1, ((":status", "200"),), end=False)),
        ("in", data(1, opening + message[:7]) + ping() + data(1, message[7:] + ping_frame)),
        ("out", data(1, b"\x8a\x80abcd")),
    ]
    dissector = Dissector()
    marks = [mark for way, part in talk for mark in dissector.feed(way, part)] + dissector.end()
    payload = [mark for mark in marks if mark.category == "payload"]
    assert [(mark.stop - mark.start, mark.event and mark.event.wire_id) for mark in payload] == [(1, "1")]
    assert {mark.label for mark in marks if mark.direction == "out" and mark.exchange} >= {
        "pong frame header",
        "DATA frame header",
    }
    assert_told(talk)


@pytest.mark.parametrize("protocol", [(), ((":protocol", "websocket"),)], ids=["a tunnel", "a WebSocket"])
def test_a_refusal_of_what_would_go_on_both_ways_is_read_as_any_answer(protocol: tuple[tuple[str, str], ...]) -> None:
    connect = headers(1, ((":method", "CONNECT"), *protocol, (":path", "/websocket"), (":scheme", "http")), end=False)
    refused = answered(1, "text/plain", status="403") + data(1, b"not you", end=True)
    talk: list[tuple[Direction, bytes]] = [
        ("out", PREFACE + settings() + connect),
        ("in", settings() + refused),
    ]
    dissector = Dissector()
    marks = [mark for way, part in talk for mark in dissector.feed(way, part)] + dissector.end()
    assert [(m.label, m.category) for m in marks if m.stop - m.start == 7] == [("body of a 403", "envelope")]
    assert_told(talk)


BROKEN = [
    ("a frame too large", "in", frame(Kind.DATA, 0, 1, bytes(9), length=MAX_HELD_BYTES + 1)),
    ("fields that do not decode", "in", headers(1, b"\xff\xff\xff\xff\x7f") + ping()),
    ("a block cut by another frame", "out", frame(Kind.HEADERS, 0, 3, b"\x82") + ping() + continuation(3, b"\x84")),
    ("padding beyond its frame", "in", frame(Kind.DATA, PADDED, 1, b"\x09x") + ping()),
]


@pytest.mark.parametrize(("what", "way", "wrong"), BROKEN, ids=[what for what, *_ in BROKEN])
def test_behind_what_breaks_a_rule_both_directions_are_unread(what: str, way: Direction, wrong: bytes) -> None:
    talk: list[tuple[Direction, bytes]] = [
        ("out", PREFACE + asked(1, "/sse")),
        ("in", settings() + answered(1, "text/event-stream")),
        (way, wrong),
        ("in", priority(1)),
        ("out", priority(1)),
    ]
    dissector = Dissector()
    marks = [mark for side, part in talk for mark in dissector.feed(side, part)] + dissector.end()
    for side in ("out", "in"):
        last = max((mark for mark in marks if mark.direction == side), key=lambda mark: mark.stop)
        assert last.label == "unread", what
    complaints = {mark.exchange.complaint for mark in marks if mark.exchange is not None}
    assert any("RFC" in complaint for complaint in complaints), complaints
    assert_told(talk)


def test_a_stream_that_was_reset_has_not_become_whole() -> None:
    dissector = Dissector()
    dissector.feed("out", PREFACE + asked(1, "/sse"))
    marks = dissector.feed("in", answered(1, "text/event-stream") + data(1, b"id: 1") + rst(1, Code.INTERNAL_ERROR))
    exchange = next(mark.exchange for mark in marks if mark.exchange is not None)
    assert not exchange.is_whole and exchange.complaint == "reset by the server: INTERNAL_ERROR"
