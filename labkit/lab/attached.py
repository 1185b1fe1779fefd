"""A subscriber that lives elsewhere, such as in a notebook's page: what a lab and its measurements ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from labkit.theory import Nature

Published = Mapping[tuple[str, int], tuple[int, int]]
"""(topic, event id) -> (due_ns, published_ns)."""


@dataclass(frozen=True)
class Part:
    """What a subscriber that lives elsewhere contributes to a run: rows, gaps, sentences, facts about it."""

    rows: list[dict[str, Any]]
    gaps: list[dict[str, Any]]
    notes: list[str]
    pages: list[dict[str, Any]]


class Attached(Protocol):
    """A subscriber that lives elsewhere, such as in a notebook's page, and is in ``lab.attached``."""

    @property
    def natures(self) -> Mapping[str, Nature]:
        """What it subscribes by, by name."""

    @property
    def relay(self) -> Any:
        """The relay that it comes through, if it does."""

    @property
    def settle_s(self) -> float:
        """How long the last event may take to get there and be told back."""

    def wait(self, timeout_s: float, *, progress: bool) -> bool:
        """Wait until it is there, or cannot be; whether it is."""

    def keep(self) -> None:
        """Fetch what has arrived so far: the lab's process may die."""

    def settled(self, newest: Mapping[str, int]) -> bool:
        """Whether it has everything up to these ids, by topic, or cannot have it."""

    def part(self, published: Published, since_ns: int) -> Part:
        """What it has received since then, as rows of a run."""

    def lab_closes(self) -> None:
        """The lab is about to close: keep what can only be had from it."""
