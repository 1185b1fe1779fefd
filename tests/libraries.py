"""Which test files try a library, read from the source: what ``make bounds`` runs.

A test file tries each library that it names, in what it imports and in code that it hands on, and each that a file of
labkit imports which it imports. What that file's own imports need is for their tests: the lab under nearly every test
has something of nearly every library.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.utils import canonicalize_name

import labkit

PACKAGE = Path(labkit.__file__).parent
LOWEST = PACKAGE.parent / "constraints-lower.txt"
TOOLS = {"hypothesis", "pytest", "pytest-timeout", "pytest-xdist"}
"""Libraries that tests are written with: whichever run try them."""


@cache
def older_here(newest: Path) -> frozenset[str]:
    """What has another release here than in the environment whose ``pip freeze`` is in a file."""
    lowest = LOWEST.read_text(encoding="utf-8")
    return frozenset(other_releases(newest.read_text(encoding="utf-8").splitlines(), lowest.splitlines()))


def other_releases(installed: Iterable[str], lowest: Iterable[str]) -> set[str]:
    """Of the libraries that have a *lowest* release, those that have another one here than among the *installed*.

    Both lists as ``pip freeze`` writes them. Where the newest release is the lowest, ``make test`` has tried it.
    """
    newest = pinned(installed)
    return {name for name in pinned(lowest) if release(name) != newest.get(name)} - TOOLS


def pinned(lines: Iterable[str]) -> dict[str, str]:
    """Releases by normalized name; a line of another form has none."""
    pairs = (line.split("#")[0].strip().split("==") for line in lines)
    return {canonicalize_name(pair[0]): pair[1] for pair in pairs if len(pair) == 2}


def release(name: str) -> str | None:
    """The release that is installed here."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def tried_by(test: Path, libraries: Collection[str]) -> set[str]:
    """Which of these *libraries*, by normalized name, a test file tries."""
    source = test.read_text(encoding="utf-8")
    found = set(re.findall(r"\w+", source)).union(*(outside(path) for path in inside(source)))
    return set(map(canonicalize_name, found)) & set(libraries)


def inside(source: str) -> set[Path]:
    """The files of labkit that a test's *source* imports; a public name of the package is of its home."""
    homes = {**labkit._HOMES, **labkit._MODULES}
    found = {name.partition(".")[2] for name in imports(source) if name.startswith("labkit.")}
    found |= set(re.findall(r"\blabkit\.(\w+)", source))
    return {path for name in found if (path := file(homes.get(name, name))) is not None}


@cache
def outside(path: Path) -> frozenset[str]:
    """What a file imports from outside of labkit, wherever it does."""
    return frozenset(name.partition(".")[0] for name in imports(path.read_text(encoding="utf-8")))


def imports(source: str) -> Iterator[str]:
    """Full names of what a *source* imports, by a statement or through ``labkit.errors.package``."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.Call(func=ast.Name("package"), args=[ast.Constant(str(name)), *_]):
                yield name


def file(dotted: str) -> Path | None:
    """The file of a module of labkit, or of the module that has this name."""
    for name in (dotted, dotted.rpartition(".")[0]):
        at = PACKAGE.joinpath(*name.split("."))
        for path in (at.with_suffix(".py"), at / "__init__.py"):
            if name and path.is_file():
                return path
    return None
