"""Each technique's own ways: its options and framings on the wire, and its client against servers that misbehave."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import email
import itertools
import json
import re
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from conftest import UNIT
from labkit import loop
from labkit.client.ledger import Ledger
from labkit.client.websocket import WebSocketConnection
from labkit.client.wiring import Wiring
from labkit.errors import ConnectionLost, LabkitError, Refused, UnknownTechnique, WireError
from labkit.lab.lab import Lab
from labkit.lab.server import Server
from labkit.subscribing.contract.receiver import Receiver, bytes_of, check_marks
from labkit.subscribing.following import follow
from labkit.techniques import TECHNIQUES, find, http_streaming, plugin_socket
from labkit.techniques.http_streaming import BOUNDARY, IDLE
from labkit.techniques.long_polling import TOPICS, later
from labkit.wire.close_codes import encode_close
from labkit.wire.events import Cursor, Gap
from labkit.wire.frames import Frame, FrameDecoder, Opcode, encode_frame
from labkit.wire.handshake import accept_key
from labkit.wire.spans import Mark
from labkit.wire.whole_chunks import ChunkDecoder, Trailers
from wait import TIMEOUT_S, dial, get, read_all, read_until, serving, until

Script = Callable[[socket.socket], None]


@contextlib.contextmanager
def a_lab(**options: Any) -> Iterator[Lab]:
    with Lab("techniques", **options) as lab:
        yield lab


def run(work: Awaitable[Any]) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(work, TIMEOUT_S)

    return loop.run(bounded())


def head_of(sock: socket.socket) -> tuple[bytes, dict[str, str]]:
    """The status line and the header fields, in lower case, of an answer."""
    status, *lines = read_until(sock, b"\r\n\r\n").decode().split("\r\n")
    return status.encode(), {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}


def body_of(sock: socket.socket) -> tuple[dict[str, str], bytes]:
    _, fields = head_of(sock)
    return fields, sock.recv(int(fields.get("content-length", 0)), socket.MSG_WAITALL)


def chunks_until(sock: socket.socket, end: bytes) -> bytes:
    """The body of a chunked answer, up to *end* or its own end."""
    decoder, body = ChunkDecoder(), b""
    while end not in body:
        for item in decoder.feed(sock.recv(1)):
            if isinstance(item, Trailers):
                return body
            body += item.data
    return body


# -- the registry --------------------------------------------------------------------------------------------------


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(UnknownTechnique, match=r"'carrier-pigeon'.*polling.*plugin-socket"):
        find("carrier-pigeon")


@pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda t: t.name)
def test_a_technique_is_called_as_its_route_and_says_where_it_is_specified(technique: Any) -> None:
    assert technique.route == (f"/{technique.name}" if technique.port == "http" else "")
    assert find(technique.name) is technique and technique.title and technique.spec and technique.hint


@pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda t: t.name)
def test_a_token_is_sent_along(technique: Any) -> None:
    seen: list[bytes] = []

    def script(sock: socket.socket) -> None:
        seen.append(read_until(sock, b"\0" if technique.port == "plugin" else b"\r\n\r\n"))

    with serving(script) as url:
        address = url.replace("http:", "tcp:") if technique.port == "plugin" else url
        with Receiver(technique, address, token="s3cret") as receiver:
            receiver.wait_end()
    assert b"Bearer s3cret" in seen[0] or b'"token": "s3cret"' in seen[0]


# -- polling -------------------------------------------------------------------------------------------------------


def polls_at(receiver: Receiver) -> list[float]:
    """When each request left, in seconds."""
    return [t.t_ns / 1e9 for record in receiver.ledger.connections for t in record.transfers if t.direction == "out"]


def test_polls_are_an_interval_apart_from_start_to_start() -> None:
    def slow(sock: socket.socket) -> None:
        while read_until(sock, b"\r\n\r\n"):
            time.sleep(0.05 * UNIT)  # how long this server takes, not a wait for anything
            sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\n{"events":[],"cursor":"0@abcdef"}')

    def spans(**options: Any) -> list[float]:
        with serving(slow) as url, Receiver(find("polling"), url, interval_s=0.1 * UNIT, **options) as receiver:
            until(lambda: len(polls_at(receiver)) >= 5)
            times = polls_at(receiver)
        return [b - a for a, b in itertools.pairwise(times)]

    from_start, from_answer = spans(), spans(wait_after_answer=True)
    assert min(from_answer) > 0.145 * UNIT
    assert sum(from_start[:4]) >= 0.39 * UNIT and min(from_start) < 0.145 * UNIT


def test_the_first_poll_waits_for_its_phase() -> None:
    with a_lab() as lab:
        lab.publish("x")
        began = time.perf_counter()
        with Receiver(find("polling"), lab.url_of("polling"), after="0", start_delay_s=0.2 * UNIT) as receiver:
            receiver.wait_for(1)
        assert time.perf_counter() - began >= 0.2 * UNIT


def test_an_answer_to_a_poll_is_exactly_this() -> None:
    with a_lab() as lab, dial(lab.port) as sock:
        epoch = lab.cursor()[2:]
        lab.publish("é\n")
        lab.publish(b"\0")
        for query, text in [
            ("", f'{{"events":[],"cursor":"2@{epoch}"}}'),
            ("?after=0", f'{{"events":[{{"id":1,"data":"é\\n"}},{{"id":2,"base64":"AA=="}}],"cursor":"2@{epoch}"}}'),
            (f"?after=1@{epoch}", f'{{"events":[{{"id":2,"base64":"AA=="}}],"cursor":"2@{epoch}"}}'),
        ]:
            sock.sendall(get("/polling" + query))
            fields, body = body_of(sock)
            assert body.decode() == text
            assert fields["content-type"] == "application/json" and "etag" not in fields
            assert fields["cache-control"] == "no-store"


def test_an_etag_is_the_answers_cursor_in_quotes_and_304_says_that_nothing_is_new() -> None:
    with a_lab() as lab, dial(lab.port) as sock:
        lab.publish("x")
        etag = f'"{lab.cursor()}"'
        sock.sendall(get("/polling?after=0&etag=1"))
        fields, body = body_of(sock)
        assert fields["etag"] == etag and json.loads(body)["events"]
        sock.sendall(get("/polling?after=0&etag=1", f"If-None-Match: {etag}"))
        status, fields = head_of(sock)
        assert status == b"HTTP/1.1 304 Not Modified" and fields["etag"] == etag
        sock.sendall(get("/polling?after=0", f"If-None-Match: {etag}"))
        assert head_of(sock)[0] == b"HTTP/1.1 200 OK", "only when it was asked for"


def test_a_polling_client_takes_304_for_an_empty_answer() -> None:
    with a_lab() as lab:
        with Receiver(
            find("polling"), lab.url_of("polling"), after=lab.cursor(), etag=True, interval_s=0.02 * UNIT
        ) as receiver:
            until(lambda: b" 304 " in receiver.received)
            lab.publish("x")
            receiver.wait_for(1)
            until(lambda: receiver.received.count(b" 304 ") > receiver.received.count(b" 200 "))
        assert receiver.ids == [1]
        check_marks(receiver.ledger.connections[0])


# -- long polling --------------------------------------------------------------------------------------------------


def test_a_hold_that_passes_is_answered_with_an_empty_list() -> None:
    with a_lab(hold_s=0.1 * UNIT) as lab, dial(lab.port) as sock:
        for query in ("", f"?timeout={0.1 * UNIT}", "?timeout=0"):
            began = time.perf_counter()
            sock.sendall(get("/long-polling" + query))
            fields, body = body_of(sock)
            assert body.decode() == f'{{"events":[],"cursor":"{lab.cursor()}"}}'
            assert fields["content-type"] == "application/json"
            held_s = time.perf_counter() - began
            assert held_s < 0.09 * UNIT if query == "?timeout=0" else held_s >= 0.099 * UNIT
        assert lab.stats()["subscribers"] == 0


def test_a_client_asks_for_its_own_hold_and_goes_on_after_an_empty_answer() -> None:
    with a_lab() as lab:
        url = lab.url_of("long-polling")
        with Receiver(find("long-polling"), url, after=lab.cursor(), hold_s=0.05 * UNIT) as receiver:
            until(lambda: receiver.ledger.connections and receiver.ledger.connections[0].responses >= 3)
            lab.publish("x")
            receiver.wait_for(1)
        assert receiver.ids == [1] and len(receiver.ledger.connections) == 1


def test_events_that_queued_share_one_answer() -> None:
    with a_lab() as lab, dial(lab.port, get("/long-polling")) as sock:
        until(lambda: lab.stats()["subscribers"] == 1)
        lab.publish("1")
        cursor = json.loads(body_of(sock)[1])["cursor"]
        for n in range(2, 12):
            lab.publish(str(n))
        sock.sendall(get(f"/long-polling?after={cursor}"))
        assert [e["id"] for e in json.loads(body_of(sock)[1])["events"]] == list(range(2, 12))


def test_pipelined_polls_share_a_connection_and_bring_every_event_once() -> None:
    with a_lab() as lab:
        with Receiver(find("long-polling"), lab.url_of("long-polling"), after=lab.cursor(), pipelined=True) as receiver:
            for n in range(100):
                lab.publish(str(n))
                if n % 7 == 0:
                    receiver.wait_for(n + 1)
            receiver.wait_for(100)
            assert receiver.ids == list(range(1, 101)) and receiver.gaps == []
            (record,) = receiver.ledger.connections
            assert record.requests > record.responses, "one is waiting at the server"
            until(lambda: lab.stats()["subscribers"] == 1)
        until(lambda: lab.stats()["connections"] == 0)
        check_marks(record)


@pytest.mark.parametrize("after", ["7@zzzz", "999@{epoch}", "0", "2@{epoch}"])
def test_two_polls_sent_with_the_same_cursor_are_not_given_the_same(after: str) -> None:
    with a_lab(history_events=3) as lab, dial(lab.port) as sock:
        epoch = lab.cursor()[2:]
        for n in range(5):
            lab.publish(str(n))
        poll = get(f"/long-polling?pipelined=1&after={after.format(epoch=epoch)}")
        sock.sendall(poll + poll)
        first = json.loads(body_of(sock)[1])
        assert [e["id"] for e in first["events"]] == [3, 4, 5]
        until(lambda: lab.stats()["subscribers"] == 1)
        lab.publish("next")
        second = json.loads(body_of(sock)[1])
        assert second == {"events": [{"id": 6, "data": "next"}], "cursor": f"6@{epoch}"}


def test_a_connection_that_polls_many_topics_remembers_what_was_given_of_the_last_few() -> None:
    with a_lab() as lab, dial(lab.port) as sock:
        for number in range(2 * TOPICS):
            sock.sendall(get(f"/long-polling?timeout=0&topic={number}"))
            read_until(sock, b'"}')
        assert isinstance(lab._server, Server)
        (stream,) = lab._server.http.streams
        assert list(stream.state or ()) == [str(number) for number in range(TOPICS, 2 * TOPICS)]


def test_a_pipelined_poll_without_a_cursor_goes_on_from_what_the_connection_was_given() -> None:
    with a_lab() as lab, dial(lab.port) as sock:
        poll = get("/long-polling?pipelined=1")
        sock.sendall(poll)
        until(lambda: lab.stats()["subscribers"] == 1)
        lab.publish("1")
        assert json.loads(body_of(sock)[1])["events"] == [{"id": 1, "data": "1"}]
        lab.publish("2")
        sock.sendall(poll)
        assert json.loads(body_of(sock)[1])["events"] == [{"id": 2, "data": "2"}]


def test_without_pipelining_the_cursor_that_was_asked_with_rules() -> None:
    with a_lab() as lab, dial(lab.port) as sock:
        lab.publish("1")
        for _ in range(2):  # one connection may carry the polls of several clients
            sock.sendall(get("/long-polling?after=0"))
            assert json.loads(body_of(sock)[1])["events"] == [{"id": 1, "data": "1"}]


@pytest.mark.parametrize(
    ("asked", "began", "given", "expected"),
    [
        ("3@aaaa", None, None, "3@aaaa"),
        (None, None, None, None),
        (None, "1@aaaa", "4@aaaa", "4@aaaa"),
        ("3@aaaa", "1@aaaa", "4@aaaa", "4@aaaa"),
        ("5@aaaa", "1@aaaa", "4@aaaa", "5@aaaa"),
        ("3", "1@aaaa", "4@aaaa", "4@aaaa"),
        ("5", "1@aaaa", "4@aaaa", "5"),
        ("9@bbbb", "9@bbbb", "4@aaaa", "4@aaaa"),
        ("8@bbbb", "9@bbbb", "4@aaaa", "8@bbbb"),
    ],
)
def test_the_later_of_what_is_asked_and_what_was_given(
    asked: str | None, began: str | None, given: str | None, expected: str | None
) -> None:
    asked_, began_, given_, expected_ = (text and Cursor.parse(text) for text in (asked, began, given, expected))
    assert later(asked_ or None, began_ or None, given_ or None) == (expected_ or None)


# -- HTTP streaming ------------------------------------------------------------------------------------------------


def test_a_stream_is_chunked_lines_of_json_on_http_1_1() -> None:
    with a_lab() as lab, dial(lab.port, get("/http-streaming")) as sock:
        status, fields = head_of(sock)
        assert (status, fields["transfer-encoding"]) == (b"HTTP/1.1 200 OK", "chunked")
        assert fields["content-type"] == "application/x-ndjson"
        lab.publish("é\u2028")
        body = chunks_until(sock, b"}\n{") or b""
        body += chunks_until(sock, b"\n") if not body.endswith(b"}\n") else b""
        lines = body.decode().split("\n")
        assert lines[0] == f'{{"cursor":"0@{lab.cursor()[2:]}"}}' and lines[1] == '{"id":1,"data":"é\u2028"}'


@pytest.mark.parametrize(
    ("target", "version", "fields"),
    [
        ("/http-streaming?framing=eof", "1.1", ()),
        ("/http-streaming", "1.0", ()),
        ("/http-streaming", "1.0", ("Connection: keep-alive",)),
        ("/http-streaming?format=multipart", "1.0", ("Connection: keep-alive",)),
        ("/sse", "1.0", ()),
        ("/sse", "1.0", ("Connection: keep-alive",)),
    ],
)
def test_where_only_the_close_can_end_a_body_it_does(target: str, version: str, fields: tuple[str, ...]) -> None:
    with a_lab(slow="disconnect") as lab, dial(lab.port, get(target, *fields, version=version)) as sock:
        _, answer = head_of(sock)
        assert "transfer-encoding" not in answer and "content-length" not in answer
        assert answer.get("connection", "close").lower() == "close"
        until(lambda: lab.stats()["subscribers"] == 1)
        lab.publish("the last")
        lab.close()
        assert b"the last" in read_all(sock)


def test_a_later_request_on_a_connection_that_carried_an_eof_body_is_not_answered() -> None:
    with a_lab() as lab, dial(lab.port, get("/http-streaming?framing=eof") + get("/polling")) as sock:
        until(lambda: lab.stats()["subscribers"] == 1)
        lab.close()
        assert read_all(sock).count(b"HTTP/1.1 200") == 1


def test_a_chunked_stream_ends_with_its_last_chunk() -> None:
    for target in ("/http-streaming", "/sse"):
        with a_lab() as lab, dial(lab.port, get(target)) as sock:
            until(lambda lab=lab: lab.stats()["subscribers"] == 1)
            lab.close()
            assert read_all(sock).endswith(b"\r\n0\r\n\r\n")


STREAMINGS = [
    {},
    {"framing": "eof"},
    {"http_version": "1.0"},
    {"format": "multipart"},
    {"format": "multipart", "http_version": "1.0"},
    {"format": "multipart", "framing": "eof"},
    {"conflate": True},
]


@pytest.mark.parametrize("options", STREAMINGS, ids=str)
def test_every_framing_brings_an_event_at_once(options: dict[str, Any]) -> None:
    with a_lab() as lab:
        with Receiver(find("http-streaming"), lab.url_of("http-streaming"), **options) as receiver:
            receiver.wait(lambda: receiver.begins)
            for n in range(1, 6):
                lab.publish("--labkit-event\r\n")
                receiver.wait_for(n)
        assert receiver.ids == [1, 2, 3, 4, 5]
        check_marks(receiver.ledger.connections[0])


def test_a_trailing_boundary_ends_each_part_at_once_and_the_parts_are_multipart() -> None:
    with a_lab() as lab, dial(lab.port, get("/http-streaming?format=multipart")) as sock:
        _, fields = head_of(sock)
        assert fields["content-type"] == "multipart/x-mixed-replace; boundary=labkit-event"
        lab.publish("x")
        head = b"Content-Type: application/json\r\n\r\n"
        expected = b"--labkit-event\r\n" + head + b'{"cursor":"0@%s"}\r\n--labkit-event\r\n' % lab.cursor()[2:].encode()
        expected += head + b'{"id":1,"data":"x"}\r\n--labkit-event\r\n'
        assert chunks_until(sock, b'"x"}\r\n--labkit-event\r\n') == expected


def test_a_leading_boundary_lags_by_one_event_and_the_last_comes_with_the_end() -> None:
    options = {"format": "multipart", "boundary": "leading"}
    with a_lab() as lab:
        with Receiver(find("http-streaming"), lab.url_of("http-streaming"), after="0", **options) as receiver:
            until(lambda: lab.stats()["subscribers"] == 1)
            for n in range(1, 5):
                lab.publish(str(n))
                receiver.wait_for(n - 1)
            record = receiver.ledger.connections[0]
            until(lambda: b'{"id":4,"data":"4"}' in bytes_of(record, "in"))
            assert receiver.ids == [1, 2, 3], "the fourth is here, but nobody knows yet that it is whole"
            lab.close()
            receiver.wait_end()
            assert receiver.ids == [1, 2, 3, 4]
        check_marks(record)


def test_lines_that_are_no_labs_are_one_delivery_each() -> None:
    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        sock.sendall(b'HTTP/1.1 200 OK\r\n\r\nhello\n{"price": 3}\r\n\nworld\n')

    with serving(script) as url, Receiver(find("http-streaming"), url) as receiver:
        receiver.wait_end()
    assert [(d.event_id, d.data, d.wire_id) for d in receiver.deliveries] == [
        (1, "hello", None),
        (2, '{"price": 3}', None),
        (3, "world", None),
    ]
    check_marks(receiver.ledger.connections[0])


@pytest.mark.parametrize("name", ["http-streaming", "polling", "long-polling", "websocket"])
def test_a_refusal_is_told_with_the_servers_words(name: str) -> None:
    with a_lab() as lab, Receiver(find(name), lab.url_of(name), after="nonsense") as receiver:
        receiver.wait_end()
    assert isinstance(receiver.error, Refused) and receiver.error.status == 400
    assert "after: not a cursor" in str(receiver.error)
    check_marks(receiver.ledger.connections[0])


# -- Server-Sent Events --------------------------------------------------------------------------------------------


def test_text_is_raw_and_binary_or_text_with_a_cr_is_json_by_its_event_type() -> None:
    with a_lab() as lab, dial(lab.port, get("/sse")) as sock:
        _, fields = head_of(sock)
        assert fields["content-type"].split(";")[0] == "text/event-stream"
        for data in ("a\nb", "c\rd", b"\0", "", '{"id":9,"data":"x"}'):
            lab.publish(data)
        epoch = lab.cursor()[2:]
        body = chunks_until(sock, b"id: 5@" + epoch.encode() + b'\ndata: {"id":9,"data":"x"}\n\n').decode()
        assert body.split("\n\n") == [
            f"id: 0@{epoch}",
            f"id: 1@{epoch}\ndata: a\ndata: b",
            f'event: json\nid: 2@{epoch}\ndata: {{"id":2,"data":"c\\rd"}}',
            f'event: json\nid: 3@{epoch}\ndata: {{"id":3,"base64":"AA=="}}',
            f"id: 4@{epoch}\ndata: ",
            f'id: 5@{epoch}\ndata: {{"id":9,"data":"x"}}',
            "",
        ]


@pytest.mark.parametrize(
    ("query", "last", "first"),
    [
        ("?after=1@{epoch}", "3@{epoch}", "id: 3@{epoch}\n\nid: 4@{epoch}\ndata: 4\n\n"),
        ("?after=1@{epoch}", "", "id: 1@{epoch}\n\nid: 2@{epoch}\ndata: 2\n\n"),
        ("?after=1@{epoch}", "what?", 'event: gap\nid: 0@{epoch}\ndata: {{"gap":{{"after":"what?","next":1}},'),
        ("", "17", 'event: gap\nid: 0@{epoch}\ndata: {{"gap":{{"after":"17","next":1}},"cursor":"0@{epoch}"}}\n\n'),
        ("?after=nonsense", "3@{epoch}", "id: 3@{epoch}\n\nid: 4@{epoch}\ndata: 4\n\n"),
    ],
)
def test_last_event_id_wins_over_after_and_is_never_a_400(query: str, last: str, first: str) -> None:
    with a_lab() as lab:
        for n in range(1, 5):
            lab.publish(str(n))
        epoch = lab.cursor()[2:]
        fields = f"Last-Event-ID: {last.format(epoch=epoch)}"
        with dial(lab.port, get("/sse" + query.format(epoch=epoch), fields)) as sock:
            assert head_of(sock)[0] == b"HTTP/1.1 200 OK"
            assert chunks_until(sock, first.format(epoch=epoch).encode()).startswith(first.format(epoch=epoch).encode())


def test_other_routes_ignore_last_event_id() -> None:
    with a_lab() as lab, dial(lab.port, get("/polling", "Last-Event-ID: nonsense")) as sock:
        assert head_of(sock)[0] == b"HTTP/1.1 200 OK"


def sse_answer(*blocks: str, status: str = "200 OK", kind: str = "text/event-stream") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n\r\n{''.join(blocks)}".encode()


def sse_servers(*answers: bytes) -> tuple[list[bytes], list[Script]]:
    """Scripts that give one answer each and end, and the requests that they have seen."""
    seen: list[bytes] = []

    def script(answer: bytes) -> Script:
        def answering(sock: socket.socket) -> None:
            seen.append(read_until(sock, b"\r\n\r\n"))
            sock.sendall(answer)

        return answering

    return seen, [script(answer) for answer in answers]


def test_an_event_source_comes_back_with_its_last_event_id_and_204_ends_it_for_good() -> None:
    seen, scripts = sse_servers(
        sse_answer("id: 3@abcd\n\n", "id: 4@abcd\ndata: four\n\n", "id: 5@abcd\ndata: cut off\n"),
        sse_answer("id: 4@abcd\n\n", "id: 5@abcd\ndata: five\n\n"),
        sse_answer(status="204 No Content"),
    )
    with serving(*scripts) as url, Receiver(find("sse"), url, after="3@abcd", retry_s=0.0) as receiver:
        receiver.wait_end()
    assert receiver.error is None
    assert [(d.event_id, d.data, d.cursor) for d in receiver.deliveries] == [
        (4, "four", "4@abcd"),
        (5, "five", "5@abcd"),
    ]
    assert b"GET /?after=3@abcd HTTP/1.1" in seen[0] and b"Last-Event-ID" not in seen[0]
    assert b"Last-Event-ID: 4@abcd\r\n" in seen[1] and b"after=" not in seen[1]
    assert b"Last-Event-ID: 5@abcd\r\n" in seen[2]
    for record in receiver.ledger.connections:
        check_marks(record)


def test_the_reconnection_time_is_what_the_server_asked_for_last() -> None:
    seen, scripts = sse_servers(
        sse_answer("retry: 100\n", "data: 1\n\n"), sse_answer("data: 2\n\n"), sse_answer(status="204 No Content")
    )
    with serving(*scripts) as url, Receiver(find("sse"), url, retry_s=600.0) as receiver:
        receiver.wait_end()
    opened = [record.opened_ns / 1e9 for record in receiver.ledger.connections]
    closed = [(record.closed_ns or 0) / 1e9 for record in receiver.ledger.connections]
    assert len(seen) == 3
    assert opened[1] - closed[0] >= 0.099 and opened[2] - closed[1] >= 0.099


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (sse_answer("data: x\n\n", kind="text/html"), 0, "not an event stream.*text/html"),
        (sse_answer(status="500 Oops"), 500, "500 Oops"),
        (sse_answer(status="301 Moved"), 301, "301"),
    ],
)
def test_another_type_or_status_fails_an_event_source_for_good(answer: bytes, status: int, words: str) -> None:
    _, scripts = sse_servers(answer)
    with serving(*scripts) as url, Receiver(find("sse"), url, retry_s=0.0) as receiver:
        receiver.wait_end()
    assert isinstance(receiver.error, Refused) and receiver.error.status == status
    assert re.search(words, str(receiver.error)) and receiver.items == []


def test_a_foreign_event_stream_keeps_its_ids_as_they_came() -> None:
    _, scripts = sse_servers(
        sse_answer("id: a-1\r\ndata: one\r\n\r\n", ": comment\r\n\r\n", "data: two\r\n\r\n", "id: 7\rdata: three\r\r"),
        sse_answer(status="204 No Content"),
    )
    with serving(*scripts) as url, Receiver(find("sse"), url, retry_s=0.0) as receiver:
        receiver.wait_end()
    assert [(d.event_id, d.data, d.wire_id) for d in receiver.deliveries] == [
        (1, "one", "a-1"),
        (2, "two", None),
        (3, "three", "7"),
    ]
    for record in receiver.ledger.connections:
        check_marks(record)


def test_the_first_connection_of_an_event_source_may_fail() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with Receiver(find("sse"), f"http://127.0.0.1:{port}/sse") as receiver:
        receiver.wait_end()
    assert isinstance(receiver.error, ConnectionLost)


# -- WebSocket -----------------------------------------------------------------------------------------------------


def shake(sock: socket.socket) -> None:
    """The server's half of the handshake (RFC 6455 section 4.2.2)."""
    request = read_until(sock, b"\r\n\r\n").decode()
    key = re.search(r"Sec-WebSocket-Key: (\S+)", request)[1]  # type: ignore[index]
    sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept_key(key).encode() + b"\r\n\r\n"
    )


