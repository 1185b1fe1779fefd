"""Requests as RFC 9110 and RFC 9112 have them, over raw sockets: what Tornado reads otherwise is read as written."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from conftest import UNIT
from labkit.lab.lab import Lab
from wait import TIMEOUT_S

HOST = b"Host: localhost\r\n"
CHUNKED = b"POST /events HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("http1 requests", max_event_bytes=100_000) as opened:
        yield opened


def ask(lab: Lab, sent: bytes, *, ends: bool = True, first_s: float = TIMEOUT_S) -> bytes:
    """What comes for those bytes, up to the end, or until it is silent for a moment where it is not to end."""
    got = b""
    with socket.create_connection(("127.0.0.1", lab.port), timeout=first_s) as sock:
        sock.sendall(sent)
        try:
            while data := sock.recv(1 << 16):
                got += data
                sock.settimeout(TIMEOUT_S if ends else 0.3 * UNIT)
        except TimeoutError:
            assert not ends, got
            return got
        except ConnectionResetError:  # the end of an answer to what was not read to its end
            pass
    assert ends or got == b"", f"ended: {got!r}"
    return got


# -- request targets (RFC 9112 section 3.2) ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET http://127.0.0.1:1/polling?after=0", 200),
        ("GET HTTP://LOCALHOST/polling", 200),
        ("GET https://localhost/polling", 200),
        ("GET http://localhost", 200),  # the path is /
        ("GET http://localhost?after=x", 400),
        ("HEAD http://localhost/sse", 200),
        ("OPTIONS http://localhost", 204),  # is * (section 3.2.4)
        ("GET http://evil.test/polling", 403),  # Host is replaced by what the target names
        ("GET http://user@localhost/polling", 400),
        ("GET http:///polling", 403),
        ("GET ftp://localhost/polling", 404),
    ],
)
def test_a_target_in_absolute_form_is_taken_and_its_host_counts(lab: Lab, line: str, status: int) -> None:
    answer = ask(lab, f"{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert int(answer[9:12]) == status


@pytest.mark.parametrize("fields", ["", "Host: localhost\r\nHost: localhost\r\n"])
def test_an_absolute_form_does_not_stand_for_a_host_of_http_1_1(lab: Lab, fields: str) -> None:
    answer = ask(lab, f"GET http://localhost/polling HTTP/1.1\r\n{fields}Connection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert ask(lab, b"GET http://localhost/polling HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


# -- chunked bodies (RFC 9112 section 7.1) ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"3;a=b\r\nabc\r\n0\r\n\r\n",
        b'3 ; a ; b="c d;e"\r\nabc\r\n0;z\r\n\r\n',
        b"3;" + b"a" * 2000 + b"\r\nabc\r\n0\r\n\r\n",
        b"003\r\nabc\r\n000\r\n\r\n",
        b"1\r\na\r\n" * 2 + b"1\r\nc\r\n0\r\nX-Sum: 1\r\nEmpty:\r\n\r\n",
    ],
    ids=["extension", "quoted", "long", "leading zeros", "trailer"],
)
def test_what_stands_beside_the_chunks_is_dropped(lab: Lab, body: bytes) -> None:
    n = int(lab.cursor().partition("@")[0])
    for cut in range(0, len(body), 1 + len(body) // 20):
        with socket.create_connection(("127.0.0.1", lab.port), timeout=TIMEOUT_S) as sock:
            sock.sendall(CHUNKED + body[:cut])
            sock.sendall(body[cut:] + b"GET /polling?after=%d HTTP/1.1\r\n%s\r\n" % (n, HOST))
            got = b""
            while b'"cursor"' not in got:
                got += sock.recv(1 << 16)
        n += 1
        assert (
            b'{"id":%d}' % n in got and b'[{"id":%d,"data":"%s"}]' % (n, b"aac" if b"X-Sum" in body else b"abc") in got
        )


@pytest.mark.parametrize(
    "body",
    [
        b"3;a\nb\r\nabc\r\n0\r\n\r\n",
        b"3 a\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n0\r\n\r\n",
        b"11111111111111111\r\n",
        b"3\r\nabc\r\n0\r\nno colon\r\n\r\n",
        b"3\r\nabc\r\n0\r\nX: a\r\n folded\r\n\r\n",
        b"3;" + b"a" * 9000 + b"\r\nabc\r\n0\r\n\r\n",
        b"".join(b"1;%s\r\na\r\n" % (b"x" * 4000) for _ in range(20)) + b"0\r\n\r\n",
        b"3\r\nabc\r\n0\r\n" + b"X: a\r\n" * 12_000 + b"\r\n",
    ],
    ids=[
        "bare LF", "no semicolon", "long data", "sign", "no size", "17 digits", "trailer", "folded", "long", "many",
        "trailers",
    ],
)  # fmt: skip
def test_what_is_no_chunk_is_refused_and_publishes_nothing(lab: Lab, body: bytes) -> None:
    before = lab.cursor()
    answer = ask(lab, CHUNKED + body)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    assert lab.cursor() == before


def test_thousands_of_small_chunks_are_one_body_and_are_stopped_at_the_limit(lab: Lab) -> None:
    assert b" 200 OK" in ask(lab, CHUNKED + b"1\r\na\r\n" * 20_000 + b"0\r\n\r\n" + b"GET / HTTP/1.0\r\n\r\n")
    assert b" 413 " in ask(lab, CHUNKED + b"1000\r\n%s\r\n" % (b"a" * 4096) * 30)


# -- expectations and connection options (RFC 9110 sections 10.1.1 and 7.6.1) -----------------------------------------


@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue", b"100-CONTINUE , x"])
def test_an_expectation_is_met_in_any_case_but_in_http_1_0(lab: Lab, value: bytes) -> None:
    head = b"POST /events HTTP/1.%d\r\n" + HOST + b"Content-Length: 3\r\nExpect: " + value + b"\r\n\r\n"
    assert ask(lab, head % 1, ends=False).startswith(b"HTTP/1.1 100 ")
    assert ask(lab, head % 0, ends=False, first_s=0.3 * UNIT) == b""


@pytest.mark.parametrize(
    ("version", "options", "ends"),
    [
        (b"1.1", b"", False),
        (b"1.1", b"Connection: te, close\r\n", True),
        (b"1.1", b"Connection: keep-alive\r\nConnection: Close\r\n", True),
        (b"1.1", b"Connection: keep-alive, foo\r\n", False),
        (b"1.2", b"", False),
        (b"1.0", b"", True),
        (b"1.0", b"Connection: te, Keep-Alive\r\n", False),
        (b"1.0", b"Connection: keep-alive, close\r\n", True),
        (b"1.0", b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n", True),
    ],
)
def test_connection_is_a_list(lab: Lab, version: bytes, options: bytes, ends: bool) -> None:
    request = b"GET /polling HTTP/" + version + b"\r\n" + HOST + options + b"\r\n"
    answer = ask(lab, request + (b"0\r\n\r\n" if b"chunked" in options else b""), ends=ends).lower()
    assert answer.startswith(b"http/1.1 200 ") and answer.endswith(b"}")
    assert (b"connection: keep-alive" in answer) is (version == b"1.0" and not ends)
    assert (b"connection: close" in answer) is (version != b"1.0" and ends)


@pytest.mark.parametrize(
    ("begins", "status"),
    [
        (b"POST /events HTTP/1.1\r\nContent-Length: 100001\r\n", b"413"),
        (b"POST /events HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 100001\r\n", b"413"),
        (b"POST /events?after=x HTTP/1.1\r\nContent-Length: 2\r\n", b"400"),
        (b"OPTIONS /events HTTP/1.1\r\nOrigin: http://evil.test\r\n", b"403"),
        (b"BREW /events HTTP/1.1\r\n", b"405"),
    ],
)
def test_a_connection_that_ends_with_an_early_answer_is_said_to(lab: Lab, begins: bytes, status: bytes) -> None:
    head, _, _ = ask(lab, begins + HOST + b"\r\n").partition(b"\r\n\r\n")
    assert head[9:12] == status and b"\r\nConnection: close" in head


def test_an_upgrade_of_http_1_0_is_none(lab: Lab) -> None:
    shake = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    shake += b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    answer = ask(lab, b"GET /websocket HTTP/1.0\r\n" + HOST + shake + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 426 ")
    for version in (b"1.1", b"1.3"):
        listed = shake.replace(b"n: Upgrade", b"n: keep-alive, UPGRADE")
        assert ask(lab, b"GET /websocket HTTP/%s\r\n" % version + HOST + listed + b"\r\n", ends=False)[9:12] == b"101"


# -- what streams ask of intermediaries (RFC 10036) -------------------------------------------------------------------

STREAMS = ("/sse", "/http-streaming", "/http-streaming?format=multipart", "/http-streaming?recycle=2", "/sse?topic=a")


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_streams_ask_not_to_be_held_back_and_nothing_else_does(lab: Lab, version: bytes) -> None:
    for path in (*STREAMS, "/polling", "/long-polling", "/events"):
        head = ask(lab, b"HEAD " + path.encode() + b" HTTP/" + version + b"\r\n" + HOST + b"Connection: close\r\n\r\n")
        asks = [line for line in head.split(b"\r\n") if line in (b"X-Accel-Buffering: no", b"Incremental: ?1")]
        assert len(asks) == (2 if path in STREAMS else 0), path


def test_a_lab_can_be_told_not_to_ask() -> None:
    with Lab("no hint", buffering_hint=False) as lab:
        for path in STREAMS:
            head = ask(lab, b"HEAD " + path.encode() + b" HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
            assert b"buffering" not in head.lower() and b"incremental" not in head.lower()
