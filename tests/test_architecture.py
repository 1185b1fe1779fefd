"""Which room may import which, read from the source with ``ast`` and derived from the folders alone.

Every import counts: those inside functions, and those under ``if TYPE_CHECKING:``, since a reader follows them too.
A room may import from the rooms before it; no two files may import each other. The doors of the package,
``__init__`` and ``__main__``, may import anything, and nothing imports them.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from conftest import UNIT

PACKAGE = Path(__file__).parent.parent / "labkit"

ROOMS = (
    *("errors", "files", "loop", "painter", "progress", "sockets"),
    *("wire", "theory", "server", "client", "techniques", "lab", "network", "subscribing"),
    *("measuring", "strangers", "claims", "charts", "choosing", "webpage", "course", "room", "commands"),
)
"""From below to above."""
DOORS = ("__init__", "__main__")
PURE = ("wire", "theory", "claims", "charts")
IMPURE = {"asyncio", "tornado", "ipywidgets", "anywidget", "socket", "selectors", "ssl"}


def files(root: Path) -> dict[str, Path]:
    """The modules below *root*, by their dotted names from there."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return found


def imports_of(source: str, package: str = "labkit") -> Iterator[str]:
    """Full names of what *source* imports; *package* is the one that its relative imports start from."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            start = ".".join([*parts, *([node.module] if node.module else [])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


def graph_of(root: Path) -> dict[str, set[str]]:
    """For each module below *root*, the modules of that tree that it imports; the doors are left out."""
    modules = files(root)
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        if module in DOORS:
            continue
        package = ".".join(("labkit", *path.relative_to(root).parts[:-1]))
        graph[module] = set()
        for name in imports_of(path.read_text(encoding="utf-8"), package):
            top, _, rest = name.partition(".")
            if top != "labkit":
                continue
            below = rest if rest in modules else rest.rpartition(".")[0]
            graph[module].add(below or "__init__")
        graph[module] -= {module}
    return graph


def room(module: str) -> str:
    return module.partition(".")[0]


def slice_of(module: str) -> str:
    """The notebook that a module of the course serves; empty for what several of them share."""
    parts = module.split(".")
    return parts[1] if parts[0] == "course" and (PACKAGE / "course" / ".".join(parts[1:2])).is_dir() else ""


def upwards(graph: Mapping[str, set[str]]) -> set[tuple[str, str]]:
    """Imports that no room may make: of a room above, of another notebook's folder, of a door."""
    found = set()
    for module, wanted in graph.items():
        for other in wanted:
            is_door = other in DOORS
            is_up = not is_door and ROOMS.index(room(other)) > ROOMS.index(room(module))
            is_beside = slice_of(module) and slice_of(other) and slice_of(module) != slice_of(other)
            if is_door or is_up or is_beside:
                found.add((module, other))
    return found


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Files that import each other, one after the other; empty where there are none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@cache
def house() -> dict[str, set[str]]:
    return graph_of(PACKAGE)


def test_every_file_stands_in_a_room() -> None:
    assert {room(module) for module in files(PACKAGE)} - set(ROOMS) == set(DOORS)
    assert len(list(PACKAGE.glob("*.py"))) <= 8


def test_no_room_imports_one_above_it_nor_a_notebook_another() -> None:
    assert upwards(house()) == set()


def test_no_files_import_each_other() -> None:
    assert circle(house()) == []


@pytest.mark.parametrize("pure", PURE)
def test_a_pure_room_knows_no_event_loop_no_socket_and_no_widget(pure: str) -> None:
    for module, path in files(PACKAGE).items():
        if room(module) == pure:
            outside = {name.partition(".")[0] for name in imports_of(path.read_text(encoding="utf-8"))}
            assert outside & IMPURE == set(), module


@pytest.mark.parametrize(
    "module", [m for m in files(PACKAGE) if m not in DOORS and ROOMS.index(room(m)) < ROOMS.index("claims")]
)
def test_what_moves_or_measures_events_draws_nothing(module: str) -> None:
    source = files(PACKAGE)[module].read_text(encoding="utf-8")
    assert "plotly" not in {name.partition(".")[0] for name in imports_of(source)}


