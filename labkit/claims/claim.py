"""What a claim is: its sentence, where it comes from, what puts it to the test, and what judges what was seen.

A claim is declared once, in the ``claims.py`` of the notebook that puts it to the test; whatever lists, records, draws
or judges claims reads that declaration. ``labkit.course.claims`` knows them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from labkit.claims.finding import Finding


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim.

    Attributes:
        id: a letter and a number, ``P1``.
        source: who says so.
        sentence: what it says. Quotation marks are verbatim, ``[...]`` marks what is left out; the rest is the claim
            in our words. The founding notes stand in Korean with a translation. *practice* is what engineers say with
            no one source.
        unit: of what its experiment measures.
        measures: what its measured value is, in words.
        limit: whether its question asks for a limit: then a prediction is scored against what is expected.
        latency_of: the technique whose mean latency is predicted with it, if it is about one.
        notebook: that puts it to the test.
        judge: from what its experiment gave to a finding; None where a notebook records the verdict by itself.
        not_run: why nothing puts it to the test; empty where something does.
        experiment: does all of it once, at the notebook's size; None where it needs a page.
        provokes: the faults that its experiment provokes on purpose (:data:`labkit.claims.faults.KINDS`); any other
            refutes it, whatever it is about.
    """

    id: str
    source: str
    sentence: str
    unit: str = "s"
    notebook: str = ""
    measures: str = ""
    limit: bool = False
    latency_of: str = ""
    not_run: str = ""
    judge: Callable[[Any], Finding] | None = None
    experiment: Callable[[], Any] | None = None
    provokes: frozenset[str] = frozenset()


def of_notebook(notebook: str, *claims: Claim) -> tuple[Claim, ...]:
    """The claims that one notebook puts to the test."""
    return tuple(replace(claim, notebook=notebook) for claim in claims)


DECLARED: dict[str, Claim] = {}
"""Every claim that was declared, by id."""


def declare(claims: Iterable[Claim]) -> None:
    """Make claims known to records, predictions and the book.

    Raises:
        ValueError: another claim has that id.
    """
    for claim in claims:
        if DECLARED.setdefault(claim.id, claim) != claim:
            raise ValueError(f"two claims {claim.id!r}: of {DECLARED[claim.id].notebook} and of {claim.notebook}")
