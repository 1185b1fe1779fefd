"""The claim ledger: what a source says, what was measured, and the verdict.

A verdict comes from a confidence interval of the run's own records, by the rules of ``confidence.py``. Predictions
(``predicting.py``) and answers to exercises are kept beside the records, each in a file of its own (``logbook.py``).
Readers take the newest of each id.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any

from labkit.claims import logbook, told
from labkit.claims.claim import DECLARED
from labkit.claims.confidence import VERDICTS, Interval, Verdict
from labkit.claims.predicting import SECONDS, Prediction, prediction
from labkit.claims.values import as_given, between, shown
from labkit.errors import LabkitError, package

if TYPE_CHECKING:
    import pandas as pd

RIGHT = 1.05
"""The factor below which a prediction counts as right."""


# Records


@dataclass(frozen=True, slots=True)
class Record:
    """One claim put to the test. Values are in *unit* (seconds for a latency); ``interval`` is (low, high).

    ``reason`` is what decided it, one part a line; ``holds`` what was looked at besides, and is so.
    """

    id: str
    source: str
    expected: Any
    measured: Any
    interval: tuple[float, float] | None
    n: int | None
    verdict: Verdict
    reason: str
    notebook: str | None = None
    run: str | None = None
    time: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    unit: str = ""
    holds: tuple[str, ...] = ()

    def __str__(self) -> str:
        return told.as_text(told.title(self.verdict, self.id), self._rows(), self.reason, self.holds)

    def _rows(self) -> Iterator[tuple[str, str]]:
        claim = DECLARED.get(self.id)
        if claim:
            yield "claim", claim.sentence
        yield "source", self.source
        yield "looked at", claim.measures if claim else ""
        yield "expected", shown(self.expected, self.unit)
        value, counted = shown(self.measured, self.unit), "" if self.n is None else f"n = {self.n}"
        interval = between(self.interval, self.unit)
        aside = ", ".join(filter(None, ("" if interval == value else interval, counted)))
        yield "measured", f"{value} ({aside})" if value and aside else value
        yield "n", "" if value or self.n is None else str(self.n)
        predicted = prediction(self.id, self.notebook)
        if predicted:
            yield "predicted", ", ".join(filter(None, [predicted.text, missed(self, predicted)]))

    def _repr_html_(self) -> str:
        return told.as_html(told.title(self.verdict, self.id), self._rows(), self.reason, self.holds)


def record(
    id: str,
    expected: Any,
    measured: Any,
    verdict: Verdict,
    reason: str,
    *,
    holds: Iterable[str] = (),
    interval: Interval | tuple[float, float] | None = None,
    n: int | None = None,
    source: str | None = None,
    notebook: str | None = None,
    run: str | None = None,
    unit: str = "",
) -> Record:
    """Put down the verdict on a claim.

    Args:
        reason: what decided it, one part a line.
        holds: what was looked at besides, and is so.
        interval: the confidence interval that decided it.
        source: where the claim comes from; known for the claims of the course.
        notebook: which notebook asked; found by itself under a Jupyter server.
        run: which run was measured (its starting time).
        unit: of *expected*, *measured* and *interval*.

    Raises:
        LabkitError: no such verdict, a verdict without its reason, or a file that cannot be written.
    """
    if verdict not in VERDICTS:
        raise LabkitError(f"no such verdict: {verdict!r} (one of {', '.join(VERDICTS)})")
    if not reason:
        raise LabkitError(f"the verdict on {id} needs its reason")
    if isinstance(interval, Interval):
        n, interval = interval.n if n is None else n, (interval.low, interval.high)
    if source is None:
        source = DECLARED[id].source if id in DECLARED else ""
    found = Record(
        id,
        source,
        expected,
        measured,
        interval,
        n,
        verdict,
        reason,
        notebook or logbook.notebook(),
        run,
        logbook.now(),
        versions(),
        unit,
        tuple(holds),
    )
    kept = logbook.plain(asdict(found))
    logbook.append(logbook.path(), kept)
    return _record(kept)


def records(*notebooks: str | None) -> dict[str, Record]:
    """The newest record of each claim, by id, in the order in which the claims were first recorded.

    Args:
        notebooks: only what was recorded in these; None is one without a name.
    """
    kept = (entry for entry in logbook.entries(logbook.path()) if entry.get("verdict") in VERDICTS)
    return {e["id"]: _record(e) for e in kept if not notebooks or e.get("notebook") in notebooks}


def table() -> pd.DataFrame:
    """The newest records as a table, with predictions and by what factor they missed."""
    pd = package("pandas")

    columns = ["claim", "source", "expected", "measured", "interval", "n", "verdict", "reason"]
    columns += ["predicted", "missed", "notebook", "time"]
    rows = []
    for id, found in records().items():
        guess = prediction(id, found.notebook)
        interval = between(found.interval, found.unit)
        expected, measured = shown(found.expected, found.unit), shown(found.measured, found.unit)
        predicted, by = (guess.text, missed(found, guess)) if guess else ("", "")
        row = [id, found.source, expected, measured, interval, found.n, found.verdict, found.reason]
        rows.append([*row, predicted, by, found.notebook or "", found.time])
    return pd.DataFrame(rows, columns=columns).set_index("claim")


# Scores of predictions


def missed(found: Record, guess: Prediction) -> str:
    """By what factor a prediction missed, in words; nothing where the two cannot be compared."""
    times = ratio(found, guess)
    if times is None:
        return ""
    factor = max(times, 1 / times)
    if factor < RIGHT:
        return "right"
    return f"{float(f'{factor:.2g}'):g} times too {'high' if times > 1 else 'low'}"


def ratio(found: Record, guess: Prediction) -> float | None:
    """The prediction over the measured value, in one unit; None where they cannot be compared.

    Where the claim's question asks for a limit, over the limit.
    """
    guessed, claim = in_unit(guess.value, guess.unit or found.unit, found.unit), DECLARED.get(found.id)
    value = found.expected if claim is not None and claim.limit else found.measured
    if not isinstance(value, int | float) or not value or guessed is None:
        return None
    times = guessed / value
    return times if times > 0 else None


def in_unit(value: float, unit: str, wanted: str) -> float | None:
    """A value in another unit; None where the two are not of one kind."""
    if unit == wanted:
        return value
    return value * SECONDS[unit] / SECONDS[wanted] if {unit, wanted} <= SECONDS.keys() else None


# Answers to exercises


def keep_answer(id: str, value: object, right: bool, **more: Any) -> None:
    """Keep what was handed in as the answer to an exercise.

    Args:
        more: ``student``, whoever handed it in, if somebody was named; ``numbers_of``, the student with whose numbers
            it was judged, empty for those of nobody in particular; of code its ``source`` and its ``promises``.

    Raises:
        LabkitError: the file cannot be written.
    """
    entry = {"id": id, "value": as_given(value, 200), "right": right, "time": logbook.now()} | more
    logbook.append(logbook.answers_path(), entry)


def answers(student: str | None = None) -> dict[str, dict[str, Any]]:
    """The newest answer to each exercise: ``value``, ``right``, ``time``, and what else was kept of it.

    Args:
        student: only those that this student handed in, or that somebody did before saying who; else everybody's.
    """
    kept = (entry for entry in logbook.entries(logbook.answers_path()) if isinstance(entry.get("right"), bool))
    return {entry.pop("id"): entry for entry in kept if student is None or _is_by(entry, student)}


def _is_by(entry: dict[str, Any], student: str) -> bool:
    by = str(entry.get("student") or entry.get("numbers_of") or "")
    return by.strip().lower() in ("", student.strip().lower())


def _known(kind: type, entry: dict[str, Any]) -> dict[str, Any]:
    """The members that this version knows."""
    return {f.name: entry[f.name] for f in fields(kind) if f.name in entry}


def _record(entry: dict[str, Any]) -> Record:
    known: dict[str, Any] = dict.fromkeys(f.name for f in fields(Record)[:8]) | _known(Record, entry)
    known["interval"] = tuple(known["interval"]) if known["interval"] else None
    known["holds"] = tuple(known.get("holds") or ())
    return Record(**known)


@cache
def versions() -> dict[str, str]:
    """What a record's figures depend on, by name."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in ("labkit", "tornado"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
