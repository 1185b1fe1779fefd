"""TLS over a counted connection (RFC 8446): what is on the wire is counted, and what its records carry is read.

Records and what they carry are told apart by ``tls.py``; here they are put down, and an end is one that was announced.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Self

from labkit.client.address import Address
from labkit.client.connection import Connection
from labkit.client.ledger import ConnectionRecord
from labkit.client.tls import ALPN, RECORD_BYTES, TLS
from labkit.client.wiring import Wiring
from labkit.errors import ConnectionLost
from labkit.sockets import READ_BYTES
from labkit.wire.events import now_ns
from labkit.wire.spans import UNREAD, Mark

NO_FAREWELL = "TLS ended without a close_notify"


async def connection_to(address: Address, wiring: Wiring) -> Connection:
    """Connect to where *address* says, as its scheme says. Raises as :meth:`SecureConnection.open` does."""
    kind = SecureConnection if address.is_secure else Connection
    return await kind.open(address.host, address.port, wiring)


class SecureConnection(Connection):
    """One counted connection over TLS."""

    _tls: TLS

    def __init__(self, sock: socket.socket, record: ConnectionRecord, wiring: Wiring) -> None:
        super().__init__(sock, record, wiring)
        self._writing = asyncio.Lock()
        self._opened = b""  # that TLS carried while nobody read

    @classmethod
    async def open(cls, host: str, port: int, wiring: Wiring) -> Self:
        """Connect to *host*:*port*, and shake hands.

        Raises:
            ConnectionLost: nobody listens there, or the answer took too long.
            TLSFailed: a certificate that is not believed, or no TLS that can be agreed on.
        """
        return await cls.over(await Connection.open(host, port, wiring), host, port, wiring)

    @classmethod
    async def over(cls, clear: Connection, host: str, port: int, wiring: Wiring) -> Self:
        """Shake hands with *host*:*port* over a connection in clear text, a tunnel's; it is closed where that fails.

        From here on *clear* is not to be used. Raises as :meth:`open` does.
        """
        self = cls(clear._sock, clear.record, wiring)
        try:
            self._tls = TLS(host, wiring.trust, tuple(ALPN[version] for version in wiring.versions))
        except BaseException:
            clear.close()  # no TLS has begun that would have to end
            raise
        try:
            async with asyncio.timeout(wiring.connect_s):
                await self._shake()
        except TimeoutError:
            self.close()
            raise ConnectionLost(
                f"{host}:{port} did not answer in the TLS handshake within {wiring.connect_s:.3g} s; "
                "a server that speaks plain HTTP may say nothing to it"
            ) from None
        except BaseException:
            self.close()
            raise
        return self

    async def _shake(self) -> None:
        """Shake hands (RFC 8446 section 4)."""
        tls, record = self._tls, self.record
        before = record.bytes_total
        tls.begin()
        await self._flush()
        while not tls.is_open:
            data = await self._received()
            self._opened += self._open(data)
            await self._flush()  # an alert says why not
            if tls.error is not None:
                raise tls.error
            if not data:
                self.close(by="server")
                raise ConnectionLost("the server ended the connection in the TLS handshake")
        record.tls_version, record.alpn, record.handshake_bytes = tls.version, tls.alpn, record.bytes_total - before

    @property
    def issuer(self) -> str:
        return self._tls.issuer

    @property
    def begins_in(self) -> int:
        return self.record.carried_in - len(self._opened)

    async def read(self) -> bytes:
        """The next bytes; empty when the other side has ended the connection.

        Raises:
            ConnectionLost: it was reset, nothing came for too long, or its TLS ended without saying so.
        """
        tls = self._tls
        data, self._opened = self._opened, b""
        while not data:
            if tls.error is not None:
                self.close()
                raise tls.error
            if tls.closed:
                self.close(by="server")
                return b""
            sealed = await self._received()
            data = self._open(sealed)
            await self._flush()
            if not sealed and not tls.closed:
                self.close(by="server")
                raise ConnectionLost(f"cut: {NO_FAREWELL} (RFC 8446 section 6.1)")
        return data

    def _open(self, sealed: bytes) -> bytes:
        """What TLS records carry; counts them."""
        before = self._tls.own_bytes
        data = self._tls.feed(sealed)
        if sealed:
            self.record.transferred("in", data, self.received_ns, len(sealed))
            self.record.sealed(self._tls.own_bytes - before)
        return data

    async def write(self, data: bytes) -> None:
        """Write all of *data*.

        Raises:
            ConnectionLost: the other side is gone, or takes nothing for too long.
        """
        async with self._writing:  # records leave in the order in which they were sealed
            for start in range(0, len(data), RECORD_BYTES):
                piece = data[start : start + RECORD_BYTES]
                await self._send_sealed(self._tls.seal(piece), piece)
            await self._send_own()

    async def _flush(self) -> None:
        """Write what TLS has to say for itself; who writes already does, so that no read ever waits for that."""
        if not self._writing.locked():
            async with self._writing:
                await self._send_own()

    async def _send_own(self) -> None:
        while own := self._tls.outgoing():
            await self._send_sealed(own, b"")

    async def _send_sealed(self, sealed: bytes, carried: bytes) -> None:
        """Write what carries *carried*, which has left when all of it has."""
        size = len(sealed)
        while sealed:
            t_ns, sent = await self._send(sealed)
            self.record.transferred("out", carried if sent == len(sealed) else b"", t_ns, sent)
            sealed = sealed[sent:]
        self.record.sealed(size - len(carried))

    def _is_over(self) -> bool:
        """What has come is read, since an end is announced in a record, and a ticket is none."""
        tls = self._tls
        if tls.closed or tls.error is not None:
            return True
        sealed = self._sock.recv(READ_BYTES)
        self.received_ns = now_ns()
        self._opened += self._open(sealed)
        return not self._opened and (not sealed or tls.closed)

    @property
    def speaks(self) -> bool:
        return bool(self._opened)

    def close(self, by: str = "client") -> None:
        if not self.closed:
            self._end_tls(by)
            super().close(by)

    def _say(self, data: bytes, t_ns: int) -> None:
        sealed = self._tls.seal(data)
        sent = self._sock.send(sealed)
        is_whole = sent == len(sealed)
        self.record.transferred("out", data if is_whole else b"", t_ns, sent)
        self.record.sealed(sent - len(data) if is_whole else 0)

    def _end_tls(self, by: str) -> None:
        """Say that nothing follows, if that can be said at once; and put down what never became a whole record."""
        tls, record = self._tls, self.record
        if by != "reset" and tls.is_open:
            with contextlib.suppress(OSError):
                record.transferred("out", b"", now_ns(), self._sock.send(tls.say_end()))
        record.sealed(record.bytes_total - record.carried_in - record.carried_out - record.by_category["tls"])
        if self._opened:
            at = record.carried_in - len(self._opened)
            record.mark_all([Mark("in", at, record.carried_in, "framing", UNREAD)])
