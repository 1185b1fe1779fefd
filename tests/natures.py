"""Settings of runs that were made by hand, with what a run tells of its techniques."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkit.measuring.natures import told_of
from labkit.techniques import TECHNIQUES
from labkit.techniques.exhibits import EXHIBITS


def told(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with the natures of those of its techniques that the kit knows."""
    names = settings.get("techniques") or ()
    known = [t for t in (*TECHNIQUES, *EXHIBITS) if t.name in names]
    return {**settings, "natures": told_of(known, settings)}
