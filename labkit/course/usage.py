"""What the process of a lab uses, asked from outside: for a lab in a process of its own."""

from __future__ import annotations

import time

from labkit.lab.lab import Lab


def rss_bytes(lab: Lab) -> float:
    """Its resident memory."""
    return _usage(lab)["rss_bytes"]


def cpu_s(lab: Lab) -> float:
    """Its CPU seconds: to the nanosecond where the system has a clock for each process (Linux)."""
    try:
        return time.clock_gettime(~(lab.pid or 0) << 3 | 2)  # clock_getcpuclockid(3) of that process
    except (AttributeError, OSError):
        return _usage(lab)["cpu_s"]


def _usage(lab: Lab) -> dict[str, float]:
    found = lab.usage()
    assert found is not None, "a lab in a process of its own"
    return found
