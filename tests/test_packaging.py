"""What a stranger's machine is told to install: pyproject.toml, environment.yml and the lower bounds agree."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import labkit
from conftest import UNIT
from labkit import errors

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]

OPTIONAL = {
    "aiohttp",
    "aiohttp_sse_client",
    "brotli",
    "cryptography",  # trustme's own
    "h2",
    "hpack",  # h2's own, as is
    "hyperframe",
    "httpx",
    "httpx_sse",
    "sseclient",
    "trustme",
    "wsproto",
    "zstandard",
}  # if they are there
CARD = {"jupyterlab", "ipywidgets", "tornado", "nest-asyncio", "plotly", "nbmake"}

# conda-forge's names where they are not PyPI's, and what is asked of pip there
CONDA_NAMES = {"brotli": "brotli-python", "jupyterlab-pygments": "jupyterlab_pygments", "kaleido": "python-kaleido"}


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
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as it would be published, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60 * UNIT)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as opened:
        return set(opened.namelist())


def kept(folder: str) -> set[str]:
    """The files of a folder of the checkout, by their paths from its root, without what is cached or left there."""
    files = {p.relative_to(ROOT).as_posix() for p in (ROOT / folder).rglob("*") if p.is_file()}
    return {name for name in files if "__pycache__" not in name and "/." not in name and not name.endswith(".pcapng")}


def test_the_wheel_holds_every_file_of_the_package_and_the_course(wheel: Path) -> None:
    wanted = kept("labkit") | {f"labkit/{name}" for name in kept("notebooks")}
    packed = names(wheel)
    assert wanted - packed == set()
    assert {name for name in packed - wanted if ".dist-info/" not in name} == set()


def test_the_wheel_holds_the_licence_and_the_command(wheel: Path) -> None:
    packed = names(wheel)
    assert any(name.endswith("LICENSE") for name in packed)
    assert PROJECT["scripts"] == {"labkit": "labkit.__main__:main"}
    assert any(name.endswith("entry_points.txt") for name in packed)


def test_an_editable_installation_has_no_second_copy_of_the_course(tmp_path: Path) -> None:
    code = "import sys, hatchling.build; hatchling.build.build_editable(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=True, timeout=60 * UNIT)
    (path,) = tmp_path.glob("*.whl")
    assert {name for name in names(path) if ".dist-info/" not in name} == {"_labkit.pth"}
    with zipfile.ZipFile(path) as opened:
        assert Path(opened.read("_labkit.pth").decode().strip()) == ROOT.resolve()


# -- the plain installation, without what the notebooks need -----------------------------------------------------------

PLAIN = {"filelock", "h11", "platformdirs", "tornado", "websockets"}


def imported() -> set[str]:
    """What the package imports from outside itself and the standard library, wherever it does."""
    found = set()
    for path in (ROOT / "labkit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module or "")
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "package":
                found.add(ast.literal_eval(node.args[0]) if isinstance(node.args[0], ast.Constant) else "")
    return {name.partition(".")[0] for name in found} - set(sys.stdlib_module_names) - {"", "labkit", "__main__"}


def test_the_base_dependencies_are_few_and_what_is_beyond_them_is_named() -> None:
    assert set(requirements()) == PLAIN
    assert imported() - PLAIN - OPTIONAL == errors.NOTEBOOK


def plainly(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """``labkit WORDS`` where only the base dependencies can be imported."""
    code = (
        "import sys; from labkit.errors import NOTEBOOK; sys.modules.update(dict.fromkeys(NOTEBOOK));"
        "from labkit.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60 * UNIT,
    )  # fmt: skip


def test_the_plain_installation_listens_to_a_server(tmp_path: Path) -> None:
    with labkit.Lab("plain", history_events=1000) as lab:
        for i in range(3):
            lab.publish(f"event {i}")
        url = f"http://127.0.0.1:{lab.port}/sse?after=0"
        done = plainly(tmp_path, "measure", "--url", url, "--technique", "sse", "--seconds", "1")
    assert done.returncode == 0, done.stderr
    heads, row, *_ = done.stdout.splitlines()
    assert heads.split()[:2] == ["technique", "events"] and row.split()[:2] == ["sse", "3"]


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        ("measure --seconds 60", "pandas"),
        ("measure --url http://127.0.0.1:1 --technique sse --seconds 60 --out run.parquet", "pyarrow"),
        ("serve --source machine", "psutil"),
    ],
)
def test_what_the_plain_installation_goes_without_is_said_at_once(tmp_path: Path, words: str, missing: str) -> None:
    done = plainly(tmp_path, *words.split())
    wanted = f'labkit: this needs {missing}, which is not installed: pip install "labkit[notebook]"\n'
    assert (done.returncode, done.stdout, done.stderr) == (2, "", wanted)


def test_a_name_that_needs_the_extra_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    for name in [name for name in sys.modules if name.startswith("labkit.room")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(vars(labkit), "Panel", raising=False)
    with pytest.raises(errors.MissingPackage, match="ipywidgets"):
        _ = labkit.Panel


# -- a machine that has the wheel and no checkout ----------------------------------------------------------------------


@pytest.fixture
def stranger(wheel: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who has installed the wheel."""
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(tmp_path / "site")
    (tmp_path / "home").mkdir()
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path / "home")}
    environment |= {"JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"), "JUPYTER_CONFIG_DIR": str(tmp_path / "config")}
    environment.pop("JUPYTER_TOKEN", None)
    return environment


def command(environment: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "labkit", *words],
        cwd=environment["HOME"], env=environment, capture_output=True, text=True, timeout=60 * UNIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_installed_measures_and_brings_the_course(stranger: dict[str, str]) -> None:
    assert re.search(r"^sse +\d+ +0 ", command(stranger, "measure", "--seconds", "1", "--techniques", "sse"), re.M)
    command(stranger, "notebooks", "course")
    copied = Path(stranger["HOME"], "course")
    found = {f"notebooks/{p.relative_to(copied).as_posix()}" for p in copied.rglob("*") if p.is_file()}
    assert found == kept("notebooks")


def test_outside_a_checkout_the_lab_opens_a_copy_of_the_course(stranger: dict[str, str]) -> None:
    words = [sys.executable, "-m", "labkit", "lab", "--no-browser"]
    with subprocess.Popen(
        words, cwd=stranger["HOME"], env=stranger, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        address = next((line for line in process.stdout if "Ctrl-C" in line), "")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30 * UNIT)
    folder = Path(stranger["HOME"], "labkit-notebooks")
    assert first == f"Your copy of the course: {folder} ({len(kept('notebooks'))} new files)\n"
    assert "/lab/tree/00_start_here.ipynb" in address and process.returncode == 0
    assert (folder / "solutions" / "00_start_here.ipynb").is_file()
