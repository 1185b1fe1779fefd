"""What the experiments of 02_long_polling share: names, a hold without an end, who asked how often."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.course.variants import topic_of

if TYPE_CHECKING:
    from labkit.measuring.run import Run


LONG, STREAM = "long-polling", "http-streaming"
ENDLESS_S = 30.0
ONE_WAY_S = 0.05
MANY = 60
"""Steps of a curve."""


def requests_by_topic(run: Run, technique: str) -> dict[str, int]:
    """How many requests a technique's clients sent, by topic."""
    found: dict[str, int] = {}
    for record in run.ledger.of(technique):
        found[topic_of(record)] = found.get(topic_of(record), 0) + record.requests
    return found


def lasted_s(run: Run, planned_s: float) -> float:
    """For how long requests were counted: as planned, unless the run was interrupted before."""
    return min(planned_s, run.settings["duration_s"]) if run.interrupted else planned_s


def swept(low: float, high: float) -> list[float]:
    """From *low* to *high* in equal ratios."""
    return [low * (high / low) ** (i / MANY) for i in range(MANY + 1)]
