"""The server of the cases: raw sockets on asyncio, since no web framework sends such bytes."""

from __future__ import annotations

import asyncio
import contextlib
import os

from labkit.errors import LabkitError
from labkit.sockets import check_port
from labkit.strangers.vectors.catalogue import CASES
from labkit.strangers.vectors.cutting import check
from labkit.strangers.vectors.peer import BadRequest, Gone, Peer, Request
from labkit.strangers.vectors.playing import Manner, play
from labkit.strangers.vectors.site import Site, page
from labkit.strangers.vectors.visit import Visits

MAX_CONNECTIONS = 500
MAX_PAUSE_MS = 1000


class VectorServer:
    """Serves every case to any number of clients at once, each visit with a state of its own.

    Args:
        is_fast: a pause of a minute takes two seconds.
    """

    def __init__(self, *, is_fast: bool = False) -> None:
        self.is_fast = is_fast
        self.visits = Visits()
        self.site = Site(self.visits)
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen; returns the port.

        Raises:
            LabkitError: nobody may listen there; the message says where and why.
        """
        check_port(port)
        if not host:
            raise LabkitError("no host to listen on: give a name or an address, such as 127.0.0.1")
        try:
            self._server = await asyncio.start_server(self._accepted, host, port)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise LabkitError(f"cannot listen on {host}:{port}: {why or error}") from None
        except UnicodeError as error:
            raise LabkitError(f"cannot listen on {host[:80]!r}: {error}") from None
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """End every connection and stop listening."""
        if self._server is not None:
            self._server.close()
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        peer = Peer(reader, writer)
        try:
            with contextlib.suppress(Gone, asyncio.CancelledError):  # close() has cancelled it, and waits for no more
                if len(self._serving) > MAX_CONNECTIONS:
                    await peer.write(
                        page("503 Service Unavailable", "too many connections at once\n").head(keeps=False)
                    )
                    return
                while await self._exchange(peer):
                    pass
        finally:
            self._serving.discard(task)
            with contextlib.suppress(TimeoutError, asyncio.CancelledError):
                await peer.close()

    async def _exchange(self, peer: Peer) -> bool:
        """Read one request and answer it; whether the connection can carry another."""
        try:
            request = await peer.request()
            if request is None:
                return False
            case = CASES.get(request.path.rpartition("/")[2])
            if case is not None and request.path == case.address and request.method not in ("OPTIONS", "HEAD"):
                token = _token(request)
                who = f"{peer.name} {request.field('user-agent')}"
                return await play(peer, request, self.visits.enter(case, token, who), self._manner(request))
            answer = await self.site.answer(request)
        except BadRequest as error:
            answer, request = page("400 Bad Request", f"{error}\n"), None
        keeps = request is not None and request.keeps
        await peer.write(answer.head(keeps=keeps) + (b"" if request and request.method == "HEAD" else answer.body))
        return keeps

    def _manner(self, request: Request) -> Manner:
        pause_ms = request.query("pause_ms", "2")
        if not (pause_ms.isascii() and pause_ms.isdigit() and len(pause_ms) < 5 and int(pause_ms) <= MAX_PAUSE_MS):
            raise BadRequest(f"pause_ms is a whole number from 0 to {MAX_PAUSE_MS}")
        try:
            how = check(request.query("cut")) if request.query("cut") else ""
        except LabkitError as error:
            raise BadRequest(str(error)) from None
        return Manner(how, int(pause_ms) / 1000, self.is_fast)


def _token(request: Request) -> str:
    token = request.query("visit")
    if len(token) > 64 or (not token.replace("-", "").replace("_", "").isalnum() and token):
        raise BadRequest("visit is up to 64 letters, digits, - and _")
    return token
