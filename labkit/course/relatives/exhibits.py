"""A lab that serves the exhibits too."""

from __future__ import annotations

from labkit.lab.lab import Lab
from labkit.techniques import TECHNIQUES, exhibits

EVERY = (*TECHNIQUES, *exhibits.EXHIBITS)


def lab(name: str = "exhibits") -> Lab:
    """A lab that serves the exhibits beside the techniques."""
    return Lab(name, techniques=EVERY)
