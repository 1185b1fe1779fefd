"""What theory expects of waiting for a job: from its end to the client's knowing it, and the requests until then.

A client submits a job over a connection of its own, and asks for the result by its rule. The connection's handshake is
a round trip, so the submission is there at 3d and answered at 4d; a job's time counts from when the client begins, and
it is done at ``duration_s``. Pure arithmetic; no latency of one event, so no descriptor's ``expect`` has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple


class Wait(NamedTuple):
    """How one job's client fares.

    Attributes:
        wait_s: from the job's end to the client's knowing it.
        requests: without the submission.
        margin_s: by how much the job's end missed the nearest question; where that is little, noise decides which
            question finds it.
    """

    wait_s: float
    requests: int
    margin_s: float


def held_wait(duration_s: float, one_way_s: float) -> Wait:
    """Of a client whose one request is held until the job is done: it is there at 3d, the answer a transit later."""
    return Wait(max(0.0, 3 * one_way_s - duration_s) + one_way_s, 1, math.inf)


def asking_wait(
    duration_s: float,
    one_way_s: float,
    pause_s: Callable[[int, float], float],
    advice_s: Callable[[float], float] = lambda waited_s: 0.0,
    *,
    from_answers: bool = False,
) -> Wait:
    """Of a client that asks until the job is done, never before the answer to its last request is there.

    Args:
        pause_s: (number of the question, the server's last advice in s) -> seconds before it.
        advice_s: what the server advises, by the seconds since it has known of the job.
        from_answers: whether the pause counts from the last answer; else from the question before, the first from the
            beginning.
    """
    d = one_way_s
    due_s, answered_s, advised_s, margin_s, requests = 0.0, 4 * d, advice_s(0.0), math.inf, 0
    while True:
        due_s = (answered_s if from_answers else due_s) + pause_s(requests, advised_s)
        there_s = max(due_s, answered_s) + d
        answered_s, requests = there_s + d, requests + 1
        margin_s = min(margin_s, abs(there_s - duration_s))
        if there_s >= duration_s:
            return Wait(answered_s - duration_s, requests, margin_s)
        advised_s = advice_s(there_s - 3 * d)
