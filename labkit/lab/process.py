"""A server in a process of its own, and the pipe by which its parent speaks to it.

Both ends of ``Lab(process=True)``: :class:`Child` in the parent, :func:`main` in the child. The child is in a session
of its own, so the kernel's interrupt does not reach it, and ends when the pipe does: a parent that was killed leaves
no orphan, whatever the child is doing then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
from typing import IO, Any

from labkit.errors import LabClosed, LabkitError, MissingPackage, NoAnswer, package
from labkit.lab.pipe import Calls, Unanswered, receive, receive_raw, send
from labkit.loop import run_main
from labkit.server.hub import CLOSED

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 3.0
GUARD_S = 0.5
IMPORTABLE = "Lab(process=True) needs techniques from a module that can be imported, not from a cell or a script: {}"


def child_environment() -> dict[str, str]:
    """This process's environment, for a Python that is to import what this one can."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


class Child:
    """The parent's end: starts the child, which makes a server, and makes blocking calls to it."""

    def __init__(self, techniques: tuple[Any, ...], options: dict[str, Any]) -> None:
        setup = (techniques, options)
        try:
            pickle.dumps(setup)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise LabkitError(IMPORTABLE.format(error)) from None
        self._closed = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "labkit.lab.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=child_environment(),
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        self._calls = Calls(self._to, self._from)
        too_late = threading.Timer(START_TIMEOUT_S, self._process.kill)
        too_late.start()
        try:
            self.id: str = self._ask(setup, START_TIMEOUT_S)
        except BaseException:
            self.close()
            raise
        finally:
            too_late.cancel()
            too_late.join()

    def start(self, *, port: int, plugin_port: int) -> None:
        """Have it listen on these ports (0: free ones).

        Raises:
            LabkitError: one is in use.
        """
        self.ports: dict[str, int] = self._ask(("start", (port, plugin_port)), START_TIMEOUT_S)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def call(self, name: str, *args: Any) -> Any:
        """One blocking round trip: call *name* in the child.

        Raises:
            LabClosed: the child has ended.
            NoAnswer: it does not answer.
        """
        return self._ask((name, args))

    def _ask(self, message: Any, answer_s: float | None = None) -> Any:
        if self._closed:
            raise LabClosed(CLOSED)
        try:
            failed, value = self._calls.call(message, answer_s)
        except Unanswered as late:
            raise NoAnswer(self._why_no_answer(late.sent)) from None
        except (OSError, EOFError, ValueError):
            raise LabClosed(self._why_ended()) from None
        if failed:
            raise value
        return value

    def _why_no_answer(self, sent: bool) -> str:
        stopped = False
        with contextlib.suppress(MissingPackage):  # then it is not known whether somebody stopped it
            psutil = package("psutil")
            with contextlib.suppress(psutil.Error):
                stopped = psutil.Process(self.pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
        how = f"it stands still. Let it go on (kill -CONT {self.pid})" if stopped else "it is busy. Try again later"
        return (
            f"the lab's process {self.pid} does not answer: {how}, or end it with lab.close() and start another with "
            f"labkit.Lab(). What was asked of it {'may still be done' if sent else 'was not sent'}."
        )

    def _why_ended(self) -> str:
        if self._closed:
            return CLOSED
        try:
            status: int | None = self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            status = None
        return f"the lab's process has ended (exit status {status}): start another with labkit.Lab()"

    def usage(self) -> dict[str, float]:
        """CPU seconds so far and resident bytes now, of the child alone.

        Raises:
            LabClosed: the child has ended.
        """
        psutil = package("psutil")

        if not self.alive:
            raise LabClosed(self._why_ended())
        try:
            process = psutil.Process(self.pid)
            times, rss = process.cpu_times(), process.memory_info().rss
        except psutil.NoSuchProcess:  # ended between the two lines
            raise LabClosed(self._why_ended()) from None
        cpu_s = times.user + times.system
        with contextlib.suppress(AttributeError, OSError):  # Linux has a clock for each process, to the nanosecond
            cpu_s = time.clock_gettime(~self.pid << 3 | 2)  # clock_getcpuclockid(3)
        return {"cpu_s": cpu_s, "rss_bytes": float(rss)}

    def close(self) -> None:
        """End the child: by the end of the pipe, else by force."""
        self._closed = True
        if not self._calls.end(STOP_TIMEOUT_S):  # it does not answer: the call that waits for it ends too
            self._process.kill()
            self._calls.end(STOP_TIMEOUT_S)
        for pipe in (self._to, self._from):
            with contextlib.suppress(OSError):
                pipe.close()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def abandon(self) -> None:
        """Let go without ending the child: this is a fork of its parent. The pipe must end with the parent alone."""
        self._closed = True
        for pipe in (self._to, self._from):
            pipe.raw.close()  # type: ignore[attr-defined]  # not through the buffer, whose lock a thread may have held
        self._process.returncode = 0  # not this process's to wait for


def main() -> None:
    """The child: serve until the parent's end of the pipe is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "fork"):  # elsewhere a process cannot be stopped by a signal
        _guard()
    pipe_in, pipe_out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed must not get between the messages
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, 0)
    os.close(devnull)
    run_main(_serve(pipe_in, pipe_out))


def _guard() -> None:
    """Fork a guard, which ends this process when the parent is gone and it does not end by itself.

    A process that was stopped cannot see the end of the pipe. Linux can have it killed with its parent (prctl), macOS
    cannot.
    """
    server, (lives, life) = os.getpid(), os.pipe()
    if os.fork():
        os.close(lives)
        return
    try:
        os.setsid()  # or what stops this process's group would stop the guard
        for descriptor in (life, 1, 2):  # they have to end with this process
            os.close(descriptor)
        ends = select.poll()
        for descriptor in (0, lives):
            ends.register(descriptor, select.POLLIN)  # macOS tells POLLHUP to nobody who asks for nothing
        while not (ended := {descriptor for descriptor, what in ends.poll() if what & select.POLLHUP}):
            time.sleep(GUARD_S)  # there was something to read, which is not for the guard
        ends.unregister(0)
        if lives not in ended and not ends.poll((STOP_TIMEOUT_S + GUARD_S) * 1000):
            os.kill(server, signal.SIGKILL)
    finally:
        os._exit(0)


async def _serve(pipe_in: IO[bytes], pipe_out: IO[bytes]) -> None:
    from labkit.lab.server import Server

    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    with contextlib.suppress(NotImplementedError):
        loop.add_signal_handler(signal.SIGTERM, ended.set)
    try:
        techniques, options = receive(pipe_in)
    except (AttributeError, ImportError) as error:
        send(pipe_out, (True, LabkitError(IMPORTABLE.format(error))))
        return
    try:
        server = Server(techniques, **options)
    except Exception as error:
        send(pipe_out, (True, error))
        return
    send(pipe_out, (False, server.id))
    threading.Thread(target=_answer, args=(server, loop, ended, pipe_in, pipe_out), daemon=True).start()
    await ended.wait()
    await server.close()


def _answer(server: Any, loop: asyncio.AbstractEventLoop, ended: asyncio.Event, pipe_in: Any, pipe_out: Any) -> None:
    """Answer the parent's calls on a thread of their own: publishing does not wait for the loop."""
    hub = server.hub

    async def on_loop(function: Any, *args: Any) -> Any:
        return function(*args)

    def there(function: Any, *args: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(on_loop(function, *args), loop).result()

    def start(port: int, plugin_port: int) -> dict[str, int]:
        server.start(port=port, plugin_port=plugin_port)
        return dict(server.ports)

    calls = {
        "start": lambda *ports: there(start, *ports),
        "publish": hub.publish,
        "cursor": hub.cursor,
        **server.page_calls,
        "stats": lambda: there(server.stats),
        "taken": lambda topic, event_id: there(hub.taken, topic, event_id),
    }
    with contextlib.suppress(EOFError, OSError):
        while True:
            message = receive_raw(pipe_in)
            try:
                name, args = pickle.loads(message)
                reply = (False, calls[name](*args))
            except Exception as error:
                reply = (True, error)
            send(pipe_out, reply)
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(ended.set)
    time.sleep(STOP_TIMEOUT_S)
    os._exit(1)  # the loop hangs in somebody's handler, and nobody is left to end this process


if __name__ == "__main__":
    main()
