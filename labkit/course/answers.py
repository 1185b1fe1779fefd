"""The notebooks' exercises: a check says what was expected, what was found, and gives a hint. It never raises."""

from __future__ import annotations

import contextlib
from typing import Any

from labkit.claims import recording
from labkit.claims.exercises import Exercise, Report
from labkit.course.http_streaming import exercises as http_streaming
from labkit.course.long_polling import exercises as long_polling
from labkit.course.polling import exercises as polling
from labkit.course.relatives import exercises as relatives
from labkit.course.side_by_side import exercises as side_by_side
from labkit.course.sse import exercises as sse
from labkit.course.start_here import exercises as first
from labkit.course.websocket import exercises as websocket
from labkit.errors import LabkitError

__all__ = ["EXERCISES", "Exercise", "Report", "answer"]

EXERCISES: dict[str, Exercise] = dict(
    sorted(
        (id, exercise)
        for asked in (first, polling, long_polling, http_streaming, sse, websocket, relatives, side_by_side)
        for id, exercise in asked.EXERCISES.items()
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
        recording.keep_answer(id, value, found is None)
    return Report(True, exercise.expected) if found is None else Report(False, f"{found} Hint: {exercise.hint}")
