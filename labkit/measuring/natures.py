"""What a run tells of its techniques, as values, and how that is read again: nobody who draws needs a descriptor.

Where a run tells nothing of one (it was saved before runs told, or by somebody else) it has its name for a name, no
theory, and a mark that is free.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from labkit.measuring.tallies import BROWSER
from labkit.theory import UNMARKED, Expectation, Kind, Mark, Nature, Path, Silent

if TYPE_CHECKING:
    from labkit.techniques import Technique

SPARE = tuple(
    Mark(color, symbol, dash)
    for color, symbol, dash in (
        ("#858585", "pentagon", "dot"),
        ("#6B7A4F", "hexagram", "dash"),
        ("#7A6A8A", "star-square", "dashdot"),
        ("#8A7350", "bowtie", "longdash"),
        ("#5E7F8A", "hourglass", "longdashdot"),
    )
)
"""For techniques that state no mark: muted colours, none of them one of the kit's own."""
ELSEWHERE = Silent("when events were due at somebody else's server is unknown")


def asked(technique: Technique, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The options with which a run had it."""
    common = {"interval_s": settings.get("poll_interval_s") or 1.0, "hold_s": settings.get("hold_s")}
    return technique.taken_of(common) | dict((settings.get("options") or {}).get(technique.name) or {})


def told_of(techniques: Iterable[Technique], settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a run with these settings tells of each technique, in JSON's types."""
    path, foreign = Path.of(settings), settings.get("server") == "elsewhere"
    return {t.name: t.nature(ELSEWHERE if foreign else t.expect(asked(t, settings), path)).plain() for t in techniques}


class Natures:
    """What a run's settings tell of its techniques, by name, those that a page received (``sse (browser)``) included.

    Args:
        settings: of the run; the natures are its ``natures``.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._told = {name: Nature.read(plain) for name, plain in (settings.get("natures") or {}).items()}
        names = list(dict.fromkeys([*(settings.get("techniques") or ()), *self._told]))
        self._free = [name for name in names if name not in self._told or self._told[name].mark == UNMARKED]

    def mark(self, technique: str) -> Mark:
        """Its colour, symbol and dash; as a page received it, the open form of its symbol."""
        if technique.endswith(BROWSER):
            kernel = self.mark(technique.removesuffix(BROWSER))
            return Mark(kernel.color, f"{kernel.symbol}-open", kernel.dash)
        told = self._told.get(technique)
        if told is not None and told.mark != UNMARKED:
            return told.mark
        place = self._free.index(technique) if technique in self._free else zlib.crc32(technique.encode())
        return SPARE[place % len(SPARE)]

    def short(self, technique: str) -> str:
        """Its name as it stands in a sentence."""
        page = BROWSER if technique.endswith(BROWSER) else ""
        name = technique.removesuffix(page)
        return (self._told[name].short if name in self._told else name) + page

    def kind(self, technique: str) -> Kind | None:
        """Who decides when an answer comes; None where that was not told."""
        told = self._told.get(technique.removesuffix(BROWSER))
        return None if told is None else told.kind

    def expected(self, technique: str) -> Expectation | Silent:
        """The latency that theory expects of it in this run, or why there is none."""
        if technique.endswith(BROWSER):
            return Silent("a page does not come through the run's link")
        told = self._told.get(technique)
        return Silent("the run does not tell") if told is None else told.expected

    def silences(self) -> list[str]:
        """A sentence for each reason why there is no theory, with the techniques that it concerns."""
        reasons: dict[str, list[str]] = {}
        for name, told in self._told.items():
            if isinstance(told.expected, Silent):
                reasons.setdefault(told.expected.why, []).append(self.short(name))
        return [f"No theory for {', '.join(names)}: {why}." for why, names in reasons.items()]

    def group(self, techniques: Sequence[str]) -> str:
        """What to call several at once: ``the streams`` if several keep a response or socket open."""
        streams = [t for t in techniques if self.kind(t) == "stream"]
        others = [self.short(t) for t in techniques if t not in streams]
        names = others + (["the streams"] if len(streams) > 1 else [self.short(t) for t in streams])
        return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
