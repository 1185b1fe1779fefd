"""Values with their units, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def shown(value: Any, unit: str = "") -> str:
    """A value for people: three digits, a time below a second in ms."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {shown(part, unit)}" for name, part in value.items())
    if value is None or not isinstance(value, int | float):
        return "" if value is None else str(value)
    if unit == "s" and abs(value) < 1:
        value, unit = value * 1e3, "ms"
    if value == 1 and len(unit) > 2:
        unit = unit.removesuffix("s")
    return f"{float(f'{value:.3g}'):g} {unit}".rstrip()
