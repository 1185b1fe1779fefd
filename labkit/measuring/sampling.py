"""What a run that goes on tells whoever draws it: what happened since the last time, and how it stands."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from labkit.measuring.attaching import Subscribers
from labkit.measuring.tallies import BROWSER
from labkit.measuring.window import COUNTERS, FRESH, LiveSubscription
from labkit.wire.events import now_ns
from labkit.wire.spans import CATEGORIES, Category

TOLD_WITHIN_S = 5.0
"""How long a page may take to tell what arrived, and still have a dot."""
SECONDS = 60
"""Seconds whose bytes are kept for a reader who comes late."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What happened since the sample before, and how it stands now.

    Attributes:
        published: event id -> (due_ns, published_ns) of the newest events.
        arrived: technique -> (event id, received_ns), in order.
        totals: (when, bytes by category since the start), all techniques together: at the end of each second that has
            ended since the sample before, and now.
        open: technique -> (connections, requests) open now.
        failures: technique -> why it ended before its time.
    """

    t_ns: int
    published: dict[int, tuple[int, int]]
    arrived: dict[str, list[tuple[int, int]]]
    totals: list[tuple[int, dict[Category, int]]]
    open: dict[str, tuple[int, int]]
    failures: dict[str, str]


class Samples:
    """The samples of one run, for one reader. What it has not seen of the publisher's is in ``fresh``."""

    def __init__(self, subscribers: Subscribers[LiveSubscription]) -> None:
        self.fresh: deque[tuple[int, int, int]] = deque(maxlen=FRESH)
        """(event id, due_ns, published_ns)."""
        self._subscribers = subscribers
        self._seen: deque[tuple[str, int, int]] = deque(maxlen=FRESH)  # told by subscribers elsewhere
        self._seconds: deque[tuple[int, dict[Category, int]]] = deque(maxlen=SECONDS)

    def second_ends(self, t_ns: int) -> None:
        """Put down what went over the wire until then, which is now; on the lab loop."""
        self._seconds.append((t_ns, self._bytes()))

    def here(self) -> Sample:
        """What the subscribers here say; on the lab loop."""
        subscriptions = {s.technique.name: s for s in self._subscribers.here}
        return Sample(
            now_ns(),
            {event_id: times for event_id, *times in _drained(self.fresh)},
            {name: list(_drained(s.fresh)) for name, s in subscriptions.items()},
            [*_drained(self._seconds), (now_ns(), self._bytes())],
            {name: (s.connections_open, s.requests_open) for name, s in subscriptions.items()},
            self._subscribers.failures,
        )

    def _bytes(self) -> dict[Category, int]:
        counts = [s.counts().values[len(COUNTERS) :] for s in self._subscribers.here]
        return dict(zip(CATEGORIES, map(sum, zip(*counts, strict=True)), strict=True)) if counts else {}

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
