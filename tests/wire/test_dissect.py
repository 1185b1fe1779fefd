"""What each byte was that two others exchanged, each rule with its conversation, cut at every place."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from dissecting import Talk, assert_told, joined, told
from hypothesis import given
from hypothesis import strategies as st

from labkit.wire.bodies import Told, reading_of
from labkit.wire.chunks import encode_chunk, encode_last
from labkit.wire.close_codes import encode_close, failure_code
from labkit.wire.delimited import Delimited
from labkit.wire.dissect import Dissector
from labkit.wire.envelope import Received, Start
from labkit.wire.event_stream import StreamEvent
from labkit.wire.first_word import Messages
from labkit.wire.fragments import Message
from labkit.wire.frames import Frame, Opcode, encode_frame
from labkit.wire.lane import Carrier
from labkit.wire.messages import MessageReader, Tell
from labkit.wire.spans import CATEGORIES, MAX_HELD_BYTES, Exchange, Mark

GET = b"GET /polling?after=0&topic=news HTTP/1.1\r\nHost: a\r\n\r\n"
ASKED = (GET, "headers", "GET /polling", None)
ONE = b'{"events":[{"id":7,"data":"hi"}],"cursor":"7@k3f9"}'
TOLD_ONE = [
    (b'{"events":[', "envelope", "JSON", None),
    (b'{"id":7,"data":"', "envelope", "event 7", "7"),
    (b"hi", "payload", "event 7", "7"),
    (b'"}],"cursor":"7@k3f9"}', "envelope", "JSON", None),
]
JSON = b"Content-Type: application/json\r\n"


def answer(
    body: bytes, fields: bytes = JSON, status: bytes = b"200 OK", version: bytes = b"1.1"
) -> tuple[bytes, bytes]:
    """Head and body, by length."""
    return b"HTTP/%b %b\r\n%bContent-Length: %d\r\n\r\n" % (version, status, fields, len(body)), body


def streamed(fields: bytes, version: bytes = b"1.1") -> bytes:
    return b"HTTP/%b 200 OK\r\n%b\r\n" % (version, fields)


def heads(head: bytes, status: int = 200) -> tuple[bytes, str, str, None]:
    return head, "headers", f"{status}, headers", None


# -- the connection: HTTP/1 ------------------------------------------------------------------------------------------


def test_an_answer_by_length_and_the_request_that_asked_for_it() -> None:
    head, body = answer(ONE)
    assert_told([("out", GET), ("in", head + body)], sent=[ASKED], came=[heads(head), *TOLD_ONE])


def test_a_mark_names_its_exchange_and_bytes_are_counted_for_each() -> None:
    head, body = answer(ONE)
    dissector = Dissector()
    marks = [m for way, data in [("out", GET), ("in", head + body)] * 2 for m in dissector.feed(way, data)]
    exchanges = list(dict.fromkeys(mark.exchange for mark in marks))
    assert [(e.number, e.method, e.path, e.topic, e.status, e.events) for e in exchanges if e] == [
        (1, "GET", "/polling", "news", 200, 1),
        (2, "GET", "/polling", "news", 200, 1),
    ]
    for exchange in exchanges:
        assert exchange is not None
        of_it = [mark for mark in marks if mark.exchange is exchange]
        for category in CATEGORIES:
            assert exchange.by_category[category] == sum(m.stop - m.start for m in of_it if m.category == category)
        assert sum(exchange.by_category.values()) == len(GET + head + body)


def test_pipelined_requests_are_answered_in_order() -> None:
    (first, empty), (second, body) = answer(b'{"events":[],"cursor":"6@k3f9"}'), answer(ONE)
    came = [heads(first), (empty, "envelope", "JSON", None), heads(second), *TOLD_ONE]
    assert_told([("out", GET + GET), ("in", first + empty + second + body)], sent=[ASKED, ASKED], came=came)


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_has_no_body_whatever_its_length_says(status: int) -> None:
    bare = b"HTTP/1.1 %d X\r\nContent-Length: 5\r\n\r\n" % status
    head, body = answer(ONE)
    came = [heads(bare, status), heads(head), *TOLD_ONE]
    assert_told([("out", GET + GET), ("in", bare + head + body)], sent=[ASKED, ASKED], came=came)


def test_the_answer_to_head_has_no_body() -> None:
    asked = GET.replace(b"GET", b"HEAD")
    head, body = answer(ONE)
    talk: Talk = [("out", asked + GET), ("in", head + head + body)]
    came = [heads(head), heads(head), *TOLD_ONE]
    assert_told(talk, sent=[(asked, "headers", "HEAD /polling", None), ASKED], came=came)


def test_informational_answers_come_before_the_answer_of_the_same_exchange() -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
    head, body = answer(ONE)
    assert_told([("out", GET), ("in", hint + head + body)], came=[heads(hint, 103), heads(head), *TOLD_ONE])


def test_a_body_is_sent_after_100_continue() -> None:
    post = b"POST /events HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    go, (head, body) = b"HTTP/1.1 100 Continue\r\n\r\n", answer(b'{"id":1}')
    assert_told(
        [("out", post), ("in", go), ("out", b"hello"), ("in", head + body)],
        sent=[(post, "headers", "POST /events", None), (b"hello", "payload", "request body", None)],
        came=[heads(go, 100), heads(head), (body, "envelope", "answer to POST", None)],
    )


def test_chunks_are_framing_and_cut_what_they_carry() -> None:
    head = streamed(JSON + b"Transfer-Encoding: chunked\r\n")
    wire = encode_chunk(ONE[:30], [("a", None)]) + encode_chunk(ONE[30:]) + encode_last([("T", "x")])
    next_head, body = answer(ONE)
    came = [
        heads(head),
        (b"1e;a\r\n", "framing", "chunk", None),
        *TOLD_ONE[:2],
        (b"hi", "payload", "event 7", "7"),
        (b'"', "envelope", "JSON", None),
        (b"\r\n15\r\n", "framing", "chunk", None),
        (ONE[30:], "envelope", "JSON", None),
        (b"\r\n0\r\nT: x\r\n\r\n", "framing", "chunk", None),
        heads(next_head),
        *TOLD_ONE,
    ]
    assert_told([("out", GET + GET), ("in", head + wire + next_head + body)], came=came)


def test_a_chunked_request_body() -> None:
    post = b"POST /events HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    wire = encode_chunk(b"hello") + encode_last()
    sent = [
        (post, "headers", "POST /events", None),
        (b"5\r\n", "framing", "chunk", None),
        (b"hello", "payload", "request body", None),
        (b"\r\n0\r\n\r\n", "framing", "chunk", None),
        ASKED,
    ]
    assert_told([("out", post + wire + GET)], sent=sent)


def test_http_1_0_ends_a_body_by_the_close_and_knows_no_chunks() -> None:
    asked = b"GET /polling HTTP/1.0\r\n\r\n"
    head = streamed(JSON + b"Transfer-Encoding: chunked\r\n", version=b"1.0")
    assert_told(
        [("out", asked), ("in", head + ONE)],
        sent=[(asked, "headers", "GET /polling", None)],
        came=[heads(head), *TOLD_ONE],
    )


def test_a_connection_that_ends_inside_a_body_leaves_it_unread() -> None:
    head, body = answer(ONE)
    assert_told([("out", GET), ("in", head + body[:-1])], came=[heads(head), (ONE[:-1], "envelope", "unread", None)])


def test_a_head_that_is_not_whole_is_unread() -> None:
    head, body = answer(ONE)
    sent = [ASKED, (GET[:-1], "framing", "unread", None)]
    came = [heads(head), *TOLD_ONE, (head[:-1], "framing", "unread", None)]
    assert_told([("out", GET + GET[:-1]), ("in", head + body + head[:-1])], sent=sent, came=came)


def test_a_chunk_that_is_none_ends_what_can_be_read() -> None:
    head = streamed(b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n")
    line = b'{"cursor":"6@k3f9"}\n'
    came = [
        heads(head),
        (b"19\r\n", "framing", "chunk", None),
        (line[:-1], "envelope", "JSON", None),
        (b"\n", "framing", "delimiter", None),
        (b"start", "envelope", "unread", None),
        (b"\r\n", "framing", "chunk", None),
        (b"no size\r\nmore", "framing", "unread", None),
    ]
    assert_told([("out", GET), ("in", head + encode_chunk(line + b"start") + b"no size\r\nmore")], came=came)


def test_what_is_no_http_is_unread_and_the_refusal_of_it_is_told() -> None:
    junk = b"BLAH\r\n\r\n"
    head, body = answer(b"no", b"", b"400 Bad Request")
    assert_told(
        [("out", junk), ("in", head + body)],
        sent=[(junk, "framing", "unread", None)],
        came=[heads(head, 400), (b"no", "envelope", "body of a 400", None)],
    )
    dissector = Dissector()
    dissector.feed("out", junk)
    marks = dissector.feed("in", head)
    assert marks[0].exchange is not None and "not a request line" in marks[0].exchange.complaint


def test_an_answer_before_its_request_is_whole_is_that_requests() -> None:
    head, body = answer(b"late", b"", b"408 Request Timeout")
    dissector = Dissector()
    marks = dissector.feed("out", GET[:9]) + dissector.feed("in", head + body) + dissector.feed("out", GET[9:])
    assert {(mark.exchange.number, mark.exchange.path) for mark in marks if mark.exchange} == {(1, "/polling")}


def test_a_length_that_is_none_ends_what_can_be_read() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n"
    assert_told([("out", GET), ("in", head + b"hello")], came=[(head + b"hello", "framing", "unread", None)])


def test_a_tunnel_is_payload() -> None:
    asked, head = b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"
    assert_told(
        [("out", asked), ("in", head), ("out", b"\x16a"), ("in", b"\x16b")],
        sent=[(asked, "headers", "CONNECT a:1", None), (b"\x16a", "payload", "tunnel", None)],
        came=[heads(head), (b"\x16b", "payload", "tunnel", None)],
    )


@pytest.mark.parametrize("status", [403, 407])
def test_a_tunnel_that_is_refused_is_an_answer(status: int) -> None:
    asked, head = b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 %d No\r\n\r\n" % status
    assert_told(
        [("out", asked), ("in", head + b"no")],
        came=[heads(head, status), (b"no", "envelope", f"body of a {status}", None)],
    )


def test_a_tunnel_is_one_whichever_success_opens_it() -> None:
    asked, head = b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 204 Yes\r\n\r\n"
    assert_told([("out", asked), ("in", head + b"\x16")], came=[heads(head, 204), (b"\x16", "payload", "tunnel", None)])


@pytest.mark.parametrize("target", ["http://[", "http://a]b/c", "//[://b", "/a?b=http://["])
def test_a_target_that_is_no_address_is_told_as_it_stands(target: str) -> None:
    asked = f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    dissector = Dissector()
    (mark,) = dissector.feed("out", asked)
    assert mark.category == "headers" and mark.exchange is not None and mark.exchange.path[0] == "/"
    assert_told([("out", asked), ("in", b"".join(answer(b"")))])


@pytest.mark.parametrize("topic", ["노", "à", "가", "price"])
def test_a_target_with_bytes_beyond_ascii_is_read_as_servers_do(topic: str) -> None:
    dissector = Dissector()
    (mark,) = dissector.feed("out", f"GET /sse?topic={topic}&b=1 HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert mark.exchange is not None and (mark.exchange.path, mark.exchange.topic) == ("/sse", topic)


def test_each_answer_that_nobody_asked_for_is_an_exchange_of_its_own() -> None:
    dissector, late = Dissector(), b"HTTP/1.1 408 Late\r\nContent-Length: 0\r\n\r\n"
    marks = dissector.feed("in", late) + dissector.feed("in", late)
    assert [mark.exchange and mark.exchange.number for mark in marks] == [1, 2]


def test_of_requests_that_nobody_answers_not_all_heads_are_held() -> None:
    dissector = Dissector()
    marks = [mark for _ in range(300) for mark in dissector.feed("out", GET)]
    exchanges = [mark.exchange for mark in marks if mark.exchange is not None]
    assert len(exchanges) == 257 and marks[-1].label == "unread"
    said = dissector._unanswered[-1].complaint
    assert said == "more than 256 requests wait for an answer"


# -- the body --------------------------------------------------------------------------------------------------------

SSE = b"Content-Type: text/event-stream\r\n"
LINES = b"Content-Type: application/x-ndjson\r\n"


def test_an_event_stream_field_by_field() -> None:
    head = streamed(SSE)
    wire = (
        b': hi\n\nid: 6@k3f9\n\nid: 7@k3f9\ndata: a\ndata:b\n\nevent: json\nid: 8@k3f9\ndata: {"id":8,"data":"\\r"}\n\n'
    )
    gap = b'event: gap\nid: 8@k3f9\ndata: {"gap":{"after":"1@k3f9","next":9},"cursor":"8@k3f9"}\n\n'
    came = [
        heads(head),
        (b": ", "framing", ":", None),
        (b"hi", "framing", "value", None),
        (b"\n\n", "framing", "line end", None),
        (b"id: ", "framing", "id:", None),
        (b"6@k3f9", "envelope", "value", None),
        (b"\n\n", "framing", "line end", None),
        (b"id: ", "framing", "id:", "7@k3f9"),
        (b"7@k3f9", "envelope", "value", "7@k3f9"),
        (b"\n", "framing", "line end", "7@k3f9"),
        (b"data: ", "framing", "data:", "7@k3f9"),
        (b"a\n", "payload", "event 7", "7@k3f9"),
        (b"data:", "framing", "data:", "7@k3f9"),
        (b"b", "payload", "event 7", "7@k3f9"),
        (b"\n\n", "framing", "line end", "7@k3f9"),
        (b"event: ", "framing", "event:", "8@k3f9"),
        (b"json", "framing", "value", "8@k3f9"),
        (b"\n", "framing", "line end", "8@k3f9"),
        (b"id: ", "framing", "id:", "8@k3f9"),
        (b"8@k3f9", "envelope", "value", "8@k3f9"),
        (b"\n", "framing", "line end", "8@k3f9"),
        (b"data: ", "framing", "data:", "8@k3f9"),
        (b'{"id":8,"data":"', "envelope", "event 8", "8@k3f9"),
        (b"\\", "payload", "event 8", "8@k3f9"),
        (b'r"}', "envelope", "JSON", None),
        (b"\n\n", "framing", "line end", "8@k3f9"),
        (b"event: ", "framing", "event:", None),
        (b"gap", "framing", "value", None),
        (b"\n", "framing", "line end", None),
        (b"id: ", "framing", "id:", None),
        (b"8@k3f9", "envelope", "value", None),
        (b"\n", "framing", "line end", None),
        (b"data: ", "framing", "data:", None),
        (gap[gap.index(b"{") : -2], "envelope", "JSON", None),
        (b"\n\n", "framing", "line end", None),
        (b"data: cut", "envelope", "unread", None),
    ]
    assert_told([("out", GET), ("in", head + wire + gap + b"data: cut")], came=came)


def test_an_event_stream_without_ids_has_events_by_their_order() -> None:
    head = streamed(SSE)
    wire = b"\xef\xbb\xbfdata: a\r\n\r\ndata: b\rdata: c\r\r"
    came = [
        heads(head),
        (b"\xef\xbb\xbf", "framing", "byte order mark", "#1"),
        (b"data: ", "framing", "data:", "#1"),
        (b"a", "payload", "event 1", "#1"),
        (b"\r\n\r", "framing", "line end", "#1"),
        (b"\n", "framing", "line end", None),
        (b"data: ", "framing", "data:", "#2"),
        (b"b\r", "payload", "event 2", "#2"),
        (b"data: ", "framing", "data:", "#2"),
        (b"c", "payload", "event 2", "#2"),
        (b"\r\r", "framing", "line end", "#2"),
    ]
    assert_told([("out", GET), ("in", head + wire)], came=came)


def test_lines_are_labs_json_or_somebody_elses() -> None:
    head = streamed(LINES)
    wire = b'{"cursor":"6@k3f9"}\n\n{"id":7,"data":"a\\nb"}\n{"price":3}\r\nunfinished'
    came = [
        heads(head),
        (b'{"cursor":"6@k3f9"}', "envelope", "JSON", None),
        (b"\n\n", "framing", "delimiter", None),
        (b'{"id":7,"data":"', "envelope", "event 7", "7"),
        (b"a\\n", "payload", "event 7", "7"),
        (b'b"}', "envelope", "JSON", None),
        (b"\n", "framing", "delimiter", None),
        (b'{"price":3}', "payload", "event 2", "#2"),
        (b"\r\n", "framing", "delimiter", None),
        (b"unfinished", "envelope", "unread", None),
    ]
    assert_told([("out", GET), ("in", head + wire)], came=came)


PART = b'Content-Type: application/json\r\n\r\n{"id":%d,"data":"x"}'


def parts(head: bytes, *wire: tuple[bytes, str]) -> list[tuple[bytes, str, str, str | None]]:
    return [heads(head), *((raw, "framing", label, None) for raw, label in wire)]


@pytest.mark.parametrize("style", ["trailing", "leading"])
def test_multipart_with_the_boundary_behind_each_part_or_before_it(style: str) -> None:
    head = streamed(b'Content-Type: multipart/x-mixed-replace; boundary="b c"\r\n')
    lead = style == "leading"
    first = b"\r\n--b c\r\n" if lead else b"--b c\r\n"
    start = b'Content-Type: application/json\r\n\r\n{"cursor":"0@k3f9"}\r\n--b c\r\n'
    wire = (
        first
        + start
        + PART % 1
        + b"\r\n--b c\r\n"
        + PART % 2
        + b"\r\n--b c"
        + (b"--\r\n" if lead else b"\r\n" + PART % 3)
    )
    came: list[tuple[bytes, str, str, str | None]] = [heads(head)]
    came += [(b"\r\n", "framing", "preamble", None)] if lead else []
    came += [
        (b"--b c\r\n", "framing", "delimiter", None),
        (start[:34], "framing", "part head", None),
        (b'{"cursor":"0@k3f9"}', "envelope", "JSON", None),
        (b"\r\n--b c\r\n", "framing", "delimiter", None),
    ]
    for n, end in ((1, b"\r\n--b c\r\n"), (2, b"\r\n--b c" + (b"--" if lead else b"\r\n"))):
        part_head, _, _ = (PART % n).partition(b"{")
        came += [
            (part_head, "framing", "part head", None),
            (b'{"id":%d,"data":"' % n, "envelope", f"event {n}", str(n)),
            (b"x", "payload", f"event {n}", str(n)),
            (b'"}', "envelope", "JSON", None),
            (end, "framing", "delimiter", None),
        ]
    came += [(b"\r\n", "framing", "epilogue", None)] if lead else [(PART % 3, "envelope", "unread", None)]
    assert_told([("out", GET), ("in", head + wire)], came=came)


def test_parts_without_a_head_or_a_body_and_boundaries_that_are_none() -> None:
    head = streamed(b"Content-Type: multipart/x-mixed-replace;boundary=b\r\n")
    wire = b"hello--b\r\n\n--b \r\n\r\nx--b\r\ny\r\n--b\r\nA: b\r\n\r\n\r\n--b\r\nA: b\r\n--b--more"
    came = [
        heads(head),
        (b"hello--b\r\n\n", "framing", "preamble", None),
        (b"--b \r\n", "framing", "delimiter", None),
        (b"\r\n", "framing", "part head", None),
        (b"x--b\r\ny", "payload", "event 1", "#1"),
        (b"\r\n--b\r\n", "framing", "delimiter", None),
        (b"A: b\r\n\r\n", "framing", "part head", None),
        (b"", "payload", "event 2", "#2"),
        (b"\r\n--b\r\n", "framing", "delimiter", None),
        (b"A: b\r\n", "framing", "part head", None),
        (b"--b--", "framing", "delimiter", None),
        (b"more", "framing", "epilogue", None),
    ]
    assert_told([("out", GET), ("in", head + wire)], came=came)


def test_an_answer_with_several_events_escapes_base64_and_a_gap() -> None:
    body = (
        b'{"events":[{"id":8,"data":""},{"id":9,"base64":"AP8="},{ "data" : "\\"", "id":10}],"cursor":"10@k3f9",'
        b'"gap":{"after":"1@k3f9","next":8}}'
    )
    head, _ = answer(body)
    came = [
        heads(head),
        (b'{"events":[', "envelope", "JSON", None),
        (b'{"id":8,"data":"', "envelope", "event 8", "8"),
        (b'"},', "envelope", "JSON", None),
        (b'{"id":9,"base64":"', "envelope", "event 9", "9"),
        (b"AP", "payload", "event 9", "9"),
        (b'8="},', "envelope", "JSON", None),
        (b'{ "data" : "', "envelope", "event 10", "10"),
        (b"\\", "payload", "event 10", "10"),
        (body[body.index(b'"", "id":10') :], "envelope", "JSON", None),
    ]
    assert_told([("out", GET), ("in", head + body)], came=came)


def test_an_answer_of_somebody_elses_is_an_event_as_a_whole() -> None:
    head, body = answer(b'{"temperature":21}')
    assert_told([("out", GET), ("in", head + body)], came=[heads(head), (body, "payload", "event 1", "#1")])


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        (b"Content-Type: text/html; charset=utf-8\r\n", "unknown type text/html"),
        (b"", "no type"),
        (JSON + b"Content-Encoding: dcb\r\n", "unknown coding dcb"),
        (JSON + b"Content-Encoding: gzip\r\n", "not gzip: Error -3 while decompressing data: incorrect header check"),
    ],
)
def test_an_unknown_type_or_coding_is_payload_and_says_so(fields: bytes, label: str) -> None:
    head, body = answer(ONE, fields)
    assert_told([("out", GET), ("in", head + body)], came=[heads(head), (body, "payload", label, None)])


def test_a_gzipped_answer_is_payload_as_a_whole_and_its_event_is_known() -> None:
    head, body = answer(gzip.compress(ONE, mtime=0), JSON + b"Content-Encoding: gzip\r\n")
    assert_told([("out", GET), ("in", head + body)], came=[heads(head), (body, "payload", "event 7, gzip", "7")])


def test_events_that_one_coded_body_carries_have_their_place_and_no_byte_of_their_own() -> None:
    two = b'{"events":[{"id":7,"data":"hi"},{"id":8,"data":"ho"}],"cursor":"8@k3f9"}'
    head, body = answer(gzip.compress(two, mtime=0), JSON + b"Content-Encoding: gzip\r\n")
    came = [heads(head), (body, "payload", "gzip", None)]
    came += [(b"", "payload", f"event {n}, gzip", str(n)) for n in (7, 8)]
    assert_told([("out", GET), ("in", head + body)], came=came)


def flushed(*pieces: bytes) -> list[bytes]:
    """What a server that flushes its gzip after each piece writes."""
    packer = zlib.compressobj(wbits=31)
    written = [packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]
    return [*written, packer.flush()]


def test_a_gzipped_stream_is_decoded_as_it_comes() -> None:
    blocks = [b"id: %d@k3f9\ndata: %b\n\n" % (n, b"a" * n) for n in (1, 2, 3)]
    head = streamed(SSE + b"Content-Encoding: gzip\r\n")
    coded = flushed(*blocks)
    dissector = Dissector()
    dissector.feed("out", GET)
    dissector.feed("in", head)
    seen = []
    for piece in coded[:3]:  # each event is known with the write that carried it
        marks = dissector.feed("in", piece)
        seen.append([mark.event.wire_id for mark in marks if mark.event])
    assert seen == [["1@k3f9"], ["2@k3f9"], ["3@k3f9"]]
    assert_told([("out", GET), ("in", head + b"".join(coded))])
    talk: Talk = [("out", GET), ("in", head + b"".join(coded))]
    assert [event for *_, event in told(talk, iter(talk), Dissector)["in"][1:]][:3] == ["1@k3f9", "2@k3f9", "3@k3f9"]


def test_gzip_members_behind_each_other_and_one_that_is_cut() -> None:
    lines = [b'{"cursor":"0@k3f9"}\n', *(b'{"id":%d,"data":"a"}\n' % n for n in (1, 2))]
    head = streamed(LINES + b"Content-Encoding: gzip\r\n")
    members = [gzip.compress(line, mtime=0) for line in lines]
    wire = b"".join(members)
    found = told([("out", GET), ("in", head + wire)], iter([("out", GET), ("in", head + wire)]), Dissector)["in"]
    assert [event for *_, event in found[1:]] == [None, "1", "2", None]
    assert_told([("out", GET), ("in", head + wire)])
    assert_told([("out", GET), ("in", head + wire[:-9])])
    cut, body = answer(gzip.compress(ONE, mtime=0), JSON + b"Content-Encoding: gzip\r\n")
    assert_told([("out", GET), ("in", cut + body[:-1])], came=[heads(cut), (body[:-1], "envelope", "unread", None)])


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
def test_what_is_whole_before_a_coding_breaks_off_is_told(coding: bytes) -> None:
    coder = zlib.compressobj(wbits=31 if coding == b"gzip" else 15)
    start, event, rest = (
        coder.compress(line) + coder.flush(zlib.Z_SYNC_FLUSH)
        for line in (b'{"cursor":"6@k3f9"}\n', b'{"id":7,"data":"hi"}\n', b'{"id":8')
    )
    head = streamed(LINES + b"Content-Encoding: " + coding + b"\r\n")
    talk: Talk = [("out", GET), ("in", head + start + event + rest + b"\xff\xff")]
    assert_told(talk)
    assert [event for *_, event in told(talk, iter(talk), Dissector)["in"][1:]] == [None, "7", None]


@pytest.mark.parametrize("kind", [LINES, JSON, b"Content-Type: text/plain\r\n"])
def test_what_follows_the_end_of_a_coding_is_told_once(kind: bytes) -> None:
    coded, rest = zlib.compress(b'{"id":7,"data":"hi"}\n'), b"rest"
    head = streamed(kind + b"Content-Encoding: deflate\r\n")
    for talk in ([("out", GET), ("in", head + coded + rest)], [("out", GET), ("in", head + rest + coded)]):
        assert_told(talk)


@pytest.mark.parametrize("lines", [1, 40_000])
def test_of_a_read_that_breaks_off_nothing_is_told_twice(lines: int) -> None:
    coded = zlib.compress(b"x\n" * lines + b"y\n")[:-4] + b"none"
    heard: list[Any] = []
    dissector = Dissector(heard=lambda *said: heard.append(said[2]))
    dissector.feed("out", GET)
    dissector.feed("in", streamed(LINES + b"Content-Encoding: deflate\r\n") + coded)
    assert heard == [*[b"x"] * lines, b"y"]


# -- WebSocket -------------------------------------------------------------------------------------------------------

UPGRADE = b"GET /websocket?topic=a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
ASKED_UP = (UPGRADE, "headers", "GET /websocket, upgrade", None)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
DEFLATED = SWITCHED[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
KEY = bytes.fromhex("37fa213d")


def text(data: bytes, **more: Any) -> bytes:
    return encode_frame(Frame(Opcode.TEXT, data, **more))


def deflate(*messages: bytes) -> list[bytes]:
    packer = zlib.compressobj(wbits=-15)
    return [(packer.compress(message) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4] for message in messages]


def test_messages_control_frames_between_fragments_and_masked_publishes() -> None:
    event = b'{"id":7,"data":"hi"}'
    publish = encode_frame(Frame(Opcode.TEXT, b'{"publish":"x","ref":1}', mask=KEY))
    pong = encode_frame(Frame(Opcode.PONG, b"p", mask=KEY))
    start, published = text(b'{"cursor":"6@k3f9"}'), text(b'{"published":8,"ref":1}')
    fragments = text(event[:17], fin=False) + encode_frame(Frame(Opcode.PING, b"p"))
    fragments += encode_frame(Frame(Opcode.CONTINUATION, event[17:]))
    close = encode_frame(Frame(Opcode.CLOSE, encode_close(1001)))
    came = [
        heads(SWITCHED, 101),
        (start[:2], "framing", "text frame header", None),
        (start[2:], "envelope", "JSON", None),
        (fragments[:2], "framing", "text frame header", None),
        (b'{"id":7,"data":"', "envelope", "event 7", "7"),
        (b"h", "payload", "event 7", "7"),
        (b"\x89\x01", "framing", "ping frame header", None),
        (b"p", "framing", "ping", None),
        (b"\x80\x03", "framing", "continuation frame header", None),
        (b"i", "payload", "event 7", "7"),
        (b'"}', "envelope", "JSON", None),
        (published[:2], "framing", "text frame header", None),
        (published[2:], "payload", "event 2", "#2"),
        (close[:2], "framing", "close frame header", None),
        (close[2:], "framing", "close", None),
    ]
    sent = [
        ASKED_UP,
        (publish[:6], "framing", "text frame header", None),
        (publish[6:], "payload", "message to the server", None),
        (pong[:6], "framing", "pong frame header", None),
        (pong[6:], "framing", "pong", None),
    ]
    talk: Talk = [("out", UPGRADE), ("in", SWITCHED + start + fragments), ("out", publish + pong)]
    assert_told([*talk, ("in", published + close)], sent=sent, came=came)


def test_frames_sent_before_the_answer_to_the_upgrade_wait_for_it() -> None:
    hello = encode_frame(Frame(Opcode.BINARY, b"hi", mask=KEY))
    sent = [
        ASKED_UP,
        (hello[:6], "framing", "binary frame header", None),
        (hello[6:], "payload", "message to the server", None),
    ]
    assert_told([("out", UPGRADE + hello), ("in", SWITCHED)], sent=sent)


def test_an_upgrade_that_is_refused_leaves_http() -> None:
    (refused, why), (head, body) = answer(b"no", b"", b"403 Forbidden"), answer(ONE)
    assert_told(
        [("out", UPGRADE + GET), ("in", refused + why + head + body)],
        sent=[ASKED_UP, ASKED],
        came=[heads(refused, 403), (why, "envelope", "body of a 403", None), heads(head), *TOLD_ONE],
    )


def test_an_upgrade_to_something_else_is_payload_and_says_so() -> None:
    head = SWITCHED.replace(b"websocket", b"h2c")
    talk: Talk = [("out", UPGRADE), ("in", head + b"ab"), ("out", b"cd")]
    label = "upgraded to h2c"
    assert_told(
        talk,
        sent=[ASKED_UP, (b"cd", "payload", label, None)],
        came=[heads(head, 101), (b"ab", "payload", label, None)],
    )


def test_a_deflated_message_is_payload_as_a_whole_and_its_event_is_known_by_inflating() -> None:
    packed = deflate(b'{"cursor":"6@k3f9"}', b'{"id":7,"data":"hi"}', b'{"id":8,"data":"hi"}')
    frames = [text(packed[0], rsv1=True), text(packed[1][:3], rsv1=True, fin=False)]
    frames += [encode_frame(Frame(Opcode.CONTINUATION, packed[1][3:])), text(packed[2], rsv1=True)]
    came = [
        heads(DEFLATED, 101),
        (frames[0][:2], "framing", "text frame header", None),
        (packed[0], "payload", "deflated", None),
        (frames[1][:2], "framing", "text frame header", None),
        (packed[1][:3], "payload", "event 7, deflated", "7"),
        (frames[2][:2], "framing", "continuation frame header", None),
        (packed[1][3:], "payload", "event 7, deflated", "7"),
        (frames[3][:2], "framing", "text frame header", None),
        (packed[2], "payload", "event 8, deflated", "8"),
    ]
    assert_told([("out", UPGRADE), ("in", DEFLATED + b"".join(frames))], came=came)


@pytest.mark.parametrize(
    "wrong", [b"\x83\x00", b"\x80\x01a", encode_frame(Frame(Opcode.TEXT, b"hi", mask=KEY)), text(b"\xff")]
)
def test_a_frame_or_message_against_the_rules_ends_what_can_be_read(wrong: bytes) -> None:
    good, after = text(b'{"cursor":"6@k3f9"}'), text(b"after")
    talk: Talk = [("out", UPGRADE), ("in", SWITCHED + good + wrong + after)]
    found = told(talk, iter(talk), Dissector)["in"]
    assert found[:3] == [
        heads(SWITCHED, 101),
        (good[:2], "framing", "text frame header", None),
        (good[2:], "envelope", "JSON", None),
    ]
    assert {label for _, _, label, _ in found[-1:]} == {"unread"}
    assert b"after" in found[-1][0]
    assert_told(talk)


def test_a_message_whose_last_fragment_never_came_is_unread() -> None:
    begun = text(b"abc", fin=False)
    came = [
        heads(SWITCHED, 101),
        (begun[:2], "framing", "text frame header", None),
        (b"abc", "envelope", "unread", None),
        (b"\x80\x05de", "framing", "unread", None),
    ]
    assert_told([("out", UPGRADE), ("in", SWITCHED + begun + b"\x80\x05de")], came=came)


def test_a_client_reads_longer_messages_and_refuses_what_is_longer_still() -> None:
    """``passes_over=False``: our own client's limit is a rule (RFC 6455 section 10.4), not a reason to look away."""
    for size, said in ((40, ["x" * 40]), (41, [])):
        marks: list[Mark] = []
        reader = MessageReader(Carrier("in", Exchange(1)), 0, max_message_bytes=40, passes_over=False)
        assert reader.feed(text(b"x" * size), marks) == said
        assert (reader.error is None) is bool(said)
        if reader.error is not None:
            assert failure_code(reader.error) == 1009 and [mark.label for mark in marks] == ["unread"]


