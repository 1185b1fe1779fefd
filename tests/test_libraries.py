"""Which tests `make bounds` runs: those that try a library, and between them every file of labkit that needs one."""

from __future__ import annotations

from pathlib import Path

import pytest

import libraries
from libraries import LOWEST, PACKAGE, TOOLS, canonicalize_name, inside, other_releases, outside, pinned, tried_by

TESTS = [path for path in Path(__file__).parent.rglob("test_*.py") if path.parent.name != "jupyter"]
BOUND = set(pinned(LOWEST.read_text(encoding="utf-8").splitlines())) - TOOLS
FEW = BOUND - {"tornado"}
"""Those that most of the kit can do without: another Tornado is tried by most of the tests."""


def test_every_file_that_needs_a_library_is_within_two_imports_of_a_test_that_tries_one() -> None:
    needing = {path for path in PACKAGE.rglob("*.py") if FEW & set(map(canonicalize_name, outside(path)))}
    once = set().union(*(inside(read(test)) for test in TESTS if tried_by(test, FEW)))
    twice = once.union(*(inside(read(path)) for path in once))
    assert {path.relative_to(PACKAGE).as_posix() for path in needing - twice} == set()


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("source", "tried"),
    [
        ("import pandas as pd", {"pandas"}),
        ("def test():\n    from pandas import DataFrame", {"pandas"}),
        ('run([sys.executable, "-m", "hatchling"])', {"hatchling"}),
        ("import nest_asyncio2", {"nest-asyncio2"}),
        ("from labkit.measuring import run_file", {"pyarrow"}),  # through labkit.errors.package
        ("import labkit\nlabkit.verdicts", {"pandas"}),
        ("from labkit.wire import chunks", set()),
        ("import labkit\nlabkit.Lab", set()),  # what its routes stand on is for other tests
    ],
)
def test_a_test_tries_what_it_names_and_what_it_imports_needs(source: str, tried: set[str], tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(source)
    assert tried_by(tmp_path / "test_it.py", FEW) == tried


def test_only_another_release_is_worth_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "release", {"pandas": "2.2.3", "tornado": "6.6.1", "nest-asyncio2": "1.7.0"}.get)
    newest = ["pandas==3.1.1", "tornado==6.6.1", "-e git+https://example.org/labkit@main#egg=labkit"]
    lowest = ["# the lowest", "pandas==2.2.3", "tornado==6.6.1", "nest-asyncio2==1.7.0", "pytest==8.4.0"]
    assert other_releases(newest, lowest) == {"pandas", "nest-asyncio2"}
