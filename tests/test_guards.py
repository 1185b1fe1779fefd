"""The guards of conftest.py catch what they are for: each is seen to fail here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import EXPERIMENTS, TIMED, UNIT, is_timed

ROOT = Path(__file__).parent.parent

LEAKS = """
import asyncio, logging, socket, subprocess, sys, threading, warnings
from labkit.loop import get_loop, submit

kept = []
stop = threading.Event()

def test_leaves_a_thread():
    threading.Thread(target=stop.wait, name="forgotten", daemon=True).start()

def test_leaves_a_socket():
    kept.append(socket.create_server(("127.0.0.1", 0)))

def test_leaves_a_socket_to_the_garbage_collector():
    box = [socket.create_server(("127.0.0.1", 0))]
    box.append(box)

def test_leaves_an_event_loop():
    kept.append(asyncio.new_event_loop())

def test_leaves_a_child_process():
    kept.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))

def test_leaves_a_task():
    kept.append(submit(asyncio.sleep(3600)))
    submit(asyncio.sleep(0)).result()  # by then the loop has begun it

def test_logs_a_warning():
    logging.getLogger("tornado.general").warning("went wrong")

def test_warns():
    warnings.warn("old", DeprecationWarning)

def test_a_log_record_that_was_looked_at_is_no_fault(caplog):
    logging.getLogger("tornado.general").warning("expected")
    assert "expected" in caplog.text
    caplog.clear()

def test_what_is_closed_is_no_fault():
    with socket.create_server(("127.0.0.1", 0)):
        pass
    thread = threading.Thread(target=str)
    thread.start()
    thread.join()
    submit(asyncio.sleep(0)).result()

def test_is_the_last():
    pass
"""

MESSAGES = {
    "test_leaves_a_thread": "threads still run: forgotten",
    "test_leaves_a_socket": "sockets, pipes or event loops are still open: socket:[0-9[\\]]+ 127.0.0.1:[0-9]+ LISTEN",
    "test_leaves_a_socket_to_the_garbage_collector": "unclosed <socket",
    "test_leaves_an_event_loop": "eventpoll",
    "test_leaves_a_child_process": "child processes were not waited for: [0-9]+ ",
    "test_leaves_a_task": "tasks on the lab loop are not done: .*sleep",
    "test_logs_a_warning": "Unexpected log record: WARNING tornado.general: went wrong",
    "test_warns": "DeprecationWarning: old",
}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest prints for LEAKS under this folder's conftest.py and this project's settings."""
    folder = tmp_path_factory.mktemp("leaks")
    (folder / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (folder / "test_leaks.py").write_text(LEAKS)
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml")]
    command += ["-p", "no:cacheprovider", "-p", "no:nbmake"]
    environment = {"LABKIT_TIME_SCALE": "0.2", "PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(folder)}
    done = subprocess.run(
        [*command, f"--rootdir={folder}", str(folder)],
        env=environment, cwd=folder, capture_output=True, text=True, timeout=60 * UNIT,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("test", MESSAGES)
def test_the_guard_fails_the_test_that_left_it(output: str, test: str) -> None:
    section = output.partition(f" {test} ___")[2].partition("\n____")[0]
    assert re.search(MESSAGES[test], section), output


def test_the_guards_let_everything_else_pass(output: str) -> None:
    blamed = set(re.findall(r"^(?:FAILED|ERROR) \S+::(\w+)", output, re.MULTILINE))
    assert blamed == {*MESSAGES, "test_is_the_last"}, output


def test_the_session_fails_for_what_is_left_at_its_end(output: str) -> None:
    assert "from a fixture that several tests share" in output


def test_what_compares_times_is_known_by_its_place_and_its_fixtures() -> None:
    assert [place for place in (*TIMED, *EXPERIMENTS) if not (ROOT / "tests" / place).exists()] == []
    assert is_timed("network/test_link.py", ())
    assert is_timed("course/polling/test_polling_course.py", ("tmp_path", "lab"))
    assert not is_timed("course/polling/test_polling_course.py", ("tmp_path",))
    assert not is_timed("lab/test_server.py", ("lab",))


def test_what_compares_work_is_timed_and_alone(request: pytest.FixtureRequest) -> None:
    """Whatever is marked ``alone`` leaves the tests that run beside each other, and nothing falls between the two."""
    items = [item for item in request.session.items if item.get_closest_marker("alone")]
    assert all(item.get_closest_marker("timing") for item in items)
