"""A run without an end: a source publishes and subscribers receive until somebody stops it, in bounded memory.

What ``measure`` does for a schedule, with settings that can be changed while it goes on, and of what was only the
newest kept. Nothing here draws: ``sample`` gives what a chart needs, as often as it likes.

Every public method may be called from any thread but the lab loop's.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from collections import deque
from collections.abc import Iterator
from typing import Any

from labkit import loop
from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.errors import LabkitError
from labkit.lab.lab import Lab
from labkit.measuring.attaching import Subscribers
from labkit.measuring.natures import Natures, asked
from labkit.measuring.relays import Way
from labkit.measuring.run import Run
from labkit.measuring.sampling import Sample, Samples
from labkit.measuring.settings import DIALS, Settings
from labkit.measuring.source import Source
from labkit.measuring.tallies import BROWSER
from labkit.measuring.under_way import UnderWay
from labkit.measuring.window import LiveSubscription, Window, frozen_copy
from labkit.network.link import Link
from labkit.techniques import Technique, find
from labkit.techniques.sse import RETRY_S
from labkit.theory import Expectation, Path, Silent
from labkit.wire.events import now_ns

KEEP_EVENTS = 5000
KEEP_BYTES = 256 << 10
TEND_S = 0.25


class LiveRun(UnderWay):
    """One run that goes on.

    Args:
        lab: where to publish and to subscribe.
        settings: how it begins; its techniques stay.
        keep_events: how many of the newest events it remembers at most; at least half as many.
        keep_bytes: captured bytes of each connection.
        seed: of the source's times.
        link: a running link to the lab, which stays; one of its own by default.

    Subscribers elsewhere, such as a notebook's page (``lab.attached``), are in its samples and in its run.

    Raises:
        UnknownTechnique, LabClosed: at once.
    """

    def __init__(
        self,
        lab: Lab,
        settings: Settings,
        *,
        keep_events: int = KEEP_EVENTS,
        keep_bytes: int = KEEP_BYTES,
        seed: int = 0,
        link: Link | None = None,
    ) -> None:
        self._source = Source(settings, seed)
        self.techniques = [find(name, lab.techniques) for name in settings.techniques]
        subscribers = Subscribers(self.techniques, self._options, list(lab.attached), keep_bytes, LiveSubscription)
        super().__init__(lab, self._source, subscribers, keep_bytes=keep_bytes, keep=keep_events)
        self.link = link or Link()
        here_before = [record for record in self.link.ledger.connections if record.closed_ns is None]  # a page's
        self.link.ledger = Ledger(keep_bytes)
        self.link.ledger.connections = here_before
        self.link.one_way_s, self.link.jitter_s = settings.one_way_s, settings.jitter_s
        self.link_state = "whole"
        self.path, self._way = [self.link], Way([self.link], lab)
        self.window = Window(keep_events, self.publisher.published)
        self.changes: deque[dict[str, Any]] = deque(maxlen=100)
        self._keeps_link = link is not None
        self._settles = True
        self._told = asyncio.Event()  # to end
        self._samples = Samples(subscribers)

    # -- from any thread --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Attach every subscriber, then start the source."""
        with contextlib.ExitStack() as undo:
            if not self._keeps_link:
                undo.callback(self.link.close)
                self.link.bind(self.lab).start()
            self.link.heal()
            undo.callback(self._interrupt)
            self._begin(self.link)
            self._wait(self._begins)
            if self.interrupted:
                raise KeyboardInterrupt
            undo.pop_all()

    def change(self, **changes: Any) -> str:
        """Set *changes* at once. Returns a sentence on what they needed, or an empty string.

        Raises:
            SettingError: a value that cannot be; nothing is changed then.
        """
        wanted = self.settings.changed(**changes)
        if wanted.techniques != self.settings.techniques:
            raise LabkitError("other techniques need another run: stop this one first")
        changed = {n: v for n, v in changes.items() if getattr(wanted, n) != getattr(self.settings, n)}
        self._source.change(wanted)
        self.link.one_way_s, self.link.jitter_s = wanted.one_way_s, wanted.jitter_s
        if changed and self.started_ns:
            t_s = (now_ns() - self.started_ns) / 1e9
            self.changes.append({"t_s": t_s, **{name: getattr(wanted, name) for name in changed}})
        options = {DIALS[name].option for name in changed if name in DIALS}
        names = {t.name for t in self.techniques if options & set(t.options)} & set(self._subscriptions)
        for name in sorted(names):
            loop.run(self._subscribers.restart(self._subscriptions[name]))
        if not names:
            return ""
        return f"The {' and '.join(sorted(names))} subscriber started again, from its cursor: nothing is lost."

    def publish(self, data: str | bytes) -> int:
        """Publish one event at once, as part of the run."""
        return self.publisher.publish(now_ns(), data)

    def cut(self) -> None:
        """End every connection, and turn new ones away until :meth:`heal`."""
        self.link_state = "cut"
        self.link.cut()

    def stall(self) -> None:
        """Let nothing through until :meth:`heal`; nobody is told."""
        self.link_state = "stalled"
        self.link.stall()

    def heal(self) -> None:
        """Undo :meth:`cut` and :meth:`stall`."""
        self.link_state = "whole"
        self.link.heal()

    def sample(self) -> Sample:
        """What arrived since the last sample, and how it stands. For one reader."""

        async def take() -> Sample:
            return self._samples.here()

        return self._samples.elsewhere(loop.run(take()), self.started_ns)

    def stop(self, *, settle: bool = True) -> Run:
        """End it: wait for what is on its way, if wanted, close everything, return what the window holds.

        An interrupt ends the wait, and the run is marked so.
        """
        self._settles = settle
        self._source.stop()
        loop.get_loop().call_soon_threadsafe(self._told.set)
        try:
            self._wait()
            return self.snapshot()
        finally:
            if not self._keeps_link:
                self.link.close()

    @property
    def settings(self) -> Settings:
        """As they are now."""
        return self._source.settings

    @property
    def arrived(self) -> dict[str, int]:
        """technique -> deliveries since the start."""
        return {name: subscription.arrived for name, subscription in self._subscriptions.items()}

    @property
    def caught_up(self) -> bool:
        """Whether every subscriber that has not failed holds the newest event."""
        return self._subscribers.hold(self.publisher.newest)

    @property
    def on_its_way_s(self) -> float:
        """How long what has been published may take to arrive, at most."""
        poll_s = self.settings.poll_interval_s if any(t.kind == "poll" for t in self.techniques) else 0.0
        return max(poll_s, RETRY_S) + 8 * (self.one_way_s + self.jitter_s) + 2.0

    @property
    def names(self) -> list[str]:
        """The techniques, those of subscribers elsewhere included: ``sse (browser)``."""
        there = [name + BROWSER for s in self._subscribers.elsewhere for name in getattr(s, "techniques", ())]
        return list(dict.fromkeys([*self.settings.techniques, *there]))

    @property
    def natures(self) -> Natures:
        """What it tells of its techniques, those of subscribers elsewhere included."""
        settings = self._settings()
        return Natures({**settings, "natures": self._natures(settings)})

    def expected(self) -> dict[str, Expectation | Silent]:
        """technique -> the latency that theory expects of it with the settings as they are now."""
        settings = {**self._settings(), "steady": True}
        path = Path.of(settings)
        return {t.name: t.expect(asked(t, settings), path) for t in self.techniques}

    @property
    def _subscriptions(self) -> dict[str, LiveSubscription]:
        return {subscription.technique.name: subscription for subscription in list(self._subscribers.here)}

    # -- what goes on -----------------------------------------------------------------------------------------

    def _options(self, technique: Technique, number: int) -> dict[str, Any]:
        given = {"interval_s": self.settings.poll_interval_s, "hold_s": self.settings.hold_s}
        return technique.taken_of(given) | self._given | {"give_up_s": math.inf}

    @property
    def _settle_s(self) -> float:
        return super()._settle_s if self._settles and self.link_state == "whole" and not self.lab.closed else 0.0

    @property
    def _first_id(self) -> int | None:
        return self.window.first_id

    async def _over(self) -> None:
        """A source that has failed does not end it: others may publish too."""
        await self._told.wait()
        await super()._over()

    def _starts_at(self, cursor: str) -> None:
        newest = int(cursor.partition("@")[0])
        self.publisher.newest[self.topic] = newest
        self.window.start(newest)
        self._beside.append(asyncio.ensure_future(self._tend()))
        super()._starts_at(cursor)

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(TEND_S)
            await self._turn()

    async def _attach(self) -> bool:
        attached = await super()._attach()
        if attached:
            self._beside.append(asyncio.ensure_future(self._count_seconds()))
        return attached

    async def _count_seconds(self) -> None:
        for second in itertools.count(1):
            await self._until(second)
            self._samples.second_ends(self.started_ns + second * 1_000_000_000)

    async def _turn(self) -> None:
        """Begin a page of the window, if it is time."""
        here = list(self._subscribers.here)
        newest = max([self.publisher.newest[self.topic], *(s.newest for s in here)])  # others may publish too
        self.window.turn(newest, here, [self.link.ledger])

    def _is_published(self, event_id: int, due_ns: int, published_ns: int) -> None:
        super()._is_published(event_id, due_ns, published_ns)
        self._samples.fresh.append((event_id, due_ns, published_ns))
        if self.window.is_full(self.publisher.newest[self.topic]):
            loop.run(self._turn())  # many at once must not outrun the window

    def _hop_records(self) -> Iterator[ConnectionRecord]:
        return map(frozen_copy, super()._hop_records())

    def _settings(self) -> dict[str, Any]:
        common, settings = super()._settings(), self.settings
        return {
            **common,
            "schedule": {
                "name": settings.source,
                "settings": {"rate_per_s": settings.rate_per_s, "payload_bytes": settings.payload_bytes},
                "rate_per_s": None if settings.source == "none" else settings.rate_per_s,
                "poisson": settings.source == "poisson",
                "duration_s": common["duration_s"],
            },
            "poll_interval_s": settings.poll_interval_s,
            "hold_s": settings.hold_s,
            "subscribers": 1,
            "options": {},
            "changes": list(self.changes),
            "steady": common["steady"] and not any(set(change) - {"t_s", "payload_bytes"} for change in self.changes),
            "first_event_id": self.window.first_id,
        }
