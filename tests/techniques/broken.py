"""Techniques that break one promise each: a real one whose client, or whose handler, was tampered with.

What is here stands in a module, so that a lab in a process of its own can have it as well.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import Any

from tornado.iostream import StreamClosedError

from conftest import UNIT
from labkit.server.encoding import Encode
from labkit.server.subscriber import Subscriber
from labkit.subscribing.contract.promise import Trial
from labkit.subscribing.contract.waiting import PATIENCE_S
from labkit.techniques import Delivery, Opening, Technique, find
from labkit.techniques.base import Client
from labkit.techniques.http_streaming import HTTPStreamingHandler
from labkit.wire.events import Cursor, Gap

Item = Delivery | Gap
Items = AsyncGenerator[Item, None]
STREAM = find("http-streaming")
POLL = find("polling")


@dataclass(frozen=True)
class Planted:
    """A technique that breaks the promise of that name, and what is to be said of it."""

    promise: str
    technique: Technique
    says: str

    def trial(self) -> Trial:
        """One that does not wait long for what is not going to come."""
        if "still a subscriber" in self.says:  # nothing else is to be waited for so shortly
            return Trial(self.technique, soon_s=0.05 * UNIT)
        patience_s = UNIT if "within" in self.says else PATIENCE_S
        return Trial(self.technique, soon_s=0.5 * UNIT, patience_s=patience_s)


def with_client(wrapper: Callable[..., Items], of: Technique = STREAM, **given: Any) -> Technique:
    return replace(of, client=wraps(of.client)(partial(wrapper, real=of.client, **given)))


def with_handler(handler: type[HTTPStreamingHandler]) -> Technique:
    return replace(STREAM, handler=handler)


# -- clients ---------------------------------------------------------------------------------------------------------


async def changed(opening: Opening, *, real: Client, change: Callable[[Item], list[Item]], **options: Any) -> Items:
    async with aclosing(real(opening, **options)) as items:
        async for item in items:
            for one in change(item):
                yield one


def is_event(item: Item, digit: int) -> bool:
    return isinstance(item, Delivery) and item.event_id % 10 == digit


def lost(item: Item) -> list[Item]:
    return [] if is_event(item, 7) else [item]


def doubled(item: Item) -> list[Item]:
    return [item, item] if is_event(item, 7) else [item]


def altered(item: Item) -> list[Item]:
    if isinstance(item, Delivery) and isinstance(item.data, str):
        return [replace(item, data=item.data.strip("\n"))]
    return [item]


def swallowed(item: Item) -> list[Item]:
    return [] if isinstance(item, Gap) else [item]


def mistold(item: Item) -> list[Item]:
    return [replace(item, next=item.next + 1)] if isinstance(item, Gap) else [item]


def cursor_of_its_own(item: Item) -> list[Item]:
    return [replace(item, cursor=f"mine:{item.cursor}")]


async def reordering(opening: Opening, *, real: Client, **options: Any) -> Items:
    kept: list[Item] = []
    async with aclosing(real(opening, **options)) as items:
        async for item in items:
            if is_event(item, 7):
                kept.append(item)
                continue
            yield item
            while kept:
                yield kept.pop()


async def with_a_step_back(opening: Opening, *, real: Client, **options: Any) -> Items:
    number, at, epoch = (opening.after or "").partition("@")
    if at and int(number) > 0:
        opening = replace(opening, after=f"{int(number) - 1}@{epoch}")
    async with aclosing(real(opening, **options)) as items:
        async for item in items:
            yield item


async def with_options(opening: Opening, *, real: Client, always: dict[str, Any], **given: Any) -> Items:
    async with aclosing(real(opening, **{**given, **always})) as items:
        async for item in items:
            yield item


async def in_a_topic_of_its_own(opening: Opening, *, real: Client, topic: str, **options: Any) -> Items:
    async with aclosing(real(replace(opening, topic=topic), **options)) as items:
        async for item in items:
            yield item


async def beginning_elsewhere(opening: Opening, *, real: Client, **options: Any) -> Items:
    told = opening.on_open or (lambda _: None)
    async with aclosing(real(replace(opening, on_open=lambda _: told("7@here")), **options)) as items:
        async for item in items:
            yield item


async def with_a_gap_first(opening: Opening, *, real: Client, **options: Any) -> Items:
    yield Gap("1", 2, opening.after or "1")
    async with aclosing(real(opening, **options)) as items:
        async for item in items:
            yield item


async def staying(opening: Opening, *, real: Client, **options: Any) -> Items:
    try:
        async with aclosing(real(opening, **options)) as items:
            async for item in items:
                yield item
    finally:
        await asyncio.Event().wait()


async def falling_over(opening: Opening, *, real: Client, **options: Any) -> Items:
    raise ZeroDivisionError("of its own")
    yield


# -- handlers --------------------------------------------------------------------------------------------------------


class Unforgetting(HTTPStreamingHandler):
    """Does not hear that its client has gone."""

    def on_connection_close(self) -> None:
        pass


class Plain(HTTPStreamingHandler):
    """Writes one block after another, by its own ``send``, never directly."""

    async def write_events(self, encode: Encode, heartbeat: bytes, recycle: int) -> None:
        with self.subscribe(encode) as subscriber:
            await self.send(subscriber.encoded(subscriber.start()))
            async for block in subscriber.blocks(heartbeat):
                await self.send(block)


class Greedy(Plain):
    """Waits for nobody: what the socket does not take is kept."""

    async def send(self, data: bytes) -> None:
        self.write(data)
        self.flush()


class Unconflating(HTTPStreamingHandler):
    """Does not care for the lab's policy."""

    @contextmanager
    def subscribe(self, encode: Encode, after: Cursor | None = None) -> Iterator[Subscriber]:
        with super().subscribe(encode, after) as subscriber:
            subscriber.slow = "drop-oldest"
            yield subscriber


