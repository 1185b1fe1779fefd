"""Fan-out straight to sockets: who is sent to directly, and that nothing is overtaken, split, repeated or lost."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

from test_hub import Socket, a_hub, ids, on_loop, plain, put, read
from tornado.iostream import StreamClosedError

from labkit.server.fanout import TellingStream, attach_stream
from labkit.server.hub import Hub
from labkit.server.subscriber import Subscriber
from labkit.wire.events import Gap


async def parked(hub: Hub, sent: list[bytes], **options: Any) -> tuple[Subscriber, asyncio.Task[Any]]:
    """A subscriber whose handler is parked, and what is read through that handler."""
    subscriber = hub.subscribe("", None, plain, **options)
    hub.regroup(subscriber, None, Socket(lambda data: not sent.append(data)))
    reading = asyncio.ensure_future(read(subscriber, 1 << 30))
    await asyncio.sleep(0)
    assert subscriber.idle
    return subscriber, reading


@on_loop
async def test_the_history_has_let_go_of_some_before_they_were_fanned_out_so_a_gap_comes_first() -> None:
    async with a_hub(history_events=2) as hub:
        sent: list[bytes] = []
        subscriber, reading = await parked(hub, sent)
        put(hub, *"abcde")
        hub.drain()
        await asyncio.sleep(0)
        subscriber.close()
        gap, *events = await reading
        assert sent == [] and isinstance(gap, Gap) and gap.next == 4 and ids(events) == [4, 5]


@on_loop
async def test_one_that_conflates_is_sent_single_events_directly_and_only_the_newest_of_several() -> None:
    async with a_hub() as hub:
        sent: list[bytes] = []
        subscriber, reading = await parked(hub, sent, conflate=True)
        put(hub, "a")
        hub.drain()
        assert len(sent) == 1
        put(hub, *"bcd")
        hub.drain()
        await asyncio.sleep(0)
        subscriber.close()
        assert len(sent) == 1 and ids(await reading) == [4]


@on_loop
async def test_nothing_is_sent_to_one_that_left_in_the_same_turn() -> None:
    async with a_hub() as hub:
        sent: list[bytes] = []
        stays, reading = await parked(hub, sent)
        leaves, left = await parked(hub, sent)
        leaves.close()
        put(hub, "a")
        hub.drain()
        assert len(sent) == 1
        stays.close()
        assert await reading == await left == []


@on_loop
async def test_nothing_is_sent_directly_while_the_handler_is_at_work() -> None:
    async with a_hub() as hub:
        sent: list[bytes] = []
        subscriber = hub.subscribe("", None, plain)
        hub.regroup(subscriber, None, Socket(lambda data: not sent.append(data)))
        waiting = asyncio.ensure_future(subscriber.wait())
        await asyncio.sleep(0)
        subscriber.wake()
        assert await waiting is False  # a heartbeat, which the handler now writes
        put(hub, "a")
        hub.drain()
        assert sent == [] and ids(subscriber.pull()) == [1]
        subscriber.close()


@contextlib.asynccontextmanager
async def a_stream(hub: Hub) -> AsyncIterator[tuple[TellingStream, socket.socket, Subscriber]]:
    """A stream, its peer, and a subscriber that it is attached to."""
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    stream = TellingStream(ours)
    subscriber = hub.subscribe("", None, plain)
    attach_stream(stream, subscriber, None)
    writing = asyncio.ensure_future(write(stream, subscriber))
    try:
        yield stream, peer, subscriber
    finally:
        subscriber.close()
        await writing
        stream.close()
        peer.close()


async def write(stream: TellingStream, subscriber: Subscriber) -> None:
    """What a handler does."""
    with contextlib.suppress(StreamClosedError):
        async for block in subscriber.blocks():
            await stream.write(block)


async def received(peer: socket.socket, size: int, got: bytes = b"") -> bytes:
    peer.setblocking(False)
    while len(got) < size:
        got += await asyncio.get_running_loop().sock_recv(peer, 1 << 20)
    return got


LONG = b"~" * (4 << 20)  # more than a socket takes
LINE = b'{"id":1,"data":"a"}\n'


@on_loop
async def test_an_event_does_not_split_what_the_stream_has_begun_to_write() -> None:
    async with a_hub() as hub, a_stream(hub) as (stream, peer, subscriber):
        await asyncio.sleep(0)
        assert subscriber.idle
        done = stream.write(LONG)
        begun = peer.recv(1 << 20)  # now the socket would take an event
        put(hub, "a")
        hub.drain()
        assert await received(peer, len(LONG + LINE), begun) == LONG + LINE
        await done


@on_loop
async def test_a_handler_that_is_parked_while_its_stream_still_writes_is_not_passed_by() -> None:
    async with a_hub() as hub, a_stream(hub) as (stream, peer, subscriber):
        done = stream.write(LONG)
        await asyncio.sleep(0)
        assert subscriber.idle  # it parks only now
        begun = peer.recv(1 << 20)
        put(hub, "a")
        hub.drain()
        assert await received(peer, len(LONG + LINE), begun) == LONG + LINE
        await done


@on_loop
async def test_what_a_socket_takes_in_part_is_completed_before_the_next_event() -> None:
    async with a_hub() as hub, a_stream(hub) as (_, peer, subscriber):
        await asyncio.sleep(0)
        put(hub, "x" * (4 << 20))
        hub.drain()
        begun = peer.recv(1 << 20)
        put(hub, "b")
        hub.drain()
        assert subscriber.written == 1
        both = b'{"id":1,"data":"' + b"x" * (4 << 20) + b'"}\n' + b'{"id":2,"data":"b"}\n'
        assert await received(peer, len(both), begun) == both


@on_loop
async def test_a_peer_that_reset_the_connection_costs_the_others_nothing() -> None:
    async with a_hub() as hub, a_stream(hub) as (stream, gone, _), a_stream(hub) as (_, peer, _):
        await asyncio.sleep(0)
        gone.close()
        put(hub, "a")
        hub.drain()
        assert stream.closed() and await received(peer, len(LINE)) == LINE
