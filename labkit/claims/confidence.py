"""Confidence intervals of what was measured, and the rules that make a verdict of one.

There are two rules:

- :func:`within`, for a claim with a tolerance ("the median within 10 % of d"): the whole interval inside is
  *confirmed*, outside is *refuted*, and one that straddles an edge is *undecided*;
- :func:`agrees`, for a value that theory gives ("within 4 standard errors of T/2 + d"): an interval that misses the
  value is *refuted*, one that holds it is *confirmed* if it is narrow enough to tell the claim from its
  alternatives, else *undecided*.

*Refined* is true under a condition that the reason names; *illustrated* is true by construction; *derived* is
arithmetic on measured inputs; *not run* has its reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, get_args

Verdict = Literal["confirmed", "refuted", "refined", "undecided", "illustrated", "derived", "not run"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of *value*, from *n* samples."""

    value: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


def mean_interval(
    values: Sequence[float], k: float = 4.0, *, groups: Sequence[object] | None = None, least_error: float = 0.0
) -> Interval:
    """The mean of *values*, give or take *k* standard errors.

    Args:
        groups: which values belong together (those of one event at several subscribers, or of one answer): the
            groups, not the values, are then the independent samples.
        least_error: the standard error that theory gives, where the sample's own may be too small because it missed
            the rare large values.

    Returns:
        The interval, in the values' unit; endless for fewer than two groups. ``n`` counts the groups.
    """
    if not len(values):
        return Interval(math.nan, -math.inf, math.inf, 0)
    mean = math.fsum(values) / len(values)
    residuals: dict[object, float] = {}
    for key, value in zip(range(len(values)) if groups is None else groups, values, strict=True):
        residuals[key] = residuals.get(key, 0.0) + value - mean
    n = len(residuals)
    if n < 2:
        return Interval(mean, -math.inf, math.inf, n)
    sample = math.sqrt(math.fsum(r * r for r in residuals.values()) * n / (n - 1)) / len(values)
    error = k * max(sample, least_error)
    return Interval(mean, mean - error, mean + error, n)


def median_interval(values: Sequence[float], confidence: float = 0.99) -> Interval:
    """The median of *values* between two order statistics, whatever the distribution.

    The median lies below the j-th smallest of n with the chance of fewer than j heads in n tosses; j is the largest
    for which that is at most (1 - confidence) / 2. Needs 8 values at 99 %; endless below.
    """
    ordered, n = sorted(values), len(values)
    if not n:
        return Interval(math.nan, -math.inf, math.inf, 0)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    j = _rank(n, (1 - confidence) / 2)
    return Interval(middle, ordered[j - 1], ordered[n - j], n) if j else Interval(middle, -math.inf, math.inf, n)


def _rank(n: int, tail: float) -> int:
    """The largest j for which fewer than j heads in n tosses have at most the chance *tail*."""
    if n > 1000:
        return int(n / 2 + NormalDist().inv_cdf(tail) * math.sqrt(n) / 2)
    j, below, term = 0, 0, 1  # of the 2^n outcomes: those with fewer than j heads, those with exactly j
    while below + term <= tail * 2**n:
        below, term, j = below + term, term * (n - j) // (j + 1), j + 1
    return j


def within(interval: Interval, low: float, high: float) -> Verdict:
    """The rule for a tolerance from *low* to *high*."""
    if low <= interval.low and interval.high <= high:
        return "confirmed"
    return "refuted" if interval.high < low or high < interval.low else "undecided"


def agrees(interval: Interval, low: float, high: float, resolution: float) -> Verdict:
    """The rule for a value that theory gives.

    Args:
        low, high: the value, and the value with what the apparatus may have added to it.
        resolution: the half-width at which the interval tells the claim from its alternatives.
    """
    if interval.high < low or high < interval.low:
        return "refuted"
    return "confirmed" if interval.half_width <= resolution else "undecided"


def events_needed(interval: Interval, margin: float, n: int | None = None) -> int | None:
    """How many events would bring the interval's ends to within *margin* of its value: n times the ratio squared.

    Args:
        n: how many events there were, where the interval counts groups of them.

    Returns:
        None if no number can be given: too few events to go by, or no margin at all.
    """
    reach = max(interval.high - interval.value, interval.value - interval.low)
    if not math.isfinite(reach) or not margin > 0:
        return None
    return math.ceil((interval.n if n is None else n) * max(1.0, reach / margin) ** 2)


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict on a claim with several parts: refuted if any is, else undecided if any is, else confirmed."""
    parts = set(verdicts)
    return next((v for v in ("not run", "refuted", "undecided", "refined") if v in parts), "confirmed")
