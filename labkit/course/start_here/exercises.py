"""The exercises of 00_start_here, 07_control_room and 12_where_the_server_lives."""

from __future__ import annotations

from labkit import theory
from labkit.claims.exercises import Drawn, Exercise
from labkit.course.asking import expected
from labkit.techniques.polling import POLLING


def _three_transits(one_way_s: float) -> Exercise:
    wanted_s = 3 * one_way_s

    def judge(poll_interval_s: float) -> str | None:
        if poll_interval_s <= 0:
            return "A poll interval is above 0."
        mean_s = expected(POLLING, {"interval_s": poll_interval_s}, theory.Path(one_way_s)).mean_s
        if abs(mean_s - wanted_s) <= wanted_s * 0.02:
            return None
        return f"With T = {poll_interval_s:g} s the mean is {mean_s * 1e3:.0f} ms, expected {wanted_s * 1e3:.0f} ms."

    return Exercise(
        "seconds",
        judge,
        f"With T = {4 * one_way_s:g} s the mean is T/2 + d = {wanted_s * 1e3:.0f} ms, at {0.25 / one_way_s:.3g} "
        "requests a second for each client.",
        f"the mean is T/2 + d, and d is {one_way_s * 1e3:.0f} ms.",
        question=f"By theory long polling is never later than three transits, {wanted_s * 1e3:.0f} ms where d is "
        f"{one_way_s * 1e3:.0f} ms. With which poll interval would interval polling be as late as that on average? In "
        "seconds.",
    )


def _busy_cells_a_minute(cell_s: float) -> Exercise:
    """n cells make a share n cell_s / 60 of the time busy; an event due then waits half a cell on average."""
    wait_s, most_s = cell_s / 2, 0.5

    def mean_s(cells: float) -> float:
        return cells * cell_s / 60 * wait_s

    right = int(most_s / mean_s(1) + 1e-9)

    def judge(cells: float) -> str | None:
        if cells == right:
            return None
        mean_ms = mean_s(cells) * 1e3
        return f"With {cells:g} cells a minute the mean over all events is {mean_ms:.0f} ms, expected at most 500 ms."

    return Exercise(
        "cells a minute",
        judge,
        f"{right} cells make the loop busy for {right * cell_s:g} s of 60, and an event due then waits {wait_s:g} s: "
        f"{right * cell_s / 60:.3g} x {wait_s:g} s = {mean_s(right) * 1e3:.0f} ms.",
        f"the share of the time that is busy, times what an event waits then, {wait_s:g} s on average; round down.",
        question="A dashboard is served from the kernel's own loop, and you run cells of "
        f"{cell_s:g} seconds beside it. Events come at random moments. How many such cells can you run in a minute if "
        "the mean latency of all events is to stay at or below half a second? A whole number.",
    )


def _rate_of_requests(one_way_s: float) -> Exercise:
    most = 1 / theory.request_gap(one_way_s)  # questions a second that 2d allows
    wanted = round(0.9 * most, 1)

    def judge(rate_per_s: float) -> str | None:
        if rate_per_s <= 0:
            return "A rate is above 0."
        requests = theory.long_polling_requests_per_s(rate_per_s, one_way_s, 30.0)
        if abs(requests - wanted) <= wanted / 60:
            return None
        return f"At {rate_per_s:g} events a second it asks {requests:.1f} times a second, expected {wanted:g}."

    return Exercise(
        "events a second",
        judge,
        f"Nine tenths of the {most:.3g} questions that 2d allows are asked, and events share answers.",
        f"at low rates it asks once for each event, at high rates {most:.3g} times a second; try {1.5 * most:.0f} and "
        f"{3 * most:.0f}.",
        question=f"Long polling never asks more often than once in 2d. With d = {one_way_s * 1e3:.0f} ms: at how many "
        f"events a second does it ask {wanted:g} times a second?",
    )


def _verdict(word: str) -> str | None:
    found = {
        "confirmed": "The interval is not inside the tolerance: 155 ms is above 150.",
        "refuted": "The interval is not outside the tolerance either: 140 ms is below 150.",
    }
    return None if word == "undecided" else found.get(word, f"{word!r} is not what an interval at the edge gives.")


EXERCISES: dict[str, Exercise | Drawn] = {
    "00.1": Drawn(_three_transits, {"one_way_s": (0.05,)}),
    "07.1": Drawn(_rate_of_requests, {"one_way_s": (0.05,)}),
    "12.1": Drawn(_busy_cells_a_minute, {"cell_s": (3.0, 2.5, 4.0, 3.5, 5.0)}),
    "99.1": Exercise(
        "",
        _verdict,
        "The interval straddles the edge. More events make it narrower, and then it will say one or the other.",
        "is the whole interval inside the tolerance, outside it, or neither?",
        read=lambda word: str(word).strip().lower(),
        kind="a verdict, as text",
    ),
}
