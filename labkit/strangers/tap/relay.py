"""The tap's relay: a :class:`labkit.network.link.Link` with the server's TLS, rewritten heads and a log beside it.

It listens on 127.0.0.1 alone, over HTTP in clear text; what it passes on is delayed by the link's settings and by
nothing else.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Sequence
from typing import Any, cast

from labkit.client.address import Address
from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.client.tls import SYSTEM, TLS, Trust
from labkit.errors import LabkitError, TLSFailed
from labkit.network.link import Link
from labkit.network.observer import Observer
from labkit.network.relay import Conversation
from labkit.network.relay_target import HOST, SockAddr
from labkit.network.relay_wire import Wire
from labkit.strangers.tap.far import Far, handshake
from labkit.strangers.tap.forward import Forward, told
from labkit.strangers.tap.log import Log
from labkit.strangers.tap.reading import Reader
from labkit.strangers.tap.rewriting import Rewriter
from labkit.wire.events import now_ns

MOST_HELD_BYTES = 256 << 20
"""Of all connections' bytes; those opened beyond it are counted, and their bytes let go."""

IN_FLIGHT_BYTES = 1 << 16


class TapRelay(Link):
    """Listens in front of one address.

    Args:
        to: the address of the server; None: whichever a client names, to whom it is an HTTP proxy.
        log: told what happens.
        port: to listen on; 0: a free one.
        trust: whom to believe to be the server, over TLS.
        as_sent: leave the heads as they were sent.
        link: delay, jitter and rate, as of a link.
    """

    def __init__(
        self,
        to: Address | None,
        log: Log,
        *,
        port: int = 0,
        trust: Trust = SYSTEM,
        as_sent: bool = False,
        ledger: Ledger | None = None,
        **link: Any,
    ) -> None:
        target = None if to is None else (to.host, to.port)
        super().__init__(target, ledger=ledger, name="tap", mss=None, **link)
        self.to = to
        self.trust = trust
        self.as_sent = as_sent
        self._log = log
        self._port = port
        self._numbers = itertools.count(1)
        self._talks: dict[int, TapConversation] = {}

    def _targets(self) -> dict[str, list[SockAddr]]:
        return {"http": []} if self.to is None else super()._targets()

    @property
    def here(self) -> Address:
        """The address that it listens on."""
        return Address("http", HOST, self.ports["http"])

    @property
    def in_flight_bytes(self) -> int:
        """As of a link; without a delay little, so that a client that does not read is felt by the server."""
        return super().in_flight_bytes if self.one_way_s or self.jitter_s else IN_FLIGHT_BYTES

    def number(self) -> int:
        """The next exchange's."""
        return next(self._numbers)

    def _bind(self, sock: socket.socket) -> None:
        if self._port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, self._port))
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or "ports end at 65535"
            raise LabkitError(f"port {self._port} cannot be listened on: {why}; name another") from error

    def _observer(self, record: ConnectionRecord) -> Observer:
        if sum(one.held_bytes for one in self.ledger.connections[-1000:]) > MOST_HELD_BYTES:
            record.keep_bytes = 0
        number = record.subscriber
        self._log.put("opened", record.opened_ns, c=number, client="{}:{}".format(*record.remote))
        return Reader(record, self._log, number, self.number, lambda: self._how(number, record))

    def _talk(self, near: Wire, number: int, found: Sequence[SockAddr]) -> Conversation:
        talk = self._talks[number] = TapConversation(self, near, number, found)
        return talk

    def _end(self) -> list[asyncio.Task[None]]:
        """End in one turn of the loop: what passed before it is put down, and nothing passes after it."""
        wires = [wire for talk in self._open for wire in talk.wires]
        self.catch_up()
        self._log.stop(now_ns())
        tasks = super()._end()
        for wire in wires:  # their tasks may have one turn more before they know
            wire.close()
        return tasks

    def _how(self, number: int, record: ConnectionRecord) -> str:
        """Who ended a connection: whose FIN or RST came first."""
        talk = self._talks.pop(number, None)
        how = record.closed_by or "relay"
        if talk is not None and how == "reset":
            how = "client reset" if talk.near.lost else "server reset" if talk.far_lost else talk.refused or "relay"
        return how

    def said(self, text: str) -> None:
        """Put down what concerns no exchange."""
        self._log.put("note", now_ns(), text=text)


class TapConversation(Conversation):
    """One accepted connection of a tap."""

    def __init__(self, relay: TapRelay, near: Wire, number: int, found: Sequence[SockAddr]) -> None:
        super().__init__(relay, near, number, found)
        self._tap = relay
        self.refused = ""
        """What the server did instead of answering; empty if it was reached."""

    @property
    def far_lost(self) -> bool:
        return any(wire.lost for wire in self.wires if wire is not self.near)

    async def _reach(self, host: str, port: int) -> Wire:
        """Connect to a server that the client has named."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        self._addresses = [(family, sockaddr) for family, _, _, _, sockaddr in found]
        wire = await super().dial()
        wire.record.keep_bytes = 0
        return wire

    async def dial(self) -> Wire:
        tap = self._tap
        if tap.to is None:
            return cast(Wire, Forward(self._reach))
        try:
            wire = await super().dial()
        except OSError as error:
            self.refused = "not reached"
            tap.said(f"{tap.to.host}:{tap.to.port} cannot be reached: {told(error)}")
            raise
        wire.record.keep_bytes = 0  # the near side's are kept
        tls = TLS(tap.to.host, tap.trust) if tap.to.is_secure else None
        if tls is not None:
            try:
                await handshake(wire, tls)
            except TLSFailed as error:
                self.refused = "no TLS"
                tap.said(str(error))
                raise ConnectionResetError(str(error)) from error
        rewriter = None if tap.as_sent else Rewriter(tap.here, tap.to)
        return cast(Wire, Far(wire, rewriter, tls))  # it stands in a wire's place
