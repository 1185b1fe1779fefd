"""A subscriber: a position in its topic's log, not a queue of its own.

What it has not been given yet is whatever the log holds after that position. So a slow subscriber costs no memory
beyond the shared history, and its policy only says what happens to the position when it falls more than ``queue``
events behind. All of it belongs to the hub's loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Literal, Protocol

from labkit.server.commons import Commons
from labkit.server.encoding import Item, Wrap
from labkit.server.heartbeat import Heartbeats
from labkit.wire.envelope import Closing, Start
from labkit.wire.events import Cursor, Event, Gap

SlowPolicy = Literal["drop-oldest", "drop-newest", "disconnect", "conflate", "unbounded"]
SLOW_POLICIES: tuple[SlowPolicy, ...] = ("drop-oldest", "drop-newest", "disconnect", "conflate", "unbounded")

BLOCK_BYTES = 64 << 10  # the most that one write carries, but for a single larger event


class Direct(Protocol):
    """A way straight to a subscriber's socket, for as long as its handler is parked."""

    @property
    def send(self) -> Callable[[bytes], int]:
        """The system's own: returns how many of the bytes it took; an OSError says that it took none."""

    def free(self) -> bool:
        """Whether bytes may be sent now: nothing waits that they would overtake, or was said that must come last."""

    def rest(self, data: memoryview) -> None:
        """Take over what the system did not."""

    def refused(self, error: OSError) -> None:
        """The system took nothing."""


class Group(Protocol):
    """Those of a topic that are told in the same bytes (see :mod:`labkit.server.topic`)."""

    def encoded(self, item: Item) -> bytes: ...

    def open_to(self, subscriber: Subscriber, send: Callable[[bytes], int]) -> None:
        """Send to it directly from now on."""

    def shut_to(self, subscriber: Subscriber) -> None:
        """Do not, any more."""


class Feed(Protocol):
    """What a subscriber asks of its topic."""

    @property
    def commons(self) -> Commons: ...

    @property
    def heartbeats(self) -> Heartbeats: ...

    @property
    def fanned(self) -> int:
        """The newest event that fan-out has reached."""

    def cursor(self, n: int) -> Cursor: ...

    def after(self, n: int, upto: int) -> list[Event]: ...

    def moved(self, subscriber: Subscriber) -> None:
        """Its position is another."""

    def regroup(self, subscriber: Subscriber, wrap: Wrap | None) -> Group:
        """From now on it is told in wrapped bytes; the group of those that are."""

    def leave(self, subscriber: Subscriber) -> None: ...


