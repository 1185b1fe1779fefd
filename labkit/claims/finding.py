"""What a judge gives back: a verdict with what it rests on, or why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from labkit.claims import told
from labkit.claims.confidence import Interval, Verdict
from labkit.claims.values import shown


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. ``expected``, ``measured`` and ``interval`` in *unit*; ``n`` counts events.

    ``reason`` is what decided it, one part a line; ``holds`` what was looked at besides, and is so.
    """

    expected: float | Mapping[str, float] | None
    measured: float | Mapping[str, float] | None
    interval: Interval | None
    n: int
    verdict: Verdict
    reason: str
    unit: str = "s"
    holds: tuple[str, ...] = ()

    @property
    def whole(self) -> str:
        """All that was found, one part a line."""
        return "\n".join([self.reason, *self.holds])

    def refuted_by(self, faults: Sequence[str]) -> Finding:
        """The same, refuted by what is no matter of the claim; as it is where there is nothing of the kind."""
        if not faults:
            return self
        if self.verdict in ("refuted", "undecided", "not run"):
            return replace(self, verdict="refuted", reason="\n".join([*faults, self.reason]))
        return replace(self, verdict="refuted", reason="\n".join(faults), holds=tuple(self.whole.split("\n")))

    def folded(self) -> Finding:
        """The same, where it stands with only the first line of its reason: the others hold besides.

        What its judge has folded, the exceptions of a refined claim before it, stays as it is.
        """
        if self.verdict in ("refuted", "undecided", "not run") or (self.verdict == "refined" and self.holds):
            return self
        first, *rest = self.reason.split("\n")
        return replace(self, reason=first, holds=(*rest, *self.holds))

    def _rows(self) -> Iterator[tuple[str, str]]:
        yield "expected", shown(self.expected, self.unit)
        yield "measured", f"{shown(self.measured, self.unit)} (n = {self.n})".lstrip()

    def __str__(self) -> str:
        return told.as_text(told.title(self.verdict), self._rows(), self.reason, self.holds)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return told.as_html(told.title(self.verdict), self._rows(), self.reason, self.holds)


class NoVerdict(Exception):
    """The run cannot decide the claim at all, and why."""

    def __init__(self, verdict: Verdict, why: str, n: int = 0) -> None:
        super().__init__(why)
        self.verdict: Verdict = verdict
        self.n = n

    def finding(self) -> Finding:
        """What a judge would have given back."""
        return Finding(None, None, None, self.n, self.verdict, str(self))
