"""The exercises of 05_websocket."""

from __future__ import annotations

from labkit.exercises.base import Exercise

EXERCISES: dict[str, Exercise] = {}
