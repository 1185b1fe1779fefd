"""What a rule has found, how sure that is, and what else is worth knowing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from labkit.strangers.probe.observation import Seen

Grade = Literal["seen", "consistent with", "not from here"]
"""seen: the bytes are shown; consistent with: what is left is named; not from here: where it would be seen."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that went wrong in this probe.

    Attributes:
        row: of docs/symptoms.md; 0 for what is no row of it.
        says: what went wrong, in one sentence.
        left: the causes that are left.
        remedy: what to change; its first line is the one that is shown second.
        elsewhere: where the rest would be seen.
        unasked: whether the stream was not reached at all: who is asked is not it, or wants to know who asks.
    """

    row: int
    grade: Grade
    says: str
    evidence: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    remedy: tuple[str, ...] = ()
    elsewhere: str = ""
    unasked: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """A risk, or what is worth knowing: nothing that went wrong in this probe."""

    row: int
    says: str


Rule = Callable[[Seen], Finding | None]


def tap_between(seen: Seen, what: str) -> str:
    """Where two taps would show what a client alone cannot."""
    return f"{what}: `labkit tap --to {seen.url}` on this side of the suspected hop and another one behind it"
