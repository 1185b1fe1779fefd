"""``python -m labkit techniques``: which there are, where they are served, and where they are specified."""

from __future__ import annotations

import argparse

HELP = "list the techniques and their routes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has none."""


def run(_: argparse.Namespace) -> int:
    """Print a line for each technique."""
    from labkit.techniques import TECHNIQUES

    rows = [(t.name, t.route or "a TCP port of its own", t.spec, t.hint) for t in TECHNIQUES]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, [*widths, 0], strict=True)).rstrip())
    return 0
