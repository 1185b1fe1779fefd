"""Exercises with numbers of a student's own: asked, judged and solved with them."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import labkit
from labkit.claims import recording
from labkit.claims.exercises import Drawn, Exercise
from labkit.course import students
from labkit.course.answers import EXERCISES
from labkit.errors import LabkitError

SOLUTIONS = sorted((Path(__file__).parents[2] / "notebooks" / "solutions").glob("*.ipynb"))
STUDENTS = ("s1", "s2")


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LABKIT_CLAIMS", str(tmp_path / "claims.jsonl"))
    monkeypatch.setattr(students, "_student", None)
    monkeypatch.delenv(students.VARIABLE, raising=False)
    yield


def solve(notebook: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """Run the code of a notebook of solutions in a folder of its own: what it captures is one student's.

    Returns:
        The answers. What hands in something other than a value is not run.
    """
    folder.mkdir()
    names: dict[str, Any] = {}
    for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
        source = "".join(cell["source"])
        answered = re.findall(r'labkit\.answer\("([^"]+)"', source)
        if cell["cell_type"] == "code" and all(isinstance(EXERCISES[id], Exercise | Drawn) for id in answered):
            with contextlib.chdir(folder):
                exec(source, names)
    found = recording.answers()
    return {id: found[id] for id in EXERCISES if id.startswith(f"{notebook.name[:2]}.") and id in found}


@pytest.mark.parametrize("who", [None, *STUDENTS])
@pytest.mark.parametrize("notebook", SOLUTIONS, ids=lambda path: path.stem)
def test_the_solutions_are_right_for_whoever_is_named(notebook: Path, who: str | None, tmp_path: Path) -> None:
    if who is not None:
        labkit.student(who)
    found = solve(notebook, tmp_path / "own")
    assert found and all(answer["right"] for answer in found.values()), found
    for id, answer in found.items():
        assert answer.get("numbers_of") == ((who or "") if isinstance(EXERCISES[id], Drawn) else None)


@pytest.mark.parametrize("notebook", [path for path in SOLUTIONS if path.name < "06"], ids=lambda path: path.stem)
def test_two_students_compute_different_numbers_and_each_is_judged_by_their_own(notebook: Path, tmp_path: Path) -> None:
    first, second = STUDENTS
    labkit.student(first)
    ones = solve(notebook, tmp_path / first)
    labkit.student(second)
    others = solve(notebook, tmp_path / second)
    differ = [id for id in ones if ones[id]["value"] != others[id]["value"]]
    assert differ
    for id in differ:
        if isinstance(EXERCISES[id], Drawn):
            assert labkit.answer(id, eval(ones[id]["value"])).right is not True


@pytest.mark.parametrize("id", [id for id, exercise in EXERCISES.items() if isinstance(exercise, Drawn)])
def test_a_class_is_asked_different_questions_the_same_ones_everywhere(id: str) -> None:
    asked = set()
    for number in range(30):
        labkit.student(f"s{number}")
        asked.add(labkit.ask(id).text)
        labkit.student(f" S{number} ")
        assert labkit.ask(id).text in asked
    assert len(asked) > 2


FORMULAS: dict[str, tuple[Callable[..., float], dict[str, Callable[..., float]]]] = {
    "01.1": (
        lambda one_way_s: 2 * (1 - one_way_s),
        {
            "without d": lambda one_way_s: 2.0,
            "d twice": lambda one_way_s: 2 - 4 * one_way_s,
            "T and d": lambda one_way_s: 1 - one_way_s,
        },
    ),
    "01.2": (
        lambda every_s, period_s: math.exp(-period_s / every_s),
        {
            "no chance": lambda every_s, period_s: 1 - period_s / every_s,
            "the others": lambda every_s, period_s: 1 - math.exp(-period_s / every_s),
            "upside down": lambda every_s, period_s: math.exp(-every_s / period_s),
        },
    ),
    "01.3": (
        lambda events_per_s: math.log(75 / 52) / events_per_s,
        {
            "the share": lambda events_per_s: 52 / 75 / events_per_s,
            "the other share": lambda events_per_s: 23 / 75 / events_per_s,
            "of 52": lambda events_per_s: math.log(52 / 23) / events_per_s,
        },
    ),
    "02.1": (
        lambda one_way_s: 0.567 / (2 * one_way_s),
        {
            "d": lambda one_way_s: 0.567 / one_way_s,
            "half of the gap": lambda one_way_s: 0.5 / (2 * one_way_s),
            "ln 2": lambda one_way_s: math.log(2) / (2 * one_way_s),
        },
    ),
    "02.2": (
        lambda limits_s: min(limits_s) - 2,
        {
            "the limit": lambda limits_s: min(limits_s),
            "the largest": lambda limits_s: max(limits_s) - 2,
            "half": lambda limits_s: min(limits_s) / 2,
        },
    ),
    "02.3": (
        lambda one_way_s, hold_s: float(f"{3600 / (hold_s + 2 * one_way_s):.3g}"),
        {
            "no gap": lambda one_way_s, hold_s: 3600 / hold_s,
            "one transit": lambda one_way_s, hold_s: 3600 / (hold_s + one_way_s),
            "three": lambda one_way_s, hold_s: 3600 / (hold_s + 3 * one_way_s),
        },
    ),
}  # fmt: skip
"""The right formula of an exercise, and wrong ones that a lesson warns of."""


@pytest.mark.parametrize("id", FORMULAS)
def test_whatever_is_drawn_the_right_formula_is_right_and_a_wrong_one_is_wrong(id: str) -> None:
    drawn, (right, wrong) = EXERCISES[id], FORMULAS[id]
    assert isinstance(drawn, Drawn)
    among = drawn.among | ({"one_way_s": students.ONE_WAY_S} if "one_way_s" in drawn.among else {})
    for chosen in itertools.product(*among.values()):
        numbers = dict(zip(among, chosen, strict=True))
        judge = drawn.make(**numbers).judge
        assert judge(right(**numbers)) is None, numbers
        for name, formula in wrong.items():
            assert judge(formula(**numbers)) is not None, (name, numbers)


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, "nan", pytest.param(10**400, id="large"), pytest.param(10**5000, id="larger")]
)
def test_what_is_no_number_is_said_and_not_kept(value: Any) -> None:
    found = labkit.answer("01.1", value)
    assert found.right is False and "Expected a number (seconds), found" in str(found) and not recording.answers()


@pytest.mark.parametrize("hold_s", [0, -5])
def test_a_hold_that_is_none_is_said(hold_s: float) -> None:
    assert "A hold is above 0." in str(labkit.answer("02.2", hold_s))


def test_a_students_d_is_the_same_in_every_exercise() -> None:
    me = labkit.student("s1")
    drawn = [id for id, exercise in EXERCISES.items() if isinstance(exercise, Drawn)]
    found = {id: labkit.ask(id).numbers.get("one_way_s", me.one_way_s) for id in drawn}
    assert set(found.values()) == {me.one_way_s}


def test_the_cell_asks_with_the_numbers_of_whoever_was_named() -> None:
    assert str(labkit.answer("01.1", None)).startswith("No answer yet")
    me = labkit.student("s1")
    assert f"With the numbers of s1: d is {me.one_way_s:g} s." in str(labkit.answer("01.1", None))
    assert f"d is {me.one_way_s:g} s" in repr(labkit.ask("01.1")) and "01.1" in labkit.ask("01.1")._repr_html_()
    assert labkit.ask("03.3").numbers == {}


def test_code_in_a_question_keeps_its_spaces_on_the_page() -> None:
    labkit.student("s1")
    for shown in (labkit.ask("04.1")._repr_html_(), labkit.answer("04.1", None)._repr_html_()):
        assert '<code style="white-space: pre-wrap">event.data</code>' in shown
        assert re.search(r"pre-wrap\">b&#x27;data:  \w+\\ndata", shown)


def test_the_environment_names_a_student_for_every_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = labkit.ask("02.1").text
    monkeypatch.setenv(students.VARIABLE, "s1")
    assert labkit.ask("02.1").text != asked
    monkeypatch.setenv(students.VARIABLE, " ")
    assert labkit.ask("02.1").text == asked
    labkit.student("s1")
    monkeypatch.setenv(students.VARIABLE, "s2")
    assert students.present() == labkit.student("s1")


def test_a_name_in_the_environment_that_is_no_text_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(students.VARIABLE, b"Jos\xe9".decode("utf-8", "surrogateescape"))
    assert "expected a name" in str(labkit.answer("02.1", 1))
    with pytest.raises(LabkitError, match="expected a name"):
        labkit.ask("02.1")


def test_what_is_no_exercise_is_named() -> None:
    with pytest.raises(LabkitError, match="no exercise '77'"):
        labkit.ask("77")
    assert labkit.answer("77", 1).right is False
    for id in (["02.1"], None, 2.1, 10**5000):
        assert "no exercise" in str(labkit.answer(id, 1))  # type: ignore[arg-type]
