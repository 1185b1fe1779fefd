"""E2: what a client does when an event stream has ended: it comes back after the reconnection time.

The kit's own client and the page's EventSource do the same against the same server, which keeps when each answer ended
and when the next request came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from labkit.charts import layout, style
from labkit.client.ledger import Ledger
from labkit.course.alone import started_now
from labkit.course.background import lateness
from labkit.course.case_server import Asked, CaseServer, page_runs, shown
from labkit.course.shown import OfRun, as_table
from labkit.course.sse.with_page import BROWSER, OURS, WithPage
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.network.link import Link
from labkit.techniques import Delivery
from labkit.techniques.sse import SSE
from labkit.theory import Mark

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

RETRIES = {0.2: 24, 0.3: 24, 0.5: 24}
"""How often a client has to come back, by ``retry`` in seconds."""
CUT_S, HEAL_S = 1.5, 2.0
PAGE = Mark("#B84300", "circle-open", "dot")


@dataclass(frozen=True, repr=False)
class Returns(WithPage):
    """How long clients stayed away after their stream had ended: seconds, by client and ``retry`` in seconds."""

    gaps_s: Mapping[str, Mapping[float, tuple[float, ...]]]
    resumed: Mapping[str, bool]
    """Whether each reconnection brought the last event id that had been sent."""
    late_s: tuple[float, ...]
    """By how much bare timers on the same loop were late: the machine's own part."""

    def table(self) -> pd.DataFrame:
        """One row for each client and ``retry``."""
        columns = ["client", "retry (ms)", "reconnections", "median (ms)", "shortest (ms)", "longest (ms)", "resumed"]
        rows: list[tuple[Any, ...]] = []
        for client, by_retry in self.gaps_s.items():
            for retry_s, gaps_s in by_retry.items():
                times_ms = [1e3 * s for s in (median(gaps_s), min(gaps_s), max(gaps_s))]
                resumed = "yes" if self.resumed[client] else "no"
                rows.append((client, round(retry_s * 1e3), len(gaps_s), *times_ms, resumed))
        return as_table(rows, columns).set_index(["client", "retry (ms)"])

    def on_page(self) -> pd.DataFrame:
        shorter = {"shortest (ms)": "shortest", "longest (ms)": "longest", "resumed": "with its last event id"}
        return self.table().rename(columns=shorter)

    def chart(self) -> go.Figure:
        """Time away over the reconnection time that the stream had asked for: each by how much it is off."""
        grey, kernel, figure = style.GREY, SSE.mark, layout.blank()
        labels = [f"{1e3 * retry_s:.0f}" for retry_s in sorted(self.gaps_s[OURS])]
        figure.add_hrect(y0=-10, y1=10, fillcolor=style.rgba(kernel.color, 0.15), line_width=0, layer="below")
        figure.add_hline(y=0, line=layout.theory_line())
        figure.add_annotation(
            x=0.7, xref="paper", y=0, text="theory: as long as retry says", yanchor="top", showarrow=False,
            font={"size": 11, "color": grey.muted},
        )  # fmt: skip
        for number, (client, by_retry) in enumerate(self.gaps_s.items()):
            mark = kernel if client == OURS else PAGE
            x, y = list[float](), list[float]()
            for at, retry_s in enumerate(sorted(by_retry)):
                gaps_s = by_retry[retry_s]
                x += [at + 0.4 * (number + i / len(gaps_s)) / len(self.gaps_s) - 0.2 for i in range(len(gaps_s))]
                y += [100 * (gap_s / retry_s - 1) for gap_s in gaps_s]
            figure.add_scatter(
                x=x, y=y, mode="markers", name=client, hovertemplate="%{y:.1f} %<extra></extra>",
                marker={"symbol": mark.symbol, "size": 8, "color": mark.color},
            )  # fmt: skip
        off = {
            client: max(abs(gap_s / retry_s - 1) for retry_s, gaps_s in by_retry.items() for gap_s in gaps_s)
            for client, by_retry in self.gaps_s.items()
        }
        figure.update_xaxes(
            title_text="retry, as the stream had said (ms)", tickvals=[*range(len(labels))], ticktext=labels
        )
        most = 100 * max(0.12, *off.values())
        figure.update_yaxes(
            title_text="time away against retry (%)", range=[-1.15 * most, 1.15 * most], ticksuffix=" %"
        )
        return layout.dressed(
            figure,
            "Back when retry says: " + ", ".join(f"{name} at most {most:.1%} off" for name, most in off.items()),
            "each mark: from the end of one stream to the next request, at the server; band: within 10 %",
            height=410, margin=(70, 30, 108, 60), showlegend=True,
            legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        )  # fmt: skip


