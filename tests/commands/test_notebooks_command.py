"""The course is copied over nothing that a reader has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.__main__ import main
from labkit.commands import notebooks

COURSE = Path(__file__).parents[2] / "notebooks"


def copied(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_all_of_the_course_is_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["notebooks", str(tmp_path / "a b")]) == 0
    names = copied(tmp_path / "a b")
    assert {"00_start_here.ipynb", "solutions/01_polling.ipynb", "glossary.md", "README.md"} <= names
    assert all((tmp_path / "a b" / name).read_bytes() == (COURSE / name).read_bytes() for name in names)
    said = capsys.readouterr().out
    assert f"{len(names)} files copied" in said and f"cd '{tmp_path / 'a b'}' &&" in said


def test_what_was_changed_stays_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["notebooks", str(tmp_path)])
    (tmp_path / "01_polling.ipynb").write_text("mine")
    (tmp_path / "README.md").unlink()
    (tmp_path / "README.md").symlink_to(tmp_path / "nowhere")
    (tmp_path / "glossary.md").unlink()
    capsys.readouterr()
    assert main(["notebooks", str(tmp_path)]) == 0
    assert (tmp_path / "01_polling.ipynb").read_text() == "mine"
    assert (tmp_path / "README.md").is_symlink()
    assert (tmp_path / "glossary.md").read_bytes() == (COURSE / "glossary.md").read_bytes()
    said = capsys.readouterr().out
    assert "1 file copied" in said and "differ from this release's: 01_polling.ipynb, README.md\n" in said


def test_what_jupyter_and_runs_leave_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    course = tmp_path / "course"
    (course / ".ipynb_checkpoints").mkdir(parents=True)
    (course / ".ipynb_checkpoints" / "00.ipynb").write_text("old")
    (course / "00.ipynb").write_text("new")
    (course / "03-capture.pcapng").write_text("somebody's")
    monkeypatch.setattr(notebooks, "course", lambda: course)
    assert notebooks.copy(tmp_path / "to").written == ["00.ipynb"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["notebooks", str(tmp_path / "file")]) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_in_a_checkout_the_lab_opens_the_checkouts_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert notebooks.find_notebook_to_open("00_start_here.ipynb") == COURSE / "00_start_here.ipynb"
    assert not (tmp_path / "home").exists()


def test_outside_of_one_a_notebook_that_is_here_is_opened_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebooks, "in_checkout", lambda: False)
    monkeypatch.setattr(notebooks, "course", lambda: COURSE)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.ipynb").write_text("{}")
    assert notebooks.find_notebook_to_open("mine.ipynb") == tmp_path / "mine.ipynb"
    assert not (tmp_path / "home").exists()
    (tmp_path / "home").mkdir()
    assert notebooks.find_notebook_to_open("01_polling.ipynb").parent == tmp_path / "home" / "labkit-notebooks"
