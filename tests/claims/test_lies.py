"""A table of lies, each planted in the kit itself, and the claim whose verdict refutes it.

A row is the smallest experiment over real sockets that decides: what it gave is put to the judge as a notebook does it.
The same experiments without their lies are not refuted. What the machine's noise leaves undecided is tried again.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import psutil
import pytest
from broken import changed, swallowed, with_client, with_options
from lying import NEVER_DEFLATING

import labkit
from conftest import UNIT
from labkit.claims import checking
from labkit.claims.finding import Finding
from labkit.client.http import HTTPClient
from labkit.client.http_connection import HTTPConnection
from labkit.course.alone import in_a_lab
from labkit.course.claims import CLAIMS
from labkit.course.long_polling.event_rates import rates
from labkit.course.long_polling.exchanges import connections, payloads
from labkit.course.polling import intervals, pollers, price
from labkit.course.sse.reconnections import Resumption, cut, returns
from labkit.course.websocket import compression
from labkit.course.websocket.beside_tcp import against_tcp
from labkit.course.websocket.crossing import both_ways
from labkit.lab.page_clock import Clock
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.measuring.schedules import burst, periodic
from labkit.network import link
from labkit.server.socket_route import EchoSocket
from labkit.techniques import Delivery, Technique, find, http_streaming, long_polling, sse
from labkit.wire import envelope
from labkit.wire.events import Gap, now_ns
from labkit.wire.frames import Frame, Opcode
from raw_websocket import MASK, RawClient

Plant = Callable[[pytest.MonkeyPatch], None]
Item = Delivery | Gap

TRIES = 3
"""How often an experiment may be repeated that the machine's noise left undecided."""
BUSY = 1.5
"""How many programs want each core of a machine whose noise may leave anything undecided."""

pytestmark = [pytest.mark.timing, pytest.mark.timeout(60 * UNIT)]


@dataclass(frozen=True)
class Lie:
    """A lie: how it is planted, the smallest experiment that decides, the claim it refutes, and by what words."""

    name: str
    plant: Plant
    experiment: Callable[[], Any]
    claim: str
    says: str


# The smallest experiments


def streams(lab: labkit.Lab) -> Run:
    return measure(lab, ["http-streaming"], periodic(40, 1.5), one_way_s=0.05, progress=False)


def beside(lab: labkit.Lab, change: Callable[[Item], list[Item]] = lambda item: [item]) -> Run:
    """A stream beside a WebSocket whose client passes on what *change* makes of each item."""
    both = find("http-streaming"), with_client(changed, find("websocket"), change=change)
    return measure(lab, both, periodic(100, 2.2), one_way_s=0.05, progress=False)


def dropping(change: Callable[[Item], list[Item]]) -> Run:
    """A burst that a slow reader's queue cannot hold."""
    narrow = link.Link(one_way_s=0.05, rate_bytes_per_s=400_000)
    schedule = burst(events=60, every_s=0.2, duration_s=0.2, payload_bytes=20_000)
    slow = with_client(changed, change=change)
    with labkit.Lab("dropping", slow="drop-oldest", queue=8, send_buffer_bytes=1 << 14) as lab:
        return measure(lab, [slow], schedule, through=narrow, settle_s=1.0, progress=False)


def resumed(lab: labkit.Lab) -> Resumption:
    return Resumption(returns({0.05: 24}), cut(lab, duration_s=2.8))


