"""What every promise waits with: one scalable unit of time, and the error that says how a promise was broken."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

from labkit import loop
from labkit.errors import LabkitError

UNIT_S = float(os.environ.get("LABKIT_TIME_SCALE", "1"))
"""Every time-out of the contract is a multiple of it. A slow machine sets LABKIT_TIME_SCALE=3."""
PATIENCE_S = 10 * UNIT_S
TURNS = 30  # of the lab loop: more than any handler takes from an event that it was handed to its next wait


class Broken(LabkitError):
    """A technique does not keep a promise; the message says how."""


def require(condition: object, how: str) -> None:
    """Raise :class:`Broken` unless *condition* holds."""
    if not condition:
        raise Broken(how)


def until(condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """Wait until *condition* gives something true, and return that.

    Raises:
        Broken: not within *timeout_s* seconds; the message names *what* was waited for.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise Broken(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.002)
    return value


def settle(turns: int = TURNS) -> None:
    """Let the lab loop take so many turns that whoever has something to do without waiting has done it."""

    async def take() -> None:
        for _ in range(turns):
            await asyncio.sleep(0)

    loop.run(take())
