"""X2: forever frame and JSONP polling, by the kit's own clients and in the page's browser."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from typing import Any

from labkit import loop
from labkit.charts import ground
from labkit.course.shown import OfRun, sentence
from labkit.course.variants import client_of
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run

ONE_WAY_S = 0.05
READ_TIMEOUT_S = 5.0
PAGE_WAIT_S = 15.0
REPORTS = "06-page"


@dataclass(frozen=True, repr=False)
class Page:
    """What the real browser reported: the ids that arrived, in order, by technique. ``why`` it was not there."""

    wanted: tuple[int, ...] = ()
    arrived: dict[str, tuple[int, ...]] = field(default_factory=dict)
    browser: str = ""
    why: str = ""

    def __str__(self) -> str:
        came = (f"{len(ids)} of {len(self.wanted)} events by {name}" for name, ids in self.arrived.items())
        return f"{self.browser}: {'; '.join(came)}" if self.arrived else self.why

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return sentence(str(self))


@dataclass(frozen=True)
class Old(OfRun):
    """Forever frame and JSONP polling: a run of the kit's own clients, and what the page reported."""

    run: Run
    page: Page


def old_tricks(lab: Lab, *, events: int = 40, one_way_s: float = ONE_WAY_S) -> Run:
    """Forever frame and JSONP polling beside HTTP streaming and long polling, through one link."""
    names = ["http-streaming", "forever-frame", "long-polling", "jsonp-polling"]
    schedule = schedules.poisson(rate_per_s=8, duration_s=events / 8, seed=6)
    return measure(lab, names, schedule, one_way_s=one_way_s)


def in_the_page(lab: Lab, *, events: int = 20) -> Page:
    """The same two in the browser that shows this notebook: a page of the lab's in a frame, which reports what came.

    Without a page it says so at once; one that does not answer is waited for at most 15 s.
    """
    if "JPY_SESSION_NAME" not in os.environ:
        return Page(why="no page attached")
    ground.frame(f"http://127.0.0.1:{lab.port}/forever-frame?page=1", height=110)
    return watch_page(lab, events=events)


def watch_page(lab: Lab, *, events: int = 20, wait_s: float = PAGE_WAIT_S) -> Page:
    """Wait for the page's reports, publish, and gather what it says has come."""
    cursor, ready = "0", ""
    deadline_s = time.monotonic() + wait_s
    while not ready:
        if time.monotonic() > deadline_s:
            return Page(why=f"no page answered within {wait_s:g} s: it must reach the lab's own port")
        time.sleep(0.05)
        cursor, reports = _reports(lab, cursor)
        ready = next((r["browser"] for r in reports if r.get("ready")), "")
    wanted = tuple(lab.publish(f"event {number}", "06-old") for number in range(events))
    arrived: dict[str, list[int]] = {"forever-frame": [], "jsonp-polling": []}
    deadline_s = time.monotonic() + READ_TIMEOUT_S
    while any(len(ids) < events for ids in arrived.values()) and time.monotonic() < deadline_s:
        time.sleep(0.05)
        cursor, reports = _reports(lab, cursor)
        for report in reports:
            if "ids" in report:
                arrived[report["technique"]] += report["ids"]
    return Page(wanted, {name: tuple(ids) for name, ids in arrived.items()}, ready)


def _reports(lab: Lab, cursor: str) -> tuple[str, list[dict[str, Any]]]:
    page = json.loads(loop.run(_get(lab, f"/polling?topic={REPORTS}&after={cursor}")))
    return page["cursor"], [json.loads(event["data"]) for event in page["events"]]


async def _get(lab: Lab, path: str) -> str:
    client = client_of(f"http://127.0.0.1:{lab.port}{path}", "")
    try:
        await client.ask({})
        return (await client.answer())[1]
    finally:
        client.close()