class PlayedPage:
    """A page played by a thread: its clock is a thousand seconds behind; it reports each event of a stream."""

    behind_ms = 1e6

    def __init__(self, lab: labkit.Lab, subscriber: str) -> None:
        self.reporting = RawClient(lab.port, "/browser")
        self.reporting.frame()
        streams = {"subscriber": subscriber, "page": "played", "topic": "", "streams": ["sse"]}
        self.ask(attach=streams)
        before: list[float] = []
        for _ in range(4):
            asked_ms = self.clock_ms
            self.ask(clock=asked_ms, last=before)
            before = [asked_ms, self.clock_ms]
        self.stream = socket.create_connection(("127.0.0.1", lab.port))
        self.stream.sendall(b"GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    @property
    def clock_ms(self) -> float:
        return now_ns() / 1e6 - self.behind_ms

    def ask(self, **told: Any) -> None:
        self.reporting.send(Frame(Opcode.TEXT, json.dumps(told).encode(), mask=MASK))
        self.reporting.frame()

    def read(self) -> None:
        while data := self.stream.recv(1 << 16):
            for number, cursor in re.findall(rb"id: (\d+)(@\w+)\ndata: ", data):
                arrived = [[int(number), self.clock_ms, 20]]
                cursors = {"sse": (number + cursor).decode()}
                self.ask(report=int(number), arrivals={"sse": arrived}, cursors=cursors)

    def close(self) -> None:
        self.stream.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.stream.close()
        self.reporting.sock.close()


def paged(lab: labkit.Lab) -> Run:
    """A stream beside a page."""
    with closing(labkit.BrowserSubscriber(lab, "sse")) as subscriber, closing(PlayedPage(lab, subscriber.key)):
        return streams(lab)


STREAMS = in_a_lab(streams)
BESIDE = in_a_lab(beside)
RESUMED = in_a_lab(resumed)
RATES = in_a_lab(partial(rates, duration_s=2.0))
SWEEP = in_a_lab(partial(intervals.sweep, intervals_s=(0.2, 0.3, 0.4), each=6, duration_s=2.0))
COSTS = in_a_lab(price.costs)
CONNECTIONS = in_a_lab(partial(connections, duration_s=2.5))
CROSSING = in_a_lab(partial(both_ways, duration_s=2.0))
DEFLATED = partial(compression.deflate, count=200, rounds=3, connections=10)
PAYLOADS = in_a_lab(partial(payloads, sizes=(1, 200, 1000), duration_s=1.4))
PAGED = in_a_lab(paged)
TRIPS = in_a_lab(partial(against_tcp, sizes=(1,), trips=8, bare_trips=60))


# How the lies are planted


def stamped_late(patch: pytest.MonkeyPatch) -> None:
    from labkit.server.hub import Hub

    publish = Hub.publish
    patch.setattr(Hub, "publish", lambda hub, data, topic, ns: publish(hub, data, topic, ns + 30_000_000))


def reuse_forgotten(patch: pytest.MonkeyPatch) -> None:
    request = HTTPConnection.request

    async def forgetting(self: HTTPConnection, *args: Any, **more: Any) -> None:
        await request(self, *args, **more)
        self.record.requests = 1

    patch.setattr(HTTPConnection, "request", forgetting)


def only_the_first(patch: pytest.MonkeyPatch) -> None:
    whole = long_polling.LongPollingHandler.page

    def page(self: Any, cursor: Any) -> Any:
        found = whole(self, cursor)
        if len(found.events) < 2:
            return found
        first, epoch = found.events[0], found.cursor.partition("@")[2]
        return replace(found, events=[first], cursor=f"{first.id}@{epoch}")

    patch.setattr(long_polling.LongPollingHandler, "page", page)


def resuming(by: int) -> Plant:
    """The server goes on so many events later than it was asked to."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        read_after = sse.SSEHandler.read_after

        def shifted(self: Any) -> Any:
            cursor = read_after(self)
            again = cursor is not None and self.request.headers.get("Last-Event-ID")
            return replace(cursor, n=cursor.n + by) if again and cursor is not None else cursor

        patch.setattr(sse.SSEHandler, "read_after", shifted)

    return plant


def never_deflated(patch: pytest.MonkeyPatch) -> None:
    """The server agrees to deflate, and sends plain frames."""
    patch.setattr(compression, "Lab", partial(labkit.Lab, techniques=NEVER_DEFLATING))


def each_second_late(patch: pytest.MonkeyPatch) -> None:
    send = http_streaming.HTTPStreamingHandler.send

    async def late(self: Any, data: bytes) -> None:
        number = re.search(rb'"id": ?(\d+)', data)
        if number and int(number[1]) % 2:
            await asyncio.sleep(0.03)
        await send(self, data)

    patch.setattr(http_streaming.HTTPStreamingHandler, "send", late)
    by_the_ordinary_way(patch)


def by_the_ordinary_way(patch: pytest.MonkeyPatch) -> None:
    from labkit.server import fanout

    patch.setattr(fanout, "attach_stream", lambda *_: None)


def one_way_only(patch: pytest.MonkeyPatch) -> None:
    release_s = link._Direction._release_s

    def release(self: Any, size_bytes: int) -> float:
        return float(self._flow.now()) if self._source._incoming == "out" else release_s(self, size_bytes)

    patch.setattr(link._Direction, "_release_s", release)


def careless(patch: pytest.MonkeyPatch) -> None:
    """Clients that say that they ask every T, and count T from the answer."""
    poller = pollers.poller

    def waiting(*args: Any, **more: Any) -> Technique:
        return with_client(with_options, poller(*args, **more), always={"wait_after_answer": True})

    patch.setattr(pollers, "poller", waiting)
    patch.setattr(price, "poller", waiting)


def closing_each(patch: pytest.MonkeyPatch) -> None:
    init = HTTPClient.__init__

    def closing(self: HTTPClient, *args: Any, **more: Any) -> None:
        init(self, *args, **more)
        self.headers["Connection"] = "close"

    patch.setattr(HTTPClient, "__init__", closing)


def websocket_late(patch: pytest.MonkeyPatch) -> None:
    on_message = EchoSocket.on_message

    async def late(self: Any, message: str | bytes) -> None:
        await asyncio.sleep(0.005)
        if (said := on_message(self, message)) is not None:
            await said

    patch.setattr(EchoSocket, "on_message", late)


def wrong_sign(patch: pytest.MonkeyPatch) -> None:
    estimate = Clock.estimate.fget
    assert estimate is not None
    patch.setattr(Clock, "estimate", property(lambda self: (-estimate(self)[0], estimate(self)[1])))


def each_200th_lost(item: Item) -> list[Item]:
    return [] if isinstance(item, Delivery) and item.event_id % 200 == 0 else [item]


def escaped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(envelope, "_dumps", json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode)


def nothing(_: pytest.MonkeyPatch) -> None:
    """The lie is told by the experiment itself."""


# The table

LIES = (
    Lie("published stamp 30 ms late", stamped_late, STREAMS, "S3", "too early to be true"),
    Lie("requests on a reused connection forgotten", reuse_forgotten, RATES, "L2", "answers with events to"),
    Lie("a long poll answers only the first queued event", only_the_first, RATES, "L3", "events per answer|lost"),
    Lie("replay one id late", resuming(1), RESUMED, "E2", "lost"),
    Lie("deflate negotiated and not applied", never_deflated, DEFLATED, "W9", "no kind of message"),
    Lie("delay one way only", one_way_only, CROSSING, "W2", "up: median"),
    Lie("each second event flushed late", each_second_late, STREAMS, "S3", r"[1-9]\d* later in"),
    Lie("the next poll T after the answer: late", careless, SWEEP, "P1", "mean"),
    Lie("the next poll T after the answer: cheap", careless, COSTS, "P2", "polls came every T, .* later"),
    Lie("Connection: close on each poll", closing_each, CONNECTIONS, "L5", "connections"),
    Lie("WebSocket alone 5 ms later", websocket_late, TRIPS, "W10", "times as long"),
    Lie("each 200th event dropped by one technique", nothing, in_a_lab(partial(beside, change=each_200th_lost)), "S3",
        "websocket: 1 event"),
    Lie("one duplicate after a reconnect", resuming(-1), RESUMED, "E2", "twice"),
    Lie("escapes where raw UTF-8 is promised", escaped, PAYLOADS, "L4", "whatever its text"),
    Lie("a drop not counted", nothing, partial(dropping, swallowed), "S3", "no gap told"),
    Lie("a page's clock offset with the wrong sign", wrong_sign, PAGED, "S3",
        r"sse \(browser\): .* (too early|can have|over)"),
)  # fmt: skip


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name)
def test_a_planted_lie_is_refuted(lie: Lie, monkeypatch: pytest.MonkeyPatch) -> None:
    lie.plant(monkeypatch)
    found = decided(lie.claim, lie.experiment)
    assert found.verdict == "refuted", found
    assert re.search(lie.says, found.reason), found


def test_each_row_names_a_claim() -> None:
    assert {lie.claim for lie in LIES} <= CLAIMS.keys()


HONEST = {
    lie.experiment: sorted({other.claim for other in LIES if other.experiment is lie.experiment})
    for lie in LIES
    if lie.plant is not nothing
}


@pytest.mark.parametrize("experiment", HONEST, ids=lambda one: ", ".join(HONEST[one]))
def test_the_same_experiment_without_a_lie_is_not_refuted(experiment: Callable[[], Any]) -> None:
    seen = experiment()
    for claim in HONEST[experiment]:
        found = checking.judge(claim, seen)
        assert found.verdict != "refuted", found


def decided(claim: str, experiment: Callable[[], Any]) -> Finding:
    """The first verdict that the machine's noise did not leave open."""
    for _ in range(TRIES):
        found = checking.judge(claim, experiment())
        if found.verdict != "undecided":
            return found
    if (busy := psutil.getloadavg()[0] / (psutil.cpu_count() or 1)) > BUSY:
        pytest.skip(f"this machine decides nothing now: {busy:.1f} programs want each of its cores")
    return found
