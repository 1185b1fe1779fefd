"""What all topics of a hub have in common: its loop, its limits, what it has counted, the bound of all histories."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from labkit.server.history import Histories


@dataclass(slots=True)
class Counts:
    """What a hub has done since it was made."""

    published: int = 0
    delivered: int = 0
    dropped: int = 0
    conflated: int = 0
    disconnected: int = 0


@dataclass(frozen=True, slots=True)
class Commons:
    """Handed by the hub to each topic, and by the topic to each subscriber."""

    loop: asyncio.AbstractEventLoop
    queue: int
    heartbeat_s: float
    histories: Histories
    counts: Counts = field(default_factory=Counts)
