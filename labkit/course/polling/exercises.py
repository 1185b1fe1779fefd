"""The exercises of 01_polling."""

from __future__ import annotations

import math

from labkit import theory
from labkit.claims.exercises import Exercise
from labkit.course.asking import expected
from labkit.techniques.polling import POLLING

SAVED, EXTRA = 23, 52  # bytes, of a poll with a cursor: what 304 saves without news, and costs with news


def _mean_of_a_second(interval_s: float) -> str | None:
    if interval_s <= 0:
        return "A poll interval is above 0."
    mean_s = expected(POLLING, {"interval_s": interval_s}, theory.Path(0.05)).mean_s
    return None if abs(mean_s - 1) <= 0.01 else f"With T = {interval_s:g} s the mean is {mean_s:.3g} s, expected 1 s."


def _empty_share(share: float) -> str | None:
    wanted = theory.empty_answer_fraction(1 / 60, 5)
    if abs(share - wanted) <= 0.01:
        return None
    if abs(share - 100 * wanted) <= 1:
        return f"{share:g} is in per cent; a share lies between 0 and 1."
    return f"Found {share:g}. An interval of 5 s holds 1/12 of an event on average."


def _where_304_pays(interval_s: float) -> str | None:
    if interval_s <= 0:
        return "A poll interval is above 0."
    share = theory.empty_answer_fraction(1.0, interval_s)
    balance = SAVED * share - EXTRA * (1 - share)
    if abs(interval_s + math.log(EXTRA / (EXTRA + SAVED))) <= 0.02:
        return None
    said = "saves" if balance > 0 else "costs"
    return f"With T = {interval_s:g} s {share:.0%} of the polls are empty: ETag {said} {abs(balance):.1f} bytes a poll."


EXERCISES: dict[str, Exercise] = {
    "01.1": Exercise(
        "seconds",
        _mean_of_a_second,
        "T = 1.9 s: T/2 + d is 0.95 + 0.05 s.",
        "the mean is T/2 + d, and d is 0.05 s.",
    ),
    "01.2": Exercise(
        "share, from 0 to 1",
        _empty_share,
        "e^(-1/12) = 0.92: eleven polls of twelve bring nothing, or nearly so.",
        "the chance of no event in an interval is e^(-lambda T); mind the units of lambda and T.",
    ),
    "01.3": Exercise(
        "seconds",
        _where_304_pays,
        "At 0.37 s: e^(-0.37) is 52 / (52 + 23) = 0.69. Slower polls bring news too often for ETag to pay.",
        "first the share of empty polls at which 23 bytes saved make up for 52 lost; then e^(-lambda T) is that share.",
    ),
}
