"""No request, however odd, is answered by a 500 or leaves a log record: a table for every route, over raw sockets.

That nothing was logged is asserted by ``conftest.py``, as after every test.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from conftest import UNIT
from labkit.lab.lab import Lab
from labkit.lab.page_files import PageHandler
from labkit.server import http1
from labkit.techniques import TECHNIQUES, exhibits
from labkit.wire.frames import Frame, Opcode
from raw_websocket import MASK, RawClient
from wait import dial, get, read_until

TECHNIQUES_AND_EXHIBITS = (*TECHNIQUES, *exhibits.EXHIBITS)
ROUTES = [
    "/", "/page/", "/page/page.js", "/page/%00", "/page/" + "a" * 300, "/page/" + "a/" * 200, "/page/..%2fserver.py",
    "/page/\x9b31m\x85", "/nothing", "/\xff", "*", "//[", "http://[", "http://localhost/polling", "?x", "/events",
    "/websocket/echo", "/browser", *(t.route for t in TECHNIQUES_AND_EXHIBITS if t.route),
]  # fmt: skip
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "finish", "__class__", "X" * 300]
QUERIES = [
    "after=%ff", "after=" + "9" * 5000, "after=9@" + "a" * 12, "after=0", "after=%D9%A1", "topic=%ff",
    "topic=%ED%A0%80", "topic=" + "a" * 300, "timeout=1e999", "timeout=nan", "timeout=" + "9" * 50, "timeout=-1",
    "recycle=" + "9" * 5000, "format=x", "conflate=2", "token=%ff", "callback=%ff", "callback=a.b", "interval=nan",
    "etag=1&after=0", "deflate=%00", "=&=%00&%00=", "pipelined=1&after=1@abcd", "&" * 3000, "a" * 60_000,
]  # fmt: skip
UPGRADE = ["Upgrade: websocket", "Connection: Upgrade"]
SHAKE = [*UPGRADE, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
FIELDS = [
    ['Cookie: \x80=;;;a="\\x'], ["Host: b"], ["Origin: \xff"], ["Origin: null"], ["Content-Length: -1"],
    ["Content-Length: 1, 2"], ["Content-Length: " + "9" * 5000], ["Content-Length: 0", "Transfer-Encoding: chunked"],
    ["Transfer-Encoding: gzip"], ["Last-Event-ID: \xff"], ["Last-Event-ID: " + "9" * 5000], ['If-None-Match: \xff"'],
    ["Authorization: \xff"], [" folded"], ["no colon"], [": x"], ["X: \0"], ["Expect: 100-continue"],
    ["X-Forwarded-For: \xff"], ["Range: bytes=0-"], ["X: " + "a" * 70_000], UPGRADE, UPGRADE[:1], SHAKE,
    [*UPGRADE, SHAKE[2]], [*UPGRADE, "Sec-WebSocket-Version: x", SHAKE[3]], ["Upgrade: h2c", "Connection: Upgrade"],
    [*SHAKE, "Sec-WebSocket-Protocol: \xff, ,"], [*SHAKE, "Sec-WebSocket-Protocol: labkit, \xff"],
    [*SHAKE, "Sec-WebSocket-Extensions: ,;,=;permessage-deflate;server_max_window_bits=8"],
]  # fmt: skip
BODIES = [
    "", "\xff", "[" * 100_000, "[1]", "{}", "null", "NaN", "1e999", "&" * 3000, '[{"channel":1}]',
    '[{"channel":"\\ud800","clientId":1}]', '[{"channel":"/meta/connect","clientId":[]}]', "<body wait='nan'/>",
    "<body wait='soon'/>", "<body wait='-1'/>", "<body sid=''/>", "--a\r\n\r\n",
]  # fmt: skip
TYPES = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a", "multipart/form-data"]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("odd-requests", techniques=TECHNIQUES_AND_EXHIBITS, hold_s=0.01) as lab:
        yield lab


def request(line: str, *fields: str, body: str = "") -> bytes:
    return ("\r\n".join([line, "Host: localhost", *fields, "", ""]) + body).encode("latin-1")


def requests(route: str) -> Iterator[bytes]:
    for method in METHODS:
        yield request(f"{method} {route} HTTP/1.1", "Content-Length: 0")
    for version in ("1.0", "1.1", "1.7", "2.0"):
        yield request(f"GET {route} HTTP/{version}")
    for query in QUERIES:
        yield request(f"GET {route}?{query} HTTP/1.1")
        yield request(f"GET {route}?{query} HTTP/1.1", *SHAKE)
    for fields in FIELDS:
        for method in ("GET", "OPTIONS"):
            yield request(f"{method} {route} HTTP/1.1", *fields)
    yield request(f"GET {route}?deflate=1 HTTP/1.1", *FIELDS[-1])
    for body in BODIES:
        for kind in TYPES:
            length = f"Content-Length: {len(body)}"
            yield request(f"POST {route} HTTP/1.1", f"Content-Type: {kind}", length, body=body)
    for body in ("zz\r\n", "-1\r\n", "ffffffffffffffff\r\n", "1" * 100, "1\r\nxyz", "1;a=b\r\nx\r\n0\r\n\r\n"):
        yield request(f"POST {route} HTTP/1.1", "Transfer-Encoding: chunked", body=body)


def status(port: int, sent: bytes) -> int | None:
    """The status of the answer; None when the connection ends, or is reset, without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=10 * UNIT) as sock:
        sock.sendall(sent)
        got = b""
        try:
            while (found := re.search(rb"HTTP/1\.1 ([2-5][0-9][0-9]|101) ", got)) is None and (more := sock.recv(4096)):
                got += more
        except ConnectionError:
            return None
        return int(found[1]) if found else None


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: ascii(route)[1:30])
def test_no_odd_request_is_answered_by_a_500(lab: Lab, route: str) -> None:
    for sent in requests(route):
        assert (status(lab.port, sent) or 0) // 100 != 5, sent[:200]
    assert status(lab.port, request("GET /polling HTTP/1.1")) == 200


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\x01\0\n\n", b"GET\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\n", b"\0" * 99_999]
)
def test_what_is_no_http_is_a_400_or_an_end(lab: Lab, sent: bytes) -> None:
    assert status(lab.port, sent) in (None, 400, 431)


