"""A tunnel through a proxy: what was asked of the proxy lies before what the server says, and every byte is told."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import labkit
from labkit.client.address import split
from labkit.client.http_connection import Response
from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.client.proxy import Proxy, through
from labkit.client.speaking import speaking
from labkit.client.tls import Trust
from labkit.client.wiring import Wiring
from labkit.errors import Refused
from labkit.wire.bodies import AsItComes
from tls import Authority, over_tls
from wait import read_until, serving

BODY = b"hello " * 50
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
OPENED = b"HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n"


def tunnelling(sock: socket.socket) -> None:
    """A proxy that opens a tunnel to wherever it is asked to."""
    head = read_until(sock, b"\r\n\r\n")
    host, _, port = head.split(b" ")[1].decode().partition(":")
    with socket.create_connection((host, int(port)), 10) as far:
        sock.sendall(OPENED)
        back = threading.Thread(target=passing, args=(far, sock))
        back.start()
        passing(sock, far)
        back.join()


def passing(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def answering(sock: socket.socket) -> None:
    read_until(sock, b"\r\n\r\n")
    sock.sendall(ANSWER)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with serving(tunnelling) as url:
        yield Proxy(url)


async def asked(url: str, wiring: Wiring) -> tuple[Response, bytes]:
    address = split(url)
    http = await speaking(address, wiring)
    try:
        await http.request("GET", "/", {"Host": address.authority})
        response = await http.response()
        return response, b"".join([data async for data in http.values(AsItComes())])
    finally:
        http.close()


def marked(record: ConnectionRecord, direction: str) -> list[tuple[int, int, str]]:
    return sorted((mark.start, mark.stop, mark.label) for mark in record.marks if mark.direction == direction)


def is_told_once(record: ConnectionRecord) -> bool:
    """Whether every byte that was carried has one mark."""
    for direction, carried in (("in", record.carried_in), ("out", record.carried_out)):
        at = 0
        for start, stop, _ in marked(record, direction):
            if start != at:
                return False
            at = stop
        if at != carried:
            return False
    return record.bytes_total == sum(record.by_category.values())


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_behind_a_tunnel_every_byte_is_told_where_it_lay(scheme: str, proxy: Proxy, tmp_path: Path) -> None:
    authority, ledger = Authority(tmp_path), Ledger()
    wiring = through(Wiring(ledger, "x", trust=Trust(authority.cafile)), proxy)
    script = over_tls(authority.context(), answering) if scheme == "wss" else answering
    with serving(script) as url:
        response, body = labkit.run(asked(url.replace("http", scheme), wiring))
    (record,) = ledger.connections
    assert response.status == 200 and body == BODY
    assert is_told_once(record)
    assert marked(record, "in")[0][:2] == (0, len(OPENED))
    assert marked(record, "in")[1][0] == len(OPENED) and "200, headers" in marked(record, "in")[1][2]
    assert bool(record.tls_version) is (scheme == "wss") and (scheme == "ws" or record.handshake_bytes)


def test_behind_a_tunnel_http_2_is_told_where_it_lay(proxy: Proxy) -> None:
    pytest.importorskip("h2")
    with labkit.Lab("by proxy", http=(2,), tls=True) as lab:
        ledger = Ledger()
        wiring = through(Wiring(ledger, "x", trust=Trust(lab.cafile), versions=(2,)), proxy)
        response, _ = labkit.run(asked(f"{lab.url.rstrip('/')}/polling?after=0".replace("http://", "https://"), wiring))
    (record,) = ledger.connections
    assert response.http_version == "2" and record.alpn == "h2"
    assert marked(record, "in")[0][:2] == (0, marked(record, "in")[1][0])
    assert is_told_once(record)


@pytest.mark.parametrize(
    "opened",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 299 Odd\r\nX-Long: " + b"y" * 9_000 + b"\r\n\r\n",
    ],
    ids=["a coding", "a length", "a long one in pieces"],
)
def test_what_opens_a_tunnel_has_no_body_whatever_its_fields_say(opened: bytes) -> None:
    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        for start in range(0, len(opened), 1_000):
            sock.sendall(opened[start : start + 1_000])
        answering(sock)

    with serving(script) as url:
        _, body = labkit.run(asked("ws://nobody.test/", through(Wiring(Ledger(), "x"), Proxy(url))))
    assert body == BODY


def test_in_clear_text_the_proxy_itself_is_asked() -> None:
    with serving(answering) as url:
        proxy = Proxy(url.replace("//", "//me:hidden@"))
        _, body = labkit.run(asked("http://nobody.test/", through(Wiring(Ledger(), "x"), proxy)))
    assert body == BODY and str(proxy) == url.rstrip("/") and "hidden" not in repr(vars(proxy))
    assert proxy.fields == {"Proxy-Authorization": "Basic bWU6aGlkZGVu"}


def test_without_a_proxy_nothing_is_changed() -> None:
    wiring = Wiring(Ledger(), "x")
    assert through(wiring, None) is wiring


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("https://[fe80::1%eth0]/", b"[fe80::1]:443"),
        ("ws://[::1]:8000/", b"[::1]:8000"),
        ("wss://b\u00fccher.example", b"xn--bcher-kva.example:443"),
    ],
)
def test_a_tunnel_is_asked_for_with_a_port_and_without_a_zone(url: str, where: bytes) -> None:
    asked_for: list[bytes] = []

    def refuses(sock: socket.socket) -> None:
        asked_for.append(read_until(sock, b"\r\n\r\n"))
        sock.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")

    with serving(refuses) as place, pytest.raises(Refused, match="opens no tunnel"):
        labkit.run(asked(url, through(Wiring(Ledger(), "x"), Proxy(place))))
    assert asked_for[0].startswith(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n" % (where, where))
