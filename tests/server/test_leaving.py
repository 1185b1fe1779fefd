"""A client that leaves at the worst moment is noticed all the same."""

from __future__ import annotations

import socket
import struct

import pytest

import labkit
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
