"""The claim ledger: what a source says, what was measured, and the verdict.

A verdict comes from a confidence interval of the run's own records. There are two rules:

- :func:`within`, for a claim with a tolerance ("the median within 10 % of d"): the whole interval inside is
  *confirmed*, outside is *refuted*, and one that straddles an edge is *undecided*;
- :func:`agrees`, for a value that theory gives ("within 4 standard errors of T/2 + d"): an interval that misses the
  value is *refuted*, one that holds it is *confirmed* if it is narrow enough to tell the claim from its
  alternatives, else *undecided*.

*Refined* is true under a condition that the reason names; *illustrated* is true by construction; *derived* is
arithmetic on measured inputs; *not run* has its reason.

Records are kept in ``$LABKIT_CLAIMS``, or else in ``claims.jsonl`` of the user's data directory, one a line and never
changed; predictions in ``claims.predictions.jsonl`` beside it, answers to exercises in ``claims.answers.jsonl``.
Readers take the newest of each id.
"""

from __future__ import annotations

import html
import json
import math
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal, get_args

from labkit.errors import LabkitError
from labkit.sources import SOURCES

if TYPE_CHECKING:
    import pandas as pd

Verdict = Literal["confirmed", "refuted", "refined", "undecided", "illustrated", "derived", "not run"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
_SIGNS = {"confirmed": "✓", "refuted": "✗", "refined": "≈", "undecided": "?"}

LOCK_TIMEOUT_S = 10.0
"""How long to wait for another process that writes."""


# Intervals and the rules of a verdict


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of *value*, from *n* samples."""

    value: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


def mean_interval(
    values: Sequence[float], k: float = 4.0, *, groups: Sequence[object] | None = None, least_error: float = 0.0
) -> Interval:
    """The mean of *values*, give or take *k* standard errors.

    Args:
        groups: which values belong together (those of one event at several subscribers, or of one answer): the
            groups, not the values, are then the independent samples.
        least_error: the standard error that theory gives, where the sample's own may be too small because it missed
            the rare large values.

    Returns:
        The interval, in the values' unit; endless for fewer than two groups. ``n`` counts the groups.
    """
    if not len(values):
        return Interval(math.nan, -math.inf, math.inf, 0)
    mean = math.fsum(values) / len(values)
    residuals: dict[object, float] = {}
    for key, value in zip(range(len(values)) if groups is None else groups, values, strict=True):
        residuals[key] = residuals.get(key, 0.0) + value - mean
    n = len(residuals)
    if n < 2:
        return Interval(mean, -math.inf, math.inf, n)
    sample = math.sqrt(math.fsum(r * r for r in residuals.values()) * n / (n - 1)) / len(values)
    error = k * max(sample, least_error)
    return Interval(mean, mean - error, mean + error, n)


def median_interval(values: Sequence[float], confidence: float = 0.99) -> Interval:
    """The median of *values* between two order statistics, whatever the distribution.

    The median lies below the j-th smallest of n with the chance of fewer than j heads in n tosses; j is the largest
    for which that is at most (1 - confidence) / 2. Needs 8 values at 99 %; endless below.
    """
    ordered, n = sorted(values), len(values)
    if not n:
        return Interval(math.nan, -math.inf, math.inf, 0)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    j = _rank(n, (1 - confidence) / 2)
    return Interval(middle, ordered[j - 1], ordered[n - j], n) if j else Interval(middle, -math.inf, math.inf, n)


def _rank(n: int, tail: float) -> int:
    """The largest j for which fewer than j heads in n tosses have at most the chance *tail*."""
    if n > 1000:
        return int(n / 2 + NormalDist().inv_cdf(tail) * math.sqrt(n) / 2)
    j, below, term = 0, 0, 1  # of the 2^n outcomes: those with fewer than j heads, those with exactly j
    while below + term <= tail * 2**n:
        below, term, j = below + term, term * (n - j) // (j + 1), j + 1
    return j


def within(interval: Interval, low: float, high: float) -> Verdict:
    """The rule for a tolerance from *low* to *high*."""
    if low <= interval.low and interval.high <= high:
        return "confirmed"
    return "refuted" if interval.high < low or high < interval.low else "undecided"


def agrees(interval: Interval, low: float, high: float, resolution: float) -> Verdict:
    """The rule for a value that theory gives.

    Args:
        low, high: the value, and the value with what the apparatus may have added to it.
        resolution: the half-width at which the interval tells the claim from its alternatives.
    """
    if interval.high < low or high < interval.low:
        return "refuted"
    return "confirmed" if interval.half_width <= resolution else "undecided"


def events_needed(interval: Interval, margin: float, n: int | None = None) -> int | None:
    """How many events would bring the interval's ends to within *margin* of its value: n times the ratio squared.

    Args:
        n: how many events there were, where the interval counts groups of them.

    Returns:
        None if no number can be given: too few events to go by, or no margin at all.
    """
    reach = max(interval.high - interval.value, interval.value - interval.low)
    if not math.isfinite(reach) or not margin > 0:
        return None
    return math.ceil((interval.n if n is None else n) * max(1.0, reach / margin) ** 2)


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict on a claim with several parts: refuted if any is, else undecided if any is, else confirmed."""
    parts = set(verdicts)
    return next((v for v in ("not run", "refuted", "undecided", "refined") if v in parts), "confirmed")


# Records


def sign(verdict: str) -> str:
    """One character for a verdict."""
    return _SIGNS.get(verdict, "·")


@dataclass(frozen=True, slots=True)
class Record:
    """One claim put to the test. Values are in *unit* (seconds for a latency); ``interval`` is (low, high)."""

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

    def __str__(self) -> str:
        rows = [f"{name + ':':<10} {text}" for name, text in self._rows() if text]
        return "\n".join([f"{self.id} {sign(self.verdict)} {self.verdict}", *("  " + row for row in rows)])

    def _rows(self) -> Iterator[tuple[str, str]]:
        claim = SOURCES.get(self.id)
        if claim:
            yield "claim", claim.sentence
        yield "source", self.source
        yield "expected", shown(self.expected, self.unit)
        low_high = " to ".join(shown(end, self.unit) for end in self.interval or ())
        counted = "" if self.n is None else f"n = {self.n}"
        aside, value = ", ".join(filter(None, (low_high, counted))), shown(self.measured, self.unit)
        yield "measured", f"{value} ({aside})" if value and aside else value or aside
        yield "reason", self.reason
        predicted = prediction(self.id)
        if predicted:
            missed = score(self, predicted)
            yield "predicted", str(predicted.text) + ("" if missed is None else f" ({missed:.0%} off)")

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{name}</th><td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in self._rows()
            if text
        )
        title = html.escape(f"{self.id} {sign(self.verdict)} {self.verdict}")
        return f"<table><caption style='text-align:left'><b>{title}</b></caption>{rows}</table>"


