"""What a run that goes on tells whoever draws it: what happened since the last time, and how it stands."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from labkit.measuring.attaching import Subscribers
from labkit.measuring.tallies import BROWSER
from labkit.measuring.window import COUNTERS, FRESH, LiveSubscription
from labkit.wire.events import now_ns
from labkit.wire.spans import CATEGORIES

TOLD_WITHIN_S = 5.0
"""How long a page may take to tell what arrived, and still have a dot."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What happened since the sample before, and how it stands now.

    Attributes:
        published: event id -> (due_ns, published_ns) of the newest events.
        arrived: technique -> (event id, received_ns), in order.
        totals: technique -> bytes by category since the start.
        open: technique -> (connections, requests) open now.
        failures: technique -> why it ended before its time.
    """

    t_ns: int
    published: dict[int, tuple[int, int]]
    arrived: dict[str, list[tuple[int, int]]]
    totals: dict[str, dict[str, int]]
    open: dict[str, tuple[int, int]]
    failures: dict[str, str]


class Samples:
    """The samples of one run, for one reader. What it has not seen of the publisher's is in ``fresh``."""

    def __init__(self, subscribers: Subscribers[LiveSubscription]) -> None:
        self.fresh: deque[tuple[int, int, int]] = deque(maxlen=FRESH)
        """(event id, due_ns, published_ns)."""
        self._subscribers = subscribers
        self._seen: deque[tuple[str, int, int]] = deque(maxlen=FRESH)  # told by subscribers elsewhere

    def here(self) -> Sample:
        """What the subscribers here say; on the lab loop."""
        subscriptions, first = {s.technique.name: s for s in self._subscribers.here}, len(COUNTERS)
        return Sample(
            now_ns(),
            {event_id: times for event_id, *times in _drained(self.fresh)},
            {name: list(_drained(s.fresh)) for name, s in subscriptions.items()},
            {name: dict(zip(CATEGORIES, s.counts().values[first:], strict=True)) for name, s in subscriptions.items()},
            {name: (s.connections_open, s.requests_open) for name, s in subscriptions.items()},
            self._subscribers.failures,
        )

    def elsewhere(self, sample: Sample, started_ns: int) -> Sample:
        """The same with what subscribers elsewhere have told since; they may have to ask another process."""
        since_ns, seen = max(started_ns, now_ns() - int(TOLD_WITHIN_S * 1e9)), set(self._seen)
        for subscriber in self._subscribers.elsewhere:
            for row in subscriber.part({}, since_ns).rows:
                key = row["technique"], row["subscriber"], row["event_id"]
                if key not in seen:
                    self._seen.append(key)
                    arrived = sample.arrived.setdefault(row["technique"] + BROWSER, [])
                    arrived.append((row["event_id"], row["received_ns"]))
        return sample


def _drained(queue: deque[Any]) -> Any:
    """What is in the queue, taken out; somebody else may be filling it."""
    for _ in range(len(queue)):
        yield queue.popleft()
