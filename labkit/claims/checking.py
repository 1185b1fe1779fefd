"""A claim put to the test: from what its experiment gave to a verdict, and to the record of it."""

from __future__ import annotations

from typing import Any

from labkit.claims import recording
from labkit.claims.claim import DECLARED
from labkit.claims.faults import faults
from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.recording import Record
from labkit.errors import LabkitError


def check(id: str, seen: Any, *, notebook: str | None = None) -> Record:
    """Put a claim to the test, record the verdict, and return the record.

    Args:
        seen: what the claim's experiment gave: a run, or what the function of :mod:`labkit.course` returned.

    Raises:
        LabkitError: there is no check of that id (the message lists those there are), or *seen* is something else.
    """
    return recorded(id, judge(id, seen), seen, notebook)


def judge(id: str, seen: Any) -> Finding:
    """The verdict of :func:`check`, without recording it."""
    judges = {claim.id: claim.judge for claim in DECLARED.values() if claim.judge is not None}
    if id not in judges:
        raise LabkitError(f"no check for claim {id!r}; there are: {', '.join(judges)}")
    try:
        found = judges[id](seen)
    except NoVerdict as why:
        found = why.finding()
    except AttributeError as error:
        if error.obj is not seen:
            raise
        raise LabkitError(
            f"{id} is not judged by {seen!r:.60}, which has no {error.name!r}: give what the notebook's experiment gave"
        ) from error
    return found.folded().refuted_by([fault.text for fault in faults(seen, DECLARED[id].provokes)])


def recorded(id: str, found: Finding, seen: Any, notebook: str | None) -> Record:
    """Put down what was found of a claim."""
    return recording.record(
        id,
        found.expected,
        found.measured,
        found.verdict,
        found.reason,
        holds=found.holds,
        interval=found.interval,
        n=found.n,
        notebook=notebook,
        run=getattr(seen, "settings", {}).get("started"),
        unit=found.unit,
    )