# -- NUL-ended messages ----------------------------------------------------------------------------------------------


def test_a_plugin_socket_subscribes_publishes_and_is_told_events() -> None:
    hello, publish = b'{"subscribe":{"topic":"news","after":""}}', b'{"publish":"x"}'
    event = b'{"id":7,"data":"hi"}'
    talk: Talk = [
        ("out", hello + b"\0"),
        ("in", b'{"cursor":"6@k3f9"}\0' + event + b"\0{"),
        ("out", publish + b"\0{"),
    ]
    sent = [
        (hello, "envelope", "subscribe", None),
        (b"\0", "framing", "NUL", None),
        (publish, "payload", "message to the server", None),
        (b"\0", "framing", "NUL", None),
        (b"{", "envelope", "unread", None),
    ]
    came = [
        (b'{"cursor":"6@k3f9"}', "envelope", "JSON", None),
        (b"\0", "framing", "NUL", None),
        (b'{"id":7,"data":"', "envelope", "event 7", "7"),
        (b"hi", "payload", "event 7", "7"),
        (b'"}', "envelope", "JSON", None),
        (b"\0", "framing", "NUL", None),
        (b"{", "envelope", "unread", None),
    ]
    assert_told(talk, sent=sent, came=came)
    marks = Dissector().feed(*talk[0])
    assert {(mark.exchange.number, mark.exchange.topic) for mark in marks if mark.exchange} == {(1, "news")}


