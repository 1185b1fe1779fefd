"""One claim of the book: what it says, the newest record and the newest prediction of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from labkit.claims import recording
from labkit.claims.claim import Claim
from labkit.claims.predicting import Prediction
from labkit.claims.recording import Record
from labkit.claims.values import between, shown

OPEN = "open"
"""What a claim is that nothing has been recorded of."""


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
        interval = between(found.interval, found.unit) if found else ""
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
