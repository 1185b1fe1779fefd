"""S9: how many streams of one page a real browser lets begin, over HTTP/1.1 and over HTTP/2, and when the next does.

The browser is started by the experiment, so that it may be told whose certificate to believe: pages speak HTTP/2 over
TLS alone. The page is served by the lab itself, over whichever HTTP is asked about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from labkit.charts import layout
from labkit.course.alone import started_now
from labkit.course.later_http import chromium
from labkit.course.later_http.marks import MARKS, NEW, OLD
from labkit.course.later_http.reports import Reports, page_of
from labkit.course.shown import Shown, as_table
from labkit.errors import LabkitError
from labkit.lab.lab import Lab
from labkit.progress import Progress
from labkit.techniques import TECHNIQUES

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

PAGE = page_of("many-streams")
ASKED = {OLD: 8, NEW: 100}
"""Streams that the page asks for at once."""
QUIET_MS = {OLD: 2000, NEW: 8000}
"""How long no stream more has begun before the page takes it that none will; over HTTP/2 all do."""
SIX = 6
"""Connections that browsers give one host over HTTP/1.1."""
RECORDED = "recorded with Chrome 156 in November 2026"


@dataclass(frozen=True)
class Page:
    """What one page saw.

    Attributes:
        protocol: as the browser names it for the page's first request (ALPN: ``http/1.1``, ``h2``).
        asked: streams it asked for at once.
        began_s: when each that began did, in order, before any ended.
        next_s: how long after one was ended another began that had waited; None where none did or none waited.
    """

    protocol: str
    asked: int
    began_s: tuple[float, ...]
    next_s: float | None = None


@dataclass(frozen=True, repr=False)
class ManyStreams(Shown):
    """Streams of one page in a real browser, by the HTTP that carried them.

    ``recorded``: whether it is none of this run's but an older one's, since there is no browser here (``why``).
    """

    index = "bare"

    pages: Mapping[str, Page] = field(default_factory=dict)
    browser: str = ""
    why: str = ""
    recorded: bool = False
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def caption(self) -> str:
        return f"{self.browser}: {RECORDED}, since here it was not run ({self.why})" if self.recorded else self.browser

    def table(self) -> pd.DataFrame:
        """One row for each HTTP: asked for, begun, and what came of the one that had to wait."""
        rows = [(name, page.protocol, page.asked, len(page.began_s), _next(page)) for name, page in self.pages.items()]
        columns = ["", "the browser says", "streams asked for", "begun", "the next one"]
        return as_table(rows, columns=columns).set_index("")

    def chart(self) -> go.Figure:
        """How many streams had begun, along time."""
        figure = layout.blank()
        last_s = max((s for page in self.pages.values() for s in page.began_s), default=1.0) * 1.15
        for name, page in self.pages.items():
            mark, x = MARKS[name], [0.0, *page.began_s, last_s]
            y = [*range(len(page.began_s) + 1), len(page.began_s)]
            figure.add_scatter(
                x=[round(1e3 * s, 1) for s in x], y=y, mode="lines", name=name, showlegend=False,
                line={"color": mark.color, "dash": mark.dash, "shape": "hv", "width": 2.5},
                hovertemplate=f"{name}<br>%{{y}} begun after %{{x}} ms<extra></extra>",
            )  # fmt: skip
            figure.add_annotation(
                x=1, xref="paper", y=y[-1], xanchor="left", showarrow=False, text=f" {name}: {y[-1]} of {page.asked}"
            )
        layout.add_theory(figure, [0, 1e3 * last_s], [SIX, SIX], name="theory: six connections")
        figure.update_xaxes(title_text="since the page asked for all of them (ms)")
        figure.update_yaxes(title_text="streams that have begun", rangemode="tozero")
        begun = [f"{len(page.began_s)} of {page.asked}" for page in self.pages.values()]
        begun[:1] = [f"{first} streams begin" for first in begun[:1]]
        title = ", ".join(f"{said} over {name}" for said, name in zip(begun, self.pages, strict=True))
        note = f"one page, {self.browser or 'a browser'}" + f"; {RECORDED}" * self.recorded
        return layout.dressed(figure, title, note, height=400, margin=(66, 140, 84, 84))


def _next(page: Page) -> str:
    if len(page.began_s) == page.asked:
        return "none waits"
    return "waits" if page.next_s is None else f"begins {1e3 * page.next_s:.0f} ms after one has ended"


def streams_lab(**options: Any) -> Lab:
    """A lab that serves the page."""
    return Lab(f"many-streams{options}", techniques=(*TECHNIQUES, PAGE), **options)


def many_streams(streams: Mapping[str, int] = ASKED) -> ManyStreams:
    """Ask for many streams in a page, over HTTP/1.1 and over HTTP/2, in a Chromium that this starts.

    Without a browser, or without anything that speaks HTTP/2 to it, it gives what was recorded, and says so.
    """
    try:
        with chromium.labs(streams_lab) as (old, new), chromium.browser([new.fingerprint or ""]) as opened:
            return _watched({OLD: old, NEW: new}, opened, streams)
    except (OSError, LabkitError) as error:
        return replace(KEPT, why=str(error))


def _watched(labs: Mapping[str, Lab], opened: chromium.Browser, streams: Mapping[str, int]) -> ManyStreams:
    progress, pages = Progress(), {}
    for name, lab in labs.items():
        progress.show(f"{streams[name]} streams over {name}")
        key = name.replace("/", "-")
        opened.open(f"{lab.url}/many-streams?streams={streams[name]}&name={key}&quiet={QUIET_MS[name]}")
        said = Reports(lab).of(key)
        if said is None or "seconds" not in said:
            return replace(KEPT, why=f"the page over {name} {'fell silent' if said is None else said['error']}")
        pages[name] = Page(said["protocol"], said["asked"], tuple(said["seconds"]), said["next"])
    progress.done()
    return ManyStreams(pages, opened.version, settings=started_now())


_KEPT_S = {
    0.24: 3, 0.27: 1, 0.31: 1, 0.63: 1, 0.64: 10, 0.66: 9, 0.71: 1, 0.73: 1, 0.82: 8, 0.9: 8, 0.92: 8, 1.0: 8, 1.04: 8,
    1.09: 8, 1.11: 8, 1.31: 8, 1.43: 9,
}  # fmt: skip
KEPT = ManyStreams(
    {
        OLD: Page("http/1.1", 8, (0.07,) * 6, 0.029),
        NEW: Page("h2", 100, tuple(s for s, many in _KEPT_S.items() for _ in range(many))),
    },
    "Chrome/156",
    recorded=True,
)
"""Shown where there is no browser: a run on a busy machine of two cores."""
