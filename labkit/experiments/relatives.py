"""The experiments of 06_plugins_and_relatives: X1-X3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

EXPERIMENTS: dict[str, Callable[[], Any]] = {}
