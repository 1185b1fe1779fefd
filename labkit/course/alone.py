"""An experiment put to the test on its own, without its notebook, and when it was."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from numbers import Real
from typing import Any

from labkit.errors import LabClosed
from labkit.lab.lab import Lab


def in_a_lab(experiment: Callable[[Lab], Any], **options: Any) -> Callable[[], Any]:
    """*experiment*, to be called without a lab: it starts one of its own, with *options*, and closes it."""

    def run() -> Any:
        with Lab("alone", **options) as lab:
            return experiment(lab)

    return run


def started_now(**settings: Any) -> dict[str, Any]:
    """The settings of an experiment that begins now, as a record names them."""
    return {"started": datetime.now(UTC).isoformat(), **settings}


def ready(lab: Lab, **least: tuple[float, float]) -> None:
    """Raise LabClosed for a closed lab, ValueError for what is no number or too small: (value, least)."""
    if lab.closed:
        raise LabClosed(f"lab {lab.name!r} is closed: start another with labkit.Lab()")
    for name, (value, lowest) in least.items():
        is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or value < lowest:
            raise ValueError(f"{name} must be a number, at least {lowest:g}, not {value!r:.60}")
