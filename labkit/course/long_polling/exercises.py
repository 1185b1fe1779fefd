"""The exercises of 02_long_polling."""

from __future__ import annotations

from labkit import theory
from labkit.claims.exercises import Drawn, Exercise


def _half_find_it_parked(one_way_s: float) -> Exercise:
    gap_s = theory.request_gap(one_way_s)

    def judge(rate_per_s: float) -> str | None:
        if rate_per_s <= 0:
            return "A rate is above 0."
        share = theory.long_polling_parked_share(rate_per_s, 30.0, gap_s)
        return (
            None if abs(share - 0.5) <= 0.02 else f"At {rate_per_s:g} events a second {share:.0%} find a parked poll."
        )

    return Exercise(
        "events a second",
        judge,
        f"Where a = e^-a, which is a = 0.567: with g = 2d = {gap_s * 1e3:g} ms about {0.567 / gap_s:.1f} events a "
        "second.",
        "the parked share is e^-a / (a + e^-a), with a = lambda g and g = 2d.",
        question=f"At which event rate does half of the events find a parked poll, with d = {one_way_s * 1e3:g} ms and "
        "a long hold?",
    )


def _safe_hold(limits_s: tuple[int, int, int]) -> Exercise:
    least_s = min(limits_s)

    def judge(hold_s: float) -> str | None:
        if hold_s <= 0:
            return "A hold is above 0."
        if hold_s >= least_s:
            return f"A hold of {hold_s:g} s is idle for {hold_s:g} s, and one on the path ends it after {least_s}."
        if hold_s >= least_s * 2 / 3:
            return None
        return f"{hold_s:g} s is safe, and asks {least_s / hold_s:.3g} times as often as it has to."

    balancer_s, nat_s, proxy_s = limits_s
    return Exercise(
        "seconds",
        judge,
        "A little below the smallest limit on the path: the others do not matter.",
        "which of them ends the connection first? Close to that one, and below it.",
        question=f"On your path, a load balancer ends idle connections after {balancer_s} s, a NAT after {nat_s} s, a "
        f"corporate proxy after {proxy_s} s. What hold do you ask for, in seconds?",
    )


def _idle_requests(one_way_s: float, hold_s: int) -> Exercise:
    cycle_s = hold_s + theory.request_gap(one_way_s)
    wanted = 3600 * theory.long_polling_requests_per_s(0.0, one_way_s, hold_s)

    def judge(requests: float) -> str | None:
        return None if abs(requests / wanted - 1) <= 0.005 else f"Found {requests:g}."

    return Exercise(
        "requests an hour",
        judge,
        f"A cycle is a hold and a gap, {cycle_s:g} s: 3600 / {cycle_s:g} = {wanted:.0f} requests an hour for each "
        "client, for nothing.",
        f"with no event, each poll is held for {hold_s} s, and the next is there 2d later.",
        question="Nothing ever happens. How many requests an hour, to three figures, does one client make with a hold "
        f"of {hold_s} s and d = {one_way_s * 1e3:g} ms?",
    )


EXERCISES: dict[str, Exercise | Drawn] = {
    "02.1": Drawn(_half_find_it_parked, {"one_way_s": (0.05,)}),
    "02.2": Drawn(_safe_hold, {"limits_s": ((60, 350, 30), (100, 350, 60), (300, 120, 100), (20, 120, 90))}),
    "02.3": Drawn(_idle_requests, {"one_way_s": (0.05,), "hold_s": (5, 2, 3, 4, 6)}),
}
