"""The lab loop: running coroutines from anywhere, interrupts, forks and the end of the interpreter."""

from __future__ import annotations

import asyncio
import gc
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest

from conftest import UNIT
from labkit import loop

TIMEOUT_S = 10 * UNIT


def script(text: str, *, python: tuple[str, ...] = ("-X", "dev", "-W", "error")) -> subprocess.CompletedProcess[str]:
    """Run *text* in an interpreter of its own, with every warning an error."""
    return subprocess.run(
        [sys.executable, *python, "-c", text], capture_output=True, text=True, timeout=3 * TIMEOUT_S, check=False
    )


async def where() -> threading.Thread:
    await asyncio.sleep(0)
    return threading.current_thread()


def test_run_returns_the_result_and_works_on_the_loops_thread() -> None:
    assert loop.run(where()).name == "labkit-loop"


def test_run_works_from_several_threads_at_once() -> None:
    async def add(a: int) -> int:
        await asyncio.sleep(0)
        return a + 1

    results: list[int] = []
    threads = [threading.Thread(target=lambda n=n: results.append(loop.run(add(n)))) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(1, 21))


def test_run_works_inside_another_running_loop() -> None:
    async def main() -> threading.Thread:
        return loop.run(where())

    assert asyncio.run(main()).name == "labkit-loop"


def test_hop_awaits_from_any_loop_and_from_the_lab_loop_itself() -> None:
    async def main() -> threading.Thread:
        return await loop.hop(where())

    assert asyncio.run(main()).name == loop.run(main()).name == "labkit-loop"


def test_cancelling_a_hop_cancels_what_it_waits_for() -> None:
    cancelled = threading.Event()

    async def forever() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()

    async def main() -> None:
        task = asyncio.ensure_future(loop.hop(forever()))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert cancelled.wait(TIMEOUT_S)


def test_run_on_the_lab_loop_is_an_error_that_says_what_to_do() -> None:
    async def main() -> None:
        loop.run(where())

    with pytest.raises(RuntimeError, match="await"):
        loop.run(main())


@pytest.mark.parametrize("error", [TimeoutError, ValueError, KeyError, asyncio.TimeoutError, StopAsyncIteration])
def test_run_raises_what_the_coroutine_raised(error: type[Exception]) -> None:
    async def main() -> None:
        raise error("from inside")

    with pytest.raises(error, match="from inside"):
        loop.run(main())


def test_a_failed_run_keeps_nothing_alive() -> None:
    class Held:
        pass

    async def main(held: Held) -> None:
        raise ValueError

    def fail() -> weakref.ref[Held]:
        held = Held()
        with pytest.raises(ValueError):
            loop.run(main(held))
        return weakref.ref(held)

    gc.disable()
    try:
        gone = fail()
        loop.run(asyncio.sleep(0))
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("what", [17, None, where, asyncio.Event()], ids=["number", "None", "function", "object"])
def test_run_of_what_is_no_coroutine_is_an_error_at_once(what: object) -> None:
    with pytest.raises(TypeError, match=r"takes a coroutine, and .* is none: (use it as it is|call it)"):
        loop.run(what)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"call it, as in labkit\.run\(f\(\)\)"):
        loop.run(where)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_an_exit_in_one_coroutine_is_its_callers_and_does_not_stop_the_loop(error: type[BaseException]) -> None:
    async def leave() -> None:
        raise error("from inside")

    async def go_on() -> str:
        await asyncio.sleep(0.01)
        return "went on"

    beside, before = loop.submit(go_on()), loop.get_loop()
    with pytest.raises(error, match="from inside"):
        loop.run(leave())
    left = loop.submit(leave())
    assert beside.result(TIMEOUT_S) == "went on"
    assert isinstance(left.exception(TIMEOUT_S), error)
    assert loop.get_loop() is before and loop.run(where()).name == "labkit-loop"


def test_an_interrupt_cancels_the_coroutine_and_waits_for_its_clean_up() -> None:
    steps: list[str] = []

    async def main() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0.05)
            steps.append("cleaned up")

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        loop.run(main())
    assert steps == ["cleaned up"] and time.monotonic() - begin < loop.CLEAN_UP_S


def test_after_an_interrupt_the_loop_goes_on() -> None:
    async def main() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.get_running_loop().create_future()

    for _ in range(20):
        with pytest.raises(KeyboardInterrupt):
            loop.run(main())
        assert loop.run(where()).name == "labkit-loop"


