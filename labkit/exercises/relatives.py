"""The exercises of 06_plugins_and_relatives."""

from __future__ import annotations

from labkit.exercises.base import Exercise

EXERCISES: dict[str, Exercise] = {}
