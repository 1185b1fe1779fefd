"""One check for each claim: from a run's rows and settings to a verdict.

``CHECKS`` maps a claim's id to a function from a run to a :class:`Finding`; a further claim is one more function.
A claim has parts (a mean, a range, nothing lost); it is refuted if one of them is, and undecided if one of them is.

What a check allows the apparatus, since a laptop with two cores is no laboratory:

- *Slack*: a latency may exceed its bound by 10 % of d, the tolerance of a transit everywhere, plus the 95th percentile
  of the run's own floor and the link's jitter on three transits; a mean may exceed theory by as much.
- *Share*: 2 % of the arrivals (one at least) may be out of range all the same; what arrived together counts once, as
  one stall of the machine delays all that was on its way. Clearly more than 2 % refutes, unless the run itself saw a
  stall that long; what lies between is undecided. Nothing excuses an event that is lost, or earlier than can be.
- *Noise*: where the floor's 95th percentile is itself a large part of what is to be told apart, or the receiving loop
  stood still for more than a twentieth of the run, nothing is decided.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit import claims, models
from labkit.claims import Interval, Record, Verdict, shown
from labkit.errors import LabkitError

if TYPE_CHECKING:
    import pandas as pd

    from labkit.runs import Run

TOLERANCE = 0.10
"""Share of d by which a transit may differ from d."""
LEAST_EVENTS = 8
"""Below this no interval is worth its name."""
OUTSIDE = 0.02
"""Share of the arrivals that may lie outside their range."""
HELD_UP = 0.05
"""Share of the run for which the receiving loop may have stood still."""
EXCUSABLE = 0.10
"""Share of the latencies for which a stall of the machine is an excuse."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. ``expected``, ``measured`` and ``interval`` in *unit*; ``n`` counts events."""

    expected: float | dict[str, int] | None
    measured: float | dict[str, int] | None
    interval: Interval | None
    n: int
    verdict: Verdict
    reason: str
    unit: str = "s"


def check(id: str, run: Run, *, notebook: str | None = None) -> Record:
    """Put a claim to the test with a run, record the verdict, and return the record.

    Raises:
        LabkitError: there is no check of that id (the message lists those there are).
    """
    return _recorded(id, judge(id, run), run, notebook)


def _recorded(id: str, found: Finding, run: Run, notebook: str | None) -> Record:
    return claims.record(
        id,
        found.expected,
        found.measured,
        found.verdict,
        found.reason,
        interval=found.interval,
        n=found.n,
        notebook=notebook,
        run=run.settings.get("started"),
        unit=found.unit,
    )


def check_proxy(streamed: Any, held: Any, run: Run, *, notebook: str | None = None) -> Record:
    """Put claim A7 to the test: one stream through jupyter-server-proxy with two Accept headers, in one run.

    Args:
        streamed, held: the page's subscribers (:class:`labkit.BrowserSubscriber`), with ``text/event-stream`` and
            with ``*/*``.
        run: the measurement during which both were there.
    """
    from labkit.checks_homes import what_the_proxy_holds_back

    found = what_the_proxy_holds_back(streamed, held, run)
    return _recorded("A7", found, run, notebook)


def judge(id: str, run: Run) -> Finding:
    """The verdict of :func:`check`, without recording it."""
    if id not in CHECKS:
        raise LabkitError(f"no check for claim {id!r}; there are: {', '.join(CHECKS)}")
    try:
        return CHECKS[id](run)
    except _NoVerdict as why:
        return Finding(None, None, None, why.n, why.verdict, str(why))


# The claims


def polling_is_late(run: Run) -> Finding:
    """P1: every latency of interval polling in [d, P + d] and the mean d + P/2, P the period (T).

    The mean is a lottery of phases if the source keeps step with the polls; it is judged for Poisson events and for a
    periodic source dithered by a period or more. It counts once it tells P/2 from 0 and from P: half-width P/4.
    """
    options = _options(run, "polling")
    interval_s = float(options.get("interval_s", options.get("poll_interval_s", 1.0)))
    seen = _see(run, "polling", noise_limit_s=interval_s / 10)
    waiting = bool(options.get("wait_after_answer"))
    theory = models.polling_latency(interval_s, seen.one_way_s, fresh_connections=seen.fresh, waiting=waiting)
    period_s = theory.max_s - theory.min_s
    mean = claims.mean_interval(_list(seen.latency_s), groups=_list(seen.event))
    name, schedule = _schedule(run)
    spread = name == "poisson" or (name == "periodic" and float(schedule.get("dither_s") or 0) >= period_s)
    parts = [
        _mean(seen, mean, theory, period_s / 4)
        if spread
        else _Part("undecided", f"the mean says nothing: a {name} source may keep step with the polls (dither it)"),
        _range(seen, theory.min_s, theory.max_s),
        _lost(seen),
    ]
    return _finding(theory.mean_s, mean, seen, parts)


