"""How many steps an event takes from ``lab.publish`` to its row: one SSE subscription, direct fan-out, no link.

``python -m pytest tests/measuring/test_path_of_an_event.py -s`` prints them.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import labkit
from labkit import loop
from labkit.measuring.subscription import Subscription
from labkit.techniques import find
from wait import until

PACKAGE = f"{Path(labkit.__file__).parent}/"
MOST_CALLS, MOST_MODULES = 59, 16
"""Chunks are read by the kit itself, and not by a library that is not counted. The modules are one room each of the
lab, its limits, hub, topic and histories; of the log, the technique, its grammar, the chunks; of the counted socket,
the ledger, HTTP, the bytes of one direction; of what is handed over, the client that comes back, the rows.
"""
EVENTS = 5
BURST = 10
ONCE_A_READ = (
    *(("server/hub.py", "drain"), ("server/topic.py", "fan_out"), ("server/topic.py", "_send")),
    *(("client/connection.py", "read"), ("client/ledger.py", "transferred"), ("client/ledger.py", "mark_all")),
    *(("wire/lane.py", "_read_chunks"), ("wire/chunks.py", "pieces")),
)
ROW = "measuring/subscription.py"

Call = tuple[str, str]
"""(module, function)."""


@contextmanager
def noted(calls: list[Call]) -> Iterator[None]:
    """Note each call of the kit's own functions on this thread and on the lab loop's; a generator's next is one too."""

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE):
            calls.append((code.co_filename.removeprefix(PACKAGE), code.co_name))

    async def profile(how: Callable[..., None] | None) -> None:
        sys.setprofile(how)

    loop.run(profile(note))
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)
        loop.run(profile(None))


async def received(lab: labkit.Lab) -> tuple[Subscription, asyncio.Task[None]]:
    sse = find("sse")
    subscription = Subscription(sse, 0, "", {}, 1 << 20)
    return subscription, asyncio.ensure_future(subscription.receive(sse.url("127.0.0.1", dict(lab.ports)), None))


async def ended(receiving: asyncio.Task[None]) -> None:
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)


def way(lab: labkit.Lab, subscription: Subscription, count: int = 1) -> list[Call]:
    """The calls of one event, or of several that go out together, up to the last that makes a row."""
    calls: list[Call] = []
    wanted = len(subscription.items) + count

    async def publish() -> None:
        for _ in range(count):
            lab.publish("event")

    with noted(calls):
        if count == 1:
            lab.publish("event")
        else:
            loop.run(publish())  # in one turn of the loop: fan-out finds all of them
        until(lambda: len(subscription.items) >= wanted)
    modules = [module for module, _ in calls]
    return calls[calls.index(("lab/lab.py", "publish")) : len(calls) - modules[::-1].index(ROW)]


def shortest(count: int = 1) -> list[Call]:
    """Of several tries: a heartbeat may come between."""
    with labkit.Lab() as lab:
        subscription, receiving = loop.run(received(lab))
        try:
            until(lambda: subscription.opened.is_set())
            return min((way(lab, subscription, count) for _ in range(EVENTS)), key=len)
        finally:
            loop.run(ended(receiving))


def test_the_way_of_an_event_is_short() -> None:
    calls = shortest()
    modules = list(dict.fromkeys(module for module, _ in calls))
    lines = [f"{module} {name}" for module, name in calls]
    print(*lines, f"{len(calls)} calls in {len(modules)} modules", sep="\n")
    assert len(calls) <= MOST_CALLS and len(modules) <= MOST_MODULES, "\n".join(lines)
    assert [name for module, name in calls if module.startswith("measuring/")] == ["receive", "put"]


def test_events_that_go_out_together_share_what_a_turn_of_the_server_and_a_read_of_the_client_cost() -> None:
    calls = Counter(shortest(BURST))
    assert calls["measuring/subscription.py", "put"] == BURST
    assert {name: calls[name] for name in ONCE_A_READ} == dict.fromkeys(ONCE_A_READ, 1)