class Patient(Plain):
    """Waits for ever until its peer reads."""

    async def send(self, data: bytes) -> None:
        self.write(data)
        try:
            await self.flush()
        except StreamClosedError:
            self.on_connection_close()


class OneAtATime(Plain):
    """Writes to one subscriber after the other."""

    turn = asyncio.Lock()

    async def send(self, data: bytes) -> None:
        async with self.turn:
            await super().send(data)


class Lingering(Plain):
    """Does not end when its exchange has."""

    async def write_events(self, encode: Encode, heartbeat: bytes, recycle: int) -> None:
        try:
            await super().write_events(encode, heartbeat, recycle)
        finally:
            await asyncio.Event().wait()


class Blocking(Plain):
    """Keeps the loop to itself when the lab closes."""

    async def write_events(self, encode: Encode, heartbeat: bytes, recycle: int) -> None:
        blocking = asyncio.ensure_future(self.block())
        try:
            await super().write_events(encode, heartbeat, recycle)
        finally:
            blocking.cancel()

    async def block(self) -> None:
        while not self.context.hub.closed:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        time.sleep(1.2 * UNIT)  # noqa: ASYNC251


def planted() -> Iterator[Planted]:
    loses = with_client(changed, change=lost)
    unforgetting, greedy, patient = map(with_handler, (Unforgetting, Greedy, Patient))
    swallows = with_client(changed, change=swallowed)
    yield Planted("every-event-once", loses, r"20 of 200 events are lost, the first is \[7\]")
    yield Planted("every-event-once", with_client(changed, change=doubled), r"came twice: \[7, 17,")
    yield Planted("every-event-once", with_client(reordering), r"out of order: \[1, 2, 3, 4, 5, 6, 8, 7,")
    yield Planted("every-event-once", with_client(changed, change=altered), r"altered: \[\('a\\r\\nb'")
    yield Planted("every-event-once", with_client(staying), "a client that is left does not end within")
    yield Planted("every-event-once", with_client(falling_over), "the client has ended .of its own.")
    yield Planted("burst", loses, "10 of 101 events are lost")
    yield Planted("topics-apart", with_client(in_a_topic_of_its_own, topic="a&b ü"), "of topic 'c' came .*3")
    yield Planted("cut-link", with_client(with_a_step_back), "came twice")
    yield Planted("cursor-for-any-other", with_client(changed, change=cursor_of_its_own), "after")
    yield Planted("gap-first", swallows, "tells no gap")
    yield Planted("gap-with-nothing-held", with_client(changed, change=mistold), "to be told")
    yield Planted("everything-held", with_client(with_a_gap_first), "to be told: none")
    yield Planted("newest-is-no-gap", with_client(with_a_gap_first), "to be told: none")
    yield Planted("says-where-it-begins", with_client(beginning_elsewhere), r"it begins at 3@.*says \['7@here'\]")
    yield Planted("listening-makes-no-log", with_client(beginning_elsewhere), r"it begins at 0@.*says \['7@here'\]")
    yield Planted("forgotten-at-once", unforgetting, "still a subscriber")
    yield Planted("raw-client-goes", unforgetting, "still a subscriber")
    yield Planted("drop-oldest", greedy, "were kept for a reader that stalls")
    yield Planted("drop-newest", greedy, "were kept for a reader that stalls")
    yield Planted("disconnect", greedy, "0 were sent away as slow")
    yield Planted("conflate", with_handler(Unconflating), "a gap, though")
    yield Planted("conflate-on-request", with_client(with_options, always={"conflate": False}), "a gap, though")
    yield Planted("unbounded", loses, "tells None, to be told: Gap")
    yield Planted("one-answer", with_client(with_options, of=POLL, always={"conflate": False}), "conflated: ")
    yield Planted("slows-nobody", with_handler(OneAtATime), "not within")
    yield Planted("never-reads", patient, "still a subscriber")
    yield Planted("leaves-one-unread", patient, "still a subscriber")
    yield Planted("closing-ends-all", with_handler(Lingering), "its handlers end with the lab")
    yield Planted("closing-does-not-wait", with_handler(Blocking), "closing took")
    yield Planted("own-process", with_client(changed, change=altered), "altered")


PLANTED = tuple(planted())
