"""What a technique is: the frozen descriptor at the foot of its file, and how its client half is begun."""

from __future__ import annotations

import functools
import inspect
import math
import pathlib
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from tornado.web import RequestHandler

from labkit.client import address
from labkit.client.http import HTTPClient
from labkit.client.ledger import Ledger
from labkit.client.sharing import SharedConnections
from labkit.client.speaking import versions_of
from labkit.client.tls import SYSTEM, Trust
from labkit.client.wiring import Wiring
from labkit.errors import UnknownOption
from labkit.techniques.delivery import Delivery
from labkit.techniques.expecting import Theory, no_theory
from labkit.techniques.reading import Opened, Reader
from labkit.theory import UNMARKED, Expectation, Kind, Mark, Nature, Path, Silent
from labkit.theory.durations import seconds
from labkit.theory.path import HEARTBEAT_S, HOLD_S, SILENCE_S
from labkit.wire.bodies import Reading
from labkit.wire.events import Gap

PAGE_BASE = pathlib.Path(__file__).with_suffix(".js")
"""What the halves for a page stand on."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Where a client begins: what every technique's client half is given first, made by :meth:`Technique.connect`.

    Attributes:
        url: the technique's full address.
        technique: as whose the bytes are put down.
        after: the cursor to go on from; None begins at now.
        token: lets a client of another origin in.
        ledger: where the bytes are put down.
        on_open: told the cursor at which the subscription begins.
        subscriber: its number among those of one run.
        arrived: how many events have come before, by which those of somebody else's server are numbered.
        headers: more fields of each request.
        trust: whose certificates are believed.
        silence_s: how long the server may say nothing.
        answer_s: how long it may take to begin an answer.
        versions: of HTTP that are spoken; over TLS the server chooses.
        share: the connections that it shares with others; None: it has its own.
    """

    url: str
    technique: str
    after: str | None = None
    topic: str = ""
    token: str | None = None
    ledger: Ledger = field(default_factory=lambda: Ledger(0))
    on_open: Opened | None = None
    subscriber: int = 0
    arrived: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    trust: Trust = SYSTEM
    silence_s: float = SILENCE_S
    answer_s: float = SILENCE_S
    versions: tuple[int, ...] = (1,)
    share: SharedConnections | None = None

    @property
    def wiring(self) -> Wiring:
        """For a connection: where its bytes are put down, as whose, whom it believes and how long it waits."""
        return Wiring(
            self.ledger, self.technique, self.subscriber, fields=self.headers,
            trust=self.trust, silence_s=self.silence_s, answer_s=self.answer_s, versions=self.versions,
            opener=None if self.share is None else self.share.exchanges,
        )  # fmt: skip

    def reader(self) -> Reader:
        """Of a lab's JSON: gives deliveries and gaps, and keeps the cursor."""
        held_back = partial(self.ledger.held_back, self.technique, self.subscriber)
        return Reader(self.after, self.on_open, held_back, self.arrived)

    def http(self, *, keep_alive: bool = True, version: str = "1.1", hold_s: float | None = 0.0) -> HTTPClient:
        """A counted HTTP client for the address.

        Args:
            version: of HTTP/1, ``1.1`` or ``1.0``.
            hold_s: for how long the server may hold a request, at the least; None: for as long as a lab does.

        Raises:
            UnknownOption: HTTP/1.0, where HTTP/2 was asked for.
        """
        wiring = self.wiring
        if version != "1.1" and 2 in wiring.versions:
            if 1 not in wiring.versions:
                raise UnknownOption(f"http=2 and http_version={version!r} are two versions: leave one of them out")
            wiring = replace(wiring, versions=(1,))
        if hold_s is None or hold_s > 0:
            waits_s = max(self.silence_s, (HOLD_S if hold_s is None else hold_s) + HEARTBEAT_S)
            wiring = replace(wiring, answer_s=waits_s, silence_s=waits_s)
        return HTTPClient(
            self.url, topic=self.topic, token=self.token, wiring=wiring, keep_alive=keep_alive, version=version
        )


Client = Callable[..., AsyncGenerator[Delivery | Gap, None]]
"""The client half: ``client(opening, *, option=default, ...)``. Its keyword arguments are the technique's options."""


