"""The exercises of 03_http_streaming."""

from __future__ import annotations

from labkit.exercises.base import Exercise

EXERCISES: dict[str, Exercise] = {}