@dataclass(frozen=True)
class Resumption(OfRun):
    """The reconnections, and a run whose link was cut in the middle."""

    returns: Returns
    run: Run


def returns(retries: Mapping[float, int] = RETRIES) -> Returns:
    """End a stream again and again after it has said ``retry``, and see when its client is back.

    Args:
        retries: how often, by the reconnection time in seconds. All of them run at once.

    Raises:
        ValueError: a reconnection time that is no whole number of milliseconds above 0, or nothing to do.
    """
    for retry_s, times in retries.items():
        if not (retry_s > 0 and abs(retry_s * 1e3 - round(retry_s * 1e3)) < 1e-6 and times >= 1):
            raise ValueError(f"retries={{{retry_s!r}: {times!r}}}: whole milliseconds above 0, and once at least")
    if not retries:
        raise ValueError("retries: at least one reconnection time")
    return shown(_returns(dict(retries)), "coming back")


async def _returns(retries: dict[float, int]) -> Returns:
    async def answer(asked: Asked) -> None:
        retry_ms = int(asked.path.split("/")[1])
        if asked.number > retries[retry_ms / 1e3] + 1:
            await asked.head("204 No Content", "")
            return
        await asked.head()
        await asked.write(f"retry: {retry_ms}\nid: {asked.number}\ndata: {asked.number}\n\n".encode())

    jobs = []
    for retry_s, times in retries.items():
        wait_ms = round(times * (retry_s * 1.5 + 0.2) * 1e3) + 2000
        path = f"returns/{round(retry_s * 1e3)}/page"
        jobs.append({"key": path, "path": path, "types": ["message"], "until": "closed", "wait_ms": wait_ms})
    async with CaseServer({"returns": answer}) as server:
        kernel = (_follow(server.url(f"returns/{round(retry_s * 1e3)}/kernel")) for retry_s in retries)
        page = page_runs(server, jobs, parallel=len(jobs))
        async with lateness(min(retries)) as late_s:
            _, (_, browser, why) = await asyncio.gather(asyncio.gather(*kernel), page)
        clients = {OURS: "kernel", **({} if why else {BROWSER: "page"})}
        gaps_s = {name: _gaps(server, retries, path) for name, path in clients.items()}
        if not why and not gaps_s[BROWSER]:
            why = f"{browser} did not come back in time"
            del clients[BROWSER], gaps_s[BROWSER]
        resumed = {name: _resumed(server, retries, path) for name, path in clients.items()}
        return Returns(gaps_s, resumed, tuple(late_s), why=why, browser=browser, settings=started_now())


async def _follow(url: str) -> list[Delivery]:
    """labkit's own client, to the end."""
    async with aclosing(SSE.connect(url, ledger=Ledger(0))) as items:
        return [item async for item in items if isinstance(item, Delivery)]


def _gaps(server: CaseServer, retries: Mapping[float, int], client: str) -> dict[float, tuple[float, ...]]:
    found = {}
    for retry_s in retries:
        asked = server.of(f"returns/{round(retry_s * 1e3)}/{client}")
        if gaps_s := tuple((after.began_ns - before.ended_ns) / 1e9 for before, after in pairwise(asked)):
            found[retry_s] = gaps_s
    return found


def _resumed(server: CaseServer, retries: Mapping[float, int], client: str) -> bool:
    asked = [a for retry_s in retries for a in server.of(f"returns/{round(retry_s * 1e3)}/{client}") if a.number > 1]
    return bool(asked) and all(a.headers.get("last-event-id") == str(a.number - 1) for a in asked)


def cut(lab: Lab, link: Link | None = None, *, duration_s: float = 4.0, rate_per_s: float = 10.0) -> Run:
    """Measure through a link that is cut at 1.5 s and put back at 2.0 s.

    Args:
        link: between the clients and the lab, started, so that a page's subscriber can go through it too; one of
            50 ms by default.
    """
    link = link or Link(one_way_s=0.05)
    schedule = schedules.periodic(rate_per_s=rate_per_s, duration_s=duration_s)
    fault = {CUT_S: link.cut, HEAL_S: link.heal}
    return measure(lab, ["sse"], schedule, through=link, at=fault, options={"sse": {"retry_s": 0.3}})
