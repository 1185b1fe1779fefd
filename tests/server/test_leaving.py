"""A client that leaves at the worst moment is noticed all the same."""

from __future__ import annotations

import socket
import struct
from typing import Any

import pytest

import labkit
from labkit.server.http1_requests import Exchange
from labkit.wire.http2 import PREFACE
from wait import until

REQUEST = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.mark.parametrize("target", [b"/long-polling?timeout=600", b"/sse", b"/http-streaming"])
@pytest.mark.parametrize("reset", [True, False], ids=["reset", "fin"])
def test_who_asks_and_leaves_in_the_same_breath_leaves_nothing_parked(target: bytes, reset: bool) -> None:
    """The end may be read together with the request, before there is anything to tell of it."""
    with labkit.Lab("leaving") as lab:
        for _ in range(100):
            with socket.create_connection(("127.0.0.1", lab.port)) as client:
                if reset:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.sendall(REQUEST % target)
        until(lambda: lab.stats()["connections"] == lab.stats()["subscribers"] == 0, "all of them are forgotten")


@pytest.mark.parametrize(
    ("versions", "sent"),
    [((1, 2), PREFACE), ((2,), REQUEST % b"/")],
    ids=["http2", "http1 where it is not spoken"],
)
def test_a_connection_that_ends_once_its_version_is_told_is_no_error(
    monkeypatch: pytest.MonkeyPatch, versions: tuple[int, ...], sent: bytes
) -> None:
    """The lab, or a peer, may end it between the bytes that tell the version and the answer; a log record fails it."""
    read, told = Exchange.read_response, []

    async def read_and_be_closed(self: Exchange, *args: Any) -> bool:
        try:
            return await read(self, *args)
        finally:
            told.append(self)
            self.stream.close()

    monkeypatch.setattr(Exchange, "read_response", read_and_be_closed)
    with labkit.Lab("leaving", http=versions) as lab, socket.create_connection(("127.0.0.1", lab.port)) as client:
        client.sendall(sent)
        assert client.recv(1) == b""
        assert told
        until(lambda: lab.stats()["connections"] == 0, "it is forgotten")
