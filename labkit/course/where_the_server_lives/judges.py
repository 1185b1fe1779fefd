"""The checks of what a notebook does to its servers: where they live (A8), and the proxy before them (A7).

A8: where the server lives decides what a busy cell does to it.

A server on the kernel's own loop stands still while a cell is busy: an event due then waits for what is left of the
cell, half of it on average. If its source lives there too, the same events look punctual counted from when they were
published. Elsewhere, and in a nested loop while the cell only waits, nothing changes: the median stays within 50 ms of
what it was. A median that does not refutes; a 95th percentile that does not leaves it undecided, since one run cannot
tell the home from a stall of the machine.

A7: through jupyter-server-proxy a stream comes as it is written only where the request's Accept is
``text/event-stream``; with ``*/*`` the proxy waits for the end of an answer that has none.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from labkit.claims import confidence
from labkit.claims.checking import recorded
from labkit.claims.confidence import Interval
from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.judging import LEAST_EVENTS, TOLERANCE, Part, finding, named, near, none_lost, said
from labkit.claims.recording import Record
from labkit.claims.values import shown
from labkit.course.where_the_server_lives.homes import WAITS, Home, Seen
from labkit.webpage.settings import NO_PAGE, has_front_end

if TYPE_CHECKING:
    import pandas as pd

    from labkit.measuring.run import Run

MARGIN_MS = 50.0
OPEN = "open the notebook in JupyterLab and run it there"
THROUGH = "none came through jupyter-server-proxy; what it lacks is said where the subscriber is displayed"


def where_the_server_lives(seen: Seen) -> Finding:
    """A8. ``measured``: the median latency from due, on the kernel's own loop, of what was due during the cell."""
    frame = seen.deliveries
    still = next((home for home in seen.homes if home.name == WAITS and home.spans), None)
    others = [home for home in seen.homes if home.name != WAITS and home.spans]
    if still is None or not others:
        raise NoVerdict("not run", "needs a busy cell, a server on the kernel's own loop and one elsewhere")
    busy = _busy(frame, still)
    if len(busy) < LEAST_EVENTS:
        raise NoVerdict("undecided", f"too few events during the cell, {len(busy)}: at least {LEAST_EVENTS}")
    half_ms = max(span.stop_ns - span.start_ns for span in still.spans) / 2e6
    waited = _waited(busy, still, half_ms)
    parts = [_waits(waited, half_ms, busy), _hides(busy, half_ms)]
    parts += [_goes_on(frame, home) for home in others]
    for home in seen.homes:
        faults = none_lost(home.lost) + none_lost(home.twice, "twice")
        parts += [named(home.title, part) for part in faults]
    return finding(parts, len(busy), half_ms / 1e3, waited.scaled(1e-3))


def _busy(frame: pd.DataFrame, home: Home) -> pd.DataFrame:
    return frame[(frame["home"] == home.name) & frame["during"]]


def _quiet(frame: pd.DataFrame, home: Home) -> pd.DataFrame:
    return frame[(frame["home"] == home.name) & ~frame["during"]]


def _waited(busy: pd.DataFrame, home: Home, half_ms: float) -> Interval:
    """The median latency, in ms, each event put at the middle of the cell: what was left for it is known."""
    values = []
    for due_ns, latency_ms in zip(busy["due_ns"], busy["latency_ms"], strict=True):
        stop_ns = next(span.stop_ns for span in home.spans if span.start_ns <= due_ns < span.stop_ns)
        values.append(float(latency_ms) - (stop_ns - due_ns) / 1e6 + half_ms)
    return confidence.median_interval(values)


def _waits(waited: Interval, half_ms: float, busy: pd.DataFrame) -> Part:
    longest = shown(float(busy["latency_ms"].max()) / 1e3, "s")
    text = f"on the kernel's own loop an event waits for what is left of the cell, {longest} at most"
    return near(waited, half_ms, TOLERANCE * half_ms, half_ms / 2, text)


def _hides(busy: pd.DataFrame, half_ms: float) -> Part:
    """Coordinated omission: the source stands still with its server."""
    seen = confidence.median_interval(busy["transit_ms"].tolist())
    text = f"counted from when they were published the same events have the median {shown(seen.value / 1e3, 's')}"
    return Part(confidence.within(seen, 0.0, TOLERANCE * half_ms), text)


def _goes_on(frame: pd.DataFrame, home: Home) -> Part:
    quiet, busy = _quiet(frame, home)["latency_ms"], _busy(frame, home)["latency_ms"]
    if min(len(quiet), len(busy)) < LEAST_EVENTS:
        return Part("undecided", f"{home.title}: too few events to compare")
    verdict = confidence.within(confidence.median_interval(busy.tolist()), 0.0, float(quiet.median()) + MARGIN_MS)
    usual_ms, now_ms = float(quiet.quantile(0.95)), float(busy.quantile(0.95))
    if verdict == "confirmed" and now_ms > usual_ms + MARGIN_MS:
        verdict = "undecided"
    text = f"95 % within {shown(now_ms / 1e3, 's')}, {shown(usual_ms / 1e3, 's')} without the cell"
    return Part(verdict, f"{home.title}: {text}")


def what_the_proxy_holds_back(streamed: Any, held: Any, run: Run) -> Finding:
    """A7. ``measured`` counts the events that each of the two brought to the page during the run."""
    if not (streamed.pages() and held.pages()):
        return NoVerdict("not run", f"{NO_PAGE}: {THROUGH if has_front_end() else OPEN}").finding()
    wanted = {event_id for topic, event_id in run.published if not topic}
    came = {name: _came(subscriber, wanted) for name, subscriber in (("streamed", streamed), ("held", held))}
    expected = {"streamed": len(wanted), "held": 0}
    if len(wanted) < LEAST_EVENTS or run.interrupted:
        return NoVerdict("undecided", f"too few events, {len(wanted)}: at least {LEAST_EVENTS}").finding()
    text = (
        f"{_proxy()} brought {came['streamed']} of {len(wanted)} events as they came with Accept: text/event-stream,"
        f" {came['held']} of them with Accept: */*"
    )
    return finding([said(came == expected, text, text)], len(wanted), expected, came, "events")


def _came(subscriber: Any, wanted: set[int]) -> int:
    arrived = set(subscriber.deliveries["event_id"].tolist())
    return len(wanted & arrived)


def _proxy() -> str:
    try:
        return f"jupyter-server-proxy {version('jupyter-server-proxy')}"
    except PackageNotFoundError:
        return "jupyter-server-proxy"


def check_proxy(streamed: Any, held: Any, run: Any, *, notebook: str | None = None) -> Record:
    """Put claim A7 to the test: one stream through jupyter-server-proxy with two Accept headers, in one run.

    Args:
        streamed, held: the page's subscribers (:class:`labkit.BrowserSubscriber`), with ``text/event-stream`` and
            with ``*/*``.
        run: the measurement during which both were there.
    """
    return recorded("A7", what_the_proxy_holds_back(streamed, held, run), run, notebook)
