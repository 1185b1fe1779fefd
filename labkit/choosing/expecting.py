"""What theory expects of a technique with the given needs, asked of its descriptor."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Any

from labkit.choosing.needs import Needs
from labkit.errors import LabkitError
from labkit.techniques import Technique
from labkit.theory import Expectation, Path, Silent
from labkit.theory.path import HEARTBEAT_S


@functools.lru_cache(32)
def path_of(needs: Needs, heartbeat_s: float = HEARTBEAT_S) -> Path:
    """What theory is told of the way: TLS adds a round trip to the handshake of a new connection (RFC 8446)."""
    idle_s = needs.idle_timeout_s if math.isfinite(needs.idle_timeout_s) else None
    return Path(
        needs.one_way_s,
        rate_per_s=needs.rate_per_s,
        poisson=True,
        handshake_s=(4 if needs.tls else 2) * needs.one_way_s,
        idle_timeout_s=idle_s,
        heartbeat_s=heartbeat_s,
    )


def expected(technique: Technique, path: Path, **options: Any) -> tuple[Expectation, str]:
    """The latency to expect; and why there would be none on this path, whose idle time-out ends it: empty otherwise.

    Raises:
        LabkitError: there is no theory for it.
    """
    found = technique.expect(options, path)
    if not isinstance(found, Silent):
        return found, ""
    kept = technique.expect(options, replace(path, idle_timeout_s=None))
    if isinstance(kept, Silent):
        raise LabkitError(f"choose: no theory for {technique.name}: {found.why}")
    return kept, found.why
