"""Values with their units, for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any


def shown(value: Any, unit: str = "") -> str:
    """A value for people: three digits, a time below a second in ms; bytes that were counted as they are."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {shown(part, unit)}" for name, part in value.items())
    if value is None or not isinstance(value, int | float):
        return "" if value is None else str(value)
    if unit == "s" and abs(value) < 1:
        value, unit = value * 1e3, "ms"
    if not math.isfinite(value):
        return f"{value:g} {unit}".rstrip()
    if value == 1 and len(unit) > 2:
        unit = unit.removesuffix("s")
    digits = f"{value:.0f}" if unit == "bytes" and value == int(value) else f"{float(f'{value:.3g}'):g}"
    return f"{digits} {unit}".rstrip()


def between(ends: Iterable[float] | None, unit: str = "") -> str:
    """``1.5 s to 1.6 s``, and ``1.5 s`` where both ends read the same; nothing for no interval."""
    return " to ".join(dict.fromkeys(shown(end, unit) for end in ends or ()))
