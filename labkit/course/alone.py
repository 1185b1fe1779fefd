"""An experiment put to the test on its own, without its notebook: in a lab that it has for itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labkit.lab.lab import Lab


def in_a_lab(experiment: Callable[[Lab], Any], **options: Any) -> Callable[[], Any]:
    """*experiment*, to be called without a lab: it starts one of its own, with *options*, and closes it."""

    def run() -> Any:
        with Lab("alone", **options) as lab:
            return experiment(lab)

    return run
