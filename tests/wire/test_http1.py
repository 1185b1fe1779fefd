"""Heads of HTTP/1.x, and how the body behind each ends (RFC 9112)."""

from __future__ import annotations

import pytest

from labkit.errors import WireError
from labkit.wire.http1 import MAX_HEAD_BYTES, body_length, head_end, read_request, read_response


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
    "fields", ["Content-Length: 5, 6", "Content-Length: -5", "Content-Length: 0x5", "Transfer-Encoding: gzip"]
)
def test_6_3_a_request_whose_body_ends_nowhere(fields: str) -> None:
    with pytest.raises(WireError, match=r"section 6\.3"):
        body_length(read_request(f"POST / HTTP/1.1\r\n{fields}\r\n\r\n".encode()))
