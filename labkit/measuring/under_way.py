"""One run under way: subscribers attach, a source publishes, what is on its way is waited for, all of it is told.

It ends with its source, as a schedule does, or goes on until it is told to end. The clients live on the lab loop, the
source publishes from a thread of its own, and both read one clock. A latency runs from the moment an event was *due*,
so a publisher that falls behind cannot make latencies look good (coordinated omission). Beside the techniques, each id
also goes over a bare socket pair read on the same loop: the floor, what the apparatus adds at least.

The caller's thread only waits, so that an interrupt is heard at any time, whatever stands still.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from labkit import loop
from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.client.tls import Trust
from labkit.errors import LabClosed, LabkitError
from labkit.lab.attached import Part
from labkit.lab.lab import Lab
from labkit.measuring.apparatus import Apparatus
from labkit.measuring.attaching import Start, Subscribers, ended
from labkit.measuring.natures import told_of
from labkit.measuring.provenance import natures_of, told, versions, when
from labkit.measuring.publishing import Publisher
from labkit.measuring.relays import Relays, Way
from labkit.measuring.run import Run
from labkit.measuring.source import Source, Timetable
from labkit.network.relay import Relay
from labkit.network.relay_chain import Hop
from labkit.network.relay_target import Target
from labkit.sockets import MSS
from labkit.subscribing.following import GIVE_UP_S
from labkit.theory.path import HEARTBEAT_S, SILENCE_S
from labkit.wire.events import now_ns

LEAVE_S = 0.5  # what is under way when the run is stopped may take this long to end
T = TypeVar("T")


class UnderWay(ABC):
    """A run under way.

    Args:
        lab: where to publish and to subscribe.
        source: of the events.
        subscribers: who receives them.
        topic: where the run begins is this one's cursor.
        starts: when which subscribers come.
        at: what to do at which second of the run.
        keep_bytes: captured bytes to keep for each connection.
        keep: how many of the newest floors to keep; by default all.

    Raises:
        LabClosed: at once.
    """

    def __init__(
        self,
        lab: Lab,
        source: Source | Timetable,
        subscribers: Subscribers[Any],
        *,
        topic: str = "",
        starts: Sequence[Start] = (Start(),),
        at: Mapping[float, Callable[[], object]] | None = None,
        keep_bytes: int,
        keep: int | None = None,
    ) -> None:
        if lab.closed:
            raise LabClosed(f"lab {lab.name!r} is closed: start another with labkit.Lab()")
        self.lab = lab
        self.topic = topic
        self.keep_bytes = keep_bytes
        self.publisher = Publisher(lab, source, self._is_published)
        self.path: Sequence[Hop] = []
        """What is between clients and lab."""
        self.started_ns = 0
        self.interrupted = False
        self._subscribers = subscribers
        self._starts, self._at = starts, dict(at or {})
        self._action_failure: str | None = None
        self._apparatus = Apparatus(keep)
        self._begun_ns = now_ns()
        self._relays, self._way = Relays((), (), self._begun_ns), Way((), lab)
        self._beside: list[asyncio.Task[None]] = []
        self._stopped = asyncio.Event()
        self._begins: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._ends: concurrent.futures.Future[None] | None = None

    # -- what each kind of run says of itself -----------------------------------------------------------------

    @property
    @abstractmethod
    def on_its_way_s(self) -> float:
        """How long what has been published may take to arrive, at most."""

    @property
    def _settle_s(self) -> float:
        """How long to wait for what is on its way, at most."""
        return max([self.on_its_way_s, *(s.settle_s for s in self._subscribers.elsewhere)])

    @property
    def _first_id(self) -> int | None:
        """The oldest event that is kept, if any was let go."""
        return None

    def _starts_at(self, cursor: str) -> None:
        """The run begins after this one: the first subscribers come."""
        for start in self._starts:
            if start.at_s <= 0:
                self._subscribers.come(start, cursor)

    def _is_published(self, event_id: int, due_ns: int, published_ns: int) -> None:
        """An event was published; told on the thread that did it."""
        self._apparatus.published()

    def _hop_records(self) -> Iterator[ConnectionRecord]:
        """What the relays saw during the run."""
        yield from self._relays.records()

    @property
    def _given(self) -> dict[str, Any]:
        """What its clients are told: how long to wait, by this lab's beats and holds and the way there and back, twice;
        and whom to believe."""
        lab, there_and_back_s = self.lab, 4 * (self.one_way_s + self.jitter_s)
        quiet_s = max(SILENCE_S, 3 * lab.heartbeat_s, lab.hold_s + HEARTBEAT_S)
        trust = {"trust": Trust(self._way.cafile)} if self._way.cafile else {}
        return {"silence_s": quiet_s + there_and_back_s, "give_up_s": GIVE_UP_S + there_and_back_s, **trust}

    @property
    def one_way_s(self) -> float:
        """One network transit, over all relays."""
        return self._way.one_way_s

    @property
    def jitter_s(self) -> float:
        """By how much a read may take longer, over all relays."""
        return self._way.jitter_s

    # -- in the caller's thread -------------------------------------------------------------------------------

    def _begin(self, target: Target) -> None:
        self._begun_ns, self._way = now_ns(), Way(self.path, self.lab)
        gateway = next((stretch["name"] for stretch in self._way.told() if stretch["gateway"]), None)
        if self._way.cafile and gateway:
            raise LabkitError(f"{gateway} reads HTTP, and this lab speaks TLS: put it before a lab without tls=True")
        self._subscribers.connect_to(target, tls=self._way.cafile is not None)
        beside = {subscriber.relay for subscriber in self._subscribers.elsewhere} - {None}
        self._relays = Relays([hop for hop in self.path if isinstance(hop, Relay)], beside, self._begun_ns)
        self._ends = loop.submit(self._conduct())

    def _wait(self, *until: concurrent.futures.Future[None], each: Callable[[], None] = lambda: None) -> None:
        """Wait until it has ended, or one of *until* is done. The first interrupt ends the run, the next one this."""
        assert self._ends is not None
        awaited = [self._ends, *until]
        while True:
            try:
                while not any(future.done() for future in awaited):
                    concurrent.futures.wait(awaited, timeout=0.2, return_when=concurrent.futures.FIRST_COMPLETED)
                    each()
                break
            except KeyboardInterrupt:
                if self.interrupted:
                    self._ends.cancel()
                    raise
                self._interrupt()
        if self._ends.done():
            self._ends.result()

    def _interrupt(self) -> None:
        """End it at once: nothing more is published or waited for, what arrived is kept. Safe from any thread."""
        self.interrupted = True
        self.publisher.stop()
        loop.get_loop().call_soon_threadsafe(self._stopped.set)

    def snapshot(self) -> Run:
        """The run so far. Subscribers elsewhere may have to ask another process."""

        async def take() -> Run:
            return self._run(parts)

        published = dict(self.publisher.published)
        parts = [s.part(published, self.started_ns) for s in list(self._subscribers.elsewhere) if self.started_ns]
        return loop.run(take())

    # -- on the lab loop --------------------------------------------------------------------------------------

    async def _conduct(self) -> None:
        async with AsyncExitStack() as at_the_end:  # each of these, whatever interrupts the one before
            at_the_end.push_async_callback(self._apparatus.stop)
            at_the_end.callback(self._relays.leave)
            at_the_end.push_async_callback(self._subscribers.end)
            at_the_end.push_async_callback(ended, self._beside)
            if await self._attach():
                self._begins.set_result(None)
                self.publisher.start(self.started_ns)
                await self._or_stopped(self._over())
                if not self.publisher.ended.done():
                    self.publisher.failure = "the run was stopped while the lab did not answer to an event"
                await self._settle()

    async def _over(self) -> None:
        """Wait until nothing more is to be published."""
        await asyncio.wrap_future(self.publisher.ended)

    async def _attach(self) -> bool:
        """Whether it came to that: the run may be stopped before the lab has told where it stands."""
        cursor = await self._or_stopped(asyncio.to_thread(self.lab.cursor, self.topic))
        if cursor is None:
            self.started_ns = now_ns()
            return False
        self._starts_at(cursor)
        await self._or_stopped(self._subscribers.opened(self.on_its_way_s))
        # the first requests are on their way to the server, which is up to three transits off
        self.started_ns = now_ns() + int((0.02 + 4 * (self.one_way_s + self.jitter_s)) * 1e9)
        self._apparatus.start()
        self._beside += [asyncio.ensure_future(self._later(start, cursor)) for start in self._starts if start.at_s > 0]
        self._beside += [asyncio.ensure_future(self._act(at_s, action)) for at_s, action in self._at.items()]
        return True

    async def _later(self, start: Start, cursor: str) -> None:
        """A topic that starts in the middle of the run, as a job does: then its subscribers begin to wait."""
        await self._until(start.at_s)
        self._subscribers.come(start, cursor)

    async def _act(self, at_s: float, action: Callable[[], object]) -> None:
        """Do something in the middle of the run; what goes wrong there is a failure of the run."""
        await self._until(at_s)
        try:
            await asyncio.to_thread(action)
        except Exception as error:
            self._action_failure = f"at {at_s:g} s: {type(error).__name__}: {error}"

    async def _until(self, second: float) -> None:
        await asyncio.sleep(max(0.0, self.started_ns / 1e9 + second - now_ns() / 1e9))

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

    async def _settle(self) -> None:
        """Wait for what is still on its way."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._settle_s
        while clock() < deadline and not self._stopped.is_set():
            if await self._or_stopped(self._subscribers.settled(self.publisher.newest)):
                break
            await asyncio.sleep(0.01)

    # -- what it gives ----------------------------------------------------------------------------------------

    def _run(self, parts: list[Part]) -> Run:
        here, first_id, settings = self._subscribers.here, self._first_id, self._settings()
        published, ledger = dict(self.publisher.published), Ledger(self.keep_bytes)
        mine = {id(record): record for s in here for record in s.records(first_id)}  # one that is shared, once
        ledger.connections += mine.values()
        ledger.connections += self._hop_records()
        failures = {**self._subscribers.failures, "publisher": self.publisher.failure, "action": self._action_failure}
        return Run(
            deliveries=[
                *(row for s in here for row in s.rows(published)),
                *(row for part in parts for row in part.rows if row["event_id"] >= (first_id or 0)),
            ],
            published={key: list(times) for key, times in published.items()},
            ledger=ledger,
            settings={**settings, "natures": self._natures(settings), **told(parts)},
            floor_ms=self._apparatus.floor_ms,
            failures={who: why for who, why in failures.items() if why is not None},
            interrupted=self.interrupted,
            missing=[*(gap for s in here for gap in s.gaps()), *(gap for part in parts for gap in part.gaps)],
            versions=versions(),
        )

    def _natures(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What it tells of its techniques, those of subscribers elsewhere included."""
        return natures_of(list(self._subscribers.elsewhere)) | told_of(self._subscribers.techniques, settings)

    def _settings(self) -> dict[str, Any]:
        """How it is made; each kind of run has more to say."""
        return {
            "techniques": [technique.name for technique in self._subscribers.techniques],
            "one_way_s": self.one_way_s,
            "jitter_s": self.jitter_s,
            "path": self._way.told(),
            "steady": self._way.steady,
            "heartbeat_s": self.lab.heartbeat_s,
            **when(self.started_ns),
            "server": "process" if self.lab.process else "thread",
            "mss": MSS,
            "held_up_ms": dict(self._apparatus.held_up_ms),
        }
