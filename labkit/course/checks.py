"""One check for each claim: from what an experiment gave to a verdict.

``CHECKS`` maps a claim's id to a function from a run, or whatever else its experiment gives, to a :class:`Finding`; a
further claim is one more function in the module of its notebook. A claim has parts (a mean, a range, nothing lost); it
is refuted if one of them is, and undecided if one of them is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labkit.claims import latency, recording
from labkit.claims.judging import LEAST_EVENTS, TOLERANCE, Finding, NoVerdict
from labkit.claims.recording import Record
from labkit.course.http_streaming import judges as http_streaming
from labkit.course.long_polling import judges as long_polling
from labkit.course.polling import judges as polling
from labkit.course.relatives import judges as relatives
from labkit.course.side_by_side import judges as side_by_side
from labkit.course.sse import judges as sse
from labkit.course.websocket import judges as websocket
from labkit.course.where_the_server_lives import judges as homes
from labkit.errors import LabkitError

__all__ = ["CHECKS", "LEAST_EVENTS", "TOLERANCE", "Finding", "check", "check_proxy", "judge"]

CHECKS: dict[str, Callable[[Any], Finding]] = {
    **latency.CHECKS,
    **polling.CHECKS,
    **long_polling.CHECKS,
    **http_streaming.CHECKS,
    **sse.CHECKS,
    **websocket.CHECKS,
    **relatives.CHECKS,
    **side_by_side.CHECKS,
    **homes.CHECKS,
}


def check(id: str, seen: Any, *, notebook: str | None = None) -> Record:
    """Put a claim to the test, record the verdict, and return the record.

    Args:
        seen: what the claim's experiment gave: a run, or what the function of :mod:`labkit.experiments` returned.

    Raises:
        LabkitError: there is no check of that id (the message lists those there are).
    """
    return _recorded(id, judge(id, seen), seen, notebook)


def check_proxy(streamed: Any, held: Any, run: Any, *, notebook: str | None = None) -> Record:
    """Put claim A7 to the test: one stream through jupyter-server-proxy with two Accept headers, in one run.

    Args:
        streamed, held: the page's subscribers (:class:`labkit.BrowserSubscriber`), with ``text/event-stream`` and
            with ``*/*``.
        run: the measurement during which both were there.
    """
    return _recorded("A7", homes.what_the_proxy_holds_back(streamed, held, run), run, notebook)


def judge(id: str, seen: Any) -> Finding:
    """The verdict of :func:`check`, without recording it."""
    if id not in CHECKS:
        raise LabkitError(f"no check for claim {id!r}; there are: {', '.join(CHECKS)}")
    try:
        return CHECKS[id](seen)
    except NoVerdict as why:
        return Finding(None, None, None, why.n, why.verdict, str(why))


def _recorded(id: str, found: Finding, seen: Any, notebook: str | None) -> Record:
    return recording.record(
        id,
        found.expected,
        found.measured,
        found.verdict,
        found.reason,
        interval=found.interval,
        n=found.n,
        notebook=notebook,
        run=getattr(seen, "settings", {}).get("started"),
        unit=found.unit,
    )
