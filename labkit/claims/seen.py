"""What a run saw of one technique, and the parts of a verdict that are made of it.

What a check allows the apparatus, since a laptop with two cores is no laboratory. All of it is measured in the run:

- *Slack*: a latency may exceed its bound by 10 % of d, the tolerance of a transit everywhere, plus the 95th percentile
  of the run's own floor and the link's jitter on three transits.
- *Shift*: a mean or a median may exceed theory by 10 % of d, the floor's mean, that jitter, and what the stalls of the
  receiving loop add to an event that passes it four times.
- *Share*: 2 % of the arrivals may be late all the same, and those that met a stall; what arrived together counts once,
  as one stall delays all that was on its way. More refutes; a quarter of them late, where a check names no other
  share, is what must be told from that. Nothing excuses an event that is lost, or earlier than can be.
- *Noise*: where the floor's 95th percentile is itself a large part of what is to be told apart, or the receiving loop
  stood still for more than a tenth of the run, nothing is decided of what came late. What else a claim says is judged
  all the same, and so is what came sooner, or more often, than it should: no machine makes that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.claims import confidence
from labkit.claims.confidence import Interval, Verdict
from labkit.claims.faults import lost_untold
from labkit.claims.finding import NoVerdict
from labkit.claims.judging import EARLY, LEAST_EVENTS, TOLERANCE, Part, ends, listed, more, timed
from labkit.claims.values import shown
from labkit.errors import package
from labkit.measuring.recording import stalls
from labkit.measuring.rounding import counted
from labkit.measuring.tallies import groups, tally

if TYPE_CHECKING:
    import pandas as pd

    from labkit.measuring.run import Run

OUTSIDE = 0.02
"""Share of the arrivals that may be late on a machine that never stalls."""
LATE = 0.25
"""Share of late arrivals that must be told from what is allowed: the smallest effect of a range, if none is named."""
HELD_UP = 0.10
"""Share of the run for which the receiving loop may have stood still."""
HOPS = 4
"""How often an event passes that loop: the server, the link both ways for a poll and its answer, the client."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The scheduled deliveries of one technique to the kit's own clients, each event once per subscriber.

    ``skipped``: events that did not come, as a gap told or since the run was interrupted; of those lost without a word
    :mod:`labkit.claims.faults` tells, whatever the claim. ``noise``: why nothing about time can be decided.
    """

    frame: pd.DataFrame
    one_way_s: float
    slack_s: float
    shift_s: float
    late_share: float
    skipped: int
    fresh: bool
    interrupted: bool
    noise: str = ""

    @property
    def latency_s(self) -> pd.Series[float]:
        return self.frame["latency_ms"] / 1e3

    @property
    def event(self) -> pd.Series[int]:
        """A number for each event, the same at every subscriber."""
        pd = package("pandas")

        numbers: dict[tuple[str, int], int] = {}
        keys = zip(self.frame["topic"].tolist(), self.frame["event_id"].tolist(), strict=True)
        return pd.Series([numbers.setdefault(key, len(numbers)) for key in keys], index=self.frame.index, dtype="int64")

    @property
    def median(self) -> Interval:
        """Of the events, each at all its subscribers."""
        return confidence.median_interval(listed(self.latency_s.groupby(self.event).mean()))

    @property
    def n(self) -> int:
        return len(set(zip(self.frame["topic"].tolist(), self.frame["event_id"].tolist(), strict=True)))

    def arrivals(self, received_ns: Iterable[int]) -> int:
        """How many arrivals these are; what is received within d/2 of the first is one."""
        count, until_ns = 0, -math.inf
        for at_ns in sorted(received_ns):
            if at_ns > until_ns:
                count, until_ns = count + 1, at_ns + self.one_way_s / 2 * 1e9
        return count


def see(run: Run, technique: str, noise_limit_s: float | None = None) -> Seen:
    """What is to be judged.

    Args:
        noise_limit_s: the floor's 95th percentile above which nothing about time is decided; a fifth of d by default.

    Raises:
        NoVerdict: it failed or was not in the run, there was no injected delay, or too few events.
    """
    settings = run.settings
    d = float(settings.get("one_way_s") or 0.0)
    if technique in run.failures:
        raise NoVerdict("not run", f"{technique} failed: {run.failures[technique]}")
    frame = run.deliveries
    frame = frame[(frame["technique"] == technique) & frame["scheduled"].astype(bool) & frame["latency_ms"].notna()]
    frame = frame[frame["client"] != "browser"]
    frame = frame.drop_duplicates(["subscriber", "topic", "event_id"])
    subscribers = {record.subscriber for record in run.ledger.of(technique)} | set(frame["subscriber"].tolist())
    whole = len(run.published) * max(len(subscribers), settings.get("subscribers") or 1)
    lost = 0 if len(frame) == whole else lost_events(run, technique)
    skipped = lost and lost - lost_untold(run, technique)
    if not len(frame) and not lost:
        raise NoVerdict("not run", f"the run has no {technique} events with a latency")
    if d <= 0:
        raise NoVerdict("not run", "no delay was injected: measure with one_way_s=0.05 or more", len(frame))
    if len(frame) < LEAST_EVENTS:
        raise NoVerdict("undecided", f"too few events, {len(frame)}: at least {LEAST_EVENTS}", len(frame))
    floor = {name: value if math.isfinite(value) else 0.0 for name, value in run.floor.items()}
    floor_s, limit_s = floor["p95"] / 1e3, d / 5 if noise_limit_s is None else noise_limit_s
    noise = too_busy(settings)
    if floor_s > limit_s:
        noise = f"this machine is too busy: a bare socket alone took {shown(floor_s, 's')} (95th percentile)"
    stalled, stalls_s = stood_still(settings)
    may_s = TOLERANCE * d + 3 * float(settings.get("jitter_s") or 0.0)
    mean_s = sum(run.floor_ms) / max(1, len(run.floor_ms)) / 1e3
    shift_s = may_s + mean_s + stalls_s
    fresh = not options_of(run, technique).get("keep_alive", True)
    share = OUTSIDE + HOPS * stalled
    return Seen(frame, d, may_s + floor_s, shift_s, share, skipped, fresh, run.interrupted, noise)


def uninterrupted(*runs: Run) -> None:
    """Let through runs that lasted as long as they were planned.

    Raises:
        NoVerdict: one did not, so that what it counted is of a shorter time than theory's.
    """
    if any(run.interrupted for run in runs):
        raise NoVerdict("undecided", "the run was interrupted")


def too_busy(settings: Mapping[str, Any]) -> str:
    """Why nothing about time can be decided by a run, if its loop stood still for so long; empty if it did not."""
    if stood_still(settings)[0] <= HELD_UP:
        return ""
    return f"this machine is too busy: {stalls(settings)} in a run of {shown(settings['duration_s'], 's')}"


def stood_still(settings: Mapping[str, Any]) -> tuple[float, float]:
    """The share of a run for which its loop stood still, and what that adds to an event that passes it HOPS times."""
    held_up = settings.get("held_up_ms") or {"total": 0.0, "max": 0.0}
    share = held_up["total"] / 1e3 / float(settings.get("duration_s") or math.inf)
    return share, HOPS * share * held_up["max"] / 2e3


def lost_events(run: Run, technique: str) -> int:
    """How many of the published events did not reach the technique's subscribers, all of them together."""
    published = set(run.published)
    mine = (group for group in groups(run, technique) if not group.browser)
    return sum(tally(arrivals, published).lost for group in mine for arrivals in group.subscribers.values())


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


