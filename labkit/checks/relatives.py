"""The checks of 06_plugins_and_relatives: X1-X3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labkit.checks.common import Finding

CHECKS: dict[str, Callable[[Any], Finding]] = {}
