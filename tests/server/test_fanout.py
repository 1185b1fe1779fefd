"""Fan-out straight to sockets: who is sent to directly, and that nothing is overtaken, split, repeated or lost."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from test_hub import Socket, a_hub, ids, on_loop, plain, put, read
from test_websocket_server import MASK, RawClient
from tornado.iostream import StreamClosedError

from labkit import loop
from labkit.lab.lab import Lab
from labkit.server.encoding import Encode, Item
from labkit.server.fanout import TellingStream, attach_stream
from labkit.server.hub import Hub
from labkit.server.subscriber import Subscriber
from labkit.subscribing.contract.receiver import Receiver, check_marks
from labkit.techniques import find
from labkit.techniques.websocket import EventsSocket
from labkit.wire.events import Event, Gap
from labkit.wire.frames import Frame, Opcode


async def parked(
    hub: Hub, sent: list[bytes], encode: Encode = plain, **options: Any
) -> tuple[Subscriber, asyncio.Task[Any]]:
    """A subscriber whose handler is parked, and what is read through that handler."""
    subscriber = hub.subscribe("", None, encode, **options)
    subscriber.attach(None, Socket(lambda data: not sent.append(data)))
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
async def test_each_technique_has_its_turn_to_be_first_whether_events_come_alone_or_together() -> None:
    async with a_hub() as hub:
        order: list[str] = []
        reading = []
        for name in "abc":

            def encode(item: Item, epoch: str) -> bytes:
                return plain(item, epoch)

            def take(data: bytes, name: str = name) -> bool:
                order.append(name)
                return True

            subscriber = hub.subscribe("", None, encode)
            subscriber.attach(None, Socket(take))
            reading.append((subscriber, asyncio.ensure_future(read(subscriber, 1 << 30))))
        await asyncio.sleep(0)
        for events in ("x", "x", "x", "yy", "yy", "yy"):
            put(hub, *events)
            hub.drain()
        assert "".join(order) == "abcbcacab" * 2
        for subscriber, task in reading:
            subscriber.close()
            await task


@on_loop
async def test_an_encoding_that_fails_costs_only_those_who_are_told_in_it() -> None:
    def only_text(item: Item, epoch: str) -> bytes:
        if isinstance(item, Event) and isinstance(item.data, bytes):
            raise TypeError("no bytes")
        return plain(item, epoch)

    async with a_hub() as hub:
        sent: list[bytes] = []
        here = [await parked(hub, sent), await parked(hub, sent, encode=only_text), await parked(hub, sent)]
        put(hub, "a", topic="another")
        put(hub, b"b")
        put(hub, "c", topic="a third")
        hub.drain()
        await asyncio.sleep(0)
        assert len(sent) == 2 and hub.counts.delivered == 3  # two directly
        assert not hub._dirty
        for subscriber, _ in here:
            subscriber.close()
        assert [ids(await reading) for _, reading in here] == [[], [1], []]


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
        subscriber.attach(None, Socket(lambda data: not sent.append(data)))
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


@on_loop
async def test_after_a_write_that_left_whole_events_go_straight_out_again_behind_it() -> None:
    async with a_hub() as hub, a_stream(hub) as (stream, peer, subscriber):
        await asyncio.sleep(0)
        done = stream.write(b"ping\n")
        put(hub, "a")
        hub.drain()
        assert subscriber.reached == 1  # its handler has had no turn
        assert await received(peer, len(b"ping\n" + LINE)) == b"ping\n" + LINE
        await done


@on_loop
async def test_nothing_is_sent_directly_after_what_must_come_last() -> None:
    async with a_hub() as hub, a_stream(hub) as (stream, peer, subscriber):
        await asyncio.sleep(0)
        stream.part()
        await stream.write(b"the last\n")
        put(hub, "a")
        hub.drain()
        assert subscriber.written == 0
        assert await received(peer, len(b"the last\n")) == b"the last\n"


@on_loop
async def test_one_that_catches_up_lets_others_have_their_turns() -> None:
    async with a_hub() as hub:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        subscriber = hub.subscribe("", None, plain)
        put(hub, *["x" * (64 << 10)] * 20)
        hub.drain()
        beside = asyncio.ensure_future(others())
        blocks = 0
        async for _ in subscriber.blocks():  # a socket that takes everything at once
            blocks += 1
            if blocks == 20:
                break
        beside.cancel()
        subscriber.close()
        assert turns >= 18


# -- what a lab writes ------------------------------------------------------------------------------------------------


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is written to streams that tell; what fan-out sends directly is not among it."""
    written: list[bytes] = []
    write = TellingStream.write

    def put_down(stream: TellingStream, data: bytes) -> Any:
        written.append(bytes(data))
        return write(stream, data)

    monkeypatch.setattr(TellingStream, "write", put_down)
    return written


