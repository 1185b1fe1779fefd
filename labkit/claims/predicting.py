"""What a learner expects to be measured: a number for a question, which is a claim, its conditions and a notebook.

Only a number that was typed is kept: where the dots still stand in its place, nothing is.
"""

from __future__ import annotations

import html
import math
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from types import EllipsisType
from typing import Any

from labkit.claims import logbook
from labkit.claims.claim import DECLARED
from labkit.claims.values import shown
from labkit.errors import LabkitError

CONDITIONS = ("one_way_s", "jitter_s", "poll_interval_s", "hold_s", "rate_per_s")
"""What a question may name of a run, as its settings do."""

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
"""The units of a time that are understood, in seconds."""

SESSION = secrets.token_hex(4)
"""Of this process: where no notebook has a name, a question belongs to the kernel that asked it."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a learner expects a claim's measured value to be."""

    id: str
    value: float
    unit: str = ""
    time: str = ""
    notebook: str | None = None
    session: str = ""
    conditions: dict[str, float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The value with its unit."""
        return shown(self.value, self.unit)

    def __str__(self) -> str:
        return f"prediction for {self.id}: {self.text}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(str(self))}</p>"


@dataclass(frozen=True, slots=True)
class Blank:
    """A question that nobody has answered yet."""

    id: str
    unit: str

    def __str__(self) -> str:
        number = "a number" + (f" ({self.unit})" if self.unit else "")
        return f"{self.id}: no prediction yet. Type {number} in place of the dots and run this cell again."

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(str(self))}</p>"


def predict(id: str, value: float | EllipsisType, unit: str = "", **conditions: float) -> Prediction | Blank:
    """Keep a prediction of the value that a claim's experiment will measure.

    Args:
        value: the number; three dots stand for one that is still to be typed, and nothing is kept.
        unit: the claim's own by default (seconds for a latency); ``ms`` and ``us`` are understood too.
        conditions: what the question names of the run, of :data:`CONDITIONS`. A chart draws the prediction where its
            run has them and the notebook is this one.

    Raises:
        LabkitError: no such claim or condition, *value* is not a number, or *unit* is none of the claim's values.
    """
    if id not in DECLARED and not any(entry["id"] == id for entry in logbook.entries(logbook.path())):
        raise LabkitError(f"there is no claim {id!r} to predict; there are: {', '.join(DECLARED) or 'none'}")
    if unknown := set(conditions) - set(CONDITIONS):
        raise LabkitError(f"no condition {', '.join(sorted(unknown))}; a question may name {', '.join(CONDITIONS)}")
    unit = _unit(id, unit)
    if value is ...:
        return Blank(id, unit)
    number, named = _number(value), {name: _number(given) for name, given in conditions.items()}
    kept = Prediction(id, number, unit, logbook.now(), logbook.notebook(), SESSION, named)
    logbook.append(logbook.predictions_path(), asdict(kept))
    return kept


def _unit(id: str, unit: str) -> str:
    """In what a claim's value is predicted; of what somebody recorded without declaring it, anything."""
    if id not in DECLARED:
        return unit
    own = DECLARED[id].unit
    known = list(SECONDS) if own in SECONDS else [own]
    if unit and unit not in known:
        takes = f"in {', '.join(known)}" if own else "without a unit"
        raise LabkitError(f"{id} is predicted {takes}, not in {unit!r}")
    return unit or own


def _number(value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise LabkitError(f"a prediction is a number, not {value!r}")
    return number


def prediction(id: str, notebook: str | None) -> Prediction | None:
    """The newest prediction for a claim in the notebook of that name; None: in one without a name."""
    mine = [guess for guess in predictions(id) if guess.notebook == notebook]
    return mine[-1] if mine else None


def predictions(id: str) -> Iterator[Prediction]:
    """All that was typed for a claim, the newest last; what does not say in which notebook is no answer."""
    for entry in logbook.entries(logbook.predictions_path()):
        if entry["id"] == id and {"value", "notebook", "conditions"} <= entry.keys():
            yield Prediction(**{f.name: entry[f.name] for f in fields(Prediction) if f.name in entry})


def asked_here(id: str, settings: Mapping[str, Any]) -> Prediction | None:
    """The newest prediction for a claim that this notebook has asked for under the conditions of these settings."""
    name = logbook.notebook()
    mine = [
        guess
        for guess in predictions(id)
        if guess.notebook == name and (name or guess.session == SESSION) and _holds(guess.conditions, settings)
    ]
    return mine[-1] if mine else None


def predicted_latency_s(technique: str, settings: Mapping[str, Any]) -> float | None:
    """What was predicted here for a technique's mean latency in a run of these settings; None for another run.

    A prediction whose question names no condition is for no run in particular. Where predictions cannot be read, there
    are none: a run goes on, and is drawn, without.
    """
    try:
        kept = [asked_here(claim.id, settings) for claim in DECLARED.values() if claim.latency_of == technique]
    except LabkitError:
        return None
    seconds = [p.value * SECONDS.get(p.unit, 1.0) for p in kept if p is not None and p.conditions]
    return seconds[-1] if seconds else None


def _holds(conditions: Mapping[str, float], settings: Mapping[str, Any]) -> bool:
    """Whether a run had these conditions, all the time."""
    had = {**settings, "rate_per_s": settings.get("rate_per_s", (settings.get("schedule") or {}).get("rate_per_s"))}
    if conditions and not settings.get("steady", True):
        return False
    return all(had.get(name) is not None and math.isclose(had[name], value) for name, value in conditions.items())