def record(
    id: str,
    expected: Any,
    measured: Any,
    verdict: Verdict,
    reason: str,
    *,
    interval: Interval | tuple[float, float] | None = None,
    n: int | None = None,
    source: str | None = None,
    notebook: str | None = None,
    run: str | None = None,
    unit: str = "",
) -> Record:
    """Put down the verdict on a claim.

    Args:
        interval: the confidence interval that decided it.
        source: where the claim comes from; known for the ids in :data:`SOURCES`.
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
        source = SOURCES[id].source if id in SOURCES else ""
    found = Record(
        id,
        source,
        expected,
        measured,
        interval,
        n,
        verdict,
        reason,
        notebook or _notebook(),
        run,
        _now(),
        versions(),
        unit,
    )
    kept = _plain(asdict(found))
    _append(path(), kept)
    return _record(kept)


def records() -> dict[str, Record]:
    """The newest record of each claim, by id, in the order in which the claims were first recorded."""
    return {entry["id"]: _record(entry) for entry in _entries(path()) if entry.get("verdict") in VERDICTS}


def table() -> pd.DataFrame:
    """The newest records as a table, with predictions and how far off they were (share of the measured value)."""
    import pandas as pd

    columns = ["claim", "source", "expected", "measured", "interval", "n", "verdict", "reason"]
    columns += ["predicted", "off", "notebook", "time"]
    rows = []
    for id, found in records().items():
        guess = prediction(id)
        interval = " to ".join(shown(end, found.unit) for end in found.interval or ())
        expected, measured = shown(found.expected, found.unit), shown(found.measured, found.unit)
        predicted, off = (guess.text, score(found, guess)) if guess else ("", None)
        row = [id, found.source, expected, measured, interval, found.n, found.verdict, found.reason]
        rows.append([*row, predicted, off, found.notebook or "", found.time])
    return pd.DataFrame(rows, columns=columns).set_index("claim")


# Predictions


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a learner expects a claim's measured value to be."""

    id: str
    value: float
    unit: str = ""
    time: str = ""

    @property
    def text(self) -> str:
        """The value with its unit."""
        return shown(self.value, self.unit)

    def __str__(self) -> str:
        return f"prediction for {self.id}: {self.text}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(str(self))}</p>"


