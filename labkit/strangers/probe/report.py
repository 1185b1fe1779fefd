"""What a probe has found, as a value and as words."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from labkit import files
from labkit.strangers.probe.finding import Finding, Note
from labkit.strangers.probe.observation import Seen
from labkit.strangers.probe.page import page
from labkit.strangers.probe.telling import NOTHING, found, measured, row_of
from labkit.wire.http1 import without_controls

INTERRUPTED = 130
"""As a shell has it of a program that SIGINT has ended."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was asked, what was found, what is worth knowing.

    Attributes:
        unmet: what ``expect`` asked for and was not so.
        when: at what time it was asked, for people.
    """

    seen: Seen
    findings: tuple[Finding, ...]
    notes: tuple[Note, ...]
    unmet: tuple[str, ...] = ()
    when: str = ""

    @property
    def status(self) -> int:
        """The exit status: 0 nothing found, 1 something, 2 it could not be asked, 130 interrupted before any of it."""
        if any(finding.unasked for finding in self.findings):
            return 2
        if self.findings or self.unmet:
            return 1
        return INTERRUPTED if self.seen.interrupted else 0

    def to_html(self, path: str | Path) -> Path:
        """Write it as one page, which needs nothing else.

        Raises:
            LabkitError: it cannot be written, and why.
        """
        return files.write(path, page(self.seen, self.findings, self.notes, self.unmet, self.when))

    def to_json(self, path: str | Path) -> Path:
        """Write all that was seen and found.

        Raises:
            LabkitError: it cannot be written, and why.
        """
        return files.write(path, self.json() + "\n")

    def json(self, *, is_ascii: bool = False) -> str:
        """All that was seen and found; in ASCII alone for a console, whatever it can show."""
        return json.dumps(self.as_json(), indent=1, ensure_ascii=is_ascii)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        """Its long lines are broken between words: notebooks break a pre anywhere."""
        style = "white-space:pre-wrap; word-break:normal; overflow-wrap:anywhere"
        return f"<pre style='{style}'>{escape(str(self))}</pre>"

    def lines(self) -> list[str]:
        """First the finding, second the line to change; then what was measured, and the notes apart."""
        said: list[str] = [f"not as expected: {each}" for each in self.unmet]
        for number, finding in enumerate(self.findings):
            if number:
                said.append("")
            said += found(finding)
        if not self.findings and not self.unmet:
            said.append(NOTHING)
        if self.seen.interrupted:
            said.append("interrupted: this is what was seen until then, and nothing further was asked")
        said += ["", *(measured(one) for one in self.seen if not one.name.startswith("parallel"))]
        if self.notes:
            said += ["", "notes (risks, not findings):"]
            said += [f"  - {note.says}{row_of(note.row)}" for note in self.notes]
        return [without_controls(line) for line in said]

    def as_json(self) -> dict[str, Any]:
        return {
            "url": self.seen.url,
            "status": self.status,
            "when": self.when,
            "interrupted": self.seen.interrupted,
            "findings": [asdict(finding) for finding in self.findings],
            "unmet": list(self.unmet),
            "notes": [asdict(note) for note in self.notes],
            "requests": [one.as_json() for one in self.seen],
        }
