"""How the clock of a page stands to the lab's, by round trips.

Values in, values out: who asks and who answers is in ``page_socket``.
"""

from __future__ import annotations

import math
from collections import deque

ROUND_TRIPS = 24  # that an estimate is made from; a page makes one every two seconds
TICK_MS = 0.1  # of a page's clock (High Resolution Time section 4.3)


class Clock:
    """How a page's clock stands to the lab's, by round trips.

    Each trip bounds the offset from both sides: the page cannot have had the answer before it was sent, nor the lab
    the question before it was asked. The narrowest trip alone leaves half of its length as the error; all together
    leave less, since their delays fall unevenly. An older trip that a newer one contradicts is forgotten.
    """

    def __init__(self) -> None:
        self._bounds: deque[tuple[float, float]] = deque(maxlen=ROUND_TRIPS)

    def add(self, asked_ms: float, answered_ms: float, received_ns: int, sent_ns: int) -> None:
        """One round trip: two times of the page's clock, two of the lab's."""
        low, high = sent_ns / 1e6 - answered_ms - TICK_MS, received_ns / 1e6 - asked_ms + TICK_MS
        if low > high:
            return
        self._bounds.append((low, high))
        for number, (older_low, older_high) in enumerate(reversed(list(self._bounds))):
            low, high = max(low, older_low), min(high, older_high)
            if low > high:  # a clock has drifted, was set, or has stood still: what came before says nothing any more
                while len(self._bounds) > number:
                    self._bounds.popleft()
                return

    @property
    def trips(self) -> int:
        return len(self._bounds)

    @property
    def round_trip_ms(self) -> float:
        """The shortest one, without the time that the lab took."""
        return min((high - low for low, high in self._bounds), default=math.nan)

    @property
    def estimate(self) -> tuple[float, float]:
        """What to add to the page's time to have the lab's, and how far off that may be; both in ms."""
        if not self._bounds:
            return math.nan, math.nan
        low, high = max(b[0] for b in self._bounds), min(b[1] for b in self._bounds)
        return (low + high) / 2, (high - low) / 2