def talking(*frames: Frame, then: Script = lambda sock: None) -> Script:
    def script(sock: socket.socket) -> None:
        shake(sock)
        sock.sendall(b"".join(map(encode_frame, frames)))
        then(sock)

    return script


BEGINS = Frame(Opcode.TEXT, b'{"cursor":"0@abcd"}')


def frames_of(data: bytes) -> list[Frame]:
    return FrameDecoder(masked=True).feed(data)


def test_binary_messages_are_8_bytes_of_id_and_the_data() -> None:
    with a_lab() as lab:
        with Receiver(find("websocket"), lab.url_of("websocket"), after="9@zzzz", binary=True) as receiver:
            receiver.wait_for(1)
            for data in ("é", b"\0\xff", "", "x" * 200):
                lab.publish(data)
            receiver.wait_for(5)
        assert receiver.gaps == [Gap("9@zzzz", 1, f"0@{lab.cursor()[2:]}")], "gaps stay text"
        assert [d.data for d in receiver.deliveries] == ["é".encode(), b"\0\xff", b"", b"x" * 200]
        assert receiver.ids == [1, 2, 3, 4] and receiver.deliveries[1].cursor == f"2@{lab.cursor()[2:]}"
        assert struct.pack("!Q", 2) + b"\0\xff" in receiver.received
        check_marks(receiver.ledger.connections[0])


