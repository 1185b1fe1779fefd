"""What clients cost a server in a process of its own: its memory and its descriptors, read while they are added."""

from __future__ import annotations

import time
from collections.abc import Callable

from labkit.lab.lab import Lab

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
UPGRADE = f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
READ_TIMEOUT_S = 10.0
SETTLE_S = 2.0
NOT_LINUX = "the counts are read from Linux's /proc"


class Weighed:
    """The process of a lab, from outside."""

    def __init__(self, lab: Lab) -> None:
        import psutil

        assert lab.pid is not None
        self._process = psutil.Process(lab.pid)

    def growth(self, add: Callable[[int], None], batch: int, batches: int) -> tuple[tuple[float, ...], ...]:
        """What each batch of clients adds, for each client: resident KiB, and descriptors.

        Args:
            add: lets so many clients more come. What the first batch adds is not counted: all is done once before.
        """
        add(batch)
        kib, held = [], []
        for _ in range(batches):
            before = self._resident_bytes(), self._descriptors()
            add(batch)
            kib.append((self._resident_bytes() - before[0]) / 1024 / batch)
            held.append((self._descriptors() - before[1]) / batch)
        return tuple(kib), tuple(held)

    def _resident_bytes(self) -> int:
        return int(self._process.memory_info().rss)

    def _descriptors(self) -> int:
        """The open ones; those that a client has just closed are waited for."""
        count, until_s = int(self._process.num_fds()), time.monotonic() + SETTLE_S
        steady_s = time.monotonic()
        while time.monotonic() < until_s and time.monotonic() - steady_s < SETTLE_S / 20:
            time.sleep(0.01)
            if (now := int(self._process.num_fds())) != count:
                count, steady_s = now, time.monotonic()
        return count

    def cpu_s(self) -> float:
        """CPU seconds of the process: Linux has a clock for each, to the nanosecond."""
        return time.clock_gettime(~self._process.pid << 3 | 2)
