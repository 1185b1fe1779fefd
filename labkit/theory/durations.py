"""Durations that callers give: in seconds, and short enough to be meant so."""

from __future__ import annotations

import math
from numbers import Real

from labkit.errors import DurationError

ONE_WAY_S = 10.0
"""No network takes longer for one transit."""


def seconds(name: str, value: object, most_s: float, *, above_0: bool = False) -> float:
    """*value*, if it is a number of seconds from 0 to *most_s*.

    Args:
        name: of the parameter, for the message.
        above_0: 0 is none.

    Raises:
        DurationError: it is not; of one that is too long, the message asks whether milliseconds were meant.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value < 0 or (above_0 and not value):  # type: ignore[operator]
        least = "above 0" if above_0 else "0 or more"
        raise DurationError(f"{name} must be a number of seconds, {least}, not {value!r}")
    number = float(value)  # type: ignore[arg-type]
    if number > most_s:
        raise DurationError(too_long(name, number, most_s))
    return number


def too_long(name: str, value_s: float, most_s: float) -> str:
    """What to say of a duration that makes no sense in seconds."""
    said = f"{name}={value_s:.15g} is {value_s:.15g} seconds, and at most {most_s:.15g} makes sense here"
    return f"{said}. Were milliseconds meant? Then write {name}={value_s / 1000:.15g}"
