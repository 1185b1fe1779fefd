"""What a probe made of a planted cause, in one word."""

from __future__ import annotations

import re
from typing import Literal

from labkit.strangers.probe.report import Report

Word = Literal["named", "graded", "noted", "nothing", "wrong"]
"""named: seen, by its row; graded: consistent with it, it being among the causes left; noted: a risk, told as a note;
wrong: another row was seen, or it is not among what is left."""
GOOD: tuple[Word, ...] = ("named", "graded", "noted")


def judged(report: Report, rows: frozenset[int], *, is_risk: bool) -> Word:
    """Of a cause that any of *rows* names rightly, and that may be no more than a risk."""
    found = [_of(finding.grade, {finding.row}, finding.left, rows) for finding in report.findings]
    if "wrong" in found:
        return "wrong"
    if found:
        return "named" if "named" in found else "graded"
    return "noted" if is_risk and any(note.row in rows for note in report.notes) else "nothing"


def _of(grade: str, own: set[int], left: tuple[str, ...], rows: frozenset[int]) -> Word:
    if grade == "seen":
        return "named" if own & rows else "wrong"
    named = own | {int(row) for cause in left for row in re.findall(r"row (\d+)", cause)}
    return "graded" if named & rows else "wrong"
