"""The claims and what came of them on this machine: one row for each, the open ones too, as a table and as files.

Pure: it reads what :mod:`labkit.claims` keeps. ``python -m labkit verdicts`` runs the notebooks first.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import files
from labkit.claims import logbook, page, predicting, recording, told
from labkit.claims.claim import DECLARED, Claim
from labkit.claims.confidence import VERDICTS
from labkit.claims.entry import OPEN, Entry
from labkit.errors import LabkitError, package
from labkit.measuring.rounding import counted

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["claim", "sentence", "source", "expected", "measured", "interval", "n", "verdict", "reason", "predicted"]
COLUMNS += ["missed", "notebook"]


@dataclass(frozen=True)
class Book:
    """Every claim that the notebooks put to the test, in their order."""

    entries: tuple[Entry, ...]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def open(self) -> list[str]:
        """The ids of which nothing has been recorded on this machine."""
        return [entry.id for entry in self if entry.verdict == OPEN]

    def counts(self) -> dict[str, int]:
        """How many claims have which verdict."""
        found = Counter(entry.verdict for entry in self)
        return {verdict: found[verdict] for verdict in (*VERDICTS, OPEN) if found[verdict]}

    def having(self, *wanted: str) -> Book:
        """The claims of these verdicts only; ``open`` is one.

        Raises:
            LabkitError: no such verdict.
        """
        unknown = set(wanted) - {*VERDICTS, OPEN}
        if unknown:
            raise LabkitError(
                f"no such verdict: {', '.join(sorted(unknown))} (there are {', '.join(VERDICTS)}, {OPEN})"
            )
        return Book(tuple(entry for entry in self if entry.verdict in wanted))

    def table(self) -> pd.DataFrame:
        """One row for each claim, all that is known of it."""
        pd = package("pandas")

        return pd.DataFrame([entry.cells() for entry in self], columns=COLUMNS).set_index("claim")

    def reasons(self) -> Reasons:
        """Why each recorded claim got its verdict, in full."""
        return Reasons(tuple((e.id, e.verdict, e.reason) for e in self if e.reason))

    def write(self, folder: str | Path | None = None) -> list[Path]:
        """Write ``verdicts.json`` and ``verdicts.md``; returns their paths.

        Args:
            folder: where; beside the claims file by default.

        Raises:
            LabkitError: the folder cannot be written.
        """
        folder = logbook.path().parent if folder is None else Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LabkitError(f"cannot write the verdicts: {error}") from error
        return [
            files.write(folder / "verdicts.json", json.dumps(self.to_json(), ensure_ascii=False, indent=1) + "\n"),
            files.write(folder / "verdicts.md", self.to_markdown()),
        ]

    def to_json(self) -> dict[str, Any]:
        """Everything, with versions and the time of writing."""
        return {
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": recording.versions(),
            "counts": self.counts(),
            "claims": [entry.to_json() for entry in self],
        }

    def to_markdown(self) -> str:
        """The table as a page of its own."""
        columns = ("claim", "sentence", "expected", "measured", "interval", "n", "verdict", "predicted", "missed")
        lines = ["# Verdicts", "", self.said() + " " + _environment() + ".", ""]
        for notebook in dict.fromkeys(entry.claim.notebook for entry in self):
            lines += [f"## {notebook}", "", _row(columns), _row("---" for _ in columns)]
            mine = [entry for entry in self if entry.claim.notebook == notebook]
            lines += [_row(entry.cells()[column] for column in columns) for entry in mine]
            reasons = [_item(entry) for entry in mine if entry.reason]
            lines += ["", *reasons, ""] if reasons else [""]
        return "\n".join(lines)

    def said(self) -> str:
        """One sentence of how the claims stand."""
        counts = self.counts()
        found = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
        return f"{counted(len(self), 'claim')}: {found}."

    def __repr__(self) -> str:
        return f"<Book: {self.said()}>"

    def _repr_html_(self) -> str:
        return page.book_html(self.said(), self.entries)


@dataclass(frozen=True)
class Reasons:
    """Claims with verdict and reason, as text that shows whole."""

    rows: tuple[tuple[str, str, str], ...]

    def __repr__(self) -> str:
        return (
            "\n".join(f"{id} {verdict}: " + reason.replace("\n", "\n  ") for id, verdict, reason in self.rows) or "none"
        )

    def _repr_html_(self) -> str:
        said = (f"<li><b>{id}</b> {verdict}: {self._told(verdict, reason)}</li>" for id, verdict, reason in self.rows)
        return f"<ul>{''.join(said)}</ul>" if self.rows else "<p>none</p>"

    @staticmethod
    def _told(verdict: str, reason: str) -> str:
        """In full; of what is undecided first what kept it from a verdict, and the rest folded."""
        first, rest = told.parted(reason) if verdict == "undecided" else (reason, [])
        return told.reason_html(first, rest, "more")


def book() -> Book:
    """How every claim stands on this machine (see :func:`labkit.claims.logbook.path`), whoever recorded it."""
    found = recording.records()
    ids = [*DECLARED, *(id for id in found if id not in DECLARED)]
    entries = []
    for id in ids:
        record = found.get(id)
        claim = DECLARED.get(id) or Claim(id, record.source if record else "", "", notebook="of your own")
        guess = next(reversed(list(predicting.predictions(id))), None)
        asked = recording.records(guess.notebook).get(id) if guess else None
        entries.append(Entry(id, claim, record, guess, asked))
    return Book(tuple(sorted(entries, key=lambda entry: entry.claim.notebook)))


def _item(entry: Entry) -> str:
    holds = entry.record.holds if entry.record else ()
    lines = [*entry.reason.split("\n"), *filter(None, [told.folded(holds)])]
    return f"- **{entry.id}**: " + "\n    - ".join(lines)


def _environment() -> str:
    return "Measured with " + ", ".join(f"{name} {version}" for name, version in recording.versions().items())


def _row(cells: Any) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
