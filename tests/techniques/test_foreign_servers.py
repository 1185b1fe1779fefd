"""Other people's servers: whatever they send ends in deliveries, or in one error that names the clause."""

from __future__ import annotations

import gzip
import json
import socket
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from conftest import UNIT
from labkit.client import backoff
from labkit.client.http import retry_after_s
from labkit.errors import ConnectionLost, Refused, WireError
from labkit.lab.lab import Lab
from labkit.measuring.listening import listen
from labkit.subscribing.contract.receiver import Receiver, bytes_of, check_marks
from labkit.techniques import TECHNIQUES, exhibits, find
from wait import dial, get, read_all, read_until, serving, until

Script = Callable[[socket.socket], None]
OK = b"HTTP/1.1 200 OK\r\n"
CLOSE = b"Connection: close\r\n\r\n"
STREAM = OK + b"Content-Type: text/event-stream\r\n" + CLOSE
GONE = b"HTTP/1.1 204 No Content\r\n" + CLOSE


def counted(body: bytes, *fields: bytes) -> bytes:
    return OK + b"".join(field + b"\r\n" for field in fields) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def answering(*answers: bytes, then: Script = lambda sock: None, seen: list[bytes] | None = None) -> Script:
    """One connection: an answer to each request, in order."""

    def script(sock: socket.socket) -> None:
        for answer in answers:
            request = read_until(sock, b"\r\n\r\n")
            if seen is not None:
                seen.append(request)
            sock.sendall(answer)
        then(sock)

    return script


def received(name: str, *scripts: Script, count: int, **options: Any) -> Receiver:
    """A client that has brought *count* items, and is gone."""
    with serving(*scripts) as url, Receiver(find(name), url, **options) as receiver:
        receiver.wait_for(count)
    for record in receiver.ledger.connections:
        check_marks(record)
    return receiver


def ended(name: str, *scripts: Script, **options: Any) -> Receiver:
    """A client that has come to its end."""
    with serving(*scripts) as url, Receiver(find(name), url, **options) as receiver:
        receiver.wait_end()
    for record in receiver.ledger.connections:
        check_marks(record)
    return receiver


# -- event streams -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["closing", "json", "gap", "error", "message"])
def test_an_event_of_another_server_arrives_whatever_its_type_with_its_id(kind: str) -> None:
    block = f'id: a7\nevent: {kind}\ndata: shop closes at 5\n\nevent: {kind}\ndata: {{"closing":"x"}}\n\n'
    receiver = received("sse", answering(STREAM + block.encode()), count=2, retry_s=600.0)
    first, second = receiver.deliveries
    assert (first.data, first.wire_id, first.event_id) == ("shop closes at 5", "a7", 1)
    assert (second.data, second.wire_id, second.event_id) == ('{"closing":"x"}', None, 2)


@pytest.mark.parametrize("last", ["서울-1", "café", "😀", "17@k3f9", "a\tb\x0b\x01", "\u2028"])
def test_an_id_comes_back_as_utf_8_and_alone(last: str) -> None:
    seen: list[bytes] = []
    scripts = [answering(STREAM + f"id: {last}\ndata: x\n\n".encode(), seen=seen), answering(GONE, seen=seen)]
    receiver = ended("sse", *scripts, retry_s=0.0)
    assert receiver.deliveries[0].wire_id == last and receiver.error is None
    assert b"\r\nLast-Event-ID: " + last.encode() + b"\r\n" in seen[1] and b"after=" not in seen[1]
    assert b"\r\nCache-Control: no-cache\r\n" in seen[0]


def test_an_id_is_sent_without_the_blanks_around_it_and_one_of_blanks_is_none() -> None:
    seen: list[bytes] = []
    scripts = [
        answering(STREAM + b"id:  a b \t\ndata: x\n\n", seen=seen),
        answering(STREAM + b"id:   \ndata: x\n\n", seen=seen),
        answering(GONE, seen=seen),
    ]
    ended("sse", *scripts, retry_s=0.0)
    assert b"Last-Event-ID: a b\r\n" in seen[1] and b"Last-Event-ID: \r\n" in seen[2]


