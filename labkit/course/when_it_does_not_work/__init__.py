"""Of 16_when_it_does_not_work: one healthy stream, five ways to break it, and what it asks."""

from __future__ import annotations

from labkit.course.when_it_does_not_work.broken import Broken, compressed, cut_by_age, cut_when_idle, held, one_late

__all__ = ["Broken", "compressed", "cut_by_age", "cut_when_idle", "held", "one_late"]
