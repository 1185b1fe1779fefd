"""What a technique is, as plain values: what a run tells of each, to be drawn where no descriptor is at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from labkit.theory.closed_forms import Expectation
from labkit.theory.path import Silent

Kind = Literal["poll", "hold", "stream"]
"""The client asks at its own times; the server holds each request until there is something; it writes at any time."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What stands for one technique in every chart: a plotly colour, marker symbol and line dash."""

    color: str
    symbol: str
    dash: str


UNMARKED = Mark("", "", "")
"""Of a technique that states no mark: whoever draws it takes one that is free."""


@dataclass(frozen=True, slots=True)
class Nature:
    """One technique in one run.

    Attributes:
        title: its name in headings.
        short: its name in a sentence.
        expected: the latency that theory expects of it there, or why there is no theory.
    """

    title: str
    short: str
    kind: Kind
    mark: Mark
    expected: Expectation | Silent

    def plain(self) -> dict[str, Any]:
        """The same in JSON's types; of the expectation, all but its quantiles."""
        mark, told = self.mark, self.expected
        return {
            "title": self.title,
            "short": self.short,
            "kind": self.kind,
            "mark": [mark.color, mark.symbol, mark.dash],
            "expected": None if isinstance(told, Silent) else {n: getattr(told, n) for n in _KEPT},
            "silent": told.why if isinstance(told, Silent) else "",
        }

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Nature:
        """What :meth:`plain` gave."""
        told = plain["expected"]
        return cls(
            plain["title"],
            plain["short"],
            plain["kind"],
            Mark(*plain["mark"]),
            Silent(plain["silent"]) if told is None else Expectation(**told, quantile=None),
        )


_KEPT = ("mean_s", "min_s", "max_s", "std_s", "source")
