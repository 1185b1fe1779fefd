"""An exercise, and the report on an answer to it."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Report:
    """What came of an answer."""

    right: bool | None  # None: not answered yet
    text: str

    def __str__(self) -> str:
        return {True: "Right. ", False: "Not yet. ", None: ""}[self.right] + self.text

    __repr__ = __str__

    def _repr_html_(self) -> str:
        mark = {True: "✓", False: "✗", None: "…"}[self.right]
        return f"<p>{mark} {html.escape(str(self))}</p>"


@dataclass(frozen=True)
class Exercise:
    """One exercise: what a right answer is, in words, and how an answer is judged."""

    unit: str
    judge: Callable[[Any], str | None]
    """None if the answer is right, else what was found."""
    expected: str
    hint: str
    read: Callable[[Any], Any] = float
    """Turns what was handed in into what is judged; ValueError or TypeError if it cannot."""
    kind: str = "a number"
