"""The exercises of 08_side_by_side."""

from __future__ import annotations

from labkit.exercises.base import Exercise

EXERCISES: dict[str, Exercise] = {}
