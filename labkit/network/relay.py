"""What every relay shares: listening ports in front of a target, captures, and faults on command.

A relay opens one listening port for each port of its target, so that a client needs only another port number.
What it does with a connection is its own affair: :class:`labkit.network.link.Link` delays bytes, an intermediary reads
HTTP. Both get a :class:`Conversation` with the accepted :class:`Wire` and a way to dial the target; whatever
they read and write through these is in the ledger, and faults reach it. What went to and from the client is also
dissected there, after it was passed on.

Everything here runs on the lab loop. It is raw TCP over IPv4 on the near side: no TLS, no datagrams.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Self

from labkit import loop as lab_loop
from labkit.client.connection import own_addresses
from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.network.between import Between, led_through
from labkit.network.observer import Observer
from labkit.network.relay_target import HOST, SockAddr, Target, addresses, resolve
from labkit.network.relay_wire import Flow, Wire
from labkit.sockets import MSS, RESET, send_at_once, set_mss
from labkit.techniques import TECHNIQUES, Technique
from labkit.wire.events import now_ns


class Conversation:
    """One accepted connection and those dialled for it.

    Attributes:
        near: the wire to the client.
        number: counts the relay's connections from 0; both records carry it as their ``subscriber``.
        accepted_s: when it was accepted, on the relay's :class:`Flow`.
    """

    def __init__(self, relay: Relay, near: Wire, number: int, addresses: Sequence[SockAddr]) -> None:
        self.near = near
        self.number = number
        self.accepted_s = relay.flow.now()
        self.wires = [near]
        self._relay = relay
        self._addresses = addresses

    async def dial(self) -> Wire:
        """Open a connection to the target.

        Raises:
            OSError: the target refuses.
        """
        await self._relay.flow.moving()
        opened_ns, sock = now_ns(), await self._connect()
        record = self._relay.ledger.opened(
            "",
            self.number,
            local=sock.getsockname()[:2],
            remote=sock.getpeername()[:2],
            t_ns=opened_ns,
            hop=f"{self._relay.name}.far",
        )
        record.connected_ns = now_ns()
        own_addresses.add(record.local)
        far = Wire(sock, record, self._relay.flow, near=False)
        self.wires.append(far)
        return far

    async def _connect(self) -> socket.socket:
        refused = OSError("no address")
        for family, address in self._addresses:
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                self._relay.tune(sock)
                await asyncio.get_running_loop().sock_connect(sock, address)
                return sock
            except OSError as error:
                sock.close()
                refused = error
            except BaseException:
                sock.close()
                raise
        raise refused

    def abort(self, by: str = "reset") -> None:
        """Reset every wire."""
        for wire in self.wires:
            wire.abort(by)


class Relay(Between):
    """Listening ports in front of a target. Subclasses say in :meth:`_converse` what a connection goes through.

    ``start``, ``close``, ``cut``, ``stall`` and ``heal`` may be called from any thread and do nothing the
    second time. Works as a context manager, with ``with`` and with ``async with``.

    Args:
        target: a lab, a relay or ``(host, port)``; may be given later, to :meth:`bind`.
        ledger: where the captures go: two records a connection, with the hops ``NAME.near`` (towards the
            client) and ``NAME.far``, its number as ``subscriber`` and no technique, which a relay cannot know.
            ``local`` is the relay's own end: a near record's ``remote`` is the client's ``local``.
        name: what the hops are called.
        mss: TCP_MAXSEG of its sockets where the platform has it; None leaves the platform's.

    Raises:
        ValueError: a segment size that is none.
    """

    def __init__(
        self, target: Target | None = None, *, ledger: Ledger | None = None, name: str = "relay", mss: int | None = MSS
    ) -> None:
        if mss is not None and (isinstance(mss, bool) or not isinstance(mss, Integral) or mss < 1):
            raise ValueError(f"mss must be a whole number of bytes above 0, or None, not {mss!r}")
        self.ledger = Ledger() if ledger is None else ledger
        self.mss = mss
        self.flow = Flow()
        self.skips_own = False
        """Whether it dissects nothing that begins in this process: a client of ours, or a relay before it."""
        self._listeners: dict[str, socket.socket] = {}
        self._addresses: dict[str, list[SockAddr]] = {}
        self._open: dict[Conversation, asyncio.Task[None]] = {}
        self._lingering: dict[asyncio.Task[None], Wire] = {}
        self._accepted = 0
        self._is_cut = False
        super().__init__(target, name)

    async def _converse(self, talk: Conversation) -> None:
        """Relay one connection; both sides are closed when it returns, and reset when it raises OSError."""
        raise NotImplementedError

    @property
    def running(self) -> bool:
        return bool(self._listeners)

    @property
    def ports(self) -> dict[str, int]:
        """Its listening ports, under the names of the target's; empty while it is not running."""
        return {kind: sock.getsockname()[1] for kind, sock in self._listeners.items()}

    def catch_up(self) -> None:
        """Dissect what has passed up to now; otherwise that comes a little later than the bytes. From any thread."""

        def act() -> None:
            for wire in (*(talk.near for talk in self._open), *self._lingering.values()):
                wire.catch_up()

        self._on_loop(act)

    @property
    def connections(self) -> int:
        """How many relayed connections are open now."""
        return len(self._open)

    def start(self) -> Self:
        """Open its ports.

        Raises:
            LabkitError: it has no target, or its target is not running.
            ValueError: the target's host does not resolve.
        """
        if not self.running:
            self._listen()
            self._on_loop(self._begin)
        return self

    def close(self) -> None:
        """Close its ports and every connection. On the lab loop its tasks end with the loop's next turn."""
        if lab_loop.on_lab_loop():
            self._end()
        elif self.running:
            lab_loop.run(self._finish())

    def cut(self, how: str = "reset") -> None:
        """End every connection now, and turn new ones away until :meth:`heal`.

        Bytes in flight are lost. New connections are accepted and reset at once, since a port that is closed
        could be taken by another program.

        Args:
            how: ``reset`` (RST to both ends) or ``fin`` (an ordinary end to both).
        """
        if how not in ("reset", "fin"):
            raise ValueError(f"cut(how={how!r}): how must be 'reset' or 'fin'")
        self._on_loop(lambda: self._cut(how))

    def stall(self) -> None:
        """Let nothing through in either direction, FIN and RST included; new connections hang."""
        self._on_loop(self._stall)

    def heal(self) -> None:
        """Undo :meth:`cut` and :meth:`stall`. What was stalled goes on from where it stood."""
        self._on_loop(self._heal)

    def tune(self, sock: socket.socket) -> None:
        """Set the options of a new socket, before it listens or connects."""
        sock.setblocking(False)
        send_at_once(sock)
        if self.mss is not None:
            set_mss(sock, self.mss)

    def _on_loop(self, act: Callable[[], None]) -> None:
        async def call() -> None:
            act()

        if lab_loop.on_lab_loop():
            act()
        else:
            lab_loop.run(call())

    def _listen(self) -> None:
        targets = self._targets()
        try:
            for kind, found in targets.items():
                self._addresses[kind] = found
                sock = self._listeners[kind] = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                self.tune(sock)
                self._bind(sock)
                sock.listen(1024)
        except BaseException:
            self._close_listeners()
            raise

    def _targets(self) -> dict[str, list[SockAddr]]:
        """Where to dial, by the name of each port that is opened."""
        named = addresses(self._target, self.name, self.kinds)
        return {kind: resolve(address) for kind, address in named.items()}

    def _bind(self, sock: socket.socket) -> None:
        sock.bind((HOST, 0))

    def _observer(self, record: ConnectionRecord) -> Observer:
        """Who reads what goes over a connection on its near side."""
        return Observer(record, techniques_of(self._target), own_addresses if self.skips_own else ())

    def _talk(self, near: Wire, number: int, found: Sequence[SockAddr]) -> Conversation:
        return Conversation(self, near, number, found)

    def _close_listeners(self) -> None:
        for sock in self._listeners.values():
            sock.close()
        self._listeners.clear()

    def _begin(self) -> None:
        _running[id(self)] = self
        self._watch_listeners()

    def _watch_listeners(self) -> None:
        loop = asyncio.get_running_loop()
        for kind, sock in self._listeners.items():
            loop.add_reader(sock, self._accept, kind)

    def _ignore_listeners(self) -> None:
        loop = asyncio.get_running_loop()
        for sock in self._listeners.values():
            loop.remove_reader(sock)

    def _accept(self, kind: str) -> None:
        try:
            sock, peer = self._listeners[kind].accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return
        except OSError:  # out of descriptors: it stays readable, so look again later instead of spinning
            self._ignore_listeners()
            asyncio.get_running_loop().call_later(0.1, self._watch_listeners)
            return
        if self._is_cut:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.close()
            return
        self._take(kind, sock, peer[:2])

    def _take(self, kind: str, sock: socket.socket, peer: tuple[str, int]) -> None:
        self.tune(sock)
        number, self._accepted, t_ns = self._accepted, self._accepted + 1, now_ns()
        record = self.ledger.opened(
            "", number, local=sock.getsockname()[:2], remote=peer, t_ns=t_ns, hop=f"{self.name}.near"
        )
        record.connected_ns = t_ns
        near = Wire(sock, record, self.flow, near=True, observer=self._observer(record))
        talk = self._talk(near, number, self._addresses[kind])
        task = self._open[talk] = asyncio.get_running_loop().create_task(self._serve(talk))
        # not in a finally: a task that is cancelled before its first turn never gets there
        task.add_done_callback(lambda _: self._served(talk))

    async def _serve(self, talk: Conversation) -> None:
        try:
            await self._converse(talk)
        except OSError:
            talk.abort()

    def _served(self, talk: Conversation) -> None:
        self._open.pop(talk, None)
        for wire in talk.wires:
            wire.close()

    def _cut(self, how: str) -> None:
        self._is_cut = True
        self.disturbed += 1
        for talk, task in self._open.items():
            if how == "reset":
                talk.abort("relay")
            else:
                self._let_go(talk, task)
            task.cancel()
        self._open.clear()

    def _let_go(self, talk: Conversation, task: asyncio.Task[None]) -> None:
        wires, talk.wires = talk.wires, []
        for wire in wires:
            wire.finish("relay")
            lingering = asyncio.get_running_loop().create_task(wire.linger(after=task))
            self._lingering[lingering] = wire
            lingering.add_done_callback(self._lingered)

    def _lingered(self, task: asyncio.Task[None]) -> None:
        self._lingering.pop(task).close()

    def _stall(self) -> None:
        self._is_cut = False
        self.disturbed += 1
        self.flow.stop()

    def _heal(self) -> None:
        self.disturbed += self._is_cut or self.flow.stopped
        self._is_cut = False
        self.flow.go()

    def _end(self) -> list[asyncio.Task[None]]:
        self._ignore_listeners()
        self._close_listeners()
        tasks = [*self._open.values(), *self._lingering]
        self._open.clear()
        for task in tasks:
            task.cancel()
        self._heal()
        _running.pop(id(self), None)
        return tasks

    async def _finish(self) -> None:
        await asyncio.gather(*self._end(), return_exceptions=True)

    def __repr__(self) -> str:
        state = f"on {self.ports}, {self.connections} open" if self.running else "not running"
        return f"<{type(self).__name__} {self.name!r} {state}>"


def techniques_of(target: Target | None) -> tuple[Technique, ...]:
    """Those of the lab that this leads to; the kit's own where it is somebody else's server."""
    return tuple(getattr(led_through(target)[1], "techniques", None) or TECHNIQUES)


_running: dict[int, Relay] = {}


def _close_all() -> None:
    for relay in list(_running.values()):
        relay.close()


lab_loop.at_exit(_close_all)
