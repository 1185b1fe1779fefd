"""The experiments of 02_long_polling: L1b to L8, L10 to L12."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

EXPERIMENTS: dict[str, Callable[[], Any]] = {}
