"""The exercises of 01_polling."""

from __future__ import annotations

import math

from labkit import theory
from labkit.claims.exercises import Drawn, Exercise
from labkit.course.asking import expected
from labkit.techniques.polling import POLLING

SAVED, EXTRA = 23, 52  # bytes, of a poll with a cursor: what 304 saves without news, and costs with news


def _mean_of_a_second(one_way_s: float) -> Exercise:
    def judge(interval_s: float) -> str | None:
        if interval_s <= 0:
            return "A poll interval is above 0."
        mean_s = expected(POLLING, {"interval_s": interval_s}, theory.Path(one_way_s)).mean_s
        if abs(mean_s - 1) <= 0.01:
            return None
        return f"With T = {interval_s:g} s the mean is {mean_s:.3g} s, expected 1 s."

    right_s = 2 * (1 - one_way_s)
    return Exercise(
        "seconds",
        judge,
        f"T = {right_s:g} s: T/2 + d is {right_s / 2:g} + {one_way_s:g} s.",
        f"the mean is T/2 + d, and d is {one_way_s:g} s.",
        question=f"d is {one_way_s:g} s. Which T gives a mean latency of exactly one second?",
    )


def _empty_share(every_s: int, period_s: int) -> Exercise:
    wanted = theory.empty_answer_fraction(1 / every_s, period_s)

    def judge(share: float) -> str | None:
        if abs(share - wanted) <= 0.01:
            return None
        if abs(share - 100 * wanted) <= 1:
            return f"{share:g} is in per cent; a share lies between 0 and 1."
        return f"Found {share:g}. An interval of {period_s} s holds {period_s}/{every_s} of an event on average."

    return Exercise(
        "share, from 0 to 1",
        judge,
        f"e^(-{period_s}/{every_s}) = {wanted:.2f}. Not 1 - {period_s}/{every_s} = {1 - period_s / every_s:.2f}: some "
        "polls bring two events or more, so others bring none.",
        "the chance of no event in an interval is e^(-lambda T); mind the units of lambda and T.",
        question=f"Events come every {every_s} s on average, and a client polls every {period_s} s. Which share of its "
        "polls is empty?",
    )


def _where_304_pays(events_per_s: float) -> Exercise:
    right_s = math.log((EXTRA + SAVED) / EXTRA) / events_per_s

    def judge(interval_s: float) -> str | None:
        if interval_s <= 0:
            return "A poll interval is above 0."
        share = theory.empty_answer_fraction(events_per_s, interval_s)
        balance = SAVED * share - EXTRA * (1 - share)
        if abs(interval_s / right_s - 1) <= 0.05:
            return None
        said = "saves" if balance > 0 else "costs"
        per_poll = f"ETag {said} {abs(balance):.1f} bytes a poll."
        return f"With T = {interval_s:g} s {share:.0%} of the polls are empty: {per_poll}"

    return Exercise(
        "seconds",
        judge,
        f"At {right_s:.2f} s: e^(-{right_s * events_per_s:.2f}) is 52 / (52 + 23) = 0.69. Slower polls bring news too "
        "often for ETag to pay.",
        "first the share of empty polls at which 23 bytes saved make up for 52 lost; then e^(-lambda T) is that share.",
        question="With a cursor 304 saves 23 bytes of an empty poll and costs 52 with news. Events at "
        f"{events_per_s:g} a second, Poisson: up to which T does it pay?",
    )


EXERCISES: dict[str, Exercise | Drawn] = {
    "01.1": Drawn(_mean_of_a_second, {"one_way_s": (0.05,)}),
    "01.2": Drawn(_empty_share, {"every_s": (20, 25, 15, 30), "period_s": (10, 8, 12, 9)}),
    "01.3": Drawn(_where_304_pays, {"events_per_s": (1.0, 0.5, 2.0, 0.25, 0.4)}),
}
