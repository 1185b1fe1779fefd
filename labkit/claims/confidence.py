"""Confidence intervals of what was measured, and the rules that make a verdict of one.

The statistics are scipy's, loaded when a verdict is asked for; what is ours is the rule. Every interval is two, around
the same value:

- the *narrow* one, ``low`` to ``high``, is left on either side once in ``1 / DOUBT`` times: what lies outside it is
  ruled out, and a claim is *confirmed* once every world that it must be told from is;
- the *wide* one is left once in ``1 / ALARM`` times: a claim is *refuted* only by a wide interval that misses it. A
  check has some ten parts, so that it raises one false alarm in 100 000.

What lies between is *undecided*. There are two rules:

- :func:`within`, for a claim with limits ("at most three times as long");
- :func:`agrees`, for a value that theory gives: it names the nearest worlds below and above that it must be told from.
  Where :data:`SEPARATION` standard errors fit between theory and those, a wrong world is refuted with 99 % power.

*Refined* is true under a condition that the reason names; *illustrated* is true by construction; *derived* is
arithmetic on measured inputs; *not run* has its reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

from labkit.errors import package

Verdict = Literal["confirmed", "refuted", "refined", "undecided", "illustrated", "derived", "not run"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

ALARM = 1e-6
"""Chance that one part refutes what is true: both tails of the wide interval."""
DOUBT = 1e-3
"""Chance that one part confirms what lies just at the edge of its effect: one tail of the narrow interval."""
SEPARATION = 7.3
"""Standard errors, of 100 samples or more, at which a wrong world is refuted 99 times in 100: 5 and 2.33."""
TAILS = (DOUBT, ALARM / 2)


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of *value*, from *n* samples.

    Attributes:
        low, high: the narrow one.
        wide: the wide one; the same where it is not given.
    """

    value: float
    low: float
    high: float
    n: int
    wide: tuple[float, float] | None = None

    @property
    def lowest(self) -> float:
        return self.low if self.wide is None else self.wide[0]

    @property
    def highest(self) -> float:
        return self.high if self.wide is None else self.wide[1]

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    def scaled(self, factor: float) -> Interval:
        """The same in another unit."""
        ends = (self.lowest * factor, self.highest * factor)
        return Interval(self.value * factor, self.low * factor, self.high * factor, self.n, ends)


def _special() -> Any:
    """scipy.special, loaded only for a verdict: scipy.stats is made of it, and takes three times as long to load."""
    return package("scipy.special", "a verdict")


@cache
def _student(tail: float, freedom: int) -> float:
    return -float(_special().stdtrit(freedom, tail))


@cache
def _normal(tail: float) -> float:
    return -float(_special().ndtri(tail))


@cache
def _rank(tail: float, n: int) -> int:
    """The largest j for which fewer than j heads in n tosses have less than the chance *tail*."""
    special = _special()
    j = max(0, math.ceil(float(special.bdtrik(tail, n, 0.5))) - 1)
    while special.bdtr(j, n, 0.5) < tail:
        j += 1
    return j


def _around(value: float, errors: Sequence[float], n: int) -> Interval:
    narrow, wide = errors
    return Interval(value, value - narrow, value + narrow, n, (value - wide, value + wide))


def mean_interval(
    values: Sequence[float], *, groups: Sequence[object] | None = None, least_error: float = 0.0
) -> Interval:
    """The mean of *values*, by Student's t.

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
    return _around(mean, [_student(tail, n - 1) * max(sample, least_error) for tail in TAILS], n)


def known_interval(value: float, error: float, n: int) -> Interval:
    """A value whose standard error theory gives, in the value's unit: normal."""
    return _around(value, [_normal(tail) * error for tail in TAILS], n)


def median_interval(values: Sequence[float]) -> Interval:
    """The median of *values* between two order statistics, whatever the distribution.

    The narrow interval needs 10 values, the wide one 21; endless below.
    """
    ordered, n = sorted(values), len(values)
    if not n:
        return Interval(math.nan, -math.inf, math.inf, 0)
    ends = []
    for tail in TAILS:
        j = _rank(tail, n)
        ends.append((ordered[j - 1], ordered[n - j]) if j else (-math.inf, math.inf))
    return Interval((ordered[(n - 1) // 2] + ordered[n // 2]) / 2, *ends[0], n, ends[1])


def share_interval(found: int, n: int) -> Interval:
    """The share of which *found* of *n* are a sample: exact binomial limits (Clopper and Pearson)."""
    if not n:
        return Interval(math.nan, 0.0, 1.0, 0)
    narrow, wide = (_binomial(tail, found, n) for tail in TAILS)
    return Interval(found / n, *narrow, n, wide)


@cache
def _binomial(tail: float, found: int, n: int) -> tuple[float, float]:
    special = _special()
    low = float(special.betaincinv(found, n - found + 1, tail)) if found else 0.0
    return low, float(special.betainccinv(found + 1, n - found, tail)) if found < n else 1.0


def count_interval(found: int) -> Interval:
    """The mean of which a count is a sample: exact Poisson limits (Garwood)."""
    narrow, wide = (_poisson(tail, found) for tail in TAILS)
    return Interval(found, *narrow, found, wide)


@cache
def _poisson(tail: float, found: int) -> tuple[float, float]:
    special = _special()
    return float(special.gammaincinv(found, tail)) if found else 0.0, float(special.gammainccinv(found + 1, tail))


def within(interval: Interval, low: float, high: float) -> Verdict:
    """The rule for limits from *low* to *high*: the narrow interval inside confirms, the wide one outside refutes."""
    if interval.highest < low or high < interval.lowest:
        return "refuted"
    return "confirmed" if low <= interval.low and interval.high <= high else "undecided"


def agrees(interval: Interval, low: float, high: float, below: float, above: float) -> Verdict:
    """The rule for a value that theory gives.

    Args:
        low, high: the value, and the value with what the apparatus may have added to it.
        below, above: the nearest worlds that the claim must be told from: its smallest effects.
    """
    if interval.highest < low or high < interval.lowest:
        return "refuted"
    return "confirmed" if below < interval.low and interval.high < above else "undecided"


def events_needed(interval: Interval, below: float, above: float, n: int | None = None) -> int | None:
    """How many events would bring the interval's ends between two worlds: n times the square of the ratio.

    Each end has a ratio of its own, since a median's interval need not be as long on either side; the larger counts.

    Args:
        n: how many events there were, where the interval counts groups of them.

    Returns:
        None if no number can be given: too few events to go by, or a value that lies outside.
    """
    value = interval.value
    sides = (value - interval.low, value - below), (interval.high - value, above - value)
    if not all(math.isfinite(reach) and room > 0 for reach, room in sides):
        return None
    ratio = max(1.0, *(reach / room for reach, room in sides))
    return math.ceil((interval.n if n is None else n) * ratio**2)


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict on a claim with several parts: refuted if any is, else undecided if any is, else confirmed."""
    parts = set(verdicts)
    return next((v for v in ("not run", "refuted", "undecided", "refined") if v in parts), "confirmed")
