"""The wait for a job and the age of information, against simulations that take one step of time after the other."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from labkit.theory.age import age_blocks, queued_age_s
from labkit.theory.jobs import Wait, asking_wait, held_wait

S = 1_000_000_000
STEP_MS = 1
D_MS = 40
Pause = Callable[[int, float], float]


def waited(duration_ms: int, pause: Pause, advice: Callable[[float], float], from_answers: bool) -> tuple[int, int]:
    """A server, a line and a client, each looked at in every millisecond: the wait from the job's end, requests."""
    to_server, to_client = [(3 * D_MS, "submit")], list[tuple[int, str, float]]()
    asked, counts_from_ms, due_ms, free, submitted_ms, advised_s = 0, 0, None, False, 0, advice(0.0)
    for now_ms in range(0, 1_000_000, STEP_MS):
        for at_ms, what in [m for m in to_server if m[0] == now_ms]:
            to_server.remove((at_ms, what))
            submitted_ms = now_ms if what == "submit" else submitted_ms
            done = what == "ask" and now_ms >= duration_ms
            to_client.append((now_ms + D_MS, "done" if done else "not yet", advice((now_ms - submitted_ms) / 1e3)))
        for answer in [m for m in to_client if m[0] == now_ms]:
            to_client.remove(answer)
            if answer[1] == "done":
                return now_ms - duration_ms, asked
            free, advised_s = True, answer[2]
            if from_answers:
                counts_from_ms, due_ms = now_ms, None
        if due_ms is None and (free or not from_answers):
            due_ms = counts_from_ms + round(1e3 * pause(asked, advised_s))
        if free and due_ms is not None and now_ms >= due_ms:
            to_server.append((now_ms + D_MS, "ask"))
            free, asked, counts_from_ms, due_ms = False, asked + 1, due_ms, None
    raise AssertionError("never done")


RULES: dict[str, tuple[Pause, Callable[[float], float], bool]] = {
    "at once": (lambda number, advised: 0.0, lambda waited_s: 0.0, False),
    "fixed": (lambda number, advised: 0.25, lambda waited_s: 0.0, False),
    "backoff": (lambda number, advised: 0.1 * 2**number, lambda waited_s: 0.0, False),
    "as the server says": (lambda number, advised: advised, lambda waited_s: max(1.0, math.ceil(1.3 - waited_s)), True),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_client_that_asks_for_its_job_knows_when_the_simulated_one_does(rule: str) -> None:
    pause, advice, from_answers = RULES[rule]
    rng = random.Random(5)
    for _ in range(25):
        duration_ms = rng.randrange(4000)
        expected = asking_wait(duration_ms / 1e3, D_MS / 1e3, pause, advice, from_answers=from_answers)
        found = waited(duration_ms, pause, advice, from_answers)
        if expected.margin_s > 1e-6:  # else it ends just as the question is there, which rounding decides
            assert found == (round(1e3 * expected.wait_s), expected.requests)


def test_a_held_request_is_answered_as_the_job_ends_or_as_it_comes() -> None:
    assert held_wait(2.0, 0.05) == Wait(0.05, 1, math.inf)
    assert held_wait(0.1, 0.05).wait_s == pytest.approx(0.05 + 0.05)  # done at 0.1, the request is there at 0.15


@pytest.mark.parametrize("rate_per_s", [8.0, 30.0, 60.0])
def test_the_age_behind_a_link_is_what_a_link_looked_at_often_has(rate_per_s: float) -> None:
    rng, capacity, d_s, length_s = random.Random(6), 40.0, 0.05, 4.0
    due_s, at_s = [], rng.expovariate(rate_per_s)
    while at_s < length_s:
        due_s.append(at_s)
        at_s += rng.expovariate(rate_per_s)
    steps, step_s, waiting, sending, left_s = 40_000, length_s / 40_000, list(due_s), None, 0.0
    sent, area, newest_s = list[tuple[float, float]](), 0.0, 0.0
    for now_s in (n * step_s for n in range(steps)):
        left_s -= step_s
        if sending is not None and left_s <= 0:
            sent, sending = [*sent, (now_s + d_s, sending)], None
        if sending is None and waiting and waiting[0] <= now_s:
            sending, left_s = waiting.pop(0), left_s + 1 / capacity if left_s > -step_s else 1 / capacity
        while sent and sent[0][0] <= now_s:
            newest_s = max(newest_s, sent.pop(0)[1])
        area += (now_s - newest_s) * step_s
    expected_s = queued_age_s([round(t * S) for t in due_s], capacity, d_s, 0, round(length_s * S))
    assert expected_s == pytest.approx(area / length_s, rel=0.01)


def test_before_anything_arrived_the_age_counts_from_the_beginning() -> None:
    assert age_blocks([], S, 3 * S, 2) == pytest.approx((0.5, 1.5))
