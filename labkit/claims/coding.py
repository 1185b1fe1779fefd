"""An exercise whose answer is code: what the code has to keep, and the report on what was handed in.

Who runs it, and where, is for ``labkit/course/coding.py`` to say.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from labkit.claims.exercises import Report
from labkit.errors import LabkitError

LIMIT_S = 10.0
"""How long keeping one promise may take, before it counts as something that never ends."""
FEW_LINES = 12  # of what was printed, to be shown unasked
MARKS = {True: "✓", False: "✗", None: "·"}
AGAIN = "As above."


class NotKept(LabkitError):
    """A promise is not kept; the message says how.

    Attributes:
        hint: what to look at, where the promise's own hint is about another fault.
    """

    def __init__(self, how: str, hint: str = "") -> None:
        super().__init__(how)
        self.hint = hint


def need(condition: object, how: str, hint: str = "") -> None:
    """Raise :class:`NotKept` unless *condition* holds."""
    if not condition:
        raise NotKept(how, hint)


@dataclass(frozen=True, slots=True)
class Promise:
    """Something that the code has to keep.

    Attributes:
        sentence: what is promised.
        keep: tries it on the code that was handed in, and raises :class:`NotKept`; a function of a module, since it
            is called in another process.
        hint: what to look at where it is broken.
        limit_s: how long it may take, in seconds, times ``LABKIT_TIME_SCALE``.
        needs_all: tried only where every one before it is kept.
    """

    sentence: str
    keep: Callable[[Any], None]
    hint: str
    limit_s: float = LIMIT_S
    needs_all: bool = False


@dataclass(frozen=True, slots=True)
class Coding:
    """One exercise whose answer is a function or a class.

    Attributes:
        signature: how it is written, such as ``poll(ask, deliver)``: the parameters of a function, by position, or
            the base of a class.
        promises: what it has to keep, the most basic first: the hint is about the first that is broken.
        expected: what is said of a right answer.
        form: whether a plain function, an ``async def``, one whose result is gone through (with ``yield``, or not),
            or a class is asked for.
        base: what a class has to be one of.
    """

    signature: str
    promises: tuple[Promise, ...]
    expected: str
    form: Literal["function", "coroutine", "iterator", "class"] = "function"
    base: type | None = None

    @property
    def name(self) -> str:
        """How the function or class is called where it is asked for."""
        return re.split(r"\W", self.signature)[0]

    @property
    def kind(self) -> str:
        """What is asked for, in words."""
        what = {"class": "a class", "coroutine": "a coroutine function"}.get(self.form, "a function")
        return f"{what} {self.signature}"


@dataclass(frozen=True, slots=True)
class Kept:
    """One promise, and what came of it. ``held`` is None where it was not tried."""

    sentence: str
    held: bool | None = None
    how: str = ""
    hint: str = ""

    def __str__(self) -> str:
        return f"{MARKS[self.held]} {self.sentence}" + (f"\n    {self.how}" if self.how else "")


@dataclass(frozen=True, repr=False)
class CodeReport(Report):
    """What came of code: each promise, a hint for the first that is broken, and what the code printed."""

    kept: tuple[Kept, ...] = ()
    hint: str = ""
    printed: str = ""

    @property
    def shown(self) -> tuple[Kept, ...]:
        """The promises as a reader sees them: a fault once, and those that were not tried in one line."""
        tried = [one for one in self.kept if one.held is not None]
        before = ["", *(one.how for one in tried)]
        again = [bool(one.how) and one.how == how for one, how in zip(tried, before, strict=False)]
        told = [replace(one, how=AGAIN) if same else one for one, same in zip(tried, again, strict=True)]
        if not (left := len(self.kept) - len(tried)):
            return tuple(told)
        each = "is" if left == 1 else "are"
        more = f"{left} more {each} tried once these are kept." if self.right is False else f"{left} not tried."
        return (*told, Kept(more))

    def __str__(self) -> str:
        lines = [Report.__str__(self), *map(str, self.shown)]
        lines += [f"Hint: {self.hint}"] if self.hint else []
        lines += [f"It printed:\n{self.printed}"] if self.printed else []
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        mark = {True: "✓", False: "✗", None: "…"}[self.right]
        rows = "".join(map(_row, self.shown))
        parts = [f"<p>{mark} {_marked(Report.__str__(self))}</p>", f"<table>{rows}</table>" if rows else ""]
        parts += [f"<p>Hint: {_marked(self.hint)}</p>"] if self.hint else []
        if self.printed:
            shown = " open" if self.printed.count("\n") <= FEW_LINES else ""
            printed = f"<pre style='white-space:pre-wrap;word-break:normal'>{html.escape(self.printed)}</pre>"
            parts.append(f"<details{shown}><summary>what it printed</summary>{printed}</details>")
        return "".join(parts)


def _row(one: Kept) -> str:
    left = "text-align:left;vertical-align:top"
    how = f"<div><b>{_marked(one.how)}</b></div>" if one.how else ""
    return f"<tr><td style='{left}'>{MARKS[one.held]}</td><td style='{left}'>{_marked(one.sentence)}{how}</td></tr>"


def _marked(text: str) -> str:
    """Text for a page, what stands between backticks as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(text))
