"""Values with their units, for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any


def shown(value: Any, unit: str = "") -> str:
    """A value for people: three digits, a time below a second in ms; bytes that were counted as they are."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {shown(part, unit)}" for name, part in value.items())
    value = value.item() if hasattr(value, "item") else value
    if value is None or not isinstance(value, int | float):
        return "" if value is None else str(value)
    if unit == "s" and abs(value) < 1:
        value, unit = value * 1e3, "ms"
    if not math.isfinite(value):
        return f"{value:g} {unit}".rstrip()
    digits = f"{value:.0f}" if unit == "bytes" and value == int(value) else f"{float(f'{value:.3g}'):g}"
    return f"{digits} {_of_one(unit) if digits == '1' else unit}".rstrip()


def _of_one(unit: str) -> str:
    """``byte`` for ``bytes``, ``request/s`` for ``requests/s``; symbols (``ms``) have no plural."""
    noun, per, rest = unit.partition("/")
    return (noun.removesuffix("s") if len(noun) > 2 else noun) + per + rest


def between(ends: Iterable[float] | None, unit: str = "") -> str:
    """``1.5 s to 1.6 s``, and ``1.5 s`` where both ends read the same; nothing for no interval."""
    return " to ".join(dict.fromkeys(shown(end, unit) for end in ends or ()))


def as_given(value: object, most: int) -> str:
    """What somebody gave, as its ``repr``, of which so many characters; its type, where it has no ``repr``."""
    try:
        return f"{value!r:.{most}}"
    except Exception:  # an integer of thousands of digits, or a fault in the code of whoever gave it
        return f"<{type(value).__name__}>"
