"""A lab in a process of its own: same methods, survives interrupts, ends with its parent, leaves nothing behind."""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from test_lab import get, refused

from conftest import UNIT
from labkit import measure
from labkit.errors import EventTooLarge, LabClosed, LabkitError, NoAnswer
from labkit.lab.lab import Lab
from labkit.lab.process import Child
from labkit.measuring.endless import LiveRun
from labkit.measuring.schedules import periodic
from labkit.measuring.settings import Settings
from labkit.server.hub import TooManyTopics
from labkit.techniques import TECHNIQUES
from test_loop import script
from wait import dial, until

TIMEOUT_S = 10 * UNIT


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab("apart", process=True) as lab:
        yield lab


def under_way(lab: Lab) -> bool:
    """Whether a call to the lab's process is waiting for its answer."""
    assert isinstance(lab._server, Child)
    return lab._server._calls._since_s is not None


def in_vain(lab: Lab) -> bool:
    """Whether it waits for one that cannot come: the process stands still, and what it had answered has been read."""
    assert isinstance(lab._server, Child)
    if psutil.Process(lab.pid).status() != psutil.STATUS_STOPPED:
        return False
    since_s = lab._server._calls._since_s
    return since_s is not None and time.monotonic() - since_s > 0.3 * UNIT


def stop(lab: Lab) -> int:
    """Make the lab's process stand still."""
    assert lab.pid is not None
    os.kill(lab.pid, signal.SIGSTOP)
    until(lambda: psutil.Process(lab.pid).status() == psutil.STATUS_STOPPED)
    return lab.pid


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def child_gone(pid: int) -> None:
    until(lambda: gone(pid), "an orphan")


# -- the same methods -------------------------------------------------------------------------------------------------


def test_it_has_the_same_methods(lab: Lab) -> None:
    assert lab.publish("한글") == 1 and lab.publish(b"\xff") == 2 and lab.publish("x", "jobs") == 1
    assert b'{"id":1,"data":"\xed\x95\x9c\xea\xb8\x80"},{"id":2,"base64":"/w=="}' in get(lab.port)
    assert re.fullmatch(r"2@[a-z0-9]{4,12}", lab.cursor()) and lab.cursor("nothing").startswith("0@")
    assert lab.stats()["published"] == 3 and lab.stats()["topics"] == 2
    assert lab.pid is not None and os.getsid(lab.pid) != os.getsid(0)
    assert "process" in repr(lab) and lab.pid != os.getpid() and lab.url_of("sse") == f"{lab.url}/sse"
    event = lab.publish_event("stamped")
    assert event.id == 3 and event.data == "stamped"


def test_the_stamp_is_taken_in_the_caller(lab: Lab) -> None:
    before = time.perf_counter_ns()
    event = lab.publish_event("x")
    assert before <= event.published_ns <= time.perf_counter_ns()


def test_data_and_a_topic_of_a_cells_own_class_are_carried_as_what_they_are() -> None:
    done = script(
        "import enum, labkit\n"
        "class Level(str, enum.Enum): HIGH = 'high'\n"
        "class Raw(bytes): pass\n"
        "with labkit.Lab(process=True) as lab:\n"
        "    print(lab.publish(Level.HIGH), lab.publish(Raw(b'x')))\n"
        "    print(lab.publish('x', Level.HIGH), lab.cursor('high')[0])\n"
    )
    assert done.stderr == "" and done.stdout == "1 2\n1 1\n"


def test_a_message_that_the_child_cannot_read_is_an_error_of_that_call_alone() -> None:
    done = script(
        "import labkit\n"
        "class Origin(str): pass\n"
        "with labkit.Lab(process=True) as lab:\n"
        "    try:\n"
        "        lab.allow_origin(Origin('http://a.example'))\n"
        "    except AttributeError as error:\n"
        "        print(error)\n"
        "    print(lab.publish('next'))\n"
    )
    assert done.stderr == "" and "'Origin'" in done.stdout and done.stdout.endswith("\n1\n")


def test_errors_are_the_same_as_in_the_kernel() -> None:
    with Lab("apart", process=True, max_event_bytes=10, max_topics=1) as lab:
        with pytest.raises(EventTooLarge):
            lab.publish("x" * 11)
        with pytest.raises(TypeError):
            lab.publish(None)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="lone surrogate"):
            lab.publish("\ud83d")
        with pytest.raises(ValueError, match="origin"):
            lab.allow_origin("null")
        with socket.create_connection(("127.0.0.1", lab.port), timeout=TIMEOUT_S) as sock:
            lab.publish("a", "one")
            sock.sendall(b"GET /sse?topic=one HTTP/1.1\r\nHost: localhost\r\n\r\n")
            sock.recv(1 << 16)
            with pytest.raises(TooManyTopics):
                lab.publish("b", "two")
        assert lab.publish("c", "one") == 2


