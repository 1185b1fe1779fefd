"""The notebooks' exercises: a check says what was expected, what was found, and gives a hint. It never raises."""

from __future__ import annotations

import contextlib
from typing import Any

from labkit import claims
from labkit.errors import LabkitError
from labkit.exercises import first, http_streaming, long_polling, polling, relatives, side_by_side, sse, websocket
from labkit.exercises.base import Exercise, Report

__all__ = ["EXERCISES", "Exercise", "Report", "answer"]

EXERCISES: dict[str, Exercise] = dict(
    sorted(
        {
            **first.EXERCISES,
            **polling.EXERCISES,
            **long_polling.EXERCISES,
            **http_streaming.EXERCISES,
            **sse.EXERCISES,
            **websocket.EXERCISES,
            **relatives.EXERCISES,
            **side_by_side.EXERCISES,
        }.items()
    )
)


def answer(id: str, value: Any) -> Report:
    """Hand in an answer to the exercise *id*. None asks what kind of answer it wants."""
    exercise = EXERCISES.get(id)
    if exercise is None:
        return Report(False, f"There is no exercise {id!r}; there are: {', '.join(EXERCISES)}.")
    wanted = f"{exercise.kind} ({exercise.unit})" if exercise.unit else exercise.kind
    if value is None or value is Ellipsis:
        return Report(None, f"No answer yet: put {wanted} in its place.")
    try:
        found = exercise.judge(exercise.read(value))
    except (TypeError, ValueError):
        return Report(False, f"Expected {wanted}, found {value!r:.60}.")
    with contextlib.suppress(LabkitError):  # an answer is judged even where nothing can be written
        claims.keep_answer(id, value, found is None)
    return Report(True, exercise.expected) if found is None else Report(False, f"{found} Hint: {exercise.hint}")
