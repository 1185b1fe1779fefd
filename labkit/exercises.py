"""The notebooks' exercises: a check says what was expected, what was found, and gives a hint. It never raises."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from labkit import models


@dataclass(frozen=True)
class Report:
    """What came of an answer."""

    right: bool | None  # None: not answered yet
    text: str

    def __str__(self) -> str:
        return {True: "Right. ", False: "Not yet. ", None: ""}[self.right] + self.text

    __repr__ = __str__

    def _repr_html_(self) -> str:
        mark = {True: "✓", False: "✗", None: "…"}[self.right]
        return f"<p>{mark} {html.escape(str(self))}</p>"


@dataclass(frozen=True)
class Exercise:
    """One exercise: what a right answer is, in words, and how an answer is judged."""

    unit: str
    judge: Callable[[float], str | None]
    """None if the answer is right, else what was found."""
    expected: str
    hint: str


def answer(id: str, value: Any) -> Report:
    """Hand in an answer to the exercise *id*. None asks what kind of answer it wants."""
    exercise = EXERCISES.get(id)
    if exercise is None:
        return Report(False, f"There is no exercise {id!r}; there are: {', '.join(EXERCISES)}.")
    if value is None or value is Ellipsis:
        return Report(None, f"No answer yet: put a number ({exercise.unit}) in its place.")
    try:
        found = exercise.judge(float(value))
    except (TypeError, ValueError):
        return Report(False, f"Expected a number ({exercise.unit}), found {value!r:.60}.")
    if found is None:
        return Report(True, exercise.expected)
    return Report(False, f"{found} Hint: {exercise.hint}")


def _three_transits(poll_interval_s: float) -> str | None:
    if poll_interval_s <= 0:
        return "A poll interval is above 0."
    mean_s = models.polling_latency(poll_interval_s, 0.05).mean_s
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
    requests = models.long_polling_requests_per_s(rate_per_s, 0.05, 30.0)
    if abs(requests - 9) <= 0.15:
        return None
    return f"At {rate_per_s:g} events a second it asks {requests:.1f} times a second, expected 9."


EXERCISES = {
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
}
