"""The lab loop: one event loop on one daemon thread, where servers, links and clients live.

Nothing of the kit runs on the loop of a notebook's kernel, so a busy cell does not slow a server down and it
does not matter which thread a callback arrives on. The loop starts at first use and stops with the interpreter.
``import labkit`` starts nothing and patches nothing.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import os
import selectors
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
LOOK_S = 1.0  # bounded waits, so that Ctrl-C is seen on Windows as well
CLEAN_UP_S = 2.0  # what a coroutine that was cancelled may take to end

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None
_at_exit: list[Callable[[], None]] = []


def new_loop() -> asyncio.AbstractEventLoop:
    """What everything of the kit runs on: a selector loop, whatever the policy says.

    So it is the same on every platform: Windows' default loop can neither watch a socket that others read from
    (``add_reader``) nor a pipe's writer, and Tornado would give it another thread that does.
    """
    return asyncio.SelectorEventLoop()


def run_main(coro: Coroutine[Any, Any, T]) -> T:
    """As ``asyncio.run``, on a loop of the kit's kind: for a process of its own."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(coro)


async def happened(event: asyncio.Event) -> None:
    """Wait for *event* in a main task that Ctrl-C is to end: on Windows a selector loop sees it only when it wakes."""
    while not event.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await event.wait()


def max_sockets() -> int | None:
    """How many sockets one loop can watch; None: as many as there are descriptors. (Windows' ``select`` takes 512.)"""
    return 512 if issubclass(selectors.DefaultSelector, selectors.SelectSelector) else None


def get_loop() -> asyncio.AbstractEventLoop:
    """The lab loop, running; starts its thread at the first call."""
    global _loop, _thread
    with _lock:
        if _loop is None:
            loop = new_loop()
            ready = threading.Event()
            thread = threading.Thread(target=_serve, args=(loop, ready), name="labkit-loop", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # too many of them; or, on Python 3.12, the interpreter has begun to end
                loop.close()
                raise
            _thread = thread
            ready.wait()
            _loop = loop
        return _loop


def _serve(loop: asyncio.AbstractEventLoop, ready: threading.Event) -> None:
    asyncio.set_event_loop(loop)
    loop.call_soon(ready.set)
    while _fell(loop):
        pass
    if tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks, timeout=CLEAN_UP_S))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def _fell(loop: asyncio.AbstractEventLoop) -> bool:
    """Run *loop* until somebody stops it; whether it fell over instead.

    asyncio raises these two out of the loop, whichever task they came from; the task itself keeps them for those who
    wait for it. Neither an ``exit()`` nor a stray interrupt in one task ends the others.
    """
    try:
        loop.run_forever()
    except (SystemExit, KeyboardInterrupt):
        return True
    return False


def on_lab_loop() -> bool:
    """Whether the caller runs on the lab loop's thread."""
    return threading.current_thread() is _thread


def submit(coro: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
    """Start *coro* on the lab loop and return at once. Safe from any thread."""
    return asyncio.run_coroutine_threadsafe(coro, get_loop())


def run(coro: Coroutine[Any, Any, T]) -> T:
    """Run *coro* on the lab loop and wait for its result. For synchronous code, in a cell or a thread.

    An interrupt (Ctrl-C, the kernel's interrupt button) cancels the coroutine and is raised here.

    Raises:
        TypeError: *coro* is no coroutine.
        RuntimeError: called on the lab loop itself, which would wait for itself; ``await`` there.
    """
    if not asyncio.iscoroutine(coro):
        how = "call it, as in labkit.run(f())" if callable(coro) else "use it as it is"
        raise TypeError(f"labkit.run takes a coroutine, and {coro!r:.80} is none: {how}")
    if on_lab_loop():
        coro.close()
        raise RuntimeError("labkit.run was called on the lab loop itself: use `await` there")
    loop, ended, tasks = get_loop(), threading.Event(), list[asyncio.Task[T]]()

    def begin() -> None:
        tasks.append(loop.create_task(coro))
        tasks[0].add_done_callback(lambda _: ended.set())

    def stop() -> None:
        for task in tasks:
            task.cancel()

    try:  # an interrupt may come at any point, before the coroutine has begun as well
        loop.call_soon_threadsafe(begin)
        while not ended.wait(LOOK_S):
            pass
        if tasks[0].cancelled():
            raise concurrent.futures.CancelledError
        return tasks[0].result()
    except KeyboardInterrupt:
        loop.call_soon_threadsafe(stop)
        if not ended.wait(CLEAN_UP_S) and not tasks:
            coro.close()
        raise
    finally:
        tasks.clear()  # or an error would keep itself alive, by this frame in its traceback


async def hop(coro: Coroutine[Any, Any, T]) -> T:
    """Await *coro* from any loop: it runs on the lab loop."""
    if on_lab_loop():
        return await coro
    return await asyncio.wrap_future(submit(coro))


def at_exit(callback: Callable[[], None]) -> None:
    """Call *callback* before the lab loop stops at interpreter exit, newest first."""
    _at_exit.append(callback)


def _stop() -> None:
    global _loop, _thread
    for callback in reversed(_at_exit):
        with contextlib.suppress(Exception):
            callback()
    with _lock:
        loop, thread = _loop, _thread
        _loop = _thread = None
    if loop is not None and thread is not None:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(loop.stop)
        thread.join(2.0)


def _forget_after_fork() -> None:
    """A forked child has the loop's object but not its thread: it starts its own at need."""
    global _loop, _thread, _lock
    _loop = _thread = None
    _lock = threading.Lock()


atexit.register(_stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
