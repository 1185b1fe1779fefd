"""L11's remedy: all tabs share one connection, by a leader over HTTP/1.1, by the browser itself over HTTP/2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit.course.alone import started_now
from labkit.course.later_http import chromium
from labkit.course.later_http.reports import Reports, page_of
from labkit.course.shown import Shown, as_table
from labkit.errors import LabkitError
from labkit.lab.lab import Lab
from labkit.progress import Progress
from labkit.techniques import TECHNIQUES

if TYPE_CHECKING:
    import pandas as pd

TABS = ("one", "two", "three")
HALF = 10
"""Events before a tab is closed, and after."""
LEADER, OWN = "HTTP/1.1, one tab leads", "HTTP/2, a stream for each tab"


@dataclass(frozen=True)
class Shares:
    """What tabs had of one topic over the closing of one of them.

    Attributes:
        protocol: as the browser names it.
        published: ids, those after the closing included.
        got: by tab that stayed, the ids that it had, in order.
        connections: that the browser had to the server meanwhile; None where nobody can say.
        leaders: tabs that held the stream, one after the other; 0 where each has its own.
    """

    protocol: str
    published: tuple[int, ...]
    got: Mapping[str, tuple[int, ...]]
    connections: int | None
    leaders: int


@dataclass(frozen=True, repr=False)
class SharedTabs(Shown):
    """Three tabs of a real browser, by how they share. ``why``: why there was none."""

    index = "bare"

    ways: Mapping[str, Shares] = field(default_factory=dict)
    browser: str = ""
    why: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def caption(self) -> str:
        return self.why or f"{self.browser}, three tabs, one of them closed after {HALF} of {2 * HALF} events"

    def table(self) -> pd.DataFrame:
        """One row for each way: connections, and what the tabs that stayed have lost or had twice."""
        rows = []
        for name, way in self.ways.items():
            lost = sum(len(set(way.published) - set(ids)) for ids in way.got.values())
            twice = sum(len(ids) - len(set(ids)) for ids in way.got.values())
            rows.append((name, way.protocol, way.connections, len(way.got), lost, twice))
        columns = ["", "the browser says", "connections", "tabs that stayed", "lost", "twice"]
        return as_table(rows, columns=columns).set_index("")


def shared_tabs() -> SharedTabs:
    """Three tabs over HTTP/1.1 with a leader, and three over HTTP/2 that know nothing of one another."""
    try:
        with chromium.labs(_lab) as (old, new), chromium.browser([new.fingerprint or ""]) as opened:
            progress, ways = Progress(), {}
            for name, mode, lab in ((LEADER, "leader", old), (OWN, "own", new)):
                progress.show(f"three tabs over {name}")
                ways[name] = _shared(lab, opened, mode)
            progress.done()
            return SharedTabs(ways, opened.version, settings=started_now())
    except (OSError, TimeoutError, LabkitError) as error:
        return SharedTabs(why=str(error))


def _lab(**options: Any) -> Lab:
    return Lab(f"shared-tabs{options}", techniques=(*TECHNIQUES, page_of("shared-tabs")), **options)


def _shared(lab: Lab, opened: chromium.Browser, mode: str) -> Shares:
    reports, topic = Reports(lab), f"14-{mode}"
    names = {f"{mode}-{tab}": "" for tab in TABS}
    for name in names:
        names[name] = opened.open(f"{lab.url}/shared-tabs?mode={mode}&name={name}&half={HALF}")
    told = {name: _said(reports, f"{name}-ready") for name in names}
    ids = [lab.publish(f"event {n}", topic) for n in range(HALF)]
    halves = {name: _said(reports, f"{name}-half") for name in names}
    connections = opened.connections(lab.port)
    leads = [name for name, said in halves.items() if said["leads"]]
    opened.close(names.pop((leads or list(names))[0]))
    ids += [lab.publish(f"event {n}", topic) for n in range(HALF - 1)]
    if leads:  # a browser closes a tab when it gets to it: that one may have told its siblings all of these
        reports.of(*(f"{name}-leads" for name in names))
    ids.append(lab.publish(f"event {HALF - 1}", topic))
    done = {name: _said(reports, f"{name}-done") for name in names}
    for tab in names.values():
        opened.close(tab)
    got = {name: tuple(said["ids"]) for name, said in done.items()}
    leaders = len(leads) + sum(said["leads"] for said in done.values())
    return Shares(next(iter(told.values()))["protocol"], tuple(ids), got, connections, leaders)


def _said(reports: Reports, name: str) -> dict[str, Any]:
    found = reports.of(name)
    if found is None:
        raise TimeoutError(f"a tab fell silent: {name}")
    return found
