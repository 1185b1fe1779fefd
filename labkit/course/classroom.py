"""For a course: what a student hands in, and a class's hand-ins side by side.

Nothing is sent anywhere: a hand-in is a file of what :mod:`labkit.claims` keeps.
"""

from __future__ import annotations

import html
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from labkit import files
from labkit.claims import recording
from labkit.claims.values import shown
from labkit.course.claims import book
from labkit.course.hand_ins import FORMAT, LeftOut, read_all
from labkit.course.students import present
from labkit.errors import LabkitError
from labkit.measuring.rounding import counted, rounded

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from labkit.measuring.run import Run


def submit(path: str | Path | None = None) -> Path:
    """Write what this student has recorded: settings, predictions, verdicts, answers to exercises.

    Of the answers those of this student, and those from before anybody was named; the newest to each exercise.

    Args:
        path: the file; ``labkit-ID.json`` here by default.

    Raises:
        LabkitError: nobody was named with :func:`student`, or the file cannot be written.
    """
    if path is not None and not isinstance(path, str | os.PathLike):
        raise LabkitError(f"submit: expected a file to write, not {path!r:.60} (a coroutine goes to labkit.run)")
    who = present()
    if who is None:
        raise LabkitError('Say first who you are: labkit.student("your id")')
    safe = re.sub(r"[^\w.-]+", "-", normalize("NFC", who.id))
    file = Path(path) if path is not None else Path(f"labkit-{safe}.json")
    entries = [entry.to_json() for entry in book() if entry.record or entry.prediction]
    content = {
        "labkit": FORMAT,
        "student": asdict(who),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": recording.versions(),
        "claims": entries,
        "answers": recording.answers(who.id),
    }
    return files.write(file, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


@dataclass(frozen=True)
class Class:
    """Hand-ins side by side. ``handed_in`` are the contents of the files, ``left_out`` those that do not count."""

    handed_in: tuple[dict[str, Any], ...]
    left_out: tuple[LeftOut, ...] = ()

    def table(self) -> pd.DataFrame:
        """One row for each student and claim: prediction, measurement, ratio of the two, verdict."""
        import pandas as pd

        columns = ["student", "claim", "predicted", "measured", "unit", "ratio", "verdict"]
        return pd.DataFrame(list(self._rows()), columns=columns)

    def students(self) -> pd.DataFrame:
        """One row for each student: how many claims were measured and predicted, the median factor that the
        predictions missed by, how many exercises were answered and how many of them right, and how many of the right
        ones with numbers that are not that student's own."""
        import pandas as pd

        rows = {}
        for who in self.handed_in:
            id, answers = who["student"]["id"], who["answers"].values()
            factors = [_factor(claim["ratio"]) for claim in who["claims"] if claim["ratio"] is not None]
            rows[id] = {
                "measured": sum(bool(claim.get("record")) for claim in who["claims"]),
                "predicted": sum(bool(claim.get("prediction")) for claim in who["claims"]),
                "median_factor": median(factors) if factors else math.nan,
                "answered": len(answers),
                "right": sum(answer["right"] for answer in answers),
                "not_own_numbers": sum(answer["right"] and _whose(answer, id) not in OWN for answer in answers),
            }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("student")

    def misses(self) -> pd.DataFrame:
        """One row for each claim, the worst predicted first: how many predicted it, the median factor they missed by.

        A factor of 1 is a hit; 2 is half or twice what was measured.
        """
        import pandas as pd

        frame = self.table().dropna(subset=["ratio"])
        factor = frame["ratio"].map(_factor)
        grouped = factor.groupby(frame["claim"])
        found = pd.DataFrame({"students": grouped.size(), "median_factor": grouped.median(), "worst": grouped.max()})
        return found.sort_values("median_factor", ascending=False)

    @property
    def figure(self) -> go.Figure:
        """Which claims people mispredict: each student's prediction against that student's own measurement."""
        from labkit.charts.predicted import predictions

        frame = self.table().dropna(subset=["ratio"])
        return predictions(list(zip(frame["claim"], frame["student"], frame["ratio"], strict=True)))

    def answered(self) -> pd.DataFrame:
        """One row for each student, one column for each exercise: whether the newest answer was right."""
        return self._of_answers(lambda answer, _: answer["right"])

    def numbers(self) -> pd.DataFrame:
        """The same: whose numbers the newest answer was judged with: ``own``, ``everybody's``, another's name; ``the
        same for all`` where an exercise has none, or where the file does not say."""
        return self._of_answers(_whose)

    def _of_answers(self, of: Callable[[dict[str, Any], str], object]) -> pd.DataFrame:
        import pandas as pd

        rows = {
            (id := who["student"]["id"]): {exercise: of(answer, id) for exercise, answer in who["answers"].items()}
            for who in self.handed_in
        }
        return pd.DataFrame.from_dict(rows, orient="index").sort_index(axis=1)

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        for who in self.handed_in:
            for entry in who["claims"]:
                record, guess, off = entry.get("record") or {}, entry.get("prediction") or {}, entry["ratio"]
                measured, unit = record.get("measured"), record.get("unit") or guess.get("unit", "")
                value, told = guess.get("value"), shown(measured) if isinstance(measured, dict) else measured
                value = None if value is None else recording.in_unit(value, guess.get("unit") or unit, unit)
                yield who["student"]["id"], entry["id"], value, told, unit, off, entry["verdict"]

    def __len__(self) -> int:
        return len(self.handed_in)

    def __repr__(self) -> str:
        table = self.students().to_string(float_format=rounded, na_rep="")
        return "\n".join([f"{counted(len(self), 'hand-in')}", table, *self._said()])

    def _repr_html_(self) -> str:
        tables = [
            frame.to_html(float_format=rounded, na_rep="") for frame in (self.students(), self.misses()) if len(frame)
        ]
        said = "".join(f"<p>{html.escape(line)}</p>" for line in self._said())
        return f"<p>{counted(len(self), 'hand-in')}</p>{''.join(tables)}{said}"

    def _said(self) -> list[str]:
        return [f"left out: {one}" for one in self.left_out]


OWN = ("own", "the same for all")
"""Whose numbers an answer may be judged with, in a class of which each has numbers of their own."""


def _whose(answer: dict[str, Any], student: str) -> str:
    said = answer.get("numbers_of")
    if said is None:
        return "the same for all"
    if not said:
        return "everybody's"
    return "own" if said.strip().lower() == student.strip().lower() else str(said)


def _factor(ratio: float) -> float:
    return math.exp(abs(math.log(ratio)))


def compare(*things: Run | str | Path, names: Iterable[str] | None = None) -> pd.DataFrame | Class:
    """Several runs side by side, or what a class has handed in.

    Args:
        things: runs; or files that :func:`submit` wrote, or folders of them.
        names: one for each run.

    Returns:
        For runs, one row per technique and measure (see :func:`labkit.measuring.summaries.compare`); for hand-ins a
        :class:`Class`, which says what of them it left out: of a student who handed in twice, the older file.

    Raises:
        LabkitError: fewer than two runs, or no hand-in that can be read.
    """
    from labkit.measuring.run import Run
    from labkit.measuring.summaries import compare as compare_runs

    runs = [thing for thing in things if isinstance(thing, Run)]
    if runs and len(runs) == len(things):
        return compare_runs(*runs, names=names)
    paths = [Path(thing) for thing in things if isinstance(thing, str | Path)]
    if len(paths) < len(things) or not paths:
        raise LabkitError("compare: expected two or more runs, or the files that labkit.submit() wrote")
    return read(paths)


def read(paths: Sequence[str | Path]) -> Class:
    """Read hand-ins, from files and from folders of them.

    Raises:
        LabkitError: none of them can be read; the message says of each why not.
    """
    found: list[Path] = []
    bare: list[LeftOut] = []
    for path in map(Path, paths):
        inside = sorted(path.glob("*.json")) if path.is_dir() else [path]
        bare += [] if inside else [LeftOut(path, "no hand-in (*.json) in it")]
        found += inside
    handed_in, left = read_all(found)
    left = bare + left
    if not handed_in:
        raise LabkitError("no hand-in that can be read:\n" + "\n".join(map(str, left)))
    return Class(tuple(one.content for one in handed_in), tuple(left))
