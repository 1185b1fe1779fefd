"""HTTP/2 connections that several clients share: one to each server, and further ones when it takes no more streams."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from labkit.client.address import Address
from labkit.client.speaking import agreed_on_http2
from labkit.client.wiring import Wiring
from labkit.errors import ConnectionLost

if TYPE_CHECKING:
    from labkit.client.http2_connection import HTTP2Connection
    from labkit.client.http2_exchanges import HTTP2Exchanges


class SharedConnections:
    """Given to several clients, it makes them share. Belongs to the lab loop.

    A connection is as its first client has it wired: whom it believes, and whose technique its bytes are put down as.
    Its record is in the ledger of each client, marked as shared; what a stream carried is told by its exchange. The
    last client that leaves ends it.
    """

    def __init__(self) -> None:
        self._users: dict[HTTP2Connection, int] = {}
        self._origins: dict[HTTP2Connection, Any] = {}
        self._connecting: dict[Any, asyncio.Lock] = {}

    async def exchanges(self, address: Address, wiring: Wiring) -> HTTP2Exchanges:
        """What a client has of a connection to that server. Raises as ``speaking.speaking`` does."""
        from labkit.client.http2_exchanges import HTTP2Exchanges

        async with self._connecting.setdefault(address.origin, asyncio.Lock()):
            http2 = await self._with_room(address, wiring)
            if http2 is None:
                http2 = await agreed_on_http2(address, wiring)
                http2.record.shared = True
                self._origins[http2] = address.origin
            self._users[http2] = self._users.get(http2, 0) + 1
        if all(record is not http2.record for record in wiring.ledger.connections):
            wiring.ledger.connections.append(http2.record)
        scheme = "https" if address.is_secure else "http"
        return HTTP2Exchanges(http2, scheme, lambda: self._left(http2), wiring)

    async def _with_room(self, address: Address, wiring: Wiring) -> HTTP2Connection | None:
        """A connection to there that takes another client; each has one stream at a time, begun or not.

        How many those may be is known when the server has said its settings: until then nobody is added.
        """
        for http2 in [one for one, there in self._origins.items() if there == address.origin]:
            with suppress(ConnectionLost):
                await http2.connection.in_time(http2.settled.wait(), wiring.answer_s)
                if http2.has_room and self._users.get(http2, 0) < http2.most_streams:
                    return http2
        return None

    def _left(self, http2: HTTP2Connection) -> None:
        self._users[http2] -= 1
        if not self._users[http2]:
            del self._users[http2], self._origins[http2]
            http2.close()
