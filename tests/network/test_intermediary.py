"""The intermediary over real sockets: unnoticed without options, and exactly as bad as its options say."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from test_link import serving

import labkit
from conftest import UNIT
from labkit.network.intermediary import Intermediary
from labkit.wire.whole_chunks import Chunk, ChunkDecoder
from wait import reset, until

TIMEOUT_S = 10 * UNIT
IDLE_S = 0.4 * UNIT


@pytest.fixture
def lab() -> Iterator[labkit.Lab]:
    with labkit.Lab("intermediary") as lab:
        yield lab


def connected(relay: Intermediary) -> socket.socket:
    return socket.create_connection(relay.address, timeout=TIMEOUT_S)


def get(path: str, *fields: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {path} HTTP/{version}", "Host: localhost", *fields, "", ""]).encode()


def read_until(sock: socket.socket, wanted: bytes) -> bytes:
    data = b""
    while wanted not in data:
        piece = sock.recv(65536)
        assert piece, f"ended before {wanted!r}: {data!r}"
        data += piece
    return data


def read_all(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def chunks_of(answer: bytes) -> list[bytes]:
    body = answer.split(b"\r\n\r\n", 1)[1]
    return [chunk.data for chunk in ChunkDecoder().feed(body) if isinstance(chunk, Chunk) and chunk.data]


def answering(*pieces: bytes, then: Callable[[socket.socket], object] = lambda sock: None) -> Any:
    """A server that reads a request's head and sends *pieces*, a moment apart."""

    def serve(sock: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            read = sock.recv(65536)
            if not read:
                return
            data += read
        for piece in pieces:
            sock.sendall(piece)
            time.sleep(0.02)
        then(sock)

    return serving(serve)


# Without options


def test_every_technique_delivers_everything_through_it(lab: labkit.Lab) -> None:
    run = labkit.measure(
        lab,
        ["polling", "long-polling", "http-streaming", "sse", "websocket"],
        labkit.periodic(rate_per_s=40, duration_s=0.5),
        poll_interval_s=0.1,
        through=Intermediary(),
    )
    summary = run.summary()
    assert dict(run.failures) == {}
    assert summary["lost"].tolist() == [0] * 5
    assert summary["duplicated"].tolist() == [0] * 5
    assert summary["out_of_order"].tolist() == [0] * 5


def test_requests_keep_their_connection_on_both_hops(lab: labkit.Lab) -> None:
    with Intermediary(lab) as relay, connected(relay) as sock:
        for _ in range(3):
            sock.sendall(get("/polling"))
            assert b"200 OK" in read_until(sock, b'"cursor"')
        assert len(relay.ledger.connections) == 2


def test_pipelined_requests_are_answered_in_order(lab: labkit.Lab) -> None:
    lab.publish("one", "a")
    lab.publish("two", "b")
    with Intermediary(lab) as relay, connected(relay) as sock:
        sock.sendall(get("/polling?topic=a&after=0") + get("/polling?topic=b&after=0", "Connection: close"))
        assert re.findall(rb"one|two", read_all(sock)) == [b"one", b"two"]


def test_fields_of_a_hop_stay_on_it_and_via_is_added() -> None:
    seen: list[bytes] = []

    def serve(sock: socket.socket) -> None:
        seen.append(sock.recv(65536))
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: timeout=5\r\nX-Kept: yes\r\n")
        sock.sendall(b"Connection: X-Theirs, Content-Length\r\nX-Theirs: 1\r\n\r\n")

    with serving(serve) as server, Intermediary(server.address) as relay, connected(relay) as sock:
        sock.sendall(get("/", "Connection: close, X-Mine, Host", "X-Mine: 1", "X-Through: 2"))
        answer = read_all(sock)
    assert b"X-Through: 2" in seen[0] and b"Via: 1.1" in seen[0] and b"Host: localhost" in seen[0]
    assert b"X-Mine" not in seen[0] and b"Connection" not in seen[0]
    assert b"X-Kept: yes" in answer and b"Content-Length: 0" in answer
    assert b"Keep-Alive" not in answer and b"X-Theirs" not in answer


@pytest.mark.parametrize(
    ("sent", "goes_on"),
    [
        (b"GET /a HTTP/1.0\r\n\r\n", b"GET /a HTTP/1.1\r\nHost: %s\r\n"),
        (
            b"GET /a HTTP/1.0\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            b"GET /a HTTP/1.1\r\nHost: %s\r\nVia",
        ),
        (b"GET http://b.example/a?c HTTP/1.1\r\nHost: d\r\n\r\n", b"GET /a?c HTTP/1.1\r\nHost: b.example\r\n"),
        (b"GET http://b.example HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: b.example\r\n"),
        (b"GET http://me:secret@b:8?c HTTP/1.0\r\n\r\n", b"GET /?c HTTP/1.1\r\nHost: b:8\r\n"),
        (b"OPTIONS http://b:8 HTTP/1.0\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: b:8\r\n"),
    ],
    ids=[
        "HTTP/1.0 without Host",
        "an upgrade of HTTP/1.0",
        "absolute form",
        "absolute form without a path",
        "absolute form with a name and a password",
        "OPTIONS of a whole server",
    ],
)
def test_a_request_goes_on_in_origin_form_with_a_host(sent: bytes, goes_on: bytes) -> None:
    seen: list[bytes] = []

    def serve(sock: socket.socket) -> None:
        seen.append(sock.recv(65536))
        sock.sendall(
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
        )

    with serving(serve) as server, Intermediary(server.address) as relay, connected(relay) as sock:
        sock.sendall(sent)
        answer = read_until(sock, b"ok")
    assert answer.endswith(b"ok") and (b" 103 " in answer) is (b"HTTP/1.1" in sent)
    assert seen[0].startswith(goes_on.replace(b"%s", b"%s:%d" % (server.address[0].encode(), server.address[1])))


def test_an_http_1_0_client_gets_a_body_that_ends_with_the_connection(lab: labkit.Lab) -> None:
    with Intermediary(lab) as relay, connected(relay) as sock:
        sock.sendall(get("/polling", version="1.0"))
        answer = read_all(sock)
    assert b"chunked" not in answer.lower() and b'"cursor"' in answer


def test_a_client_that_goes_is_reported_to_the_target(lab: labkit.Lab) -> None:
    with Intermediary(lab) as relay:
        with connected(relay) as sock:
            sock.sendall(get("/http-streaming"))
            read_until(sock, b'"cursor"')
        deadline = time.monotonic() + TIMEOUT_S
        while relay.connections and time.monotonic() < deadline:
            time.sleep(0.01)
        assert relay.connections == 0


# Errors


def test_a_request_that_is_none_gets_400(lab: labkit.Lab) -> None:
    with Intermediary(lab) as relay, connected(relay) as sock:
        sock.sendall(b"NONSENSE\r\n\r\n")
        assert read_all(sock).startswith(b"HTTP/1.1 400")


def test_a_request_with_two_lengths_is_refused(lab: labkit.Lab) -> None:
    both = b"POST /events HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    with Intermediary(lab) as relay, connected(relay) as sock:
        sock.sendall(both)
        assert read_all(sock).startswith(b"HTTP/1.1 400")
        assert len(relay.ledger.connections) == 1


def test_a_target_that_refuses_is_a_502() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()
    with Intermediary(address) as relay, connected(relay) as sock:
        sock.sendall(get("/"))
        assert read_all(sock).startswith(b"HTTP/1.1 502")


def post(size_bytes: int) -> bytes:
    return b"POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size_bytes


def refused_at_once() -> Any:
    return answering(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def gone() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()
    return contextlib.nullcontext(types.SimpleNamespace(address=address))


@pytest.mark.parametrize(
    ("target", "status"),
    [(lambda: labkit.Lab("small", max_event_bytes=1000), b"413"), (refused_at_once, b"413"), (gone, b"502")],
    ids=["lab", "closes at once", "refuses"],
)
def test_9112_9_6_an_answer_in_mid_request_comes_without_a_reset(target: Callable[[], Any], status: bytes) -> None:
    """A client that goes on sending is not cut off, and has the answer after that."""
    body = b"x" * (8 << 20)
    with target() as server, Intermediary(getattr(server, "address", server)) as relay, connected(relay) as sock:
        sock.sendall(post(len(body)) + body)
        assert read_all(sock).startswith(b"HTTP/1.1 " + status)


def test_what_a_client_sends_on_after_its_answer_is_not_listened_to_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.network.intermediary.LINGER_S", 0.05 * UNIT)
    with refused_at_once() as server, Intermediary(server.address) as relay, connected(relay) as sock:
        sock.sendall(post(1000))
        assert read_all(sock).startswith(b"HTTP/1.1 413")
        until(lambda: relay.connections == 0)


def test_a_kept_connection_that_the_target_has_ended_is_opened_anew() -> None:
    """The target says nothing of closing, and closes: the client's next request must not pay for it."""
    ended = threading.Event()

    def close(sock: socket.socket) -> None:
        sock.close()
        ended.set()

    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    with answering(answer, then=close) as server, Intermediary(server.address) as relay, connected(relay) as sock:
        for _ in range(2):
            sock.sendall(get("/"))
            assert read_until(sock, b"ok").startswith(b"HTTP/1.1 200")
            assert ended.wait(TIMEOUT_S)
            ended.clear()


@pytest.mark.parametrize("end", [reset, socket.socket.close], ids=["reset", "fin"])
def test_a_target_that_ends_without_an_answer_is_a_502(end: Callable[[socket.socket], None]) -> None:
    with answering(then=end) as server, Intermediary(server.address) as relay, connected(relay) as sock:
        sock.sendall(get("/"))
        assert read_all(sock).startswith(b"HTTP/1.1 502")


def test_a_reset_in_mid_answer_is_one_to_the_client_too() -> None:
    """A body that only the end of the connection ends would else look whole."""
    head = b"HTTP/1.1 200 OK\r\n\r\nhel"
    with answering(head, then=reset) as server, Intermediary(server.address) as relay, connected(relay) as sock:
        sock.sendall(get("/", version="1.0"))
        with pytest.raises(ConnectionResetError):
            read_all(sock)


def test_a_target_that_dies_in_mid_answer_leaves_it_unended() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with answering(head, b"5\r\nhello\r\n") as server, Intermediary(server.address) as relay, connected(relay) as sock:
        sock.sendall(get("/"))
        with contextlib.suppress(ConnectionResetError):
            answer = b""
            while piece := sock.recv(65536):
                answer += piece
    assert b"hello" in answer and b"0\r\n\r\n" not in answer


@pytest.mark.parametrize(
    "options",
    [
        {"idle_timeout_s": 0},
        {"idle_timeout_s": "soon"},
        {"idle_end": "kill"},
        {"split_bytes": -1},
        {"split_bytes": 1.5},
        {"merge_s": float("nan")},
    ],
)
def test_an_option_that_means_nothing_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Intermediary(**options)


# Idle connections


def idle(lab: labkit.Lab, how: Any, path: str = "/long-polling?timeout=60") -> tuple[bytes, str, float]:
    """What a client gets of a request on which nothing moves, how that ended, and after how long."""
    with Intermediary(lab, idle_timeout_s=IDLE_S, idle_end=how) as relay, connected(relay) as sock:
        sock.settimeout((2 if how == "silent" else 5) * IDLE_S)
        began, data, end = time.monotonic(), b"", "fin"
        sock.sendall(get(path))
        try:
            while piece := sock.recv(65536):
                data += piece
        except ConnectionResetError:
            end = "reset"
        except TimeoutError:
            end = "silent"
        return data, end, time.monotonic() - began


@pytest.mark.parametrize("how", ["fin", "reset", "silent"])
def test_an_idle_connection_ends_as_it_was_told(lab: labkit.Lab, how: str) -> None:
    data, end, after_s = idle(lab, how)
    assert (data, end) == (b"", how)
    assert after_s >= IDLE_S


def test_a_held_request_is_answered_by_504(lab: labkit.Lab) -> None:
    data, end, _ = idle(lab, "504")
    assert data.startswith(b"HTTP/1.1 504 ") and end == "fin"


def test_an_answer_that_has_begun_is_not_followed_by_another(lab: labkit.Lab) -> None:
    data, _, _ = idle(lab, "504", "/http-streaming")
    assert b'"cursor"' in data and b"504" not in data and b"0\r\n\r\n" not in data


def test_bytes_keep_a_connection_alive(lab: labkit.Lab) -> None:
    run = labkit.measure(
        lab,
        ["sse", "websocket"],
        labkit.periodic(rate_per_s=5 / IDLE_S, duration_s=2 * IDLE_S),
        through=(relay := Intermediary(idle_timeout_s=IDLE_S)),
    )
    assert run.summary()["lost"].tolist() == [0, 0]
    assert len(relay.ledger.connections) == 4  # one for each technique, on two hops


# Chunk borders

SPLIT = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_split_bytes_cuts_chunks_and_keeps_the_bytes() -> None:
    with (
        answering(SPLIT, b"b\r\nhello world\r\n", b"0\r\n\r\n") as server,
        Intermediary(server.address, split_bytes=4) as relay,
        connected(relay) as sock,
    ):
        sock.sendall(get("/", "Connection: close"))
        assert chunks_of(read_all(sock)) == [b"hell", b"o wo", b"rld"]


def test_merge_s_makes_one_chunk_of_what_comes_within_it() -> None:
    with (
        answering(SPLIT, b"1\r\na\r\n", b"1\r\nb\r\n", b"1\r\nc\r\n", b"0\r\n\r\n") as server,
        Intermediary(server.address, merge_s=60) as relay,
        connected(relay) as sock,
    ):
        sock.sendall(get("/", "Connection: close"))
        assert chunks_of(read_all(sock)) == [b"abc"]


def test_merge_s_holds_no_longer_than_that() -> None:
    with (
        answering(SPLIT, b"1\r\na\r\n", then=lambda sock: sock.recv(1)) as server,
        Intermediary(server.address, merge_s=0.1) as relay,
        connected(relay) as sock,
    ):
        sock.sendall(get("/"))
        read_until(sock, b"1\r\na\r\n")


def test_merge_s_counts_from_the_first_byte_it_holds() -> None:
    """A stream that never pauses is not held for ever."""
    pieces = [b"1\r\na\r\n"] * 40
    with (
        answering(SPLIT, *pieces, b"0\r\n\r\n") as server,
        Intermediary(server.address, merge_s=0.2) as relay,
        connected(relay) as sock,
    ):
        sock.sendall(get("/", "Connection: close"))
        assert len(chunks_of(read_all(sock))) >= 2  # 40 pieces, 20 ms apart


def test_events_survive_any_chunk_borders(lab: labkit.Lab) -> None:
    run = labkit.measure(
        lab,
        ["http-streaming", "sse", "long-polling"],
        labkit.periodic(rate_per_s=40, duration_s=1),
        through=Intermediary(split_bytes=3, merge_s=0.05),
    )
    assert run.summary()["lost"].tolist() == [0, 0, 0]