def long_polling_is_near_one_transit(run: Run) -> Finding:
    """L1: events that found a parked poll have the median d, no latency exceeds d + g, and the mean is the closed form.

    Which events found a parked poll is told from the rows (:func:`parked`). The mean counts once it tells d from 2d:
    half-width d/2. With a connection for each request the claim is refined: g is 4d and the maximum 5d.
    """
    options = _options(run, "long-polling")
    if options.get("pipelined"):
        raise _NoVerdict("not run", "its polls were pipelined, which takes the gap away")
    seen = _see(run, "long-polling")
    d, gap_s = seen.one_way_s, models.request_gap(seen.one_way_s, seen.fresh)
    hold_s = float(options.get("hold_s") or 30.0)
    name, schedule = _schedule(run)
    rate_per_s = float(schedule.get("rate_per_s") or 0.0)
    theory = models.long_polling_latency(rate_per_s, d, hold_s, gap_s)
    answer = _answers(seen.frame, d).groupby(seen.event).transform("min")
    least = theory.std_s / math.sqrt(seen.n)
    mean = claims.mean_interval(_list(seen.latency_s), groups=_list(answer), least_error=least)
    found_parked = seen.latency_s[parked(seen.frame, d, gap_s, hold_s, seen.slack_s)]
    parts = [
        _median(seen, found_parked.groupby(seen.event).mean(), d, "of those that found a parked poll"),
        _mean(seen, mean, theory, d / 2)
        if name == "poisson"
        else _Part("undecided", f"the closed form is about Poisson events, not a {name} source"),
        _range(seen, theory.min_s, theory.max_s),
        _lost(seen),
    ]
    found = _finding(theory.mean_s, mean, seen, parts)
    return _refined(found, "each request opened a connection: up to five transits") if seen.fresh else found


def streaming_is_one_transit(run: Run) -> Finding:
    """S3: the median of streaming is d, and no latency is nearer to 3d than to d as long as nothing is recycled."""
    seen = _see(run, "http-streaming")
    d = seen.one_way_s
    each = seen.latency_s.groupby(seen.event).mean()
    connections = run.connections
    opened = int((connections["technique"] == "http-streaming").sum())
    streams = len(seen.frame[["subscriber", "topic"]].drop_duplicates())
    parts = [
        _median(seen, each, d, ""),
        _range(seen, d, 2 * d)
        if opened <= streams
        else _Part("undecided", f"the stream was opened {opened} times: what is near 3d may belong to that"),
        _lost(seen),
    ]
    return _finding(d, claims.median_interval(_list(each)), seen, parts)


def homes_decide(seen: Any) -> Finding:
    """A8, of what :func:`labkit.residence.watch` has seen rather than of a run: see ``checks_homes.py``."""
    from labkit.checks_homes import where_the_server_lives

    return where_the_server_lives(seen)


CHECKS: dict[str, Callable[[Run], Finding]] = {
    "P1": polling_is_late,
    "L1": long_polling_is_near_one_transit,
    "S3": streaming_is_one_transit,
    "A8": homes_decide,
}

# What a run saw of one technique


class _NoVerdict(Exception):
    """The run cannot decide the claim at all, and why."""

    def __init__(self, verdict: Verdict, why: str, n: int = 0) -> None:
        super().__init__(why)
        self.verdict: Verdict = verdict
        self.n = n


@dataclass(frozen=True, slots=True)
class _Seen:
    """The scheduled deliveries of one technique to the kit's own clients, each event once per subscriber."""

    frame: pd.DataFrame
    one_way_s: float
    slack_s: float
    stall_s: float
    lost: int
    fresh: bool
    interrupted: bool

    @property
    def latency_s(self) -> pd.Series[float]:
        return self.frame["latency_ms"] / 1e3

    @property
    def event(self) -> pd.Series[int]:
        """A number for each event, the same at every subscriber."""
        return self.frame.groupby(["topic", "event_id"]).ngroup()

    @property
    def n(self) -> int:
        return int(self.event.nunique())

    def arrivals(self, which: pd.Series[bool]) -> int:
        """How many arrivals the rows of *which* are; what is received within d/2 of the first is one."""
        count, until_ns = 0, -math.inf
        for received_ns in sorted(self.frame["received_ns"][which].tolist()):
            if received_ns > until_ns:
                count, until_ns = count + 1, received_ns + self.one_way_s / 2 * 1e9
        return count


