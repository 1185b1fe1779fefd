"""The process in which code that was handed in is tried: reads it, tries each promise, says what came of it.

It says so in lines of JSON on its standard output, which the code itself does not get at: what that prints is kept,
the newest of it, and told with the rest.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import linecache
import os
import pickle
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import IO, Any

from labkit.claims.coding import Coding, NotKept, Promise
from labkit.course.handed import Handed
from labkit.subscribing.contract.waiting import UNIT_S

MEMORY_BYTES = 2 << 30
PRINTED = 2000  # characters
NEVER_ENDS = "does something in it go round, or wait, for ever?"
HOLDS_UP = (
    "it keeps the event loop to itself, and nobody else has a turn: that is what a call such as time.sleep does, and a "
    "loop around an await that comes back at once; await something that waits."
)
NOT_THERE = "it runs by itself, without your notebook: all that it needs is what it is given, and what it imports"
NOT_YET = "a name that a function gives a value to is its own, and has none before that: give it one first"
ENDS_ALL = "does it call exit, or end a process?"
LINE = "look at the line that raised it."
CALLED = "it is called as the exercise says; what is a method takes self before all else"


def main() -> None:
    """Try what comes on standard input, until all is said or the other end is gone."""
    child = Child(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    task = pickle.loads(base64.b64decode(sys.stdin.readline()))
    threading.Thread(target=_end_with, args=(sys.stdin,), daemon=True).start()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (1, 2):
        os.dup2(nowhere, standard)
    _bound_memory()
    sys.stdin, sys.stdout, sys.stderr = io.StringIO(), child.printed, child.printed
    child.run(*task)
    threading.Event().wait()  # whoever started it ends it, and what it has begun


def _end_with(pipe: IO[str]) -> None:
    pipe.read()
    os._exit(0)


def _bound_memory() -> None:
    """A list that grows for ever ends in a MemoryError, where the system can see to it."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


class Printed(io.TextIOBase):
    """Keeps the newest of what is printed, and three dots for what came before."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        kept = self.text + text
        self.text = kept if len(kept) <= PRINTED else f"…{kept[1 - PRINTED :]}"
        return len(text)


class Child:
    """Tries the promises and says what came of each. What it says is said once, by it or by its watch."""

    def __init__(self, out: IO[str]) -> None:
        self.out, self.printed = out, Printed()
        self._lock = threading.Lock()

    def say(self, **what: Any) -> None:
        self.out.write(json.dumps(what | {"printed": self.printed.text}) + "\n")
        self.out.flush()

    def run(self, exercise: Coding, code: Handed) -> None:
        try:
            value = define(code)
        except BaseException as error:
            self.say(stopped=f"It cannot be defined: {told(error)}.")
            return
        all_held = True
        for number, promise in enumerate(exercise.promises):
            if all_held or not promise.needs_all:
                self.say(begins=number)
                held, how, hint = self._try(number, promise, value)
                all_held = all_held and held
                with self._lock:
                    self.say(kept=number, held=held, how=how, hint=hint)
        self.say(ends=True)

    def _try(self, number: int, promise: Promise, value: Any) -> tuple[bool, str, str]:
        limit_s = promise.limit_s * UNIT_S
        watch = threading.Timer(limit_s, self._too_late, (number, limit_s))
        watch.daemon = True
        watch.start()
        try:
            promise.keep(value)
        except NotKept as error:
            return False, str(error), error.hint
        except BaseException as error:  # whatever the code raises, exit() included
            return False, f"It raised {told(error)}.", hint_of(error)
        finally:
            watch.cancel()
        return True, "", ""

    def _too_late(self, number: int, limit_s: float) -> None:
        with self._lock:
            where, is_on_loop = stands_in()
            how = f"It did not come back within {limit_s:g} s" + (f"; it is in {where}." if where else ".")
            self.say(kept=number, held=False, hint=HOLDS_UP if is_on_loop else NEVER_ENDS, how=how)
            self.say(ends=True)
            threading.Event().wait()


# -- the code ---------------------------------------------------------------------------------------------------------


def file_of(name: str) -> str:
    """What a definition's file is called where it is compiled."""
    return f"<{name}, handed in>"


def define(code: Handed) -> Any:
    """Run the definitions as a notebook would, and give back the one that was handed in."""
    space = vars(sys.modules["__main__"])
    exec("\n".join(code.imports), space)
    _load(code.values, space)
    for name, text in code.parts.items():
        file = file_of(name)
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        exec(compile(text, file, "exec", dont_inherit=True), space)
        _load(code.values, space)
    return space[code.name]


def _load(values: dict[str, bytes], space: dict[str, Any]) -> None:
    """Those values that are not there yet, and whose classes are."""
    for name, data in values.items():
        if name not in space:
            with contextlib.suppress(Exception):  # an object of a class that is defined only below
                space[name] = pickle.loads(data)


def told(error: BaseException) -> str:
    """An exception in words, and where in the code it was raised."""
    try:
        said = f"{error}".strip().split("\n")[0][:200]
    except BaseException:  # its own __str__ is broken as well
        said = ""
    named = f"{type(error).__name__}: {said}" if said else type(error).__name__
    where = raised_in(error)
    return f"{named}, in {where}" if where else named


def hint_of(error: BaseException) -> str:
    """What to look at where the code raised this, whatever it was tried on; empty where that may be the cause."""
    if isinstance(error, NameError):
        return NOT_YET if isinstance(error, UnboundLocalError) else NOT_THERE
    return ENDS_ALL if isinstance(error, SystemExit) else ""


def slip_of(error: BaseException) -> str:
    """The same, where what it was tried on is not the cause."""
    is_in_the_call = isinstance(error, TypeError) and not raised_in(error)
    return hint_of(error) or (CALLED if is_in_the_call else LINE)


def raised_in(error: BaseException) -> str:
    """The innermost line of the code that an exception went through; empty where it went through none."""
    traced, where = error.__traceback__, ""
    while traced is not None:
        where = place(traced.tb_frame, traced.tb_lineno) or where
        traced = traced.tb_next
    return where


def place(frame: FrameType, line: int) -> str:
    """The line of the code that *frame* stands in; empty where that is none of it."""
    file = frame.f_code.co_filename
    if not (file.startswith("<") and file.endswith(", handed in>")):
        return ""
    return f"line {line} of {file[1:].partition(',')[0]}, `{linecache.getline(file, line).strip()[:80]}`"


def stands_in() -> tuple[str, bool]:
    """The line of the code that some thread is in at this moment, and whether that is the lab loop's."""
    frames = sys._current_frames()
    for thread in threading.enumerate():  # the main one first
        for frame in _outwards(frames.get(thread.ident or 0)):
            if where := place(frame, frame.f_lineno):
                return where, thread.name == "labkit-loop"
    return "", False


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