def test_deflate_is_agreed_on_request_and_makes_repetition_short() -> None:
    sizes = []
    for deflate in (False, True):
        with a_lab() as lab:
            with Receiver(find("websocket"), lab.url_of("websocket"), deflate=deflate) as receiver:
                receiver.wait(lambda receiver=receiver: receiver.begins)
                for _ in range(20):
                    lab.publish("again and again " * 20)
                receiver.wait_for(20)
            assert receiver.ids == list(range(1, 21))
            assert {d.data for d in receiver.deliveries} == {"again and again " * 20}
            (record,) = receiver.ledger.connections
            check_marks(record)
            sizes.append(record.bytes_in)
            assert (b"permessage-deflate" in receiver.received) is deflate
    assert sizes[1] < sizes[0] / 5


def test_fragments_with_a_ping_between_them_are_one_message_and_the_ping_is_answered() -> None:
    heard = bytearray()

    def listen(sock: socket.socket) -> None:
        while len(frames_of(bytes(heard))) < 2:
            heard.extend(sock.recv(1000))

    script = talking(
        BEGINS,
        Frame(Opcode.TEXT, '{"id":1,"data":"é'.encode()[:-1], fin=False),
        Frame(Opcode.PING, b"still there?"),
        Frame(Opcode.CONTINUATION, "é".encode()[1:], fin=False),
        Frame(Opcode.CONTINUATION, b'"}'),
        Frame(Opcode.CLOSE, encode_close(1000)),
        then=listen,
    )
    with serving(script) as url, Receiver(find("websocket"), url) as receiver:
        receiver.wait_end()
    assert receiver.error is None and [d.data for d in receiver.deliveries] == ["é"]
    answers = frames_of(bytes(heard))
    assert [(f.opcode, f.payload) for f in answers] == [
        (Opcode.PONG, b"still there?"),
        (Opcode.CLOSE, encode_close(1000)),
    ]
    check_marks(receiver.ledger.connections[0])


