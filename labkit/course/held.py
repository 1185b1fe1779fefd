"""What clients cost a server in a process of its own: its memory, descriptors and CPU, read from outside."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

from labkit.lab.lab import Lab

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
UPGRADE = f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
READ_TIMEOUT_S = 10.0
SETTLE_S = 2.0
NOT_LINUX = "the counts are read from Linux's /proc"


def rss_bytes(lab: Lab) -> float:
    """The resident memory of its process."""
    return _usage(lab)["rss_bytes"]


def cpu_s(lab: Lab) -> float:
    """The CPU seconds of its process."""
    return _usage(lab)["cpu_s"]


def _usage(lab: Lab) -> dict[str, float]:
    found = lab.usage()
    assert found is not None, "a lab in a process of its own"
    return found


def growth(lab: Lab, add: Callable[[int], None], batch: int, batches: int) -> tuple[tuple[float, ...], ...]:
    """What each batch of clients adds, for each client: resident KiB, and descriptors.

    Args:
        add: lets so many clients more come. What the first batch adds is not counted: all is done once before.
    """
    taken = []
    for _ in range(batches + 1):
        add(batch)
        count = _descriptors(lab)  # which waits for what is on its way to be gone
        taken.append((rss_bytes(lab), count))
    each = [((after[0] - before[0]) / batch, (after[1] - before[1]) / batch) for before, after in pairwise(taken)]
    return tuple(size / 1024 for size, _ in each), tuple(held for _, held in each)


def _descriptors(lab: Lab) -> int:
    """The open ones of its process; those that a client has just closed are waited for."""
    import psutil

    process, steady_s = psutil.Process(lab.pid), time.monotonic()
    count, until_s = process.num_fds(), steady_s + SETTLE_S
    while time.monotonic() < until_s and time.monotonic() - steady_s < SETTLE_S / 20:
        time.sleep(0.01)
        if (now := process.num_fds()) != count:
            count, steady_s = now, time.monotonic()
    return int(count)
