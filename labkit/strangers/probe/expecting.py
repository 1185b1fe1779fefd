"""What somebody's CI expects of a stream: ``first-event=2s,gap=5s``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from labkit.errors import LabkitError
from labkit.strangers.probe.observation import Observation

NAMES = ("head", "first-byte", "first-event", "gap", "lasts")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}


@dataclass(frozen=True, slots=True)
class Expected:
    """Limits in seconds, by what they are of; ``lasts`` is a least, the others are most."""

    limits: dict[str, float]

    @classmethod
    def of(cls, text: str) -> Expected:
        """Those that *text* names.

        Raises:
            LabkitError: it names something else, or no duration.
        """
        limits: dict[str, float] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = part.partition("=")
            found = _DURATION.fullmatch(value)
            if name not in NAMES or found is None:
                raise LabkitError(f"expect {part!r}: write NAME=2s or NAME=500ms, with {', '.join(NAMES)}")
            limits[name] = float(found[1]) * _UNITS[found[2]]
        return cls(limits)

    def check(self, seconds: float) -> None:
        """Whether listening for *seconds* can tell.

        Raises:
            LabkitError: it cannot; the message says how long it takes.
        """
        for name, limit in self.limits.items():
            if limit > seconds or (limit == seconds and name != "lasts"):
                raise LabkitError(f"expect {name}={limit:g}s: listening for {seconds:g} s does not tell; "
                                  f"ask for --seconds {2 * limit:g}")  # fmt: skip


def unmet(expected: Expected, first: Observation, *, is_whole: bool = True) -> tuple[str, ...]:
    """What is not as expected.

    Args:
        is_whole: whether it was listened to for as long as it was meant to be.
    """
    times = [event.t_s for event in first.events]
    ends = [*times, first.end_s] if times else []
    measured = {
        "head": first.head_s,
        "first-byte": first.pieces[0].t_s if first.pieces else None,
        "first-event": times[0] if times else None,
        "gap": max((b - a for a, b in pairwise(ends)), default=None),
        "lasts": first.end_s,
    }
    told = list[str]()
    for name, limit in expected.limits.items():
        value = measured[name]
        is_over = first.end in ("open", "silent", "stopped")
        if name == "lasts":
            if first.end_s < limit and not is_over:
                told.append(f"it ended after {first.end_s:.2f} s, expected {limit:g} s at least")
        elif value is None and not is_whole and first.end_s < limit:
            continue
        elif value is None:
            missing = "event" if name == "gap" else name.replace("-", " ")
            told.append(f"no {missing} within {first.end_s:.2f} s, expected within {limit:g} s")
        elif value > limit:
            told.append(f"{name.replace('-', ' ')} {value:.2f} s, expected {limit:g} s at most")
    return tuple(told)
