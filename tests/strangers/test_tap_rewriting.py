"""What the tap makes of heads: byte for byte, cut anywhere."""

from __future__ import annotations

import pytest

from labkit.client.address import split
from labkit.strangers.tap.rewriting import Rewriter

HERE, THERE = split("http://127.0.0.1:8400"), split("https://api.example.org")
ASKED = (
    b"POST /a?b=c HTTP/1.1\r\nhost:localhost:8400\r\nX-Odd:  Host: 127.0.0.1:8400\r\nOrigin: http://localhost:8400\r\n"
    b"Referer: http://127.0.0.1:8400/page?q\r\nContent-Length: 6\r\n\r\nHost:\n"
    b"GET /next HTTP/1.1\r\nHost: 127.0.0.1:8400\r\nOrigin: https://elsewhere.test\r\n\r\n"
)
FORWARDED = (
    b"POST /a?b=c HTTP/1.1\r\nhost:api.example.org\r\nX-Odd:  Host: 127.0.0.1:8400\r\nOrigin: https://api.example.org\r\n"
    b"Referer: https://api.example.org/page?q\r\nContent-Length: 6\r\n\r\nHost:\n"
    b"GET /next HTTP/1.1\r\nHost: api.example.org\r\nOrigin: https://elsewhere.test\r\n\r\n"
)
ANSWERED = (
    b"HTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/1.1 303 See Other\r\nLocation: https://api.example.org/x\r\n"
    b"Set-Cookie: a=b; Domain=example.org; Path=/; Secure; HttpOnly\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n0\r\n\r\n"
    b"HTTP/1.1 302 Found\r\nLocation: https://api.example.org.evil.test/\r\nContent-Length: 2\r\n\r\nLo"
)
BROUGHT_BACK = (
    b"HTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/1.1 303 See Other\r\nLocation: http://127.0.0.1:8400/x\r\n"
    b"Set-Cookie: a=b; Path=/; HttpOnly\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n0\r\n\r\n"
    b"HTTP/1.1 302 Found\r\nLocation: https://api.example.org.evil.test/\r\nContent-Length: 2\r\n\r\nLo"
)


@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
def test_heads_name_the_target_and_back_the_tap_however_they_are_cut(size: int) -> None:
    rewriter = Rewriter(HERE, THERE)
    out = b"".join(rewriter.out.feed(ASKED[at : at + size]) for at in range(0, len(ASKED), size))
    back = b"".join(rewriter.back.feed(ANSWERED[at : at + size]) for at in range(0, len(ANSWERED), size))
    assert (out, back) == (FORWARDED, BROUGHT_BACK)


def test_a_body_passes_at_once_with_nothing_held_of_it() -> None:
    rewriter = Rewriter(HERE, THERE)
    rewriter.out.feed(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    rewriter.back.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in (b"5", b"\r", b"\nda", b"ta", b":\r\n"):
        assert rewriter.back.feed(piece) == piece


@pytest.mark.parametrize(
    "raw", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0", b"\x16\x03\x01 not HTTP \r\n\r\n\n\n Host: a"], ids=["h2", "tls"]
)
def test_what_is_no_http1_passes_as_it_is(raw: bytes) -> None:
    rewriter = Rewriter(HERE, THERE)
    assert rewriter.out.feed(raw) + rewriter.out.feed(b"Host: b\r\n\r\n") == raw + b"Host: b\r\n\r\n"


def test_after_a_change_of_protocol_nothing_is_read() -> None:
    rewriter = Rewriter(HERE, THERE)
    rewriter.out.feed(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n")
    rewriter.back.feed(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
    frames = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    assert rewriter.out.feed(frames) == rewriter.back.feed(frames) == frames


def test_an_interim_answer_is_none_to_its_request() -> None:
    """RFC 9112 section 6.3: whether a body follows is known by the method that the final answer is to."""
    rewriter = Rewriter(HERE, THERE)
    rewriter.out.feed(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\nHEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    answers = (
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nLocation: %b\r\n\r\n"
    )
    assert rewriter.back.feed(answers % b"https://api.example.org/") == answers % b"http://127.0.0.1:8400/"


def test_half_a_head_is_let_go_at_the_end() -> None:
    rewriter = Rewriter(HERE, THERE)
    assert rewriter.back.feed(b"HTTP/1.1 200 OK\r\nServ") == b""
    assert rewriter.back.rest() == b"HTTP/1.1 200 OK\r\nServ"
