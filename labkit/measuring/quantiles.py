"""Quantiles of what was measured. Pure arithmetic."""

from __future__ import annotations

import math


def quantile(ordered: list[float], q: float) -> float:
    """The *q* quantile of sorted values, linear between neighbours; NaN of none."""
    if not ordered:
        return math.nan
    position = q * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])
