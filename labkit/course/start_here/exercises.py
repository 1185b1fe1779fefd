"""The exercises of 00_start_here, 07_control_room and 12_where_the_server_lives."""

from __future__ import annotations

from labkit import theory
from labkit.claims.exercises import Exercise
from labkit.course.asking import expected
from labkit.techniques.polling import POLLING


def _three_transits(poll_interval_s: float) -> str | None:
    if poll_interval_s <= 0:
        return "A poll interval is above 0."
    mean_s = expected(POLLING, {"interval_s": poll_interval_s}, theory.Path(0.05)).mean_s
    if abs(mean_s - 0.15) <= 0.15 * 0.02:
        return None
    return f"With T = {poll_interval_s:g} s the mean is {mean_s * 1e3:.0f} ms, expected 150 ms."


def _busy_cells_a_minute(cells: float) -> str | None:
    """n cells of 3 s make a share 3n/60 of the time busy; an event due then waits 1.5 s on average."""
    if cells == 6:
        return None
    mean_ms = cells * 3 / 60 * 1500
    return f"With {cells:g} cells a minute the mean over all events is {mean_ms:.0f} ms, expected at most 500 ms."


def _rate_of_nine_requests(rate_per_s: float) -> str | None:
    if rate_per_s <= 0:
        return "A rate is above 0."
    requests = theory.long_polling_requests_per_s(rate_per_s, 0.05, 30.0)
    if abs(requests - 9) <= 0.15:
        return None
    return f"At {rate_per_s:g} events a second it asks {requests:.1f} times a second, expected 9."


def _verdict(word: str) -> str | None:
    found = {
        "confirmed": "The interval is not inside the tolerance: 155 ms is above 150.",
        "refuted": "The interval is not outside the tolerance either: 140 ms is below 150.",
    }
    return None if word == "undecided" else found.get(word, f"{word!r} is not what an interval at the edge gives.")


EXERCISES: dict[str, Exercise] = {
    "00.1": Exercise(
        "seconds",
        _three_transits,
        "With T = 0.2 s the mean is T/2 + d = 150 ms, at five requests a second for each client.",
        "the mean is T/2 + d, and d is 50 ms.",
    ),
    "07.1": Exercise(
        "events a second",
        _rate_of_nine_requests,
        "At about 17 events a second: nine of the ten questions that 2d allows are asked, and events share answers.",
        "at low rates it asks once for each event, at high rates ten times a second; try 15 and 30.",
    ),
    "12.1": Exercise(
        "cells a minute",
        _busy_cells_a_minute,
        "Six cells make the loop busy for 18 s of 60, and an event due then waits 1.5 s: 0.3 x 1.5 s = 450 ms.",
        "the share of the time that is busy, times what an event waits then, 1.5 s on average; round down.",
    ),
    "99.1": Exercise(
        "",
        _verdict,
        "The interval straddles the edge. More events make it narrower, and then it will say one or the other.",
        "is the whole interval inside the tolerance, outside it, or neither?",
        read=lambda word: str(word).strip().lower(),
        kind="a verdict, as text",
    ),
}
