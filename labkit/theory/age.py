"""The age of information: of what has arrived, and of what theory expects to arrive through a queue. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise


def age_blocks(arrivals: Iterable[tuple[int, int]], start_ns: int, stop_ns: int, blocks: int) -> tuple[float, ...]:
    """The mean age of information in each of so many equal blocks of time, in seconds.

    The age at a moment is the time since the newest event held then was due; before the first, since *start_ns*.

    Args:
        arrivals: (received_ns, due_ns).
    """
    edges = [start_ns + (stop_ns - start_ns) * i // blocks for i in range(blocks + 1)]
    waiting, newest_ns, found = sorted(arrivals), start_ns, []
    for begin_ns, end_ns in pairwise(edges):
        area, at_ns = 0.0, begin_ns
        while waiting and waiting[0][0] < end_ns:
            received_ns, due_ns = waiting.pop(0)
            area += _area(at_ns, max(received_ns, begin_ns), newest_ns)
            at_ns, newest_ns = max(received_ns, begin_ns), max(newest_ns, due_ns)
        area += _area(at_ns, end_ns, newest_ns)
        found.append(area / (end_ns - begin_ns) / 1e9)
    return tuple(found)


def _area(from_ns: int, to_ns: int, newest_ns: int) -> float:
    return (to_ns - from_ns) * ((from_ns + to_ns) / 2 - newest_ns)


def queued_age_s(due_ns: Iterable[int], capacity_per_s: float, one_way_s: float, start_ns: int, stop_ns: int) -> float:
    """The mean age of a trace of which every event is delivered over a link that carries so many a second, in seconds.

    Age is no latency, so no descriptor's ``expect`` has it. A queue with one server of the link's rate C: an event is
    out 1/C after it came or, if later, after the one before it (Lindley's recursion), and a transit later it is there.
    """
    each_ns, free_ns, arrivals = int(1e9 / capacity_per_s), 0, []
    for due in sorted(due_ns):
        free_ns = max(free_ns, due) + each_ns
        arrivals.append((free_ns + int(one_way_s * 1e9), due))
    return age_blocks(arrivals, start_ns, stop_ns, 1)[0]