def test_a_bad_option_is_the_same_error_and_leaves_no_process() -> None:
    with pytest.raises(ValueError, match="drop-oldest"):
        Lab("apart", process=True, slow="drop")
    with pytest.raises(TypeError, match="hst"):
        Lab("apart", process=True, hst=1)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(LabkitError, match="is in use"):
        Lab("apart", process=True, port=taken.getsockname()[1])


def test_a_bad_option_leaves_the_running_lab_as_it_is(lab: Lab) -> None:
    of_nobody = replace(TECHNIQUES[0], name="mine", route="/mine", client=lambda opening: None)
    with pytest.raises(ValueError, match="queue"):
        Lab("apart", process=True, queue=0)
    with pytest.raises(LabkitError, match="can be imported"):
        Lab("apart", process=True, techniques=[of_nobody])
    assert lab.publish("still here") == 1 and get(lab.port).startswith(b"HTTP/1.1 200")


def test_publish_and_wait_waits_for_subscribers(lab: Lab) -> None:
    with socket.create_connection(("127.0.0.1", lab.port), timeout=TIMEOUT_S) as sock:
        sock.sendall(b"GET /http-streaming HTTP/1.1\r\nHost: localhost\r\n\r\n")
        sock.recv(1 << 16)
        assert asyncio.run(lab.publish_and_wait("a")) == 1
        assert lab.stats()["delivered"] == 1


def test_threads_and_coroutines_publish_at_once_without_holes(lab: Lab) -> None:
    ids: list[int] = []
    threads = [threading.Thread(target=lambda: ids.extend(lab.publish("x") for _ in range(100))) for _ in range(4)]
    for thread in threads:
        thread.start()
    ids += [lab.publish("from the main thread") for _ in range(100)]
    for thread in threads:
        thread.join()
    assert sorted(ids) == list(range(1, 501))


@pytest.mark.alone
def test_usage_is_of_the_child_alone(lab: Lab) -> None:
    before = lab.usage()
    assert before is not None and 1 << 20 < before["rss_bytes"] < 1 << 30
    spent = time.process_time()
    while time.process_time() < spent + 0.3:  # this process burns, the child does not
        pass
    after = lab.usage()
    assert after is not None and 0 <= after["cpu_s"] - before["cpu_s"] < 0.15


