"""The book of claims: every one is in it, open or recorded, as a table and as files; and the command that fills it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import UNIT
from labkit import charts
from labkit.claims import predicting, recording, verdicts
from labkit.commands import verdicts as command
from labkit.course.claims import CLAIMS
from labkit.errors import LabkitError


@pytest.fixture(autouse=True)
def own_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_CLAIMS", str(tmp_path / "claims.jsonl"))


def entry(id: str) -> verdicts.Entry:
    return next(entry for entry in verdicts.book() if entry.id == id)


def test_every_claim_is_open_before_anything_is_recorded() -> None:
    book = verdicts.book()
    assert {e.id for e in book} == set(CLAIMS)
    assert set(book.open) == {*CLAIMS} - {"S7b"}
    assert book.counts() == {"not run": 1, "open": len(CLAIMS) - 1}


def test_before_anything_is_recorded_the_page_and_the_chart_say_what_to_do() -> None:
    book = verdicts.book()
    assert book._repr_html_().startswith("<p><b>Nothing has been recorded on this machine yet.</b> Run a notebook")
    figure = charts.book(book)
    assert "in place of the dots" in figure.layout.annotations[0].text and not figure.data
    assert figure.layout.xaxis.visible is False and figure.layout.yaxis.visible is False
    recording.record("P1", 0.5, 0.5, "confirmed", "as theory has it", unit="s")
    assert "Nothing has been recorded" not in verdicts.book()._repr_html_()


def test_on_the_page_a_notebook_is_one_fold_whose_line_says_every_verdict() -> None:
    recording.record("P1", 0.5, 0.5, "confirmed", "as theory has it", unit="s", n=4)
    recording.record("B1", None, None, "not run", "no page <here>")
    page = verdicts.book()._repr_html_()
    folds = {fold.partition("</b>")[0]: fold for fold in page.split("<summary><b>")[1:]}
    assert set(folds) == {claim.notebook for claim in CLAIMS.values()}
    for id, claim in CLAIMS.items():
        line = folds[claim.notebook].partition("</summary>")[0]
        assert re.search(rf"\b{id}\b[^;]* . {entry(id).verdict.replace(' ', '.')}", line.replace("\xa0", " ")), id
    assert "<b>P1</b><br>✓" in folds["01_polling"] and "500 ms (n\xa0=\xa04)" in folds["01_polling"]
    assert "<li><b>P2</b> open: " in folds["01_polling"] and "<th" not in folds["07_control_room"]
    assert "<b>B1</b> not run" in folds["07_control_room"] and "no page &lt;here&gt;</li>" in folds["07_control_room"]
    assert page.count("<details open>") == 1 and "predicted</th>" not in page
    predicting.predict("P1", 0.25)
    assert "250 ms, 2 times too low</td>" in verdicts.book()._repr_html_()


def test_a_reason_that_is_folded_begins_with_a_whole_line() -> None:
    recording.record("P1", 0.5, None, "undecided", "all but:\nthe first\nand the second", n=4)
    shown = "<div>all but:</div><div>the first</div><details><summary>more</summary><div>and the second</div></details>"
    book = verdicts.book()
    assert f"{shown}</td>" in book._repr_html_() and ">n\xa0=\xa04</td>" in book._repr_html_()
    assert f"{shown}</li>" in book.having("undecided").reasons()._repr_html_()
    recording.record("P1", 0.5, 0.9, "refuted", "too late\nby far")
    assert "<div>too late</div><div>by far</div></li>" in verdicts.book().having("refuted").reasons()._repr_html_()


def test_a_claim_of_the_notes_that_no_notebook_tests_is_a_row_with_its_reason() -> None:
    assert entry("S7b").verdict == "not run" and "HTTP/3" in entry("S7b").cells()["reason"]
    assert "그 이후버전에서도" in verdicts.book()._repr_html_()
    assert "S7b not run: " in repr(verdicts.book().having("not run").reasons())
    assert "- **S7b**: " in verdicts.book().to_markdown()
    recording.record("S7b", None, 1, "confirmed", "it streams", unit="events")
    assert entry("S7b").verdict == "confirmed"


NOTES = {"N1", "P1", "P3", "L1b", "L2", "L5b", "L6", "L7", "S1", "S1b", "S1c", "S7", "S7b", "W1", "W2", "X1"}


def test_each_claim_of_the_founding_notes_has_its_row() -> None:
    assert {id for id, claim in CLAIMS.items() if "founding notes" in claim.source} == NOTES


def test_a_prediction_is_scored_by_what_its_own_notebook_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "00_start_here.ipynb")
    predicting.predict("P1", 0.4)
    recording.record("P1", 0.5, 0.8, "confirmed", "in 00", unit="s")
    monkeypatch.setenv("JPY_SESSION_NAME", "01_polling.ipynb")
    recording.record("P1", 0.6, 0.4, "confirmed", "in 01", unit="s")
    assert entry("P1").record and entry("P1").record.reason == "in 01"
    assert entry("P1").ratio == pytest.approx(0.5)
    monkeypatch.setenv("JPY_SESSION_NAME", "07_control_room.ipynb")
    predicting.predict("P1", 0.9)
    assert entry("P1").ratio is None


def test_each_claim_has_a_notebook_a_source_and_a_sentence() -> None:
    for id, claim in CLAIMS.items():
        assert claim.source and claim.sentence and claim.notebook, id


def test_the_newest_record_counts() -> None:
    recording.record("P1", 0.55, 0.9, "refuted", "too late", unit="s")
    recording.record("P1", 0.55, 0.56, "confirmed", "in time", unit="s")
    assert entry("P1").verdict == "confirmed"
    assert entry("P1").cells()["measured"] == "560 ms"
    assert "P1" not in verdicts.book().open


def test_a_prediction_is_scored_in_its_own_unit() -> None:
    recording.record("P1", 0.5, 0.5, "confirmed", "as theory has it", unit="s")
    predicting.predict("P1", 250, "ms")
    assert entry("P1").missed == "2 times too low"
    assert entry("P1").ratio == pytest.approx(0.5)


def test_what_cannot_be_compared_has_no_score() -> None:
    recording.record("A7", None, {"streamed": 5, "held": 0}, "confirmed", "seen", unit="events")
    predicting.predict("A7", 3, "events")
    assert entry("A7").missed == "" and entry("A7").ratio is None


def test_a_claim_of_ones_own_is_in_the_book() -> None:
    recording.record("mine", 1, 2, "refuted", "because", source="me")
    assert entry("mine").claim.source == "me"


def test_the_files_hold_everything(tmp_path: Path) -> None:
    recording.record("P1", 0.5, 0.51, "confirmed", "a | pipe\nand a line", unit="s", n=40)
    predicting.predict("P1", 0.6)
    written = verdicts.book().write(tmp_path / "out")
    content = json.loads(written[0].read_text("utf-8"))
    kept = next(claim for claim in content["claims"] if claim["id"] == "P1")
    assert kept["record"]["n"] == 40 and kept["prediction"]["value"] == 0.6
    assert len(content["claims"]) == len(CLAIMS)
    page = written[1].read_text("utf-8")
    assert "| P1 |" in page and "confirmed" in page
    assert all(line.count(" | ") == 8 for line in page.splitlines() if line.startswith("| P1"))


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LabkitError, match="cannot write the verdicts"):
        verdicts.book().write(tmp_path / "file" / "out")


def test_the_page_and_the_chart_show() -> None:
    recording.record("P1", 0.5, 0.5, "confirmed", "<as theory has it>\nand so", holds=["well"], unit="s")
    predicting.predict("P1", 0.25)
    book = verdicts.book()
    assert "<div>&lt;as theory has it&gt;</div><details><summary>more</summary>" in book._repr_html_()
    assert "- **P1**: <as theory has it>\n    - and so\n    - and 1 more that holds" in book.to_markdown()
    assert repr(book.reasons()).startswith("P1 confirmed: <as theory has it>\n  and so\nS7b not run: ")
    assert list(charts.book(book).data[0].x) == [0.5]


# python -m labkit verdicts


def written(path: Path, *cells: str) -> Path:
    import nbformat  # a second of CPU, for whoever only collects the tests

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(notebook, path)
    return path


RECORDS = 'from labkit import claims; claims.record("P1", 1, 1, "confirmed", "because")'


@pytest.mark.timeout(120 * UNIT)
def test_notebooks_are_run_and_what_they_record_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = written(tmp_path / "10_good.ipynb", RECORDS)
    bad = written(tmp_path / "11_bad.ipynb", RECORDS.replace("P1", "P2"), "1 / 0", RECORDS.replace("P1", "P3"))
    assert command.verdicts([str(good), str(bad)], tmp_path / "out") == 1
    printed = capsys.readouterr().out
    assert "[2/2] 11_bad" in printed and "ZeroDivisionError" in printed
    content = json.loads((tmp_path / "out" / "verdicts.json").read_text("utf-8"))
    found = {claim["id"]: claim["record"]["notebook"] for claim in content["claims"] if claim["record"]}
    assert found == {"P1": "10_good", "P2": "11_bad"}
    assert os.environ["LABKIT_CLAIMS"] == str(tmp_path / "claims.jsonl")


def test_a_notebook_that_is_not_there_is_one_error() -> None:
    with pytest.raises(LabkitError, match="nowhere"):
        command.verdicts(["nowhere"])


@pytest.mark.timeout(120 * UNIT)
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one child")
def test_an_interrupt_writes_what_there_is(tmp_path: Path) -> None:
    path = written(tmp_path / "10_long.ipynb", RECORDS, f"open({str(tmp_path / 'there')!r}, 'w').close()", SLEEP)
    words = [sys.executable, "-m", "labkit", "verdicts", str(path), "--out", str(tmp_path / "out")]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60 * UNIT
    while not (tmp_path / "there").exists():
        assert child.poll() is None and time.monotonic() < deadline, child.communicate()
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    out, error = child.communicate(timeout=30 * UNIT)
    assert child.returncode == 130, (out, error)
    assert "confirmed" in (tmp_path / "out" / "verdicts.md").read_text("utf-8")


SLEEP = "import time; time.sleep(600)"


def test_the_wrong_world_of_the_notebook_is_not_confirmed() -> None:
    """The cells of 99 that plant it, as they are; what its text says of them."""
    import nbformat

    notebook = nbformat.read(Path(__file__).parents[2] / "notebooks" / "99_verdicts.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    place = next(place for place, source in enumerate(code) if "class Slow" in source)
    names: dict[str, object] = {}
    body, _, judged = code[place + 1].rpartition("\n")
    for source in (code[0], code[place], body):
        exec(source, names)
    try:
        assert eval(judged, names).verdict in ("refuted", "undecided")  # undecided where the machine is too busy
    finally:
        names["lab"].close()  # type: ignore[attr-defined]
