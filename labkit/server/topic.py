"""A topic: its log, and fan-out to the groups of its subscribers. All of it belongs to the hub's loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from labkit.errors import LabClosed
from labkit.server.commons import Commons
from labkit.server.encoding import Encode, Item, Once, Wrap
from labkit.server.heartbeat import Heartbeats
from labkit.server.subscriber import BLOCK_BYTES, Subscriber
from labkit.wire.envelope import event_json
from labkit.wire.events import Cursor, Event, EventLog


class Group:
    """The subscribers of a topic that are told in the same bytes: an event is encoded once for all of them."""

    __slots__ = ("encode", "once", "open", "subscribers", "topic", "wrap")

    def __init__(self, topic: Topic, encode: Encode, wrap: Wrap | None) -> None:
        self.topic = topic
        self.encode = encode
        self.wrap = wrap
        self.subscribers: set[Subscriber] = set()
        self.open: dict[Subscriber, Callable[[bytes], int]] = {}
        """Those that are parked, were handed all that was fanned out, and can be sent to directly; and how."""
        self.once: Once[bytes] = Once(lambda event: encode(event, topic.epoch), topic.commons.histories.count)

    def encoded(self, item: Item) -> bytes:
        return self.once(item) if isinstance(item, Event) else self.encode(item, self.topic.epoch)

    def open_to(self, subscriber: Subscriber, send: Callable[[bytes], int]) -> None:
        self.open[subscriber] = send

    def shut_to(self, subscriber: Subscriber) -> None:
        del self.open[subscriber]

    def deliver(self, events: list[Event]) -> int:
        """Hand consecutive *events* to every subscriber; returns how many deliveries went straight out."""
        if len(events) > 1:
            for subscriber in [s for s in self.open if s.slow == "conflate"]:
                subscriber.go_ordinary_way(events[0].id - 1)
        direct = self._send(events) if self.open else 0
        if len(self.open) < len(self.subscribers):
            for subscriber in [s for s in self.subscribers if s not in self.open and s.position < events[-1].id]:
                subscriber.fell_behind()
        return direct * len(events)

    def _send(self, events: list[Event]) -> int:
        """Send directly to all that are open. For each it touches as few objects as it can: those are cold."""
        try:
            data = self._on_the_wire(events)
        except Exception:  # a learner's own encoding: each of its handlers meets with it in its own exchange
            for subscriber in list(self.open):
                subscriber.go_ordinary_way(events[0].id - 1)
            return 0
        size = len(data)
        partly: list[tuple[Subscriber, int]] = []
        refused: list[tuple[Subscriber, OSError]] = []
        for subscriber, send in self.open.items():
            try:
                sent = send(data)
            except OSError as error:
                refused.append((subscriber, error))
                continue
            if sent != size:
                partly.append((subscriber, sent))
        direct = len(self.open) - len(refused)
        for subscriber, sent in partly:
            subscriber.go_ordinary_way()
            if subscriber.direct is not None:
                subscriber.direct.rest(memoryview(data)[sent:])
        for subscriber, why in refused:
            subscriber.go_ordinary_way(events[0].id - 1)
            if subscriber.direct is not None:
                subscriber.direct.refused(why)
        return direct

    def _on_the_wire(self, events: list[Event]) -> bytes:
        """Encoded and wrapped. What is encoded is kept for those that are behind, if any are."""
        epoch, behind, data = self.topic.epoch, len(self.open) < len(self.subscribers), []
        for event in events:
            encoded = self.once(event) if behind else self.encode(event, epoch)
            data.append(encoded if self.wrap is None else self.wrap(encoded))
        return b"".join(data)


class Topic:
    """The log of one topic and who listens to it. Its log is made by the first event."""

    __slots__ = (
        "_all_taken",
        "_left",
        "commons",
        "cost_bytes",
        "epoch",
        "fanned",
        "forgotten",
        "groups",
        "heartbeats",
        "json",
        "log",
        "name",
        "told_s",
    )

    def __init__(self, commons: Commons, name: str, epoch: str, left: Callable[[Topic], None]) -> None:
        self.commons = commons
        self.name = name
        self.epoch = epoch
        self._left = left
        self.log: EventLog | None = None
        self.fanned = 0  # the newest event that fan-out has reached
        self.groups: dict[tuple[Encode, Wrap | None], Group] = {}
        self.told_s = 0.0  # when an event last went out, on the loop's clock
        self.heartbeats = Heartbeats(commons.loop, commons.heartbeat_s, self)
        self.json: Once[str] = Once(event_json, commons.histories.count)  # as the answers to polls carry them
        self.cost_bytes = 0  # of the log, as the histories have counted it
        self.forgotten = False  # by the hub, to make room for another topic
        self._all_taken: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def subscribers(self) -> Iterable[Subscriber]:
        return (s for group in self.groups.values() for s in group.subscribers)

    def cursor(self, n: int) -> Cursor:
        return Cursor(n, self.epoch)

    def after(self, n: int, upto: int) -> list[Event]:
        return [] if self.log is None else self.log.after(n, upto=upto, limit=1024)

    def begin(self, log: EventLog) -> None:
        """Its first event comes: this is its log."""
        self.log, self.epoch = log, log.epoch

    def forget(self) -> None:
        """It made room for another topic: what it held is counted no more, at the next fan-out."""
        self.forgotten = True

    def join(self, subscriber: Subscriber, group: Group) -> None:
        group.subscribers.add(subscriber)
        if subscriber.slow == "unbounded":
            self.pin()
        self._account()

    def leave(self, subscriber: Subscriber) -> None:
        for group in [group for group in self.groups.values() if subscriber in group.subscribers]:
            self.part(subscriber, group)
        self.heartbeats.unpark(subscriber)
        if not self.groups:
            self.heartbeats.stop()
        if subscriber.slow == "unbounded":
            self.pin()
        self.moved(subscriber)
        self._account()
        self._left(self)

    def part(self, subscriber: Subscriber, group: Group) -> None:
        """Take the subscriber out of a group, which goes when it is empty."""
        group.subscribers.discard(subscriber)
        if not group.subscribers:
            self.groups.pop((group.encode, group.wrap), None)
            group.once.retire()

    def regroup(self, subscriber: Subscriber, wrap: Wrap | None) -> Group:
        """Move a subscriber to the group that is told the same, wrapped."""
        old = next(group for group in self.groups.values() if subscriber in group.subscribers)
        new = self.group(old.encode, wrap)
        new.subscribers.add(subscriber)  # before it leaves the old group: another thread must not find the topic idle
        if new is not old:
            self.part(subscriber, old)
        self._account()
        return new

    def group(self, encode: Encode, wrap: Wrap | None = None) -> Group:
        return self.groups.setdefault((encode, wrap), Group(self, encode, wrap))

    def fan_out(self) -> None:
        """Deliver everything in the log that has not been fanned out yet, in id order."""
        if self.log is None or (self.fanned == self.log.newest and not self.forgotten):
            return
        newest = self.log.newest  # what is published meanwhile has its own turn: the loop belongs to others too
        while self.fanned < newest and (events := self.log.after(self.fanned, upto=newest, limit=1024)):
            if events[0].id != self.fanned + 1:  # the history has let go of some: there is a gap to be told
                for subscriber in [s for group in self.groups.values() for s in group.open]:
                    subscriber.go_ordinary_way()
            for batch in [events] if len(events) == 1 else _batches(events):
                self.fanned = batch[-1].id
                self.told_s = self.commons.loop.time()
                for group in list(self.groups.values()):
                    self.commons.counts.delivered += group.deliver(batch)
                for first in self.groups:  # each waits for those before it: another one is first next time
                    self.groups[first] = self.groups.pop(first)
                    break
        if self.log.pinned is not None:
            self.pin()
        if self._all_taken:
            self._settle()
        self._account()

    def pin(self) -> None:
        """Keep what the unbounded subscribers have not been given yet."""
        if self.log is not None:
            self.log.pin(min((s.reached for s in self.subscribers if s.slow == "unbounded"), default=None))
            self._account()

    def let_go(self, size: int) -> None:
        """Free at least *size* bytes, if that can be: what can be encoded again, then the oldest events.

        Held in any case: what fan-out has not reached, and what an unbounded subscriber has not been given.
        """
        wanted = self.commons.histories.held_bytes - size
        self.json.clear()
        for group in self.groups.values():
            group.once.clear()
        if self.log is not None and self.commons.histories.held_bytes > wanted:
            self.log.let_go(self.fanned, self.commons.histories.held_bytes - wanted)
            self.commons.histories.count(self._grown())

    def _account(self) -> None:
        """Tell the histories what the log takes now, and that the topic was used just now."""
        self.commons.histories.used(self, self._grown(), in_use=bool(self.groups))

    def _grown(self) -> int:
        """By how many bytes the log has grown since the histories were told."""
        before = self.cost_bytes
        self.cost_bytes = 0 if self.log is None or self.forgotten else self.log.cost_bytes
        if self.forgotten:
            self.json.retire()
        return self.cost_bytes - before

    def moved(self, subscriber: Subscriber) -> None:
        if subscriber.slow == "unbounded" and not subscriber.closed:
            self.pin()
        if self._all_taken:
            self._settle()

    async def all_taken(self, event_id: int) -> None:
        """Wait until every present subscriber was handed the event (or has left, or dropped it)."""
        future: asyncio.Future[None] = self.commons.loop.create_future()
        self._all_taken.append((event_id, future))
        self._settle()
        await future

    def close(self, why: str) -> None:
        """End every subscription, and every wait for one."""
        for _, future in self._all_taken:
            if not future.done():
                future.set_exception(LabClosed(why))
        self._all_taken.clear()
        for subscriber in list(self.subscribers):
            subscriber.close()

    def taken(self, event_id: int) -> bool:
        """Whether every present subscriber was handed the event."""
        return event_id <= min((s.reached for s in self.subscribers), default=self.fanned)

    def _settle(self) -> None:
        lowest = min((s.reached for s in self.subscribers), default=self.fanned)
        lowest = min(lowest, self.fanned)
        for event_id, future in self._all_taken:
            if event_id <= lowest and not future.done():
                future.set_result(None)
        self._all_taken = [pair for pair in self._all_taken if not pair[1].done()]


def _batches(events: list[Event]) -> list[list[Event]]:
    """Cut consecutive events into runs of about BLOCK_BYTES; ids within a run have no holes."""
    batches: list[list[Event]] = []
    total = BLOCK_BYTES
    for event in events:
        if total >= BLOCK_BYTES:
            batches.append([])
            total = 0
        batches[-1].append(event)
        total += event.size_bytes
    return batches
