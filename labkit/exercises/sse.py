"""The exercises of 04_server_sent_events."""

from __future__ import annotations

from labkit.exercises.base import Exercise

EXERCISES: dict[str, Exercise] = {}
