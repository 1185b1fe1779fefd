"""A run without an end: a source publishes and subscribers receive until somebody stops it, in bounded memory.

What ``measure`` does for a schedule, with settings that can be changed while it goes on. Clients and the link live on
the lab loop, the source publishes from a thread of its own, both read one clock. Latencies run from the moment an
event was due. Nothing here draws: ``sample`` gives what a chart needs, as often as it likes.

Every public method may be called from any thread but the lab loop's.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from labkit import loop
from labkit.client.ledger import CATEGORIES, Ledger
from labkit.errors import LabClosed, LabkitError
from labkit.lab.attached import Part
from labkit.lab.lab import Lab
from labkit.measuring.apparatus import Apparatus
from labkit.measuring.natures import Natures, asked, told_of
from labkit.measuring.provenance import natures_of, told, versions, when
from labkit.measuring.run import Run
from labkit.measuring.settings import DIALS, Settings
from labkit.measuring.source import Source
from labkit.measuring.tallies import BROWSER
from labkit.measuring.window import COUNTERS, FRESH, LiveSubscription, Window, frozen_copy
from labkit.network.link import Link
from labkit.sockets import MSS
from labkit.techniques import Technique, find
from labkit.techniques.sse import RETRY_S
from labkit.theory import Expectation, Path, Silent
from labkit.wire.events import now_ns

KEEP_EVENTS = 5000
KEEP_BYTES = 256 << 10
OPEN_TIMEOUT_S = 10.0
LEAVE_S = 0.5  # what is under way when a stop is interrupted may take this long to end
TEND_S = 0.25
TOLD_WITHIN_S = 5.0
"""How long a page may take to tell what arrived, and still have a dot."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What happened since the sample before, and how it stands now.

    Attributes:
        published: event id -> (due_ns, published_ns) of the newest events.
        arrived: technique -> (event id, received_ns), in order.
        totals: technique -> bytes by category since the start.
        open: technique -> (connections, requests) open now.
        failures: technique -> why it ended before its time.
    """

    t_ns: int
    published: dict[int, tuple[int, int]]
    arrived: dict[str, list[tuple[int, int]]]
    totals: dict[str, dict[str, int]]
    open: dict[str, tuple[int, int]]
    failures: dict[str, str]


class LiveRun:
    """One run under way.

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
        if lab.closed:
            raise LabClosed(f"lab {lab.name!r} is closed: start another with labkit.Lab()")
        self.lab = lab
        self._source = Source(settings, seed)
        self.techniques = [find(name, lab.techniques) for name in settings.techniques]
        self.link = link or Link()
        self.link.ledger = Ledger(keep_bytes)
        self.link.one_way_s, self.link.jitter_s = settings.one_way_s, settings.jitter_s
        self._keeps_link = link is not None
        self._elsewhere = list(lab.attached)
        self.link_state = "whole"
        self.window = Window(keep_events)
        self.published_count = 0
        self.publish_failure: str | None = None
        self.changes: deque[dict[str, Any]] = deque(maxlen=100)
        self.started_ns = 0
        self.ended = False
        self._keep_bytes = keep_bytes
        self._seen: deque[tuple[str, int, int]] = deque(maxlen=FRESH)  # told by subscribers elsewhere
        self._subscriptions: dict[str, LiveSubscription] = {}
        self._receiving: dict[str, asyncio.Task[None]] = {}
        self._tending: asyncio.Task[None] | None = None
        self._fresh: deque[tuple[int, int, int]] = deque(maxlen=4096)
        self._apparatus = Apparatus(keep_events)
        self._newest = 0
        self._source_ended = threading.Event()
        self._publisher = threading.Thread(target=self._publish_all, name="labkit-source", daemon=True)

    # -- from any thread --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Attach every subscriber, then start the source."""
        with contextlib.ExitStack() as undo:
            if not self._keeps_link:
                undo.callback(self.link.close)
                self.link.bind(self.lab).start()
            undo.callback(lambda: loop.run(self._end()))
            self.link.heal()
            loop.run(self._begin(self.lab.cursor()))
            undo.pop_all()
        self._publisher.start()

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
            self.changes.append({"t_s": self._elapsed_s(), **{name: getattr(wanted, name) for name in changed}})
        options = {DIALS[name].option for name in changed if name in DIALS}
        names = {t.name for t in self.techniques if options & set(t.options)}
        for name in sorted(names):
            loop.run(self._resubscribe(name))
        if not names:
            return ""
        return f"The {' and '.join(sorted(names))} subscriber started again, from its cursor: nothing is lost."

    def publish(self, data: str | bytes) -> int:
        """Publish one event at once, as part of the run."""
        return self._publish(now_ns(), data)

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
            return self._sample()

        sample = loop.run(take())
        for name, event_id, received_ns in self._arrived_elsewhere():
            sample.arrived.setdefault(name, []).append((event_id, received_ns))
        return sample

    def snapshot(self) -> Run:
        """The run so far; it goes on."""

        async def take() -> Run:
            return self._run(parts)

        parts = self._parts()
        return loop.run(take())

    def stop(self, *, settle: bool = True) -> Run:
        """End it: wait for what is on its way, if wanted, close everything, return what the window holds.

        An interrupt ends the wait, and the run is marked so.
        """
        self._source.stop()
        interrupted = False
        try:
            try:
                if self._publisher.ident is not None:
                    while not self._source_ended.wait(1.0):  # a join() that is interrupted takes its thread for ended
                        pass
                if settle:
                    loop.run(self._settle())
                    self._settle_elsewhere()
            except KeyboardInterrupt:
                interrupted = True
                if not self._source_ended.wait(LEAVE_S):
                    self.publish_failure = "the run was stopped while the lab did not answer to an event"
            loop.run(self._end())
            run = self.snapshot()
            run.interrupted = interrupted
            return run
        finally:
            loop.run(self._end())
            self.ended = True
            if not self._keeps_link:
                self.link.close()

    @property
    def settings(self) -> Settings:
        """As they are now."""
        return self._source.settings

    @property
    def newest(self) -> int:
        """The id of the newest event that it published."""
        return self._newest

    @property
    def arrived(self) -> dict[str, int]:
        """technique -> deliveries since the start."""
        return {name: subscription.arrived for name, subscription in list(self._subscriptions.items())}

    @property
    def caught_up(self) -> bool:
        """Whether every subscriber that has not failed holds the newest event."""
        return all(s.failure or s.newest >= self._newest for s in list(self._subscriptions.values()))

    @property
    def on_its_way_s(self) -> float:
        """How long what has been published may take to arrive, at most."""
        poll_s = self.settings.poll_interval_s if any(t.kind == "poll" for t in self.techniques) else 0.0
        return max(poll_s, RETRY_S) + 8 * (self.settings.one_way_s + self.settings.jitter_s) + 2.0

    @property
    def names(self) -> list[str]:
        """The techniques, those of subscribers elsewhere included: ``sse (browser)``."""
        there = [name + BROWSER for s in self._elsewhere for name in getattr(s, "techniques", ())]
        return list(dict.fromkeys([*self.settings.techniques, *there]))

    def _parts(self) -> list[Part]:
        return [subscriber.part(self.window.published, self.started_ns) for subscriber in self._elsewhere]

    def _arrived_elsewhere(self) -> Iterator[tuple[str, int, int]]:
        """(name, event id, received_ns) of what subscribers elsewhere have told since the last time."""
        since_ns, seen = max(self.started_ns, now_ns() - int(TOLD_WITHIN_S * 1e9)), set(self._seen)
        for subscriber in self._elsewhere:
            for row in subscriber.part({}, since_ns).rows:
                key = row["technique"], row["subscriber"], row["event_id"]
                if key not in seen:
                    self._seen.append(key)
                    yield row["technique"] + BROWSER, row["event_id"], row["received_ns"]

    def _settle_elsewhere(self) -> None:
        deadline = time.monotonic() + max((s.settle_s for s in self._elsewhere), default=0.0) * self._reachable
        newest = {"": self._newest}
        while time.monotonic() < deadline and not all(s.settled(newest) for s in self._elsewhere):
            time.sleep(0.02)

    @property
    def _reachable(self) -> bool:
        return self.link_state == "whole" and not self.lab.closed

    def _elapsed_s(self) -> float:
        return (now_ns() - self.started_ns) / 1e9

    # -- on the lab loop --------------------------------------------------------------------------------------

    async def _begin(self, after: str) -> None:
        self._newest = int(after.partition("@")[0])
        self.window.start(self._newest)
        for technique in self.techniques:
            subscription = LiveSubscription(technique, self._options(technique), self._keep_bytes, after)
            subscription.newest = self._newest
            self._subscriptions[technique.name] = subscription
            self._subscribe(subscription)
        waits = [asyncio.ensure_future(s.opened.wait()) for s in self._subscriptions.values()]
        _, late = await asyncio.wait(waits, timeout=OPEN_TIMEOUT_S)
        for wait in late:
            wait.cancel()
        self._tending = asyncio.ensure_future(self._tend())
        self._apparatus.start()
        delay_s = 0.02 + 4 * (self.settings.one_way_s + self.settings.jitter_s)  # the first requests are on their way
        self.started_ns = now_ns() + int(delay_s * 1e9)

    def _options(self, technique: Technique) -> dict[str, Any]:
        return technique.taken_of({"interval_s": self.settings.poll_interval_s, "hold_s": self.settings.hold_s})

    def _subscribe(self, subscription: LiveSubscription) -> None:
        name, url = subscription.technique.name, subscription.technique.url("127.0.0.1", self.link.ports)
        self._receiving[name] = asyncio.ensure_future(subscription.receive(url, subscription.cursor))

    async def _resubscribe(self, name: str) -> None:
        subscription = self._subscriptions[name]
        self._receiving[name].cancel()
        await asyncio.gather(self._receiving[name], return_exceptions=True)
        subscription.options.update(self._options(subscription.technique))
        subscription.renewed()
        self._subscribe(subscription)

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(TEND_S)
            await self._turn()

    async def _turn(self) -> None:
        """Begin a page of the window, if it is time."""
        subscriptions = list(self._subscriptions.values())
        newest = max([self._newest, *(s.newest for s in subscriptions)])  # others may publish too
        self.window.turn(newest, subscriptions, [self.link.ledger])

    async def _settle(self) -> None:
        """Wait for what is on its way."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self.on_its_way_s * self._reachable
        while clock() < deadline and not self.caught_up:  # noqa: ASYNC110  no event tells of every subscriber
            await asyncio.sleep(0.01)

    async def _end(self) -> None:
        tasks = [*self._receiving.values(), *([self._tending] if self._tending else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._apparatus.stop()

    def _sample(self) -> Sample:
        subscriptions = self._subscriptions
        first = len(COUNTERS)
        return Sample(
            now_ns(),
            {event_id: times for event_id, *times in _drained(self._fresh)},
            {name: list(_drained(s.fresh)) for name, s in subscriptions.items()},
            {name: dict(zip(CATEGORIES, s.counts().values[first:], strict=True)) for name, s in subscriptions.items()},
            {name: (s.connections_open, s.requests_open) for name, s in subscriptions.items()},
            {name: s.failure for name, s in subscriptions.items() if s.failure},
        )

    def _run(self, parts: list[Part]) -> Run:
        first_id, published, described = self.window.first_id, dict(self.window.published), self._described()
        ledger = Ledger(self._keep_bytes)
        for subscription in self._subscriptions.values():
            ledger.connections += subscription.records(first_id)
        ledger.connections += [frozen_copy(record) for record in self.link.ledger.connections]
        failures = {name: s.failure for name, s in self._subscriptions.items() if s.failure}
        if self.publish_failure is not None:
            failures["publisher"] = self.publish_failure
        return Run(
            deliveries=[
                *(row for s in self._subscriptions.values() for row in s.rows(published)),
                *(r for p in parts for r in p.rows if r["event_id"] >= (first_id or 0)),
            ],
            published={key: list(times) for key, times in published.items()},
            ledger=ledger,
            settings={**described, "natures": self._told(described), **told(parts)},
            floor_ms=self._apparatus.floor_ms,
            failures=failures,
            missing=[
                *(gap for s in self._subscriptions.values() for gap in s.gaps()),
                *(gap for part in parts for gap in part.gaps),
            ],
            versions=versions(),
        )

    def _told(self, described: dict[str, Any]) -> dict[str, Any]:
        return natures_of(self._elsewhere) | told_of(self.techniques, described)

    @property
    def natures(self) -> Natures:
        """What it tells of its techniques, those of subscribers elsewhere included."""
        described = self._described()
        return Natures({**described, "natures": self._told(described)})

    def expected(self) -> dict[str, Expectation | Silent]:
        """technique -> the latency that theory expects of it with the settings as they are now."""
        described = {**self._described(), "steady": True}
        path = Path.of(described)
        return {t.name: t.expect(asked(t, described), path) for t in self.techniques}

    def _described(self) -> dict[str, Any]:
        settings, is_poisson = self.settings, self.settings.source == "poisson"
        timing = when(self.started_ns)
        return {
            "techniques": list(settings.techniques),
            "schedule": {
                "name": settings.source,
                "settings": {"rate_per_s": settings.rate_per_s, "payload_bytes": settings.payload_bytes},
                "rate_per_s": None if settings.source == "none" else settings.rate_per_s,
                "poisson": is_poisson,
                "duration_s": timing["duration_s"],
            },
            "one_way_s": settings.one_way_s,
            "jitter_s": settings.jitter_s,
            "poll_interval_s": settings.poll_interval_s,
            "hold_s": settings.hold_s,
            "subscribers": 1,
            "options": {},
            **timing,
            "server": "process" if self.lab.process else "thread",
            "mss": MSS,
            "held_up_ms": dict(self._apparatus.held_up_ms),
            "changes": list(self.changes),
            "steady": not any(set(change) - {"t_s", "payload_bytes"} for change in self.changes),
            "first_event_id": self.window.first_id,
        }

    # -- on the source's thread -------------------------------------------------------------------------------

    def _publish_all(self) -> None:
        try:
            for due_ns, data in self._source.events(self.started_ns):
                self._publish(due_ns, data)
        except (LabkitError, OSError) as error:
            self.publish_failure = str(error)
        finally:
            self._source_ended.set()

    def _publish(self, due_ns: int, data: str | bytes) -> int:
        event = self.lab.publish_event(data)
        self.window.published["", event.id] = (due_ns, event.published_ns)
        self._newest = max(self._newest, event.id)
        self.published_count += 1
        self._fresh.append((event.id, due_ns, event.published_ns))
        self._apparatus.published()
        if self.window.is_full(self._newest):
            loop.run(self._turn())  # many at once must not outrun the window
        return event.id


def _drained(queue: deque[Any]) -> Any:
    """What is in the queue, taken out; somebody else may be filling it."""
    for _ in range(len(queue)):
        yield queue.popleft()