def _see(run: Run, technique: str, noise_limit_s: float | None = None) -> _Seen:
    """What is to be judged.

    Args:
        noise_limit_s: the floor's 95th percentile above which nothing is decided; a fifth of d by default.

    Raises:
        _NoVerdict: it failed or was not in the run, there was no injected delay, too few events, or too much noise.
    """
    settings = run.settings
    d = float(settings.get("one_way_s") or 0.0)
    if technique in run.failures:
        raise _NoVerdict("not run", f"{technique} failed: {run.failures[technique]}")
    frame = run.deliveries
    frame = frame[(frame["technique"] == technique) & frame["scheduled"].astype(bool) & frame["latency_ms"].notna()]
    frame = frame[frame["client"] != "browser"]
    frame = frame.drop_duplicates(["subscriber", "topic", "event_id"])
    lost = _lost_events(run, technique)
    if not len(frame) and not lost:
        raise _NoVerdict("not run", f"the run has no {technique} events with a latency")
    if d <= 0:
        raise _NoVerdict("not run", "no delay was injected: measure with one_way_s=0.05 or more", len(frame))
    if len(frame) < LEAST_EVENTS:
        lost_too = f", {lost} lost" if lost else ""
        raise _NoVerdict("undecided", f"{len(frame)} events are too few{lost_too}: at least {LEAST_EVENTS}", len(frame))
    floor = {name: value if math.isfinite(value) else 0.0 for name, value in run.floor.items()}
    floor_s, limit_s = floor["p95"] / 1e3, d / 5 if noise_limit_s is None else noise_limit_s
    if floor_s > limit_s:
        why = f"this machine is too busy: a bare socket alone took {shown(floor_s, 's')} (95th percentile)"
        raise _NoVerdict("undecided", why, len(frame))
    held_up = settings.get("held_up_ms") or {"total": 0.0, "max": 0.0}
    if held_up["total"] > HELD_UP * 1e3 * float(settings.get("duration_s") or math.inf):
        total = shown(held_up["total"] / 1e3, "s")
        why = f"this machine is too busy: the receiving loop stood still for {total}"
        raise _NoVerdict("undecided", why, len(frame))
    stall_s = max(floor["max"], held_up["max"]) / 1e3
    jitter_s = float(settings.get("jitter_s") or 0.0)
    slack_s = TOLERANCE * d + floor_s + 3 * jitter_s
    fresh = not _options(run, technique).get("keep_alive", True)
    return _Seen(frame, d, slack_s, stall_s, lost, fresh, run.interrupted)


def _lost_events(run: Run, technique: str) -> int:
    summary = run.summary()
    if technique not in summary.index:
        return 0
    lost = summary.loc[technique, "lost"]
    return int(lost) if lost == lost and lost is not None else 0


def _options(run: Run, technique: str) -> dict[str, Any]:
    """The run's settings, and what its technique was told besides."""
    given = {k: v for k, v in (run.settings.get("options") or {}).get(technique, {}).items() if v is not None}
    return {**run.settings, **given}


def _schedule(run: Run) -> tuple[str, dict[str, Any]]:
    schedule = run.settings.get("schedule") or {}
    return str(schedule.get("name", "foreign")), {**schedule, **schedule.get("settings", {})}


def _answers(frame: pd.DataFrame, one_way_s: float) -> pd.Series[int]:
    """A number for each answer, in the order of arrival at each subscriber.

    Two answers to one client are at least a gap, 2d, apart; what came within d of the row before came with it.
    """
    ordered = frame.sort_values(["subscriber", "topic", "received_ns"], kind="stable")
    since_s = ordered.groupby(["subscriber", "topic"])["received_ns"].diff() / 1e9
    return (~(since_s <= one_way_s)).cumsum().loc[frame.index]


def parked(frame: pd.DataFrame, one_way_s: float, gap_s: float, hold_s: float, slack_s: float = 0.0) -> pd.Series[bool]:
    """Which rows of long polling were published while a poll was parked, told from the rows alone.

    The answer before, received at r, left the server at r - d, so the next poll was there at r - d + g. It is parked
    from then for H; if nothing comes, an empty answer leaves, which has no row, and the next poll is there after
    another g, and so on. Near the ends of holds, where *slack_s* for each empty answer makes it uncertain, and before
    the first answer, a row does not count as parked.
    """
    answer = _answers(frame, one_way_s)
    received = frame["received_ns"].groupby(answer).max()
    owner = (frame["subscriber"].astype(str) + "/" + frame["topic"].astype(str)).groupby(answer).first()
    before = answer.map(received.groupby(owner).shift())
    waited_s = (frame["published_ns"].astype("float64") - before) / 1e9 - (gap_s - one_way_s)
    empty = waited_s // (hold_s + gap_s)
    phase_s = waited_s - empty * (hold_s + gap_s)
    result: pd.Series[bool] = (
        (waited_s >= 0) & (phase_s >= slack_s * empty) & (phase_s <= hold_s - slack_s * (empty + 1))
    )
    return result


