"""The experiments of 03_http_streaming: S1, S1b, S2, S5, S6, S8, T2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

EXPERIMENTS: dict[str, Callable[[], Any]] = {}
