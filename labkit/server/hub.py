"""The hub: topics, publishing from any thread, and fan-out to subscribers on one event loop.

Thread safety: :meth:`Hub.publish`, :meth:`Hub.since` and :meth:`Hub.cursor` may be called from any thread.
Everything else belongs to the loop that the hub was made for.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict

from labkit.errors import LabClosed, LabkitError
from labkit.server.commons import Commons, Histories
from labkit.server.encoding import Encode
from labkit.server.limits import check_counts
from labkit.server.subscriber import SLOW_POLICIES, SlowPolicy, Subscriber
from labkit.server.topic import Topic
from labkit.wire import envelope
from labkit.wire.envelope import event_json
from labkit.wire.events import Cursor, Event, EventLog, Page, new_epoch

PAGE_BYTES = 256 << 10  # of payload that one answer to a poll carries, but for a single larger event
CLOSED = "this lab is closed: start another with labkit.Lab()"


class TooManyTopics(LabkitError):
    """Every topic that is held has a subscriber, and there is no room for another."""


class Hub:
    """All topics of one lab.

    Args:
        loop: the event loop that fan-out and subscribers live on.
        slow: what happens to a subscriber that is more than *queue* events behind.
        queue: that number.
        history_events, history_bytes: bounds of each topic's history.
        history_total_bytes: bound of all histories together, with what is kept encoded of them.
        max_topics: beyond it, the topic longest without publish or subscriber is forgotten.
        heartbeat_s: a subscriber that was given nothing for so long is woken.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        slow: SlowPolicy,
        queue: int,
        history_events: int,
        history_bytes: int,
        history_total_bytes: int,
        max_topics: int,
        heartbeat_s: float,
    ) -> None:
        if slow not in SLOW_POLICIES:
            raise ValueError(f"slow={slow!r}: expected one of {', '.join(SLOW_POLICIES)}")
        check_counts(queue=queue, history_events=history_events, history_bytes=history_bytes)
        check_counts(history_total_bytes=history_total_bytes, max_topics=max_topics)
        self.loop = loop
        self.slow: SlowPolicy = slow
        self.history_events = history_events
        self.history_bytes = history_bytes
        self.max_topics = max_topics
        self.commons = Commons(loop, queue, heartbeat_s, Histories(loop, history_total_bytes))
        self.counts = self.commons.counts
        self.epoch = new_epoch()
        self.closed = False
        self._lock = threading.Lock()
        self._topics: OrderedDict[str, Topic] = OrderedDict()  # least recently active first
        self._logs = 0
        self._dirty: OrderedDict[Topic, None] = OrderedDict()  # what fan-out has to look at, once each
        self._drain_scheduled = False

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
            found = self._topics.get(topic)
            if found is None or found.log is None:
                found = self._begin(topic, found)
            assert found.log is not None
            event = found.log.append(data, published_ns)
            self.counts.published += 1
            self._topics.move_to_end(topic)
            self._dirty[found] = None
            scheduled, self._drain_scheduled = self._drain_scheduled, True
        if not scheduled:
            self.loop.call_soon_threadsafe(self.drain)
        return event

    def _begin(self, name: str, topic: Topic | None) -> Topic:
        """Make a log for a topic, and the topic if there is none: its first event comes."""
        if self._logs >= self.max_topics:
            self._forget_one()
        topic = topic or self._topic(name)
        log = EventLog(epoch=topic.epoch, max_events=self.history_events, max_bytes=self.history_bytes)
        if self.slow == "unbounded":
            log.pin(0)  # until the first fan-out knows where the subscribers are
        topic.begin(log)
        self._logs += 1
        self._topics[name] = topic
        return topic

    def _topic(self, name: str) -> Topic:
        return Topic(self.commons, name, self.epoch, self._left)

    def _forget_one(self) -> None:
        for name, topic in self._topics.items():
            if topic.log is not None and not any(g.subscribers for g in list(topic.groups.values())):
                del self._topics[name]
                self._logs -= 1
                topic.forget()
                self._dirty[topic] = None  # what it held is counted on the loop
                self.epoch = new_epoch()  # an old cursor must be a gap, never a silent match
                return
        raise TooManyTopics(f"{self.max_topics} topics are in use: close subscribers or raise Lab(max_topics=...)")

    def since(self, topic: str, cursor: Cursor | None, *, conflate: bool = False) -> Page:
        """What one answer carries of all that is held after *cursor* (None: after the newest), or only the newest.

        Makes no log. Safe from any thread.
        """
        log = self._log_or_empty(topic)
        page = log.since(log.cursor() if cursor is None else cursor, max_bytes=PAGE_BYTES, conflate=conflate)
        self.counts.conflated += page.conflated
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
            with self._lock:
                topic, _ = self._dirty.popitem(last=False)
            topic.fan_out()

    def subscribe(self, topic: str, cursor: Cursor | None, encode: Encode, *, conflate: bool = False) -> Subscriber:
        """Join *topic* after *cursor* (None: now). Close the subscriber when its exchange ends."""
        self.drain()
        with self._lock:
            found = self._topics.get(topic)
            if found is None:
                found = self._topics[topic] = self._topic(topic)
            if cursor is None:
                gap, position = None, found.fanned
            else:
                log = found.log or EventLog(epoch=found.epoch)
                gap, position = log.where(cursor)  # a poll may have been given what fan-out has not reached yet
            slow = "conflate" if conflate else self.slow
            group = found.group(encode)
            subscriber = Subscriber(found, group, gap, position, slow)
            found.join(subscriber, group)
        if self.closed:
            subscriber.close()
        return subscriber

    def _left(self, topic: Topic) -> None:
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
        return found is None or found.taken(event_id)

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

    def close(self) -> None:
        """End every subscription; publishing raises from now on."""
        with self._lock:
            self.closed = True
        self.commons.histories.close()
        for topic in list(self._topics.values()):
            topic.close(CLOSED)
