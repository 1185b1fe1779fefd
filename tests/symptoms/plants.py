"""Each row of docs/symptoms.md that a client can see, planted: by a real program where it installs, else by a server of
a few lines. A world is a context that yields what to ask of it."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planted_hops import dying, keeping_small_writes, pinging_gateway, with_heartbeats
from planted_programs import behind, by_version, large_by_version
from planted_sockets import (
    cut_when_idle_socket,
    data_alone_counts,
    healthy_socket,
    masked,
    not_upgraded,
    pinging_socket,
    silent_socket,
    too_large,
)
from planted_streams import (
    CUT,
    Answer,
    Step,
    compressed,
    copied,
    cut_by_age,
    cut_when_idle,
    endless,
    event,
    events,
    flowing,
    head,
    held_whole,
    late_blank_line,
    ndjson,
    never,
    no_content,
    one_late_with_its_head,
    planted,
    recorded,
    refusing,
    replayed,
    resuming,
    saying,
    tool_run,
)
from planted_wire import in_two_writes, over_http2

from symptoms.servers import compressing, gunicorn, jupyter_proxy
from tls import Authority
from wait import serving

Asked = tuple[str, dict[str, Any]]
"""An address, and what else :func:`labkit.probe` is told."""
World = Callable[[], contextlib.AbstractContextManager[Asked]]


@dataclass(frozen=True, slots=True)
class Plant:
    """A cause, and how it comes about.

    Attributes:
        rows: that name it rightly.
        is_risk: whether nothing goes wrong in the probe itself, so that a note is what is due.
    """

    rows: frozenset[int]
    says: str
    by: str
    world: World
    is_risk: bool = False
    seconds: float = 2.5


@dataclass
class _Table:
    plants: list[Plant] = field(default_factory=list)

    def add(self, rows: int | tuple[int, ...], says: str, by: str = "a server", *, is_risk: bool = False,
            seconds: float = 2.5) -> Callable[[Callable[[], Iterator[Asked]]], None]:  # fmt: skip
        """The decorated generator is its world."""

        def added(world: Callable[[], Iterator[Asked]]) -> None:
            named = frozenset([rows] if isinstance(rows, int) else rows)
            self.plants.append(Plant(named, says, by, contextlib.contextmanager(world), is_risk, seconds))

        return added

    def answer(self, rows: int | tuple[int, ...], says: str, answer: Answer, *, socket: bool = False, seconds: float =
               2.5, is_risk: bool = False, **options: Any) -> None:  # fmt: skip
        """A server of a few lines."""

        @self.add(rows, says, is_risk=is_risk, seconds=seconds)
        def world() -> Iterator[Asked]:
            with planted(answer) as url:
                yield (url.replace("http:", "ws:") if socket else url), options

    def behind(self, rows: int | tuple[int, ...], says: str, program: str, answer: Answer, *changes: tuple[str, str],
               also: bool = False, socket: bool = False, seconds: float = 2.5, is_risk: bool = False,
               **options: Any) -> None:  # fmt: skip
        """A real program in front of one."""

        @self.add(rows, says, f"{program}, --also" if also else program, is_risk=is_risk, seconds=seconds)
        def world() -> Iterator[Asked]:
            with planted(answer) as direct, behind(program, direct, *changes) as hop:
                url = hop.url.replace("http:", "ws:") if socket else hop.url
                there = direct.replace("http:", "ws:") if socket else direct
                yield url, ({"also": there} if also else {}) | options

    def both(
        self, rows: int | tuple[int, ...], says: str, hop: Answer, direct: Answer, *, socket: bool = False
    ) -> None:
        @self.add(rows, says, "a server, --also")
        def world() -> Iterator[Asked]:
            with planted(hop) as near, planted(direct) as far:
                yield near, {"also": far}


TABLE = _Table()
ROUTE = ("cluster: target } }", "cluster: target, timeout: 2s } }")
TUNNEL = ("timeout server 50s", "timeout server 50s\n  timeout tunnel 1s")
EARLIER = "proxy_pass http://@target@;"


def counted(*values: float) -> Iterator[Any]:
    return itertools.cycle(values)


def silent_after(*counts: int) -> Answer:
    number = counted(*counts)

    def answer(_: str) -> Iterator[Step]:
        yield from flowing(next(number))
        yield 20.0

    return answer


def silent_then_cut(_: str) -> Iterator[Step]:
    yield 1.5
    yield CUT


# -- held --------------------------------------------------------------------------------------------------------------
for _also in (False, True):
    TABLE.behind(1, "a stream that ends", "nginx", by_version(10), also=_also)
    TABLE.behind((1, 7) if _also else 1, "an endless stream", "nginx", by_version(1000), also=_also, seconds=1.5)
    TABLE.behind(1, "an endless stream that fills buffers", "nginx", large_by_version, also=_also)
TABLE.behind(1, "a stream that ends, compressed by the proxy", "nginx", by_version(10),
             (EARLIER, f"gzip on; gzip_types text/event-stream; gzip_min_length 0; {EARLIER}"))  # fmt: skip
TABLE.answer(1, "head, events and end in one", held_whole)
TABLE.both(1, "head, events and end in one", held_whole, endless)


@TABLE.add((1, 2), "one obeys the header and removes it, the next one holds", "two nginx")
def _() -> Iterator[Asked]:
    with planted(by_version(10, "X-Accel-Buffering: no")) as direct:
        with behind("nginx", direct) as inner, behind("nginx", inner.url) as outer:
            yield outer.url, {}


@TABLE.add(2, "one obeys the header and removes it, the next one holds", "two nginx, --also")
def _() -> Iterator[Asked]:
    with planted(by_version(10, "X-Accel-Buffering: no")) as direct:
        with behind("nginx", direct) as inner, behind("nginx", inner.url) as outer:
            yield outer.url, {"also": direct}


TABLE.answer(3, "a compressor without a flush", compressed(False, False))
TABLE.answer(4, "a compressor flushed before each event", compressed(False, True))
TABLE.answer(4, "the same, and its head too", one_late_with_its_head)
TABLE.answer(4, "the blank line with the next event", late_blank_line)
TABLE.add(3, "an event stream through it", "node's compression", seconds=3)(lambda: compressing("never"))
TABLE.add(4, "flushed before each event", "node's compression", seconds=3)(lambda: compressing("before"))
TABLE.answer(5, "held by Accept", lambda asked: ndjson(asked, held_for_any=True))
TABLE.add(5, "an Accept that is not exactly an event stream's", "jupyter-server-proxy")(jupyter_proxy)


def by_method(asked: str) -> Iterator[Step]:
    return endless(asked) if asked.startswith("POST") else never(asked)


TABLE.answer(5, "a GET held, a POST not", by_method, seconds=1.0)
TABLE.both((1, 5), "a GET held, a POST not", by_method, endless)


def batched(_: str) -> Iterator[Step]:
    yield head("200 OK", "text/event-stream; charset=utf-8")
    for at in range(0, 960, 6):
        yield 0.72
        yield chunk_of(at)


def chunk_of(at: int) -> bytes:
    data = b"".join(event(number) for number in range(at + 1, at + 7))
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


TABLE.answer((1, 5), "batches, where the type has a parameter", batched, is_risk=True)
TABLE.both((1, 5), "batches, where the type has a parameter", batched,
           lambda _: flowing(1000, kind="text/event-stream; charset=utf-8"))  # fmt: skip


@TABLE.add(6, "held over http, not over https", "a server, --also")
def _() -> Iterator[Asked]:
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        with planted(held_whole) as clear, planted(endless, authority.context()) as secure:
            yield clear, {"also": secure, "cafile": authority.cafile}


TABLE.answer(7, "no head at all", never)
TABLE.answer(8, "no head, and a limit that ends it", silent_then_cut, seconds=3)
# -- ended -------------------------------------------------------------------------------------------------------------
TABLE.behind(8, "an idle limit", "nginx", silent_after(3, 9),
             (EARLIER, f"{EARLIER} proxy_http_version 1.1; proxy_read_timeout 1s;"), seconds=5)  # fmt: skip
TABLE.behind(8, "an idle limit", "haproxy", silent_after(3, 9), ("timeout server 50s", "timeout server 1s"), seconds=5)
TABLE.behind(8, "a stream that a POST began, silent while a tool runs", "haproxy", tool_run,
             ("timeout server 50s", "timeout server 1s"), seconds=4, data="{}")  # fmt: skip
TABLE.behind(8, "a WebSocket's idle limit", "haproxy", silent_socket(counted(3, 9)),
             TUNNEL, seconds=5, socket=True)  # fmt: skip
TABLE.behind(8, "pings as seldom as the limit", "haproxy", pinging_socket(counted(3, 9), 1.5),
             TUNNEL, seconds=5, socket=True)  # fmt: skip
TABLE.answer(8, "an idle limit", cut_when_idle(counted(3, 9)), seconds=4)
TABLE.answer(8, "an idle limit, cuts that both clocks fit", cut_when_idle(itertools.repeat(4)), seconds=4)
TABLE.answer(8, "a WebSocket's idle limit", cut_when_idle_socket(counted(2, 6)), socket=True, seconds=4)
TABLE.answer(9, "a lifetime", cut_by_age(counted(0.13, 0.31)), seconds=4)
TABLE.behind(
    9,
    "a route's time, though bytes flow",
    "envoy",
    endless,
    ("cluster: target } }", "cluster: target, timeout: 2s } }"),
    seconds=5,
)
TABLE.answer(10, "a silence, and a client that gives up", saying(event(1)), seconds=6, is_risk=True)


@TABLE.add(11, "heartbeats that stay in a hop", "a hop, --also")
def _() -> Iterator[Asked]:
    with planted(with_heartbeats()) as direct, keeping_small_writes(direct) as hop:
        yield hop, {"also": direct}


TABLE.answer(12, "control frames are not counted", data_alone_counts(counted(2, 6)), socket=True, seconds=4)


@TABLE.add(12, "timeout tunnel, behind a gateway that pings", "haproxy", seconds=5)
def _() -> Iterator[Asked]:
    with planted(silent_socket(counted(3, 9))) as direct, behind("haproxy", direct, TUNNEL) as haproxy:
        with planted(pinging_gateway(haproxy.url)) as gateway:
            yield gateway.replace("http:", "ws:"), {}


TABLE.answer(21, "closed with 1009", too_large, socket=True)
TABLE.behind(27, "an application that dies", "nginx", dying(CUT, 8, "X-Accel-Buffering: no"), also=True)
TABLE.behind(27, "an application that dies", "nginx", dying(CUT, 8, "X-Accel-Buffering: no"), is_risk=True)
# -- returning ---------------------------------------------------------------------------------------------------------
TABLE.answer(13, "no ids", saying(*[b"data: x\n\n"] * 20), cut=True, seconds=1.5)
TABLE.answer(13, "begins anew", endless, cut=True, seconds=1.0)
TABLE.answer(13, "goes on at what is new", resuming(4), cut=True, seconds=1.0)
TABLE.answer(14, "one is missing", resuming(0, 2), cut=True, seconds=1.0)
TABLE.answer(14, "the last one again", resuming(-1), cut=True, seconds=1.0)
TABLE.answer(15, "answered 503", refusing("503 Service Unavailable"))
TABLE.answer(15, "answered 401", refusing("401 Unauthorized"))
TABLE.answer(15, "answered 204", no_content)
TABLE.answer(15, "another type", saying(*events(), kind="text/plain"))
TABLE.answer(16, "HTTP/1.1 alone", endless, is_risk=True, seconds=1.0)
TABLE.answer(17, "the same retry for everybody", saying(b"retry: 3000\n\n", *events()), is_risk=True, seconds=1.5)
TABLE.behind(18, "a stream left open behind a hop", "nginx", by_version(1000, "X-Accel-Buffering: no"), also=True,
             is_risk=True, seconds=1.0)  # fmt: skip
# -- refused, and the rest ---------------------------------------------------------------------------------------------


@TABLE.add(19, "Connection in an HTTP/2 answer", seconds=1.0)
def _() -> Iterator[Asked]:
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        fields = ((b"content-type", b"text/event-stream"), (b"connection", b"keep-alive"))
        with over_http2(authority.context(alpn=("h2", "http/1.1")), *fields) as url:
            yield url, {"cafile": authority.cafile}


TABLE.behind(20, "an Upgrade dropped", "nginx", healthy_socket, socket=True, seconds=1.0)
TABLE.behind(20, "an Upgrade dropped", "nginx", healthy_socket, socket=True, also=True, seconds=1.0)
TABLE.answer(20, "answered 426", not_upgraded, socket=True)
TABLE.answer(22, "JSON without a field", saying(*events(), b'{"n": 1}\n\n'))
TABLE.answer(22, "not UTF-8", saying(b"data: caf\xe9\n\n"))
TABLE.answer(22, "the last block without its blank line", saying(event(1), b"data: lost\n", ends=True))
TABLE.answer(22, "a masked frame from a server", masked, socket=True)


@TABLE.add(23, "head and body in two writes")
def _() -> Iterator[Asked]:
    with serving(in_two_writes) as url:
        yield url, {}


TABLE.behind(23, "small writes that wait", "haproxy", by_version(1000), also=True)
TABLE.answer(24, "generated first and replayed", replayed)
TABLE.both((1, 24), "generated first and replayed", replayed, endless)
TABLE.add(25, "two synchronous workers", "gunicorn")(gunicorn)
TABLE.answer(26, "recorded", recorded)


@TABLE.add(26, "recorded by proxy_cache", "nginx")
def _() -> Iterator[Asked]:
    cached = (
        ("  server {\n", "  proxy_cache_path cache keys_zone=all:1m;\n  server {\n"),
        (EARLIER, f"{EARLIER} proxy_cache all; proxy_cache_valid 200 1h; add_header X-Cache $upstream_cache_status;"),
    )
    with planted(by_version(6)) as direct, behind("nginx", direct, *cached) as nginx:
        with urllib.request.urlopen(nginx.url) as first:
            first.read()
        yield nginx.url, {}


TABLE.answer(28, "pieces of 4 096 bytes", copied)
PLANTS = tuple(TABLE.plants)
