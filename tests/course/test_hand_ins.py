"""A class of thirty: what of a folder counts, what does not, and why."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import labkit
from labkit.claims import predicting, recording
from labkit.course import hand_ins, students
from labkit.course.classroom import Class
from labkit.errors import LabkitError


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LABKIT_CLAIMS", str(tmp_path / "claims.jsonl"))
    monkeypatch.setattr(students, "_student", None)
    monkeypatch.delenv(students.VARIABLE, raising=False)
    yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "handed-in").mkdir()
    return tmp_path / "handed-in"


def one(who: str, folder: Path, **changes: Any) -> Path:
    """A hand-in as :func:`labkit.submit` writes it, with some members changed."""
    labkit.student(who)
    recording.record("P1", 0.5, 0.5, "confirmed", "as theory has it", unit="s")
    predicting.predict("P1", 0.5 + len(who) / 10)
    labkit.answer("01.1", 2 * (1 - labkit.ask("01.1")["one_way_s"]))
    path = labkit.submit(folder / f"{who}.json")
    if changes:
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")
    return path


def why(compared: object) -> dict[str, str]:
    """By the file's name, why it was left out."""
    assert isinstance(compared, Class)
    return {left.path.name: left.why for left in compared.left_out}


def test_thirty_hand_ins_with_five_bad_files_are_a_class_of_thirty(folder: Path) -> None:
    for number in range(30):
        one(f"s{number:02}", folder)
    (folder / "torn.json").write_bytes((folder / "s03.json").read_bytes()[:300])
    (folder / "other.json").write_text('{"name": "package", "version": 1}')
    (folder / "latin.json").write_bytes("Ren\u00e9".encode("latin-1"))
    (folder / "folder.json").mkdir()
    again = json.loads((folder / "s07.json").read_text("utf-8")) | {"written": "2020-01-01T00:00:00+00:00"}
    (folder / "s07-old.json").write_text(json.dumps(again))
    compared = labkit.compare(folder)
    assert isinstance(compared, Class) and len(compared) == 30
    found = why(compared)
    assert set(found) == {"torn.json", "other.json", "latin.json", "folder.json", "s07-old.json"}
    assert "s07 handed in again" in found["s07-old.json"] and "s07.json is newer" in found["s07-old.json"]
    assert "not JSON" in found["torn.json"] and "other JSON" in found["other.json"]
    assert found["latin.json"] == "not UTF-8" and found["folder.json"] == "a folder"
    lines = repr(compared).splitlines()
    assert lines[0] == "30 hand-ins" and len(lines) == 1 + 2 + 30 + 5
    assert all(line.startswith("left out: ") for line in lines[-5:]) and lines[3].startswith("s00")
    assert compared._repr_html_().count("left out: ") == 5
    assert set(compared.answered()["01.1"]) == {True} and set(compared.numbers()["01.1"]) == {"own"}


def test_the_newest_of_a_student_counts_whatever_the_order(folder: Path) -> None:
    times = {
        "b.json": "2026-11-27T09:00:00+00:00",
        "a.json": "2026-11-27T11:00:00+01:00",
        "c.json": "2026-11-27T10:30:00",
    }
    for name, written in times.items():
        one("ada" if name != "b.json" else " Ada", folder, written=written).rename(folder / name)
    compared = labkit.compare(*[folder / name for name in times])
    assert isinstance(compared, Class) and len(compared) == 1
    assert compared.handed_in[0]["written"] == times["c.json"]
    assert set(why(compared)) == {"a.json", "b.json"}


def test_the_same_file_twice_counts_once(folder: Path) -> None:
    path = one("ada", folder)
    (folder / "link.json").symlink_to(path)
    compared = labkit.compare(folder, path)
    assert isinstance(compared, Class) and len(compared) == 1
    assert len(compared.left_out) == 2 and all("the same file as" in left.why for left in compared.left_out)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "other JSON"),
        (b'{"labkit": true}', "other JSON"),
        (b'{"labkit": 2}', "newer labkit: format 2"),
        (b'{"labkit": 0}', "format 0"),
        (b"\xff", "not UTF-8"),
    ],
    ids=str,
)
def test_a_file_that_is_no_hand_in_is_left_out_with_its_reason(folder: Path, content: bytes, said: str) -> None:
    one("ada", folder)
    (folder / "bad.json").write_bytes(content)
    compared = labkit.compare(folder)
    assert isinstance(compared, Class) and len(compared) == 1
    assert said in why(compared)["bad.json"]


