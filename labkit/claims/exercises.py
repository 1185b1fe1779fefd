"""An exercise, the numbers in it that may be a student's own, and the report on an answer to it."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


def paragraph(text: str) -> str:
    """As HTML: what stands in backquotes is code, and keeps each of its spaces."""
    code = re.sub("`([^`]*)`", r'<code style="white-space: pre-wrap">\1</code>', html.escape(text))
    return f"<p>{code}</p>"


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
        return paragraph(f"{mark} {self}")


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
    question: str = ""
    """As the notebook has it, with the numbers of whoever is asked."""


@dataclass(frozen=True)
class Drawn:
    """An exercise whose numbers are drawn for each student.

    Attributes:
        make: the exercise with these numbers, by name.
        among: what each number may be, by its name; of the first ones the notebook's text speaks.
    """

    make: Callable[..., Exercise]
    among: Mapping[str, tuple[Any, ...]]

    def numbers(self, id: str, student: str | None = None, own: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The numbers of a student in the exercise *id*: the same on every machine. The first ones for nobody.

        Args:
            own: numbers that are that student's everywhere, by name.
        """
        if student is None:
            return {name: choices[0] for name, choices in self.among.items()}
        found = {}
        for name, choices in self.among.items():
            digest = hashlib.sha256(f"{student.strip().lower()}/{id}/{name}".encode()).digest()
            found[name] = choices[digest[0] % len(choices)]
        return found | {name: value for name, value in (own or {}).items() if name in found}
