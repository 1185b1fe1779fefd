"""The counted HTTP client against servers of scripts: framings, keep-alive, pipelining, and what the ledger says."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from labkit import loop
from labkit.client import address
from labkit.client.connection import Connection
from labkit.client.http import HTTPClient, target
from labkit.client.http_connection import MOST_INTERIM, HTTPConnection
from labkit.client.ledger import Ledger
from labkit.client.wiring import Wiring
from labkit.errors import ConnectionLost, Refused, WireError
from labkit.subscribing.contract.receiver import bytes_of, check_marks
from labkit.wire.spans import Mark
from wait import TIMEOUT_S, read_all, read_until, reset, serving, until

OK = b"HTTP/1.1 200 OK\r\n"


def run(work: Awaitable[Any]) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(work, TIMEOUT_S)

    return loop.run(bounded())


def a_client(url: str, ledger: Ledger, **options: Any) -> HTTPClient:
    return HTTPClient(url, topic="", token=None, wiring=Wiring(ledger, "polling"), **options)


@contextlib.asynccontextmanager
async def connected(url: str, ledger: Ledger) -> AsyncIterator[HTTPConnection]:
    parts = urlsplit(url)
    http = HTTPConnection(await Connection.open(parts.hostname or "", parts.port or 0, Wiring(ledger, "polling")))
    try:
        yield http
    finally:
        http.close()


async def exchange(http: HTTPConnection, version: str = "1.1") -> tuple[int, list[bytes]]:
    await http.request("GET", "/", {"Host": "x"}, version=version)
    response = await http.response()
    return response.status, [piece async for piece in http.pieces()]


def answering(*answers: bytes, then: Callable[[socket.socket], None] = lambda sock: None) -> Callable[..., None]:
    """A script: one answer to each request, in order."""

    def script(sock: socket.socket) -> None:
        for answer in answers:
            read_until(sock, b"\r\n\r\n")
            sock.sendall(answer)
        then(sock)

    return script


def slowly(data: bytes) -> Callable[[socket.socket], None]:
    """A script: one request, then the answer byte by byte."""

    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for index in range(len(data)):
            sock.sendall(data[index : index + 1])

    return script


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
COUNTED = OK + b"Content-Length: 5\r\n\r\nabcde"
UNTIL_CLOSE = OK + b"\r\nabcde"


@pytest.mark.parametrize("answer", [CHUNKED, COUNTED, UNTIL_CLOSE], ids=["chunked", "counted", "eof"])
@pytest.mark.parametrize("how", ["whole", "byte by byte"])
def test_a_body_is_read_in_each_framing_and_each_of_its_bytes_is_marked_once(answer: bytes, how: str) -> None:
    ledger = Ledger()

    async def work(url: str) -> None:
        async with connected(url, ledger) as http:
            status, pieces = await exchange(http)
            assert (status, b"".join(pieces)) == (200, b"abcde")

    with serving(answering(answer) if how == "whole" else slowly(answer)) as url:
        run(work(url))
    (record,) = ledger.connections
    check_marks(record)
    assert bytes_of(record, "in") == answer
    assert record.by_category["payload"] == 5 and record.by_category["envelope"] == 0
    head = answer.index(b"\r\n\r\n") + 4
    assert record.by_category["headers"] == head + record.bytes_out
    assert record.by_category["framing"] == len(answer) - head - 5
    assert (record.requests, record.responses) == (1, 1)


def test_http_1_0_is_spoken_when_asked_for() -> None:
    seen: list[bytes] = []

    def script(sock: socket.socket) -> None:
        seen.append(read_until(sock, b"\r\n\r\n"))
        sock.sendall(b"HTTP/1.0 200 OK\r\n\r\nabc")

    ledger = Ledger()

    async def work(url: str) -> None:
        client = a_client(url, ledger, version="1.0")
        for _ in range(2):
            await client.ask({})
            _response, text = await client.answer()
            assert text == "abc"
        client.close()

    with serving(script) as url:
        run(work(url))
    assert all(request.startswith(b"GET / HTTP/1.0\r\n") and b"Connection: close" in request for request in seen)
    assert len(ledger.connections) == 2
    for record in ledger.connections:
        check_marks(record)
        assert record.by_category["payload"] == 3


def test_one_connection_carries_many_exchanges() -> None:
    ledger = Ledger()

    async def work(url: str) -> None:
        client = a_client(url, ledger)
        for _ in range(3):
            await client.ask({})
            assert (await client.answer())[1] == "abcde"
        client.close()

    with serving(answering(COUNTED, CHUNKED, COUNTED, then=read_all)) as url:
        run(work(url))
    (record,) = ledger.connections
    check_marks(record)
    assert (record.requests, record.responses, record.closed_by) == (3, 3, "client")
    assert record.by_category["payload"] == 15


@pytest.mark.parametrize("how", ["says so", "idle", "idle, reset"])
def test_a_connection_that_the_server_has_ended_is_opened_again(how: str) -> None:
    ledger = Ledger()

    def idle_end(sock: socket.socket) -> None:
        reset(sock) if "reset" in how else sock.close()

    said = COUNTED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)

    async def work(url: str) -> None:
        client = a_client(url, ledger)
        await client.ask({})
        assert (await client.answer())[1] == "abcde"
        sock = client.http.connection._sock  # type: ignore[union-attr]
        if how != "says so":
            await loop_readable(sock)
        await client.ask({})
        assert (await client.answer())[1] == "abcde"
        client.close()

    async def loop_readable(sock: socket.socket) -> None:
        ready = asyncio.Event()
        asyncio.get_running_loop().add_reader(sock, ready.set)
        await ready.wait()
        asyncio.get_running_loop().remove_reader(sock)

    first = answering(said, then=read_all) if how == "says so" else answering(COUNTED, then=idle_end)
    with serving(first, answering(COUNTED, then=read_all)) as url:
        run(work(url))
    assert len(ledger.connections) == 2
    for record in ledger.connections:
        check_marks(record)


def test_without_keep_alive_each_request_has_its_connection() -> None:
    ledger = Ledger()

    async def work(url: str) -> None:
        client = a_client(url, ledger, keep_alive=False)
        for _ in range(3):
            await client.ask({})
            assert (await client.answer())[1] == "abcde"
        client.close()

    with serving(answering(COUNTED, then=read_all)) as url:
        run(work(url))
    assert len(ledger.connections) == 3
    for record in ledger.connections:
        check_marks(record)
        assert record.by_category["payload"] == 5
        assert b"Connection: close" in bytes_of(record, "out")


def test_requests_are_pipelined_and_answers_come_in_their_order() -> None:
    ledger = Ledger()

    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        read_until(sock, b"\r\n\r\n")  # the second is there before the first is answered
        sock.sendall(COUNTED + COUNTED.replace(b"abcde", b"fghij"))
        read_all(sock)

    async def work(url: str) -> None:
        client = a_client(url, ledger)
        await client.ask({"n": 1})
        await client.ask({"n": 2}, ahead=1)
        await client.ask({"n": 3}, ahead=1)  # two are waiting: not sent
        assert client.http is not None and client.http.waiting == 2
        for expected in ("abcde", "fghij"):
            assert (await client.answer())[1] == expected
        client.close()

    with serving(script) as url:
        run(work(url))
    (record,) = ledger.connections
    check_marks(record)
    assert (record.requests, record.responses) == (2, 2)


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("cut", range(1, len(CHUNKED), 7))
def test_a_chunked_body_that_is_cut_anywhere_is_a_lost_connection_with_every_byte_marked(cut: int, how: str) -> None:
    ledger = Ledger()
    end = (lambda sock: None) if how == "fin" else reset

    async def work(url: str) -> None:
        async with connected(url, ledger) as http:
            with pytest.raises(ConnectionLost):
                await exchange(http)

    with serving(answering(CHUNKED[:cut], then=end)) as url:
        run(work(url))
    (record,) = ledger.connections
    check_marks(record)
    assert record.closed_by in (("server",) if how == "fin" else ("server", "reset"))


def test_a_counted_body_that_is_cut_is_a_lost_connection() -> None:
    async def work(url: str) -> None:
        async with connected(url, Ledger()) as http:
            with pytest.raises(ConnectionLost):
                await exchange(http)

    with serving(answering(COUNTED[:-1])) as url:
        run(work(url))


def test_a_body_ended_by_the_close_cannot_tell_a_cut_from_an_end() -> None:
    ledger = Ledger()

    async def work(url: str) -> None:
        async with connected(url, ledger) as http:
            assert await exchange(http) == (200, [b"abc"])

    with serving(answering(UNTIL_CLOSE[:-2])) as url:
        run(work(url))
    assert ledger.connections[0].closed_by == "server"


def test_the_end_before_an_answer_is_a_lost_connection() -> None:
    async def work(url: str) -> None:
        async with connected(url, Ledger()) as http:
            with pytest.raises(ConnectionLost, match=r"before answering|cut"):
                await exchange(http)

    with serving(answering(b"")) as url:
        run(work(url))


def test_interim_answers_are_passed_over_and_marked() -> None:
    ledger = Ledger()

    async def work(url: str) -> None:
        async with connected(url, ledger) as http:
            assert await exchange(http) == (200, [b"abcde"])

    with serving(answering(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + COUNTED)) as url:
        run(work(url))
    check_marks(ledger.connections[0])


@pytest.mark.parametrize(
    ("answer", "clause"),
    [
        (b"\x81\x05hello, this is no HTTP\r\n\r\n", "RFC 9112 section 4"),
        (b"SSH-2.0-x\r\n", "RFC 9112 section 4"),  # known at once: no end of a head will come
        (b"HTTP/2 200\r\n\r\n", "RFC 9112 section 4"),
        (OK + b"no field\r\n\r\n", "RFC 9112 section 5"),
        (OK + b"X : y\r\n\r\n", "RFC 9112 section 5"),
        (OK + b"X: " + b"y" * (1 << 16), "RFC 9112 section 3"),
        (OK + b"Content-Length: 5, 6\r\n\r\nabcde", "RFC 9112 section 6.3"),
        (OK + b"Content-Length: +5\r\n\r\nabcde", "RFC 9112 section 6.3"),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "RFC 9112 section 6.1"),
        (OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n", "RFC 9112 section 6.1"),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "RFC 9112 section 6.1"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", "RFC 9110 section 15.2.2"),
        (MOST_INTERIM * b"HTTP/1.1 103 Early Hints\r\n\r\n", "RFC 9110 section 15.2"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\nabcde", "RFC 9112 section 2.2"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabcde", "RFC 9112 section 7.1"),
        (OK + b"Content-Encoding: dcb\r\nContent-Length: 1\r\n\r\nx", "RFC 9110 section 8.4.1"),
        (OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain", "RFC 1952 section 2.2"),
        (OK + b"Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + gzip.compress(b"x", mtime=0)[:20], "RFC 1952"),
        (OK + b"Content-Encoding: deflate\r\nContent-Length: 3\r\n\r\n\x78\x9c\x4b", "RFC 9110 section 8.4.1.2"),
    ],
)
def test_what_breaks_a_rule_is_said_with_its_clause_and_every_byte_is_marked(answer: bytes, clause: str) -> None:
    ledger = Ledger()

    async def work(url: str) -> None:
        async with connected(url, ledger) as http:
            with pytest.raises(WireError) as broken:
                await exchange(http)
            assert broken.value.clause.startswith(clause)

    with serving(answering(answer, then=read_all)) as url:
        run(work(url))
    check_marks(ledger.connections[0])


def test_a_refusal_has_the_servers_words_its_status_and_when_to_come_back() -> None:
    answer = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 8\r\n\r\nnot now\n"

    async def work(url: str) -> Refused:
        client = a_client(url, Ledger())
        try:
            await client.ask({})
            with pytest.raises(Refused, match="503 Busy: not now") as caught:
                await client.answer()
            return caught.value
        finally:
            client.close()

    with serving(answering(answer, then=read_all)) as url:
        refused = run(work(url))
    assert (refused.status, refused.retry_after_s) == (503, 7.0)


def test_nobody_listening_is_a_lost_connection_that_names_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionLost, match=f"no connection to 127.0.0.1:{port}"):
        run(Connection.open("127.0.0.1", port, Wiring(Ledger(), "polling")))


def test_a_write_larger_than_the_buffers_is_counted_as_it_leaves() -> None:
    size = 32 << 20
    ledger = Ledger(keep_bytes=2 * size)

    async def work(url: str) -> bytes:
        async with connected(url, ledger) as http:
            await http.request("POST", "/", {"Host": "x"}, body=b"x" * size)
            await http.response()
            return await http.read_body()

    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        until(lambda: ledger.connections[0].writes)  # what the buffers hold without a reader, and no more
        got = 0
        while got < size:
            got += len(sock.recv(1 << 20))
        sock.sendall(COUNTED)

    with serving(script) as url:
        assert run(work(url)) == b"abcde"
    (record,) = ledger.connections
    check_marks(record)
    assert record.writes > 1 and record.bytes_out > size and record.by_category["payload"] == size


def test_a_write_that_fails_counts_what_has_left_and_no_more() -> None:
    ledger = Ledger(keep_bytes=64 << 20)

    async def work(url: str) -> None:
        async with connected(url, ledger) as http:
            with pytest.raises(ConnectionLost):
                await http.request("POST", "/", {"Host": "x"}, body=b"x" * (32 << 20))

    def script(sock: socket.socket) -> None:
        sock.recv(1000)
        reset(sock)

    with serving(script) as url:
        run(work(url))
    (record,) = ledger.connections
    assert record.bytes_out < 32 << 20
    check_marks(record)
    assert record.closed_by == "reset"


def test_segments_are_counted_where_the_platform_can() -> None:
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        pytest.skip("this platform does not count segments")
    ledger = Ledger()
    body = b"x" * 20_000

    async def work(url: str) -> None:
        async with connected(url, ledger) as http:
            await exchange(http)

    with serving(answering(OK + b"Content-Length: 20000\r\n\r\n" + body, then=read_all)) as url:
        run(work(url))
    record = ledger.connections[0]
    assert record.segments_in is not None and record.segments_in >= 20_000 // 1460
    segments = record.segments_in + (record.segments_out or 0)
    assert record.tcp_ip_bytes == segments * record.segment_header_bytes + record.syn_option_bytes
    assert record.segment_header_bytes in (40, 52)


@pytest.mark.parametrize(
    ("url", "query", "expected"),
    [
        ("http://h", {}, "/"),
        ("http://h/sse", {"after": "17@k3f9", "topic": ""}, "/sse?after=17@k3f9"),
        ("http://h/a/b?x=1", {"topic": "a&b ü", "n": None, "t": 0}, "/a/b?x=1&topic=a%26b%20%C3%BC&t=0"),
    ],
)
def test_a_target_keeps_the_addresss_own_query(url: str, query: dict[str, object], expected: str) -> None:
    assert target(address.split(url), **query) == expected


def test_the_ledger_keeps_the_newest_bytes_and_exact_counters() -> None:
    ledger = Ledger(keep_bytes=100)
    record = ledger.opened("sse", 0, local=("", 0), remote=("", 0), t_ns=0)
    for n in range(50):
        record.transferred("in", b"x" * 10, n)
        record.mark_all([Mark("in", 10 * n, 10 * n + 10, "payload", "")])
    assert record.bytes_in == 500 and record.reads == 50 and record.by_category["payload"] == 500
    assert record.held_bytes == 100 and record.dropped_bytes == 400 and len(record.transfers) == 10
    assert record.transfers[0].start == 400


@pytest.mark.parametrize("turns", range(8))
def test_a_client_that_is_cancelled_while_it_connects_does_not_go_on(turns: int) -> None:
    """A connect over loopback is done at once, so the cancellation may come in the same turn of the loop."""

    async def connect_and_cancel() -> tuple[bool, bool]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            wiring = Wiring(Ledger(), "sse", 0)
            opening = asyncio.ensure_future(Connection.open("127.0.0.1", server.getsockname()[1], wiring))
            for _ in range(turns):
                await asyncio.sleep(0)
            asked = opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            if not opening.cancelled():
                opening.result().close()
            return asked, opening.cancelled()

    asked, cancelled = loop.run(connect_and_cancel())
    assert cancelled is asked


def test_who_reads_hears_at_once_of_an_end_that_a_write_has_found() -> None:
    gone, is_gone = threading.Event(), threading.Event()

    def script(sock: socket.socket) -> None:
        gone.wait(TIMEOUT_S)
        reset(sock)
        is_gone.set()

    async def work(url: str) -> None:
        async with connected(url, Ledger()) as http:
            reading = asyncio.create_task(http.connection.read())
            await asyncio.sleep(0)
            gone.set()
            assert is_gone.wait(TIMEOUT_S)  # the loop has no turn in which it would see that itself
            with pytest.raises(ConnectionLost, match="reset while writing"):
                await http.connection.write(b"x")
            with pytest.raises(ConnectionLost, match="was closed meanwhile"):
                await reading

    with serving(script) as url:
        run(work(url))