def test_a_plugin_sockets_policy() -> None:
    assert_told(
        [("out", b"<policy-file-request/>\0"), ("in", b"<cross-domain-policy/>\0")],
        sent=[(b"<policy-file-request/>", "envelope", "policy request", None), (b"\0", "framing", "NUL", None)],
        came=[(b"<cross-domain-policy/>\0", "envelope", "policy", None)],
    )


# -- too long to read ------------------------------------------------------------------------------------------------

LONG = b"x" * (MAX_HELD_BYTES + 1)


def long_talks() -> Iterator[tuple[str, bytes, bytes, bytes, bytes]]:
    """Name, request, head of the answer, bytes with something too long in them, and what follows it whole."""
    start = b'{"cursor":"6@k3f9"}'
    yield "lines", GET, streamed(LINES) + start + b"\n", LONG + b"\n", b'{"id":7,"data":"hi"}\n'
    yield "event stream", GET, streamed(SSE), b"id: 1\ndata: " + LONG + b"\ndata: y\n\n", b"id: 7@k3f9\ndata: hi\n\n"
    yield "event stream, CRLF", GET, streamed(SSE), b"data: " + LONG + b"\r\n\r\n", b"id: 7@k3f9\r\ndata: hi\r\n\r\n"
    kind = b"Content-Type: multipart/x-mixed-replace; boundary=b\r\n"
    begun = b"--b\r\n\r\n" + start + b"\r\n--b\r\n"
    yield "parts", GET, streamed(kind) + begun, b"\r\n" + LONG + b"\r\n--b\r\n", PART % 7 + b"\r\n--b\r\n"
    event = text(b'{"id":7,"data":"hi"}')
    yield "frame", UPGRADE, SWITCHED + text(start), text(LONG), event
    fragments = text(LONG[:-5], fin=False) + encode_frame(Frame(Opcode.CONTINUATION, LONG[:9]))
    yield "fragments", UPGRADE, SWITCHED + text(start), fragments, event
    packed, *bomb = deflate(start, LONG, b'{"id":7,"data":"hi"}')
    head = DEFLATED + text(packed, rsv1=True)
    yield "inflated", UPGRADE, head, text(bomb[0], rsv1=True), text(bomb[1], rsv1=True)


