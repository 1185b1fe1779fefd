"""All that one probe asks: what is compared at the same time, the rest one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from labkit.client.http_connection import Response
from labkit.strangers.probe.asking import Question, ask
from labkit.strangers.probe.observation import Observation, Seen
from labkit.strangers.probe.plan import MOST, Plan, afterwards, beside, crowd, to_also, without_coding
from labkit.strangers.probe.publishing import Publisher
from labkit.strangers.probe.rules.late import steps_s
from labkit.strangers.probe.socket_asking import ask_socket
from labkit.strangers.probe.watch import Watch


class Asking:
    """One probe under way."""

    def __init__(self, plan: Plan, watch: Watch) -> None:
        self._plan = plan
        self._watch = watch
        self._others: dict[str, Observation] = {}
        self._beside: list[asyncio.Task[Observation]] = []
        self._publisher: Publisher | None = None

    async def seen(self) -> Seen:
        """Ask it all, or until the watch is over.

        Raises:
            LabkitError: nothing could be published where that was asked for.
        """
        first = await self._first()
        if (publisher := self._publisher) is not None:
            since_ns = self._watch.began_ns + round(first.started_s * 1e9)
            published = {} if first.end == "refused" or self._watch.is_over else publisher.told(since_ns)
            return Seen(
                first, self._others, interrupted=self._watch.is_over, published=published, holds=self._plan.holds
            )
        if self._plan.sendable and not self._watch.is_over:
            await self._afterwards(first)
        if self._plan.sendable and not self._watch.is_over:
            for one in await asyncio.gather(*(self._ask(question) for question in crowd(self._plan))):
                self._others[one.name] = one
        return Seen(
            first, self._others, self._plan.sendable, self._plan.cut, self._watch.is_over, holds=self._plan.holds
        )

    async def _ask(self, question: Question, on_head: Callable[[Response], None] | None = None) -> Observation:
        if self._plan.is_socket:
            return await ask_socket(question, self._watch)
        return await ask(question, self._watch, on_head)

    async def _first(self) -> Observation:
        """As asked, and what is compared with it at the same time."""
        publishing = list[asyncio.Task[None]]()
        if self._plan.publishes:
            self._publisher = Publisher(self._plan.first)
            self._plan = replace(self._plan, first=self._publisher.subscribed())
            publishing.append(asyncio.create_task(self._publisher.publish()))
        if (there := to_also(self._plan)) is not None and self._plan.sendable:
            self._beside.append(asyncio.create_task(self._ask(there)))
        try:
            first = await self._ask(self._plan.first, self._on_head)
            for task in self._beside:
                one = await task
                self._others[one.name] = one
        finally:
            under_way: list[asyncio.Task[Any]] = [*self._beside, *publishing]
            for each in under_way:
                each.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
        return first

    def _on_head(self, response: Response) -> None:
        coding = response.headers.get("content-encoding", "identity")
        if self._plan.sendable and coding not in ("", "identity"):
            self._beside.append(asyncio.create_task(self._ask(without_coding(self._plan))))

    async def _afterwards(self, first: Observation) -> None:
        left, others = MOST - 1 - len(self._others), self._others
        for question in afterwards(self._plan, first):
            asked = [question, *beside(self._plan, question)]
            left -= len(asked) + question.warm_up
            if left < 0 or self._watch.is_over:
                continue
            for one in await asyncio.gather(*map(self._ask, asked)):
                others[one.name] = one
            if question.warm_up and left >= 2 and steps_s(others[question.name]) and not self._watch.is_over:
                others["kept again"] = await self._ask(replace(question, name="kept again"))
                left -= 2
