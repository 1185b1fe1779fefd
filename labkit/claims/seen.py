"""What a run saw of one technique, and the parts of a verdict that are made of it.

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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit import theory
from labkit.claims import confidence
from labkit.claims.confidence import Interval, Verdict
from labkit.claims.finding import NoVerdict
from labkit.claims.judging import LEAST_EVENTS, TOLERANCE, Part, ends, listed, more
from labkit.claims.values import shown

if TYPE_CHECKING:
    import pandas as pd

    from labkit.measuring.run import Run

OUTSIDE = 0.02
"""Share of the arrivals that may lie outside their range."""
HELD_UP = 0.05
"""Share of the run for which the receiving loop may have stood still."""
EXCUSABLE = 0.10
"""Share of the latencies for which a stall of the machine is an excuse."""


@dataclass(frozen=True, slots=True)
class Seen:
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


def see(run: Run, technique: str, noise_limit_s: float | None = None) -> Seen:
    """What is to be judged.

    Args:
        noise_limit_s: the floor's 95th percentile above which nothing is decided; a fifth of d by default.

    Raises:
        NoVerdict: it failed or was not in the run, there was no injected delay, too few events, or too much noise.
    """
    settings = run.settings
    d = float(settings.get("one_way_s") or 0.0)
    if technique in run.failures:
        raise NoVerdict("not run", f"{technique} failed: {run.failures[technique]}")
    frame = run.deliveries
    frame = frame[(frame["technique"] == technique) & frame["scheduled"].astype(bool) & frame["latency_ms"].notna()]
    frame = frame[frame["client"] != "browser"]
    frame = frame.drop_duplicates(["subscriber", "topic", "event_id"])
    lost = lost_events(run, technique)
    if not len(frame) and not lost:
        raise NoVerdict("not run", f"the run has no {technique} events with a latency")
    if d <= 0:
        raise NoVerdict("not run", "no delay was injected: measure with one_way_s=0.05 or more", len(frame))
    if len(frame) < LEAST_EVENTS:
        lost_too = f", {lost} lost" if lost else ""
        raise NoVerdict("undecided", f"{len(frame)} events are too few{lost_too}: at least {LEAST_EVENTS}", len(frame))
    floor = {name: value if math.isfinite(value) else 0.0 for name, value in run.floor.items()}
    floor_s, limit_s = floor["p95"] / 1e3, d / 5 if noise_limit_s is None else noise_limit_s
    if floor_s > limit_s:
        why = f"this machine is too busy: a bare socket alone took {shown(floor_s, 's')} (95th percentile)"
        raise NoVerdict("undecided", why, len(frame))
    held_up = settings.get("held_up_ms") or {"total": 0.0, "max": 0.0}
    if held_up["total"] > HELD_UP * 1e3 * float(settings.get("duration_s") or math.inf):
        total = shown(held_up["total"] / 1e3, "s")
        why = f"this machine is too busy: the receiving loop stood still for {total}"
        raise NoVerdict("undecided", why, len(frame))
    stall_s = max(floor["max"], held_up["max"]) / 1e3
    jitter_s = float(settings.get("jitter_s") or 0.0)
    slack_s = TOLERANCE * d + floor_s + 3 * jitter_s
    fresh = not options_of(run, technique).get("keep_alive", True)
    return Seen(frame, d, slack_s, stall_s, lost, fresh, run.interrupted)


def lost_events(run: Run, technique: str) -> int:
    summary = run.summary()
    if technique not in summary.index:
        return 0
    lost = summary.loc[technique, "lost"]
    return int(lost) if lost == lost and lost is not None else 0


def options_of(run: Run, technique: str) -> dict[str, Any]:
    """The run's settings, and what its technique was told besides."""
    given = {k: v for k, v in (run.settings.get("options") or {}).get(technique, {}).items() if v is not None}
    return {**run.settings, **given}


def schedule_of(run: Run) -> tuple[str, dict[str, Any]]:
    schedule = run.settings.get("schedule") or {}
    return str(schedule.get("name", "foreign")), {**schedule, **schedule.get("settings", {})}


def answers(frame: pd.DataFrame, one_way_s: float) -> pd.Series[int]:
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
    answer = answers(frame, one_way_s)
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


def mean_part(seen: Seen, mean: Interval, theory: theory.Expectation, resolution_s: float) -> Part:
    """The mean within 4 standard errors of theory, the apparatus allowed for."""
    verdict = confidence.agrees(mean, theory.mean_s, theory.mean_s + seen.slack_s, resolution_s)
    text = f"mean {shown(mean.value, 's')}, {ends(mean)} at 4 standard errors, against {shown(theory.mean_s, 's')}"
    return Part(verdict, text + more(verdict, mean, resolution_s, seen.n))


def median_part(seen: Seen, each_s: pd.Series[float], expected_s: float, which: str) -> Part:
    """The median's 99 % interval within 10 % of the value."""
    values = listed(each_s)
    if len(values) < LEAST_EVENTS:
        return Part("undecided", f"median {which}: {len(values)} events are too few, at least {LEAST_EVENTS}")
    median = confidence.median_interval(values)
    low, high = (1 - TOLERANCE) * expected_s, (1 + TOLERANCE) * expected_s
    verdict = confidence.within(median, low, high)
    text = f"median {which} {shown(median.value, 's')}, {ends(median)} at 99 %".replace("  ", " ")
    text += f", against {shown(expected_s, 's')} within {TOLERANCE:.0%} (n = {len(values)})"
    return Part(verdict, text + more(verdict, median, min(abs(median.value - low), abs(high - median.value)), seen.n))


def range_part(seen: Seen, low_s: float, high_s: float) -> Part:
    """Every latency from *low_s* to *high_s*, but for the slack and the share that the module's docstring names."""
    latency_s, n = seen.latency_s, len(seen.frame)
    over_s = latency_s - (high_s + seen.slack_s)
    early, late = int((latency_s < low_s * (1 - OUTSIDE)).sum()), int((over_s > 0).sum())
    arrivals = seen.arrivals(over_s == over_s)
    verdict: Verdict = "refuted" if early else rare(seen.arrivals(over_s > 0), arrivals)
    text = f"{n - early - late} of {n} latencies from {shown(low_s, 's')} to {shown(high_s, 's')}"
    text += f" (+ {shown(seen.slack_s, 's')} slack), {early} earlier, {late} later"
    excusable = verdict == "refuted" and not early and late <= EXCUSABLE * n
    if excusable and rare(seen.arrivals(over_s > seen.stall_s), arrivals) != "refuted":
        return Part("undecided", f"{text}; the machine itself stalled for up to {shown(seen.stall_s, 's')}")
    if verdict == "undecided":
        share = seen.arrivals(over_s > 0) / arrivals
        text += f"; about {math.ceil(7 * OUTSIDE / (share - OUTSIDE) ** 2)} arrivals would decide"
    return Part(verdict, text)


def rare(found: int, n: int) -> Verdict:
    """Whether *found* of *n* arrivals are at most the share ``OUTSIDE``; refuted where chance is under 1 in 200."""
    mean = OUTSIDE * n
    if found <= max(1, mean):
        return "confirmed"
    fewer = math.fsum(math.exp(i * math.log(mean) - mean - math.lgamma(i + 1)) for i in range(found))  # Poisson
    return "refuted" if 1 - fewer < 0.005 else "undecided"


def lost_part(seen: Seen) -> Part:
    if seen.lost and seen.interrupted:
        return Part("confirmed", f"{seen.lost} not delivered when the run was interrupted")
    return Part("refuted" if seen.lost else "confirmed", f"{seen.lost} lost")
