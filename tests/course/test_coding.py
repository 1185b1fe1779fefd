"""Exercises whose answer is code: whatever is handed in, there is one clear report, and nothing stays."""

from __future__ import annotations

import inspect
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import promised
import psutil
import pytest
from promised import DOUBLE, HANDLER

import labkit
from cells import cell
from conftest import UNIT
from labkit.claims import recording
from labkit.claims.coding import CodeReport, Coding
from labkit.course import answers, coding, coding_child, students
from labkit.course.handed import NoSource, handed
from wait import until


@pytest.fixture(autouse=True)
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LABKIT_CLAIMS", str(tmp_path / "claims.jsonl"))
    monkeypatch.setattr(students, "_student", None)
    monkeypatch.setitem(answers.EXERCISES, "99.1", DOUBLE)
    yield


def report(text: str, exercise: Coding = DOUBLE, name: str = "double") -> CodeReport:
    found, _ = coding.report_on(exercise, cell(text)[name])
    return found


RIGHT = """
import operator
from fractions import Fraction
FACTOR = 2

def times(value):
    return operator.mul(value, FACTOR)

twice = times

def double(value):
    assert Fraction(1, 2)
    print("asked for", value)
    return twice(value)
"""


def test_what_the_code_uses_of_its_notebook_goes_along() -> None:
    found = report(RIGHT)
    assert found.right, found
    assert found.text == DOUBLE.expected and all(one.held for one in found.kept)
    assert "asked for 2\nasked for a\n" in found.printed
    text = handed(cell(RIGHT)["double"]).text
    assert text.index("import operator") < text.index("FACTOR = 2") < text.index("def times") < text.index("def double")


HELPERS = {
    "an exception that passes": "class Helper(ValueError):\n    pass\nuse = Helper.__name__",
    "an enumeration": "import enum\nclass Helper(enum.Enum):\n    ON = 1\n    OFF = 2\nuse = Helper.ON",
    "fields alone": "from dataclasses import dataclass\n@dataclass\nclass Helper:\n    size: int = 3\nuse = Helper()",
    "attributes alone": "class Base:\n    X = 1\nclass Helper(Base):\n    Y = 2\nuse = Helper.X",
    "a named tuple": "from typing import NamedTuple\nclass Helper(NamedTuple):\n    a: int\nuse = Helper(1)",
    "a named tuple by its call": "from collections import namedtuple\nHelper = namedtuple('Helper', 'a b')\nuse = 3",
    "an enumeration by its call": "from enum import Enum\nHelper = Enum('Helper', 'A B')\nuse = Helper.A",
    "a lambda": "Helper = lambda: 3\nuse = 3",
}


