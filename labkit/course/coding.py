"""Code that was handed in is tried in a process of its own, which is ended whatever the code does.

So a loop that never ends, a call that never returns, a server that is left running and an ``exit()`` cost the
notebook nothing: they are one sentence of the report. It guards against mistakes and not against malice; the code
may do what any code in a notebook may do.
"""

from __future__ import annotations

import base64
import contextlib
import inspect
import json
import os
import pickle
import queue
import signal
import subprocess
import threading
import time
from typing import Any

from labkit.claims.coding import CodeReport, Coding, Kept
from labkit.claims.values import as_given
from labkit.course import child, coding_child
from labkit.course.coding_child import ENDS_ALL, NEVER_ENDS
from labkit.course.handed import Handed, NoSource, handed
from labkit.errors import MissingPackage, package
from labkit.loop import LOOK_S
from labkit.progress import Progress
from labkit.subscribing.contract.waiting import UNIT_S

START_S = 30 * UNIT_S  # for the process to be there
GRACE_S = 3 * UNIT_S  # what a promise may take beyond its limit before the process is ended from outside


def report_on(exercise: Coding, value: Any) -> tuple[CodeReport, Handed | None]:
    """Try *value* on every promise of the exercise.

    Returns:
        The report, and the source where there is one. The first interrupt ends it, and nothing counts.
    """
    if wrong := misfit(exercise, value):
        return CodeReport(False, wrong), None
    try:
        code = handed(value)
    except NoSource as error:
        return CodeReport(False, f"{error}."), None
    except Exception as error:  # a definition that is stranger than what a process of its own could be given
        return CodeReport(False, f"It cannot be taken along to a process of its own: {error!r:.100}."), None
    if code.is_skeleton:
        return CodeReport(None, f"No answer yet: three dots still stand in {code.name}."), None
    trying = Trying(exercise, code)
    try:
        trying.run()
    except KeyboardInterrupt:
        return CodeReport(None, "Interrupted: this is what was found until then.", tuple(trying.kept)), None
    return trying.report(), code


def misfit(exercise: Coding, value: Any) -> str:
    """Why *value* is not what is asked for; empty if it is."""
    if inspect.iscoroutine(value):
        value.close()  # or it would complain of never having been awaited
    wanted = f"Expected {exercise.kind}"
    if isinstance(value, type) or exercise.form == "class":
        return _misfit_class(exercise, value, wanted)
    if not inspect.isfunction(value):
        called = inspect.iscoroutine(value) or inspect.isgenerator(value) or inspect.isasyncgen(value)
        return f"{wanted}, found {as_given(value, 60)}{': hand it in without calling it' if called else ''}."
    if value.__name__ == "<lambda>":
        return f"{wanted}, written with def."
    names = [name.strip() for name in exercise.signature.partition("(")[2].rstrip(")").split(",")]
    try:
        inspect.signature(value).bind(*names)
    except TypeError:
        return f"{wanted}; yours is {value.__name__}{inspect.signature(value)}."
    if names != (taken := [*inspect.signature(value).parameters]) and sorted(names) == sorted(taken):
        return f"{wanted}; yours has them in another order, {value.__name__}{inspect.signature(value)}."
    return _misfit_form(exercise, value, wanted)


def _misfit_class(exercise: Coding, value: Any, wanted: str) -> str:
    if inspect.isfunction(value):
        return f"{wanted}, found the function {value.__name__}: write class instead of def."
    if not isinstance(value, type):
        made = isinstance(value, exercise.base) if exercise.base else type(value).__name__ == exercise.name
        return f"{wanted}, found {'one of its objects' if made else as_given(value, 60)}: hand in the class itself."
    if exercise.form != "class":
        return f"{wanted}, found the class {value.__name__}."
    if exercise.base is not None and not issubclass(value, exercise.base):
        return f"{wanted}; yours is no {exercise.base.__name__}."
    return "" if exercise.base is not None else _misfit_making(value, wanted)


def _misfit_making(value: type, wanted: str) -> str:
    """It is made as ``Decoder()``: no parameter of its ``__init__`` may be without a default."""
    try:
        taken = inspect.signature(value)
    except (TypeError, ValueError):  # it says nothing of them
        return ""
    try:
        taken.bind()
    except TypeError:
        return f"{wanted}, made without arguments; yours is {value.__name__}{taken}."
    return ""


