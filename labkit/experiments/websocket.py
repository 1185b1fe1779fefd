"""The experiments of 05_websocket: W1-W7, W9-W11."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

EXPERIMENTS: dict[str, Callable[[], Any]] = {}
