"""Where a server sends a request on to: followed within one origin, said otherwise (RFC 9110 section 15.4)."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from conftest import UNIT
from labkit.client import address
from labkit.client.redirects import MOST, leading_on
from labkit.errors import Refused
from labkit.measuring.listening import listen
from labkit.subscribing.contract.receiver import check_marks
from wait import TIMEOUT_S, serving

HERE = address.split("http://host/a/b?q")
NEWS = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnews"


def led(location: str, *before: str, status: int = 302) -> str | None:
    there = leading_on(status, {"location": location}, [*(HERE.led_to(each) for each in before), HERE])
    return None if there is None else str(there)


def test_it_is_followed_within_one_origin() -> None:
    for status in (301, 302, 303, 307, 308):
        assert led("/x", status=status) == "http://host/x"
    assert led("HTTP://HOST:80/c\u00c3\u00bc") == "http://host/c%C3%BC", "UTF-8 in bytes (RFC 9110 section 10.2.2)"
    assert led("/x", status=200) is None and led("/x", status=304) is None
    assert leading_on(302, {}, [HERE]) is None


@pytest.mark.parametrize(
    ("location", "before", "words"),
    [
        ("https://host/a/b", (), "leads on to https://host/a/b, which is another server: give that address"),
        ("//other/", (), "leads on to http://other/, which is another server"),
        ("http://host:8080/", (), "another server"),
        ("ftp://host/", (), "leads on to 'ftp://host/': .* is not spoken here"),
        ("", (), "leads in a circle: http://host/a/b.q, http://host/a/b.q"),
        ("/x", ("/x", "/y"), "leads in a circle: http://host/x, http://host/y, http://host/a/b.q, http://host/x"),
        ("/x", tuple(f"/{n}" for n in range(MOST)), "after 5 others in a row"),
    ],
)
def test_what_is_not_followed_is_said_with_where_it_leads(location: str, before: tuple[str, ...], words: str) -> None:
    with pytest.raises(Refused, match=words) as caught:
        led(location, *before)
    assert caught.value.status == 302


def redirecting(asked: list[bytes], *locations: str, status: int = 302) -> Callable[[socket.socket], None]:
    """One answer for each location, on one connection, then the news to every request."""

    def script(sock: socket.socket) -> None:
        data = b""
        while more := sock.recv(4096):
            data += more
            while b"\r\n\r\n" in data:
                head, _, data = data.partition(b"\r\n\r\n")
                asked.append(head)
                if len(asked) <= len(locations):
                    where = f"HTTP/1.1 {status} Found\r\nLocation: {locations[len(asked) - 1]}\r\n"
                    sock.sendall(where.encode() + b"Content-Length: 6\r\n\r\nmoved\n")
                else:
                    sock.sendall(NEWS)

    return script


def targets(asked: list[bytes]) -> list[str]:
    return [head.split(b" ", 2)[1].decode() for head in asked]


def test_a_client_follows_on_the_same_connection_and_begins_anew_with_the_next_poll() -> None:
    asked: list[bytes] = []
    with serving(redirecting(asked, "/one", "two?x=1")) as url:
        run = listen(f"{url}at?k=v", "polling", seconds=0.5 * UNIT, progress=False, interval_s=0.2 * UNIT)
    assert targets(asked)[:4] == ["/at?k=v", "/one", "/two?x=1", "/at?k=v"]
    assert run.deliveries["data" if "data" in run.deliveries else "event_id"].size and not run.failures
    (record,) = run.ledger.connections
    check_marks(record)


def test_a_pipelining_client_follows_on_a_new_connection() -> None:
    """Two requests are under way at once, so what is answered depends on the target, not on the order of coming."""
    asked: list[bytes] = []

    def script(sock: socket.socket) -> None:
        data = b""
        while more := sock.recv(4096):
            data += more
            while b"\r\n\r\n" in data:
                head, _, data = data.partition(b"\r\n\r\n")
                asked.append(head)
                moved = b"HTTP/1.1 302 Found\r\nLocation: /one\r\nContent-Length: 6\r\n\r\nmoved\n"
                sock.sendall(moved if head.startswith(b"GET /at") else NEWS)

    with serving(script) as url:
        run = listen(f"{url}at", "long-polling", seconds=UNIT, progress=False, pipelined=True)
    assert "/one" in targets(asked) and len(run.deliveries) >= 1


@pytest.mark.parametrize("technique", ["polling", "sse", "http-streaming", "websocket"])
def test_a_client_that_is_led_to_another_server_says_where(technique: str) -> None:
    asked: list[bytes] = []
    with serving(redirecting(asked, "http://other.example/x")) as url:
        run = listen(url, technique, seconds=TIMEOUT_S, progress=False)
    assert "http://other.example/x" in run.failures[technique] and len(asked) == 1


def test_a_websocket_is_led_nowhere() -> None:
    asked: list[bytes] = []
    with serving(redirecting(asked, "/x")) as url:
        run = listen(url, "websocket", seconds=TIMEOUT_S, progress=False)
    assert "no WebSocket client of a browser follows" in run.failures["websocket"] and len(asked) == 1


def test_what_is_posted_is_not_posted_again(monkeypatch: Any) -> None:
    from labkit.techniques.exhibits import BAYEUX

    asked: list[bytes] = []
    with serving(redirecting(asked, "/x", status=308)) as url:
        run = listen(url, BAYEUX, seconds=TIMEOUT_S, progress=False)
    assert "308" in run.failures["bayeux"] and len(asked) == 1
