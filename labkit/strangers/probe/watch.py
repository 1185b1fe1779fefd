"""For how long each answer of a probe is listened to; an interrupt ends all of it now, with what was seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from labkit.wire.events import now_ns

Told = Callable[[], str]


class Watch:
    """Of one probe, from its beginning.

    Attributes:
        began_ns: when it began, on the kit's clock.
        is_over: whether somebody has ended it before its time.
    """

    def __init__(self) -> None:
        self.began_ns = now_ns()
        self.is_over = False
        self._limits: set[asyncio.Timeout] = set()
        self._under_way: list[Told] = []

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """What takes longer ends with a TimeoutError, and so does what is under way when it is ended."""
        async with asyncio.timeout(0 if self.is_over else seconds) as limit:
            self._limits.add(limit)
            try:
                yield
            finally:
                self._limits.discard(limit)

    def end(self) -> None:
        """End it, on the loop that it runs on."""
        self.is_over = True
        for limit in self._limits:
            if not limit.expired():  # what is over already cannot be ended sooner
                limit.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def showing(self, told: Told) -> AsyncIterator[None]:
        """Meanwhile *told* says how far that is."""
        self._under_way.append(told)
        try:
            yield
        finally:
            self._under_way.remove(told)

    def line(self) -> str:
        """How far it is; from any thread."""
        return "; ".join(told() for told in self._under_way[:3])