@pytest.mark.parametrize(
    ("code", "error"),
    [(1000, None), (1001, None), (None, None), (1008, Refused), (1011, Refused), (1013, Refused), (4242, Refused)],
)
def test_how_a_server_closes_decides_how_the_client_ends(code: int | None, error: type[LabkitError] | None) -> None:
    close = Frame(Opcode.CLOSE, b"" if code is None else encode_close(code, "so it is"))
    with serving(talking(close)) as url, Receiver(find("websocket"), url) as receiver:
        receiver.wait_end()
    if error is None:
        assert receiver.error is None
    else:
        assert isinstance(receiver.error, Refused) and receiver.error.status == code
        assert "so it is" in str(receiver.error)
    check_marks(receiver.ledger.connections[0])


@pytest.mark.parametrize(
    ("data", "code", "clause"),
    [
        (b"\x81\x80\0\0\0\0", 1002, "RFC 6455 section 5.1"),  # masked, from a server
        (b"\x83\x00", 1002, "RFC 6455 section 5.2"),  # a reserved opcode
        (b"\xc1\x00", 1002, "RFC 6455 section 5.2"),  # a reserved bit
        (b"\x81\x7e\x00\x7d" + b"x" * 125, 1002, "RFC 6455 section 5.2"),  # a length not in its shortest form
        (b"\x81\x7f\x80" + b"\0" * 7, 1002, "RFC 6455 section 5.2"),  # a length with its top bit set
        (b"\x80\x00", 1002, "RFC 6455 section 5.4"),  # nothing to continue
        (b"\x09\x00", 1002, "RFC 6455 section 5.5"),  # a control frame in fragments
        (b"\x89\x7e\x00\x7e" + b"x" * 126, 1002, "RFC 6455 section 5.5"),  # one over 125 bytes
        (b"\x88\x01\x03", 1002, "RFC 6455 section 5.5.1"),  # a close frame of one byte
        (b"\x88\x02\x03\xed", 1002, "RFC 6455 section 7.4.1"),  # a code that never travels
        (b"\x88\x03\x03\xe8\xff", 1007, "RFC 6455 section 8.1"),  # a reason that is not UTF-8
        (b"\x81\x02\xc3\x28", 1007, "RFC 6455 section 8.1"),  # text that is not UTF-8
        (b"\x82\x7f" + struct.pack("!Q", 1 << 40), 1009, "RFC 6455 section 10.4"),  # more than anybody takes
    ],
)
def test_a_server_that_breaks_the_rules_is_told_which_and_the_reason_is_raised(
    data: bytes, code: int, clause: str
) -> None:
    heard = bytearray()

    def listen(sock: socket.socket) -> None:
        sock.sendall(data)
        heard.extend(sock.recv(200))

    with serving(talking(then=listen)) as url, Receiver(find("websocket"), url) as receiver:
        receiver.wait_end()
    assert isinstance(receiver.error, WireError) and receiver.error.clause == clause
    (close,) = frames_of(bytes(heard))
    assert close.opcode is Opcode.CLOSE and struct.unpack("!H", close.payload[:2]) == (code,)
    check_marks(receiver.ledger.connections[0])