def test_what_a_technique_prints_does_not_get_between_the_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "talkative.py").write_text(
        "from labkit.techniques.polling import PollingHandler\n"
        "print('imported')\n"
        "class Talkative(PollingHandler):\n"
        "    async def get(self):\n"
        "        print('asked', flush=True)\n"
        "        await super().get()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    mine = replace(TECHNIQUES[0], name="mine", route="/mine", handler=importlib.import_module("talkative").Talkative)
    with Lab("apart", process=True, techniques=[mine]) as lab:
        for number in range(1, 4):
            assert lab.publish("x") == number
            assert get(lab.port, f"/mine?after={number - 1}").count(b'"data":"x"') == 1


def test_a_lab_apart_and_a_lab_here_replace_each_other_on_the_same_ports() -> None:
    with Lab("either") as first, Lab("either", process=True) as second, Lab("either") as third:
        assert first.closed and second.closed and first.ports == second.ports == third.ports
        assert third.publish("x") == 1 and b'"x"' in get(third.port)


# -- techniques of a learner ------------------------------------------------------------------------------------------


def test_techniques_of_an_importable_module_go_with_it() -> None:
    mine = replace(TECHNIQUES[0], name="mine", route="/mine")
    with Lab("apart", process=True, techniques=(*TECHNIQUES, mine)) as lab:
        lab.publish("x")
        assert b'"data":"x"' in get(lab.port, "/mine?after=0")


@pytest.mark.parametrize("kind", ["handler", "function"])
def test_a_technique_defined_in_a_script_or_cell_is_one_clear_error(kind: str) -> None:
    what = "handler=Mine" if kind == "handler" else "client=lambda opening: None"
    done = script(
        "import labkit, dataclasses\n"
        "from labkit.techniques.polling import PollingHandler\n"
        "class Mine(PollingHandler): pass\n"
        f"mine = dataclasses.replace(labkit.TECHNIQUES[0], name='mine', route='/mine', {what})\n"
        "try:\n"
        "    labkit.Lab(process=True, techniques=[mine])\n"
        "except labkit.errors.LabkitError as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    assert done.returncode == 0 and done.stderr == ""
    assert "LabkitError Lab(process=True) needs techniques from a module" in done.stdout
    assert done.stdout.count("\n") == 1


# -- the child dies ---------------------------------------------------------------------------------------------------


def test_a_killed_child_is_lab_closed_with_its_exit_status() -> None:
    with Lab("killed", process=True) as lab:
        assert lab.pid is not None
        os.kill(lab.pid, signal.SIGKILL)
        with pytest.raises(LabClosed, match=r"exit status -9\b.*start another"):
            lab.publish("x")
        for call in (lab.cursor, lab.stats, lab.usage, lambda: lab.allow_origin("http://a.test")):
            with pytest.raises(LabClosed):
                call()
        with pytest.raises(LabClosed):
            asyncio.run(lab.publish_and_wait("x"))
        assert lab.closed and refused(lab.port)
        with Lab("killed", process=True, port=lab.port) as again:
            assert again.publish("x") == 1


def test_a_child_that_dies_during_a_call_ends_the_call() -> None:
    with Lab("killed", process=True) as lab:
        threading.Timer(0.05, os.kill, (stop(lab), signal.SIGKILL)).start()
        with pytest.raises(LabClosed, match="exit status -9"):
            lab.publish("x")


def test_closing_a_child_that_no_longer_answers_ends_it_and_the_call_that_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("labkit.lab.process.STOP_TIMEOUT_S", 0.1)
    lab = Lab("hangs", process=True)
    assert lab.pid is not None
    stop(lab)
    faults: list[BaseException] = []

    def publish() -> None:
        try:
            lab.publish("x")
        except LabClosed as error:
            faults.append(error)

    thread = threading.Thread(target=publish)
    thread.start()
    until(lambda: under_way(lab))
    lab.close()
    thread.join(TIMEOUT_S)
    assert len(faults) == 1 and not psutil.pid_exists(lab.pid)


def test_a_child_that_does_not_start_is_an_error_and_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.lab.process.START_TIMEOUT_S", 0.001)
    with pytest.raises(LabClosed, match="exit status"):
        Lab("late", process=True)


def test_sigterm_ends_the_child_in_order() -> None:
    with Lab("terminated", process=True) as lab:
        assert lab.pid is not None
        os.kill(lab.pid, signal.SIGTERM)
        with pytest.raises(LabClosed, match="start another"):
            while True:
                lab.publish("x")
        child_gone(lab.pid)
        with pytest.raises(LabClosed, match="exit status 0"):
            lab.publish("x")


def test_close_leaves_no_zombie_and_the_second_does_nothing() -> None:
    lab = Lab("twice", process=True)
    pid = lab.pid
    lab.close()
    lab.close()
    assert pid is not None and not psutil.pid_exists(pid)
    assert refused(lab.port) and refused(lab.plugin_port)
    with pytest.raises(LabClosed, match="closed"):
        lab.publish("x")
    with pytest.raises(LabClosed):
        lab.usage()


# -- the child does not answer ----------------------------------------------------------------------------------------


def test_a_child_that_stands_still_is_an_error_in_any_thread_and_its_late_answer_is_nobody_elses(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labkit.lab.pipe.ANSWER_S", 0.2)
    pid = stop(lab)
    errors: list[str] = []

    def publish() -> None:
        with pytest.raises(NoAnswer) as caught:
            lab.publish("late" * 50_000)  # more than the pipe takes
        errors.append(str(caught.value))

    publish()
    thread = threading.Thread(target=publish)
    thread.start()
    thread.join(TIMEOUT_S)
    first, second = errors
    assert f"process {pid} does not answer: it stands still" in first and f"kill -CONT {pid}" in first
    assert "may still be done" in first and "was not sent" in second and not lab.closed
    monkeypatch.setattr("labkit.lab.pipe.ANSWER_S", TIMEOUT_S)
    os.kill(pid, signal.SIGCONT)
    event = lab.publish_event("next")
    assert (event.id, event.data) == (2, "next") and lab.cursor().startswith("2@") and lab.stats()["published"] == 2


def test_a_child_that_is_busy_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "held_up.py").write_text(
        "import time\n"
        "from pathlib import Path\n"
        "from labkit.techniques.polling import PollingHandler\n"
        "class HeldUp(PollingHandler):\n"
        "    async def get(self):\n"
        "        Path(__file__).with_name('begun').touch()\n"
        "        while not Path(__file__).with_name('go').exists():\n"
        "            time.sleep(0.01)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("labkit.lab.pipe.ANSWER_S", 0.2)
    mine = replace(TECHNIQUES[0], name="mine", route="/mine", handler=importlib.import_module("held_up").HeldUp)
    with Lab("apart", process=True, techniques=[mine]) as lab:
        with dial(lab.port, b"GET /mine HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            until((tmp_path / "begun").exists)
            with pytest.raises(NoAnswer, match=rf"process {lab.pid} .* is busy\. Try again later"):
                lab.stats()
            (tmp_path / "go").touch()
            monkeypatch.setattr("labkit.lab.pipe.ANSWER_S", TIMEOUT_S)
            assert lab.stats()["published"] == 0


def test_a_measurement_of_a_child_that_stands_still_ends(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> None:
    monkeypatch.setattr("labkit.lab.process.STOP_TIMEOUT_S", 0.1)
    monkeypatch.setattr("labkit.lab.pipe.ANSWER_S", 0.5)
    run = measure(lab, schedule=periodic(20, 1), at={0.3: lambda: stop(lab)}, settle_s=0.1, progress=False)
    assert f"process {lab.pid} does not answer: it stands still" in run.failures["publisher"]
    assert 0 < len(run.published) < 20 and not run.interrupted
    with pytest.raises(NoAnswer, match="kill -CONT"):
        measure(lab, "sse", schedule=periodic(20, 1), progress=False)


def tell_of_waits(monkeypatch: pytest.MonkeyPatch, waiting: threading.Event) -> None:
    """Set *waiting* once a run waits for its end in this thread: an interrupt before that is the caller's."""
    wait = concurrent.futures.wait

    def told(*args: Any, **more: Any) -> Any:
        waiting.set()
        return wait(*args, **more)

    monkeypatch.setattr(concurrent.futures, "wait", told)


@pytest.mark.parametrize("when", ["from the beginning", "while subscribers open", "while it publishes"])
def test_the_first_interrupt_ends_a_measurement_of_a_child_that_stands_still(
    monkeypatch: pytest.MonkeyPatch, lab: Lab, when: str
) -> None:
    monkeypatch.setattr("labkit.lab.process.STOP_TIMEOUT_S", 0.1)
    monkeypatch.setattr("labkit.lab.pipe.ANSWER_S", 600 * UNIT)
    cursor, opening, waiting = lab.cursor, threading.Event(), threading.Event()
    tell_of_waits(monkeypatch, waiting)

    def cursor_and_stop(topic: str) -> str:
        found = cursor(topic)
        stop(lab)
        opening.set()
        return found

    if when == "from the beginning":
        stop(lab)
    elif when == "while subscribers open":
        monkeypatch.setattr(lab, "cursor", cursor_and_stop)

    def interrupt() -> None:
        if when == "while subscribers open":
            assert opening.wait(TIMEOUT_S)
        else:
            until(lambda: in_vain(lab))
        assert waiting.wait(TIMEOUT_S)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    at = {0.3: lambda: stop(lab)} if when == "while it publishes" else {}
    begin = time.monotonic()
    run = measure(lab, schedule=periodic(20, 600), at=at, poll_interval_s=0.1, progress=False)
    thread.join()
    assert run.interrupted and time.monotonic() - begin < TIMEOUT_S
    if when == "while it publishes":
        assert len(run.published) > 0 and len(run.deliveries) > 0 and "did not answer" in run.failures["publisher"]
    else:
        assert len(run.published) == 0


def test_the_first_interrupt_ends_an_endless_run_of_a_child_that_stands_still(
    monkeypatch: pytest.MonkeyPatch, lab: Lab
) -> None:
    monkeypatch.setattr("labkit.lab.process.STOP_TIMEOUT_S", 0.1)
    monkeypatch.setattr("labkit.lab.pipe.ANSWER_S", 600 * UNIT)
    live = LiveRun(lab, Settings(techniques=("sse",), rate_per_s=50))
    live.start()
    until(lambda: live.arrived["sse"] >= 3)
    stop(lab)
    until(lambda: in_vain(lab))
    waiting = threading.Event()
    tell_of_waits(monkeypatch, waiting)
    interrupt = threading.Thread(target=lambda: waiting.wait(TIMEOUT_S) and os.kill(os.getpid(), signal.SIGINT))
    interrupt.start()
    run = live.stop()
    interrupt.join()
    assert run.interrupted and len(run.published) >= 3 and "did not answer" in run.failures["publisher"]


def test_the_interpreter_does_not_wait_for_a_child_that_stands_still() -> None:
    done = script(
        "import os, psutil, signal, labkit, labkit.lab.pipe, labkit.lab.process\n"
        "labkit.lab.pipe.ANSWER_S = labkit.lab.process.STOP_TIMEOUT_S = 0.1\n"
        "lab = labkit.Lab(process=True)\n"
        "os.kill(lab.pid, signal.SIGSTOP)\n"
        "while psutil.Process(lab.pid).status() != psutil.STATUS_STOPPED: pass\n"
        "try:\n"
        "    lab.publish('x')\n"
        "except labkit.errors.NoAnswer:\n"
        "    print(lab.pid)\n",
        python=("-W", "error"),
    )
    assert done.returncode == 0 and done.stderr == ""
    child_gone(int(done.stdout))


# -- the parent dies, or is interrupted -------------------------------------------------------------------------------

PARENT = """
import sys, time, labkit
lab = labkit.Lab(process=True)
print(lab.pid, lab.port, flush=True)
{then}
"""


def parent(then: str) -> tuple[subprocess.Popen[str], int, int]:
    process = begun(then)
    return process, *its_lab(process)


def begun(then: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PARENT.format(then=then)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def its_lab(process: subprocess.Popen[str]) -> tuple[int, int]:
    assert process.stdout is not None
    pid, port = map(int, process.stdout.readline().split())
    return pid, port


@pytest.mark.parametrize("then", ["time.sleep(3600)", "while True: lab.publish('x')"])
def test_a_killed_parent_leaves_no_orphan_and_its_port_is_free(then: str) -> None:
    process, pid, port = parent(then)
    with process:
        assert not refused(port)
        process.kill()
    child_gone(pid)
    until(lambda: refused(port), "the last of its threads has let go of the port")
    with socket.create_server(("127.0.0.1", port)):
        pass


PUBLISHES = "while True: lab.publish('x' * 100_000)"


STANDING = (
    *(("parent", "time.sleep(3600)"), ("parent", PUBLISHES)),
    *(("child", "time.sleep(3600)"), ("both", PUBLISHES)),
)
"""Who is stopped, and what the parent does."""


def test_a_parent_that_is_killed_leaves_no_orphan_when_it_or_its_child_stands_still() -> None:
    parents = {case: begun(case[1]) for case in STANDING}  # all of them at once, since a guard waits for seconds
    left = {}
    for (stopped, then), process in parents.items():
        with process:
            pid, port = its_lab(process)
            for one in {"parent": [process.pid], "child": [pid], "both": [pid, process.pid]}[stopped]:
                os.kill(one, signal.SIGSTOP)
            process.kill()
        left[stopped, then] = pid, port
    for case, (pid, port) in left.items():
        until(lambda pid=pid: gone(pid), f"an orphan: {case}")
        until(lambda port=port: refused(port), f"the last of its threads has let go of the port: {case}")


def test_the_guard_of_a_child_ends_with_it(lab: Lab) -> None:
    (guard,) = psutil.Process(lab.pid).children()
    assert os.getsid(guard.pid) != os.getsid(lab.pid or 0)
    lab.close()
    child_gone(guard.pid)


def test_an_interrupt_of_the_parents_group_does_not_reach_the_child() -> None:
    then = (
        "try:\n    print('ready', flush=True)\n    time.sleep(3600)\n"
        "except KeyboardInterrupt:\n    print(lab.publish('still here'), flush=True)\n    time.sleep(3600)"
    )
    process, pid, port = parent(then)
    with process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.readline() == "1\n"
        assert b"still here" in get(port)
        process.kill()
    child_gone(pid)


def test_interrupts_in_the_midst_of_publishing_leave_the_pipe_usable() -> None:
    text = """
import os, signal, threading, time, labkit
interrupts, stop = 0, threading.Event()

def interrupt():
    while not stop.is_set():
        time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGINT)

with labkit.Lab(process=True) as lab:
    thread = threading.Thread(target=interrupt)
    thread.start()
    last = 0
    while interrupts < 100:
        try:
            while True:
                number = lab.publish("x" * 5000)
                assert number > last, (number, last)
                last = number
        except KeyboardInterrupt:
            interrupts += 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop.set()
    thread.join()
    assert lab.stats()["published"] >= last > 0
    number = lab.publish("after")
    assert lab.stats()["published"] == number and lab.cursor().startswith(f"{number}@")
print("usable")
"""
    done = script(text, python=("-W", "error"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "usable\n", "")


# -- what importing costs ---------------------------------------------------------------------------------------------
