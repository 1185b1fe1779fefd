"""A verdict as people read it: a few rows, and a reason of one part a line, what holds besides folded away."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

SIGNS = {"confirmed": "✓", "refuted": "✗", "refined": "≈", "undecided": "?"}


def sign(verdict: str) -> str:
    """One character for a verdict."""
    return SIGNS.get(verdict, "·")


def title(verdict: str, id: str = "") -> str:
    """The verdict on a claim, with its sign."""
    return f"{id} {sign(verdict)} {verdict}".lstrip()


def folded(holds: Sequence[str]) -> str:
    """How many parts hold besides those that were told; nothing for none."""
    if not holds:
        return ""
    return f"and {len(holds)} more that hold" if len(holds) > 1 else "and 1 more that holds"


def parted(reason: str) -> tuple[str, list[str]]:
    """What decided it first, and the lines after that; one that ends in a colon brings the next."""
    lines = (reason or "").split("\n")
    whole = next((at for at, line in enumerate(lines, 1) if not line.endswith(":")), len(lines))
    return "\n".join(lines[:whole]), lines[whole:]


def as_text(heading: str, rows: Iterable[tuple[str, str]], reason: str, holds: Sequence[str]) -> str:
    """For a terminal: one row a line, the reason one part a line."""
    told = [*(reason or "").split("\n"), *filter(None, [folded(holds)])]
    pad = " " * 12
    lines = [f"{name + ':':<10}{text}" for name, text in rows if text]
    return "\n  ".join([heading, *lines, f"{'reason:':<10}" + f"\n{pad}".join(told)])


def as_html(heading: str, rows: Iterable[tuple[str, str]], reason: str, holds: Sequence[str]) -> str:
    """For a notebook: the same as a table; a click unfolds what holds besides."""
    left = "text-align:left;vertical-align:top"
    label = f"{left};white-space:nowrap"
    cells = [(name, html.escape(text)) for name, text in rows if text] + [("reason", reason_html(reason, holds))]
    body = "".join(f"<tr><th style='{label}'>{name}</th><td style='{left}'>{cell}</td></tr>" for name, cell in cells)
    caption = f"<caption style='text-align:left'><b>{html.escape(heading)}</b></caption>"
    return f"<table>{caption}{body}</table>"


def reason_html(reason: str, holds: Sequence[str], summary: str = "") -> str:
    """One part a line, and what holds besides behind a fold, under how many they are or a *summary*."""
    lines = "".join(f"<div>{html.escape(line)}</div>" for line in (reason or "").split("\n"))
    if not holds:
        return lines
    items = "".join(f"<div>{html.escape(text)}</div>" for text in holds)
    return f"{lines}<details><summary>{summary or folded(holds)}</summary>{items}</details>"
