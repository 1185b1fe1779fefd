"""What an experiment gives where nothing speaks HTTP/2: why, in the place of whatever it would have shown."""

from __future__ import annotations

import functools
import html
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from labkit.claims.finding import Finding, NoVerdict
from labkit.errors import LabkitError

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


class NothingSpeaksIt(LabkitError):
    """What HTTP/2 takes is not there; the message says what to install."""


class NotRun:
    """In place of a result; its chart is itself."""

    def __init__(self, why: str) -> None:
        self.why = why
        self.settings: dict[str, Any] = {}

    def chart(self) -> NotRun:
        return self

    def __repr__(self) -> str:
        return f"not run: {self.why}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>"


def or_says_why(experiment: Callable[P, R]) -> Callable[P, R]:
    """*experiment*, which gives a :class:`NotRun` where nothing speaks HTTP/2."""

    @functools.wraps(experiment)
    def run(*args: P.args, **options: P.kwargs) -> R:
        try:
            return experiment(*args, **options)
        except NothingSpeaksIt as error:
            return NotRun(str(error))  # type: ignore[return-value]  # it shows itself, and its judge knows it

    return run


def of_what_ran(judge: Callable[[S], Finding]) -> Callable[[S], Finding]:
    """*judge*, for which what was not run has no verdict."""

    @functools.wraps(judge)
    def judged(seen: S) -> Finding:
        if isinstance(seen, NotRun):
            raise NoVerdict("not run", seen.why)
        return judge(seen)

    return judged