@pytest.mark.parametrize("case", [*long_talks()], ids=lambda case: case[0])
def test_a_longer_item_is_payload_too_long_to_read_and_the_next_is_read(case: Any) -> None:
    _, asked, head, long, after = case
    wire = head + long + after
    found = []
    for size in (len(wire), 1 << 16, 4093):
        reads: Talk = [("out", asked), *(("in", wire[at : at + size]) for at in range(0, len(wire), size))]
        found.append(told([("out", asked), ("in", wire)], iter(reads), Dissector)["in"])
        assert found[-1] == found[0]
    assert any(label == "too long to read" and category == "payload" for _, category, label, _ in found[0])
    assert {event for *_, event in found[0]} - {None} <= {"7", "7@k3f9"}
    assert any(event is not None for *_, event in found[0])


@pytest.mark.parametrize("case", [*long_talks()], ids=lambda case: case[0])
def test_what_is_held_of_a_direction_is_bounded(case: Any) -> None:
    _, asked, head, long, _ = case
    dissector = Dissector()
    dissector.feed("out", asked)
    dissector.feed("in", head)
    wire = long[: -len(long) // 2] + long[: len(long) // 2] * 7 if case[0] not in ("inflated", "fragments") else long
    tracemalloc.start()
    for at in range(0, len(wire), 1 << 16):
        dissector.feed("in", wire[at : at + (1 << 16)])
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held < 5 * MAX_HELD_BYTES


def test_an_answer_that_is_too_long() -> None:
    head, body = answer(LONG)
    talk: Talk = [("out", GET), ("in", head + body)]
    assert told(talk, iter(talk), Dissector)["in"] == [heads(head), (LONG, "payload", "too long to read", None)]


def test_after_a_deflated_message_too_long_to_be_held_none_can_be_inflated() -> None:
    noise = random.Random(1).randbytes(MAX_HELD_BYTES + 99)
    packed = deflate(noise, b'{"id":7,"data":"hi"}')
    frames = [encode_frame(Frame(Opcode.BINARY, packed[0], rsv1=True)), text(packed[1], rsv1=True), text(b'{"id":8}')]
    talk: Talk = [("out", UPGRADE), ("in", DEFLATED + b"".join(frames))]
    assert [(len(raw), *what) for raw, *what in told(talk, iter(talk), Dissector)["in"][2:]] == [
        (len(packed[0]), "payload", "too long to read", None),
        (2, "framing", "text frame header", None),
        (len(packed[1]), "payload", "deflated, after one too long to read", None),
        (2, "framing", "text frame header", None),
        (8, "payload", "event 1", "#1"),
    ]


def test_a_message_that_inflates_to_too_much_is_not_held_and_keeps_its_context_for_the_next() -> None:
    event = b'{"id":7,"data":"something that was said before"}'
    start, *packed = deflate(b'{"cursor":"6@k3f9"}', b"\0" * (32 << 20) + event[10:], event)
    fragments = [text(packed[0][:-20], rsv1=True, fin=False), encode_frame(Frame(Opcode.CONTINUATION, packed[0][-20:]))]
    dissector = Dissector()
    dissector.feed("out", UPGRADE)
    dissector.feed("in", DEFLATED + text(start, rsv1=True))
    tracemalloc.start()
    marks = dissector.feed("in", b"".join(fragments))
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held < 5 * MAX_HELD_BYTES
    assert {mark.label for mark in marks if mark.category == "payload"} == {"too long to read"}
    assert len(packed[1]) < len(event) / 2, "the next message leans on this one"
    assert dissector.feed("in", text(packed[1], rsv1=True))[-1].label == "event 7, deflated"


def test_a_long_message_that_is_not_deflated_takes_no_context_with_it() -> None:
    first, packed = deflate(b'{"cursor":"6@k3f9"}', b'{"id":7,"data":"hi"}')
    wire = DEFLATED + text(first, rsv1=True) + text(LONG) + text(packed, rsv1=True)
    found = told([("out", UPGRADE), ("in", wire)], iter([("out", UPGRADE), ("in", wire)]), Dissector)["in"]
    assert found[-1] == (packed, "payload", "event 7, deflated", "7")


def test_the_rest_of_a_deflated_message_too_long_to_be_held_is_not_inflated() -> None:
    (packed,) = deflate(b"hi")
    long = text(LONG, rsv1=True, fin=False) + encode_frame(Frame(Opcode.CONTINUATION, b"\xff" * 9))
    wire = DEFLATED + long + text(packed, rsv1=True) + text(b"plain")
    found = told([("out", UPGRADE), ("in", wire)], iter([("out", UPGRADE), ("in", wire)]), Dissector)["in"]
    assert found[-3][:3] == (packed, "payload", "deflated, after one too long to read")
    assert found[-1][:3] == (b"plain", "payload", "event 1")


def test_a_message_that_inflates_to_too_much_and_breaks_off_ends_what_can_be_read() -> None:
    (bomb,) = deflate(LONG)
    broken = encode_frame(Frame(Opcode.CONTINUATION, b"\xff" * 9))
    wire = DEFLATED + text(bomb, rsv1=True, fin=False) + broken
    dissector = Dissector()
    marks = (
        dissector.feed("out", UPGRADE) + dissector.feed("in", wire) + dissector.feed("in", b"more") + dissector.end()
    )
    assert joined(wire + b"more", marks, "in")[-1][:3] == (b"more", "framing", "unread")
    assert marks[0].exchange is not None and "not deflated" in marks[0].exchange.complaint


def test_what_waits_for_the_answer_to_an_upgrade_is_bounded() -> None:
    dissector = Dissector()
    marks = dissector.feed("out", UPGRADE) + dissector.feed("out", LONG)
    assert [(mark.stop - mark.start, mark.label) for mark in marks[1:]] == [(len(LONG), "unread")]
    assert marks[0].exchange is not None and marks[0].exchange.complaint == "too long to read"


# -- a technique's own way, and what was decoded ---------------------------------------------------------------------


def test_a_technique_reads_a_body_or_a_message_its_own_way() -> None:
    def reading(exchange: Exchange) -> Told | None:
        return Told(Delimited(b"\x1e", "record separator")) if exchange.path == "/polling" else None

    def tell(exchange: Exchange) -> Tell | None:
        return Messages(with_id=True).message if "topic=a" in exchange.query else None

    def make() -> Dissector:
        return Dissector(reading=reading, tell=tell)

    head = streamed(b"Content-Type: application/json-seq\r\n")
    came = [
        heads(head),
        (b"\x1e", "framing", "record separator", None),
        (b'{"cursor":"6@k3f9"}', "envelope", "JSON", None),
        (b"\x1e", "framing", "record separator", None),
        (b'{"id":7,"data":"', "envelope", "event 7", "7"),
        (b"hi", "payload", "event 7", "7"),
        (b'"}', "envelope", "JSON", None),
        (b"\x1e", "framing", "record separator", None),
    ]
    start = b'{"cursor":"6@k3f9"}'
    assert_told([("out", GET), ("in", head + b"\x1e" + start + b'\x1e{"id":7,"data":"hi"}\x1e')], came=came, make=make)
    frame = encode_frame(Frame(Opcode.BINARY, b"\0\0\0\0\0\0\0\x07hi"))
    came = [
        heads(SWITCHED, 101),
        (b"\x81\x13", "framing", "text frame header", None),
        (start, "envelope", "JSON", None),
        (frame[:2], "framing", "binary frame header", None),
        (frame[2:10], "envelope", "event 7", "7"),
        (b"hi", "payload", "event 7", "7"),
    ]
    assert_told([("out", UPGRADE), ("in", SWITCHED + text(start) + frame)], came=came, make=make)


def test_values_are_told_as_they_are_decoded() -> None:
    heard: list[tuple[int, str, Any]] = []
    dissector = Dissector(heard=lambda exchange, direction, value: heard.append((exchange.number, direction, value)))
    head, body = answer(ONE)
    frames = text(b'{"cursor":"6@k3f9"}') + text(b'{"id":7,"data":"hi"}') + text(b"theirs") + b"\x89\0"
    dissector.feed("out", GET)
    dissector.feed("in", head + body)
    dissector.feed("out", UPGRADE)
    dissector.feed("in", SWITCHED + frames)
    dissector.feed("out", encode_frame(Frame(Opcode.TEXT, b"hello", mask=KEY)))
    assert heard[0][2].events == (Received(7, "hi"),)
    assert heard[1:] == [
        (2, "in", Start("6@k3f9")),
        (2, "in", Received(7, "hi")),
        (2, "in", "theirs"),
        (2, "in", Frame(Opcode.PING)),
        (2, "out", Message(True, "hello")),
    ]


def test_a_refusal_is_handed_over_as_it_came_and_its_exchange_is_whole_with_it() -> None:
    heard: list[tuple[Exchange, str, Any]] = []
    dissector = Dissector(heard=lambda *what: heard.append(what))
    head, body = answer(b"no such topic", b"", b"404 Not Found")
    dissector.feed("out", GET)
    (mark,) = dissector.feed("in", head)
    assert mark.exchange is not None and not mark.exchange.is_whole and mark.exchange.response is not None
    dissector.feed("in", body)
    assert heard == [(mark.exchange, "in", b"no such topic")] and mark.exchange.is_whole


def test_a_reading_hands_over_what_is_somebody_elses_as_it_came() -> None:
    assert [value for value, _ in reading_of("application/x-ndjson").items(b"theirs\n")] == [b"theirs"]
    (event, _), *_ = reading_of("text/event-stream").items(b"event: price\ndata: 3\n\n")
    assert event == StreamEvent("price", "3", "", None)


# -- whatever comes --------------------------------------------------------------------------------------------------

TALKS: list[Talk] = [
    [("out", GET + GET), ("in", b"".join(answer(ONE)) + streamed(JSON + b"Transfer-Encoding: chunked\r\n"))],
    [("out", GET), ("in", streamed(SSE) + b"id: 7@k3f9\ndata: a\n\nevent: json\ndata: {}\n\n")],
    [("out", GET), ("in", b"".join(answer(gzip.compress(ONE, mtime=0), JSON + b"Content-Encoding: gzip\r\n")))],
    [
        ("out", UPGRADE),
        ("in", SWITCHED + text(b'{"id":7,"data":"hi"}')),
        ("out", encode_frame(Frame(Opcode.PING, b"", mask=KEY))),
    ],
    [("out", UPGRADE), ("in", DEFLATED + text(deflate(b'{"id":7,"data":"hi"}')[0], rsv1=True))],
    [("out", b'{"subscribe":{}}\0'), ("in", b'{"id":7,"data":"hi"}\0')],
]


@given(st.sampled_from(TALKS), st.data())
def test_whatever_comes_each_byte_is_marked_once_and_alike_however_it_is_cut(talk: Talk, data: st.DataObject) -> None:
    """One stretch of a conversation is replaced by other bytes."""
    step = data.draw(st.integers(0, len(talk) - 1))
    way, wire = talk[step]
    at = data.draw(st.integers(0, len(wire)))
    other = data.draw(st.binary(max_size=4) | st.sampled_from([b"\r\n", b"0", b"\n\n", GET]))
    wire = wire[:at] + other + wire[at + data.draw(st.integers(0, 4)) :]
    changed: Talk = [*talk[:step], (way, wire), *talk[step + 1 :]]
    bytewise = [(way, data[i : i + 1]) for way, data in changed for i in range(len(data))]
    assert told(changed, iter(changed), Dissector) == told(changed, iter(bytewise), Dissector)