@pytest.mark.parametrize(("after", "sent"), [("5", b"Last-Event-ID: 5"), ("é", b"Last-Event-ID: \xc3\xa9")])
def test_an_id_that_is_no_labs_cursor_is_where_a_source_goes_on_from(after: str, sent: bytes) -> None:
    seen: list[bytes] = []
    ended("sse", answering(GONE, seen=seen), after=after)
    assert sent in seen[0] and b"after=" not in seen[0]


def test_the_cursor_of_an_event_is_what_its_stream_would_be_asked_for_then() -> None:
    lone = answering(STREAM + b"data: x\n\nid: 7\n\ndata: x\n\nid: \n\ndata: x\n\n")
    assert [d.cursor for d in received("sse", lone, count=3, retry_s=600.0).deliveries] == ["", "7", ""]
    other = received("sse", answering(STREAM + b"data: x\n\n"), count=1, retry_s=600.0, after="5@k3f9")
    assert other.deliveries[0].cursor == "5@k3f9"


@pytest.mark.parametrize("hostile", ["a\r\nHost: b", "a\0", "\ud800\nb"])
def test_what_could_end_a_line_of_a_head_is_not_sent(hostile: str) -> None:
    for options in ({"after": hostile}, {"token": hostile}):
        receiver = ended("sse", read_all, **options)
        assert isinstance(receiver.error, WireError) and receiver.error.clause == "RFC 9110 section 5.5"
        assert receiver.ledger.connections[0].bytes_out == 0


@pytest.mark.parametrize("name", [t.name for t in TECHNIQUES if t.port == "http"])
def test_a_topic_that_cannot_be_utf_8_is_refused(name: str) -> None:
    receiver = ended(name, read_all, topic="\ud800")
    assert "lone surrogate" in str(receiver.error) and b"\xed" not in bytes_of_all(receiver)


def bytes_of_all(receiver: Receiver) -> bytes:
    return b"".join(bytes_of(record, "out") for record in receiver.ledger.connections)


@pytest.mark.parametrize("kind", ["Text/Event-Stream", "text/event-stream;charset=latin1"])
def test_the_type_of_an_event_stream_is_one_in_any_case(kind: str) -> None:
    received("sse", answering(counted(b"data: x\n\n", f"Content-Type: {kind}".encode()), then=read_all), count=1)


# -- lines, messages, answers --------------------------------------------------------------------------------------


def test_lines_that_a_lab_would_say_are_somebody_elses_where_no_lab_has_begun() -> None:
    lines = [b'{"closing":"shop"}', b'{"id":5,"data":"x"}', b'{"cursor":"1@abcd"}', b'{"id":4,"data":"x"}']
    receiver = ended("http-streaming", answering(counted(b"\n".join(lines) + b"\n")))
    assert [(d.event_id, d.data) for d in receiver.deliveries] == [*enumerate(map(bytes.decode, lines), 1)]
    assert receiver.held_back == 0 and receiver.gaps == []


def test_a_gap_that_nobody_asked_about_is_a_word_of_somebody_elses() -> None:
    gap = b'{"gap":{"after":"1@abcd","next":5},"cursor":"4@abcd"}\n'
    assert ended("http-streaming", answering(counted(gap))).gaps == []
    assert [g.next for g in ended("http-streaming", answering(counted(gap)), after="1@abcd").gaps] == [5]


@pytest.mark.parametrize("answer", [counted(b'a\n{"b":1}'), OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\na\n"
                                    b'{"b":1}\r\n0\r\n\r\n'])  # fmt: skip
