"""What came of it: each promise held, broken and how, or why it does not apply."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from labkit.errors import package
from labkit.subscribing.contract.promise import Promise

if TYPE_CHECKING:
    import pandas as pd

Verdict = Literal["held", "broken", "does not apply"]
MARKS: dict[Verdict, str] = {"held": "✓", "broken": "✗", "does not apply": "-"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One promise, and whether it was kept.

    Attributes:
        how: how it was broken, or why it does not apply.
        took_s: seconds that trying it took.
    """

    promise: Promise
    verdict: Verdict
    how: str = ""
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """Whether one technique keeps the contract.

    Attributes:
        technique: its name.
        outcomes: one for each promise that was tried, in order.
        interrupted: whether it was stopped before the last one.
    """

    technique: str
    outcomes: tuple[Outcome, ...]
    interrupted: bool = False

    @property
    def broken(self) -> dict[str, str]:
        """How each broken promise was broken, by its name; empty where all that apply are held."""
        return {one.promise.name: one.how for one in self.outcomes if one.verdict == "broken"}

    def table(self) -> pd.DataFrame:
        """One row a promise.

        Returns:
            ``group``, ``promise`` (what is promised), ``verdict``, ``how`` (it was broken, or why it does not apply)
            and ``took_s``, by the promise's name.
        """
        pd = package("pandas")

        rows = [
            (o.promise.name, o.promise.group, o.promise.sentence, o.verdict, o.how, o.took_s) for o in self.outcomes
        ]
        columns = ["name", "group", "promise", "verdict", "how", "took_s"]
        return pd.DataFrame(rows, columns=columns).set_index("name")

    def __str__(self) -> str:
        counts = {v: sum(o.verdict == v for o in self.outcomes) for v in MARKS}
        named = f" ({', '.join(self.broken)})" if self.broken else ""
        stopped = "; interrupted: these are the promises up to then" if self.interrupted else ""
        return (
            f"{self.technique}: {counts['held']} held, {counts['broken']} broken{named},"
            f" {counts['does not apply']} do not apply{stopped}"
        )

    def __repr__(self) -> str:
        return f"<Report of {self}>"

    def _repr_html_(self) -> str:
        rows, group = [], ""
        for one in self.outcomes:
            if one.promise.group != group:
                group = one.promise.group
                rows.append(f'<tr><th colspan="4" style="text-align: left">{html.escape(group)}</th></tr>')
            cells = (one.promise.name, one.promise.sentence, f"{MARKS[one.verdict]} {one.verdict}", one.how)
            row = "".join(f'<td style="text-align: left">{html.escape(cell)}</td>' for cell in cells)
            rows.append(f"<tr>{row}</tr>")
        return f'<div style="overflow-x: auto"><p>{html.escape(str(self))}</p><table>{"".join(rows)}</table></div>'
