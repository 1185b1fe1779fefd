"""Which of a name's addresses is connected to, and for how long that is tried (RFC 8305)."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

import pytest

from conftest import UNIT
from labkit import loop
from labkit.client import connecting
from labkit.client.connecting import connect
from labkit.errors import ConnectionLost
from labkit.measuring.listening import listen
from wait import read_until, serving

NAME = "two.example"


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have NAME and localhost resolve to these hosts, in this order."""
    real = socket.getaddrinfo

    def to(*hosts: str) -> None:
        def getaddrinfo(
            host: str, port: int, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
        ) -> list[Any]:
            if host not in (NAME, "localhost"):
                return real(host, port, family, type, proto, flags)
            if flags & socket.AI_NUMERICHOST:
                raise socket.gaierror(socket.EAI_NONAME, "no number")
            return [found for each in hosts for found in real(each, port, family, type, proto, flags)]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return to


def connected(port: int, timeout_s: float = connecting.CONNECT_TIMEOUT_S) -> str:
    """The address that NAME was connected to."""

    async def work() -> str:
        sock = await connect(NAME, port, None, timeout_s)
        with sock:
            return str(sock.getpeername()[0])

    return loop.run(work())


@pytest.mark.parametrize("technique", ["sse", "polling"])
def test_where_the_first_address_of_localhost_refuses_the_second_is_tried(technique: str, resolved: Any) -> None:
    def script(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        kind = b"text/event-stream" if technique == "sse" else b"text/plain"
        sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: " + kind + b"\r\n\r\ndata: x\n\n")

    with serving(script) as url:
        resolved("127.0.0.2", "127.0.0.1")
        run = listen(url.replace("127.0.0.1", "localhost"), technique, seconds=0.5 * UNIT, progress=False)
    assert len(run.deliveries) >= 1


def test_an_address_that_says_nothing_does_not_keep_the_next_waiting(
    resolved: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = connecting._attempt
    given_up: list[str] = []

    async def slow(place: Any, mss: int | None) -> socket.socket:
        if place[3][0] == "127.0.0.2":
            try:
                await asyncio.sleep(60)
            finally:
                given_up.append(place[3][0])
        return await attempt(place, mss)

    monkeypatch.setattr(connecting, "_attempt", slow)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        resolved("127.0.0.2", "127.0.0.1")
        began_s = time.monotonic()
        assert connected(listener.getsockname()[1]) == "127.0.0.1"
        assert connecting.ATTEMPT_DELAY_S <= time.monotonic() - began_s < 30
    assert given_up == ["127.0.0.2"]


def test_where_every_address_refuses_each_is_named_once(resolved: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    resolved("127.0.0.2", "127.0.0.1", "127.0.0.2")
    with pytest.raises(ConnectionLost, match=f"no connection to {NAME}:{port}") as caught:
        connected(port)
    assert str(caught.value).count("127.0.0.2") == str(caught.value).count("127.0.0.1") == 1


def test_a_number_of_either_family_is_connected_to_and_named_in_host() -> None:
    asked: list[bytes] = []

    def answer(listener: socket.socket) -> None:
        with listener.accept()[0] as sock:
            asked.append(read_until(sock, b"\r\n\r\n"))
            sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nnews")

    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    with listener:
        answering = threading.Thread(target=answer, args=(listener,))
        answering.start()
        port = listener.getsockname()[1]
        run = listen(f"http://[0::1]:{port}/x", "polling", seconds=0.3 * UNIT, progress=False)
        answering.join()
    assert run.deliveries["event_id"].tolist()[:1] == [1] and f"Host: [::1]:{port}\r\n".encode() in asked[0]


def test_families_take_turns(resolved: Any) -> None:
    resolved("::1", "::2", "127.0.0.1", "127.0.0.2")
    places = loop.run(connecting._resolve(NAME, 80))
    assert [place[3][0] for place in places] == ["::1", "127.0.0.1", "::2", "127.0.0.2"]


def test_a_name_that_no_resolver_knows_and_one_that_is_none_are_told() -> None:
    for host in ("nowhere.invalid", "a" * 64 + ".example"):
        with pytest.raises(ConnectionLost, match=f"no address for {host}"):
            loop.run(connect(host, 80, None))


def test_connecting_takes_no_longer_than_it_may(resolved: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(place: Any, mss: int | None) -> socket.socket:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(connecting, "_attempt", never)
    for hosts in (("127.0.0.1",), ("127.0.0.1", "127.0.0.2")):
        resolved(*hosts)
        with pytest.raises(ConnectionLost, match=r"not within 0\.05 s"):
            connected(80, 0.05)