@pytest.mark.parametrize("name", HELPERS)
def test_a_class_without_methods_goes_along(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    cell("class Helper:\n    OTHER = 17", space := vars(main))
    cell(HELPERS[name], space)
    cell("def double(value):\n    assert Helper and use is not None\n    return 2 * value", space)
    found, _ = coding.report_on(DOUBLE, space["double"])
    assert found.right, found


def test_of_two_cells_with_a_class_of_one_name_the_one_that_made_it_is_taken() -> None:
    first = cell("class Helper:\n    FACTOR = 2\ndef double(value):\n    return value * Helper.FACTOR")
    cell("class Helper:\n    FACTOR = 3")
    assert coding.report_on(DOUBLE, first["double"])[0].right


def test_a_class_that_passes_is_an_answer_and_one_with_three_dots_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    for body, right in (("pass", False), ("...", None), ("get = lambda self: 17", True)):
        space = cell(f"from promised import Base\nclass Handler(Base):\n    {body}", vars(main))
        assert coding.report_on(HANDLER, space["Handler"])[0].right is right


def test_an_answer_is_kept_with_its_source_and_its_promises(tmp_path: Path) -> None:
    assert labkit.answer("99.1", cell("def double(value):\n    return value + 2")["double"]).right is False
    labkit.student("s1")
    content = json.loads(labkit.submit(tmp_path / "s1.json").read_text("utf-8"))
    kept = content["answers"]["99.1"]
    assert kept["source"] == "def double(value):\n    return value + 2\n" and kept["right"] is False
    assert list(kept["promises"].values()) == [True, False, True]
    assert labkit.answer("99.1", cell(RIGHT)["double"]).right
    assert recording.answers()["99.1"]["right"] is True


def test_a_student_hands_in_what_is_their_own(tmp_path: Path) -> None:
    right, wrong = (cell(f"def double(value):\n    return {body}")["double"] for body in ("2 * value", "value + 2"))
    labkit.answer("99.1", wrong)
    labkit.student("s1")
    assert labkit.answer("99.1", right).right
    labkit.answer("01.1", 2 * (1 - labkit.ask("01.1")["one_way_s"]))
    labkit.student("s3")
    assert labkit.answer("01.2", 7).right is False
    content = json.loads(labkit.submit(tmp_path / "s3.json").read_text("utf-8"))
    assert {id: answer["right"] for id, answer in content["answers"].items()} == {"99.1": False, "01.2": False}
    labkit.student(" S1 ")
    content = json.loads(labkit.submit(tmp_path / "s1.json").read_text("utf-8"))
    assert {id: answer["right"] for id, answer in content["answers"].items()} == {"99.1": True, "01.1": True}


def test_a_wrong_answer_says_that_it_replaces_a_right_one() -> None:
    right, wrong = (cell(f"def double(value):\n    return {body}")["double"] for body in ("2 * value", "value + 2"))
    assert answers.REPLACED not in str(labkit.answer("99.1", wrong))
    labkit.answer("99.1", right)
    assert answers.REPLACED in str(labkit.answer("99.1", wrong))
    labkit.student("s1")
    labkit.answer("01.1", 2 * (1 - labkit.ask("01.1")["one_way_s"]))
    labkit.student("s2")
    assert answers.REPLACED not in str(labkit.answer("01.1", 7))
    labkit.student("s1")
    assert answers.REPLACED in str(labkit.answer("01.1", 7))


@pytest.mark.parametrize("value", [None, ..., "skeleton"])
def test_no_answer_yet_is_said_and_nothing_is_kept(value: Any) -> None:
    if value == "skeleton":
        value = cell('def double(value):\n    """Twice."""\n    ...')["double"]
    found = labkit.answer("99.1", value)
    assert found.right is None and "No answer yet" in str(found) and recording.answers() == {}


def test_a_class_with_three_dots_in_a_method_is_no_answer_yet() -> None:
    space = cell(
        "class Handler(Base):\n    def get(self):\n        ...", {"__name__": "__main__", "Base": promised.Base}
    )
    found, _ = coding.report_on(HANDLER, space["Handler"])
    assert found.right is None


def test_a_class_goes_with_its_base_and_is_tried() -> None:
    space = cell("from promised import Base")
    found, code = coding.report_on(
        HANDLER, cell("class Handler(Base):\n    def get(self):\n        return 17", space)["Handler"]
    )
    assert found.right and code is not None and code.imports == ["from promised import Base"]


MISFITS = {
    "a number": ("double = 3", "found 3"),
    "the call": ("async def f(value): ...\ndouble = f(2)", "without calling it"),
    "a lambda": ("double = lambda value: 2 * value", "written with def"),
    "a coroutine function": ("async def double(value):\n    return 2 * value", "async def"),
    "a generator": ("def double(value):\n    yield 2 * value", "yield"),
    "too many parameters": ("def double(value, times):\n    return value * times", "yours is double(value, times)"),
    "a class": ("class double:\n    pass", "found the class double"),
    "a built-in": ("double = abs", "found <built-in function abs>"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_is_no_such_function_is_said_at_once(name: str) -> None:
    text, said = MISFITS[name]
    found = report(text)
    assert found.right is False and said in found.text and not found.kept, found


def test_an_object_or_another_class_is_no_such_class() -> None:
    space = cell("class Other:\n    pass")
    for value, said in ((promised.Base(), "the class itself"), (space["Other"], "is no Base"), (3, "found 3")):
        assert said in str(coding.report_on(HANDLER, value)[0])


def test_of_a_class_an_object_and_a_function_are_told_apart() -> None:
    reader = Coding("Reader, with feed(data)", HANDLER.promises, "17", form="class")
    space = cell("class Reader:\n    pass\ndef make():\n    pass")
    for value, said in (
        (space["Reader"](), "found one of its objects: hand in the class itself."),
        (space["make"], "found the function make: write class instead of def."),
        (b"", "found b'': hand in the class itself."),
    ):
        assert coding.report_on(reader, value)[0].text.endswith(said)


def test_parameters_in_another_order_are_said_at_once() -> None:
    pair = Coding("pair(first, second)", DOUBLE.promises, "two")
    for parameters, right in (("second, first", False), ("first, second", None), ("one, other", None)):
        found = coding.report_on(pair, cell(f"def pair({parameters}):\n    ...")["pair"])[0]
        assert found.right is right and ("in another order, pair(second, first)" in found.text) is (right is False)


def test_a_class_that_cannot_be_made_without_arguments_is_said_at_once() -> None:
    reader = Coding("Reader, with feed(data)", HANDLER.promises, "17", form="class")
    text = "class Reader:\n    def __init__(self, data{}):\n        pass\n    get = lambda self: 17"
    assert report(text.format("=b''"), reader, "Reader").right
    found = report(text.format(""), reader, "Reader")
    assert found.right is False and "made without arguments; yours is Reader(data)." in found.text and not found.kept


HOSTILE = {
    "raises": ("return {}['a']", "KeyError: 'a', in line 2 of double, `return {}['a']`"),
    "raises what cannot be said": (
        "class E(BaseException):\n        def __str__(self):\n            return 1 / 0\n    raise E()",
        "It raised E, in line 5",
    ),
    "exits": ("raise SystemExit", "SystemExit"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "ends its process": ("import os\n    os._exit(0)", "It ended the process"),
    "never ends": ("while True:\n        pass", "did not come back within"),
    "waits for ever": ("import threading\n    threading.Event().wait()", "`threading.Event().wait()`"),
    "lets nobody else run": ("return sum(range(10**15))", "did not come back within"),
    "prints without end": ("while True:\n        print('x' * 1000)", "did not come back within"),
    "takes all memory": ("x = []\n    while True:\n        x.append(bytes(1 << 28))", "MemoryError"),
    "goes too deep": ("return double(value)", "RecursionError"),
    "asks its user": ("return input()", "EOFError"),
    "uses the notebook's lab": ("return lab.x", "name 'lab' is not defined"),
    "returns something else": ("return double", "yours gives <function double"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_code_is_one_sentence_and_nothing_hangs(name: str) -> None:
    body, said = HOSTILE[name]
    began_s = time.monotonic()
    found = report(f"def double(value):\n    {body}")
    assert found.right is False and said in str(found), found
    assert found.hint and found.kept[0].held is False
    assert time.monotonic() - began_s < 60 * UNIT
    assert len(str(found)) < 5000


def test_what_has_nothing_to_do_with_the_promise_has_a_hint_of_its_own() -> None:
    for body, hint in (
        ("raise SystemExit", coding_child.ENDS_ALL),
        ("return nowhere", coding_child.NOT_THERE),
        ("return late\n    late = 2", coding_child.NOT_YET),
        ("return {}['a']", "twice the value"),
    ):
        assert report(f"def double(value):\n    {body}").hint == hint


def test_of_what_was_printed_the_newest_is_kept_and_the_rest_is_three_dots() -> None:
    found = report("def double(value):\n    print('a' * 3000 + 'b', end='')\n    return 2 * value")
    assert found.printed == "…" + "a" * (coding_child.PRINTED - 2) + "b"
    assert report("def double(value):\n    print(value)\n    return 2 * value").printed == "2\na\n3\n"


def test_a_line_that_never_ends_is_named_and_later_promises_were_not_tried() -> None:
    found = report("def double(value):\n    total = 0\n    while total >= 0:\n        total += 1")
    assert "in line 3 of double" in found.kept[0].how or "in line 4 of double" in found.kept[0].how
    assert [one.held for one in found.kept] == [False, None, None]


def test_what_the_code_starts_ends_with_it() -> None:
    found = report("""
        def double(value):
            import subprocess, sys
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
            print("pid", child.pid)
            return 2 * value
    """)
    assert found.right, found
    for line in found.printed.split("\n")[:-1]:
        pid = int(line.removeprefix("pid "))
        until(lambda pid=pid: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", f"{pid} ends")


def test_an_interrupt_ends_it_and_nothing_counts() -> None:
    def interrupt() -> None:
        begins = "labkit-coding"  # the thread that reads what the process says
        until(lambda: any(thread.name == begins for thread in threading.enumerate()), "it is being tried")
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    found = labkit.answer("99.1", cell("def double(value):\n    while True:\n        pass")["double"])
    interrupting.join()
    assert found.right is None and "Interrupted" in str(found) and recording.answers() == {}


def test_a_hint_may_be_about_the_very_fault() -> None:
    assert report("def double(value):\n    return value + 3").hint == "twice the value"
    assert report("def double(value):\n    return 2 * int(value) if value != 'a' else 'a'").hint == (
        "a text has a double as well"
    )


def test_code_whose_text_cannot_be_found_is_asked_for_in_a_cell() -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("def double(value):\n    return 2 * value", space)
    found, code = coding.report_on(DOUBLE, space["double"])
    assert code is None and "in a cell of its own" in found.text
    with pytest.raises(NoSource):
        handed(type("Unwritten", (promised.Base,), {}))


def test_what_was_not_tried_is_one_line_and_a_fault_is_told_once() -> None:
    found = report("def double(value):\n    return undefined")
    assert str(found).count("NameError") == 1 and str(found).count("As above.") == 2
    assert "Of 3 promises tried 0 are kept." in str(found)
    found = report("def double(value):\n    while True:\n        pass")
    assert "The first promise is broken." in str(found) and "· 2 more are tried once these are kept." in str(found)
    assert str(found).count("·") == 1 and found._repr_html_().count("·") == 1


def test_a_report_shows_every_promise_on_a_page_and_as_text() -> None:
    found = report("def double(value):\n    print('<b>')\n    return value + 2")
    shown = found._repr_html_()
    for one in DOUBLE.promises:
        assert one.sentence in shown and one.sentence in str(found)
    assert "&lt;b&gt;" in shown and "<b>\n" in str(found) and "Hint: twice the value" in shown
    assert "<details open>" in shown
    assert inspect.cleandoc(repr(found)) == str(found).strip()


def test_a_number_of_thousands_of_digits_is_no_code_either() -> None:
    for id, exercise in answers.EXERCISES.items():
        if isinstance(exercise, answers.Coding):
            assert "found <int>" in str(labkit.answer(id, 10**5000))
