"""Servers in several homes at once, watched through the same busy cell.

``async with watch("kernel-loop", "thread", "process") as seen:`` starts one server in each home, with a source and a
subscriber; what the cell does inside happens to all of them. The subscribers live on the lab loop of this kernel, but
for the home ``apart``: there server, source and subscriber are all in another process, and the kernel only reads the
result. The source of ``kernel-loop`` is a task on the kernel's loop, as one writes it in a notebook; the others
publish from a thread each.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

from labkit import loop
from labkit.course.where_the_server_lives.homes import Home, Seen
from labkit.errors import LabkitError
from labkit.lab.lab import Lab
from labkit.lab.server import Server
from labkit.measuring.subscription import Subscription
from labkit.techniques import Delivery, Technique, find
from labkit.wire.events import Event, now_ns

HOMES = ("kernel-loop", "thread", "process", "apart")
SETTLE_S = 5.0
OPEN_TIMEOUT_S = 10.0


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
    chosen, clock = find(technique), _Clock(rate_per_s)
    makers: dict[str, Any] = {"kernel-loop": _on_this_loop, "apart": _apart}
    async with contextlib.AsyncExitStack() as stack:
        found = []
        try:
            for index, name in enumerate(names):
                home = Home(name)
                make = makers.get(name, _in_a_lab)
                await stack.enter_async_context(make(home, chosen, clock, index / len(names)))
                found.append(home)
            started = datetime.now(UTC).isoformat()
            clock.begin()
            for home in found:
                home.started_ns = clock.started_ns
            yield Seen(found, {"technique": technique, "rate_per_s": rate_per_s, "started": started})
        finally:
            clock.end()


class _Clock:
    """When the sources begin, when they end, and how often they publish."""

    def __init__(self, rate_per_s: float) -> None:
        self.period_ns = int(1e9 / rate_per_s)
        self.started_ns = 0
        self.stopped_ns = 1 << 62
        self.begun = threading.Event()

    def begin(self) -> None:
        self.started_ns = now_ns()
        self.begun.set()

    def end(self) -> None:
        self.stopped_ns = now_ns()
        if not self.begun.is_set():  # a home could not be made: nothing is due
            self.started_ns = self.stopped_ns
            self.begun.set()

    def due_ns(self, phase: float) -> Iterator[int]:
        """Each time that an event of one source is due, until the end; what was due before is published, however late.

        Args:
            phase: the share of the period by which the source is shifted, so that sources do not collide.
        """
        due_ns = self.started_ns + int(phase * self.period_ns)
        while due_ns < self.stopped_ns:
            yield due_ns
            due_ns += self.period_ns


@contextlib.asynccontextmanager
async def _on_this_loop(home: Home, technique: Technique, clock: _Clock, phase: float) -> AsyncIterator[None]:
    """A server and its source on the loop that runs the cell."""
    server = Server()
    server.start()
    source = asyncio.ensure_future(_publish_here(server, home, clock, phase))
    try:
        async with _subscribed(home, technique, server.ports):
            yield
            await source
    finally:
        source.cancel()
        await server.close()


async def _publish_here(server: Server, home: Home, clock: _Clock, phase: float) -> None:
    await asyncio.to_thread(clock.begun.wait)
    for due_ns in clock.due_ns(phase):
        await asyncio.sleep(max(0.0, (due_ns - now_ns()) / 1e9))
        if due_ns >= clock.stopped_ns:
            return
        _note(home, due_ns, server.hub.publish("tick", "", now_ns()))


@contextlib.asynccontextmanager
async def _in_a_lab(home: Home, technique: Technique, clock: _Clock, phase: float) -> AsyncIterator[None]:
    """A lab with a name of its own, and a thread that publishes."""
    lab = await asyncio.to_thread(lambda: Lab(f"watched-{home.name}", process=home.name == "process"))
    thread = threading.Thread(target=_publish_there, args=(lab, home, clock, phase), name=f"labkit-source-{home.name}")
    thread.daemon = True
    thread.start()
    try:
        async with _subscribed(home, technique, lab.ports):
            yield
            await asyncio.to_thread(thread.join)
    finally:
        clock.end()
        await lab.aclose()


def _publish_there(lab: Lab, home: Home, clock: _Clock, phase: float) -> None:
    clock.begun.wait()
    with contextlib.suppress(LabkitError):
        for due_ns in clock.due_ns(phase):
            time.sleep(max(0.0, (due_ns - now_ns()) / 1e9))
            if due_ns >= clock.stopped_ns:
                return
            _note(home, due_ns, lab.publish_event("tick"))


def _note(home: Home, due_ns: int, event: Event) -> None:
    home.published[event.id] = (due_ns, event.published_ns)


@contextlib.asynccontextmanager
async def _subscribed(home: Home, technique: Technique, ports: dict[str, int]) -> AsyncIterator[None]:
    """A subscriber on the lab loop; at the end it waits for what is on its way."""

    def arrived(_: Subscription, delivery: Delivery) -> None:
        home.twice += delivery.event_id in home.received
        home.received[delivery.event_id] = delivery.received_ns

    subscription = Subscription(technique, 0, "", {}, 1 << 16)

    async def begin() -> asyncio.Task[None]:
        receiving = asyncio.ensure_future(subscription.receive(technique.url("127.0.0.1", ports), "0", arrived))
        await asyncio.wait_for(subscription.opened.wait(), OPEN_TIMEOUT_S)
        return receiving

    async def end(receiving: asyncio.Task[None]) -> None:
        deadline = time.monotonic() + SETTLE_S
        while home.lost and not receiving.done() and time.monotonic() < deadline:  # noqa: ASYNC110  any thread adds
            await asyncio.sleep(0.01)
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)

    receiving = await loop.hop(begin())
    try:
        yield
    finally:
        await loop.hop(end(receiving))


# In another process


@contextlib.asynccontextmanager
async def _apart(home: Home, technique: Technique, clock: _Clock, phase: float) -> AsyncIterator[None]:
    """A child that does all of it; only its result crosses over."""
    words = [sys.executable, "-c", f"from {__name__} import apart; apart()", technique.name, str(1e9 / clock.period_ns)]
    child = await asyncio.to_thread(_start, words)
    try:
        assert child.stdin is not None and child.stdout is not None
        await asyncio.to_thread(child.stdout.readline)
        child.stdin.write("begin\n")
        child.stdin.flush()
        yield
        answer, _ = await asyncio.to_thread(child.communicate, "end\n", 2 * SETTLE_S)
        there = Home.from_json(json.loads(answer))
        home.published, home.received, home.twice = there.published, there.received, there.twice
    finally:
        if child.poll() is None:
            child.kill()
        await asyncio.to_thread(child.communicate)


def _start(words: list[str]) -> subprocess.Popen[str]:
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": path},
        text=True,
    )


async def _be_apart(technique: str, rate_per_s: float) -> None:
    """The child of :func:`_apart`: watch a lab here until told to stop, and print what was seen."""
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    async with watch("thread", technique=technique, rate_per_s=rate_per_s) as seen:
        await asyncio.to_thread(sys.stdin.readline)
    print(json.dumps(seen.homes[0].to_json()), flush=True)


# A cell that is busy in Python


def burn(seconds: float) -> int:
    """Compute in pure Python for a while: it holds the interpreter, which other threads then have to ask for."""
    rounds, until_s = 0, time.perf_counter() + seconds
    while time.perf_counter() < until_s:
        rounds += sum(n % 7 for n in range(1000)) > 0
    return rounds


def apart() -> None:
    """The child's end: do all of it, and print the result."""
    asyncio.run(_be_apart(sys.argv[1], float(sys.argv[2])))
