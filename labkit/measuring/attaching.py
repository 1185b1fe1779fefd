"""Who receives in a run: subscribers on the lab loop, and those that live elsewhere, such as in a notebook's page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from labkit.lab.attached import Attached
from labkit.measuring.subscription import Subscription
from labkit.network.relay_target import HOST, Target
from labkit.techniques import Delivery, Technique

OPEN_TIMEOUT_S = 10.0
S = TypeVar("S", bound=Subscription)


@dataclass(frozen=True, slots=True)
class Start:
    """When a topic's subscribers come.

    Attributes:
        at_s: from the start of the run; at 0 they are there before it starts.
        subscribers: of each technique.
        after: the cursor that they come with; by default where the topic is when the run begins.
    """

    at_s: float = 0.0
    topic: str = ""
    subscribers: int = 1
    after: str | None = None


class Subscribers(Generic[S]):
    """The subscribers of a run. Everything but the properties belongs to the lab loop.

    Args:
        techniques: through which each start brings its subscribers.
        options: what the ``connect`` of a technique's subscriber takes, by its number.
        elsewhere: those that live elsewhere; the list may change meanwhile.
        make: one subscriber.
        on_delivery: is told each delivery as it arrives.
    """

    def __init__(
        self,
        techniques: Sequence[Technique],
        options: Callable[[Technique, int], Mapping[str, Any]],
        elsewhere: list[Attached],
        keep_bytes: int,
        make: type[S],
        on_delivery: Callable[[Subscription, Delivery], None] | None = None,
    ) -> None:
        self.techniques = list(techniques)
        self.elsewhere = elsewhere
        self.here: list[S] = []
        self._options, self._keep_bytes, self._make, self._on_delivery = options, keep_bytes, make, on_delivery
        self._receiving: dict[S, asyncio.Task[None]] = {}
        self._host, self._ports = HOST, dict[str, int]()
        self._no_port = ""
        self._tls = False

    def connect_to(self, target: Target, *, tls: bool) -> None:
        """Where those that come connect to, and whether its HTTP port speaks TLS."""
        self._tls = tls
        if isinstance(target, tuple):
            self._host, self._ports = target[0], {"http": target[1]}
        else:
            self._host, self._ports = HOST, dict(target.ports)
        self._no_port = getattr(target, "missing", "") or "the path has no port for it"

    def come(self, start: Start, after: str) -> None:
        """Begin to receive, through every technique."""
        for technique in self.techniques:
            for number in range(start.subscribers):
                options = self._options(technique, number)
                subscription = self._make(technique, number, start.topic, options, self._keep_bytes)
                subscription.begins(after if start.after is None else start.after)
                self.here.append(subscription)
                self._receive(subscription)

    def _receive(self, subscription: S) -> None:
        technique = subscription.technique
        if technique.port in self._ports:
            url = technique.url(self._host, self._ports, tls=self._tls)
            receiving = subscription.receive(url, subscription.cursor, self._on_delivery)
            self._receiving[subscription] = asyncio.ensure_future(receiving)
        else:
            subscription.failure = f"not run: {self._no_port}"
            subscription.opened.set()

    async def opened(self, patience_s: float) -> None:
        """Wait until every subscriber is attached, has failed, or has had its chance."""
        waited_s = OPEN_TIMEOUT_S + patience_s
        try:
            async with asyncio.timeout(waited_s):
                for subscription in self.here:
                    await subscription.opened.wait()
        except TimeoutError:
            for subscription in self.here:
                subscription.awaited_s = waited_s

    async def restart(self, subscription: S) -> None:
        """Have it subscribe again, from its cursor, with the options as they are now."""
        await ended([self._receiving.pop(subscription)])
        subscription.options.update(self._options(subscription.technique, subscription.number))
        subscription.renewed()
        self._receive(subscription)

    async def end(self) -> None:
        """Receive no more."""
        await ended(self._receiving.values())

    def hold(self, newest: Mapping[str, int]) -> bool:
        """Whether every one here that has not failed holds the newest event of its topic."""
        return all(s.failure or s.newest >= newest.get(s.topic, 0) for s in list(self.here))

    async def settled(self, newest: Mapping[str, int]) -> bool:
        """The same, of those elsewhere too."""
        if not self.hold(newest):
            return False
        for subscriber in list(self.elsewhere):  # which may have to ask another process
            if not await asyncio.to_thread(subscriber.settled, dict(newest)):
                return False
        return True

    @property
    def failures(self) -> dict[str, str]:
        """technique -> why the first of its subscribers that failed did."""
        found: dict[str, str] = {}
        for subscription in self.here:
            if (trouble := subscription.trouble) is not None:
                found.setdefault(subscription.technique.name, trouble)
        return found


async def ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel them all, and wait for that."""
    for task in (tasks := list(tasks)):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
