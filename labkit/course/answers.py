"""The notebooks' exercises: a check says what was expected, what was found, and gives a hint. It never raises.

Whoever was named with :func:`labkit.student` is asked, and judged, with numbers of that student's own.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from labkit.claims import recording
from labkit.claims.coding import Coding
from labkit.claims.exercises import Drawn, Exercise, Report, paragraph
from labkit.claims.values import as_given
from labkit.course import coding
from labkit.course.http_streaming import captured as stream_captured
from labkit.course.http_streaming import coding as http_streaming_coding
from labkit.course.http_streaming import exercises as http_streaming
from labkit.course.later_http import exercises as later_http
from labkit.course.long_polling import coding as long_polling_coding
from labkit.course.long_polling import exercises as long_polling
from labkit.course.polling import coding as polling_coding
from labkit.course.polling import exercises as polling
from labkit.course.relatives import exercises as relatives
from labkit.course.side_by_side import exercises as side_by_side
from labkit.course.sse import coding as sse_coding
from labkit.course.sse import exercises as sse
from labkit.course.start_here import exercises as first
from labkit.course.students import Student, present
from labkit.course.websocket import captured as websocket_captured
from labkit.course.websocket import coding as websocket_coding
from labkit.course.websocket import exercises as websocket
from labkit.course.when_it_does_not_work import exercises as when_it_does_not_work
from labkit.errors import LabkitError

__all__ = ["EXERCISES", "Coding", "Exercise", "Question", "Report", "answer", "ask"]

_ASKED = (
    first, polling, long_polling, http_streaming, sse, websocket, relatives, side_by_side, later_http,
    when_it_does_not_work, polling_coding, long_polling_coding, http_streaming_coding, stream_captured, sse_coding,
    websocket_coding, websocket_captured,
)  # fmt: skip
EXERCISES: dict[str, Exercise | Drawn | Coding] = dict(
    sorted((id, exercise) for asked in _ASKED for id, exercise in asked.EXERCISES.items())
)
LONGEST = 20_000  # characters of source that are kept
REPLACED = "It replaces your right answer: the newest counts, so hand that in again."
NOBODY = ""
"""Whose numbers they are that everybody has who was not named."""


@dataclass(frozen=True)
class Question:
    """An exercise as somebody is asked it. ``numbers`` are those in it, by name; none if it is the same for all."""

    id: str
    text: str
    numbers: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.numbers[name]

    def __str__(self) -> str:
        return f"{self.id}. {self.text}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return paragraph(str(self))


def ask(id: str) -> Question:
    """The question of the exercise *id*, with the numbers of whoever was named with :func:`labkit.student`.

    Raises:
        LabkitError: there is no such exercise.
    """
    exercise, numbers, _ = _asked(id, present())
    text = "" if isinstance(exercise, Coding) else exercise.question
    return Question(id, text or "The same for all: it stands in the notebook.", numbers)


def answer(id: str, value: Any) -> Report:
    """Hand in an answer to the exercise *id*. None asks what kind of answer it wants.

    Code is tried in a process of its own (:mod:`labkit.course.coding`): the report says which promises it keeps.
    """
    try:
        exercise, _, whose = _asked(id, present())
    except LabkitError as error:
        return Report(False, str(error))
    if isinstance(exercise, Coding):
        return _answer_code(id, exercise, value)
    wanted = f"{exercise.kind} ({exercise.unit})" if exercise.unit else exercise.kind
    if value is None or value is Ellipsis:
        own = f"With the numbers of {whose}: {exercise.question} " if whose else ""
        return Report(None, f"{own}No answer yet: put {wanted} in its place.")
    try:
        read = exercise.read(value)
        if isinstance(read, float) and not math.isfinite(read):
            raise ValueError("no number")
        found = exercise.judge(read)
    except LabkitError as error:  # it cannot be judged here
        return Report(None, str(error))
    except (TypeError, ValueError, ArithmeticError):
        return Report(False, f"Expected {wanted}, found {as_given(value, 60)}.")
    numbers_of = {} if whose is None else {"numbers_of": whose}
    report = Report(True, exercise.expected) if found is None else Report(False, f"{found} Hint: {exercise.hint}")
    return _kept(id, value, report, **numbers_of)


def _kept(id: str, value: object, report: Report, **more: Any) -> Report:
    """The report on an answer that has been kept, where that can be written: which replaces the one before."""
    who = present()
    by = {} if who is None else {"student": who.id}
    with contextlib.suppress(LabkitError, OSError):  # it is judged even where nothing can be read or written
        before = recording.answers(NOBODY if who is None else who.id).get(id)
        recording.keep_answer(id, value, report.right is True, **by, **more)
        if report.right is False and before is not None and before["right"]:
            return replace(report, text=f"{report.text} {REPLACED}")
    return report


def _answer_code(id: str, exercise: Coding, value: Any) -> Report:
    if value is None or value is Ellipsis:
        return Report(None, f"No answer yet: put {exercise.kind} in its place.")
    report, code = coding.report_on(exercise, value)
    if code is not None and report.right is not None:
        held = {one.sentence: one.held for one in report.kept}
        return _kept(id, code.name, report, source=code.text[:LONGEST], promises=held)
    return report


def _asked(id: str, who: Student | None) -> tuple[Exercise | Coding, dict[str, Any], str | None]:
    """The exercise, the numbers in it, and whose they are; None where they are the same for all.

    Raises:
        LabkitError: there is no such exercise.
    """
    if not isinstance(id, str) or id not in EXERCISES:
        raise LabkitError(f"There is no exercise {as_given(id, 60)}; there are: {', '.join(EXERCISES)}.")
    exercise = EXERCISES[id]
    if not isinstance(exercise, Drawn):
        return exercise, {}, None
    numbers = exercise.numbers(id) if who is None else exercise.numbers(id, who.id, who.numbers)
    return exercise.make(**numbers), numbers, NOBODY if who is None else who.id
