"""How long a client waits before it asks again: longer each time, until it is answered."""

from __future__ import annotations

import random

FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 2.0


class Backoff:
    """Waits that double from 0.05 s to 2 s.

    Each is uniformly jittered, so that many clients that were cut together do not come back together.
    """

    def __init__(self) -> None:
        self._most_s = FIRST_WAIT_S

    def answered(self, lasted_s: float, *, brought: bool) -> None:
        """Begin anew, unless the answer ended at once and brought nothing: then the next may do the same."""
        if brought or lasted_s >= self._most_s:
            self._most_s = FIRST_WAIT_S

    def next_s(self) -> float:
        """Seconds to wait now; the next wait may be twice as long."""
        wait_s = random.uniform(0, self._most_s)
        self._most_s = min(2 * self._most_s, LONGEST_WAIT_S)
        return wait_s