@dataclass(frozen=True, slots=True)
class Technique:
    """One way of getting an event from a server to a client.

    Attributes:
        name: its name everywhere, and its route without the slash.
        title: its name in headings.
        spec: where it is specified.
        route: its path; empty for a technique with a port of its own.
        handler: the server half, any Tornado handler (None with a port of its own);
            :class:`labkit.server.handler.PushHandler` has what the kit's own stand on.
        client: the client half; its keyword arguments are the options.
        short: its name in a sentence; its name by default.
        kind: who decides when an answer comes: ``poll``, the client at its own times; ``hold``, a server that holds
            each request until there is something; ``stream``, a server that writes at any time.
        mark: its colour, symbol and dash in every chart; one that is free by default.
        theory: what latency to expect, asked through :meth:`expect`.
        body: how what the server sends is cut into events, for whoever reads other people's bytes: ``answer`` (a whole
            JSON answer), ``lines`` (parts, where the content type says so), ``event-stream``, ``messages`` (WebSocket),
            ``nul`` (ended by a NUL), or what makes a reading of its own; empty where nobody else can say.
        fixed: options that are not to be chosen any more; see :meth:`variant`.
        port: which of the lab's ports it is served on.
        binary: carries bytes without base64.
        bidirectional: the client can publish on the same connection.
        resumes: reconnects by itself and goes on from its cursor.
        through_buffering: events pass an intermediary that holds back a response until its end.
        page: its half for a page, as JavaScript text; by default the .js file beside that of ``client``, if there is
            one (``base.js`` says what is in it).
        exhibit: only to be looked at: left out where all techniques are compared.
        http_version: that its clients speak by default; empty where there is no HTTP.
        http1_only: what of it exists only in HTTP/1.x.
        hint: one line for tables.
    """

    name: str
    title: str
    spec: str
    route: str
    handler: type[RequestHandler] | None
    client: Client
    short: str = ""
    kind: Kind = "stream"
    mark: Mark = UNMARKED
    theory: Theory = no_theory
    body: str | Callable[[], Reading] = ""
    fixed: Mapping[str, Any] = field(default_factory=dict, hash=False)
    port: str = "http"
    binary: bool = False
    bidirectional: bool = False
    resumes: bool = False
    through_buffering: bool = False
    page: str = ""
    exhibit: bool = False
    http_version: str = "1.1"
    http1_only: tuple[str, ...] = ()
    hint: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "short", self.short or self.name)

    @property
    def in_browser(self) -> bool:
        """Whether a page can use it."""
        return bool(self.page_half())

    def page_half(self) -> str:
        """The JavaScript with which a page receives; empty if it is none for a page."""
        code = getattr(inspect.unwrap(self.client), "__code__", None)
        beside = pathlib.Path(code.co_filename).with_suffix(".js") if code else None
        return self.page or (beside.read_text(encoding="utf-8") if beside and beside.is_file() else "")

    @property
    def schemes(self) -> tuple[str, ...]:
        """How its addresses may begin; the first is how the lab's do."""
        return address.WEB if self.port == "http" else address.TCP

    def url(self, host: str, ports: dict[str, int], *, tls: bool = False) -> str:
        """Its full address on a host with these ports; over TLS where that is spoken on the HTTP port."""
        scheme = "https" if tls and self.port == "http" else self.schemes[0]
        return f"{scheme}://{host}:{ports[self.port]}{self.route}"

    def connect(
        self,
        url: str,
        *,
        after: str | None = None,
        topic: str = "",
        token: str | None = None,
        ledger: Ledger | None = None,
        on_open: Opened | None = None,
        subscriber: int = 0,
        arrived: int = 0,
        headers: Mapping[str, str] | None = None,
        trust: Trust = SYSTEM,
        silence_s: float = SILENCE_S,
        answer_s: float | None = None,
        http: int | None = 1,
        share: SharedConnections | None = None,
        **options: Any,
    ) -> AsyncGenerator[Delivery | Gap, None]:
        """What arrives after the cursor *after* at its full address *url*, as an async iterator.

        Args:
            on_open: told the cursor at which the subscription begins.
            arrived: how many events have come before over other connections.
            headers: more fields of each request, for a server that asks for them.
            trust: whose certificates are believed; the system's authorities by default.
            silence_s: how long the server may say nothing before the connection is taken for lost: by default three
                of a lab's heartbeats. A server that promises none may be silent for longer.
            answer_s: how long it may take to begin an answer, beside the time for which it holds a request; by default
                as long as it may be silent.
            http: the version that is spoken, 1 or 2: over TLS if the server agrees (ALPN), in clear text by prior
                knowledge. None: over TLS what the server prefers; HTTP/1 in clear text, and for a WebSocket.
            share: over HTTP/2, the connections that it shares with the other clients that are given this.
            options: what its client half takes besides.

        Raises:
            UnknownOption: it takes no such option, or not over HTTP/2; the message lists those that it takes.
            DurationError: one that is no number of seconds.
            MissingPackage: HTTP/2, and the extra ``http2`` is not installed.
        """
        self.check_options(options)
        _check_durations({"silence_s": silence_s, "answer_s": silence_s if answer_s is None else answer_s})
        self.check_version(http, options)
        if share is not None and http != 2:
            raise UnknownOption("connections are shared over HTTP/2 alone: http=2")
        secure = address.split(url, self.schemes).is_secure if http is None else True
        versions = versions_of(http, is_socket=self.body == "messages", is_secure=secure)
        opening = Opening(
            url, self.name, after, topic, token, ledger or Ledger(0), on_open, subscriber, arrived,
            headers or {}, trust, silence_s, silence_s if answer_s is None else answer_s, versions, share,
        )  # fmt: skip
        return self.client(opening, **{**options, **self.fixed})

    @property
    def options(self) -> dict[str, Any]:
        """Each option that its client half names, with its default."""
        named = _parameters(self.client)
        return {p.name: p.default for p in named if p.kind is p.KEYWORD_ONLY and p.name not in self.fixed}

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Refuse what neither half knows, and what is no duration where one is asked for.

        Raises:
            UnknownOption: names it, and lists those that there are.
            DurationError: names the option; a client that waits for none would storm its server.
        """
        if any(p.kind is p.VAR_KEYWORD for p in _parameters(self.client)):
            return  # a client that takes any
        known = self.options
        for name in options:
            if name not in known:
                takes = f"takes {', '.join(known)}" if known else "takes none"
                raise UnknownOption(f"{self.name} has no option {name!r}; it {takes}")
        by_default = [name for name, value in options.items() if value is None and known[name] is None]
        _check_durations({name: value for name, value in options.items() if name not in by_default})

    def check_version(self, http: int | None, options: Mapping[str, Any]) -> None:
        """Refuse what there is not in this version of HTTP.

        Raises:
            UnknownOption: HTTP/2 of a technique without HTTP, or with an option that exists only in HTTP/1.
        """
        if http != 2:
            return
        if not self.http_version:
            raise UnknownOption(f"{self.name} speaks no HTTP, and so no HTTP/2")
        asked = {**options, **self.fixed}
        for name, value in asked.items():
            if name in self.http1_only or f"{name}={value}" in self.http1_only:
                if value not in (None, False):
                    raise UnknownOption(f"{self.name} has {name}={value!r} only over HTTP/1, and http=2 was asked for")
        if asked.get("http_version", "1.1") != "1.1":
            raise UnknownOption(f"http=2 and http_version={asked['http_version']!r} are two versions: leave one out")

    def taken_of(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Those of *options* that it takes by name: what a run says to all of its techniques is not for each."""
        known = self.options
        return {name: value for name, value in options.items() if name in known}

    def variant(self, name: str, client: Client | None = None, /, **fixed: Any) -> Technique:
        """The same under another name, so that one run can hold both.

        Args:
            client: a client half that goes its own way; ``functools.wraps`` of this one's gives it the same options
                and theory.
            fixed: options that it always has.
        """
        self.check_options(fixed)
        named = replace(self, name=name, title=name, short=name, mark=UNMARKED, fixed={**self.fixed, **fixed})
        if client is None:
            return named
        follows = inspect.unwrap(client) is inspect.unwrap(self.client)
        return replace(named, client=client, theory=self.theory if follows else no_theory)

    def expect(self, options: Mapping[str, Any], path: Path) -> Expectation | Silent:
        """What latency theory expects of it with *options* (defaults for the rest) on *path*, or why it is silent."""
        if path.obstacle:
            return Silent(path.obstacle)
        return self.theory({**self.options, **options, **self.fixed}, path)

    def nature(self, expected: Expectation | Silent) -> Nature:
        """What a run tells of it."""
        return Nature(self.title, self.short, self.kind, self.mark, expected)


def _check_durations(options: Mapping[str, Any]) -> None:
    """Of what is in seconds, by its name; without an end is one too."""
    for name, value in options.items():
        if name.endswith("_s") and value != math.inf:
            seconds(name, value, math.inf)


@functools.lru_cache(maxsize=64)
def _parameters(client: Client) -> tuple[inspect.Parameter, ...]:
    """What a client half takes: a map of choices asks it ten thousand times, and looking takes most of that."""
    return tuple(inspect.signature(client).parameters.values())
