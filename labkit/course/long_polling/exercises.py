"""The exercises of 02_long_polling."""

from __future__ import annotations

from labkit import theory
from labkit.claims.exercises import Exercise

D_S = 0.05
LIMITS_S = (60, 350, 30)


def _half_find_it_parked(rate_per_s: float) -> str | None:
    if rate_per_s <= 0:
        return "A rate is above 0."
    share = theory.long_polling_parked_share(rate_per_s, 30.0, theory.request_gap(D_S))
    return None if abs(share - 0.5) <= 0.02 else f"At {rate_per_s:g} events a second {share:.0%} find a parked poll."


def _safe_hold(hold_s: float) -> str | None:
    if hold_s >= min(LIMITS_S):
        return f"A hold of {hold_s:g} s is idle for {hold_s:g} s, and one on the path ends it after {min(LIMITS_S)}."
    return (
        None
        if hold_s >= 20
        else f"{hold_s:g} s is safe, and asks {30 / max(hold_s, 1e-9):.1f} times as often as it has to."
    )


def _idle_requests(requests: float) -> str | None:
    expected = 3600 * theory.long_polling_requests_per_s(0.0, D_S, 30.0)
    return None if abs(requests / expected - 1) <= 0.03 else f"Found {requests:g}, expected about {expected:.0f}."


EXERCISES: dict[str, Exercise] = {
    "02.1": Exercise(
        "events a second",
        _half_find_it_parked,
        "Where a = e^-a, which is a = 0.567: with g = 2d = 100 ms about 5.7 events a second.",
        "the parked share is e^-a / (a + e^-a), with a = lambda g and g = 2d.",
    ),
    "02.2": Exercise(
        "seconds",
        _safe_hold,
        "A little below the smallest limit on the path: the others do not matter.",
        "which of them ends the connection first?",
    ),
    "02.3": Exercise(
        "requests an hour",
        _idle_requests,
        "A cycle is a hold and a gap, 30.1 s: 3600 / 30.1 = 120 requests an hour for each client, for nothing.",
        "with no event, each poll is held for 30 s, and the next is there 2d later.",
    ),
}
