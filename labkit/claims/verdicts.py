"""The claims and what came of them on this machine: one row for each, the open ones too, as a table and as files.

Pure: it reads what :mod:`labkit.claims` keeps. ``python -m labkit verdicts`` runs the notebooks first.
"""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import files
from labkit.claims import logbook, predicting, recording, told
from labkit.claims.claim import DECLARED, Claim
from labkit.claims.confidence import VERDICTS
from labkit.claims.predicting import Prediction
from labkit.claims.recording import Record
from labkit.claims.values import shown
from labkit.errors import LabkitError

if TYPE_CHECKING:
    import pandas as pd

OPEN = "open"
"""What a claim is that nothing has been recorded of."""
NOTHING_YET = (
    "Run a notebook of the course and come back: each of its checks fills a row of this table. "
    "<code>python -m labkit verdicts</code> runs them all, in about ten minutes."
)
COLUMNS = ["claim", "sentence", "source", "expected", "measured", "interval", "n", "verdict", "reason", "predicted"]
COLUMNS += ["missed", "notebook"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One claim: where it comes from, the newest record if there is one, the newest prediction if there is one.

    ``asked`` is the newest record of the notebook in which the prediction was typed: what that is scored by.
    """

    id: str
    claim: Claim
    record: Record | None
    prediction: Prediction | None
    asked: Record | None = None

    @property
    def verdict(self) -> str:
        if self.record:
            return self.record.verdict
        return "not run" if self.claim.not_run else OPEN

    @property
    def reason(self) -> str:
        return self.record.reason if self.record else self.claim.not_run

    @property
    def missed(self) -> str:
        """By what factor the prediction missed, in words."""
        return recording.missed(self.asked, self.prediction) if self.asked and self.prediction else ""

    @property
    def ratio(self) -> float | None:
        """The prediction over what was measured; None where they cannot be compared."""
        return recording.ratio(self.asked, self.prediction) if self.asked and self.prediction else None

    def cells(self) -> dict[str, str]:
        """What a table says of it."""
        found, guess = self.record, self.prediction
        interval = " to ".join(shown(end, found.unit) for end in found.interval or ()) if found else ""
        return {
            "claim": self.id,
            "sentence": self.claim.sentence,
            "source": self.claim.source,
            "expected": shown(found.expected, found.unit) if found else "",
            "measured": shown(found.measured, found.unit) if found else "",
            "interval": interval,
            "n": "" if found is None or found.n is None else str(found.n),
            "verdict": self.verdict,
            "reason": self.reason,
            "predicted": guess.text if guess else "",
            "missed": self.missed,
            "notebook": (found.notebook if found else None) or self.claim.notebook,
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "claim": {name: getattr(self.claim, name) for name in ("source", "sentence", "unit", "notebook")},
            "verdict": self.verdict,
            "record": asdict(self.record) if self.record else None,
            "prediction": asdict(self.prediction) if self.prediction else None,
            "ratio": self.ratio,
        }


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
        import pandas as pd

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
        return f"{len(self)} claims: {found}."

    def __repr__(self) -> str:
        return f"<Book: {self.said()}>"

    def _repr_html_(self) -> str:
        names = ["claim", "sentence", "source", "expected", "measured", "n", "verdict", "reason", "predicted"]
        names += ["missed", "notebook"]
        head = "".join(f"<th style='text-align:left'>{name}</th>" for name in names)
        rows = "".join(f"<tr>{''.join(_cell(name, entry) for name in names)}</tr>" for entry in self)
        said = f"<p>{html.escape(self.said())}</p>"
        if not any(entry.record for entry in self):
            said = f"<p><b>Nothing has been recorded on this machine yet.</b> {NOTHING_YET}</p>" + said
        return f"{said}<table><tr>{head}</tr>{rows}</table>"


@dataclass(frozen=True)
class Reasons:
    """Claims with verdict and reason, as text that shows whole."""

    rows: tuple[tuple[str, str, str], ...]

    def __repr__(self) -> str:
        return (
            "\n".join(f"{id} {verdict}: " + reason.replace("\n", "\n  ") for id, verdict, reason in self.rows) or "none"
        )

    def _repr_html_(self) -> str:
        said = (f"<li><b>{id}</b> {verdict}: {told.reason_html(reason, ())}</li>" for id, verdict, reason in self.rows)
        return f"<ul>{''.join(said)}</ul>" if self.rows else "<p>none</p>"


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


def _cell(name: str, entry: Entry) -> str:
    text = entry.cells()[name]
    content = html.escape(f"{told.sign(text)}\N{NO-BREAK SPACE}{text}" if name == "verdict" else text)
    if name == "reason" and entry.record:
        first, *rest = entry.record.reason.split("\n")
        content = told.reason_html(first, (*rest, *entry.record.holds), "more")
    wrap = ";white-space:nowrap" if name == "verdict" else ""
    return f"<td style='text-align:left;vertical-align:top{wrap}'>{content}</td>"


def _item(entry: Entry) -> str:
    holds = entry.record.holds if entry.record else ()
    lines = [*entry.reason.split("\n"), *filter(None, [told.folded(holds)])]
    return f"- **{entry.id}**: " + "\n    - ".join(lines)


def _environment() -> str:
    return "Measured with " + ", ".join(f"{name} {version}" for name, version in recording.versions().items())


def _row(cells: Any) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
