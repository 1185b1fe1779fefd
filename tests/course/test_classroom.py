"""Students' own settings, what they hand in, and a class side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from unicodedata import normalize

import pytest

import labkit
from labkit.claims import predicting, recording
from labkit.course import classroom, students
from labkit.errors import LabkitError


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LABKIT_CLAIMS", str(tmp_path / "claims.jsonl"))
    monkeypatch.setattr(students, "_student", None)
    monkeypatch.delenv(students.VARIABLE, raising=False)
    yield


def hand_in(who: str, predicted: float, folder: Path, monkeypatch: pytest.MonkeyPatch, unit: str = "") -> Path:
    monkeypatch.setenv("LABKIT_CLAIMS", str(folder / f"{who}.jsonl"))
    labkit.student(who)
    recording.record("P1", 0.5, 0.5, "confirmed", "as theory has it", unit="s")
    predicting.predict("P1", predicted, unit)
    return labkit.submit(folder / f"{who}.json")


def test_a_student_has_the_same_settings_everywhere() -> None:
    first, again, other = labkit.student("s1"), labkit.student(" S1 "), labkit.student("s2")
    assert (first.one_way_s, first.poll_interval_s, first.rate_per_s, first.seed) == (
        again.one_way_s, again.poll_interval_s, again.rate_per_s, again.seed
    )  # fmt: skip
    assert first.seed != other.seed


def test_students_differ_in_each_setting() -> None:
    students = [labkit.student(f"s{i}") for i in range(40)]
    for setting in ("one_way_s", "poll_interval_s", "rate_per_s", "seed"):
        assert len({getattr(s, setting) for s in students}) > 2


@pytest.mark.parametrize("id", ["", "  ", None, 17, "\ud800"])
def test_a_student_without_a_name_is_refused(id: object) -> None:
    with pytest.raises(LabkitError, match="expected a name"):
        labkit.student(id)  # type: ignore[arg-type]


def test_a_student_measures_with_own_settings() -> None:
    me = labkit.student("s1")
    with labkit.Lab("classroom") as lab:
        run = me.measure(lab, ["websocket"], duration_s=1.0)
    assert run.settings["one_way_s"] == me.one_way_s
    assert run.settings["schedule"]["rate_per_s"] == me.rate_per_s


def test_a_hand_in_holds_claims_predictions_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labkit.answer("00.1", 0.2)
    recording.record("P1", 0.5, 0.5, "confirmed", "as theory has it", unit="s")
    predicting.predict("P2", 3)
    labkit.student("Ada Lovelace / 7")
    monkeypatch.chdir(tmp_path)
    path = labkit.submit()
    assert path.name == "labkit-Ada-Lovelace-7.json"
    content = json.loads(path.read_text("utf-8"))
    assert {claim["id"] for claim in content["claims"]} == {"P1", "P2"}
    assert content["answers"]["00.1"]["right"] is True
    assert content["student"]["id"] == "Ada Lovelace / 7"


@pytest.mark.parametrize("who", ["김철수", "Владимир", "Zoë"])
def test_a_file_has_the_name_of_its_student_in_any_alphabet(
    who: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for written in ("NFC", "NFD"):
        labkit.student(normalize(written, who))
        assert labkit.submit().name == f"labkit-{who}.json"
    assert list(labkit.compare(tmp_path).students().index) == [normalize("NFD", who)]


def test_the_newest_answer_counts_and_is_kept_before_it_is_right() -> None:
    labkit.answer("00.1", 7)
    assert recording.answers()["00.1"]["right"] is False
    labkit.answer("00.1", 0.2)
    assert recording.answers()["00.1"]["right"] is True


def test_an_answer_is_judged_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LABKIT_CLAIMS", str(tmp_path / "file" / "claims.jsonl"))
    assert labkit.answer("00.1", 0.2).right


def test_nobody_has_nothing_to_hand_in() -> None:
    with pytest.raises(LabkitError, match=r"labkit\.student"):
        labkit.submit()


def test_a_hand_in_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    labkit.student("s1")
    with pytest.raises(LabkitError, match="cannot be written"):
        labkit.submit(tmp_path / "missing" / "s1.json")
    with pytest.raises(LabkitError, match="expected a file"):
        labkit.submit(object())  # type: ignore[arg-type]
    labkit.student("a name that no file can have" * 10)
    with pytest.raises(LabkitError, match="cannot be written"):
        labkit.submit()


def test_a_class_shows_what_it_mispredicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hits = hand_in("ada", 0.5, tmp_path, monkeypatch)
    misses = hand_in("bob", 2.0, tmp_path, monkeypatch)
    compared = labkit.compare(hits, misses)
    assert isinstance(compared, classroom.Class) and len(compared) == 2
    table = compared.table().set_index("student")
    assert table.loc["ada", "ratio"] == pytest.approx(1) and table.loc["bob", "ratio"] == pytest.approx(4)
    assert compared.misses().loc["P1", "worst"] == pytest.approx(4)
    assert "P1" in str(compared.figure.layout.title.text)
    assert "P1" in compared._repr_html_()
    lines = repr(compared).splitlines()
    assert lines[0] == "2 hand-ins" and len(lines) == 5  # two of them are the head of the table
    assert [line.split()[0] for line in lines[3:]] == ["ada", "bob"]


def test_what_was_predicted_stands_in_the_unit_of_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hand_in("s1", 600, tmp_path, monkeypatch, "ms")
    table = labkit.compare(tmp_path / "s1.json").table().set_index("claim")
    assert table.loc["P1", ["predicted", "measured", "unit", "ratio"]].tolist() == [0.6, 0.5, "s", 1.2]


def test_a_claim_of_which_several_values_were_measured_is_handed_in_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = {"chunked": 5.0, "by EOF": 4.0, "length": 0}
    hand_in("s1", 0.6, tmp_path, monkeypatch)
    recording.record("S1", None, several, "refined", "an event each")
    for id, value in (("text", "yes"), ("truth", True), ("row", [1, 2])):
        recording.record(id, value, value, "derived", "my own")
    table = labkit.compare(labkit.submit(tmp_path / "again.json")).table().set_index("claim")
    found = table.loc[["S1", "text", "truth", "row"], "measured"].tolist()
    assert found == ["chunked: 5; by EOF: 4; length: 0", "yes", True, [1, 2]]


def test_a_folder_of_hand_ins_is_a_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    hand_in("ada", 0.5, tmp_path / "in", monkeypatch)
    hand_in("bob", 0.6, tmp_path / "in", monkeypatch)
    assert len(labkit.compare(tmp_path / "in")) == 2


def test_where_no_hand_in_can_be_read_that_is_one_error_with_each_reason(tmp_path: Path) -> None:
    (tmp_path / "torn.json").write_text("{")
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    for thing, said in (("torn.json", "torn"), ("other.json", "other"), ("none.json", "none"), ("empty", "no hand-in")):
        with pytest.raises(LabkitError, match=said):
            labkit.compare(tmp_path / thing)
    with pytest.raises(LabkitError, match=r"(?s)other\.json: other JSON.*torn\.json: not JSON"):
        labkit.compare(tmp_path)
    with pytest.raises(LabkitError, match="expected two or more runs"):
        labkit.compare(17)  # type: ignore[arg-type]
