"""What every test gets: a claims file of its own, one unit of time, and guards against what a test leaves behind.

A test fails when it leaves a thread, socket, pipe, event loop, child process or a task on the lab loop, or when a
warning or worse was logged. A test that provokes a log record asserts on ``caplog`` and then calls
``caplog.clear()``. Warnings are errors by pyproject.toml, unclosed sockets and files (ResourceWarning) included.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import importlib.util
import logging
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import psutil
import pytest

from labkit.loop import get_loop

# Every time-out in the tests is a multiple of this many seconds. A slow machine sets LABKIT_TIME_SCALE=3.
UNIT = float(os.environ.get("LABKIT_TIME_SCALE", "1"))

# How long what a test has closed may take to be gone.
SETTLE_S = 2 * UNIT
LOOKS = 25

HOW_TO_GET_CHROMIUM = (
    "Debian and Ubuntu: apt-get install -y chromium fonts-noto-cjk; elsewhere install Chromium or Chrome"
    " and set LABKIT_CHROMIUM to its path"
)
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# as root in a container, without a graphics card, and without requests of its own
CHROMIUM_FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync"
).split()

# A machine that is busy is slow, which Hypothesis would call flaky. In CI the same examples every time.
hypothesis.settings.register_profile("labkit", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("labkit")

# What `make test` runs in a real JupyterLab: the start notebook and the control room.
FIRST_IN_JUPYTER = ("test_control_room", "test_notebooks")

# What compares measured times runs after the rest (`make test`): these files, what else is marked so, and the course's
# experiments, which are the tests of it that want a lab. They wait for most of their time, so some run side by side;
# what compares the work of a core, or burns it, is marked `alone`.
TIMED = ("jupyter", "measuring/test_measurement.py", "network")
EXPERIMENTS = ("choosing", "course")

_failed = pytest.StashKey[bool]()


# -- what is left behind ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Held:
    """What this process holds at one moment."""

    threads: Counter[str]
    descriptors: Counter[str]
    children: Counter[str]
    tasks: Counter[str]

    @classmethod
    def now(cls) -> Held:
        return cls(threads(), descriptors(), children(), tasks())

    def beyond(self, before: Held) -> list[str]:
        """One sentence for each kind of thing held now and not *before*."""
        kinds = {
            "threads still run": self.threads - before.threads,
            "sockets, pipes or event loops are still open": self.descriptors - before.descriptors,
            "child processes were not waited for": self.children - before.children,
            "tasks on the lab loop are not done": self.tasks - before.tasks,
        }
        return [f"{kind}: {', '.join(sorted(map(named, left.elements())))}" for kind, left in kinds.items() if left]

    def within(self, before: Held) -> bool:
        """Whether all of it was held *before*: quickly, without a word of what is not."""
        kinds = ("threads", "descriptors", "children", "tasks")
        return all(getattr(self, kind) <= getattr(before, kind) for kind in kinds)


def threads() -> Counter[str]:
    # an event loop keeps the threads of its default executor (name resolution, files) for its whole life
    return Counter(f"{t.name} ({t.ident})" for t in threading.enumerate() if not t.name.startswith("asyncio_"))


def descriptors() -> Counter[str]:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        return Counter(f"fd {c.fd}" for c in psutil.Process().net_connections(kind="all"))
    links: Counter[str] = Counter()
    for entry in folder.iterdir():
        try:
            link = os.readlink(entry)
        except OSError:  # the listing's own descriptor, closed by now
            continue
        if link.startswith(("socket:", "pipe:", "anon_inode:[eventpoll]")):
            links[link] += 1
    return links


def named(link: str) -> str:
    """The descriptor's *link* with what tells a reader which socket it is: its addresses, its state."""
    for connection in psutil.Process().net_connections(kind="inet"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{connection.fd}") == link:
                ends = " to ".join(f"{end.ip}:{end.port}" for end in (connection.laddr, connection.raddr) if end)
                return f"{link} {ends} {connection.status}"
    return link


def children() -> Counter[str]:
    found: Counter[str] = Counter()
    for child in own_children():
        try:
            words = " ".join(child.cmdline())[:100] or child.name()
            found[f"{child.pid} {words}"] += 1
        except psutil.NoSuchProcess:
            continue
        except psutil.ZombieProcess:
            found[f"{child.pid} (ended)"] += 1
    return found


def own_children() -> list[psutil.Process]:
    """This process's children, as Linux lists them; elsewhere psutil looks at every process of the machine."""
    lists = list(Path("/proc/self/task").glob("*/children"))
    if not lists:
        return psutil.Process().children()
    found = []
    for each in lists:
        with contextlib.suppress(OSError, psutil.NoSuchProcess):  # a thread, or a child, that has just ended
            found += [psutil.Process(int(pid)) for pid in each.read_text().split()]
    return found


def tasks() -> Counter[str]:
    return Counter(f"{t.get_name()} {t.get_coro()}" for t in asyncio.all_tasks(get_loop()))


def left_behind(before: Held) -> list[str]:
    """What is held beyond *before* once it had time to close."""
    for look in range(LOOKS):  # a number of looks, not a time: a machine that is busy takes longer for each
        if Held.now().within(before):
            return []
        if look == 6:
            # What only garbage holds is closed by this, and its ResourceWarning then fails the test by itself. It
            # takes as long as dozens of tests: what is only being closed by then needs none.
            gc.collect()
        time.sleep(min(0.002 * 2**look, SETTLE_S / 20))
    return Held.now().beyond(before)


@pytest.fixture(scope="session", autouse=True)
def session_leaves_nothing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give the session a claims file, and fail at its end for what a shared fixture has left."""
    previous = os.environ.get("LABKIT_CLAIMS")
    os.environ["LABKIT_CLAIMS"] = str(tmp_path_factory.mktemp("claims") / "claims.jsonl")
    get_loop()  # the lab loop lives as long as the process: it is not what a test has left
    before = Held.now()
    yield
    left = left_behind(before)
    if previous is None:
        del os.environ["LABKIT_CLAIMS"]
    else:
        os.environ["LABKIT_CLAIMS"] = previous
    if left:
        pytest.fail("After the last test, from a fixture that several tests share: " + "; ".join(left), pytrace=False)


@pytest.fixture(autouse=True)
def leaves_nothing(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test that leaves something behind, or during which a warning or worse was logged."""
    get_loop()
    before = Held.now()
    yield
    if request.node.stash.get(_failed, False):
        return  # the traceback of a failed test keeps its sockets alive: one message is enough
    faults = [f"This test leaves something behind: {sentence}" for sentence in left_behind(before)]
    for record in (r for phase in ("setup", "call", "teardown") for r in caplog.get_records(phase)):
        if record.levelno >= logging.WARNING:
            faults.append(f"Unexpected log record: {record.levelname} {record.name}: {record.getMessage()}")
    if faults:
        pytest.fail("\n".join(faults), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.failed:
        item.stash[_failed] = True
    return report


# -- Chromium --------------------------------------------------------------------------------------------------------


def find_chromium() -> str | None:
    """The path of the Chromium to use: LABKIT_CHROMIUM, else the first of the usual names."""
    wanted = os.environ.get("LABKIT_CHROMIUM")
    return next(filter(None, map(shutil.which, [wanted] if wanted else CHROMIUM_NAMES)), None)


def why_no_browser() -> str | None:
    """Why browser tests cannot run here, and what to do; None if they can."""
    if find_chromium() is None:
        return f"no Chromium found. {HOW_TO_GET_CHROMIUM}"
    if importlib.util.find_spec("playwright") is None:
        return "Playwright is not installed: pip install playwright"
    return None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=0, help="of the simulated worlds in claims/test_power.py")
    parser.addoption(
        "--newest",
        type=Path,
        help="another environment's `pip freeze`: only test files that try a library of another release than there",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What ``make bounds`` need not run: :mod:`libraries` says why."""
    newest = config.getoption("--newest")
    if newest is None or collection_path.suffix != ".py":
        return None
    libraries = importlib.import_module("libraries")
    return True if not libraries.tried_by(collection_path, libraries.older_here(newest)) else None


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """What the simulated worlds are drawn with."""
    return int(request.config.getoption("--seed"))


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # started in the background of a shell: whatever the tests start would inherit a deaf ear for Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.environ.get("LABKIT_REQUIRE_CHROMIUM") == "1" and (reason := why_no_browser()):
        raise pytest.UsageError(f"LABKIT_REQUIRE_CHROMIUM=1, but {reason}")
    for name in os.environ.get("LABKIT_REQUIRE_PROGRAMS", "").split():
        if reason := importlib.import_module("labkit").real_intermediary(name).missing:
            raise pytest.UsageError(f"LABKIT_REQUIRE_PROGRAMS names it, but {reason}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = why_no_browser()
    tests = Path(__file__).parent
    if any((tests / "course") in item.path.parents for item in items):
        importlib.import_module("labkit.course.claims")  # declares every claim, whichever file is run alone
    for item in items:
        if tests / "jupyter" in item.path.parents:
            item.add_marker("browser")
            item.add_marker("alone")
            if item.path.stem not in FIRST_IN_JUPYTER and os.environ.get("LABKIT_ALL_IN_JUPYTER") != "1":
                item.add_marker(pytest.mark.skip(reason="`make test-browser` runs it (LABKIT_ALL_IN_JUPYTER=1)"))
        timed = is_timed(item.path.relative_to(tests).as_posix(), getattr(item, "fixturenames", ()))
        if timed or item.get_closest_marker("alone"):
            item.add_marker("timing")
        if reason and item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish() -> None:
    """What is there before the first test is no test's garbage: each collection would look at all of it again."""
    gc.collect()
    gc.freeze()


def is_timed(file: str, fixtures: Collection[str]) -> bool:
    """Whether a test of *file* with these fixtures compares measured times by its place in the tree."""
    return file.startswith(TIMED) or (
        file.startswith(EXPERIMENTS) and not {"lab", "run", "ages", "upstream"}.isdisjoint(fixtures)
    )


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium, for tests with the ``browser`` marker."""
    path = find_chromium()
    assert path is not None, "a test without the browser marker asks for Chromium"
    return path


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[object]:
    """A headless Chromium under Playwright's synchronous interface, one for each test file.

    While it is open, ``asyncio.run`` on the main thread is refused: Playwright's own loop runs there.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield opened
        opened.close()
