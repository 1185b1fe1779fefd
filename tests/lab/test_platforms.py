"""What differs on Windows and macOS, emulated: a loop without readers, limits on descriptors and sockets."""

from __future__ import annotations

import asyncio
import selectors
import sys
import types

import pytest

from conftest import UNIT
from labkit.lab import listening
from labkit.lab.server import Server
from labkit.server import http1
from wait import dial, read_all

INFINITY = 1 << 62


class WithoutReaders(asyncio.SelectorEventLoop):
    """What Windows' default loop says of these calls."""

    def add_reader(self, *_: object) -> None:
        raise NotImplementedError

    remove_reader = add_writer = remove_writer = add_reader  # type: ignore[assignment]


def test_on_a_loop_without_readers_a_large_post_is_refused_and_nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "ProactorEventLoop", WithoutReaders, raising=False)  # so Tornado has its own thread
    monkeypatch.setattr(http1, "LINGER_S", 0.2 * UNIT)
    sent = b"POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 1000

    def ask(port: int) -> bytes:
        with dial(port, sent) as sock:
            return read_all(sock)

    async def main() -> None:
        server = Server()
        server.start()
        try:
            assert (await asyncio.to_thread(ask, server.ports["http"])).startswith(b"HTTP/1.1 413 ")
            async with asyncio.timeout(10 * UNIT):
                while server.connections:  # noqa: ASYNC110  no event
                    await asyncio.sleep(0.01)
        finally:
            await server.close()

    loop = WithoutReaders()
    try:
        loop.run_until_complete(main())
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())  # which ends Tornado's thread
        loop.close()


@pytest.mark.parametrize(
    ("soft", "hard", "allowed", "wanted"),
    [
        (1024, 20_000, 20_000, 20_000),
        (256, INFINITY, 10_240, 10_240),  # macOS
        (256, INFINITY, 300, 256),  # it does not let itself be raised
        (INFINITY, INFINITY, INFINITY, listening.MAX_CONNECTIONS),
        (256, 256, 256, 0),
    ],
)
def test_the_descriptor_limit_is_raised_as_far_as_it_goes(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, allowed: int, wanted: int
) -> None:
    def set_limit(_: int, limits: tuple[int, int]) -> None:
        if limits[0] > allowed:
            raise ValueError("not that high")

    fake = types.SimpleNamespace(
        RLIM_INFINITY=INFINITY, RLIMIT_NOFILE=7, getrlimit=lambda _: (soft, hard), setrlimit=set_limit
    )
    monkeypatch.setitem(sys.modules, "resource", fake)
    assert listening.available_connections() == max(64, wanted - listening.SPARE_DESCRIPTORS)


def test_on_windows_there_are_no_more_connections_than_select_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(selectors, "DefaultSelector", selectors.SelectSelector)
    assert listening.available_connections() == 512 - listening.SPARE_DESCRIPTORS
