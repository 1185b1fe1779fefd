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
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None
_at_exit: list[Callable[[], None]] = []


def get_loop() -> asyncio.AbstractEventLoop:
    """The lab loop, running; starts its thread at the first call."""
    global _loop, _thread
    with _lock:
        if _loop is None:
            # A selector loop whatever the policy says: the same on every platform, and what Tornado needs.
            loop = asyncio.SelectorEventLoop()
            ready = threading.Event()
            _thread = threading.Thread(target=_serve, args=(loop, ready), name="labkit-loop", daemon=True)
            _thread.start()
            ready.wait()
            _loop = loop
        return _loop


def _serve(loop: asyncio.AbstractEventLoop, ready: threading.Event) -> None:
    asyncio.set_event_loop(loop)
    loop.call_soon(ready.set)
    loop.run_forever()
    # one more turn for what was cancelled on the way out
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


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
        RuntimeError: called on the lab loop itself, which would wait for itself; ``await`` there.
    """
    if on_lab_loop():
        coro.close()
        raise RuntimeError("labkit.run was called on the lab loop itself: use `await` there")
    future = submit(coro)
    try:
        while True:
            with contextlib.suppress(concurrent.futures.TimeoutError):
                if future.done():
                    return future.result()
                # bounded waits, so that Ctrl-C is seen on Windows as well
                future.exception(timeout=1.0)
    except KeyboardInterrupt:
        future.cancel()
        with contextlib.suppress(BaseException):
            concurrent.futures.wait([future], timeout=2.0)
        raise


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
