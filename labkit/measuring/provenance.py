"""What a run says of how it came about: when it went on, what it stands on, which pages took part."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from labkit.lab.attached import Attached, Part
from labkit.wire.events import now_ns

VERSIONED = ("tornado", "h11", "websockets", "ipykernel", "numpy", "pandas", "plotly")


def told(parts: Sequence[Part]) -> dict[str, Any]:
    """What a run's settings say of subscribers elsewhere, if there were any."""
    if not parts:
        return {}
    pages, notes = [page for part in parts for page in part.pages], [note for part in parts for note in part.notes]
    return {"pages": pages, "notes": notes}


def natures_of(attached: Sequence[Attached]) -> dict[str, dict[str, Any]]:
    """What a run tells of the techniques by which subscribers elsewhere receive."""
    return {name: nature.plain() for subscriber in attached for name, nature in subscriber.natures.items()}


def when(started_ns: int) -> dict[str, Any]:
    """When a run that goes on began, and how long that is ago; one that is yet to begin has lasted 0 s."""
    elapsed_s = max(0.0, (now_ns() - started_ns) / 1e9)
    started = datetime.fromtimestamp(datetime.now(UTC).timestamp() - elapsed_s, UTC)
    return {"started": started.isoformat(), "started_ns": started_ns, "duration_s": elapsed_s}


def versions() -> dict[str, str]:
    """Of Python and of what a run stands on."""
    found = {"python": platform.python_version(), "platform": platform.platform(terse=True)}
    for name in ("labkit", *VERSIONED):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