CLAIM = {"id": "P1", "verdict": "confirmed", "record": None, "prediction": None, "ratio": None}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"student": "bob"}, "student is 'bob'"),
        ({"student": {"id": 7}}, "student.id is 7"),
        ({"student": {"id": "  "}}, "student.id"),
        ({"student": {"id": "\ud800"}}, "student.id"),
        ({"written": "yesterday"}, "written is 'yesterday'"),
        ({"claims": {}}, "claims is {}"),
        ({"claims": [7]}, "claims[0] is 7"),
        ({"claims": [CLAIM | {"id": None}]}, "claims[0].id"),
        ({"claims": [CLAIM, CLAIM | {"ratio": "1"}]}, "claims[1].ratio is '1'"),
        ({"claims": [CLAIM | {"ratio": 0}]}, "claims[0].ratio is 0"),
        ({"claims": [CLAIM | {"ratio": math.nan}]}, "claims[0].ratio is nan"),
        ({"claims": [CLAIM | {"ratio": math.inf}]}, "claims[0].ratio is inf"),
        ({"claims": [CLAIM | {"record": {"measured": math.nan}}]}, "record.measured is nan"),
        ({"claims": [CLAIM | {"record": {"measured": [[1]]}}]}, "record.measured is [[1]]"),
        ({"claims": [CLAIM | {"record": {"measured": {"a": math.nan}}}]}, "record.measured is {'a': nan}"),
        ({"claims": [CLAIM | {"prediction": {"value": 1, "unit": 3}}]}, "prediction.unit is 3"),
        ({"claims": [CLAIM | {"prediction": [1]}]}, "prediction is [1]"),
        ({"answers": []}, "answers is []"),
        ({"answers": {"01.1": {"right": "yes"}}}, "right is 'yes'"),
        ({"answers": {"01.1": {"right": True, "numbers_of": 7}}}, "numbers_of is 7"),
    ],
    ids=str,
)
def test_a_hand_in_with_another_type_in_it_is_left_out_and_the_member_named(
    folder: Path, changes: dict[str, Any], said: str
) -> None:
    one("ada", folder)
    one("bob", folder, **changes)
    compared = labkit.compare(folder)
    assert isinstance(compared, Class) and len(compared) == 1
    assert said in why(compared)["bob.json"]
    repr(compared), compared._repr_html_(), compared.figure


def test_what_cannot_be_read_or_is_too_large_is_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one("ada", folder)
    (folder / "gone.json").symlink_to(folder / "nowhere")
    (folder / "round.json").symlink_to(folder / "round.json")
    (folder / "huge.json").write_bytes(b"")
    os.truncate(folder / "huge.json", hand_ins.MOST_BYTES + 1)
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.json")
    found = why(labkit.compare(folder))
    assert "cannot be read" in found["gone.json"] and "round.json" in found
    assert "too large" in found["huge.json"]
    assert found.get("pipe.json", "not a file") == "not a file"


def test_a_file_that_an_editor_gave_a_byte_order_mark_is_read(folder: Path) -> None:
    path = one("ada", folder)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(labkit.compare(folder)) == 1


def test_a_folder_without_any_is_said_beside_the_others(folder: Path, tmp_path: Path) -> None:
    path = one("ada", folder)
    (tmp_path / "none").mkdir()
    compared = labkit.compare(path, tmp_path / "none", tmp_path / "missing.json")
    found = why(compared)
    assert found["none"] == "no hand-in (*.json) in it" and "cannot be read" in found["missing.json"]


def test_a_table_says_whose_numbers_an_answer_was_judged_with(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labkit.answer("01.1", 1.9)  # before anybody was named
    labkit.answer("99.1", "undecided")  # the same for all
    labkit.student("ada")
    labkit.answer("01.2", 7)
    labkit.answer("02.1", 0.567 / 2 / labkit.ask("02.1")["one_way_s"])
    path = labkit.submit(folder / "ada.json")
    compared = labkit.compare(path)
    assert isinstance(compared, Class)
    numbers = {"01.1": "everybody's", "01.2": "own", "02.1": "own", "99.1": "the same for all"}
    assert compared.numbers().loc["ada"].to_dict() == numbers
    row = compared.students().loc["ada"]
    assert (row["answered"], row["right"], row["not_own_numbers"]) == (4, 3, 1)
    content = json.loads(path.read_text("utf-8"))
    content["student"]["id"] = "bob"
    (folder / "bob.json").write_text(json.dumps(content))
    other = labkit.compare(folder / "bob.json")
    assert isinstance(other, Class) and other.numbers().loc["bob", "02.1"] == "ada"
    assert other.students().loc["bob", "not_own_numbers"] == 2


def test_none_that_can_be_read_is_one_error(folder: Path) -> None:
    (folder / "a.json").write_text("")
    with pytest.raises(LabkitError, match=r"(?s)no hand-in that can be read.*a\.json: empty"):
        labkit.compare(folder)
