"""Measuring: a schedule publishes, subscribers receive through every technique, and every delivery becomes a row."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from labkit.client.sharing import SharedConnections
from labkit.client.speaking import versions_of
from labkit.errors import LabkitError, UnknownOption
from labkit.lab.lab import Lab
from labkit.measuring import asked
from labkit.measuring.apparatus import looking_at_what_is_new
from labkit.measuring.attaching import Start, Subscribers
from labkit.measuring.rounding import counted
from labkit.measuring.run import Run
from labkit.measuring.schedules import Planned, Schedule, poisson
from labkit.measuring.source import Timetable
from labkit.measuring.subscription import Subscription
from labkit.measuring.under_way import UnderWay
from labkit.network.between import Between
from labkit.network.intermediary import Intermediary
from labkit.network.link import Link
from labkit.network.real_intermediary import RealIntermediary
from labkit.network.relay_chain import Hop, chain
from labkit.progress import Progress
from labkit.techniques import Delivery, Technique, distinct, find
from labkit.theory.durations import seconds
from labkit.wire.events import now_ns

ATTACH_TIMEOUT_S = 15.0  # for pages
MAX_INTERVAL_S = 60.0
"""Between two polls, unless the schedule lasts longer."""
MAX_HOLD_S = 600.0
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
    http: int | None = 1,
    share: bool = False,
    progress: bool = True,
) -> Run:
    """Publish a schedule, receive it through several techniques at once, and return every delivery.

    The first interrupt stops the run and returns what there is, marked ``interrupted``. After a second one, which does
    not wait for that, :func:`last_run` has it.

    Args:
        lab: the lab to publish to and to subscribe at.
        techniques: names or descriptors; by default all of the lab's but the exhibits.
        schedule: what is published when; by default a Poisson process of 5 events/s for 8 s.
        one_way_s: one network transit, in seconds: puts a Link nearest the clients.
        poll_interval_s: from the start of one poll to the start of the next.
        through: relays and real intermediaries between clients and lab, nearest the clients first.
        subscribers: of each technique; pollers start at phases iT/K.
        jitter_s: each read takes up to this much longer.
        hold_s: hold time-out that long polls ask for; the lab's own by default.
        topic: where events without a topic of their own go.
        options: per technique, what its ``connect`` takes besides: ``{"polling": {"etag": True}}``.
        at: what to do at which second of the run: ``{2.0: link.cut, 2.5: link.heal}``.
        settle_s: how long to wait for what is still on its way after the last event.
        keep_bytes: captured bytes to keep for each connection.
        http: the version of HTTP that the kit's clients speak, 1 or 2: over TLS if what they connect to agrees, in
            clear text by prior knowledge. None: over TLS what it prefers, else HTTP/1.
        share: over HTTP/2, the subscribers of a technique share a connection; by default each has its own, as over
            HTTP/1. The bytes of one delivery are not known then.
        progress: show a line when it takes over two seconds.

    Raises:
        UnknownTechnique: names the known ones.
        BadTechnique: something that is none, or two of one name.
        UnknownOption: one of *options* that its technique does not take, or not over HTTP/2; lists those that it takes.
        MissingPackage: HTTP/2, and the extra ``http2`` is not installed.
        LabkitError: the lab, or the intermediary nearest the clients, does not speak that version of HTTP to them.
        ScheduleError: before anything starts.
        ValueError: of any other parameter that is none; it is named, before anything starts.
        DurationError: one that is negative or makes no sense in seconds; asks whether milliseconds were meant.
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
        http=http,
        share=share,
    )
    return measurement.conduct(through=through, one_way_s=one_way_s, jitter_s=jitter_s, progress=progress)