def test_a_pong_and_the_answer_to_a_publish_leave_a_socket_to_direct_fan_out(writes: list[bytes]) -> None:
    with Lab("fanout-test") as lab:
        client = RawClient(lab.port, "/websocket")
        with client.sock:
            assert b"cursor" in read_frame(client).payload
            for asked, opcode in [(Frame(Opcode.PING, b"hi"), Opcode.PONG), (Frame(Opcode.TEXT, PUBLISH), Opcode.TEXT)]:
                del writes[:]
                client.send(dataclasses.replace(asked, mask=MASK))
                assert read_frame(client).opcode is opcode
                if opcode is Opcode.PONG:
                    lab.publish("x")
                assert b'"data":"x"' in read_frame(client).payload
                assert len(writes) == 1  # the pong, or the answer


@pytest.mark.parametrize("fanout", ["direct", "plain"])
@pytest.mark.parametrize(
    "options", [{}, {"binary": True}, {"deflate": True}, {"binary": True, "deflate": True}], ids=str
)
def test_a_batch_of_messages_is_one_write(writes: list[bytes], options: dict[str, bool], fanout: str) -> None:
    with Lab("fanout-test", fanout=fanout) as lab:
        for number in range(50):
            lab.publish(f"event {number}")
        technique = find("websocket")
        with Receiver(technique, lab.url_of("websocket"), after="0", **options) as receiver:
            receiver.wait_for(50)
            assert receiver.ids == list(range(1, 51))
            check_marks(receiver.ledger.connections[0])
        begun = next(i for i, data in enumerate(writes) if data.startswith(b"HTTP/1.1 101 "))
        assert len(writes[begun + 1 : -1]) == 2  # where it begins, and the batch; at the end the close frame


@pytest.mark.parametrize("options", [{}, {"binary": True}, {"deflate": True}], ids=str)
def test_neither_a_delivery_nor_an_answer_takes_a_task(options: dict[str, bool]) -> None:
    made = 0

    def count(running: asyncio.AbstractEventLoop, coro: Any, **more: Any) -> asyncio.Task[Any]:
        nonlocal made
        made += 1
        return asyncio.Task(coro, loop=running, **more)

    async def watch(factory: Any) -> None:
        asyncio.get_running_loop().set_task_factory(factory)

    query = "?" + "&".join(f"{name}=1" for name in options)
    extensions = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if "deflate" in options else ""
    with Lab("fanout-test", fanout="plain") as lab:
        client = RawClient(lab.port, "/websocket" + query, extensions)
        with client.sock:
            read_frame(client)
            loop.run(watch(count))
            made = 0
            for _ in range(10):  # each is answered, and delivered
                client.send(Frame(Opcode.TEXT, PUBLISH, mask=MASK))
                read_frame(client), read_frame(client)
            in_all = made
            loop.run(watch(None))
        assert in_all == 0


class Farewell(EventsSocket):
    """Says goodbye at the client's first word, and waits for the client's answer to that."""

    def on_message(self, message: str | bytes) -> None:
        self.close(4000, "goodbye")


def test_nothing_follows_a_close_frame_while_its_answer_is_waited_for() -> None:
    websocket = find("websocket")
    mine = dataclasses.replace(websocket, name="farewell", route="/farewell", handler=Farewell)
    with (
        Lab("fanout-test", techniques=(websocket, mine)) as lab,
        Receiver(websocket, lab.url_of("websocket")) as beside,
    ):
        beside.wait(lambda: beside.begins)
        client = RawClient(lab.port, "/farewell")
        with client.sock:
            assert read_frame(client).opcode is Opcode.TEXT
            client.send(Frame(Opcode.TEXT, b"well?", mask=MASK))
            assert read_frame(client).opcode is Opcode.CLOSE
            lab.publish("too late")
            beside.wait_for(1)
            client.send(Frame(Opcode.CLOSE, mask=MASK))
            assert client.frame() is None


PUBLISH = b'{"publish":"x"}'


def read_frame(client: RawClient) -> Frame:
    frame = client.frame()
    assert frame is not None
    return frame
