"""An intermediary: a relay that understands HTTP, and does what real proxies do to it (RFC 6202 sections 3.2, 5.5).

It reads each request and each answer with ``h11`` and writes them anew, as a gateway does (RFC 9110 section 7.6): the
fields of a hop stay on their hop, ``Via`` is added, a body that the server ends by closing goes on chunked where the
client knows chunks. After a 101 it passes bytes. A client's connection has one connection of its own to the target,
kept alive as long as both sides allow; pipelined requests go on one at a time; a client that ends its side is taken to
have gone, as by nginx.

Its options are what gets in the way of push: it ends connections on which nothing moves, and puts chunk borders where
it likes. Without any it should not be noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
from numbers import Integral, Real
from typing import Literal, TypeAlias, get_args

import h11

from labkit.client.ledger import Ledger
from labkit.network.hop_fields import forwarded, of_the_message
from labkit.network.relay import Conversation, Relay
from labkit.network.relay_target import Target
from labkit.network.relay_wire import Wire
from labkit.server.http1 import LINGER_S
from labkit.sockets import MSS
from labkit.theory import Stretch

IdleEnd = Literal["fin", "reset", "silent", "504"]
_Event: TypeAlias = h11.Event

_WAITING_BYTES = 1 << 16  # of pipelined requests; more stay in the kernel


class Intermediary(Relay):
    """A gateway between client and lab.

    Args:
        target: a lab, a relay or ``(host, port)``; may be given later, to ``bind``. Only its HTTP port is relayed.
        idle_timeout_s: ends a connection over which no byte has gone for so long, in either direction, WebSocket
            included; None: never.
        idle_end: how: ``fin`` (an ordinary end to both sides), ``reset`` (RST to both), ``silent`` (nothing is said,
            and nothing gets through any more: what a NAT or a firewall does), ``504`` (as ``fin``, but a request that
            has no answer yet is answered by 504 Gateway Timeout first, as by nginx).
        split_bytes: cuts what it hands on of an answer into chunks of at most so many bytes.
        merge_s: holds what it gets of an answer for so long, and hands it on as one chunk.
        ledger: where the captures go, a new one by default.
        name: its hops are called ``NAME.near`` and ``NAME.far``.
        mss: TCP_MAXSEG of its sockets; None leaves the platform's.

    Raises:
        ValueError: an option that means nothing.
    """

    kinds = ("http",)

    def __init__(
        self,
        target: Target | None = None,
        *,
        idle_timeout_s: float | None = None,
        idle_end: IdleEnd = "fin",
        split_bytes: int | None = None,
        merge_s: float | None = None,
        ledger: Ledger | None = None,
        name: str = "intermediary",
        mss: int | None = MSS,
    ) -> None:
        if idle_end not in get_args(IdleEnd):
            raise ValueError(f"idle_end must be one of {', '.join(get_args(IdleEnd))}, not {idle_end!r}")
        super().__init__(target, ledger=ledger, name=name, mss=mss)
        self.idle_timeout_s = _above_0("idle_timeout_s", idle_timeout_s)
        self.idle_end = idle_end
        self.split_bytes = _above_0("split_bytes", split_bytes)
        self.merge_s = _above_0("merge_s", merge_s)
        if split_bytes is not None and not isinstance(split_bytes, Integral):
            raise ValueError(f"split_bytes must be a whole number, not {split_bytes!r}")

    @property
    def stretch(self) -> Stretch:
        obstacle = f"{self.name} holds what it gets of an answer for {self.merge_s:g} s" if self.merge_s else ""
        return Stretch(self.name, gateway=True, idle_timeout_s=self.idle_timeout_s, obstacle=obstacle)

    async def _converse(self, talk: Conversation) -> None:
        session = _Session(self, talk)
        serving = asyncio.ensure_future(session.serve())
        try:
            while not serving.done() and not session.is_idle():
                await asyncio.wait([serving], timeout=session.idle_left_s())
            if serving.done():
                await serving
                return
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
        await session.end_idle()


class _Peer:
    """One side of a connection: its wire, and what h11 knows of it. Tells the session whenever bytes come."""

    def __init__(self, session: _Session, wire: Wire, role: type[h11.CLIENT] | type[h11.SERVER]) -> None:
        self.wire = wire
        self.http = h11.Connection(our_role=role)
        self._session = session

    async def recv(self) -> bytes:
        data = await self.wire.recv()
        self._session.moved()
        return data

    async def next(self) -> _Event | type[h11.PAUSED]:
        """The next event.

        Raises:
            h11.RemoteProtocolError: the other side broke the protocol, or ended in mid-message.
        """
        while True:
            event = self.http.next_event()
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]
            self.http.receive_data(await self.recv())

    async def send(self, event: _Event) -> None:
        data = self.http.send(event)
        if data:
            await self.wire.send(data)

    def next_cycle(self) -> bool:
        """Ready for another message? False where this connection carries no more."""
        if self.http.our_state is not h11.DONE or self.http.their_state is not h11.DONE:
            return False
        self.http.start_next_cycle()
        return True


class _Session:
    """One client's connection, with the one that was opened for it to the target."""

    def __init__(self, intermediary: Intermediary, talk: Conversation) -> None:
        self._options = intermediary
        self._talk = talk
        self._flow = intermediary.flow
        self._near = _Peer(self, talk.near, h11.SERVER)
        self._far: _Peer | None = None
        self._moved_s = self._flow.now()

    # Idleness

    def moved(self) -> None:
        self._moved_s = self._flow.now()

    def idle_left_s(self) -> float | None:
        """Seconds until this connection is idle; None if it never is."""
        timeout_s = self._options.idle_timeout_s
        return None if timeout_s is None else max(0.001, self._moved_s + timeout_s - self._flow.now())

    def is_idle(self) -> bool:
        timeout_s = self._options.idle_timeout_s
        return timeout_s is not None and self._flow.now() - self._moved_s >= timeout_s

    async def end_idle(self) -> None:
        """End the connection, the way the options say."""
        how = self._options.idle_end
        if how == "silent":
            await _never()
        if how == "reset":
            self._talk.abort("relay")
        elif how == "504" and self._near.http.our_state is h11.SEND_RESPONSE:
            await self._answer(504, "The target sent nothing for too long.")

    # Exchanges

    async def serve(self) -> None:
        """One exchange after another, until a side ends."""
        try:
            while await self._exchange():
                pass
        except h11.ProtocolError as error:
            if self._near.http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                is_clients = self._near.http.their_state is h11.ERROR
                await self._answer(error.error_status_hint if is_clients else 502, str(error))
            # in mid-answer: the end without a last chunk is the sign that it is not whole
        if self._near.http.their_state in (h11.SEND_BODY, h11.ERROR):
            await self._let_go()

    async def _let_go(self) -> None:
        """Drop what the client still sends: to close on unread bytes sends RST, which may cost it the answer.

        RFC 9112 section 9.6.
        """
        if self._far is not None:
            self._far.wire.close()
        self._near.wire.finish("relay")
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while await self._near.recv():
                    pass

    async def _exchange(self) -> bool:
        """Whether another one may follow."""
        request = await self._near.next()
        if not isinstance(request, h11.Request):
            return False
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in request.headers}:
            await self._answer(400, "Content-Length and Transfer-Encoding in one request")  # RFC 9112 section 6.1
            return False
        try:
            far = await self._connected()
        except OSError as error:
            await self._answer(502, f"The target cannot be reached: {error}")
            return False
        try:
            await far.send(forwarded(request, self._host_of(far)))
            switched = await self._both_ways(far)
        except OSError:
            if far.wire.lost and self._near.http.our_state is h11.SEND_RESPONSE:
                raise h11.RemoteProtocolError("The target reset the connection.", error_status_hint=502) from None
            raise  # in mid-answer a reset goes on as one
        if switched is None:
            return False
        if switched:
            await self._tunnel(far)
            return False
        if not far.next_cycle():
            far.wire.close()
            self._far = None
        return self._near.next_cycle()

    def _host_of(self, far: _Peer) -> bytes:
        target = self._options.target
        host, port = target if isinstance(target, tuple) else far.wire.record.remote
        return b"[%b]:%d" % (host.encode(), port) if ":" in host else b"%b:%d" % (host.encode("idna"), port)

    async def _connected(self) -> _Peer:
        if self._far is not None and await self._has_ended(self._far):
            self._far.wire.close()
            self._far = None
        if self._far is None:
            self._far = _Peer(self, await self._talk.dial(), h11.CLIENT)
        return self._far

    async def _has_ended(self, far: _Peer) -> bool:
        """Whether a connection that was kept has been ended by the target meanwhile."""
        try:
            async with asyncio.timeout(0):
                await far.recv()
        except TimeoutError:
            return False
        except OSError:
            pass
        return True  # reset, ended, or an answer that nobody asked for

    async def _both_ways(self, far: _Peer) -> bool | None:
        """The request's body up, the answer down. True after a 101; None if the client has gone."""
        up, down = asyncio.ensure_future(self._up(far)), asyncio.ensure_future(self._down(far))
        try:
            await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
            if down.done():
                return await down
            await up
            return None
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _up(self, far: _Peer) -> None:
        """Hand on the request's body; then watch for the client's end, which is when this returns."""
        while isinstance(event := await self._near.next(), h11.Data | h11.EndOfMessage):
            try:
                await far.send(h11.Data(data=event.data) if isinstance(event, h11.Data) else event)
            except OSError:  # it takes no more of it, and may have said why (RFC 9112 section 9.5)
                await _never()
        while data := await self._near.recv():
            self._near.http.receive_data(data)
            if len(self._near.http.trailing_data[0]) > _WAITING_BYTES:
                await _never()

    async def _down(self, far: _Peer) -> bool:
        """Hand on the answer; whether it was a 101."""
        body = _Body(self._options, self._near)
        while True:
            event = await body.while_holding(far)
            if isinstance(event, h11.InformationalResponse):
                if self._near.http.their_http_version == b"1.0":  # RFC 9110 section 15.2
                    continue
                await self._near.send(event)
                if event.status_code == 101:
                    return True
            elif isinstance(event, h11.Response):
                fields = list(of_the_message(event.headers.raw_items()))
                await self._near.send(h11.Response(status_code=event.status_code, headers=fields, reason=event.reason))
            elif isinstance(event, h11.Data):
                await body.take(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                await body.flush()
                await self._near.send(event)
                return False
            else:
                raise h11.RemoteProtocolError("the target ended without an answer", error_status_hint=502)

    async def _tunnel(self, far: _Peer) -> None:
        """After a 101: bytes, until both sides have ended."""

        async def carry(source: _Peer, sink: _Peer) -> None:
            if early := source.http.trailing_data[0]:
                await sink.wire.send(early)
            while data := await source.recv():
                await sink.wire.send(data)
            sink.wire.finish()

        both = [asyncio.ensure_future(carry(self._near, far)), asyncio.ensure_future(carry(far, self._near))]
        try:
            await asyncio.gather(*both)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _answer(self, status: int, why: str) -> None:
        text = why.encode() + b"\n"
        fields = [("Content-Type", "text/plain"), ("Content-Length", str(len(text))), ("Connection", "close")]
        await self._near.send(h11.Response(status_code=status, headers=fields))
        if self._near.http.our_state is not h11.SEND_BODY:
            return
        with contextlib.suppress(h11.LocalProtocolError):  # a HEAD has no body
            await self._near.send(h11.Data(data=text))
            await self._near.send(h11.EndOfMessage())


class _Body:
    """An answer's body on its way to the client, with the chunk borders that the options make."""

    def __init__(self, options: Intermediary, near: _Peer) -> None:
        self._options = options
        self._near = near
        self._held = bytearray()
        self._due_s = 0.0

    async def while_holding(self, far: _Peer) -> _Event | type[h11.PAUSED]:
        """The next event of *far*; what is held is handed on meanwhile, when its time has come."""
        while self._held:
            try:
                async with asyncio.timeout(max(0.0, self._due_s - self._options.flow.now())):
                    return await far.next()
            except TimeoutError:
                await self.flush()
        return await far.next()

    async def take(self, data: bytes) -> None:
        if self._options.merge_s is None:
            await self._send(data)
            return
        if not self._held:
            self._due_s = self._options.flow.now() + self._options.merge_s
        self._held += data

    async def flush(self) -> None:
        data, self._held = bytes(self._held), bytearray()
        await self._send(data)

    async def _send(self, data: bytes) -> None:
        step = int(self._options.split_bytes or len(data) or 1)
        for start in range(0, len(data), step):
            await self._near.send(h11.Data(data=data[start : start + step]))


def _above_0(name: str, value: float | None) -> float | None:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 < value < float("inf")):
        raise ValueError(f"{name} must be a number above 0, or None, not {value!r}")
    return value


async def _never() -> None:
    await asyncio.get_running_loop().create_future()