class Measurement(UnderWay):
    """One run of a schedule. ``measure`` is the simple way; this one can be stopped from outside, and watched.

    Args: as for :func:`measure`. ``on_delivery`` is told each delivery, on the lab loop, as it arrives.
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
        http: int | None = 1,
        share: bool = False,
        on_delivery: Callable[[Subscription, Delivery], None] | None = None,
    ) -> None:
        if isinstance(techniques, str | Technique):
            techniques = [techniques]
        asked.check_kinds(lab, schedule, () if techniques is None else techniques)
        asked.check_whole(1, subscribers=subscribers)
        asked.check_whole(0, keep_bytes=keep_bytes)
        asked.check_topic(topic)
        asked.check_options(options)
        asked.check_actions(at)
        chosen = [t for t in lab.techniques if not t.exhibit] if techniques is None else list(techniques)
        self.techniques = distinct(find(t, lab.techniques) if isinstance(t, str) else t for t in chosen)
        self.options = {name: dict(given) for name, given in (options or {}).items()}
        for name, given in self.options.items():
            find(name, self.techniques).check_options(given)
            for option, value in given.items():
                if option.endswith("_s") and value not in (None, math.inf):
                    seconds(option, value, max(MAX_HOLD_S, schedule.duration_s))
        versions_of(http)
        for technique in self.techniques:
            technique.check_version(http, self.options.get(technique.name, {}))
        if share and http != 2:
            raise UnknownOption("connections are shared over HTTP/2 alone: http=2")
        self.http = http
        self._shared = {t.name: SharedConnections() for t in self.techniques if share}
        longest_s = max(MAX_INTERVAL_S, schedule.duration_s)
        self.schedule = schedule
        self.poll_interval_s = seconds("poll_interval_s", poll_interval_s, longest_s, above_0=True)
        self.subscribers = subscribers
        self.hold_s = None if hold_s is None else seconds("hold_s", hold_s, MAX_HOLD_S)
        self.settle_s = None if settle_s is None else seconds("settle_s", settle_s, MAX_HOLD_S)
        for second in at or {}:
            seconds("at", second, longest_s)
        self._usage: Mapping[str, float] | None = None
        planned = list(schedule.plan())
        super().__init__(
            lab,
            Timetable(planned, topic),
            Subscribers(self.techniques, self._options, lab.attached, keep_bytes, Subscription, on_delivery),
            topic=topic,
            starts=list(_starts(planned, topic, subscribers)),
            at=at,
            keep_bytes=keep_bytes,
        )

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
        if any(technique.http_version for technique in self.techniques):
            _check_spoken(path, self.lab, self.http)
        self.path = path
        deadline = time.monotonic() + ATTACH_TIMEOUT_S
        for page in list(self.lab.attached):
            page.wait(max(0.0, deadline - time.monotonic()), progress=progress)
        self._usage, line = self.lab.usage(), Progress(enabled=progress)

        def meanwhile() -> None:
            for page in list(self.lab.attached):
                page.keep()
            line.show(self._standing())

        with chain(path, self.lab) as target, looking_at_what_is_new():
            self._begin(target)
            try:
                self._wait(each=meanwhile)
            except KeyboardInterrupt:  # the second one: what there is, is there for last_run() all the same
                with suppress(LabkitError):
                    remember(self.snapshot())
                raise
        line.done()
        if self.publisher.raised is not None:
            raise self.publisher.raised
        return remember(self.snapshot())

    def stop(self) -> None:
        """End the run early: nothing more is published, and what arrived is kept. Safe from any thread."""
        self._interrupt()

    def _standing(self) -> str:
        total_s = self.schedule.duration_s
        elapsed_s = (now_ns() - self.started_ns) / 1e9 if self.started_ns else 0.0  # the start may lie ahead
        return (
            f"measuring {', '.join(t.name for t in self.techniques)}: "
            f"{max(0.0, min(elapsed_s, total_s)):.0f} of {total_s:.0f} s, "
            f"{counted(self.publisher.count, 'event')} published"
        )

    def _options(self, technique: Technique, number: int) -> dict[str, Any]:
        common = {
            "interval_s": self.poll_interval_s,
            "start_delay_s": number * self.poll_interval_s / self.subscribers,
            "hold_s": self.hold_s,
        }
        spoken: dict[str, Any] = {"http": self.http} if technique.http_version else {}
        if technique.name in self._shared:
            spoken["share"] = self._shared[technique.name]
        return technique.taken_of(common) | self._given | spoken | self.options.get(technique.name, {})

    @property
    def on_its_way_s(self) -> float:
        """How long what has been published may take to arrive, at most."""
        return self.poll_interval_s + 8 * (self.one_way_s + self.jitter_s) + 2.0

    @property
    def _settle_s(self) -> float:
        return super()._settle_s if self.settle_s is None else self.settle_s

    def _settings(self) -> dict[str, Any]:
        settings = {
            **super()._settings(),
            "schedule": {
                "name": self.schedule.name,
                "settings": self.schedule.settings,
                "rate_per_s": self.schedule.rate_per_s,
                "poisson": self.schedule.poisson,
                "duration_s": self.schedule.duration_s,
            },
            "poll_interval_s": self.poll_interval_s,
            "hold_s": self.lab.hold_s if self.hold_s is None else self.hold_s,
            "subscribers": self.subscribers,
            "options": self.options,
            "http": self.http,
            "share": bool(self._shared),
        }
        usage = self.lab.usage() if self._usage is not None and not self.lab.closed else None
        if usage is not None and self._usage is not None:
            settings["server_cpu_s"] = usage["cpu_s"] - self._usage["cpu_s"]
            settings["server_rss_bytes"] = usage["rss_bytes"]
        return settings


def _starts(planned: Sequence[Planned], topic: str, subscribers: int) -> Iterator[Start]:
    """When the subscribers of each topic come."""
    if any(not event.topic for event in planned) or not planned:
        yield Start(0.0, topic, subscribers)
    for own, starts_s in {event.topic: event.starts_s for event in planned if event.topic}.items():
        yield Start(starts_s, own, after="0")


def _check_spoken(path: Sequence[Hop], lab: Lab, http: int | None) -> None:
    """Refuse a version of HTTP that what the clients connect to does not speak, as far as that is known.

    Raises:
        LabkitError: says what does not.
    """
    gateways = (hop for hop in path if isinstance(hop, Between) and hop.stretch.gateway)
    nearest = next(gateways, None)
    if http == 2 and isinstance(nearest, Intermediary):
        raise LabkitError(
            f"{nearest.name} is an Intermediary of the kit, which reads HTTP/1 alone: measure with http=1"
        )
    if isinstance(nearest, RealIntermediary) and nearest.http == 2 and not nearest.missing:
        raise LabkitError(
            f"{nearest.stretch.name} speaks TLS to its clients, and those of a run do not: listen to it by itself, "
            "labkit measure --url URL --cafile FILE"
        )
    if nearest is not None or any(not isinstance(hop, Between) for hop in path):
        return
    if http == 2 and 2 not in lab.http:
        raise LabkitError("this lab speaks HTTP/1 alone: Lab(http=(1, 2)) speaks both, or measure with http=1")
    if http == 1 and 1 not in lab.http:
        raise LabkitError("this lab speaks HTTP/2 alone: Lab(http=(1, 2)) speaks both, or measure with http=2")


def _as_path(through: Hop | Sequence[Hop] | None) -> list[Hop]:
    if through is None:
        return []
    if isinstance(through, (Between, str)) or (
        isinstance(through, tuple) and isinstance(next(iter(through), None), str)
    ):
        return [through]  # a URL, which is text, is refused as a whole
    if not isinstance(through, Iterable):
        raise ValueError(f"through must be relays or (host, port), nearest the clients first, not {through!r:.60}")
    return list(through)  # type: ignore[arg-type]
