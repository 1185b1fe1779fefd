"""Who works in this kernel, and the settings and numbers that are that student's own."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.course.hand_ins import is_text
from labkit.course.shown import sentence
from labkit.errors import LabkitError

if TYPE_CHECKING:
    from labkit.measuring.run import Run

VARIABLE = "LABKIT_STUDENT"
ONE_WAY_S = (0.05, 0.06, 0.07, 0.08, 0.09, 0.1)
POLL_INTERVAL_S = (0.5, 0.6, 0.8, 1.0, 1.2)
RATE_PER_S = (3.0, 4.0, 5.0, 6.0, 8.0)


@dataclass(frozen=True, slots=True)
class Student:
    """One student's own settings: the same for the same name, on every machine.

    ``one_way_s`` is d, ``poll_interval_s`` T, ``rate_per_s`` lambda, ``seed`` what schedules are drawn with.
    """

    id: str
    one_way_s: float
    poll_interval_s: float
    rate_per_s: float
    seed: int

    def measure(self, lab: Any, techniques: Any = None, *, duration_s: float = 8.0, **options: Any) -> Run:
        """:func:`labkit.measure` with these settings; whatever is given wins."""
        from labkit.measuring.measurement import measure
        from labkit.measuring.schedules import poisson

        own = {"one_way_s": self.one_way_s, "poll_interval_s": self.poll_interval_s}
        own["schedule"] = poisson(self.rate_per_s, duration_s, seed=self.seed)  # type: ignore[assignment]
        return measure(lab, techniques, **{**own, **options})

    @property
    def numbers(self) -> Mapping[str, Any]:
        """What is this student's in every exercise that speaks of it."""
        return {"one_way_s": self.one_way_s, "poll_interval_s": self.poll_interval_s, "rate_per_s": self.rate_per_s}

    def __str__(self) -> str:
        return (
            f"{self.id}: d = {self.one_way_s * 1e3:g} ms, T = {self.poll_interval_s:g} s, "
            f"lambda = {self.rate_per_s:g} events/s, seed {self.seed}"
        )

    def _repr_html_(self) -> str:
        return sentence(str(self))


_student: Student | None = None


def student(id: str) -> Student:
    """Say who works in this kernel, and get that student's own d, T, lambda and seed.

    The exercises then ask with numbers of that student's own. ``$LABKIT_STUDENT`` says it for every kernel.

    Raises:
        LabkitError: *id* is empty, or no text that a file could hold.
    """
    global _student
    _student = _settings(id)
    return _student


def present() -> Student | None:
    """Who was named: by :func:`student`, else by ``$LABKIT_STUDENT``; None if nobody was."""
    said = os.environ.get(VARIABLE, "")
    return _student if _student is not None or not said.strip() else _settings(said)


def _settings(id: str) -> Student:
    if not is_text(id) or not id.strip():
        raise LabkitError(f'student({id!r:.60}): expected a name or number as text, such as "s1234567"')
    digest = hashlib.sha256(id.strip().lower().encode()).digest()
    return Student(
        id.strip(),
        ONE_WAY_S[digest[0] % len(ONE_WAY_S)],
        POLL_INTERVAL_S[digest[1] % len(POLL_INTERVAL_S)],
        RATE_PER_S[digest[2] % len(RATE_PER_S)],
        int.from_bytes(digest[3:5], "big"),
    )