def test_a_last_line_without_its_end_is_whole_where_the_body_says_its_own_end(answer: bytes) -> None:
    assert [d.data for d in ended("http-streaming", answering(answer)).deliveries] == ["a", '{"b":1}']


def test_events_of_another_server_are_numbered_on_over_its_connections() -> None:
    with serving(answering(OK + CLOSE + b"a\nb\n"), answering(OK + CLOSE + b"c\n"), read_all) as url:
        run = listen(url, "http-streaming", seconds=0.5 * UNIT, progress=False)
    assert run.deliveries["event_id"].tolist() == [1, 2, 3]
    assert run.summary()["duplicated"].tolist() == [0]


def test_one_server_may_not_take_the_place_of_a_lab_in_the_middle() -> None:
    ours, theirs = b'{"events":[{"id":1,"data":"x"}],"cursor":"1@abcd"}', b"<html>log in"
    receiver = ended("long-polling", answering(counted(ours), counted(theirs), then=read_all), after="0")
    assert receiver.ids == [1] and isinstance(receiver.error, ConnectionLost)


@pytest.mark.parametrize("name", ["long-polling", "polling"])
def test_what_came_twice_is_handed_over_once_and_counted_with_its_bytes(name: str) -> None:
    answer = counted(b'{"events":[{"id":1,"data":"\xc3\xa9"},{"id":2,"data":"xyz"}],"cursor":"2@abcd"}')
    newer = counted(b'{"events":[{"id":2,"data":"xyz"},{"id":3,"data":"z"}],"cursor":"3@abcd"}')
    options = {"pipelined": True} if name == "long-polling" else {"interval_s": 0.01 * UNIT}
    receiver = received(name, answering(answer, answer, newer, then=read_all), count=3, after="0", **options)
    assert receiver.ids == [1, 2, 3]
    (record,) = receiver.ledger.connections
    assert (record.duplicates, record.duplicate_bytes) == (3, 2 + 3 + 3)
    assert record.by_category["payload"] == 2 * (2 + 3) + 3 + 1, "what came again was carried all the same"


def test_a_run_counts_what_was_held_back_as_duplicates() -> None:
    answer = counted(b'{"events":[{"id":1,"data":"x"}],"cursor":"1@abcd"}')
    with serving(answering(answer, answer, then=read_all)) as url:
        run = listen(url, "polling", seconds=0.6 * UNIT, progress=False, interval_s=0.05 * UNIT)
    assert run.deliveries["event_id"].tolist() == [1]
    assert run.summary()["duplicated"].tolist() == [1] and run.connections["duplicate_bytes"].sum() == 1


@pytest.mark.parametrize("body", [b'{"price":3}', b""])
def test_a_server_that_holds_no_poll_is_not_stormed(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff.random, "uniform", lambda low, high: high)
    seen: list[bytes] = []
    with serving(answering(*[counted(body)] * 100, then=read_all, seen=seen)) as url:
        run = listen(url, "long-polling", seconds=0.6, progress=False)
    assert 2 <= len(seen) <= 10, "0, 0.05, 0.15, 0.35, 0.75 s, and what a busy machine adds"
    assert bool(len(run.deliveries)) is bool(body)


# -- HTTP ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [60_000, 1_000, 1], ids=["in one piece", "in pieces", "byte by byte"])
def test_a_head_of_60_kb_is_read_however_it_is_cut(cut: int) -> None:
    head = OK + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 992) for n in range(60))
    data = head + b"Content-Type: text/event-stream\r\n\r\ndata: x\n\n"

    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        for start in range(0, len(data), cut):
            sock.sendall(data[start : start + cut])
        read_all(sock)

    assert len(head) > 60_000
    assert received("sse", script, count=1).deliveries[0].data == "x"