class Subscriber:
    """One subscription: where it stands, what it is told, and how it is woken.

    ``position`` is the event after which the next one is taken; ``written`` is the last one that was handed
    over. They differ only while a gap has to be told. While it is sent to directly both stand still, since for an event
    that goes straight out nothing of it is touched: all that was fanned out is what it has ``reached``.
    """

    __slots__ = (
        "_is_direct",
        "_waiter",
        "caught_up",
        "closed",
        "closing",
        "direct",
        "full_at",
        "gap",
        "group",
        "position",
        "slow",
        "topic",
        "written",
    )

    def __init__(self, topic: Feed, group: Group, gap: Gap | None, position: int, slow: SlowPolicy) -> None:
        self.topic = topic
        self.group = group
        self.gap = gap
        self.position = self.written = position
        self.slow: SlowPolicy = slow
        self.caught_up = position >= topic.fanned
        self.full_at: int | None = None  # drop-newest: deliver up to here, then go on from the newest
        self.closing: str | None = None
        self.closed = False
        self.direct: Direct | None = None
        self._is_direct = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def reached(self) -> int:
        """The position, also while it is sent to directly."""
        return self.topic.fanned if self._is_direct else self.position

    @property
    def cursor(self) -> str:
        """The cursor of the last event that was handed over."""
        return str(self.topic.cursor(self.topic.fanned if self._is_direct else self.written))

    @property
    def idle(self) -> bool:
        """Everything was handed over and the subscriber waits for more."""
        return self._waiter is not None

    def start(self) -> Item:
        """What a stream says before anything else: the gap if there is one, else where it begins."""
        gap, self.gap = self.gap, None
        return gap if gap is not None else Start(self.cursor)

    def encoded(self, item: Item) -> bytes:
        """An item in the bytes of this subscriber's technique; an event is encoded once for its whole group."""
        return self.group.encoded(item)

    def ready(self) -> bool:
        has_more = self.topic.fanned > self.position and not self._is_direct
        return has_more or self.closed or self.closing is not None or self.gap is not None

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for something to pull. False after *timeout_s* seconds; without them, when a heartbeat is due."""
        if self.ready():
            return True
        topic = self.topic
        self._waiter = waiter = topic.commons.loop.create_future()
        self.go_direct()
        timer = None
        if timeout_s is None:
            topic.heartbeats.park(self)
        else:
            timer = topic.commons.loop.call_later(timeout_s, self.wake)
        try:
            await waiter
        finally:
            self._waiter = None
            self.go_ordinary_way()
            if timer is None:
                topic.heartbeats.unpark(self)
            else:
                timer.cancel()
        return self.ready()

    async def wait_until_ready(self, timeout_s: float) -> None:
        """Wait for something to pull, at most *timeout_s* seconds, whatever else wakes the subscriber."""
        deadline = self.topic.commons.loop.time() + timeout_s
        while not self.ready() and (left_s := deadline - self.topic.commons.loop.time()) > 0:
            await self.wait(left_s)

    def attach(self, wrap: Wrap | None, direct: Direct) -> None:
        """From now on be sent to directly when parked: its encoded events, wrapped."""
        self.go_ordinary_way()
        self.direct = direct
        self.group = self.topic.regroup(self, wrap)

    def go_direct(self) -> None:
        """Have events sent directly: if the handler is parked, was handed all that was fanned out, and all has left."""
        if self.direct is None or self._waiter is None or self.closed or self.gap is not None:
            return
        if self.position == self.written == self.topic.fanned and self.direct.free():
            self._is_direct = True
            self.group.open_to(self, self.direct.send)

    def go_ordinary_way(self, taken: int | None = None) -> None:
        """Have nothing sent directly from now on; *taken* is the last event that was: by default all fanned out."""
        if self._is_direct:
            self._is_direct = False
            self.position = self.written = self.topic.fanned if taken is None else taken
            self.group.shut_to(self)

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        """Leave. Whoever waits is woken; nothing of the subscriber stays in the hub."""
        if not self.closed:
            self.closed = True
            self.go_ordinary_way()
            self.topic.leave(self)
            self.wake()

    def end(self, why: str) -> None:
        """Be told nothing more: whoever waits gets the reason at once. It counts as a subscriber no longer."""
        self.closing = why
        self.topic.leave(self)
        self.wake()

    def fell_behind(self) -> None:
        """The socket did not take the newest event: apply the slow-subscriber policy, wake whoever is parked."""
        lag = self.topic.fanned - self.position
        busy = self._waiter is None  # one that was parked is not slow, it has only not had its turn yet
        if busy and self.caught_up and lag > self.topic.commons.queue and self.closing is None:
            if self.slow == "drop-oldest":
                self.position = self.topic.fanned - self.topic.commons.queue
            elif self.slow == "drop-newest":
                if self.full_at is None:
                    self.full_at = self.position + self.topic.commons.queue
            elif self.slow == "disconnect":
                self.closing = "slow subscriber"
                self.topic.commons.counts.disconnected += 1
        self.wake()

    def pull(self, max_bytes: int = BLOCK_BYTES) -> list[Item]:
        """Take what is ready, at most about *max_bytes* of payload: gaps, events, or the closing message."""
        if self.closed:
            return []
        if self.closing is not None:
            return [Closing(self.closing)]
        items: list[Item] = []
        if self.gap is not None:
            items.append(self.gap)
            self.gap = None
        events = self._take(max_bytes)
        if events:
            if events[0].id != self.written + 1:
                items.append(self._mid_stream_gap(events[0].id))
            items += events
            self.position = self.written = events[-1].id
            self.topic.commons.counts.delivered += len(events)
            self.topic.moved(self)
        if self.position >= self.topic.fanned:
            self.caught_up = True
        return items

    def _take(self, max_bytes: int) -> list[Event]:
        newest = self.topic.fanned
        if self.slow == "conflate" and newest > self.position + 1:
            self.topic.commons.counts.conflated += newest - 1 - self.position
            self.position = self.written = newest - 1
        if self.full_at is not None:
            if self.position < self.full_at:
                newest = self.full_at
            else:
                self.position, self.full_at = newest, None
        events = self.topic.after(self.position, newest)
        if not events and newest > self.position:  # the history has let go of all of them: a gap, told before the next
            self.position = newest
            if self.slow == "conflate":
                self.written = newest
        if len(events) == 1:
            return events
        total = 0
        for count, event in enumerate(events, 1):
            total += event.size_bytes
            if total >= max_bytes:
                return events[:count]
        return events

    def _mid_stream_gap(self, next_id: int) -> Gap:
        self.topic.commons.counts.dropped += next_id - 1 - self.written
        return Gap(self.cursor, next_id, str(self.topic.cursor(next_id - 1)))

    async def batches(self) -> AsyncIterator[list[Item]]:
        """What is ready, whenever something is; an empty list when a heartbeat is due.

        Ends when the subscriber is closed, and after a closing message.
        """
        while not self.closed:
            if not self.ready() and not await self.wait():
                yield []
            elif items := self.pull():
                yield items
                if isinstance(items[-1], Closing):
                    return
                if self.ready():  # it catches up: the loop belongs to others too, whatever the socket takes
                    await asyncio.sleep(0)

    async def blocks(self, heartbeat: bytes = b"") -> AsyncIterator[bytes]:
        """What to write next, encoded: several events at once when they have queued, *heartbeat* when idle.

        An empty heartbeat is to be written as well: that waits, for a bounded time, until the peer has taken what
        was sent to it directly.
        """
        async for items in self.batches():
            yield b"".join(map(self.encoded, items)) if items else heartbeat