def test_the_end_without_a_close_frame_is_a_lost_connection() -> None:
    with serving(talking(Frame(Opcode.TEXT, b'{"id":1,"data":"x"}'))) as url:
        with Receiver(find("websocket"), url) as receiver:
            receiver.wait_end()
    assert receiver.ids == [1] and isinstance(receiver.error, ConnectionLost)


def test_a_server_that_says_goodbye_and_stays_is_left() -> None:
    script = talking(Frame(Opcode.CLOSE, encode_close(1000)), then=read_all)
    with serving(script) as url, Receiver(find("websocket"), url) as receiver:
        receiver.wait_end(5 * UNIT)
    assert receiver.error is None and receiver.ledger.connections[0].closed_by == "client"


def test_a_refused_upgrade_is_told_with_its_words_however_slowly_they_come() -> None:
    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nnot you":
            sock.sendall(bytes([byte]))
        read_all(sock)

    with serving(script) as url, Receiver(find("websocket"), url) as receiver:
        receiver.wait_end()
    assert isinstance(receiver.error, Refused) and receiver.error.status == 403
    assert "403 Forbidden: not you" in str(receiver.error)
    check_marks(receiver.ledger.connections[0])


async def open_socket(url: str, ledger: Ledger) -> WebSocketConnection:
    return await WebSocketConnection.open(url, Wiring(ledger, "websocket"))


