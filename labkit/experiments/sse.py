"""The experiments of 04_server_sent_events: E1-E3, E5, E6."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

EXPERIMENTS: dict[str, Callable[[], Any]] = {}
