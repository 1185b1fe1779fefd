"""When an idle subscriber is woken for a heartbeat: heartbeat_s after the last bytes, and not sooner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from test_hub import Socket, a_hub, on_loop, plain, put

from conftest import UNIT
from labkit.server.hub import Hub
from labkit.server.subscriber import Subscriber

BEAT_S = 0.05 * UNIT
SHORT_S = 0.001  # timers of a loop may go off so much early


async def listen(subscriber: Subscriber, beats_s: list[float]) -> None:
    """What a handler does; when each heartbeat came."""
    async for block in subscriber.blocks(b":\n"):
        if block == b":\n":
            beats_s.append(asyncio.get_running_loop().time())


async def sleeps(count: int) -> None:
    """So many intervals, one after another, on the same loop: late whenever the loop is."""
    for _ in range(count):
        await asyncio.sleep(BEAT_S)


@on_loop
async def test_beats_come_one_interval_apart_and_the_first_one_interval_after_the_beginning() -> None:
    async with a_hub(heartbeat_s=BEAT_S) as hub:
        beats_s: list[float] = []
        subscriber = hub.subscribe("", None, plain)
        began_s = hub.loop.time()
        listening = asyncio.ensure_future(listen(subscriber, beats_s))
        await sleeps(6)
        subscriber.close()
        await listening
        assert len(beats_s) in (5, 6)
        assert all(b - a >= BEAT_S - SHORT_S for a, b in zip([began_s, *beats_s], beats_s, strict=False))


def direct(hub: Hub, subscriber: Subscriber) -> None:
    subscriber.attach(None, Socket(lambda data: True))


@pytest.mark.parametrize("prepare", [direct, lambda hub, subscriber: None], ids=["direct", "plain"])
@on_loop
async def test_a_beat_comes_one_interval_after_the_last_event(prepare: Callable[[Hub, Subscriber], None]) -> None:
    async with a_hub(heartbeat_s=BEAT_S) as hub:
        beats_s: list[float] = []
        subscriber = hub.subscribe("", None, plain)
        prepare(hub, subscriber)
        listening = asyncio.ensure_future(listen(subscriber, beats_s))
        for _ in range(6):  # never silent for so long
            await asyncio.sleep(0.4 * BEAT_S)
            last_s = hub.loop.time()
            put(hub, "a")
            hub.drain()
        busy = [b for b in beats_s if b < last_s]
        del beats_s[:]
        await sleeps(2)
        subscriber.close()
        await listening
        assert len(busy) <= 2 and beats_s  # on a busy machine a sleep may last an interval
        assert beats_s[0] - last_s >= BEAT_S - SHORT_S


@on_loop
async def test_many_that_are_due_at_once_are_each_woken_once() -> None:
    async with a_hub(heartbeat_s=BEAT_S) as hub:
        every: list[list[float]] = [[] for _ in range(350)]
        subscribers = [hub.subscribe("", None, plain) for _ in every]
        listening = [asyncio.ensure_future(listen(*pair)) for pair in zip(subscribers, every, strict=True)]
        while not all(every):  # noqa: ASYNC110  the loop is what is looked at
            await asyncio.sleep(0)
        assert {len(beats_s) for beats_s in every} == {1}
        for subscriber in subscribers:
            subscriber.close()
        await asyncio.gather(*listening)


@on_loop
async def test_a_wait_that_has_a_time_out_of_its_own_is_not_woken() -> None:
    async with a_hub(heartbeat_s=BEAT_S / 5) as hub:
        subscriber = hub.subscribe("", None, plain)
        began_s = hub.loop.time()
        assert await subscriber.wait(BEAT_S) is False
        assert hub.loop.time() - began_s >= BEAT_S - SHORT_S
        subscriber.close()
