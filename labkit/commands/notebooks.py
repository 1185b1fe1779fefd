"""``python -m labkit notebooks FOLDER``: the course, to be opened, run and changed.

A checkout has it beside the package, a wheel inside of it (pyproject.toml says so). What is installed is never opened
itself: an upgrade would take a reader's work away.
"""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labkit.errors import LabkitError
from labkit.measuring.rounding import counted

HELP = "copy the course: the notebooks, their solutions, the glossary"
FIRST = "00_start_here.ipynb"
LEFT_BY_RUNS = (".pcapng", ".har", ".parquet")
PACKAGE = Path(__file__).resolve().parents[1]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="where to; what was changed there stays as it is")


def run(arguments: argparse.Namespace) -> int:
    """Copy the course, and say what was left alone and how to open it.

    Raises:
        LabkitError: the folder cannot be written to.
    """
    folder: Path = arguments.folder
    copied = copy(folder)
    print(f"{folder}: {counted(len(copied.written), 'file')} copied, {len(copied.same)} there already")
    if copied.left:
        print(f"left as they are, since they differ from this release's: {', '.join(copied.left)}")
    print(f"open it:  cd {shlex.quote(str(folder))} && python -m labkit lab")
    return 0


@dataclass(frozen=True)
class Copied:
    """What became of each file of the course, by its path in the folder."""

    written: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """Those that differ: changed by a reader, saved with outputs, or of another release."""


def copy(folder: Path) -> Copied:
    """Copy the course into *folder*, over nothing that is there.

    Raises:
        LabkitError: the folder cannot be written to.
    """
    copied = Copied()
    try:
        for source in files(course()):
            name = source.relative_to(course()).as_posix()
            target = folder / name
            if not os.path.lexists(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                part = target.with_name(f".{target.name}.part")  # an interrupted copy is no changed notebook
                part.write_bytes(source.read_bytes())
                part.rename(target)
                copied.written.append(name)
            elif target.is_file() and target.read_bytes() == source.read_bytes():
                copied.same.append(name)
            else:
                copied.left.append(name)
    except OSError as error:
        raise LabkitError(f"the course cannot be copied to {folder}: {error}") from None
    return copied


def in_checkout() -> bool:
    """Whether this package stands in a checkout, whose notebooks are the reader's own."""
    return not (PACKAGE / "notebooks").is_dir()


def course() -> Path:
    """The folder of the course as this release has it."""
    return (PACKAGE.parent if in_checkout() else PACKAGE) / "notebooks"


def files(folder: Path) -> list[Path]:
    """Every file of the course in *folder*, without what Jupyter and runs leave behind."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in LEFT_BY_RUNS)
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def find_notebook(notebook: str) -> Path:
    """The notebook's path: as given, in ``./notebooks``, or in the course.

    Raises:
        LabkitError: it is in none of them.
    """
    return _find(notebook, [*_here(), course()])


def find_notebook_to_open(notebook: str) -> Path:
    """As :func:`find_notebook`, but outside of a checkout the course is the copy in the home folder, made if need be.

    Raises:
        LabkitError: the notebook is in none of them, or the copy cannot be made.
    """
    if in_checkout() or any((folder / notebook).is_file() for folder in _here()):
        return find_notebook(notebook)
    folder = Path.home() / "labkit-notebooks"
    copied = copy(folder)
    print(
        f"Your copy of the course: {folder}"
        + (f" ({counted(len(copied.written), 'new file')})" if copied.written else "")
    )
    return _find(notebook, [*_here(), folder])


def _here() -> list[Path]:
    return [Path.cwd(), Path.cwd() / "notebooks"]


def _find(notebook: str, folders: Sequence[Path]) -> Path:
    for folder in folders:
        if (folder / notebook).is_file():
            return (folder / notebook).resolve()
    raise LabkitError(f"{notebook} is neither in {' nor in '.join(map(str, folders[1:]))}. Name its path")