# The parts of a verdict


@dataclass(frozen=True, slots=True)
class _Part:
    verdict: Verdict
    text: str


def _mean(seen: _Seen, mean: Interval, theory: models.Expectation, resolution_s: float) -> _Part:
    """The mean within 4 standard errors of theory, the apparatus allowed for."""
    verdict = claims.agrees(mean, theory.mean_s, theory.mean_s + seen.slack_s, resolution_s)
    text = f"mean {shown(mean.value, 's')}, {_ends(mean)} at 4 standard errors, against {shown(theory.mean_s, 's')}"
    return _Part(verdict, text + _more(verdict, mean, resolution_s, seen.n))


def _median(seen: _Seen, each_s: pd.Series[float], expected_s: float, which: str) -> _Part:
    """The median's 99 % interval within 10 % of the value."""
    values = _list(each_s)
    if len(values) < LEAST_EVENTS:
        return _Part("undecided", f"median {which}: {len(values)} events are too few, at least {LEAST_EVENTS}")
    median = claims.median_interval(values)
    low, high = (1 - TOLERANCE) * expected_s, (1 + TOLERANCE) * expected_s
    verdict = claims.within(median, low, high)
    text = f"median {which} {shown(median.value, 's')}, {_ends(median)} at 99 %".replace("  ", " ")
    text += f", against {shown(expected_s, 's')} within {TOLERANCE:.0%} (n = {len(values)})"
    return _Part(verdict, text + _more(verdict, median, min(abs(median.value - low), abs(high - median.value)), seen.n))


def _range(seen: _Seen, low_s: float, high_s: float) -> _Part:
    """Every latency from *low_s* to *high_s*, but for the slack and the share that the module's docstring names."""
    latency_s, n = seen.latency_s, len(seen.frame)
    over_s = latency_s - (high_s + seen.slack_s)
    early, late = int((latency_s < low_s * (1 - OUTSIDE)).sum()), int((over_s > 0).sum())
    arrivals = seen.arrivals(over_s == over_s)
    verdict: Verdict = "refuted" if early else _rare(seen.arrivals(over_s > 0), arrivals)
    text = f"{n - early - late} of {n} latencies from {shown(low_s, 's')} to {shown(high_s, 's')}"
    text += f" (+ {shown(seen.slack_s, 's')} slack), {early} earlier, {late} later"
    excusable = verdict == "refuted" and not early and late <= EXCUSABLE * n
    if excusable and _rare(seen.arrivals(over_s > seen.stall_s), arrivals) != "refuted":
        return _Part("undecided", f"{text}; the machine itself stalled for up to {shown(seen.stall_s, 's')}")
    if verdict == "undecided":
        share = seen.arrivals(over_s > 0) / arrivals
        text += f"; about {math.ceil(7 * OUTSIDE / (share - OUTSIDE) ** 2)} arrivals would decide"
    return _Part(verdict, text)


def _rare(found: int, n: int) -> Verdict:
    """Whether *found* of *n* arrivals are at most the share ``OUTSIDE``; refuted where chance is under 1 in 200."""
    mean = OUTSIDE * n
    if found <= max(1, mean):
        return "confirmed"
    fewer = math.fsum(math.exp(i * math.log(mean) - mean - math.lgamma(i + 1)) for i in range(found))  # Poisson
    return "refuted" if 1 - fewer < 0.005 else "undecided"


def _lost(seen: _Seen) -> _Part:
    if seen.lost and seen.interrupted:
        return _Part("confirmed", f"{seen.lost} not delivered when the run was interrupted")
    return _Part("refuted" if seen.lost else "confirmed", f"{seen.lost} lost")


def _more(verdict: Verdict, interval: Interval, margin_s: float, n: int) -> str:
    if verdict != "undecided":
        return ""
    needed = claims.events_needed(interval, margin_s, n)
    return "; too close to the edge to say" if needed is None else f"; about {needed} events would decide"


def _ends(interval: Interval) -> str:
    return f"{shown(interval.low, 's')} to {shown(interval.high, 's')}"


def _finding(expected_s: float, measured: Interval, seen: _Seen, parts: list[_Part]) -> Finding:
    verdict = claims.combine(part.verdict for part in parts)
    guilty = [p.text for p in parts if p.verdict == verdict] + [p.text for p in parts if p.verdict != verdict]
    return Finding(expected_s, measured.value, measured, seen.n, verdict, "; ".join(guilty))


def _refined(found: Finding, condition: str) -> Finding:
    if found.verdict != "confirmed":
        return found
    reason = f"{condition}; {found.reason}"
    return Finding(found.expected, found.measured, found.interval, found.n, "refined", reason, found.unit)


def _list(series: pd.Series[Any]) -> list[Any]:
    values: list[Any] = series.tolist()
    return values
