"""What goes on beside an experiment on its loop: tasks that end with it, what is waited for, how late timers are."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from labkit.wire.events import now_ns


async def cancelled(*tasks: asyncio.Task[Any]) -> None:
    """End *tasks*, and wait until they have."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until(is_so: Callable[[], bool], limit_s: float, every_s: float = 0.005) -> None:
    """Wait until something is so that comes about in several places; for a bounded time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            while not is_so():  # noqa: ASYNC110  it comes from several places
                await asyncio.sleep(every_s)


@contextlib.asynccontextmanager
async def lateness(every_s: float = 0.005) -> AsyncIterator[list[float]]:
    """How late timers of this loop are while the block runs, in seconds, filled as it goes."""
    late_s: list[float] = []

    async def watch() -> None:
        while True:
            due_ns = now_ns() + int(every_s * 1e9)
            await asyncio.sleep(every_s)
            late_s.append(max(0.0, (now_ns() - due_ns) / 1e9))

    watching = asyncio.ensure_future(watch())
    try:
        yield late_s
    finally:
        await cancelled(watching)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which *share* of them lie; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