def predict(id: str, value: float, unit: str = "") -> Prediction:
    """Keep a prediction of the value that a claim's experiment will measure.

    Args:
        unit: the claim's own by default (seconds for a latency); ``ms`` and ``us`` are understood too.

    Raises:
        LabkitError: *value* is not a number.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise LabkitError(f"a prediction is a number, not {value!r}")
    claim = SOURCES.get(id)
    kept = Prediction(id, number, unit or (claim.unit if claim else ""), _now())
    _append(_predictions_path(), asdict(kept))
    return kept


def prediction(id: str) -> Prediction | None:
    """The newest prediction for a claim."""
    mine = [entry for entry in _entries(_predictions_path()) if entry["id"] == id and "value" in entry]
    return Prediction(**_known(Prediction, mine[-1])) if mine else None


def score(found: Record, guess: Prediction) -> float | None:
    """How far off the prediction was, as a share of the measured value; None where they cannot be compared."""
    times = ratio(found, guess, signed=True)
    return None if times is None else abs(times - 1)


def ratio(found: Record, guess: Prediction, *, signed: bool = False) -> float | None:
    """The prediction over the measured value, in one unit; None where they cannot be compared.

    Args:
        signed: values of 0 and below may be compared too, as long as the measured one is not 0.
    """
    seconds = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
    units = found.unit, guess.unit or found.unit
    scales = (1.0, 1.0) if units[0] == units[1] else tuple(seconds.get(unit) for unit in units)
    if not isinstance(found.measured, int | float) or not found.measured or None in scales:
        return None
    times: float = guess.value * scales[1] / (found.measured * scales[0])  # type: ignore[operator]
    return times if signed or times > 0 else None


# Answers to exercises


def keep_answer(id: str, value: object, right: bool) -> None:
    """Keep what was handed in as the answer to an exercise.

    Raises:
        LabkitError: the file cannot be written.
    """
    _append(_answers_path(), {"id": id, "value": f"{value!r:.200}", "right": right, "time": _now()})


def answers() -> dict[str, dict[str, Any]]:
    """The newest answer to each exercise: ``value``, ``right`` and ``time``."""
    return {entry.pop("id"): entry for entry in _entries(_answers_path()) if isinstance(entry.get("right"), bool)}


def shown(value: Any, unit: str = "") -> str:
    """A value for people: three digits, a time below a second in ms."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(part, unit)}" for name, part in value.items())
    if value is None or not isinstance(value, int | float):
        return "" if value is None else str(value)
    if unit == "s" and abs(value) < 1:
        value, unit = value * 1e3, "ms"
    if value == 1 and len(unit) > 2:
        unit = unit.removesuffix("s")
    return f"{float(f'{value:.3g}'):g} {unit}".rstrip()


# The files


def path() -> Path:
    """Where records are kept."""
    if os.environ.get("LABKIT_CLAIMS"):
        return Path(os.environ["LABKIT_CLAIMS"])
    from platformdirs import user_data_path

    return user_data_path("labkit") / "claims.jsonl"


def _predictions_path() -> Path:
    return path().with_name(path().stem + ".predictions.jsonl")


def _answers_path() -> Path:
    return path().with_name(path().stem + ".answers.jsonl")


def _append(file: Path, entry: dict[str, Any]) -> None:
    """Write one whole line under the file's lock, on a line of its own even after a torn one."""
    from filelock import FileLock

    line = json.dumps(entry, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock", timeout=LOCK_TIMEOUT_S), file.open("ab+") as out:
            if out.seek(0, os.SEEK_END):
                out.seek(-1, os.SEEK_END)
                line = line if out.read(1) == b"\n" else b"\n" + line
            out.write(line)
    except (OSError, TimeoutError) as error:
        raise LabkitError(f"cannot write {file} ({error}); set LABKIT_CLAIMS to a file that can be written") from error


def _entries(file: Path) -> Iterator[dict[str, Any]]:
    """The lines that can be read; a torn one is skipped."""
    try:
        lines = file.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("id"), str):
            yield entry


def _known(kind: type, entry: dict[str, Any]) -> dict[str, Any]:
    """The members that this version knows."""
    return {f.name: entry[f.name] for f in fields(kind) if f.name in entry}


def _record(entry: dict[str, Any]) -> Record:
    known: dict[str, Any] = dict.fromkeys(f.name for f in fields(Record)[:8]) | _known(Record, entry)
    known["interval"] = tuple(known["interval"]) if known["interval"] else None
    return Record(**known)


def _plain(value: Any) -> Any:
    """What JSON can hold: numpy's numbers as Python's, and null for a number that is none."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | None) else str(value)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _notebook() -> str | None:
    session = os.environ.get("JPY_SESSION_NAME", "")
    return Path(session).stem if session.endswith(".ipynb") else None


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