def test_submit_does_not_wait() -> None:
    release = threading.Event()

    async def main() -> str:
        while not release.is_set():  # noqa: ASYNC110  set by a thread
            await asyncio.sleep(0)
        return "done"

    future = loop.submit(main())
    assert not future.done()
    release.set()
    assert future.result(TIMEOUT_S) == "done"


def test_importing_starts_no_thread_and_patches_nothing() -> None:
    done = script(
        "import asyncio, threading\n"
        "before = (asyncio.run, asyncio.new_event_loop, dict(vars(asyncio.BaseEventLoop)))\n"
        "import labkit, labkit.loop\n"
        "assert threading.active_count() == 1\n"
        "assert before == (asyncio.run, asyncio.new_event_loop, dict(vars(asyncio.BaseEventLoop)))\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_interpreter_ends_in_silence_with_work_on_the_loop() -> None:
    done = script(
        "import asyncio\n"
        "from labkit import loop\n"
        "async def stubborn():\n"
        "    try:\n"
        "        await asyncio.sleep(3600)\n"
        "    finally:\n"
        "        await asyncio.sleep(0.05)\n"
        "        print('cleaned up')\n"
        "async def forever():\n"
        "    while True:\n"
        "        yield\n"
        "        await asyncio.sleep(0)\n"
        "async def iterate():\n"
        "    async for _ in forever(): pass\n"
        "async def left():\n"
        "    try:\n"
        "        yield\n"
        "    finally:\n"
        "        print('ended')\n"
        "suspended = left()\n"
        "async def step(): await anext(suspended)\n"
        "loop.run(step())\n"
        "for coroutine in (stubborn(), iterate(), asyncio.sleep(3600)): loop.submit(coroutine)\n"
        "loop.run(asyncio.sleep(0.01))\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "cleaned up\nended\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_has_a_loop_of_its_own_and_leaves_the_parents_alone() -> None:
    done = script(
        "import asyncio, os, sys, gc\n"
        "from labkit import loop\n"
        "loop.run(asyncio.sleep(0))\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    gc.collect()\n"
        "    async def n(): return 42\n"
        "    assert loop.run(n()) == 42\n"
        "    sys.exit(7)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7\n"
        "loop.run(asyncio.sleep(0.01))\n"
        "print('both')\n",
        python=("-W", "error", "-W", "ignore::DeprecationWarning"),  # Python 3.12 warns of any fork with threads
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "both\n", "")


def test_what_at_exit_was_given_runs_newest_first_even_when_one_fails() -> None:
    done = script(
        "from labkit import loop\n"
        "loop.get_loop()\n"  # Python 3.12 starts no thread once it ends
        "loop.at_exit(lambda: print('first'))\n"
        "loop.at_exit(lambda: 1 / 0)\n"
        "loop.at_exit(lambda: print('newest', loop.run(two())))\n"
        "async def two(): return 2\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "newest 2\nfirst\n", "")


def test_a_loop_whose_thread_cannot_start_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    made: list[asyncio.AbstractEventLoop] = []
    new_loop = loop.new_loop
    monkeypatch.setattr(loop, "new_loop", lambda: made.append(new_loop()) or made[-1])
    monkeypatch.setattr(loop, "_loop", None)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            loop.get_loop()
    assert made[0].is_closed()


def test_what_runs_in_a_process_of_its_own_has_a_loop_of_the_kits_kind() -> None:
    """Whatever the policy says: Windows' default loop has no readers."""

    async def kind() -> type:
        return type(asyncio.get_running_loop())

    class Policy(asyncio.DefaultEventLoopPolicy):
        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            raise AssertionError("asked for")

    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(Policy())
    try:
        assert loop.run_main(kind()) is asyncio.SelectorEventLoop
    finally:
        asyncio.set_event_loop_policy(before)


def test_a_main_task_that_waits_looks_around_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOOK_S", 0.01)
    woken: list[float] = []

    async def main() -> None:
        event, running = asyncio.Event(), asyncio.get_running_loop()
        waiting = asyncio.ensure_future(loop.happened(event))
        select = running._selector.select  # type: ignore[attr-defined]
        monkeypatch.setattr(running._selector, "select", lambda timeout: woken.append(timeout) or select(timeout))  # type: ignore[attr-defined, func-returns-value]
        while len(woken) < 5:
            await asyncio.sleep(0)
            assert not waiting.done()
        event.set()
        await waiting

    loop.run_main(main())
    assert None not in woken  # never for as long as it takes


def test_a_loop_on_select_watches_512_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loop.max_sockets() is None or sys.platform == "win32"
    monkeypatch.setattr(selectors, "DefaultSelector", selectors.SelectSelector)
    assert loop.max_sockets() == 512
