"""What a run without an end remembers: its newest events, whole, and nothing that grows with their number.

Events are counted in pages. When a page is full a new one begins, and of those before only the last is kept. A page
begins at an event id, the same for all subscribers, so that what is kept is a run like any other: every event that
it knows as published either arrived or is lost. Connections' counters are taken at the page's beginning and later
subtracted.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.measuring.subscription import Subscription
from labkit.techniques import Delivery, Technique
from labkit.wire.events import Gap, now_ns, size_bytes
from labkit.wire.spans import CATEGORIES

COUNTERS = ("bytes_in", "bytes_out", "reads", "writes", "requests", "responses", "duplicates", "duplicate_bytes")
FRESH = 4096  # arrivals kept for whoever draws; one who draws ten times a second needs a tenth of the rate


@dataclass(frozen=True, slots=True)
class Kept(Delivery):
    """A delivery without its data."""

    payload_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """A subscriber's counters at one moment, over all of its connections."""

    t_ns: int
    values: tuple[int, ...]

    @classmethod
    def of(cls, records: list[ConnectionRecord], before: Counts | None = None) -> Counts:
        rows = [_values(record) for record in records] + ([before.values] if before else [])
        return cls(now_ns(), tuple(map(sum, zip(*rows, strict=True))) if rows else _ZERO)

    def towards(self, later: Counts, part: int, whole: int) -> Counts:
        """So far on the way to *later*: ``part / whole`` of it."""
        pairs = zip(self.values, later.values, strict=True)
        return Counts(self.t_ns, tuple(a + (b - a) * part // whole for a, b in pairs))


@dataclass(slots=True)
class _Read:
    """One read, and how many of its events are before each page that is awaited."""

    t_ns: int
    counts: Counts
    events: int = 0
    before: Counter[int] = field(default_factory=Counter)


def _values(record: ConnectionRecord) -> tuple[int, ...]:
    return (*(getattr(record, name) for name in COUNTERS), *(record.by_category[name] for name in CATEGORIES))


_ZERO = (0,) * (len(COUNTERS) + len(CATEGORIES))


class LiveSubscription(Subscription):
    """A subscriber whose past is let go page by page. Everything but ``fresh`` belongs to the lab loop."""

    def __init__(
        self, technique: Technique, number: int, topic: str, options: Mapping[str, Any], keep_bytes: int
    ) -> None:
        super().__init__(technique, number, topic, {**options, "give_up_s": math.inf}, keep_bytes)
        self.items: deque[tuple[Delivery | Gap, int]] = deque()  # type: ignore[assignment]
        self.arrived = 0
        self.fresh: deque[tuple[int, int]] = deque(maxlen=FRESH)
        """(event id, received_ns) of what arrived since somebody last looked."""
        self._gone = Counts(0, _ZERO)  # of the connections that were let go
        self._began: dict[int, Counts] = {}  # page's first id -> counters before it
        self._first_id = 0  # of the oldest event that is kept
        self._awaited: list[int] = []  # first ids of pages that have not begun here
        self._latest = self._gone  # counters when the read before the present one was done
        self._read = _Read(0, self._gone)

    def put(self, item: Delivery | Gap) -> None:
        """Keep an arrival, without its data."""
        self.cursor = item.cursor
        if isinstance(item, Delivery):
            if self._awaited:
                self._place(item)
            self.arrived += 1
            self.newest = max(self.newest, item.event_id)
            self.fresh.append((item.event_id, item.received_ns))
            item = Kept(
                item.event_id, "", item.cursor, item.received_ns, item.wire_id, payload_bytes=size_bytes(item.data)
            )
        if self._is_before(item, self._first_id):
            self.carried_bytes = self._spent_bytes()  # it comes too late to be kept
        else:
            self.items.append((item, self._spent_bytes()))

    def _place(self, item: Delivery) -> None:
        """Tell on which side of a page's beginning it lies. One read may bring events of both."""
        if item.received_ns != self._read.t_ns:
            self._begin_pages()
            self._latest, self._read = self._read.counts, _Read(item.received_ns, self._read.counts)
        if self._awaited:
            self._read.counts = self.counts()  # what a stream's bytes are for is told event by event
            self._read.events += 1
            self._read.before.update(page for page in self._awaited if item.event_id < page)

    def _begin_pages(self) -> None:
        """Of the read that brought a page's first event, what came before it has its share in the page before."""
        read = self._read
        for page in [page for page in self._awaited if read.before[page] < read.events]:
            self._began[page] = self._latest.towards(read.counts, read.before[page], read.events)
            self._awaited.remove(page)

    def counts(self) -> Counts:
        """The counters since the start, connections that were let go included."""
        return Counts.of(self.ledger.connections, self._gone)

    def page_begins(self, first_id: int) -> None:
        """A page begins with this event, which has not been published yet."""
        self._begin_pages()
        now = self.counts()
        self._awaited.append(first_id)
        self._latest, self._read = now, _Read(0, now)

    def forget(self, first_id: int) -> None:
        """Let go of what was before the page that begins with *first_id*."""
        self._first_id = first_id
        while self.items and self._is_before(self.items[0][0], first_id):
            self.carried_bytes = self.items.popleft()[1]
        self._begin_pages()
        self._awaited = [page for page in self._awaited if page >= first_id]
        began = self._began.get(first_id, self._read.counts)
        self._began = {page: counts for page, counts in self._began.items() if page >= first_id}
        over = [r for r in self.ledger.connections if r.closed_ns is not None and r.closed_ns < began.t_ns]
        self._gone = Counts.of(over, self._gone)
        self.ledger.connections = [r for r in self.ledger.connections if all(r is not o for o in over)]

    @staticmethod
    def _is_before(item: Delivery | Gap, first_id: int) -> bool:
        return (item.event_id if isinstance(item, Delivery) else item.next) < first_id

    def records(self, first_id: int | None) -> Iterator[ConnectionRecord]:
        """Copies of the connections, their counters without what was before the page."""
        whole = first_id is None
        self._begin_pages()
        began = self._gone if first_id is None else self._began.get(first_id, self._read.counts)
        less = [a - b for a, b in zip(began.values, self._gone.values, strict=True)]
        for record in self.ledger.connections:
            values = _values(record)
            taken = [min(a, b) for a, b in zip(less, values, strict=True)]
            less = [a - b for a, b in zip(less, taken, strict=True)]
            left = [a - b for a, b in zip(values, taken, strict=True)]
            frozen = frozen_copy(record)
            for name, value in zip(COUNTERS, left, strict=False):
                setattr(frozen, name, value)
            frozen.by_category = dict(zip(CATEGORIES, left[len(COUNTERS) :], strict=True))
            if not whole and any(taken):
                frozen.segments_in = frozen.segments_out = None  # counted over a connection's whole life
            frozen.technique = self.technique.name
            yield frozen

    def _payload_bytes(self, item: Delivery) -> int:
        return item.payload_bytes if isinstance(item, Kept) else 0

    def _spent_bytes(self) -> int:
        return sum(self._gone.values[:2]) + sum(record.bytes_total for record in self.ledger.connections)

    @property
    def connections_open(self) -> int:
        return sum(record.closed_ns is None for record in self.ledger.connections)

    @property
    def requests_open(self) -> int:
        """Requests whose answers have not ended: a stream's answer lasts as long as its connection."""
        technique = self.technique
        if technique.kind == "stream" and technique.http_version and "Upgrade" not in technique.http1_only:
            return self.connections_open
        return sum(max(0, r.requests - r.responses) for r in self.ledger.connections if r.closed_ns is None)


class Window:
    """Which events a run without an end still knows, and when each was due. Pages begin on the lab loop.

    Args:
        published: (topic, id) -> (due_ns, published_ns); filled by the publisher.
    """

    def __init__(
        self, keep_events: int, published: dict[tuple[str, int], tuple[int, int]], page_s: float = 300.0
    ) -> None:
        self.page_events = max(1, keep_events // 2)
        self.page_s = page_s
        self.published = published
        self.first_id: int | None = None
        """The oldest event that is kept; None as long as nothing was let go."""
        self._pages: deque[int] = deque(maxlen=2)
        self._page_ns = 0

    def turn(self, newest: int, subscriptions: list[LiveSubscription], ledgers: list[Ledger]) -> bool:
        """Begin a page if the last is full, and let go of what is then too old. Tells whether it did."""
        if not self.is_full(newest) and (now_ns() - self._page_ns) / 1e9 < self.page_s:
            return False
        self._page_ns = now_ns()
        has_two = len(self._pages) == self._pages.maxlen
        self._pages.append(newest + 1)
        for subscription in subscriptions:
            subscription.page_begins(newest + 1)
        if has_two:
            self._forget(self._pages[0], subscriptions, ledgers)
        return True

    def is_full(self, newest: int) -> bool:
        """Whether the present page is, with event *newest*."""
        return newest + 1 - self._pages[-1] >= self.page_events

    def start(self, newest: int) -> None:
        """The run begins after event *newest*."""
        self._pages.append(newest + 1)
        self._page_ns = now_ns()

    def _forget(self, first_id: int, subscriptions: list[LiveSubscription], ledgers: list[Ledger]) -> None:
        self.first_id = first_id
        for key in [key for key in list(self.published) if key[1] < first_id]:
            del self.published[key]
        for subscription in subscriptions:
            subscription.forget(first_id)
        for ledger in ledgers:
            old_ns = self._page_ns - int(2 * self.page_s * 1e9)
            newest = {id(record) for record in ledger.connections[-64:]}
            ledger.connections = [
                r for r in ledger.connections if r.closed_ns is None or r.closed_ns > old_ns or id(r) in newest
            ]


def frozen_copy(record: ConnectionRecord) -> ConnectionRecord:
    """A copy that stays as it is while the connection goes on."""
    return replace(
        record,
        transfers=copy(record.transfers),
        marks=copy(record.marks),
        by_category=dict(record.by_category),
        by_route={route: dict(counts) for route, counts in record.by_route.items()},
    )
