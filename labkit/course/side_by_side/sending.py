"""A client that sends messages to the server: over its WebSocket, or by POST beside what it receives by.

Every message goes through one link, and comes back to the client as an event. A listener beside the server, without
a link, tells in which order and when the server had them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from labkit.client.connection import Connection
from labkit.client.http import refuse_unless
from labkit.client.http_connection import HTTPConnection
from labkit.client.ledger import Ledger
from labkit.client.websocket import WebSocketConnection
from labkit.client.wiring import Wiring
from labkit.course.background import cancelled, until
from labkit.errors import ConnectionLost
from labkit.lab.lab import Lab
from labkit.measuring.schedules import payload
from labkit.network.link import Link
from labkit.techniques import Delivery, find
from labkit.wire.events import now_ns

POST = "post"
"""What a technique without a way up sends its messages by."""
BROWSER_CONNECTIONS = 6
"""How many connections a browser opens to one host."""
SETTLE_S = 3.0
ANSWER_FRAME_BYTES = 2
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}


@dataclass(frozen=True)
class Way:
    """One way up: how a message is sent, and by which technique the client receives."""

    mode: str
    back: str
    keep_alive: bool = True
    preflight: bool = False


WAYS = (
    Way("websocket", "websocket"),
    Way(POST, "sse"),
    Way("post, connection each", "sse", keep_alive=False),
    Way("post, preflight each", "sse", preflight=True),
    Way("post beside long poll", "long-polling"),
)


@dataclass(frozen=True)
class Leg:
    """Messages of one client at one rate.

    Attributes:
        order: the messages' numbers in the order of their event ids.
        latency_s: from due until the server had it, by the message's place in *order*.
        bytes: of both directions on the way up, answers included, message by message, as they were sent.
        connections: how many it took.
        back_bytes: what the client's receiving cost in all, for these same messages as events.
    """

    mode: str
    rate_per_s: float
    sent: int
    order: tuple[int, ...]
    latency_s: tuple[float, ...]
    bytes: tuple[int, ...]
    connections: int
    back_bytes: int = 0

    @property
    def swapped(self) -> int:
        """Messages that came after a later one."""
        newest, late = -1, 0
        for number in self.order:
            late += number < newest
            newest = max(newest, number)
        return late

    @property
    def lost(self) -> int:
        return self.sent - len(set(self.order))

    @property
    def twice(self) -> int:
        return len(self.order) - len(set(self.order))


@dataclass
class Client:
    """One client at one rate: sends, receives, and knows what the listener heard."""

    lab: Lab
    link: Link
    way: Way
    rate_per_s: float
    count: int
    payload_bytes: int
    ready: asyncio.Barrier  # all begin together: connections being made would delay the others' messages
    heard: list[tuple[int, int, int]] = field(default_factory=list)  # event id, message number, when
    due_ns: dict[int, int] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    came_back: int = 0

    @property
    def topic(self) -> str:
        return f"08-{self.way.mode}-{self.rate_per_s:g}"

    async def run(self) -> Leg:
        going_up, coming_back = Ledger(0), Ledger(0)
        after = await asyncio.to_thread(self.lab.cursor, self.topic)
        async with contextlib.AsyncExitStack() as stack:
            sender = _over_websocket if self.way.mode == "websocket" else _by_post
            listening, receiving = asyncio.Event(), asyncio.Event()
            tasks = [asyncio.ensure_future(self._hear(after, listening))]
            stack.push_async_callback(lambda: cancelled(*tasks))
            send = await stack.enter_async_context(sender(self, going_up))
            if self.way.mode != "websocket":  # there the same socket brings them
                tasks.append(asyncio.ensure_future(self._receive(after, coming_back, receiving)))
                await receiving.wait()
            await listening.wait()
            await self.ready.wait()
            await self._send_all(send)
            await until(lambda: min(len(self.heard), self.came_back) >= self.count, SETTLE_S, 0.01)
        self.heard.sort()
        order = tuple(number for _, number, _ in self.heard)
        latency_s = tuple((heard_ns - self.due_ns[number]) / 1e9 for _, number, heard_ns in self.heard)
        back_bytes = sum(record.bytes_total for record in coming_back.connections)
        if self.way.mode == "websocket":
            back_bytes = sum(record.bytes_total for record in going_up.connections) - sum(self.sizes.values())
        sizes = tuple(self.sizes[number] for number in sorted(self.sizes))
        connections = len(going_up.connections)
        return Leg(self.way.mode, self.rate_per_s, self.count, order, latency_s, sizes, connections, back_bytes)

    async def _send_all(self, send: Callable[[int, str], Coroutine[Any, Any, int]]) -> None:
        """Send each message when it is due, whether or not those before it have been answered."""
        start_ns, period_ns = now_ns() + 20_000_000, int(1e9 / self.rate_per_s)

        async def one(number: int, data: str) -> None:
            self.sizes[number] = await send(number, data)

        async with asyncio.TaskGroup() as group:
            for number in range(self.count):
                due_ns = self.due_ns[number] = start_ns + number * period_ns
                await asyncio.sleep(max(0.0, (due_ns - now_ns()) / 1e9))
                group.create_task(one(number, f"{number:06d} {payload(number, max(0, self.payload_bytes - 7))}"))

    async def _hear(self, after: str, there: asyncio.Event) -> None:
        url, told = self.lab.url_of("websocket"), lambda _: there.set()
        items = find("websocket").connect(url, topic=self.topic, after=after, on_open=told)
        async with aclosing(items) as arriving:
            async for item in arriving:
                if isinstance(item, Delivery):
                    self.heard.append((item.event_id, int(str(item.data)[:6]), item.received_ns))

    async def _receive(self, after: str, ledger: Ledger, there: asyncio.Event) -> None:
        back, told = find(self.way.back), lambda _: there.set()
        url = back.url("127.0.0.1", dict(self.link.ports))
        items = back.connect(url, topic=self.topic, after=after, ledger=ledger, on_open=told)
        async with aclosing(items) as arriving:
            async for item in arriving:
                self.came_back += isinstance(item, Delivery)


@contextlib.asynccontextmanager
async def _over_websocket(client: Client, ledger: Ledger) -> AsyncIterator[Any]:
    """One socket for both directions. A message's bytes: its frame, and the frame of the answer."""
    wiring = Wiring(ledger, "websocket", 0)
    url = find("websocket").url("127.0.0.1", dict(client.link.ports))
    socket = await WebSocketConnection.open(url, wiring, topic=client.topic)
    answers: dict[int, asyncio.Future[int]] = {}
    record = socket.record

    async def read() -> None:
        async for message in socket:
            told = json.loads(message)
            if "ref" in told:
                answers[told["ref"]].set_result(len(message) + ANSWER_FRAME_BYTES)
            client.came_back += "id" in told

    async def send(number: int, data: str) -> int:
        answers[number] = asyncio.get_running_loop().create_future()
        before = record.bytes_out
        await socket.send(json.dumps({"publish": data, "ref": number}, separators=(",", ":")))
        return record.bytes_out - before + await answers[number]

    reading = asyncio.ensure_future(read())
    try:
        yield send
    finally:
        await cancelled(reading)
        await socket.close()