PLANTED = {
    "an import upwards": {"wire/a.py": "from labkit.charts import b", "charts/b.py": ""},
    "one for type checking": {
        "wire/a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import labkit.lab.b",
        "lab/b.py": "",
    },
    "one inside a function": {"wire/a.py": "def f():\n    from labkit.server.b import g", "server/b.py": "g = 1"},
    "of a door": {"wire/a.py": "import labkit.__main__", "__main__.py": ""},
    "of another notebook": {"course/polling/a.py": "from labkit.course.sse import b", "course/sse/b.py": ""},
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_import_that_must_not_be_is_refused(name: str, tmp_path: Path) -> None:
    planted(tmp_path, PLANTED[name])
    assert len(upwards(graph_of(tmp_path))) == 1


@pytest.mark.parametrize("back", ["from labkit.wire import a", "def f():\n    from labkit.wire.a import x"])
def test_a_planted_circle_is_found(back: str, tmp_path: Path) -> None:
    planted(tmp_path, {"wire/a.py": "from labkit.wire.b import y\nx = 1", "wire/b.py": f"y = 1\n{back}"})
    assert set(circle(graph_of(tmp_path))) == {"wire.a", "wire.b"}


def planted(root: Path, sources: Mapping[str, str]) -> None:
    for name, source in sources.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(source, encoding="utf-8")


@pytest.mark.parametrize(
    ("source", "package", "names"),
    [
        ("import asyncio.events", "labkit", {"asyncio.events"}),
        ("def f():\n    import tornado.web", "labkit", {"tornado.web"}),
        ("from labkit import hub, loop", "labkit", {"labkit.hub", "labkit.loop"}),
        ("from .hub import Hub", "labkit", {"labkit.hub.Hub"}),
        ("from ..hub import Hub", "labkit.techniques", {"labkit.hub.Hub"}),
        ("from . import base", "labkit.techniques", {"labkit.techniques.base"}),
        ("if TYPE_CHECKING:\n    import asyncio\nelse:\n    import json", "labkit", {"asyncio", "json"}),
        ("try:\n    import asyncio\nexcept ImportError:\n    pass", "labkit", {"asyncio"}),
    ],
)
def test_imports_are_read_wherever_they_stand(source: str, package: str, names: set[str]) -> None:
    assert set(imports_of(source, package)) == names


def fresh(code: str) -> str:
    """What *code* prints in an interpreter of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30 * UNIT, check=True)
    return done.stdout


def test_importing_labkit_loads_none_of_the_large_libraries() -> None:
    loaded = json.loads(fresh("import labkit, sys, json; print(json.dumps(sorted(sys.modules)))"))
    large = {"pandas", "pyarrow", "plotly", "tornado", "ipywidgets", "IPython", "numpy", "scipy", "asyncio"}
    assert {*large, "h11", "h2", "psutil", "websockets"}.intersection(loaded) == set()


def test_a_measurement_loads_nothing_that_only_its_tables_charts_and_exports_need() -> None:
    code = """if True:
        import json, sys, labkit
        with labkit.Lab() as lab:
            labkit.measure(lab, ["sse"], labkit.burst(1, 0.1, 0.1), progress=False)
        print(json.dumps(sorted(sys.modules)))"""
    loaded = {*json.loads(fresh(code))}
    tables = {"pandas", "numpy", "scipy", "pyarrow", "plotly", "ipywidgets", "IPython"}
    assert loaded & {*tables, "labkit.measuring.explain", "labkit.measuring.export", "labkit.course"} == set()


def test_importing_labkit_starts_no_thread_and_patches_no_loop() -> None:
    code = (
        "import asyncio, threading; before = (asyncio.run, asyncio.BaseEventLoop.run_until_complete)\n"
        "import labkit; after = (asyncio.run, asyncio.BaseEventLoop.run_until_complete)\n"
        "print(before == after, threading.active_count())"
    )
    assert fresh(code).split() == ["True", "1"]


@pytest.mark.alone
def test_importing_labkit_takes_no_longer_than_a_few_starts_of_python() -> None:
    """A ratio, since machines differ: Python alone starts in about 20 ms, so 10 of those are well under 0.3 s."""
    clock = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
    start = "import subprocess, sys; subprocess.run([sys.executable, '-c', ''])"
    python_s = min(float(fresh(clock.format(start))) for _ in range(3))
    labkit_s = min(float(fresh(clock.format("import labkit"))) for _ in range(3))
    assert labkit_s < 10 * python_s