@pytest.mark.parametrize("message", ["", "é", b"", b"\0\xff", "x" * 100_000, b"y" * 100_000])
def test_the_echo_gives_back_what_it_gets(message: str | bytes) -> None:
    ledger = Ledger()

    async def work(lab: Lab) -> str | bytes:
        socket = await open_socket(lab.url + "/websocket/echo", ledger)
        try:
            await socket.send(message)
            return await anext(aiter(socket))
        finally:
            await socket.close()

    with a_lab() as lab:
        assert run(work(lab)) == message
    check_marks(ledger.connections[0])
    assert ledger.connections[0].closed_by == "server", "the closing handshake"


def test_a_ping_is_answered_by_its_pong() -> None:
    async def work(lab: Lab) -> None:
        socket = await open_socket(lab.url + "/websocket/echo", Ledger())
        reading = asyncio.ensure_future(anext(aiter(socket)))
        try:
            await (await socket.ping(b"one"))
            await (await socket.ping(b"two"))
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await socket.close()

    with a_lab() as lab:
        run(work(lab))


def test_messages_that_are_sent_at_once_while_pings_arrive_do_not_mix() -> None:
    sent = [chr(97 + n) * 2_000_000 for n in range(8)]

    def script(sock: socket.socket) -> None:
        shake(sock)
        sock.sendall(b"".join(encode_frame(Frame(Opcode.PING, b"%d" % n)) for n in range(50)))
        decoder, texts, pongs = FrameDecoder(masked=True), [], []
        while len(texts) < len(sent) or len(pongs) < 50:
            for frame in decoder.feed(sock.recv(1 << 16)):
                (texts if frame.opcode is Opcode.TEXT else pongs).append(frame.payload.decode())
        ok = texts == sent and pongs == [str(n) for n in range(50)]
        sock.sendall(encode_frame(Frame(Opcode.TEXT, b"in order" if ok else b"mixed up")))
        sock.sendall(encode_frame(Frame(Opcode.CLOSE, encode_close(1000))))
        read_all(sock)

    async def work(url: str) -> list[str | bytes]:
        socket = await open_socket(url, ledger)
        try:
            sending = [asyncio.ensure_future(socket.send(text)) for text in sent]
            answers = [message async for message in socket]
            await asyncio.gather(*sending)
            return answers
        finally:
            await socket.close()

    ledger = Ledger(64 << 20)
    with serving(script) as url:
        assert run(work(url)) == ["in order"]
    check_marks(ledger.connections[0])


PUBLISHED = [
    ('{"publish": "é", "ref": 1}', {"published": 1, "ref": 1}),
    ('{"publish_base64": "AP8=", "ref": "a"}', {"published": 2, "ref": "a"}),
    ('{"publish": ""}', {"published": 3, "ref": None}),
    ("nonsense", {"ref": None}),
    ("[]", {"ref": None}),
    ('{"publish": 5, "ref": 4}', {"ref": 4}),
    ('{"publish_base64": "?", "ref": 5}', {"ref": 5}),
    ('{"publish": "x", "publish_base64": "AA==", "ref": 6}', {"ref": 6}),
    ('{"publish": "\\ud800", "ref": 7}', {"ref": 7}),
    ("[" * 100_000, {"ref": None}),
    ('{"publish": "the socket stays", "ref": 8}', {"published": 4, "ref": 8}),
]


