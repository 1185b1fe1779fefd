"""The exercises of 08_side_by_side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from labkit.choosing import Choice, choose
from labkit.claims.exercises import Exercise

WALL: dict[str, Any] = {"rate_per_s": 0.1, "staleness_s": 0.3, "path": ("buffering-proxy", "blocks-upgrade")}
"""The path of exercise 08.1."""
BOARD: dict[str, Any] = {"rate_per_s": 1 / 60, "staleness_s": 1.0}
"""The departure board of exercise 08.2."""


def wins(choice: Choice, staleness_s: float) -> str:
    """Which technique wins where so much staleness is tolerated."""
    return Choice(replace(choice.needs, staleness_s=staleness_s), choice.figures).winner


def _through_the_wall(name: str) -> str | None:
    winner, known = choose(**WALL).winner, {o.technique: o for o in choose(**WALL).options}
    if name == winner:
        return None
    if name not in known:
        return f"{name!r} is none of {', '.join(known)}."
    return f"{name}: {known[name].why_not}."


def _polling_from(staleness_s: float) -> str | None:
    if staleness_s <= 0:
        return "A tolerated staleness is above 0."
    choice = choose(**BOARD)
    if wins(choice, staleness_s * 0.93) == "polling":
        return f"At {0.93 * staleness_s:.0f} s interval polling wins already."
    if wins(choice, staleness_s * 1.07) != "polling":
        return f"At {1.07 * staleness_s:.0f} s {wins(choice, staleness_s * 1.07)} still wins."
    return None


EXERCISES: dict[str, Exercise] = {
    "08.1": Exercise(
        "",
        _through_the_wall,
        "Long polling: its answers end, so nothing is held back, and it needs no Upgrade.",
        "what does a proxy that waits for the end of an answer do to an answer that has none?",
        read=lambda name: str(name).strip().lower(),
        kind="a technique's name, as text",
    ),
    "08.2": Exercise(
        "seconds",
        _polling_from,
        "From there on a poll is so rare that it costs less than a held connection's memory and heartbeats.",
        "choose(rate_per_s=1/60, staleness_s=1).flips() scans it for you.",
    ),
}