def mean_part(seen: Seen, mean: Interval, expected_s: float, below_s: float, above_s: float) -> Part:
    """The mean as theory has it, the apparatus allowed for, and told from the worlds at *below_s* and *above_s*."""
    low_s = expected_s - EARLY * seen.one_way_s
    verdict = confidence.agrees(mean, low_s, expected_s + seen.shift_s, below_s, above_s)
    text = f"mean {shown(mean.value, 's')}, {ends(mean)} at 99.8 %, theory {shown(expected_s, 's')}"
    part = Part(verdict, text + (more(mean, below_s, above_s, seen.n) if verdict == "undecided" else ""))
    return timed(part, seen.noise if mean.value > expected_s else "")


def median_part(seen: Seen, each_s: pd.Series[float], expected_s: float, which: str) -> Part:
    """The median as theory has it, the apparatus allowed for, and told from a world that is half a transit off."""
    values = listed(each_s)
    if len(values) < LEAST_EVENTS:
        return Part("undecided", f"median {which}: too few events, {len(values)}: at least {LEAST_EVENTS}")
    median, half_s = confidence.median_interval(values), seen.one_way_s / 2
    below_s, above_s = expected_s - half_s, expected_s + half_s
    low_s = expected_s - EARLY * seen.one_way_s
    verdict = confidence.agrees(median, low_s, expected_s + seen.shift_s, below_s, above_s)
    text = f"median {which} {shown(median.value, 's')}, {ends(median)} at 99.8 %".replace("  ", " ")
    text += f", theory {shown(expected_s, 's')} (n = {len(values)})"
    part = Part(verdict, text + (more(median, below_s, above_s, seen.n) if verdict == "undecided" else ""))
    return timed(part, seen.noise if median.value > expected_s else "")


