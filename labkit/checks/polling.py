"""The checks of 01_polling: P2-P5, N1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labkit.checks.common import Finding

CHECKS: dict[str, Callable[[Any], Finding]] = {}
