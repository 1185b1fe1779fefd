"""What can be set in a run without an end: each setting with its unit, its range and what a change of it needs.

Pure values. ``endless.py`` carries them out, the control room has a control for each.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any

from labkit.errors import LabkitError
from labkit.theory.path import HOLD_S


class SettingError(LabkitError, ValueError):
    """A value that a setting cannot take; the message says which it can."""


@dataclass(frozen=True, slots=True)
class Dial:
    """A number that can be set.

    Attributes:
        label, unit: as a reader sees them.
        low, high, step: the range; values from code need not be on a step.
        help: what it does, in one sentence.
        log: whether equal steps are equal ratios.
        whole: whether it counts something.
        option: of a technique's client: subscribers that take it have to start again for a change.
    """

    label: str
    unit: str
    low: float
    high: float
    step: float
    help: str
    log: bool = False
    whole: bool = False
    option: str = ""


DIALS: dict[str, Dial] = {
    "rate_per_s": Dial(
        "event rate", "events per second", 0.1, 1000, 0.1,
        "How many events the source publishes each second, on average.", log=True,
    ),
    "payload_bytes": Dial(
        "payload", "bytes", 0, 65536, 1, "Size of each event's data; the machine source has its own.",
        log=True, whole=True,
    ),
    "one_way_s": Dial(
        "one-way delay", "seconds", 0, 2, 0.001, "One network transit d, in each direction, put in by the link.",
        log=True,
    ),
    "jitter_s": Dial(
        "jitter", "seconds", 0, 1, 0.01, "Each read takes up to this much longer; order is kept.",
    ),
    "poll_interval_s": Dial(
        "poll interval", "seconds", 0.05, 60, 0.05,
        "T, from the start of one poll to the start of the next. A change restarts the polling subscriber.",
        log=True, option="interval_s",
    ),
    "hold_s": Dial(
        "hold time-out", "seconds", 0.1, 600, 0.1,
        "How long the server may hold a long poll. A change restarts the long-polling subscriber.",
        log=True, option="hold_s",
    ),
}  # fmt: skip

SOURCES = {
    "poisson": "at random times (Poisson)",
    "periodic": "at regular times",
    "burst": "bursts of ten",
    "machine": "this machine's counters",
    "none": "only what I publish",
}
BURST_EVENTS = 10


@dataclass(frozen=True, slots=True)
class Settings:
    """How an endless run is made. ``changed`` gives another one, checked."""

    techniques: tuple[str, ...]
    source: str = "poisson"
    rate_per_s: float = 5.0
    payload_bytes: int = 20
    one_way_s: float = 0.05
    jitter_s: float = 0.0
    poll_interval_s: float = 1.0
    hold_s: float = HOLD_S

    def changed(self, **changes: Any) -> Settings:
        """The same with other values.

        Raises:
            SettingError: names the setting, what it was given and what it takes.
        """
        return replace(self, **{name: check(name, value) for name, value in changes.items()})


NAMES = tuple(field.name for field in fields(Settings))


def check(name: str, value: Any) -> Any:
    """*value* as the setting *name* keeps it.

    Raises:
        SettingError: it cannot take that.
    """
    if name == "techniques":
        return _techniques(value)
    if name == "source":
        if not isinstance(value, str) or value not in SOURCES:
            raise SettingError(f"source={value!r}: expected one of {', '.join(SOURCES)}")
        return value
    if name not in DIALS:
        raise SettingError(f"there is no setting {name!r}; there are {', '.join(NAMES)}")
    dial = DIALS[name]
    number = value.item() if hasattr(value, "item") else value
    is_number = isinstance(number, Real) and not isinstance(number, bool) and math.isfinite(number)
    if not is_number or not dial.low <= number <= dial.high or (dial.whole and number != int(number)):
        kind = "a whole number" if dial.whole else "a number"
        raise SettingError(f"{name}={value!r}: expected {kind} of {dial.unit} from {dial.low:g} to {dial.high:g}")
    return int(number) if dial.whole else float(number)


def _techniques(value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else list(value) if isinstance(value, Iterable) else None
    if not names or not all(isinstance(name, str) for name in names):
        raise SettingError(f"techniques={value!r}: expected at least one name, such as 'sse'")
    return tuple(dict.fromkeys(names))


def pause_s(source: str, rate_per_s: float, number: int, rng: random.Random) -> float:
    """Seconds from one event to the next.

    Args:
        number: of the event that was published last, from 1.
    """
    if source == "none":
        return math.inf
    if source == "poisson":
        return rng.expovariate(rate_per_s)
    if source == "burst":
        return BURST_EVENTS / rate_per_s if number % BURST_EVENTS == 0 else 0.0
    return 1 / rate_per_s


def sampler() -> Callable[[], str]:
    """What the machine source publishes: this machine's counters as JSON, rates since the call before."""
    from labkit.measuring.schedules import machine

    sample = next(machine(every_s=1.0, duration_s=1.0).plan()).data
    return sample  # type: ignore[return-value]