def test_an_answer_that_nobody_asked_for_is_not_that_to_the_next_request() -> None:
    planted = counted(b"planted")
    late = answering(
        counted(b"first"), then=lambda sock: (time.sleep(0.05 * UNIT), sock.sendall(planted), read_all(sock))
    )
    for first in (answering(counted(b"first") + planted, then=read_all), late):
        scripts = [first, answering(counted(b"second"), then=read_all)]
        receiver = received("polling", *scripts, count=2, interval_s=0.2 * UNIT)
        assert [d.data for d in receiver.deliveries] == ["first", "second"]
        assert b"planted" in receiver.received, "it is put down, and marked, all the same"
        assert len(receiver.ledger.connections) == 2


def deflated(data: bytes, wbits: int) -> bytes:
    packer = zlib.compressobj(wbits=wbits)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("gzip", lambda data: gzip.compress(data, mtime=0)),
        ("X-GZip", lambda data: gzip.compress(data, mtime=0)),
        ("deflate", lambda data: deflated(data, 15)),
        ("deflate", lambda data: deflated(data, -15)),
        ("deflate, gzip", lambda data: gzip.compress(deflated(data, 15), mtime=0)),
    ],
)
def test_a_coded_body_is_decoded_and_its_coded_bytes_are_what_counts(coding: str, pack: Any) -> None:
    blocks = b"".join(b"id: %d\ndata: %b\n\n" % (n, b"x" * 100) for n in range(50))
    field = f"Content-Encoding: {coding}".encode()
    coded = pack(blocks)
    answer = counted(coded, field, b"Content-Type: text/event-stream")
    receiver = received("sse", answering(answer, then=read_all), count=50, retry_s=600.0)
    assert [d.wire_id for d in receiver.deliveries] == [str(n) for n in range(50)]
    assert receiver.ledger.connections[0].by_category["payload"] == len(coded) < len(blocks)


def test_a_coded_stream_that_is_not_flushed_is_decoded_as_far_as_it_has_come() -> None:
    """Whatever of an event has come is decoded: a server that does not flush holds the rest back itself."""
    packer = zlib.compressobj(wbits=31)
    noise = "".join(map(chr, range(0x4E00, 0x7E00)))
    coded = packer.compress(f"data: first\n\ndata: {noise}\n\n".encode())  # no flush: what zlib has let go of
    head = STREAM.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    assert len(coded) > 1000
    assert received("sse", answering(head + coded, then=read_all), count=1).deliveries[0].data == "first"


def test_a_coding_that_is_cut_with_its_connection_is_a_lost_one() -> None:
    body = gzip.compress(b"a\nb\n", mtime=0)
    receiver = ended("http-streaming", answering(OK + b"Content-Encoding: gzip\r\n" + CLOSE + body[:-4]))
    assert [d.data for d in receiver.deliveries] == ["a", "b"] and isinstance(receiver.error, ConnectionLost)
    assert "RFC 1952" in str(receiver.error)


@pytest.mark.parametrize("name", ["polling", "sse", "http-streaming", "websocket"])
def test_a_refusal_that_never_ends_is_told_by_its_beginning_without_its_controls(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labkit.client.http.WORDS_S", 0.2 * UNIT)
    refusal = b"HTTP/1.1 403 N\x1bo\r\n\r\nnot \x1b[31m you\0\xff"
    receiver = ended(name, answering(refusal, then=read_all))
    assert isinstance(receiver.error, Refused) and receiver.error.status == 403
    assert "403 N o: not  [31m you" in str(receiver.error) and str(receiver.error).isprintable()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("0", 0.0), ("999999999", 86400.0), ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0), ("soon", None), ("", None),
     ("-1", None), ("1.5", None), ("\xb2", None), ("9" * 400, None), ("Mon, 99 Foo 2999", None)],
)  # fmt: skip
def test_9110_10_2_3_retry_after_is_seconds_or_a_date_or_nothing(value: str, seconds: float | None) -> None:
    assert retry_after_s(value) == seconds


