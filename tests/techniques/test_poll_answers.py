"""Answers to polls: what one carries, how the clients go on to the next, and what becomes of one that nobody reads."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from test_techniques import head_of

from conftest import UNIT
from labkit import loop
from labkit.lab.lab import Lab
from labkit.lab.server import Server
from labkit.server.hub import PAGE_BYTES
from labkit.server.subscriber import BLOCK_BYTES
from labkit.subscribing.contract.receiver import Receiver, check_marks
from labkit.techniques import TECHNIQUES, Technique, exhibits, find
from wait import TIMEOUT_S, dial, get, read_until, until

POLLS = [find("polling"), find("long-polling")]
OLD_POLLS = [exhibits.JSONP_POLLING, exhibits.BAYEUX, exhibits.BOSH]
SIZE = 10_000
COUNT = 100  # four answers
FOREVER_S = 600 * UNIT


@contextlib.contextmanager
def a_lab(count: int = COUNT, size: int = SIZE, **options: Any) -> Iterator[Lab]:
    with Lab("answers", techniques=(*TECHNIQUES, *OLD_POLLS), **options) as lab:
        for n in range(count):
            lab.publish(f"{n:06}".ljust(size, "x"))
        yield lab


def streams_of(lab: Lab) -> list[Any]:
    assert isinstance(lab._server, Server)
    return list(lab._server.http.streams)


def take(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := sock.recv(count - len(data))):
        data += more
    return data


def body_of(sock: socket.socket) -> tuple[dict[str, str], bytes]:
    fields = head_of(sock)[1]
    return fields, take(sock, int(fields["content-length"]))


def ask(sock: socket.socket, target: str, *fields: str) -> dict[str, Any]:
    sock.sendall(get(target, *fields))
    return json.loads(body_of(sock)[1])  # type: ignore[no-any-return]


def request(technique: Technique, lab: Lab, sock: socket.socket) -> bytes:
    """The bytes that ask for everything held, after whatever has to be said before."""

    def post(body: str) -> bytes:
        head = f"POST {technique.route}?after=0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        return (head + body).encode()

    def told(body: str) -> str:
        sock.sendall(post(body))
        return body_of(sock)[1].decode()

    if technique is exhibits.BAYEUX:
        me = json.loads(told('[{"channel":"/meta/handshake"}]'))[0]["clientId"]
        told(json.dumps([{"channel": "/meta/subscribe", "clientId": me}]))
        return post(json.dumps([{"channel": "/meta/connect", "clientId": me}]))
    if technique is exhibits.BOSH:
        sid = told("<body rid='1' wait='1' hold='1'/>").partition("sid='")[2].partition("'")[0]
        return post(f"<body rid='2' sid='{sid}'/>")
    return get(f"{technique.route}?after=0")


every_poll = pytest.mark.parametrize("technique", POLLS, ids=lambda t: t.name)
old_ones_too = pytest.mark.parametrize("technique", [*POLLS, *OLD_POLLS], ids=lambda t: t.name)


# -- pages --------------------------------------------------------------------------------------------------------


@every_poll
def test_an_answer_is_cut_before_it_carries_too_much_and_says_so(technique: Technique) -> None:
    size = PAGE_BYTES // 8
    with a_lab(count=20, size=size) as lab, dial(lab.port) as sock:
        epoch, seen, cursor = lab.cursor().partition("@")[2], [], "0"
        for last, more in ((8, True), (16, True), (20, False)):
            answer = ask(sock, f"{technique.route}?after={cursor}&timeout=0")
            seen += [event["id"] for event in answer["events"]]
            cursor = answer["cursor"]
            assert cursor == f"{last}@{epoch}" and answer.get("more", False) is more and seen[-1] == last
        assert seen == list(range(1, 21))


@every_poll
def test_one_larger_event_comes_alone_and_whole(technique: Technique) -> None:
    with a_lab(count=1) as lab, dial(lab.port) as sock:
        large = "\x01" * (PAGE_BYTES + 1)  # six times as long in JSON
        lab.publish(large)
        lab.publish("after it")
        cursor, found = "0", []
        for _ in range(3):
            answer = ask(sock, f"{technique.route}?after={cursor}")
            cursor = answer["cursor"]
            found.append(([event["data"] for event in answer["events"]], answer.get("more")))
        assert found == [(["000000".ljust(SIZE, "x")], True), ([large], True), (["after it"], None)]


@every_poll
def test_a_gap_stands_in_the_first_of_the_answers_only(technique: Technique) -> None:
    with a_lab(history_events=60) as lab, dial(lab.port) as sock:
        epoch = lab.cursor().partition("@")[2]
        answer = ask(sock, f"{technique.route}?after=3@{epoch}")
        assert answer["gap"] == {"after": f"3@{epoch}", "next": 41} and answer["more"] is True
        assert answer["events"][0]["id"] == 41
        assert "gap" not in ask(sock, f"{technique.route}?after={answer['cursor']}")


@pytest.mark.parametrize("technique", [*POLLS, *OLD_POLLS], ids=lambda t: t.name)
def test_a_client_goes_on_at_once_and_gets_every_event_once_in_order(technique: Technique) -> None:
    options = {"interval_s": FOREVER_S, "advised_interval_s": 100.0}  # who waited for it would not be in time
    with a_lab() as lab:
        with Receiver(technique, lab.url_of(technique.name), after="0", **technique.taken_of(options)) as receiver:
            receiver.wait_for(COUNT)
            assert receiver.ids == list(range(1, COUNT + 1)) and receiver.gaps == []
            (record,) = receiver.ledger.connections
            assert record.responses >= 4
        until(lambda: lab.stats()["connections"] == 0)
        check_marks(record)


def test_the_poll_interval_runs_from_the_first_of_the_answers() -> None:
    interval_s = 2 * UNIT
    with a_lab() as lab:
        with Receiver(find("polling"), lab.url_of("polling"), after="0", interval_s=interval_s) as receiver:
            receiver.wait_for(COUNT)
            asked = receiver.ledger.connections[0].requests
            first_ns = receiver.deliveries[0].received_ns
            lab.publish("next")
            receiver.wait_for(COUNT + 1)
            waited_s = (receiver.deliveries[-1].received_ns - first_ns) / 1e9
            assert asked == 4 and receiver.ledger.connections[0].requests == 5
            assert 0.5 * interval_s < waited_s < 3 * interval_s


@every_poll
def test_conflated_the_newest_of_all_that_is_held_comes_and_nothing_is_left(technique: Technique) -> None:
    with a_lab() as lab, dial(lab.port) as sock:
        answer = ask(sock, f"{technique.route}?after=0&conflate=1")
        assert [event["id"] for event in answer["events"]] == [COUNT]
        assert answer["cursor"] == lab.cursor() and "more" not in answer
        assert lab.stats()["conflated"] == COUNT - 1


def test_an_answer_with_more_behind_it_has_no_etag_and_is_never_a_304() -> None:
    with a_lab() as lab, dial(lab.port) as sock:
        sock.sendall(get("/polling?after=0&etag=1"))
        fields, body = body_of(sock)
        cursor = json.loads(body)["cursor"]
        assert "etag" not in fields and fields["cache-control"] == "no-store"
        for condition in (f'"{cursor}"', "*"):
            sock.sendall(get("/polling?after=0&etag=1", f"If-None-Match: {condition}"))
            fields, again = body_of(sock)
            assert again == body and "etag" not in fields
        sock.sendall(get(f"/polling?after={COUNT - 1}&etag=1"))
        assert body_of(sock)[0]["etag"] == f'"{lab.cursor()}"'


@pytest.mark.parametrize("after", ["0", "7@zzzz"])
def test_pipelined_what_a_connection_was_given_is_the_pages_cursor(after: str) -> None:
    with a_lab() as lab, dial(lab.port) as sock:
        sock.sendall(4 * get(f"/long-polling?pipelined=1&after={after}"))
        answers = [json.loads(body_of(sock)[1]) for _ in range(4)]
        assert [event["id"] for answer in answers for event in answer["events"]] == list(range(1, COUNT + 1))
        assert [answer.get("more") for answer in answers] == [True, True, True, None]
        assert lab.stats()["subscribers"] == 0
    with a_lab() as lab:
        with Receiver(find("long-polling"), lab.url_of("long-polling"), after="0", pipelined=True) as receiver:
            receiver.wait_for(COUNT)
            lab.publish("one more")
            receiver.wait_for(COUNT + 1)
            assert receiver.ids == list(range(1, COUNT + 2)) and receiver.gaps == []


# -- written as streams are ---------------------------------------------------------------------------------------


def test_an_answer_that_fits_is_one_write_and_a_longer_one_is_blocks_under_one_length() -> None:
    with a_lab(count=1, size=BLOCK_BYTES - 1000) as lab, dial(lab.port) as sock:
        writes: list[int] = []
        sock.sendall(get("/polling"))
        body_of(sock)
        (stream,) = streams_of(lab)
        write = stream.write
        stream.write = lambda data: (writes.append(len(data)), write(data))[1]
        assert len(ask(sock, "/polling?after=0")["events"]) == 1
        assert len(writes) == 1 and writes[0] > BLOCK_BYTES - 1000
        lab.publish("x" * (3 * BLOCK_BYTES))
        sock.sendall(get("/polling?after=0"))
        fields, body = body_of(sock)
        assert len(writes) == 1 + 4 and max(writes) < BLOCK_BYTES + 1000
        assert int(fields["content-length"]) == len(body) > 3 * BLOCK_BYTES
        assert "transfer-encoding" not in fields and len(json.loads(body)["events"]) == 2


SMALL = {"send_buffer_bytes": 16 << 10, "mss": None}


@old_ones_too
def test_unread_answers_hold_little_and_are_let_go(technique: Technique) -> None:
    peers = 20
    with a_lab(count=800, write_timeout_s=0.5 * UNIT, **SMALL) as lab:  # 8 MB each, if they were given all
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(dial(lab.port, receive_buffer_bytes=4096)) for _ in range(peers)]
            asked = [request(technique, lab, sock) for sock in socks]
            for sock, data in zip(socks, asked, strict=True):
                sock.sendall(data)
            until(lambda: sum(len(stream._write_buffer) > 0 for stream in streams_of(lab)) == peers)
            assert max(len(stream._write_buffer) for stream in streams_of(lab)) < 2 * BLOCK_BYTES
            until(lambda: lab.stats()["connections"] == 0)


@every_poll
@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux ends what the system has accepted")
def test_an_answer_that_the_system_has_accepted_whole_is_let_go_as_well(technique: Technique) -> None:
    with a_lab(count=20, write_timeout_s=0.5 * UNIT, mss=None) as lab:
        with dial(lab.port, get(f"{technique.route}?after=0"), receive_buffer_bytes=4096):
            until(lambda: streams_of(lab) and not streams_of(lab)[0]._write_buffer)
            until(lambda: lab.stats()["connections"] == 0)


def test_the_end_of_any_answer_is_to_be_taken_in_time() -> None:
    with a_lab(write_timeout_s=0.2 * UNIT, **SMALL) as lab:
        with dial(lab.port, 200 * get("/page/page.js"), receive_buffer_bytes=4096):
            until(lambda: lab.stats()["connections"] == 1)
            until(lambda: lab.stats()["connections"] == 0)


@old_ones_too
def test_who_reads_slowly_gets_on(technique: Technique) -> None:
    timeout_s = 1.0 * UNIT
    with a_lab(count=0, write_timeout_s=timeout_s, **SMALL) as lab:
        lab.publish("X" * (10 * BLOCK_BYTES))
        with dial(lab.port, receive_buffer_bytes=16 << 10) as sock:
            sock.sendall(request(technique, lab, sock))
            length, began_s = int(head_of(sock)[1]["content-length"]), time.monotonic()
            body = b""
            for _ in range(10):
                body += take(sock, min(BLOCK_BYTES, length - len(body)))
                time.sleep(0.15 * timeout_s)  # the reader's pace
            body += take(sock, length - len(body))
            assert time.monotonic() - began_s > timeout_s and body.count(b"X") == 10 * BLOCK_BYTES


@every_poll
def test_a_stream_on_a_connection_that_a_poll_was_answered_on_keeps_its_own_time(technique: Technique) -> None:
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is None:
        pytest.skip("only Linux has the option")
    with a_lab(count=1) as lab, dial(lab.port) as sock:
        ask(sock, f"{technique.route}?after=0")
        (stream,) = streams_of(lab)
        assert stream.socket.getsockopt(socket.IPPROTO_TCP, option) == 60_000
        sock.sendall(get("/http-streaming"))
        read_until(sock, b"\n\r\n")
        until(lambda: lab.stats()["subscribers"] == 1)
        assert stream.socket.getsockopt(socket.IPPROTO_TCP, option) == 0


def test_a_lab_that_closes_while_answers_are_unread_leaves_nothing() -> None:
    with a_lab(count=800, write_timeout_s=FOREVER_S, **SMALL) as lab:
        with contextlib.ExitStack() as stack:
            for technique in POLLS:
                sock = stack.enter_context(dial(lab.port, receive_buffer_bytes=4096))
                sock.sendall(get(f"{technique.route}?after=0"))
            until(lambda: sum(len(stream._write_buffer) > 0 for stream in streams_of(lab)) == 2)
            lab.close()


def test_a_page_does_not_keep_the_loop_from_others() -> None:
    """While an answer of many blocks is written, the loop has a turn between any two of them."""
    with a_lab(count=0) as lab, dial(lab.port) as sock:
        lab.publish("x" * (8 * BLOCK_BYTES))
        turns: list[int] = []
        sock.sendall(get("/polling"))
        body_of(sock)
        (stream,) = streams_of(lab)
        write, running = stream.write, loop.get_loop()

        def watched(data: bytes) -> Any:
            turns.append(0)
            running.call_soon(turns.append, 1)
            return write(data)

        stream.write = watched
        ask(sock, "/polling?after=0")
        assert turns[:16] == [0, 1] * 8


# -- no cursor ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("technique", [find("long-polling"), exhibits.JSONP_POLLING], ids=lambda t: t.name)
def test_a_held_poll_without_a_cursor_is_given_the_event_that_ends_its_wait(technique: Technique) -> None:
    with a_lab(count=0) as lab, dial(lab.port, get(technique.route)) as sock:
        until(lambda: lab.stats()["subscribers"] == 1, "it is held")
        lab.publish("the first")
        assert body_of(sock)[1].count(b'"the first"') == 1


assert TIMEOUT_S < FOREVER_S
