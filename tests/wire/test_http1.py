"""Heads of HTTP/1.x, and how the body behind each ends (RFC 9112)."""

from __future__ import annotations

from time import thread_time

import pytest

from labkit.errors import WireError
from labkit.wire.http1 import (
    MAX_HEAD_BYTES,
    body_length,
    field_value,
    head_end,
    read_request,
    read_response,
    request_head,
)


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\nA: b\n\n", b"\r\nGET / HTTP/1.0\r\n\r\n"]
)
def test_2_2_a_head_ends_with_an_empty_line(head: bytes) -> None:
    for at in range(len(head)):
        assert head_end(head[:at]) is None
    assert head_end(head + b"\r\n\r\n") == len(head)


def test_3_a_head_is_no_longer_than_anybodys() -> None:
    with pytest.raises(WireError):
        head_end(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (MAX_HEAD_BYTES // 6))


def test_a_request_and_a_response_are_read() -> None:
    request = read_request(b"POST /a?b HTTP/1.1\r\nHost: x\r\nA:  b c \r\na: d\r\nFolded: e\r\n f\r\n\r\n")
    assert (request.method, request.target, request.version) == ("POST", "/a?b", "HTTP/1.1")
    assert request.values == {"host": "x", "a": "b c, d", "folded": "e f"}
    response = read_response(b"HTTP/1.0 404 Not Found\r\nConnection: Upgrade, Close\r\n\r\n")
    assert (response.status, response.reason, response.version) == (404, "Not Found", "HTTP/1.0")
    assert response.has("connection", "upgrade") and not response.has("connection", "keep-alive")
    assert read_response(b"HTTP/1.1 200\r\n\r\n").reason == ""


@pytest.mark.parametrize(
    "raw", [b"GET /\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n", b"\x16\x03\r\n\r\n", b"G T / HTTP/1.1\r\n\r\n"]
)
def test_3_what_is_no_request(raw: bytes) -> None:
    with pytest.raises(WireError, match="section 3"):
        read_request(raw)


@pytest.mark.parametrize("raw", [b"HTTP/1.1 20 OK\r\n\r\n", b"ICY 200 OK\r\n\r\n", b"HTTP/1.1  200 OK\r\n\r\n"])
def test_4_what_is_no_response(raw: bytes) -> None:
    with pytest.raises(WireError, match="section 4"):
        read_response(raw)


@pytest.mark.parametrize(
    ("value", "sent"),
    [(" a b\t\r\n", b"a b"), (b"\xc3\xa9", b"\xc3\xa9"), ("\xe9", b"\xe9"), ("", b""), ("a\x01\x0bb", b"a\x01\x0bb")],
)
def test_a_value_is_sent_as_fetch_sends_it(value: str | bytes, sent: bytes) -> None:
    assert field_value(value) == sent


@pytest.mark.parametrize("value", ["a\0b", "a\rb", b"a\nb", "\uc11c\uc6b8"])
def test_9110_5_5_what_is_no_value_is_not_sent(value: str | bytes) -> None:
    with pytest.raises(WireError, match=r"9110 section 5\.5"):
        field_value(value)


@pytest.mark.parametrize(
    ("method", "target", "name"), [("G T", "/", "A"), ("GET", "/a b", "A"), ("GET", "/\xe9", "A"), ("GET", "/", "A:")]
)
def test_nothing_goes_into_a_request_s_head_that_could_end_a_line_of_it(method: str, target: str, name: str) -> None:
    with pytest.raises(WireError):
        request_head(method, target, [(name, "b")])


def test_2_2_a_bare_cr_and_a_nul_are_blanks() -> None:
    assert read_response(b"HTTP/1.1 200 OK\r\nA: b\rC: d\0\r\n\r\n").values == {"a": "b C: d"}


def test_a_head_of_blanks_is_read_in_time_and_looked_through_once() -> None:
    def head(size: int) -> bytes:
        return b"HTTP/1.1 200 OK\r\nA: b" + b" " * size + b"c\r\n\r\n"

    def cost_s(size: int) -> float:
        began_s = thread_time()
        assert read_response(head(size)).values["a"].endswith(" c")
        return thread_time() - began_s

    assert min(cost_s(60_000) for _ in range(5)) < 24 * min(cost_s(7_500) for _ in range(5)), "64 where it is quadratic"
    whole = head(60_000)
    searched = [head_end(whole[:at], max(0, at - 1000)) for at in range(1000, len(whole), 1000)]
    assert set(searched) == {None} and head_end(whole, len(whole) - 3) == len(whole)


@pytest.mark.parametrize("line", [b"A : b", b"A", b": b", b" A: b"])
def test_5_what_is_no_field(line: bytes) -> None:
    with pytest.raises(WireError, match="section 5"):
        read_request(b"GET / HTTP/1.1\r\n" + line + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("status", "fields", "method", "length"),
    [
        ("1.1 200", "Content-Length: 5", "GET", 5),
        ("1.1 200", "Content-Length: 5, 5", "GET", 5),
        ("1.1 200", "", "GET", "close"),
        ("1.1 200", "Transfer-Encoding: chunked\r\nContent-Length: 5", "GET", "chunked"),
        ("1.1 200", "Transfer-Encoding: gzip, Chunked", "GET", "chunked"),
        ("1.1 200", "Transfer-Encoding: gzip", "GET", "close"),
        ("1.0 200", "Transfer-Encoding: chunked", "GET", "close"),
        ("1.1 200", "Transfer-Encoding: \x0bchunked", "GET", "close"),
        ("1.1 200", "Transfer-Encoding:\r\n \x1cchunked", "GET", "close"),
        ("1.1 200", "Content-Length: 5", "HEAD", 0),
        ("1.1 204", "Content-Length: 5", "GET", 0),
        ("1.1 304", "Content-Length: 5", "GET", 0),
        ("1.1 103", "Content-Length: 5", "GET", 0),
        ("1.1 200", "Content-Length: 5", "CONNECT", "close"),
        ("1.1 407", "Content-Length: 5", "CONNECT", 5),
    ],
)
def test_6_3_how_the_body_of_a_response_ends(status: str, fields: str, method: str, length: int | str) -> None:
    head = read_response(f"HTTP/{status} X\r\n{fields}{chr(13) + chr(10) if fields else ''}\r\n".encode())
    assert body_length(head, method) == length


@pytest.mark.parametrize(
    ("fields", "length"), [("", 0), ("Content-Length: 5\r\n", 5), ("Transfer-Encoding: chunked\r\n", "chunked")]
)
def test_6_3_how_the_body_of_a_request_ends(fields: str, length: int | str) -> None:
    assert body_length(read_request(f"POST / HTTP/1.1\r\n{fields}\r\n".encode())) == length


@pytest.mark.parametrize(
    "fields",
    [
        "Content-Length: 5, 6",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: \x0b5",
        "Content-Length: 5,\x0c5",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: gzip,\x1fchunked",
    ],
)
def test_6_3_a_request_whose_body_ends_nowhere(fields: str) -> None:
    with pytest.raises(WireError, match=r"section 6\.3"):
        body_length(read_request(f"POST / HTTP/1.1\r\n{fields}\r\n\r\n".encode()))
