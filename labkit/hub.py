"""The hub: topics, publishing from any thread, and fan-out to subscribers on one event loop.

A subscriber is a position in its topic's log, not a queue of its own: what it has not been given yet is whatever
the log holds after that position. So a slow subscriber costs no memory beyond the shared history, and its
policy only says what happens to the position when it falls more than ``queue`` events behind.

Thread safety: :meth:`Hub.publish`, :meth:`Hub.since` and :meth:`Hub.cursor` may be called from any thread.
Everything else belongs to the loop that the hub was made for.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Generic, Literal, Protocol, TypeVar

from labkit.errors import EventTooLarge, LabClosed, LabkitError
from labkit.events import Cursor, Event, EventLog, Gap, Page, new_epoch, size_bytes
from labkit.wire import envelope
from labkit.wire.envelope import Closing, Start, event_json

Item = Event | Gap | Start | Closing
Encode = Callable[[Item, str], bytes]
"""An item, and the epoch that its cursor is of, as the bytes of one technique."""
Wrap = Callable[[bytes], bytes]
Encoded = TypeVar("Encoded", str, bytes)
SlowPolicy = Literal["drop-oldest", "drop-newest", "disconnect", "conflate", "unbounded"]
SLOW_POLICIES: tuple[SlowPolicy, ...] = ("drop-oldest", "drop-newest", "disconnect", "conflate", "unbounded")

BLOCK_BYTES = 64 << 10  # the most that one write carries, but for a single larger event
MAX_TOPIC_BYTES = 256
_CACHED_EVENTS = 256  # encoded events that are kept for those that are behind, and for the polls
_CACHED_BYTES = 1 << 20
CLOSED = "this lab is closed: start another with labkit.Lab()"


class TooManyTopics(LabkitError):
    """Every topic that is held has a subscriber, and there is no room for another."""


def too_large(max_event_bytes: int) -> str:
    return f"an event may have at most {max_event_bytes} bytes: send less, or raise Lab(max_event_bytes=...)"


def check_data(data: str | bytes, max_event_bytes: int) -> None:
    """Refuse what no subscriber could be given.

    Raises:
        EventTooLarge: more bytes than the lab takes.
        ValueError: text that UTF-8 cannot carry (a lone surrogate).
    """
    try:
        size = size_bytes(data)
    except UnicodeEncodeError as error:
        raise ValueError(f"character {error.start} of the data is a lone surrogate: no UTF-8 can carry it") from None
    if size > max_event_bytes:
        raise EventTooLarge(too_large(max_event_bytes))


def check_topic(topic: str) -> None:
    """Refuse what cannot be asked for in an address.

    Raises:
        ValueError: more than 256 bytes, or text that UTF-8 cannot carry.
    """
    try:
        size = size_bytes(topic)
    except UnicodeEncodeError as error:
        raise ValueError(f"topic: character {error.start} is a lone surrogate: no UTF-8 can carry it") from None
    if size > MAX_TOPIC_BYTES:
        raise ValueError(f"topic: at most {MAX_TOPIC_BYTES} bytes")


@dataclass(slots=True)
class Counts:
    """What a hub has done since it was made."""

    published: int = 0
    delivered: int = 0
    dropped: int = 0
    conflated: int = 0
    disconnected: int = 0


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


class Subscriber:
    """One subscription: where it stands, what it is told, and how it is woken.

    ``position`` is the event after which the next one is taken; ``written`` is the last one that was handed
    over. They differ only while a gap has to be told.
    """

    __slots__ = (
        "_waiter",
        "caught_up",
        "closed",
        "closing",
        "direct",
        "full_at",
        "gap",
        "group",
        "position",
        "seen_by_ticker",
        "slow",
        "topic",
        "written",
    )

    def __init__(self, topic: Topic, group: Group, gap: Gap | None, position: int, slow: SlowPolicy) -> None:
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
        self.seen_by_ticker = -1
        self._waiter: asyncio.Future[None] | None = None

    @property
    def cursor(self) -> str:
        """The cursor of the last event that was handed over."""
        return str(self.topic.cursor(self.written))

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
        return self.closed or self.closing is not None or self.gap is not None or self.topic.fanned > self.position

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for something to pull. False after *timeout_s* seconds, or when a heartbeat is due."""
        if self.ready():
            return True
        self._waiter = self.topic.hub.loop.create_future()
        if self.direct is not None and self.position == self.written == self.topic.fanned and self.direct.free():
            self.group.open[self] = self.direct.send
        timer = None
        if timeout_s is not None:
            timer = self.topic.hub.loop.call_later(timeout_s, self.wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            self.go_ordinary_way()
            if timer is not None:
                timer.cancel()
        return self.ready()

    async def wait_until_ready(self, timeout_s: float) -> None:
        """Wait for something to pull, at most *timeout_s* seconds, whatever else wakes the subscriber."""
        deadline = self.topic.hub.loop.time() + timeout_s
        while not self.ready() and (left_s := deadline - self.topic.hub.loop.time()) > 0:
            await self.wait(left_s)

    def go_ordinary_way(self) -> None:
        """Send nothing directly until the handler is parked again."""
        self.group.open.pop(self, None)

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        """Leave. Whoever waits is woken; nothing of the subscriber stays in the hub."""
        if not self.closed:
            self.closed = True
            self.topic.leave(self)
            self.wake()

    def fell_behind(self) -> None:
        """The socket did not take the newest event: apply the slow-subscriber policy, wake whoever is parked."""
        lag = self.topic.fanned - self.position
        busy = self._waiter is None  # one that was parked is not slow, it has only not had its turn yet
        if busy and self.caught_up and lag > self.topic.hub.queue and self.closing is None:
            if self.slow == "drop-oldest":
                self.position = self.topic.fanned - self.topic.hub.queue
            elif self.slow == "drop-newest":
                if self.full_at is None:
                    self.full_at = self.position + self.topic.hub.queue
            elif self.slow == "disconnect":
                self.closing = "slow subscriber"
                self.topic.hub.counts.disconnected += 1
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
            self.topic.hub.counts.delivered += len(events)
            self.topic.moved(self)
        if self.position >= self.topic.fanned:
            self.caught_up = True
        return items

    def _take(self, max_bytes: int) -> list[Event]:
        newest = self.topic.fanned
        if self.slow == "conflate" and newest > self.position + 1:
            self.topic.hub.counts.conflated += newest - 1 - self.position
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
        total = 0
        for count, event in enumerate(events, 1):
            total += event.size_bytes
            if total >= max_bytes:
                return events[:count]
        return events

    def _mid_stream_gap(self, next_id: int) -> Gap:
        self.topic.hub.counts.dropped += next_id - 1 - self.written
        return Gap(self.cursor, next_id, str(self.topic.cursor(next_id - 1)))

    async def batches(self) -> AsyncIterator[list[Item]]:
        """What is ready, whenever something is; an empty list when a heartbeat is due.

        Ends when the subscriber is closed, and after a closing message.
        """
        while not self.closed:
            items = self.pull()
            if items:
                yield items
                if isinstance(items[-1], Closing):
                    return
            elif not await self.wait() and not self.closed:
                yield items

    async def blocks(self, heartbeat: bytes = b"") -> AsyncIterator[bytes]:
        """What to write next, encoded: several events at once when they have queued, *heartbeat* when idle.

        An empty heartbeat is to be written as well: that waits, for a bounded time, until the peer has taken what
        was sent to it directly.
        """
        async for items in self.batches():
            yield b"".join(map(self.encoded, items)) if items else heartbeat


class Once(Generic[Encoded]):
    """Events in the bytes of one encoding, each encoded once; the newest are kept, within bounds."""

    __slots__ = ("_bytes", "_encode", "_kept")

    def __init__(self, encode: Callable[[Event], Encoded]) -> None:
        self._encode: Callable[[Event], Encoded] = encode
        self._kept: OrderedDict[int, Encoded] = OrderedDict()
        self._bytes = 0

    def __call__(self, event: Event) -> Encoded:
        found = self._kept.get(event.id)
        if found is None:
            found = self._kept[event.id] = self._encode(event)
            self._bytes += len(found)
            while self._kept and (len(self._kept) > _CACHED_EVENTS or self._bytes > _CACHED_BYTES):
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return found


class Group:
    """The subscribers of a topic that are told in the same bytes: an event is encoded once for all of them."""

    __slots__ = ("_once", "encode", "open", "subscribers", "topic", "wrap")

    def __init__(self, topic: Topic, encode: Encode, wrap: Wrap | None) -> None:
        self.topic = topic
        self.encode = encode
        self.wrap = wrap
        self.subscribers: set[Subscriber] = set()
        self.open: dict[Subscriber, Callable[[bytes], int]] = {}
        """Those that are parked, were handed all that was fanned out, and can be sent to directly; and how."""
        self._once: Once[bytes] = Once(lambda event: encode(event, topic.epoch))

    def encoded(self, item: Item) -> bytes:
        return self._once(item) if isinstance(item, Event) else self.encode(item, self.topic.epoch)

    def deliver(self, events: list[Event]) -> int:
        """Hand consecutive *events* to every subscriber; returns how many deliveries went straight out."""
        if len(events) > 1:
            for subscriber in [s for s in self.open if s.slow == "conflate"]:
                subscriber.go_ordinary_way()
        direct = self._send(events) if self.open else 0
        if len(self.open) < len(self.subscribers):
            for subscriber in [s for s in self.subscribers if s not in self.open and s.position < events[-1].id]:
                subscriber.fell_behind()
        return direct * len(events)

    def _send(self, events: list[Event]) -> int:
        """Send directly to all that are open. For each it touches as few objects as it can: those are cold."""
        data, last = self._wrapped(events), events[-1].id
        size = len(data)
        partly: list[tuple[Subscriber, int]] = []
        refused: list[tuple[Subscriber, OSError]] = []
        for subscriber, send in self.open.items():
            try:
                sent = send(data)
            except OSError as error:
                refused.append((subscriber, error))
                continue
            subscriber.position = subscriber.written = last
            if sent != size:
                partly.append((subscriber, sent))
        direct = len(self.open) - len(refused)
        for subscriber, sent in partly:
            subscriber.go_ordinary_way()
            if subscriber.direct is not None:
                subscriber.direct.rest(memoryview(data)[sent:])
        for subscriber, why in refused:
            subscriber.go_ordinary_way()
            if subscriber.direct is not None:
                subscriber.direct.refused(why)
        return direct

    def _wrapped(self, events: list[Event]) -> bytes:
        if self.wrap is None:
            return b"".join(map(self.encoded, events))
        return b"".join([self.wrap(self.encoded(event)) for event in events])


class Topic:
    """The log of one topic and who listens to it. Its log is made by the first event."""

    __slots__ = ("_all_taken", "epoch", "fanned", "groups", "hub", "json", "log", "name")

    def __init__(self, hub: Hub, name: str) -> None:
        self.hub = hub
        self.name = name
        self.epoch = hub.epoch
        self.log: EventLog | None = None
        self.fanned = 0  # the newest event that fan-out has reached
        self.groups: dict[tuple[Encode, Wrap | None], Group] = {}
        self.json: Once[str] = Once(event_json)  # as the answers to polls carry them
        self._all_taken: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def subscribers(self) -> Iterable[Subscriber]:
        return (s for group in self.groups.values() for s in group.subscribers)

    def cursor(self, n: int) -> Cursor:
        return Cursor(n, self.epoch)

    def after(self, n: int, upto: int) -> list[Event]:
        return [] if self.log is None else self.log.after(n, upto=upto, limit=1024)

    def join(self, subscriber: Subscriber) -> None:
        subscriber.group.subscribers.add(subscriber)
        if subscriber.slow == "unbounded":
            self.pin()

    def leave(self, subscriber: Subscriber) -> None:
        self.part(subscriber, subscriber.group)
        if subscriber.slow == "unbounded":
            self.pin()
        self.moved(subscriber)
        self.hub.left(self)

    def part(self, subscriber: Subscriber, group: Group) -> None:
        """Take the subscriber out of a group, which goes when it is empty."""
        group.subscribers.discard(subscriber)
        group.open.pop(subscriber, None)
        if not group.subscribers:
            self.groups.pop((group.encode, group.wrap), None)

    def group(self, encode: Encode, wrap: Wrap | None = None) -> Group:
        return self.groups.setdefault((encode, wrap), Group(self, encode, wrap))

    def fan_out(self) -> None:
        """Deliver everything in the log that has not been fanned out yet, in id order."""
        if self.log is None:
            return
        newest = self.log.newest  # what is published meanwhile has its own turn: the loop belongs to others too
        while events := self.log.after(self.fanned, upto=newest, limit=1024):
            if events[0].id != self.fanned + 1:  # the history has let go of some: there is a gap to be told
                for group in self.groups.values():
                    group.open.clear()
            for batch in _batches(events):
                self.fanned = batch[-1].id
                for group in list(self.groups.values()):
                    self.hub.counts.delivered += group.deliver(batch)
        if self.log.pinned is not None:
            self.pin()
        self._settle()

    def pin(self) -> None:
        """Keep what the unbounded subscribers have not been given yet."""
        if self.log is not None:
            self.log.pin(min((s.position for s in self.subscribers if s.slow == "unbounded"), default=None))

    def moved(self, subscriber: Subscriber) -> None:
        if subscriber.slow == "unbounded" and not subscriber.closed:
            self.pin()
        if self._all_taken:
            self._settle()

    async def all_taken(self, event_id: int) -> None:
        """Wait until every present subscriber was handed the event (or has left, or dropped it)."""
        future: asyncio.Future[None] = self.hub.loop.create_future()
        self._all_taken.append((event_id, future))
        self._settle()
        await future

    def _settle(self) -> None:
        if not self._all_taken:
            return
        lowest = min((s.position for s in self.subscribers), default=self.fanned)
        lowest = min(lowest, self.fanned)
        for event_id, future in self._all_taken:
            if event_id <= lowest and not future.done():
                future.set_result(None)
        self._all_taken = [pair for pair in self._all_taken if not pair[1].done()]


def _batches(events: list[Event]) -> Iterable[list[Event]]:
    """Cut consecutive events into runs of about BLOCK_BYTES; ids within a run have no holes."""
    batch: list[Event] = []
    total = 0
    for event in events:
        batch.append(event)
        total += event.size_bytes
        if total >= BLOCK_BYTES:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


class Hub:
    """All topics of one lab.

    Args:
        loop: the event loop that fan-out and subscribers live on.
        slow: what happens to a subscriber that is more than *queue* events behind.
        queue: that number.
        history_events, history_bytes: bounds of each topic's history.
        max_topics: beyond it, the topic longest without publish or subscriber is forgotten.
        heartbeat_s: an idle subscriber is woken at least this often.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        slow: SlowPolicy = "drop-oldest",
        queue: int = 256,
        history_events: int = 10_000,
        history_bytes: int = 8 << 20,
        max_topics: int = 10_000,
        heartbeat_s: float = 15.0,
    ) -> None:
        if slow not in SLOW_POLICIES:
            raise ValueError(f"slow={slow!r}: expected one of {', '.join(SLOW_POLICIES)}")
        if queue < 1 or history_events < 1 or history_bytes < 1 or max_topics < 1:
            raise ValueError("queue, history_events, history_bytes and max_topics must be at least 1")
        self.loop = loop
        self.slow: SlowPolicy = slow
        self.queue = queue
        self.history_events = history_events
        self.history_bytes = history_bytes
        self.max_topics = max_topics
        self.epoch = new_epoch()
        self.counts = Counts()
        self.closed = False
        self._lock = threading.Lock()
        self._topics: OrderedDict[str, Topic] = OrderedDict()  # least recently active first
        self._logs = 0
        self._dirty: deque[Topic] = deque()
        self._drain_scheduled = False
        self._tick_s = heartbeat_s / 2
        self._ticker = loop.call_later(self._tick_s, self._tick)

    # -- publishing: any thread -------------------------------------------------------------------------------

    def publish(self, data: str | bytes, topic: str, published_ns: int) -> Event:
        """Append to the topic's log and schedule fan-out. Never waits for a subscriber. Safe from any thread.

        Raises:
            LabClosed: the lab is closed.
            TooManyTopics: a new topic, and none is idle.
        """
        with self._lock:
            if self.closed:
                raise LabClosed(CLOSED)
            found = self._with_log(topic)
            assert found.log is not None
            event = found.log.append(data, published_ns)
            self.counts.published += 1
            self._topics.move_to_end(topic)
            self._dirty.append(found)
            scheduled, self._drain_scheduled = self._drain_scheduled, True
        if not scheduled:
            self.loop.call_soon_threadsafe(self.drain)
        return event

    def _with_log(self, name: str) -> Topic:
        topic = self._topics.get(name)
        if topic is None:
            topic = Topic(self, name)
        if topic.log is None:
            if self._logs >= self.max_topics:
                self._forget_one()
                if topic.name not in self._topics:
                    topic.epoch = self.epoch
            topic.log = EventLog(epoch=topic.epoch, max_events=self.history_events, max_bytes=self.history_bytes)
            if self.slow == "unbounded":
                topic.log.pinned = 0  # until the first fan-out knows where the subscribers are
            self._logs += 1
            self._topics[name] = topic
        return topic

    def _forget_one(self) -> None:
        for name, topic in self._topics.items():
            if topic.log is not None and not any(g.subscribers for g in list(topic.groups.values())):
                del self._topics[name]
                self._logs -= 1
                self.epoch = new_epoch()  # an old cursor must be a gap, never a silent match
                return
        raise TooManyTopics(f"{self.max_topics} topics are in use: close subscribers or raise Lab(max_topics=...)")

    def since(self, topic: str, cursor: Cursor | None, *, conflate: bool = False) -> Page:
        """Everything held after *cursor* (None: after the newest), or only the newest of it.

        Makes no log. Safe from any thread.
        """
        log = self._log_or_empty(topic)
        page = log.since(log.cursor() if cursor is None else cursor)
        if conflate and len(page.events) > 1:
            self.counts.conflated += len(page.events) - 1
            page = replace(page, events=page.events[-1:])
        self.counts.delivered += len(page.events)
        return page

    def answer(self, topic: str, page: Page) -> str:
        """The JSON that answers a poll with *page*; an event is encoded once for all polls. On the hub's loop."""
        found = self._topics.get(topic)
        return envelope.answer(page, render=event_json if found is None else found.json)

    def cursor(self, topic: str) -> Cursor:
        """The cursor of the topic's newest event. Safe from any thread."""
        return self._log_or_empty(topic).cursor()

    def _log_or_empty(self, name: str) -> EventLog:
        with self._lock:
            topic = self._topics.get(name)
            if topic is None:
                return EventLog(epoch=self.epoch)
            return topic.log or EventLog(epoch=topic.epoch)

    # -- on the loop ------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Fan out whatever was published since the last turn."""
        self._drain_scheduled = False
        for _ in range(len(self._dirty)):
            self._dirty.popleft().fan_out()

    def subscribe(self, topic: str, cursor: Cursor | None, encode: Encode, *, conflate: bool = False) -> Subscriber:
        """Join *topic* after *cursor* (None: now). Close the subscriber when its exchange ends."""
        self.drain()
        with self._lock:
            found = self._topics.get(topic)
            if found is None:
                found = self._topics[topic] = Topic(self, topic)
            if cursor is None:
                gap, position = None, found.fanned
            else:
                log = found.log or EventLog(epoch=found.epoch)
                gap, position = log.where(cursor)  # a poll may have been given what fan-out has not reached yet
            slow = "conflate" if conflate else self.slow
            subscriber = Subscriber(found, found.group(encode), gap, position, slow)
            found.join(subscriber)
        if self.closed:
            subscriber.close()
        return subscriber

    def regroup(self, subscriber: Subscriber, wrap: Wrap | None, direct: Direct) -> None:
        """From now on send to this subscriber directly when it is parked: its encoded events, wrapped."""
        topic, old = subscriber.topic, subscriber.group
        subscriber.group = topic.group(old.encode, wrap)
        subscriber.direct = direct
        topic.join(subscriber)  # before it leaves the old group: another thread must not find the topic idle
        if subscriber.group is not old:
            topic.part(subscriber, old)

    def left(self, topic: Topic) -> None:
        """A subscriber has left: a topic without a log and without subscribers is nothing any more."""
        with self._lock:
            if self._topics.get(topic.name) is topic and not topic.groups:
                if topic.log is None:
                    del self._topics[topic.name]
                else:
                    self._topics.move_to_end(topic.name)

    def taken(self, topic: str, event_id: int) -> bool:
        """Whether every present subscriber of *topic* was handed the event."""
        found = self._topics.get(topic)
        return found is None or event_id <= min((s.position for s in found.subscribers), default=found.fanned)

    async def all_taken(self, topic: str, event_id: int) -> None:
        """Wait until every present subscriber of *topic* was handed the event."""
        found = self._topics.get(topic)
        if found is not None:
            await found.all_taken(event_id)

    @property
    def subscribers(self) -> int:
        """How many there are now, over all topics (parked long polls included)."""
        return sum(len(g.subscribers) for t in list(self._topics.values()) for g in list(t.groups.values()))

    @property
    def topics(self) -> int:
        """How many topics hold a log."""
        return self._logs

    def _tick(self) -> None:
        """Wake those that nothing was sent to since the last tick, so that they send a heartbeat."""
        for topic in list(self._topics.values()):
            for subscriber in list(topic.subscribers):
                if subscriber.seen_by_ticker == subscriber.written:
                    subscriber.wake()
                subscriber.seen_by_ticker = subscriber.written
        self._ticker = self.loop.call_later(self._tick_s, self._tick)

    def close(self) -> None:
        """End every subscription; publishing raises from now on."""
        with self._lock:
            self.closed = True
        self._ticker.cancel()
        for topic in list(self._topics.values()):
            for _, future in topic._all_taken:
                if not future.done():
                    future.set_exception(LabClosed(CLOSED))
            topic._all_taken.clear()
            for subscriber in list(topic.subscribers):
                subscriber.close()
