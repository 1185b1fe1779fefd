"""The checks of 04_server_sent_events: E1-E3, E5, E6."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labkit.checks.common import Finding

CHECKS: dict[str, Callable[[Any], Finding]] = {}
