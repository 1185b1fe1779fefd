"""Measuring: a schedule publishes, subscribers receive through every technique, and every delivery becomes a row.

The clients live on the lab loop; the schedule publishes from a thread of its own; both read one clock. A latency runs
from the moment an event was *due*, so a publisher that falls behind cannot make latencies look good (coordinated
omission). Beside the techniques, each id also goes over a bare socket pair read on the same loop: the floor, what the
apparatus itself adds.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from labkit import loop
from labkit.client.ledger import Ledger
from labkit.errors import LabClosed, LabkitError
from labkit.lab.lab import Lab
from labkit.measuring.apparatus import Apparatus
from labkit.measuring.natures import told_of
from labkit.measuring.provenance import natures_of, told, versions, when
from labkit.measuring.run import Run
from labkit.measuring.schedules import Planned, Schedule, poisson
from labkit.measuring.subscription import Subscription
from labkit.network.link import Link
from labkit.network.relay import Relay
from labkit.network.relay_chain import Hop, chain
from labkit.network.relay_target import Target
from labkit.progress import Progress
from labkit.sockets import MSS
from labkit.techniques import Delivery, Technique, distinct, find
from labkit.wire.events import now_ns

OPEN_TIMEOUT_S = 10.0
ATTACH_TIMEOUT_S = 15.0  # for pages
LEAVE_S = 0.5  # what is under way when the run is stopped may take this long to end
T = TypeVar("T")
_last: Run | None = None


def last_run() -> Run | None:
    """What the newest measurement gave, even if it was interrupted; None before the first."""
    return _last


def remember(run: Run) -> Run:
    """Make *run* the one that :func:`last_run` gives."""
    global _last
    _last = run
    return run


def measure(
    lab: Lab,
    techniques: Iterable[str | Technique] | None = None,
    schedule: Schedule | None = None,
    one_way_s: float = 0.0,
    poll_interval_s: float = 1.0,
    through: Hop | Sequence[Hop] | None = None,
    subscribers: int = 1,
    *,
    jitter_s: float = 0.0,
    hold_s: float | None = None,
    topic: str = "",
    options: Mapping[str, Mapping[str, Any]] | None = None,
    at: Mapping[float, Callable[[], object]] | None = None,
    settle_s: float | None = None,
    keep_bytes: int = 1 << 20,
    progress: bool = True,
) -> Run:
    """Publish a schedule, receive it through several techniques at once, and return every delivery.

    The first interrupt stops the run and returns what there is, marked ``interrupted``; see also
    :func:`last_run`.

    Args:
        lab: the lab to publish to and to subscribe at.
        techniques: names or descriptors; by default all of the lab's but the exhibits.
        schedule: what is published when; by default a Poisson process of 5 events/s for 8 s.
        one_way_s: one network transit, in seconds: puts a Link nearest the clients.
        poll_interval_s: from the start of one poll to the start of the next.
        through: relays between clients and lab, nearest the clients first.
        subscribers: of each technique; pollers start at phases iT/K.
        jitter_s: each read takes up to this much longer.
        hold_s: hold time-out that long polls ask for; the lab's own by default.
        topic: where events without a topic of their own go.
        options: per technique, what its ``connect`` takes besides: ``{"polling": {"etag": True}}``.
        at: what to do at which second of the run: ``{2.0: link.cut, 2.5: link.heal}``.
        settle_s: how long to wait for what is still on its way after the last event.
        keep_bytes: captured bytes to keep for each connection.
        progress: show a line when it takes over two seconds.

    Raises:
        UnknownTechnique: names the known ones.
        BadTechnique: something that is none, or two of one name.
        UnknownOption: one of *options* that its technique does not take; lists those that it takes.
        ScheduleError: before anything starts.
        LabClosed: the lab is closed.
        NoAnswer: the lab's process stands still or is busy from the beginning. Later, that is the run's failure.
    """
    plan = schedule if schedule is not None else poisson(rate_per_s=5, duration_s=8)
    measurement = Measurement(
        lab,
        techniques,
        plan,
        poll_interval_s=poll_interval_s,
        subscribers=subscribers,
        hold_s=hold_s,
        topic=topic,
        options=options,
        at=at,
        settle_s=settle_s,
        keep_bytes=keep_bytes,
    )
    return measurement.conduct(through=through, one_way_s=one_way_s, jitter_s=jitter_s, progress=progress)


class Measurement:
    """One run under way. ``measure`` is the simple way; this one can be stopped from outside, and watched.

    Args: as for :func:`measure`.
    """

    def __init__(
        self,
        lab: Lab,
        techniques: Iterable[str | Technique] | None,
        schedule: Schedule,
        *,
        poll_interval_s: float = 1.0,
        subscribers: int = 1,
        hold_s: float | None = None,
        topic: str = "",
        options: Mapping[str, Mapping[str, Any]] | None = None,
        at: Mapping[float, Callable[[], object]] | None = None,
        settle_s: float | None = None,
        keep_bytes: int = 1 << 20,
    ) -> None:
        if lab.closed:
            raise LabClosed(f"lab {lab.name!r} is closed: start another with labkit.Lab()")
        if isinstance(techniques, str | Technique):
            techniques = [techniques]
        chosen = [t for t in lab.techniques if not t.exhibit] if techniques is None else list(techniques)
        self.techniques = distinct(find(t, lab.techniques) if isinstance(t, str) else t for t in chosen)
        self.options = {name: dict(given) for name, given in (options or {}).items()}
        for name, given in self.options.items():
            find(name, self.techniques).check_options(given)
        if poll_interval_s <= 0 or subscribers < 1 or (hold_s is not None and not 0 <= hold_s <= 600):
            raise ValueError("poll_interval_s must be above 0, subscribers at least 1, hold_s from 0 to 600")
        self.lab = lab
        self.schedule = schedule
        self.poll_interval_s = poll_interval_s
        self.subscribers = subscribers
        self.hold_s = hold_s
        self.topic = topic
        self.at = dict(at or {})
        self.settle_s = settle_s
        self.keep_bytes = keep_bytes
        self.published: dict[tuple[str, int], tuple[int, int]] = {}
        """(topic, id) -> (due_ns, published_ns), as far as it has come."""
        self.publish_failure: str | None = None
        self.action_failure: str | None = None
        self.started_ns = 0
        self.interrupted = False
        self._newest: dict[str, int] = {}
        self._subscriptions: list[Subscription] = []
        self._apparatus = Apparatus()
        self._relays: list[Relay] = []
        self._stop = threading.Event()
        self._stopped = asyncio.Event()  # the same, for the lab loop
        self._one_way_s = self._jitter_s = 0.0

    # -- in the caller's thread -------------------------------------------------------------------------------

    def conduct(
        self,
        *,
        through: Hop | Sequence[Hop] | None = None,
        one_way_s: float = 0.0,
        jitter_s: float = 0.0,
        progress: bool = True,
    ) -> Run:
        """Run it all and return the run. Blocks; the first interrupt ends it early."""
        path: list[Hop] = _as_path(through)
        if one_way_s or jitter_s:
            path.insert(0, Link(one_way_s=one_way_s, jitter_s=jitter_s))
        self._relays = [hop for hop in path if isinstance(hop, Relay)]
        self._one_way_s = sum(getattr(hop, "one_way_s", 0.0) for hop in path)
        self._jitter_s = sum(getattr(hop, "jitter_s", 0.0) for hop in path)
        self._wait_for_pages(progress)
        before = self.lab.usage()
        with chain(path, self.lab) as target:
            future = loop.submit(self._conduct(target))
            self._wait(future, Progress(enabled=progress))
            future.result()
        return remember(self._run(before))

    def stop(self) -> None:
        """End the run early: nothing more is published, and what arrived is kept. Safe from any thread."""
        self.interrupted = True
        self._stop.set()
        loop.get_loop().call_soon_threadsafe(self._stopped.set)

    def _wait_for_pages(self, progress: bool) -> None:
        deadline = time.monotonic() + ATTACH_TIMEOUT_S
        for subscriber in list(self.lab.attached):
            subscriber.wait(max(0.0, deadline - time.monotonic()), progress=progress)

    def _wait(self, future: concurrent.futures.Future[None], progress: Progress) -> None:
        total_s = self.schedule.duration_s
        while not future.done():
            try:
                concurrent.futures.wait([future], timeout=0.2)
                for subscriber in list(self.lab.attached):
                    subscriber.keep()
                elapsed_s = (now_ns() - self.started_ns) / 1e9 if self.started_ns else 0.0
                progress.show(
                    f"measuring {', '.join(t.name for t in self.techniques)}: "
                    f"{min(elapsed_s, total_s):.0f} of {total_s:.0f} s, {len(self.published)} events published"
                )
            except KeyboardInterrupt:
                if self.interrupted:
                    future.cancel()
                    raise
                self.stop()
        deliveries = sum(isinstance(item, Delivery) for s in self._subscriptions for item, _ in s.items)
        progress.done(f"{len(self.published)} events published, {deliveries} deliveries")

    # -- on the lab loop --------------------------------------------------------------------------------------

    async def _conduct(self, target: Target) -> None:
        host, ports = _address(target)
        tasks: list[asyncio.Task[None]] = []
        planned = list(self.schedule.plan())
        after = await self._or_stopped(asyncio.to_thread(self.lab.cursor, self.topic))
        if after is None:
            self.started_ns = now_ns()
            return
        own_topics = {p.topic: p.starts_s for p in planned if p.topic}
        if any(not p.topic for p in planned) or not planned:
            for technique in self.techniques:
                for number in range(self.subscribers):
                    tasks.append(self._subscribe(technique, number, self.topic, after, host, ports))
        for topic in [topic for topic, starts_s in own_topics.items() if starts_s <= 0]:
            tasks += [self._subscribe(t, 0, topic, "0", host, ports) for t in self.techniques]
            del own_topics[topic]
        try:
            await self._opened()
            # the first requests are on their way to the server, which is up to three transits off
            self.started_ns = now_ns() + int((0.02 + 4 * (self._one_way_s + self._jitter_s)) * 1e9)
            self._apparatus.start()
            jobs = [
                asyncio.ensure_future(self._job(topic, starts_s, host, ports, tasks))
                for topic, starts_s in own_topics.items()
            ]
            tasks += [asyncio.ensure_future(self._act(at_s, action)) for at_s, action in self.at.items()]
            if await self._or_stopped(asyncio.to_thread(self._publish, planned)) is None:
                self.publish_failure = "the run was stopped while the lab did not answer to an event"
            tasks += jobs
            await self._settle()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._apparatus.stop()

    def _subscribe(
        self, technique: Technique, number: int, topic: str, after: str, host: str, ports: Mapping[str, int]
    ) -> asyncio.Task[None]:
        common = {
            "interval_s": self.poll_interval_s,
            "start_delay_s": number * self.poll_interval_s / self.subscribers,
            "hold_s": self.hold_s,
        }
        options = technique.taken_of(common) | self.options.get(technique.name, {})
        subscription = Subscription(technique, number, topic, options, self.keep_bytes)
        self._subscriptions.append(subscription)
        if technique.port not in ports:
            subscription.failure = "not run: the path has no port for it"
            subscription.opened.set()
            return asyncio.ensure_future(asyncio.sleep(0))
        url = technique.url(host, dict(ports))
        return asyncio.ensure_future(subscription.receive(url, after))

    async def _opened(self) -> None:
        """Wait until every subscriber is attached, has failed, or has had its chance."""
        waits = [asyncio.ensure_future(s.opened.wait()) for s in self._subscriptions]
        if waits:
            await self._or_stopped(asyncio.wait(waits, timeout=OPEN_TIMEOUT_S + self.poll_interval_s))
            for wait in waits:
                wait.cancel()

    async def _or_stopped(self, work: Awaitable[T]) -> T | None:
        """What *work* gives; None when the run is stopped before that: a lab that stands still may not answer."""
        working, stopped = asyncio.ensure_future(work), asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([working], timeout=LEAVE_S)
            return working.result() if working.done() else None
        finally:
            working.cancel()
            stopped.cancel()

    async def _job(
        self, topic: str, starts_s: float, host: str, ports: Mapping[str, int], tasks: list[asyncio.Task[None]]
    ) -> None:
        """A topic that starts in the middle of the run, as a job does: then its subscribers begin to wait."""
        await asyncio.sleep(max(0.0, self.started_ns / 1e9 + starts_s - now_ns() / 1e9))
        for technique in self.techniques:
            tasks.append(self._subscribe(technique, 0, topic, "0", host, ports))

    async def _act(self, at_s: float, action: Callable[[], object]) -> None:
        """Do something in the middle of the run; what goes wrong there is a failure of the run."""
        await asyncio.sleep(max(0.0, self.started_ns / 1e9 + at_s - now_ns() / 1e9))
        try:
            await asyncio.to_thread(action)
        except Exception as error:
            self.action_failure = f"at {at_s:g} s: {type(error).__name__}: {error}"

    async def _settle(self) -> None:
        """Wait for what is still on its way."""
        clock = asyncio.get_running_loop().time
        limit_s = self.settle_s
        if limit_s is None:
            limit_s = self.poll_interval_s + 8 * (self._one_way_s + self._jitter_s) + 2.0
            limit_s = max([limit_s, *(s.settle_s for s in self.lab.attached)])
        deadline = clock() + (0.0 if self._stop.is_set() else limit_s)
        while clock() < deadline and not self._stop.is_set():
            if await self._or_stopped(self._all_arrived()):
                break
            await asyncio.sleep(0.01)

    async def _all_arrived(self) -> bool:
        if not all(s.failure or s.newest >= self._newest.get(s.topic, 0) for s in self._subscriptions):
            return False
        for subscriber in list(self.lab.attached):  # which may have to ask another process
            if not await asyncio.to_thread(subscriber.settled, dict(self._newest)):
                return False
        return True

    # -- on the publishing thread -----------------------------------------------------------------------------

    def _publish(self, planned: Iterable[Planned]) -> bool:
        """Publish them all, each when it is due; whether it came to that."""
        for event in planned:
            due_ns = self.started_ns + int(event.offset_s * 1e9)
            while (left_s := (due_ns - now_ns()) / 1e9) > 0:
                if self._stop.wait(left_s):
                    return False
            data = event.data() if callable(event.data) else event.data
            topic = event.topic or self.topic
            try:
                done = self.lab.publish_event(data, topic)
            except LabkitError as error:
                self.publish_failure = str(error)
                return False
            self.published[topic, done.id] = (due_ns, done.published_ns)
            self._newest[topic] = done.id
            self._apparatus.published()
        return True

    # -- afterwards -------------------------------------------------------------------------------------------

    def _run(self, usage_before: Mapping[str, float] | None) -> Run:
        published = dict(self.published)  # the thread that publishes may have been left behind
        ledger = Ledger(self.keep_bytes)
        for subscription in self._subscriptions:
            ledger.connections += subscription.ledger.connections
        first_ns = min((r.opened_ns for r in ledger.connections), default=self.started_ns)
        for relay in self._relays:  # one may outlive several runs
            ledger.connections += [r for r in relay.ledger.connections if r.opened_ns >= first_ns]
        failures: dict[str, str] = {}
        for subscription in self._subscriptions:
            if subscription.failure is not None:
                failures.setdefault(subscription.technique.name, subscription.failure)
        if self.publish_failure is not None:
            failures["publisher"] = self.publish_failure
        if self.action_failure is not None:
            failures["action"] = self.action_failure
        elsewhere = [s.part(published, self.started_ns) for s in self.lab.attached if self.started_ns]
        return Run(
            deliveries=[row for s in self._subscriptions for row in s.rows(published)]
            + [row for part in elsewhere for row in part.rows],
            published={key: list(times) for key, times in published.items()},
            ledger=ledger,
            settings={**self._settings(usage_before), **told(elsewhere)},
            floor_ms=self._apparatus.floor_ms,
            failures=failures,
            interrupted=self.interrupted,
            missing=[gap for s in self._subscriptions for gap in s.gaps()]
            + [gap for part in elsewhere for gap in part.gaps],
            versions=versions(),
        )

    def _settings(self, usage_before: Mapping[str, float] | None) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "techniques": [t.name for t in self.techniques],
            "schedule": {
                "name": self.schedule.name,
                "settings": self.schedule.settings,
                "rate_per_s": self.schedule.rate_per_s,
                "poisson": self.schedule.poisson,
                "duration_s": self.schedule.duration_s,
            },
            "one_way_s": self._one_way_s,
            "jitter_s": self._jitter_s,
            "poll_interval_s": self.poll_interval_s,
            "hold_s": 30.0 if self.hold_s is None else self.hold_s,
            "subscribers": self.subscribers,
            "options": self.options,
            **when(self.started_ns),
            "server": "process" if self.lab.process else "thread",
            "mss": MSS,
            "held_up_ms": dict(self._apparatus.held_up_ms),
        }
        settings["natures"] = natures_of(self.lab.attached) | told_of(self.techniques, settings)
        usage = self.lab.usage() if usage_before is not None and not self.lab.closed else None
        if usage is not None and usage_before is not None:
            settings["server_cpu_s"] = usage["cpu_s"] - usage_before["cpu_s"]
            settings["server_rss_bytes"] = usage["rss_bytes"]
        return settings


def _as_path(through: Hop | Sequence[Hop] | None) -> list[Hop]:
    if through is None:
        return []
    if isinstance(through, (Relay, str)) or (isinstance(through, tuple) and isinstance(through[0], str)):
        return [through]  # a URL, which is text, is refused as a whole
    return list(through)  # type: ignore[arg-type]


def _address(target: Target) -> tuple[str, Mapping[str, int]]:
    """Host and ports of what the clients connect to."""
    if isinstance(target, tuple):
        return target[0], {"http": target[1]}
    return "127.0.0.1", target.ports