@contextlib.asynccontextmanager
async def _by_post(client: Client, ledger: Ledger) -> AsyncIterator[Any]:
    """POST by as many connections as a browser opens: a free one, else a new one, else wait for the next."""
    wiring = Wiring(ledger, POST, 0)
    port, way = client.link.ports["http"], client.way
    room, idle, every = asyncio.Semaphore(BROWSER_CONNECTIONS - 1), list[HTTPConnection](), list[HTTPConnection]()
    headers = {"Host": f"127.0.0.1:{port}", "User-Agent": "labkit", "Accept": "*/*"}
    headers |= {} if way.keep_alive else {"Connection": "close"}
    target = f"/events?topic={client.topic}".replace(" ", "%20")

    async def exchange(http: HTTPConnection, method: str, fields: dict[str, str], body: bytes) -> None:
        await http.request(method, target, {**headers, **fields}, body=body)
        response = await http.response()
        text = (await http.read_body()).decode()
        refuse_unless(response, (200, 204), text)
        if not http.next_cycle() or not way.keep_alive:
            http.close()

    async def send(number: int, data: str) -> int:
        async with room:
            http = idle.pop() if idle else HTTPConnection(await Connection.open("127.0.0.1", port, wiring))
            before = http.record.bytes_total
            every.append(http)
            if way.preflight:
                await exchange(http, "OPTIONS", PREFLIGHT, b"")
            await exchange(http, "POST", {"Content-Type": "text/plain"}, data.encode())
            if not http.connection.closed:
                idle.append(http)
            return http.record.bytes_total - before

    try:
        yield send
    finally:
        for http in every:
            with contextlib.suppress(ConnectionLost):
                http.close()
