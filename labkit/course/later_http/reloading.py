"""H6: a server that is to be replaced, while streams are open: what each version can say to its clients.

The server is a real nginx, told to reload: its old worker takes no new connections and ends with the last of those it
has. An HTTP/2 client is told so by GOAWAY (RFC 9113 section 6.8), opens its stream anew from its cursor, on a new
connection, and leaves the old one when the new one has begun. Over HTTP/1.1 there is nothing to say it with.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit import loop
from labkit.course.alone import ready, started_now
from labkit.course.background import cancelled, until
from labkit.course.later_http import raw
from labkit.course.later_http.marks import NEW, OLD
from labkit.course.later_http.not_run import or_says_why
from labkit.course.shown import Shown, as_table
from labkit.lab.lab import Lab
from labkit.network.real_intermediary import RealIntermediary, real_intermediary
from labkit.wire.events import now_ns

if TYPE_CHECKING:
    import pandas as pd

EVENTS, EVERY_S = 30, 0.05
RELOAD_AFTER = 10
STAYS_S, GOES_S = 1.0, 10.0
"""After the last event: how long an old worker lives that lives on, and how long one is waited for that ends."""


@dataclass(frozen=True)
class Drain:
    """One client through a reload.

    Attributes:
        told: what it was told, in words; empty if nothing.
        moved_s: from the reload until its stream went on, on the new connection; None where it stayed.
        published, got: ids, in their order; those that came on both connections are there once.
        gone: whether the old worker had ended; None where nobody can say.
    """

    told: str
    moved_s: float | None
    published: tuple[int, ...]
    got: tuple[int, ...]
    gone: bool | None


@dataclass(frozen=True, repr=False)
class Drained(Shown):
    """A client of each version through a reload of the server. ``why``: why it was not run."""

    index = "bare"

    clients: Mapping[str, Drain] = field(default_factory=dict)
    server: str = ""
    why: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def caption(self) -> str:
        return self.why or f"{self.server} reloads after {RELOAD_AFTER} of {EVENTS} events"

    def table(self) -> pd.DataFrame:
        """One row for each version."""
        rows = []
        for name, one in self.clients.items():
            lost, twice = set(one.published) - set(one.got), len(one.got) - len(set(one.got))
            moved = None if one.moved_s is None else 1e3 * one.moved_s
            ended = {True: "ended", False: "lives on", None: "unknown"}[one.gone]
            rows.append((name, one.told or "nothing", moved, len(lost), twice, ended))
        columns = ["", "the client is told", "has moved after (ms)", "lost", "twice", "the old worker then"]
        return as_table(rows, columns=columns).set_index("")


@or_says_why
def drained(lab: Lab) -> Drained:
    """Reload an nginx in front of the lab, under a stream of HTTP/1.1 and under one of HTTP/2."""
    ready(lab)
    raw.h2()
    found, server = {}, ""
    for name, http, client in ((OLD, 1, _stays), (NEW, 2, _moves)):
        with real_intermediary("nginx", lab, "recommended", http=http) as nginx:
            if nginx.missing:
                return Drained(why=nginx.missing)
            server = f"nginx {nginx.version}"
            found[name] = loop.run(client(lab, nginx))
    return Drained(found, server, settings=started_now(server=server))


async def _published(lab: Lab, nginx: RealIntermediary, topic: str, reloaded: list[int]) -> list[int]:
    ids = []
    for number in range(EVENTS):
        if number == RELOAD_AFTER:
            reloaded.append(now_ns())
            os.kill(nginx.pid or 0, signal.SIGHUP)
        ids.append(lab.publish(f"event {number}", topic))
        await asyncio.sleep(EVERY_S)
    return ids


async def _stays(lab: Lab, nginx: RealIntermediary) -> Drain:
    topic, pieces = "14-drain-1", list[tuple[int, bytes]]()
    async with raw.followed(nginx.address[1], f"/http-streaming?topic={topic}", pieces):
        await until(lambda: bool(pieces), raw.WAIT_S)
        ids = await _published(lab, nginx, topic, [])
        await until(lambda: len(raw.arrivals(pieces)) >= EVENTS, raw.WAIT_S)
        gone = await _gone(nginx, STAYS_S)
    return Drain("", None, tuple(ids), tuple(raw.ids(pieces)), gone)


async def _moves(lab: Lab, nginx: RealIntermediary) -> Drain:
    topic, reloaded, got = "14-drain-2", list[int](), list[int]()
    path, cafile = f"/http-streaming?topic={topic}", nginx.cafile
    async with raw.talk(nginx.url, cafile=cafile) as old:
        first = old.ask(path)
        await old.until(lambda: first.pieces)
        epoch = first.body.partition(b"@")[2].partition(b'"')[0].decode()
        publishing = asyncio.ensure_future(_published(lab, nginx, topic, reloaded))
        try:
            told = await old.until(lambda: old.goaway)
            last = max(raw.ids(first.pieces), default=0)
            async with raw.talk(nginx.url, cafile=cafile) as new:
                second = new.ask(f"{path}&after={last}@{epoch}")
                await new.until(lambda: second.pieces)
                got += raw.ids(first.pieces)
                moved_ns = second.pieces[0][0] if second.pieces else raw.NEVER_NS
                await old.leave()
                ids = await publishing
                await new.until(lambda: ids[-1] in raw.ids(second.pieces))
                got += [id for id in raw.ids(second.pieces) if id > max(got, default=0)]
                gone = await _gone(nginx, GOES_S)
        finally:
            await cancelled(publishing)
    said = f"GOAWAY, last stream {old.goaway[0]}" if told and old.goaway else ""
    moved_s = (moved_ns - reloaded[0]) / 1e9 if said and reloaded else None
    return Drain(said, moved_s, tuple(ids), tuple(got), gone)


async def _gone(nginx: RealIntermediary, within_s: float) -> bool | None:
    """Whether only one worker is left, within some time."""
    try:
        import psutil

        master = psutil.Process(nginx.pid)
        await until(lambda: len(master.children()) == 1, within_s)
        return len(master.children()) == 1
    except (ImportError, psutil.Error):
        return None