def test_9110_10_2_3_a_date_is_counted_from_now() -> None:
    assert retry_after_s("Fri, 31 Dec 9999 23:59:59 GMT") == 86400.0
    for form in ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"):  # RFC 9110 5.6.7
        left_s = retry_after_s(time.strftime(form, time.gmtime(time.time() + 3600)))
        assert left_s is not None and 3500 < left_s <= 3600, form


def test_parts_without_a_boundary_are_none() -> None:
    receiver = ended("http-streaming", answering(counted(b"x", b"Content-Type: multipart/x-mixed-replace")))
    assert isinstance(receiver.error, WireError) and receiver.error.clause == "RFC 2046 section 5.1.1"


def test_who_sends_without_a_pause_keeps_the_loop_from_nobody() -> None:
    def flood(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        sock.sendall(STREAM)
        while True:
            sock.sendall((b":" + b"x" * 30 + b"\n") * 5000)

    with serving(flood) as url, Receiver(find("sse"), url) as receiver, Lab("beside a flood") as lab:
        until(lambda: receiver.ledger.connections and receiver.ledger.connections[0].bytes_in > 1 << 20)
        with dial(lab.port, get("/polling")) as sock:
            assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 200")


# -- the protocols of the past -------------------------------------------------------------------------------------


NO_ANSWERS = (b"", b"x", b"{}", b"[]", b"[1]", b'[{"channel":3}]', b'[{"channel":"/meta/handshake"}]')
NO_ANSWERS += (b'[{"channel":"/meta/handshake","clientId":1e999}]', b"<body/>", b"<body type='terminate'/>")


@pytest.mark.parametrize("technique", [exhibits.BAYEUX, exhibits.BOSH], ids=lambda t: t.name)
@pytest.mark.parametrize("body", NO_ANSWERS)
def test_an_answer_that_is_none_is_said_in_a_sentence(technique: Any, body: bytes) -> None:
    with serving(answering(counted(body), then=read_all)) as url, Receiver(technique, url) as receiver:
        receiver.wait_end()
    assert isinstance(receiver.error, WireError | Refused), receiver.error
    check_marks(receiver.ledger.connections[0])


def test_bayeux_of_another_server_brings_its_messages_and_obeys_no_foolish_advice() -> None:
    def told(*messages: Any) -> bytes:
        return counted(json.dumps(messages).encode())

    news = {"channel": "/news", "data": {"id": 1, "data": "x"}, "id": "7"}
    connect = {"channel": "/meta/connect", "successful": True, "advice": {"interval": "soon", "timeout": None}}
    answers = [
        told({"channel": "/meta/handshake", "clientId": "c", "successful": True}),
        told({"channel": "/meta/subscribe", "successful": True}),
        told(connect, news),
        told({"channel": "/meta/connect", "advice": {"reconnect": "none"}}),
    ]
    with serving(answering(*answers, then=read_all)) as url, Receiver(exhibits.BAYEUX, url) as receiver:
        receiver.wait_end()
    assert receiver.error is None
    assert [(d.event_id, d.data, d.wire_id) for d in receiver.deliveries] == [(1, '{"id":1,"data":"x"}', None)]


def test_bayeux_1_0_4_1_4_a_reply_to_a_meta_message_has_the_id_of_its_request() -> None:
    sent = [
        {"channel": "/meta/handshake", "id": "42"},
        {"channel": "/meta/handshake"},
        {"channel": "/meta/nothing", "clientId": "?", "id": 7},
    ]
    with Lab("bayeux", techniques=(*TECHNIQUES, exhibits.BAYEUX)) as lab:
        body = json.dumps(sent).encode()
        post = get("/bayeux", f"Content-Length: {len(body)}", "Connection: close").replace(b"GET", b"POST", 1)
        with dial(lab.port, post + body) as sock:
            answers = json.loads(read_all(sock).partition(b"\r\n\r\n")[2])
    assert [answer.get("id", "none") for answer in answers] == ["42", "none", 7]
