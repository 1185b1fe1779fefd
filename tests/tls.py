"""A throw-away authority, and a relay that speaks TLS on its near side and plain TCP on its far side."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import pathlib
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labkit import loop

trustme = pytest.importorskip("trustme", reason="trustme is not installed (pip install 'labkit[test]')")


class Authority:
    """Issues certificates, and is believed where ``cafile`` is."""

    def __init__(self, folder: pathlib.Path, name: str | None = None) -> None:
        self._ca = trustme.CA(organization_name=name)
        self.cafile = str(folder / "ca.pem")
        self._ca.cert_pem.write_to_path(self.cafile)

    def context(self, *names: str, expired: bool = False, alpn: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
        """A server's, with a certificate for these names."""
        ended = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC) if expired else None
        issued = self._ca.issue_cert(*(names or ("127.0.0.1", "localhost")), not_after=ended)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(context)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context


def over_tls(
    context: ssl.SSLContext, script: Callable[[Any], None], *, end: str = "close_notify"
) -> Callable[..., None]:
    """A connection's script that shakes hands first.

    Args:
        end: ``close_notify``, or ``cut``: without one.
    """

    def shaken(sock: socket.socket) -> None:
        with contextlib.suppress(ssl.SSLError, OSError):
            with context.wrap_socket(sock, server_side=True) as secured:
                script(secured)
                if end == "close_notify":
                    secured.unwrap()

    return shaken


@contextlib.contextmanager
def terminating(context: ssl.SSLContext, port: int) -> Iterator[int]:
    """A TLS front to a plain port of this machine, on the lab loop; its own port."""
    relaying: set[asyncio.Task[Any]] = set()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relaying.add(asyncio.current_task())  # type: ignore[arg-type]
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
        for each in (writer, far_writer):
            with contextlib.suppress(OSError):
                await each.wait_closed()

    async def end() -> None:
        server.close()
        for task in relaying:
            task.cancel()
        await asyncio.gather(*relaying, return_exceptions=True)

    server = loop.run(asyncio.start_server(relay, "127.0.0.1", 0, ssl=context))
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.run(end())
