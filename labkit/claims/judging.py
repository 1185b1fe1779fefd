"""The parts of a verdict, and the verdict that is made of them: what every judge shares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from labkit.claims import confidence
from labkit.claims.confidence import Interval, Verdict
from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.values import shown
from labkit.measuring.rounding import counted

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 0.10
"""Share of d by which a transit may differ from d."""
EARLY = 0.02
"""Share of d by which a timer may be early."""
LEAST_EVENTS = 8
"""Below this no interval is worth its name."""


# Parts


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that a claim says, and whether it was so; ``noise``: why the machine leaves that undecided."""

    verdict: Verdict
    text: str
    noise: str = ""


def said(is_so: bool, text: str, otherwise: str | None = None) -> Part:
    """A part that either holds or does not; *otherwise* is what it then says."""
    return Part("confirmed", text) if is_so else Part("refuted", f"not so: {text}" if otherwise is None else otherwise)


def named(name: object, part: Part) -> Part:
    """The part, with whom it is about."""
    return replace(part, text=f"{name}: {part.text}")


def timed(part: Part, noise: str) -> Part:
    """A part about time, which a machine that was too busy (*noise*) leaves undecided.

    It must be about nothing else: what a client does wrong, asking too often or dropping an event, no machine excuses.
    """
    return replace(part, verdict="undecided", noise=noise) if noise else part


def near(found: Interval, expected: float, margin: float, effect: float, text: str) -> Part:
    """A mean or a median at *expected*, give or take *margin*, told from worlds that are *effect* away."""
    ends = expected - margin, expected + margin
    return Part(confidence.agrees(found, *ends, expected - effect, expected + effect), text)


def less(one: Interval, other: Interval, text: str) -> Part:
    """One interval below another: confirmed where the narrow ones are apart, refuted where the wide ones are."""
    verdict: Verdict = "refuted" if one.lowest > other.highest else "confirmed" if one.high < other.low else "undecided"
    return Part(verdict, text)


def none_lost(lost: int, text: str = "lost") -> list[Part]:
    """A part that refutes if anything was lost, and none if nothing was."""
    return [Part("refuted", f"{counted(lost, 'event')} {text}")] if lost else []


def more(interval: Interval, below: float, above: float, n: int) -> str:
    """How many events would decide what *n* did not."""
    if math.isinf(interval.half_width):
        return "; too few events to rule anything out"
    needed = confidence.events_needed(interval, below, above, n)
    return "; too close to the edge to say" if needed is None else f"; about {needed} events would decide"


def ends(interval: Interval) -> str:
    """Of an interval of times, its ends; too few values rule nothing out."""
    if math.isinf(interval.low) and math.isinf(interval.high):
        return "any value"
    return f"{shown(interval.low, 's')} to {shown(interval.high, 's')}"


def listed(series: pd.Series[Any]) -> list[Any]:
    values: list[Any] = series.tolist()
    return values


# Verdicts


def together(parts: Iterable[Part]) -> Part:
    """All parts as one: the verdict of :func:`confidence.combine`, one a line, those that decided it first."""
    parts = list(parts)
    verdict = confidence.combine(part.verdict for part in parts)
    return Part(verdict, "\n".join(_told(sorted(parts, key=lambda part: part.verdict != verdict))))


def _told(parts: Sequence[Part]) -> list[str]:
    """What they say, below what the machine was too busy for; that is said once."""
    return [*dict.fromkeys(part.noise for part in parts if part.noise), *(part.text for part in parts)]


def divided(parts: Sequence[Part]) -> tuple[list[str], tuple[str, ...]]:
    """What the parts say: the guilty, those that decided it first, and those that hold; of all that hold, one leads."""
    verdict = confidence.combine(part.verdict for part in parts)
    guilty = [p for p in parts if p.verdict != "confirmed"] or list(parts[:1])
    told = _told(sorted(guilty, key=lambda part: part.verdict != verdict))
    return told, tuple(part.text for part in parts if part not in guilty)


def guilty(parts: Sequence[Part]) -> str:
    """What the parts say, one a line; only those that are not confirmed, if there are any."""
    return "\n".join(_told([p for p in parts if p.verdict != "confirmed"] or parts))


def finding(
    parts: Iterable[Part],
    n: int,
    expected: float | Mapping[str, float] | None = None,
    measured: Interval | float | Mapping[str, float] | None = None,
    unit: str = "s",
    reason: str = "{}",
    lead: str = "",
) -> Finding:
    """The verdict on all parts.

    Args:
        n: how many events, or other samples, it rests on.
        expected, measured: in *unit*; *measured* as an interval where there is one.
        reason: what the guilty parts stand in, at ``{}``; those that hold are folded away.
        lead: what was found, in the claim's own words: the reason of one that stands, all parts folded away.

    Raises:
        NoVerdict: there is no part, and nothing holds because nothing was looked at.
    """
    parts = list(parts)
    if not parts:
        raise NoVerdict("undecided", "nothing was seen of what it says", n)
    verdict, (told, holds) = confidence.combine(part.verdict for part in parts), divided(parts)
    interval = measured if isinstance(measured, Interval) else None
    value = measured.value if isinstance(measured, Interval) else measured
    if lead and verdict == "confirmed":
        return Finding(expected, value, interval, n, verdict, lead, unit, (*told, *holds))
    return Finding(expected, value, interval, n, verdict, reason.replace("{}", "\n".join(told)), unit, holds)


def refined(found: Finding, condition: str, verdict: Verdict = "refined") -> Finding:
    """A confirmed claim under the condition that then is its reason, what holds folded away; any other as it is."""
    if found.verdict != "confirmed":
        return found
    return replace(found, verdict=verdict, reason=condition, holds=(*found.reason.split("\n"), *found.holds))
