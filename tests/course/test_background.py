"""What goes on beside an experiment."""

from __future__ import annotations

import asyncio
import time

import pytest

from conftest import UNIT
from labkit import loop
from labkit.course.background import cancelled, lateness, quantile, until


def test_tasks_have_ended_when_they_are_said_to() -> None:
    async def ends() -> list[bool]:
        tasks = [asyncio.ensure_future(asyncio.sleep(60)) for _ in range(3)]
        await cancelled(*tasks)
        return [task.done() for task in tasks]

    assert loop.run(ends()) == [True] * 3


def test_what_is_so_is_not_waited_for_and_what_never_is_only_for_a_while() -> None:
    async def waits(is_so: bool) -> int:
        asked = 0

        def ask() -> bool:
            nonlocal asked
            asked += 1
            return is_so

        await asyncio.wait_for(until(ask, 0.05), 10 * UNIT)
        return asked

    assert loop.run(waits(True)) == 1 and loop.run(waits(False)) >= 1


def test_a_loop_that_stood_still_has_late_timers() -> None:
    async def stands_still() -> list[float]:
        async with lateness() as late_s:
            await asyncio.sleep(0)  # its first timer runs
            time.sleep(0.05)  # noqa: ASYNC251  that is what is tried
            await until(lambda: bool(late_s), 10 * UNIT)
        return list(late_s)

    assert max(loop.run(stands_still())) >= 0.04


@pytest.mark.parametrize(("values", "found"), [([], 0.0), ([3.0], 3.0), ([4.0, 1.0, 3.0, 2.0], 3.0), (range(100), 50)])
def test_a_quantile_is_one_of_the_values(values: list[float], found: float) -> None:
    assert quantile(values, 0.5) == found
