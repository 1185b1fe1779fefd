"""The far side of a tapped connection: TLS to the server where asked, heads rewritten, bytes at once.

It stands in the place of a :class:`labkit.network.relay_wire.Wire`, whose socket it speaks through.
"""

from __future__ import annotations

import asyncio

from labkit.client.tls import RECORD_BYTES, TLS
from labkit.network.relay_wire import Wire
from labkit.strangers.tap.rewriting import Rewriter


class Far:
    """A wire to the server.

    Args:
        wire: its socket's.
        rewriter: of the heads; None leaves them as they were sent.
        tls: open, where the server is spoken to over TLS.
    """

    def __init__(self, wire: Wire, rewriter: Rewriter | None = None, tls: TLS | None = None) -> None:
        self.wire = wire
        self._rewriter = rewriter
        self._tls = tls
        self._writing = asyncio.Lock()
        self._has_ended = False

    @property
    def blocked(self) -> bool:
        return self.wire.blocked

    @property
    def lost(self) -> bool:
        return self.wire.lost

    def check(self) -> None:
        self.wire.check()

    async def recv(self) -> bytes:
        """The next bytes for the client; empty at the server's end.

        Raises:
            ConnectionResetError: the server has reset the connection, or its TLS failed.
        """
        while not self._has_ended:
            data = await self.wire.recv()
            if data and self._tls is not None:
                ended_before = self._tls.closed
                data = self._tls.feed(data)
                await self._answer()
                if self._tls.error is not None:
                    raise ConnectionResetError(str(self._tls.error)) from self._tls.error
                if self._tls.closed and not ended_before:
                    self._has_ended = True
                elif not data:
                    continue
            self._has_ended = self._has_ended or not data
            if self._rewriter is not None:
                data = self._rewriter.back.feed(data)
                if self._has_ended:
                    data += self._rewriter.back.rest()
            if data:
                return data
        return b""

    async def send(self, data: bytes) -> None:
        """Write what the client sent.

        Raises:
            ConnectionResetError: the server has reset the connection.
        """
        if self._rewriter is not None:
            data = self._rewriter.out.feed(data)
        await self._write(data)

    def finish(self, by: str | None = None) -> None:
        """Send the client's FIN; TLS's own farewell is left out (RFC 8446 section 6.1), as many clients do."""
        self.wire.finish(by)

    async def _write(self, data: bytes) -> None:
        if self._tls is None:
            if data:
                await self.wire.send(data)
            return
        async with self._writing:
            for start in range(0, len(data), RECORD_BYTES):
                await self.wire.send(self._tls.seal(data[start : start + RECORD_BYTES]))

    async def _answer(self) -> None:
        """Write what TLS itself has to say: the answer to a key update (RFC 8446 section 4.6.3)."""
        assert self._tls is not None
        if said := self._tls.outgoing():
            async with self._writing:
                await self.wire.send(said)


async def handshake(wire: Wire, tls: TLS) -> None:
    """Agree on TLS.

    Raises:
        TLSFailed: it could not be; the message says why.
        ConnectionResetError: the server has ended the connection.
    """
    tls.begin()
    while not tls.is_open:
        if said := tls.outgoing():
            await wire.send(said)
        data = await wire.recv()
        if not data:
            raise ConnectionResetError("the server has ended the connection in the TLS handshake")
        tls.feed(data)
        if tls.error is not None:
            raise tls.error
    if said := tls.outgoing():
        await wire.send(said)
