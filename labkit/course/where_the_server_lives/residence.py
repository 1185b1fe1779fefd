"""Servers in several homes at once, watched through the same busy cell.

``async with watch("kernel-loop", "thread", "process") as seen:`` starts one server in each home, with a source and a
subscriber; what the cell does inside happens to all of them. The subscribers live on the lab loop of this kernel, but
for the home ``apart``: there server, source and subscriber are all in another process, and the kernel only reads the
result. The source of ``kernel-loop`` is a task on the kernel's loop, as one writes it in a notebook; the others publish
from a thread each.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import pickle
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from labkit import loop
from labkit.course.alone import started_now
from labkit.course.background import cancelled, until
from labkit.course.child import start
from labkit.course.where_the_server_lives.homes import ENDLESS, WAITS, Home, Seen, Span
from labkit.errors import LabkitError
from labkit.lab.lab import Lab
from labkit.lab.server import Server
from labkit.measuring.subscription import Subscription
from labkit.techniques import Delivery, Technique, find
from labkit.wire.events import Event, now_ns

HOMES = (WAITS, "thread", "process", "apart")
SETTLE_S = 5.0
OPEN_TIMEOUT_S = 10.0

Publish = Callable[[], Event]


@contextlib.asynccontextmanager
async def watch(*homes: str, technique: str = "sse", rate_per_s: float = 40.0) -> AsyncIterator[Seen]:
    """Run a server in each of *homes* while the block runs, and keep when each event was due, published, received.

    Args:
        homes: of :data:`HOMES`; the first three by default.
        technique: by which the subscribers listen.
        rate_per_s: events of each source, evenly spaced; the homes take turns.

    Yields:
        A :class:`Seen`; its ``busy()`` marks the spans. Its rows are complete after the block.

    Raises:
        LabkitError: no such home.
    """
    names = homes or HOMES[:3]
    if unknown := [name for name in names if name not in HOMES]:
        raise LabkitError(f"no such home: {unknown[0]!r} (there are: {', '.join(HOMES)})")
    chosen, found, period_ns = find(technique), [Home(name) for name in names], int(1e9 / rate_per_s)
    async with contextlib.AsyncExitStack() as stack:
        publishers = [await stack.enter_async_context(OPENED[home.name](home, chosen, rate_per_s)) for home in found]
        whole = Span(now_ns(), ENDLESS, "watched")
        sources = [
            asyncio.ensure_future(_source(home, publish, number * period_ns // len(found), period_ns, whole))
            for number, (home, publish) in enumerate(zip(found, publishers, strict=True))
        ]
        try:
            yield Seen(found, started_now(technique=technique, rate_per_s=rate_per_s))
        finally:
            whole.stop_ns = now_ns()
            await asyncio.gather(*sources)


async def _source(home: Home, publish: Publish | None, first_ns: int, period_ns: int, whole: Span) -> None:
    """Publish, on this loop or from a thread; what was due before the end is published, however late."""
    home.started_ns = whole.start_ns
    due = itertools.count(whole.start_ns + first_ns, period_ns)

    def published(due_ns: int) -> bool:
        if publish is None or due_ns >= whole.stop_ns:
            return False
        event = publish()
        home.published[event.id] = (due_ns, event.published_ns)
        return True

    def beside() -> None:  # asleep without a loop: each turn of one would have to ask a computing cell for its lock
        for due_ns in due:
            time.sleep(_left_s(due_ns))
            if not published(due_ns):
                return

    with contextlib.suppress(LabkitError):  # somebody may have closed the lab
        if home.name != WAITS:
            return await asyncio.to_thread(beside)
        for due_ns in due:
            await asyncio.sleep(_left_s(due_ns))
            if not published(due_ns):
                return


def _left_s(due_ns: int) -> float:
    return max(0.0, (due_ns - now_ns()) / 1e9)


@contextlib.asynccontextmanager
async def _on_this_loop(home: Home, technique: Technique, _: float) -> AsyncIterator[Publish]:
    """A server on the loop that runs the cell."""
    server = Server()
    server.start()
    try:
        async with _subscribed(home, technique, server.ports):
            yield lambda: server.hub.publish("tick", "", now_ns())
    finally:
        await server.close()


@contextlib.asynccontextmanager
async def _in_a_lab(home: Home, technique: Technique, _: float) -> AsyncIterator[Publish]:
    """A lab with a name of its own."""
    lab = await asyncio.to_thread(lambda: Lab(f"watched-{home.name}", process=home.name == "process"))
    try:
        async with _subscribed(home, technique, lab.ports):
            yield lambda: lab.publish_event("tick")
    finally:
        await lab.aclose()


@contextlib.asynccontextmanager
async def _subscribed(home: Home, technique: Technique, ports: dict[str, int]) -> AsyncIterator[None]:
    """A subscriber on the lab loop; at the end it waits for what is on its way."""

    def arrived(_: Subscription, delivery: Delivery) -> None:
        home.twice += delivery.event_id in home.received
        home.received[delivery.event_id] = delivery.received_ns

    async def begin() -> asyncio.Task[None]:
        subscription = Subscription(technique, 0, "", {}, 1 << 16)
        receiving = asyncio.ensure_future(subscription.receive(technique.url("127.0.0.1", ports), "0", arrived))
        await asyncio.wait_for(subscription.opened.wait(), OPEN_TIMEOUT_S)
        return receiving

    async def end(receiving: asyncio.Task[None]) -> None:
        await until(lambda: not home.lost or receiving.done(), SETTLE_S, 0.01)
        await cancelled(receiving)

    receiving = await loop.hop(begin())
    try:
        yield
    finally:
        await loop.hop(end(receiving))


# In another process


@contextlib.asynccontextmanager
async def _apart(home: Home, technique: Technique, rate_per_s: float) -> AsyncIterator[None]:
    """A child that does all of it; only its result crosses over."""
    child = await asyncio.to_thread(start, apart, technique.name, str(rate_per_s))
    try:
        assert child.stdout is not None
        await asyncio.to_thread(child.stdout.readline)
        yield
        answer, _ = await asyncio.to_thread(child.communicate, "end\n", 2 * SETTLE_S)
        there: Home = pickle.loads(bytes.fromhex(answer))
        home.published = {id: times for id, times in there.published.items() if times[0] >= home.started_ns}
        home.received, home.twice = there.received, there.twice
    finally:
        if child.poll() is None:
            child.kill()
        await asyncio.to_thread(child.communicate)


OPENED: dict[str, Any] = {WAITS: _on_this_loop, "thread": _in_a_lab, "process": _in_a_lab, "apart": _apart}


def apart() -> None:
    """The child of :func:`_apart`: watch a lab there until told to stop, and print what was seen."""

    async def watched(technique: str, rate_per_s: str) -> Home:
        async with watch("thread", technique=technique, rate_per_s=float(rate_per_s)) as seen:
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
        return seen.homes[0]

    print(pickle.dumps(loop.run_main(watched(*sys.argv[1:]))).hex())


# A cell that is busy in Python


def burn(seconds: float) -> int:
    """Compute in pure Python for a while: it holds the interpreter, which other threads then have to ask for."""
    rounds, until_s = 0, time.perf_counter() + seconds
    while time.perf_counter() < until_s:
        rounds += sum(n % 7 for n in range(1000)) > 0
    return rounds