def check_published(answers: list[str]) -> None:
    assert len(answers) == len(PUBLISHED)
    for answer, (_, expected) in zip(map(json.loads, answers), PUBLISHED, strict=True):
        assert {"error": answer["error"], **expected} == answer if "published" not in expected else answer == expected


def test_a_websocket_publishes_to_its_topic_and_every_message_is_answered() -> None:
    async def work(lab: Lab) -> list[str]:
        socket = await open_socket(lab.url + "/websocket?topic=upstream", Ledger())
        answers: list[str] = []
        try:
            for message, _ in PUBLISHED:
                await socket.send(message)
            async for message in socket:
                if any(word in message for word in ('"published"', '"error"')):  # type: ignore[operator]
                    answers.append(str(message))
                if len(answers) == len(PUBLISHED):
                    return answers
            return answers
        finally:
            await socket.close()

    with a_lab() as lab:
        check_published(run(work(lab)))
        with Receiver(find("polling"), lab.url_of("polling"), after="0", topic="upstream") as receiver:
            receiver.wait_for(4)
        assert [d.data for d in receiver.deliveries] == ["é", b"\0\xff", "", "the socket stays"]
        assert lab.cursor().startswith("0@"), "the other topic has none"


def test_a_client_that_publishes_and_never_reads_is_let_go() -> None:
    with a_lab(write_timeout_s=0.1 * UNIT, max_event_bytes=4 << 20) as lab:
        with dial(lab.port, b"", receive_buffer_bytes=4096) as sock:
            key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
            sock.sendall(
                get("/websocket/echo", "Upgrade: websocket", "Connection: Upgrade", key, "Sec-WebSocket-Version: 13")
            )
            read_until(sock, b"\r\n\r\n")
            message = encode_frame(Frame(Opcode.BINARY, b"x" * (4 << 20), mask=b"abcd"))
            with contextlib.suppress(OSError):
                for _ in range(20):
                    sock.sendall(message)
            until(lambda: lab.stats()["connections"] == 0)


# -- plugin socket -------------------------------------------------------------------------------------------------


def test_the_policy_file_is_sent_with_a_nul_and_the_connection_closed() -> None:
    with a_lab() as lab, dial(lab.plugin_port, b"<policy-file-request/>\0") as sock:
        policy = read_all(sock)
        assert policy.startswith(b"<?xml") and policy.endswith(b"</cross-domain-policy>\0")
        assert b'to-ports="%d"' % lab.plugin_port in policy and b'domain="*"' not in policy


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0", b"\x16\x03\x01", b" {", b"POST\0"])
def test_any_other_first_byte_closes_without_an_answer(data: bytes) -> None:
    with a_lab() as lab, dial(lab.plugin_port, data) as sock:
        until(lambda: lab.stats()["connections"] == 0, "at once, not after the time for a first message", 2 * UNIT)
        with contextlib.suppress(ConnectionResetError):
            assert read_all(sock) == b""


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("{}", "expected"),
        ('{"subscribe": 5}', "expected"),
        ('{"subscribe": {"topic": 5}}', "strings"),
        ('{"subscribe": {"after": "x"}}', "not a cursor"),
        ("{" * 3000, "expected"),
        ("<other/>", "expected"),
    ],
)
def test_a_first_message_that_is_no_subscription_is_told_what_is_expected(message: str, words: str) -> None:
    with a_lab() as lab, dial(lab.plugin_port, message.encode() + b"\0") as sock:
        answer = read_all(sock)
        assert answer.endswith(b"\0") and words in json.loads(answer[:-1])["error"]


@pytest.mark.parametrize("data", [b"", b"{", b'{"subscribe": {}}', b"{" * 100_000])
def test_a_client_without_a_first_message_is_let_go(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_socket, "FIRST_MESSAGE_S", 0.1 * UNIT)
    with a_lab() as lab, dial(lab.plugin_port) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(data)
        with contextlib.suppress(OSError):
            assert read_all(sock) == b""
        until(lambda: lab.stats()["connections"] == 0)


@pytest.mark.parametrize(
    ("asked", "why"),
    [({"topic": "x" * 300}, "topic: at most 256 bytes"), ({"after": "no cursor"}, "not a cursor: 'no cursor'")],
)
def test_a_subscription_that_is_refused_is_no_event_and_not_asked_for_again(asked: dict[str, Any], why: str) -> None:
    came: list[object] = []

    async def following() -> None:
        items = follow(find("plugin-socket"), f"tcp://127.0.0.1:{lab.plugin_port}", on_lost=came.append, **asked)
        async for item in items:
            came.append(item)

    with a_lab() as lab, pytest.raises(Refused, match=f"the server refused the subscription: {why}"):
        run(asyncio.wait_for(following(), UNIT))
    assert came == []


def test_a_first_message_of_somebody_elses_that_speaks_of_an_error_is_one() -> None:
    said = b'{"error": "none", "n": 1}\0{"error": "some"}\0'

    def says(sock: socket.socket) -> None:
        read_until(sock, b"\0")
        sock.sendall(said)

    with serving(says) as url, Receiver(find("plugin-socket"), url.replace("http:", "tcp:")) as receiver:
        receiver.wait(lambda: receiver.ended)
    assert [item.data for item in receiver.items] == ['{"error": "none", "n": 1}', '{"error": "some"}']


def test_a_plugin_publishes_on_its_own_connection() -> None:
    with a_lab() as lab, dial(lab.plugin_port, b'{"subscribe":{"topic":"upstream"}}\0') as sock:
        assert json.loads(read_until(sock, b"\0")[:-1]) == {"cursor": lab.cursor("upstream")}
        answers, events = [], []
        for message, _ in PUBLISHED:
            sock.sendall(message.encode() + b"\0")
        while len(answers) < len(PUBLISHED) or len(events) < 4:
            item = read_until(sock, b"\0")[:-1].decode()
            (answers if '"published"' in item or '"error"' in item else events).append(item)
        check_published(answers)
        assert [json.loads(e).get("data", b"") for e in events] == ["é", b"", "", "the socket stays"]
        assert base64.b64decode(json.loads(events[1])["base64"]) == b"\0\xff"


