"""Listening to somebody else's server with one of the kit's clients. It publishes nothing."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from labkit import loop
from labkit.client import address
from labkit.measuring.measurement import remember
from labkit.measuring.natures import told_of
from labkit.measuring.provenance import versions, when
from labkit.measuring.run import Run
from labkit.measuring.subscription import Subscription
from labkit.progress import Progress
from labkit.sockets import MSS
from labkit.techniques import Technique, find
from labkit.wire.events import now_ns


def listen(
    url: str, technique: str | Technique, *, seconds: float = 10.0, progress: bool = True, **options: Any
) -> Run:
    """Listen to somebody else's server for a while. Publishes nothing, sends what a subscriber must send.

    Nothing is known of when events were due, so due, published and latencies stay empty; ``event_id`` is the order of
    arrival, unless the server is a lab. Where nothing came at all, ``failures`` says why.

    Args:
        url: the full address, with ``http://``, ``ws://``, or ``tcp://`` for a plugin socket.
        technique: which of the kit's clients to use.
        options: what its ``connect`` takes besides.

    Raises:
        UnknownOption: its client takes no such option.
        AddressError: an address that the client does not speak to. Nothing was sent.
    """
    chosen = find(technique) if isinstance(technique, str) else technique
    address.split(url, chosen.schemes)
    chosen.check_options(options)
    progress_line, run_started_ns = Progress(enabled=progress), now_ns()
    interrupted = False

    async def start() -> tuple[Subscription, asyncio.Task[None]]:
        subscription = Subscription(chosen, 0, "", options, 1 << 20)
        return subscription, asyncio.ensure_future(subscription.receive(url, None))

    async def end(task: asyncio.Task[None]) -> tuple[str | None, list[str]]:
        failure, notes = outcome(subscription)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return failure, notes

    subscription, task = loop.run(start())
    try:
        while (now_ns() - run_started_ns) / 1e9 < seconds and not task.done():
            time.sleep(0.05)
            progress_line.show(f"listening to {url}: {len(subscription.items)} deliveries")
    except KeyboardInterrupt:
        interrupted = True
    failure, notes = loop.run(end(task))
    progress_line.done()
    settings: dict[str, Any] = {"techniques": [chosen.name], "url": url, "server": "elsewhere", "mss": MSS}
    settings |= {"options": {chosen.name: options}, **when(run_started_ns)}
    settings["natures"] = told_of([chosen], settings)
    return remember(
        Run(
            deliveries=list(subscription.rows({})),
            published={},
            ledger=subscription.ledger,
            settings={**settings, "notes": notes},
            failures={chosen.name: failure} if failure else {},
            interrupted=interrupted,
            missing=list(subscription.gaps()),
            versions=versions(),
        )
    )


def outcome(subscription: Subscription) -> tuple[str | None, list[str]]:
    """Why it has failed, if it has, and what else to know: silence is no measurement."""
    records = subscription.ledger.connections
    is_open = any(record.closed_ns is None for record in records)
    lost = None if is_open else subscription.lost
    if subscription.failure or subscription.items:
        return subscription.failure, [f"The connection was lost at last: {lost}"] if lost else []
    if lost:
        return f"nothing came: {lost}", []
    if not records:
        return "nothing came: there was no connection yet", []
    if not sum(record.bytes_in for record in records):
        return "nothing came: there was a connection, and the server has sent nothing", []
    name = subscription.technique.name
    return f"nothing came: the server answered, but with nothing that a client of {name} reads as an event", []
