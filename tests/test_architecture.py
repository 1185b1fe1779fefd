"""Which module may import which, read from the source with ``ast``.

Imports inside functions count; those under ``if TYPE_CHECKING:`` do not, since they never run. A package (``wire``,
``techniques``, ``charts``) counts as one module.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import UNIT

PACKAGE = Path(__file__).parent.parent / "labkit"

# Values in, values out: these import one another, and nothing that waits or draws on a screen.
PURE = {
    *("address", "backoff", "browser_clock", "browser_settings", "charts", "checks", "choosing", "claims"),
    *("confidence", "encoding", "errors", "events", "exercises", "hop_fields"),
    *("explain", "export", "homes", "ledger", "limits", "live_settings", "logbook", "models", "run_file", "runs"),
    *("schedules", "sources", "style", "summaries", "tallies", "verdicts", "wire"),
}
IMPURE = {"asyncio", "tornado", "ipywidgets", "anywidget"}
NO_SOCKETS = {"socket", "selectors", "ssl"}

# What moves events, from below to above: a module may import from its own row and from those before it.
ROWS = [
    {
        "loop",
        "pipe",
        "hub",
        "history",
        "topic",
        "subscriber",
        "heartbeat",
        "fanout",
        "kernels",
        "nested",
        "nesting",
        "tokens",
    },
    {
        *("context", "handler", "http1", "sockets", "connection", "http_connection", "http_client"),
        *("websocket_client", "websocket_server"),
        *("relay", "relay_chain", "relay_target", "relay_wire", "link"),
    },
    {"techniques"},
    {"exhibits"},
    {"following", "pages", "browser_socket"},
    {"server", "lab", "process", "intermediary"},
    {
        *("apparatus", "provenance", "measurement", "listening", "progress", "subscriptions", "residence", "teaching"),
        *("browser_rows", "live_window", "fleet"),
    },
    {"live", "live_source", "live_board", "live_charts", "panel_controls", "panel_workers"},
    {"panel", "browser"},
    {"experiments"},
    {
        *("soak", "classroom", "executing", "bench", "bench_costs", "bench_roles", "bench_sink"),
        *("jupyter", "report", "serving", "__main__", "__init__"),
    },
]
ROW_OF = {module: number for number, row in enumerate(ROWS) for module in row}

FILES = sorted(path for path in PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    """The module's name below ``labkit``, a package's name for every file in it."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


MODULES = sorted({module_of(path) for path in FILES})


def imports_of(source: str, package: str = "labkit") -> Iterator[str]:
    """Full names of what *source* imports at run time; *package* is the one that its relative imports start from."""
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            start = ".".join([*parts, *([node.module] if node.module else [])])
            yield from (f"{start}.{alias.name}" for alias in node.names)
        waiting.extend(ast.iter_child_nodes(node))


def imported(module: str) -> tuple[set[str], set[str]]:
    """(modules of labkit, top-level names from elsewhere) that *module* imports."""
    inside, outside = set(), set()
    for path in (p for p in FILES if module_of(p) == module):
        package = ".".join(("labkit", *path.relative_to(PACKAGE).parts[:-1]))
        for name in imports_of(path.read_text(encoding="utf-8"), package):
            top, _, rest = name.partition(".")
            if top != "labkit":
                outside.add(top)
            elif (below := rest.partition(".")[0]) in MODULES:
                inside.add(below)
    return inside - {module}, outside


def test_every_module_has_its_place() -> None:
    """A new module is put into PURE or into a row, so that the tests below hold it too."""
    assert set(MODULES) - PURE - set(ROW_OF) == set()


@pytest.mark.parametrize("module", sorted(PURE.intersection(MODULES)))
def test_a_pure_module_imports_no_event_loop_and_only_pure_modules(module: str) -> None:
    inside, outside = imported(module)
    assert inside - PURE == set()
    assert outside & IMPURE == set()


def test_wire_knows_no_sockets() -> None:
    assert imported("wire")[1] & NO_SOCKETS == set()


@pytest.mark.parametrize("module", sorted(set(ROW_OF).intersection(MODULES)))
def test_a_module_imports_nothing_from_a_row_above_its_own(module: str) -> None:
    above = {other for other, row in ROW_OF.items() if row > ROW_OF[module]}
    assert imported(module)[0] & above == set()


@pytest.mark.parametrize("module", sorted(m for m in MODULES if m in ROW_OF and ROW_OF[m] <= ROW_OF["measurement"]))
def test_what_moves_or_measures_events_draws_nothing(module: str) -> None:
    inside, outside = imported(module)
    assert inside & {"charts", "style"} == set()
    assert outside & {"plotly"} == set()


@pytest.mark.parametrize("module", [m for m in MODULES if m not in ("panel", "browser")])
def test_nothing_imports_the_panel_or_the_browser_module(module: str) -> None:
    assert imported(module)[0] & {"panel", "browser"} == set()


@pytest.mark.parametrize(
    ("source", "package", "names"),
    [
        ("import asyncio.events", "labkit", {"asyncio.events"}),
        ("def f():\n    import tornado.web", "labkit", {"tornado.web"}),
        ("from labkit import hub, loop", "labkit", {"labkit.hub", "labkit.loop"}),
        ("from .hub import Hub", "labkit", {"labkit.hub.Hub"}),
        ("from ..hub import Hub", "labkit.techniques", {"labkit.hub.Hub"}),
        ("from . import base", "labkit.techniques", {"labkit.techniques.base"}),
        ("if TYPE_CHECKING:\n    import asyncio\nelse:\n    import json", "labkit", {"json"}),
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
    assert {"pandas", "pyarrow", "plotly", "tornado", "ipywidgets", "IPython", "numpy"}.intersection(loaded) == set()


def test_importing_labkit_starts_no_thread_and_patches_no_loop() -> None:
    code = (
        "import asyncio, threading; before = (asyncio.run, asyncio.BaseEventLoop.run_until_complete)\n"
        "import labkit; after = (asyncio.run, asyncio.BaseEventLoop.run_until_complete)\n"
        "print(before == after, threading.active_count())"
    )
    assert fresh(code).split() == ["True", "1"]


def test_importing_labkit_takes_no_longer_than_a_few_starts_of_python() -> None:
    """A ratio, since machines differ: Python alone starts in about 20 ms, so 10 of those are well under 0.3 s."""
    clock = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
    start = "import subprocess, sys; subprocess.run([sys.executable, '-c', ''])"
    python_s = min(float(fresh(clock.format(start))) for _ in range(3))
    labkit_s = min(float(fresh(clock.format("import labkit"))) for _ in range(3))
    assert labkit_s < 10 * python_s
