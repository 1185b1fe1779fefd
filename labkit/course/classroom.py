"""For a course: settings of each student's own, what a student hands in, and a class's hand-ins side by side.

Nothing is sent anywhere: a hand-in is a file of what :mod:`labkit.claims` keeps.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import files
from labkit.claims import recording
from labkit.course.claims import book
from labkit.course.shown import sentence
from labkit.errors import LabkitError

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from labkit.measuring.run import Run

ONE_WAY_S = (0.05, 0.06, 0.07, 0.08, 0.09, 0.1)
POLL_INTERVAL_S = (0.5, 0.6, 0.8, 1.0, 1.2)
RATE_PER_S = (3.0, 4.0, 5.0, 6.0, 8.0)
FORMAT = 1


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

    Raises:
        LabkitError: *id* is empty.
    """
    global _student
    if not isinstance(id, str) or not id.strip():
        raise LabkitError(f'student({id!r}): expected a name or number as text, such as "s1234567"')
    digest = hashlib.sha256(id.strip().lower().encode()).digest()
    _student = Student(
        id.strip(),
        ONE_WAY_S[digest[0] % len(ONE_WAY_S)],
        POLL_INTERVAL_S[digest[1] % len(POLL_INTERVAL_S)],
        RATE_PER_S[digest[2] % len(RATE_PER_S)],
        int.from_bytes(digest[3:5], "big"),
    )
    return _student


def submit(path: str | Path | None = None) -> Path:
    """Write what this student has recorded: settings, predictions, verdicts, answers to exercises.

    Args:
        path: the file; ``labkit-ID.json`` here by default.

    Raises:
        LabkitError: nobody was named with :func:`student`, or the file cannot be written.
    """
    if path is not None and not isinstance(path, str | os.PathLike):
        raise LabkitError(f"submit: expected a file to write, not {path!r:.60} (a coroutine goes to labkit.run)")
    if _student is None:
        raise LabkitError('Say first who you are: labkit.student("your id")')
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", _student.id)
    file = Path(path) if path is not None else Path(f"labkit-{safe}.json")
    entries = [entry.to_json() for entry in book() if entry.record or entry.prediction]
    content = {
        "labkit": FORMAT,
        "student": asdict(_student),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": recording.versions(),
        "claims": entries,
        "answers": recording.answers(),
    }
    return files.write(file, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


@dataclass(frozen=True)
class Class:
    """Hand-ins side by side. ``handed_in`` are the contents of the files."""

    handed_in: tuple[dict[str, Any], ...]

    def table(self) -> pd.DataFrame:
        """One row for each student and claim: prediction, measurement, ratio of the two, verdict."""
        import pandas as pd

        columns = ["student", "claim", "predicted", "measured", "unit", "ratio", "verdict"]
        return pd.DataFrame(list(self._rows()), columns=columns)

    def misses(self) -> pd.DataFrame:
        """One row for each claim, the worst predicted first: how many predicted it, the median factor they missed by.

        A factor of 1 is a hit; 2 is half or twice what was measured.
        """
        import pandas as pd

        frame = self.table().dropna(subset=["ratio"])
        factor = frame["ratio"].map(lambda ratio: math.exp(abs(math.log(ratio))))
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
        import pandas as pd

        rows = {who["student"]["id"]: {e: a["right"] for e, a in who["answers"].items()} for who in self.handed_in}
        return pd.DataFrame.from_dict(rows, orient="index").sort_index(axis=1)

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        for who in self.handed_in:
            for entry in who["claims"]:
                record, guess, off = entry["record"] or {}, entry["prediction"] or {}, entry["ratio"]
                measured, unit = record.get("measured"), record.get("unit", "")
                yield who["student"]["id"], entry["id"], guess.get("value"), measured, unit, off, entry["verdict"]

    def __len__(self) -> int:
        return len(self.handed_in)

    def _repr_html_(self) -> str:
        return f"<p>{len(self)} hand-ins</p>{self.misses().to_html()}"


def compare(*things: Run | str | Path, names: Iterable[str] | None = None) -> pd.DataFrame | Class:
    """Several runs side by side, or what a class has handed in.

    Args:
        things: runs; or files that :func:`submit` wrote, or folders of them.
        names: one for each run.

    Returns:
        For runs, one row per technique and measure (see :func:`labkit.measuring.summaries.compare`); for hand-ins a
        :class:`Class`.

    Raises:
        LabkitError: fewer than two runs, no hand-in, or a file that is none.
    """
    from labkit.measuring.run import Run
    from labkit.measuring.summaries import compare as compare_runs

    runs = [thing for thing in things if isinstance(thing, Run)]
    if runs and len(runs) == len(things):
        return compare_runs(*runs, names=names)
    paths = [Path(thing) for thing in things if isinstance(thing, str | Path)]
    if len(paths) < len(things) or not paths:
        raise LabkitError("compare: expected two or more runs, or the files that labkit.submit() wrote")
    files = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    if not files:
        raise LabkitError(f"no hand-in (*.json) in {', '.join(map(str, paths))}")
    return read(files)


def read(paths: Sequence[str | Path]) -> Class:
    """Read hand-ins.

    Raises:
        LabkitError: a file that cannot be read or is none of :func:`submit`; the message names it.
    """
    found = []
    for path in paths:
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise LabkitError(f"{path} cannot be read as a hand-in: {error}") from error
        if not isinstance(content, dict) or content.get("labkit") != FORMAT:
            raise LabkitError(f"{path} is not a file that labkit.submit() of this version wrote")
        found.append(content)
    names = [content["student"]["id"] for content in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise LabkitError(f"two hand-ins of {', '.join(sorted(twice))}: keep one of each")
    return Class(tuple(found))