@dataclass(frozen=True, slots=True)
class Outside:
    """How many latencies, and how many arrivals, were outside of their range."""

    n: int
    early: int
    late: int
    arrivals: int
    late_arrivals: int

    def __add__(self, other: Outside) -> Outside:
        return Outside(*(getattr(self, f) + getattr(other, f) for f in self.__slots__))


def outside(seen: Seen, low_s: float, high_s: float) -> Outside:
    """What was earlier than *low_s*, or later than *high_s* and the slack."""
    latencies_s = [latency_ms / 1e3 for latency_ms in listed(seen.frame["latency_ms"])]
    received_ns = listed(seen.frame["received_ns"])
    early = sum(latency_s < low_s * (1 - EARLY) for latency_s in latencies_s)
    late_ns = [ns for ns, s in zip(received_ns, latencies_s, strict=True) if s > high_s + seen.slack_s]
    return Outside(len(received_ns), early, len(late_ns), seen.arrivals(received_ns), seen.arrivals(late_ns))


def outside_part(found: Outside, allowed: float, text: str, effect: float = LATE, noise: str = "") -> Part:
    """None early, and no more late arrivals than the share that is *allowed*, told from *effect*."""
    verdict: Verdict = "refuted" if found.early else rare(found.late_arrivals, found.arrivals, allowed, effect)
    text = f"{found.n - found.early - found.late} of {found.n} latencies {text}, {found.early} earlier"
    text += f", {found.late} later in {found.late_arrivals} of {found.arrivals} arrivals"
    part = Part(verdict, text + f"; too few to tell {allowed:.0%} from {effect:.0%}" * (verdict == "undecided"))
    return part if found.early else timed(part, noise)


def rare(found: int, n: int, allowed: float = OUTSIDE, effect: float = LATE) -> Verdict:
    """Whether *found* of *n* are no more than the share that is *allowed*, told from *effect*."""
    share = confidence.share_interval(found, n)
    return confidence.agrees(share, 0.0, allowed, -math.inf, max(effect, allowed))


def range_part(seen: Seen, low_s: float, high_s: float, effect: float = LATE) -> Part:
    """Every latency from *low_s* to *high_s*, but for the slack and the share that the module's docstring names."""
    text = f"of {shown(low_s, 's')}" if low_s == high_s else f"from {shown(low_s, 's')} to {shown(high_s, 's')}"
    text += f" (+ {shown(seen.slack_s, 's')} slack)"
    return outside_part(outside(seen, low_s, high_s), seen.late_share, text, effect, seen.noise)


def skipped_part(seen: Seen) -> Part:
    """Nothing was left out, but by an interrupt."""
    if seen.skipped and seen.interrupted:
        return Part("confirmed", f"{seen.skipped} not delivered when the run was interrupted")
    if not seen.skipped:
        return Part("confirmed", "no gap told")
    return Part("refuted", f"{counted(seen.skipped, 'event')} not delivered, as gaps told")
