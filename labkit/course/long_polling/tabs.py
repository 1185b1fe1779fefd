"""The experiment of 02_long_polling about a browser's connections (L11): many requests, and one shared by all tabs."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from labkit import loop
from labkit.charts import ground
from labkit.course.shown import sentence
from labkit.course.variants import client_of
from labkit.lab.lab import Lab
from labkit.measuring.rounding import counted
from labkit.server.handler import PushHandler
from labkit.techniques import TECHNIQUES, Technique, find

PAGE = Path(__file__).parent / "many_tabs.html"
REPORTS = "02-page"
SHARED = "02-shared"
HOLD_S = 2.0
REQUESTS = 8
EVENTS = 20
WAIT_S = 15.0


class ManyTabsHandler(PushHandler):
    """A page that holds more requests than a browser has connections, and frames that stand for tabs."""

    def get(self) -> None:
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(PAGE.read_bytes())


MANY_TABS: Technique = replace(
    find("long-polling"), name="many-tabs", route="/many-tabs", handler=ManyTabsHandler, exhibit=True
)


@dataclass(frozen=True)
class Tabs:
    """What a real browser did with many tabs: when each request was answered, and what a shared connection lost.

    ``answered_s``: by request, in the order of asking; each was held ``hold_s``. ``shared``: by tab, the ids it got
    from the one connection, over the closing of the tab that held it.
    """

    answered_s: tuple[float, ...] = ()
    hold_s: float = 0.0
    published: tuple[int, ...] = ()
    shared: dict[str, tuple[int, ...]] = field(default_factory=dict)
    browser: str = ""
    why: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.why:
            return self.why
        answered = ", ".join(f"{s:.1f}" for s in self.answered_s)
        held = counted(len(self.answered_s), "request")
        return f"{self.browser}: {held} held {self.hold_s:g} s, answered after {answered} s"

    def _repr_html_(self) -> str:
        return sentence(str(self))


def tabs_lab() -> Lab:
    """A lab that serves the page."""
    return Lab("many-tabs", techniques=(*TECHNIQUES, MANY_TABS))


def many_tabs() -> Tabs:
    """Eight held requests in the browser that shows this notebook, then one connection shared by three tabs.

    Without a page it says so at once; one that does not answer is waited for at most 15 s.
    """
    if "JPY_SESSION_NAME" not in os.environ:
        return Tabs(why="no page attached")
    with tabs_lab() as lab:
        ground.frame(f"http://127.0.0.1:{lab.port}/many-tabs", height=90)
        return watch_tabs(lab)


def watch_tabs(lab: Lab, *, wait_s: float = WAIT_S) -> Tabs:
    """Follow what the page reports: its requests, its tabs, and what each tab got before and after the leader left."""
    reports = _Reports(lab)
    hello = reports.until("ready", wait_s)
    if hello is None:
        return Tabs(why=f"no page answered within {wait_s:g} s: it must reach the lab's own port")
    answered = reports.until("answered", 3 * HOLD_S + wait_s)
    if answered is None or reports.until("tabs", wait_s) is None:
        return Tabs(why="the page fell silent", browser=hello["browser"])
    ids = [lab.publish(f"event {n}", SHARED) for n in range(EVENTS // 2)]
    reports.until("half", wait_s)  # the leader closes now
    ids += [lab.publish(f"event {n}", SHARED) for n in range(EVENTS // 2, EVENTS)]
    done = reports.until("done", wait_s) or {"shared": {}}
    shared = {name: tuple(came) for name, came in done["shared"].items()}
    return Tabs(tuple(answered["seconds"]), HOLD_S, tuple(ids), shared, hello["browser"])


class _Reports:
    """What the page has published on a topic of its own."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._cursor = "0"
        self._found: dict[str, dict[str, Any]] = {}

    def until(self, what: str, timeout_s: float) -> dict[str, Any] | None:
        deadline_s = time.monotonic() + timeout_s
        while what not in self._found:
            if time.monotonic() > deadline_s:
                return None
            page = json.loads(loop.run(self._poll()))
            self._cursor = page["cursor"]
            for event in page["events"]:
                report = json.loads(event["data"])
                self._found[report["what"]] = report
            time.sleep(0.05)
        return self._found[what]

    async def _poll(self) -> str:
        client = client_of(f"http://127.0.0.1:{self._lab.port}/polling?after={self._cursor}", "", REPORTS)
        try:
            await client.ask({})
            return (await client.answer())[1]
        finally:
            client.close()
