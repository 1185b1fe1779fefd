"""What theory is told of a path, and what it answers where it has no closed form. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HOLD_S = 30.0  # RFC 6202 section 5.5: the longest that gets through nearly everywhere


@dataclass(frozen=True, slots=True)
class Path:
    """The way between a server and its subscribers, and how events are published on it.

    Attributes:
        one_way_s: one network transit d.
        jitter_s: each read takes up to this much longer.
        fresh_connections: each request opens a connection, which costs one more round trip.
        hold_s: the server's own hold time-out.
        rate_per_s: events a second, where that is known.
        poisson: whether they are a Poisson process.
        changed: whether any of this was changed in the course of the run.
    """

    one_way_s: float = 0.0
    jitter_s: float = 0.0
    fresh_connections: bool = False
    hold_s: float = HOLD_S
    rate_per_s: float | None = None
    poisson: bool = False
    changed: bool = False

    def __post_init__(self) -> None:
        for name in ("one_way_s", "jitter_s", "hold_s", "rate_per_s"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must be zero or more, not {value!r}")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Path:
        """As a run's settings have it; what they do not say is as by default."""
        schedule = settings.get("schedule") or {}
        schedule = {**schedule, **(schedule.get("settings") or {})}
        hold_s = settings.get("hold_s")
        return cls(
            one_way_s=settings.get("one_way_s") or 0.0,
            jitter_s=settings.get("jitter_s") or 0.0,
            fresh_connections=not settings.get("keep_alive", True),
            hold_s=HOLD_S if hold_s is None else hold_s,
            rate_per_s=schedule.get("rate_per_s"),
            poisson=bool(schedule.get("poisson", schedule.get("name") == "poisson")),
            changed=not settings.get("steady", True),
        )


@dataclass(frozen=True, slots=True)
class Silent:
    """There is no theory for it, and why not, as a clause."""

    why: str