def _misfit_form(exercise: Coding, value: Any, wanted: str) -> str:
    is_async = inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value)
    if exercise.form == "coroutine":
        return "" if inspect.iscoroutinefunction(value) else f"{wanted}, written with async def."
    if is_async:
        return f"{wanted}; yours is written with async def, so calling it runs nothing: write def."
    if exercise.form == "function" and inspect.isgeneratorfunction(value):
        return f"{wanted}; yours has a yield in it, so calling it runs nothing."
    return ""


class Trying:
    """One answer in a process of its own, promise after promise."""

    def __init__(self, exercise: Coding, code: Handed) -> None:
        self.exercise, self.code = exercise, code
        self.kept = [Kept(promise.sentence) for promise in exercise.promises]
        self.printed = self.stopped = ""
        self.at = -1  # the promise that is being tried

    def run(self) -> None:
        """Try them all, or as far as the code lets it come."""
        shown, process = Progress(), None
        try:  # an interrupt may come at any point
            process = child.start(coding_child.main)
            lines = _lines(process)
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.write(base64.b64encode(pickle.dumps((self.exercise, self.code))).decode() + "\n")
                process.stdin.flush()
            limit_s = START_S
            while (limit_s := self._take(_next(lines, limit_s))) > 0:
                shown.show(f"{self.at + 1} of {len(self.kept)}: {self.kept[self.at].sentence}")
        finally:
            if process is not None:
                end(process)
            shown.done()

    def _take(self, line: str | None) -> float:
        """One line of the process: how long the next may take, in seconds; 0 when it was the last."""
        said = {} if line is None else _json(line)
        self.printed = said.get("printed", self.printed)
        if line is None:  # not even its own watch was let to say so
            self._broken(f"It did not come back within {self._limit_s():g} s.", NEVER_ENDS)
        elif not line:
            self._broken("It ended the process that it runs in.", ENDS_ALL)
        elif "stopped" in said:
            self.stopped = said["stopped"]
        elif "begins" in said:
            self.at = said["begins"]
            return self._limit_s() + GRACE_S
        elif "kept" in said:
            promise = self.exercise.promises[said["kept"]]
            hint = "" if said["held"] else said["hint"] or promise.hint
            self.kept[said["kept"]] = Kept(promise.sentence, said["held"], said["how"], hint)
            return self._limit_s() + GRACE_S
        return 0

    def _limit_s(self) -> float:
        return self.exercise.promises[max(0, self.at)].limit_s * UNIT_S

    def _broken(self, how: str, hint: str) -> None:
        at = max(0, self.at)
        self.kept[at] = Kept(self.kept[at].sentence, False, how, hint)

    def report(self) -> CodeReport:
        """What came of it."""
        if self.stopped:
            return CodeReport(False, self.stopped, printed=self.printed)
        held = sum(one.held is True for one in self.kept)
        if held == len(self.kept):
            return CodeReport(True, self.exercise.expected, tuple(self.kept), printed=self.printed)
        hint = next((one.hint for one in self.kept if one.held is False), "")
        tried = sum(one.held is not None for one in self.kept)
        counted = f"Of {tried} promises tried {held} are kept." if tried > 1 else "The first promise is broken."
        return CodeReport(False, counted, tuple(self.kept), hint, self.printed)


def _lines(process: subprocess.Popen[str]) -> queue.SimpleQueue[str]:
    """What the process says, line by line as it comes, and an empty one at its end, which closes the pipe."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        assert process.stdout is not None
        with contextlib.suppress(OSError, ValueError), process.stdout as said:
            for line in said:
                lines.put(line)
        lines.put("")

    threading.Thread(target=read, name="labkit-coding", daemon=True).start()
    return lines


def _next(lines: queue.SimpleQueue[str], limit_s: float) -> str | None:
    """The next line, empty at the end; None if there is none in time. An interrupt gets through."""
    until_s = time.monotonic() + limit_s
    while (left_s := until_s - time.monotonic()) > 0:
        with contextlib.suppress(queue.Empty):
            return lines.get(timeout=min(left_s, LOOK_S))
    return None


def _json(line: str) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        said = None
    return said if isinstance(said, dict) else {}


def end(process: subprocess.Popen[str]) -> None:
    """End the process, and whatever it has started."""
    for one in [*_begun_by(process.pid)]:
        with contextlib.suppress(Exception):  # it has ended by itself
            one.kill()
    if hasattr(os, "killpg"):
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()


def _begun_by(pid: int) -> list[Any]:
    try:
        psutil = package("psutil")
    except MissingPackage:
        return []
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return []
