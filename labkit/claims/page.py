"""The book as a notebook shows it: a fold for each notebook, whose line says every verdict, folded or not.

What was not run, or nothing is recorded of, has nothing to fill a row with and stands in a list below a table.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from itertools import groupby

from labkit.claims import told
from labkit.claims.entry import OPEN, Entry

NOTHING_YET = (
    "Run a notebook of the course and come back: each of its checks fills a row of this table. "
    "<code>python -m labkit verdicts</code> runs them all, in some twelve minutes."
)
WIDTHS = {"claim": 10, "sentence": 30, "expected": 9, "measured": 15, "reason": 24, "predicted": 12}
"""Columns and their shares of the width, so that those of all notebooks stand below each other."""
LEFT = "text-align:left;vertical-align:top;white-space:normal;overflow-wrap:anywhere"


def book_html(said: str, entries: Sequence[Entry]) -> str:
    """One fold for each notebook, in the order of the entries; those that have a table are open."""
    told_first = f"<p>{html.escape(said)}</p>"
    if not any(entry.record for entry in entries):
        told_first = f"<p><b>Nothing has been recorded on this machine yet.</b> {NOTHING_YET}</p>" + told_first
    columns = [name for name in WIDTHS if name != "predicted" or any(entry.prediction for entry in entries)]
    groups = ((name, list(mine)) for name, mine in groupby(entries, key=lambda entry: entry.claim.notebook))
    return told_first + "".join(_of_notebook(name, mine, columns) for name, mine in groups)


def _of_notebook(name: str, entries: Sequence[Entry], columns: Sequence[str]) -> str:
    rows = [entry for entry in entries if entry.verdict not in ("not run", OPEN)]
    rest = [entry for entry in entries if entry not in rows]
    line = f"<summary><b>{html.escape(name)}</b>: {_verdicts(entries)}</summary>"
    table = _table(rows, columns) if rows else ""
    return f"<details{' open' * bool(rows)}>{line}{table}{_list(rest)}</details>"


def _verdicts(entries: Sequence[Entry]) -> str:
    """Every verdict, in one line: the ids of each kind."""
    kinds = dict.fromkeys(entry.verdict for entry in entries)
    said = []
    for kind in kinds:
        ids = ", ".join(entry.id for entry in entries if entry.verdict == kind)
        said.append(f"{html.escape(ids)} {told.sign(kind)}\N{NO-BREAK SPACE}{html.escape(kind)}")
    return "; ".join(said)


def _table(entries: Sequence[Entry], columns: Sequence[str]) -> str:
    whole = sum(WIDTHS[name] for name in columns)
    heads = "".join(f"<th style='{LEFT};width:{WIDTHS[name] / whole:.1%}'>{name}</th>" for name in columns)
    rows = "".join(f"<tr>{_row(entry, columns)}</tr>" for entry in entries)
    return f"<table style='table-layout:fixed;width:100%'><tr>{heads}</tr>{rows}</table>"


def _row(entry: Entry, columns: Sequence[str]) -> str:
    cells = _cells(entry)
    return "".join(f"<td style='{LEFT}'>{cells[name]}</td>" for name in columns)


def _cells(entry: Entry) -> dict[str, str]:
    """What stands in each column; a verdict with its claim, a source with its sentence, an interval with its value."""
    text = {name: html.escape(cell) for name, cell in entry.cells().items()}
    ends = entry.record.interval if entry.record else None
    between = text["interval"] if ends and ends[0] != ends[1] else ""
    aside = ", ".join(filter(None, (between, text["n"] and f"n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{text['n']}")))
    first, more = told.parted(entry.reason)
    return {
        "claim": f"<b>{text['claim']}</b><br>{told.sign(entry.verdict)}\N{NO-BREAK SPACE}{text['verdict']}",
        "sentence": text["sentence"] + (f" <i>({text['source']})</i>" if text["source"] else ""),
        "expected": text["expected"],
        "measured": f"{text['measured']} ({aside})" if text["measured"] and aside else text["measured"] or aside,
        "reason": told.reason_html(first, (*more, *(entry.record.holds if entry.record else ())), "more"),
        "predicted": ", ".join(filter(None, (text["predicted"], text["missed"]))),
    }


def _list(entries: Sequence[Entry]) -> str:
    """Those without a row: what each says, and why it was not run."""
    said = "".join(
        f"<li><b>{html.escape(entry.id)}</b> {entry.verdict}: {html.escape(entry.claim.sentence)} "
        f"<i>({html.escape(entry.claim.source)})</i> {html.escape(entry.reason)}</li>"
        for entry in entries
    )
    return f"<ul>{said}</ul>" if said else ""
