"""What a judge gives back: a verdict with what it rests on, or why there is none."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass

from labkit.claims.confidence import Interval, Verdict
from labkit.claims.values import shown


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. ``expected``, ``measured`` and ``interval`` in *unit*; ``n`` counts events."""

    expected: float | Mapping[str, float] | None
    measured: float | Mapping[str, float] | None
    interval: Interval | None
    n: int
    verdict: Verdict
    reason: str
    unit: str = "s"

    def __str__(self) -> str:
        measured = f"; measured {shown(self.measured, self.unit)}" if self.measured is not None else ""
        expected = f", expected {shown(self.expected, self.unit)}" if self.expected is not None else ""
        return f"{self.verdict}{measured}{expected} (n = {self.n}): {self.reason}"

    def _repr_html_(self) -> str:
        return f"<p><b>{self.verdict}</b>{html.escape(str(self).removeprefix(self.verdict))}</p>"


class NoVerdict(Exception):
    """The run cannot decide the claim at all, and why."""

    def __init__(self, verdict: Verdict, why: str, n: int = 0) -> None:
        super().__init__(why)
        self.verdict: Verdict = verdict
        self.n = n

    def finding(self) -> Finding:
        """What a judge would have given back."""
        return Finding(None, None, None, self.n, self.verdict, str(self))