# -- heartbeats ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("route", "heartbeat"), [("/sse", b":\n"), ("/http-streaming", b"\n")])
def test_an_idle_stream_gets_a_heartbeat_which_is_no_event(route: str, heartbeat: bytes) -> None:
    with a_lab(heartbeat_s=0.05 * UNIT) as lab, dial(lab.port, get(route)) as sock:
        head_of(sock)
        begins = (
            b"id: " + lab.cursor().encode() + b"\n\n"
            if route == "/sse"
            else b'{"cursor":"%s"}\n' % lab.cursor().encode()
        )
        assert chunks_until(sock, heartbeat * 4) in (begins + heartbeat * 3, begins + heartbeat * 4)
        technique = find(route[1:])
        with Receiver(technique, lab.url_of(technique.name), after=lab.cursor()) as receiver:
            until(lambda: len(receiver.ledger.connections) and receiver.ledger.connections[0].reads > 4)
            lab.publish("x")
            receiver.wait_for(1)
        assert receiver.ids == [1] and len(receiver.items) == 1
        check_marks(receiver.ledger.connections[0])


def test_a_comment_is_put_down_as_it_comes_and_belongs_to_no_event() -> None:
    with a_lab(heartbeat_s=0.05 * UNIT) as lab, Receiver(find("sse"), lab.url_of("sse")) as receiver:

        def comments() -> list[Mark]:
            return [mark for record in receiver.ledger.connections for mark in record.marks if mark.label == ":"]

        until(lambda: len(comments()) >= 2, "before there is any event")
        lab.publish("x")
        receiver.wait_for(1)
        assert {(mark.category, mark.event, mark.stop - mark.start) for mark in comments()} == {("framing", None, 1)}
    check_marks(receiver.ledger.connections[0])


def test_an_idle_websocket_is_pinged_and_one_that_does_not_answer_is_let_go() -> None:
    with a_lab(heartbeat_s=0.1 * UNIT) as lab:
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        ask = get("/websocket", "Upgrade: websocket", "Connection: Upgrade", key, "Sec-WebSocket-Version: 13")
        with Receiver(find("websocket"), lab.url_of("websocket")) as receiver, dial(lab.port, ask):
            until(lambda: lab.stats()["subscribers"] == 2)
            until(lambda: lab.stats()["subscribers"] == 1)
            until(lambda: receiver.received.count(b"\x89\x00") >= 3 or receiver.ledger.connections[0].writes > 3)
            assert not receiver.ended
            lab.publish("x")
            receiver.wait_for(1)
        check_marks(receiver.ledger.connections[0])


@pytest.mark.parametrize("fanout", ["direct", "plain"])
def test_nothing_follows_the_close_frame_of_a_peer_that_does_not_answer_pings(fanout: str) -> None:
    with a_lab(heartbeat_s=0.1 * UNIT, fanout=fanout) as lab:
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        ask = get("/websocket", "Upgrade: websocket", "Connection: Upgrade", key, "Sec-WebSocket-Version: 13")
        with dial(lab.port, ask) as sock:
            read_until(sock, b"\r\n\r\n")
            decoder, frames = FrameDecoder(masked=False), []
            while not any(frame.opcode is Opcode.CLOSE for frame in frames):
                frames += decoder.feed(sock.recv(1000))
            lab.publish("too late")
            until(lambda: lab.stats()["subscribers"] == 0, "forgotten at the next event", 2 * UNIT)
            sock.shutdown(socket.SHUT_WR)
            frames += decoder.feed(read_all(sock))
        assert [f.opcode for f in frames] == [Opcode.TEXT, Opcode.PING, Opcode.CLOSE]


def test_a_heartbeat_of_parts_is_a_field_in_the_head_of_the_next() -> None:
    with a_lab(heartbeat_s=0.02 * UNIT) as lab, dial(lab.port, get("/http-streaming?format=multipart")) as sock:
        with Receiver(find("http-streaming"), lab.url_of("http-streaming"), format="multipart") as receiver:
            head_of(sock)
            body = chunks_until(sock, IDLE * 3)
            until(lambda: receiver.received.count(IDLE) >= 3)
            lab.publish("x")
            body += chunks_until(sock, b'"x"}\r\n' + BOUNDARY)
            receiver.wait_for(1)
            assert receiver.deliveries[0].data == "x"
            check_marks(receiver.ledger.connections[0])
        part = email.message_from_bytes(body.split(BOUNDARY + b"\r\n")[2])
        assert part.get_content_type() == "application/json" and len(part.get_all("X-Idle", [])) >= 3
        assert part.get_payload() == '{"id":1,"data":"x"}\r\n'


def test_a_head_of_parts_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_streaming, "MOST_IDLE", 3)
    with a_lab(heartbeat_s=0.02 * UNIT) as lab, dial(lab.port, get("/http-streaming?format=multipart")) as sock:
        head_of(sock)
        before = b""
        for _ in range(3):  # what comes between them begins a head anew
            before += chunks_until(sock, IDLE)
            lab.publish("x")
            before += chunks_until(sock, b'"x"}')
        assert before.count(IDLE) >= 3 and BOUNDARY + b"--" not in before
        rest = chunks_until(sock, b"never")
        assert rest == IDLE * 3 + BOUNDARY + b"--\r\n"


def test_parts_with_the_boundary_before_them_have_no_heartbeat() -> None:
    options = {"format": "multipart", "boundary": "leading"}
    with a_lab(heartbeat_s=0.02 * UNIT) as lab, Receiver(find("sse"), lab.url_of("sse")) as beside:
        with Receiver(find("http-streaming"), lab.url_of("http-streaming"), **options) as receiver:
            until(lambda: b'"cursor"' in receiver.received)
            before = receiver.received
            until(lambda: beside.received.count(b":\n") >= 6)
            assert receiver.received == before


def test_a_parked_poll_is_not_answered_by_a_heartbeat() -> None:
    with a_lab(heartbeat_s=0.02 * UNIT) as lab, Receiver(find("sse"), lab.url_of("sse")) as beside:
        with dial(lab.port, get("/long-polling")) as sock:
            until(lambda: beside.received.count(b":\n") >= 6)
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(1)
