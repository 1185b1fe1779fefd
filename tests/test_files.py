"""A file is written whole or not at all; what cannot be written is told before what takes its time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labkit import files
from labkit.errors import LabkitError


def test_where_a_file_can_be_nothing_is_said_and_nothing_made(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("stays")
    for name in ("new", "old"):
        files.check(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["old"] and (tmp_path / "old").read_text() == "stays"


def test_a_name_alone_is_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files.check("new")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("-", "it names no file"),
        ("folder", "it is a folder"),
        ("pipe", "no ordinary file"),
        ("nowhere/new", "nowhere is no folder"),
        ("pipe/new", "pipe is no folder"),
    ],
)
def test_what_cannot_be_written_is_told_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, why: str
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LabkitError, match=f"^{name} cannot be written: .*{why}"):
        files.check(name)


def test_a_folder_that_is_somebody_elses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is root may write anywhere, so the system's answer is given here."""
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (tmp_path, os.W_OK))
    with pytest.raises(LabkitError, match="nothing may be put into"):
        files.check(tmp_path / "new")


@pytest.mark.parametrize("name", ["x" * 300, ".", "x" * 300 + "/new"])
def test_a_name_that_no_file_can_have_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LabkitError, match="cannot be written"):
        files.write(name, "text")
    assert not list(tmp_path.iterdir())


def test_the_longest_name_that_a_file_can_have_is_one(tmp_path: Path) -> None:
    path = files.write(tmp_path / ("x" * 255), "text")
    assert path.read_text() == "text" and list(tmp_path.iterdir()) == [path]
