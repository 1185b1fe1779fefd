"""``Lab``: a push server with a name, in this kernel or in a process of its own, with the same methods either way."""

from __future__ import annotations

import asyncio
import html
import os
import threading
from collections.abc import Collection, Iterable
from typing import Any

from labkit import loop
from labkit.errors import LabClosed, LabkitError
from labkit.lab.attached import Attached
from labkit.lab.listening import spoken
from labkit.lab.process import Child
from labkit.lab.served import served
from labkit.lab.server import Server
from labkit.server.limits import check_data, check_topic, plain
from labkit.server.tls import forget, throw_away
from labkit.techniques import TECHNIQUES, Technique, find
from labkit.theory.path import HEARTBEAT_S, HOLD_S
from labkit.wire.events import Event, now_ns

_labs: dict[str, Lab] = {}
_lock = threading.RLock()
TAKEN_POLL_S = 0.005


class Lab:
    """A running push server on 127.0.0.1. It serves from the first line on; close it, or use it with ``with``.

    A second lab of the same name replaces the first: it takes over its ports, and the first is closed. Two labs at
    once need two names. Labs of other kernels are never touched.

    Args:
        name: ``lab`` by default.
        process: serve from a child process, whose CPU and memory can be measured and which the kernel's interrupt
            does not reach.
        port, plugin_port: fixed ports; 0 takes those of the lab that is replaced, or free ones.
        tls: speak TLS on the HTTP port, with a certificate of a throw-away authority whose own is in the file
            ``lab.cafile``: ``curl --cacert``, or ``ssl.create_default_context(cafile=lab.cafile)``; a browser takes
            ``lab.fingerprint``.
        http: the versions of HTTP on that port: ``(1,)``, ``(1, 2)`` or ``(2,)``. HTTP/2 over TLS if the client offers
            it (ALPN), in clear text if it begins with it (prior knowledge: no browser does). Needs ``labkit[http2]``.
        techniques: which to serve, by name too; add your own with ``(*labkit.TECHNIQUES, mine)``.
        options: those of :class:`labkit.lab.server.Server`: ``slow``, ``queue``, ``history_events``,
            ``history_bytes``, ``history_total_bytes``, ``max_event_bytes``, ``max_topics``, ``max_connections``,
            ``allow_origins``, ``hold_s``, ``heartbeat_s``, ``write_timeout_s``, ``fanout``,
            ``buffering_hint``, ``mss``, ``send_buffer_bytes``.

    Raises:
        LabkitError: a fixed port is in use; TLS without the extra that makes certificates (``labkit[tls]``).
        MissingPackage: HTTP/2 without the extra that speaks it (``labkit[http2]``).
        BadTechnique: two of one name, a route that is taken or begins with no slash, no handler, or no technique.
    """

    def __init__(
        self,
        name: str = "lab",
        *,
        process: bool = False,
        tls: bool = False,
        http: Collection[int] = (1,),
        port: int = 0,
        plugin_port: int = 0,
        techniques: Iterable[Technique | str] = TECHNIQUES,
        **options: Any,
    ) -> None:
        self.name = name
        self.http = options["http"] = spoken(http)
        self.process = process
        self.techniques = served(techniques)
        self.max_event_bytes: int = options.get("max_event_bytes", 1 << 20)
        self.hold_s: float = options.get("hold_s", HOLD_S)
        self.heartbeat_s: float = options.get("heartbeat_s", HEARTBEAT_S)
        self._closed = False
        self.cafile: str | None = None
        """Where the certificate of the authority is that vouches for a lab that speaks TLS, as PEM."""
        self.fingerprint: str | None = None
        """Of its key, for ``chromium --user-data-dir=FOLDER --ignore-certificate-errors-spki-list=FINGERPRINT``."""
        if tls:
            identity = throw_away()
            self.fingerprint = identity.fingerprint
            options["tls"], self.cafile = identity, identity.publish_authority()
        self.attached: list[Attached] = []
        """Subscribers elsewhere, such as a notebook's page, which every measurement of this lab includes."""
        with _lock:
            made: Server | Child | None = None
            try:  # a bad option leaves the earlier lab as it is
                made = Child(self.techniques, options) if process else self._make(options)
                self._start(made, {"http": port, "plugin": plugin_port})
            except BaseException:
                forget(self.cafile)
                if isinstance(made, Child):
                    made.close()
                elif made is not None:
                    loop.run(made.close())
                raise
            self._server: Server | Child = made
            self.id: str = self._server.id
            self.ports: dict[str, int] = self._server.ports
            _labs[name] = self

    def _make(self, options: dict[str, Any]) -> Server:
        async def make() -> Server:
            return Server(self.techniques, **options)

        return loop.run(make())

    def _start(self, made: Server | Child, required: dict[str, int]) -> None:
        """Start on the required ports (0: any), or on those of the lab that is replaced, if they can be had."""
        previous, wanted, sockets = _labs.get(self.name), required, None
        if previous is not None:
            wanted = {name: required[name] or port for name, port in previous.ports.items()}
            sockets = previous._replaced(keep_sockets=isinstance(made, Server) and wanted == previous.ports)
            print(f"lab {self.name!r} is replaced: the earlier one at {previous.url} is closed")
        try:
            self._listen(made, wanted, sockets)
        except LabkitError:
            if wanted == required:
                raise
            self._listen(made, required, None)  # the old port was taken meanwhile

    def _listen(self, made: Server | Child, ports: dict[str, int], sockets: Any) -> None:
        given = {"port": ports["http"], "plugin_port": ports["plugin"]}
        if isinstance(made, Child):
            made.start(**given)
            return

        async def start() -> None:
            made.start(sockets=sockets, **given)

        loop.run(start())

    # -- where it is ------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The HTTP port."""
        return self.ports["http"]

    @property
    def plugin_port(self) -> int:
        """The plugin socket's port."""
        return self.ports["plugin"]

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``, or ``https://``; open it in a browser to see every technique live."""
        return f"{'http' if self.cafile is None else 'https'}://127.0.0.1:{self.port}"

    def url_of(self, technique: str) -> str:
        """The full address of one technique."""
        return self._url_of(find(technique, self.techniques))

    def _url_of(self, technique: Technique) -> str:
        return technique.url("127.0.0.1", self.ports, tls=self.cafile is not None)

    # -- publishing -------------------------------------------------------------------------------------------

    def publish(self, data: str | bytes, topic: str = "") -> int:
        """Publish one event and return its id. Never waits for a subscriber. From any thread, cell or coroutine.

        Raises:
            LabClosed: the lab is closed, or its process has died.
            NoAnswer: its process stands still or is busy; the event may still be published.
            EventTooLarge: more bytes than the lab takes (1 MiB by default).
        """
        return self.publish_event(data, topic).id

    def publish_event(self, data: str | bytes, topic: str = "") -> Event:
        """As :meth:`publish`, but returns the event with the time that it was stamped with."""
        published_ns = now_ns()
        if not isinstance(data, str | bytes):
            raise TypeError(f"data is text or bytes, not {type(data).__name__}: convert it first, e.g. json.dumps(...)")
        check_data(data, self.max_event_bytes)
        check_topic(topic)
        if type(data) is not str:
            data = plain(data)
        if type(topic) is not str:
            topic = "".join([topic])
        if self._closed:
            raise LabClosed(f"lab {self.name!r} is closed: start another with labkit.Lab()")
        if isinstance(self._server, Server):
            return self._server.hub.publish(data, topic, published_ns)
        return self._server.call("publish", data, topic, published_ns)  # type: ignore[no-any-return]

    async def publish_and_wait(self, data: str | bytes, topic: str = "") -> int:
        """Publish, and wait until every present subscriber was handed the event: backpressure for the publisher."""
        event = self.publish_event(data, topic)
        if isinstance(self._server, Server):
            await loop.hop(self._server.hub.all_taken(topic, event.id))
        else:
            while not await asyncio.to_thread(self._server.call, "taken", topic, event.id):  # noqa: ASYNC110  no event
                await asyncio.sleep(TAKEN_POLL_S)
        return event.id

    def cursor(self, topic: str = "") -> str:
        """The cursor of the newest event: subscribe with it as ``after`` to get what comes next."""
        if isinstance(self._server, Server):
            return str(self._server.hub.cursor(topic))
        return str(self._server.call("cursor", topic))

    # -- looking at it ----------------------------------------------------------------------------------------

    def stats(self) -> dict[str, int]:
        """Counts since the start (published, delivered, dropped, conflated, disconnected) and what is held now."""
        if isinstance(self._server, Server):
            return self._server.stats()
        return dict(self._server.call("stats"))

    @property
    def pid(self) -> int | None:
        """The child's process id; None for a lab in this kernel."""
        return self._server.pid if isinstance(self._server, Child) else None

    def usage(self) -> dict[str, float] | None:
        """CPU seconds and resident bytes of the server's process; None where it shares this one with everything."""
        return self._server.usage() if isinstance(self._server, Child) else None

    def allow_origin(self, origin: str | None, token: str | None = None) -> None:
        """Let pages of *origin* use this lab; with *token*, only those that bring it.

        A token without an origin is good for the first origin that brings it. Raises ValueError for what is not an
        origin.
        """
        if token is not None:
            self._call("allow_token", token, origin)
        elif origin is not None:
            self._call("allow_origin", origin)

    # -- pages as clients -------------------------------------------------------------------------------------

    def pages_of(self, subscriber: str, have: dict[str, int] | None = None) -> list[dict[str, Any]]:
        """What the pages of one subscriber have told: see :meth:`labkit.lab.pages.Pages.of`."""
        return list(self._call("pages", subscriber, have))

    def forget_pages(self, subscriber: str, token: str) -> None:
        """Forget the pages of one subscriber, and take its token no more."""
        self._call("forget_pages", subscriber)
        self._call("forget_token", token)

    def _call(self, name: str, *args: Any) -> Any:
        if isinstance(self._server, Server):
            return self._server.page_calls[name](*args)
        return self._server.call(name, *args)

    @property
    def closed(self) -> bool:
        return self._closed or (isinstance(self._server, Child) and not self._server.alive)

    # -- ending it --------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop serving. The second call does nothing."""
        self._replaced(keep_sockets=False)

    def _replaced(self, *, keep_sockets: bool) -> Any:
        if loop.on_lab_loop() and not self._closed:
            raise RuntimeError("close a lab from outside the lab loop, or `await lab.aclose()` there")
        with _lock:
            if self._closed:
                return None
            for subscriber in list(self.attached):
                subscriber.lab_closes()
            self._closed = True
            forget(self.cafile)
            if _labs.get(self.name) is self:
                del _labs[self.name]
        server = self._server
        if isinstance(server, Child):
            server.close()
            return None
        here: Server = server

        async def end() -> Any:
            given = here.give_up_sockets() if keep_sockets else None
            await asyncio.shield(asyncio.ensure_future(here.close()))  # an interrupt does not leave it half closed
            return given

        return loop.run(end())

    async def aclose(self) -> None:
        """As :meth:`close`, for coroutines."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Lab:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        where = f"process {self.pid}" if self.process else "this kernel"
        return f"<Lab {self.name!r} {'closed' if self.closed else 'at ' + self.url + ', in ' + where}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'>{html.escape(t.title)}</td>"
            f"<td style='text-align:left'><code>{html.escape(self._url_of(t))}</code></td>"
            f"<td style='text-align:left'>{html.escape(t.spec)}</td></tr>"
            for t in self.techniques
        )
        head = "<tr><th style='text-align:left'>technique</th><th style='text-align:left'>address</th><th></th></tr>"
        return f"<p>{html.escape(repr(self)[1:-1])}</p><table>{head}{rows}</table>"


def close_all() -> None:
    """Close every lab of this process."""
    for lab in list(_labs.values()):
        lab.close()


def _forget_after_fork() -> None:
    """The labs are the parent's: in a forked child they count as closed, and nothing of them is touched."""
    global _lock
    _lock = threading.RLock()
    for lab in _labs.values():
        lab._closed = True
        if isinstance(lab._server, Child):
            lab._server.abandon()
    _labs.clear()


loop.at_exit(close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
