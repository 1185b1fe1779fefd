"""What a stranger's machine is told to install: pyproject.toml, environment.yml and the lower bounds agree."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from conftest import UNIT

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]

CARD = {"jupyterlab", "ipywidgets", "tornado", "nest-asyncio", "plotly", "nbmake"}

# conda-forge's names where they are not PyPI's, and what is asked of pip there
CONDA_NAMES = {"kaleido": "python-kaleido"}


def requirements(*extras: str) -> dict[str, Requirement]:
    """The package's own requirements and those of *extras*, by normalized name."""
    texts = [*PROJECT["dependencies"], *(text for extra in extras for text in EXTRAS[extra])]
    return {canonicalize_name(r.name): r for r in map(Requirement, texts)}


def listed(text: str) -> list[str]:
    """The items of every list in a YAML text that holds only lists of plain words."""
    return [item for item in re.findall(r"^\s*- (.+?)\s*$", text, re.MULTILINE) if not item.endswith(":")]


def lower_bound(requirement: Requirement) -> str | None:
    return next((s.version for s in requirement.specifier if s.operator == ">="), None)


def same_release(a: str | None, b: str) -> bool:
    """Whether 6.0 and 6.0.0 are one release."""
    return a is not None and Requirement(f"x=={a}").specifier.contains(b)


def test_the_six_packages_of_the_card_are_declared() -> None:
    assert CARD - set(requirements("notebook", "test")) == set()


def test_all_is_every_extra() -> None:
    (everything,) = map(Requirement, EXTRAS["all"])
    assert everything.extras == set(EXTRAS) - {"all"}


def test_environment_yml_lists_what_pyproject_does() -> None:
    wanted = {CONDA_NAMES.get(n, n): str(r.specifier) for n, r in requirements("notebook", "test").items()}
    items = listed((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert "-e .[notebook,test]" in items
    found = [Requirement(item) for item in items if not item.startswith("-e ") and item not in ("conda-forge", "pip")]
    named = {r.name: str(r.specifier) for r in found}
    assert named.pop("python") == PROJECT["requires-python"]
    assert named == wanted


def test_every_lower_bound_is_one_that_is_tried() -> None:
    lines = (ROOT / "constraints-lower.txt").read_text(encoding="utf-8").splitlines()
    tried = {r.name: next(iter(r.specifier)) for r in map(Requirement, (t for t in lines if t and t[0] != "#"))}
    bounds = {name: lower_bound(r) for name, r in requirements("notebook", "test").items()}
    assert set(tried) == set(bounds)
    untried = {n for n, s in tried.items() if s.operator != "==" or not same_release(bounds[n], s.version)}
    assert untried == set()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel as it would be published, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60 * UNIT)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        return opened


def test_the_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    files = {p.relative_to(ROOT).as_posix() for p in (ROOT / "labkit").rglob("*") if p.is_file()}
    files = {name for name in files if "__pycache__" not in name and "/." not in name}
    packed = set(wheel.namelist())
    assert files - packed == set()
    assert {name for name in packed - files if ".dist-info/" not in name} == set()


def test_the_wheel_holds_the_licence_and_the_command(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert any(name.endswith("LICENSE") for name in names)
    assert PROJECT["scripts"] == {"labkit": "labkit.__main__:main"}
    assert any(name.endswith("entry_points.txt") for name in names)