def test_a_preflight_of_a_file_of_the_page_is_answered(lab: Lab) -> None:
    assert status(lab.port, request("OPTIONS /page/page.js HTTP/1.1", "Origin: http://localhost")) == 204


def test_a_name_too_long_for_a_file_is_a_404(lab: Lab) -> None:
    assert status(lab.port, request(f"GET /page/{'a' * 300} HTTP/1.1")) == 404


def test_what_is_asked_for_forges_no_log_line(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(PageHandler, "get", broken)
    assert status(lab.port, request(f"GET /page/\x9b31m\x85forged{'a' * 1000} HTTP/1.1")) == 500
    (record,) = caplog.records
    assert record.getMessage().isascii() and record.getMessage().isprintable() and len(record.getMessage()) < 200
    caplog.clear()


# -- messages ------------------------------------------------------------------------------------------------------

NUMBERS = [
    "1e999", "-1e999", "NaN", "-Infinity", "1" + "0" * 400, "9" * 5000, "1e308", "-1e308", "1" + "0" * 300, "-1",
    "9223372036854775808", "true", "null", "[]", '"\\ud800"', '"' + "a" * 400 + '"',
]  # fmt: skip
MESSAGES = ["", "[" * 100_000, "1", "{}", '{"publish":1}', '{"publish":"\\ud800"}', '{"publish_base64":"\xe9"}'] + [
    f'{{"publish":"x","ref":{number}}}' for number in NUMBERS
]
ATTACH = '{"attach":{"subscriber":"s","page":"PAGE","topic":"t","streams":["sse"]}}'
ROUND_TRIPS = ['{"clock":5}', '{"clock":6,"last":[5,5.5]}']
TOLD = [
    '{"clock":%s}',
    '{"clock":SERIAL,"last":[BEFORE,%s]}',
    '{"attach":{"subscriber":%s,"page":%s,"topic":%s,"streams":%s}}',
    '{"report":%s}',
    '{"report":SERIAL,"arrivals":{"sse":[[%s,1,1],[1,%s,1],[1,1,%s]]}}',
    '{"report":SERIAL,"gaps":{"sse":[["a",%s,"c",1]]}}',
    '{"report":SERIAL,"gaps":{"sse":[["a",1,"c",%s]]}}',
    '{"report":SERIAL,"gaps":%s,"cursors":%s,"states":%s}',
    '{"report":SERIAL,"cursors":{"sse":%s},"presence":{"hidden":%s,"late_ms":%s}}',
]


def strict(text: str | bytes) -> Any:
    """JSON as RFC 8259 has it: without Infinity and NaN, which Python would take."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in {text!r}")

    return json.loads(text, parse_constant=refuse)


def answers(lab: Lab, path: str, messages: list[str]) -> Iterator[dict[str, Any]]:
    """What each message is answered with, in order; events in between are left out."""
    client = RawClient(lab.port, path)
    with client.sock:
        assert client.frame() is not None  # where it begins
        for message in messages:
            client.send(Frame(Opcode.TEXT, message.encode(), mask=MASK))
            answer: dict[str, Any] = {"id": 0}
            while "id" in answer:
                frame = client.frame()
                assert frame is not None and frame.opcode is Opcode.TEXT, message[:200]
                answer = strict(frame.payload)
            yield answer


def test_odd_messages_are_answered_and_the_socket_stays(lab: Lab) -> None:
    said = list(answers(lab, "/websocket", [*MESSAGES, '{"publish":"x","ref":1}']))
    assert said[-1]["ref"] == 1 and said[-1]["published"]


@pytest.mark.parametrize("ref", NUMBERS[:6])
def test_a_reference_that_no_float_can_hold_is_an_error_and_publishes_nothing(lab: Lab, ref: str) -> None:
    before = lab.cursor()
    (said,) = answers(lab, "/websocket", [f'{{"publish":"x","ref":{ref}}}'])
    assert "expected" in said["error"] and said["ref"] is None and lab.cursor() == before


@pytest.mark.parametrize("told", TOLD)
@pytest.mark.parametrize("begins", [[], [ATTACH], [ATTACH, *ROUND_TRIPS]], ids=["not attached", "attached", "timed"])
def test_odd_reports_of_a_page_are_answered(lab: Lab, told: str, begins: list[str]) -> None:
    odd = [told.replace("%s", number) for number in NUMBERS]
    counted = [text.replace("SERIAL", str(n)).replace("BEFORE", str(n - 1)) for n, text in enumerate(odd, 7)]
    page = f"{len(begins)} {TOLD.index(told)}"  # a page's reports are taken once
    said = list(answers(lab, "/browser", [*(b.replace("PAGE", page) for b in begins), *counted, '{"clock":8}']))
    assert said[-1]["clock"] == 8


def test_odd_messages_to_the_plugin_socket_are_answered(lab: Lab) -> None:
    with dial(lab.plugin_port, b'{"subscribe":{}}\0') as sock:
        read_until(sock, b"\0")
        for message in (*(m.encode() for m in MESSAGES), b"\xff", b"\xef\xbb\xbf{}", b'{"publish":"x","ref":1}'):
            sock.sendall(message + b"\0")
            said = {"id": 0}
            while "id" in said:
                said = strict(read_until(sock, b"\0")[:-1])
        assert said["ref"] == 1 and said["published"]


# -- heads that take their time ------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [b"G", b"GET / HTTP/1.1\r\nHost: localhost\r\n", get("/polling") + b"GET /pol"])
def test_a_head_that_trickles_in_is_ended_and_an_idle_connection_is_not(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(http1, "HEAD_S", 0.5 * UNIT)
    with dial(lab.port) as fresh, dial(lab.port, get("/polling")) as kept, dial(lab.port, b"GET /pol") as late:
        late.sendall(get("/polling").removeprefix(b"GET /pol"))  # in two pieces, and in time
        for sock in (kept, late):
            assert read_until(sock, b"}").startswith(b"HTTP/1.1 200")
        with dial(lab.port, begun) as slow:
            answered = b""
            while more := slow.recv(4096):
                answered += more
            assert b"HTTP/1.1 408 Request Timeout\r\n" in answered
        for sock in (fresh, kept, late):
            sock.sendall(get("/polling"))
            assert read_until(sock, b"}").startswith(b"HTTP/1.1 200")
