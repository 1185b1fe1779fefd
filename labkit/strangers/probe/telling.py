"""What a probe has found and measured, in words."""

from __future__ import annotations

from collections.abc import Sequence

from labkit.strangers.probe.finding import Finding
from labkit.strangers.probe.observation import Observation
from labkit.wire.http1 import printable

DOCUMENT = "docs/symptoms.md"
NOTHING = "nothing is wrong with it in this probe"


def headline(findings: Sequence[Finding], unmet: Sequence[str]) -> str:
    """What was found first, in one line."""
    found = [*(f"not as expected: {each}" for each in unmet), *(f"{each.grade}: {each.says}" for each in findings)]
    return printable((found or [NOTHING])[0], 200)


def row_of(row: int) -> str:
    return f" [row {row}]" if row else ""


def found(finding: Finding) -> list[str]:
    first, *rest = finding.remedy or ("",)
    where = f"  (row {finding.row} of {DOCUMENT})" if finding.row else ""
    said = [f"{finding.grade}: {printable(finding.says, 400)}{where}"]
    said += [f"  change: {printable(first, 600)}"] if first else []
    said += [f"          {printable(line, 600)}" for line in rest]
    said += [f"  bytes:  {printable(each, 400)}" for each in finding.evidence]
    if finding.left:
        said += ["  left:"] + [f"    - {each}" for each in finding.left]
    if finding.elsewhere:
        said.append(f"  not from here: {finding.elsewhere}")
    return said


def measured(one: Observation) -> str:
    """One line of what a request brought."""
    name = one.changed or "as asked"
    if not one.status:
        return f"{name}: {one.complaint or f'no head in {one.end_s:.2f} s'}"
    told = [f"HTTP/{one.http_version} {one.status}"]
    told += [f"head {_ms(one.head_s)}"] if one.head_s is not None else []
    if one.pieces:
        told.append(f"first byte {_ms(one.pieces[0].t_s)}")
    if one.events:
        word = "message" if one.kind == "messages" else "event"
        told.append(f"first {word} {_ms(one.events[0].t_s)}")
        told.append(f"{len(one.events)} {word}s in {len(one.groups)} arrivals")
    if one.period_s:
        told.append(f"one each {_ms(one.period_s)}")
    if one.pieces:
        sizes = sorted(piece.size for piece in one.pieces)
        told.append(f"{len(sizes)} reads of {sizes[0]}-{sizes[-1]} bytes")
    ends = {"open": "still open", "clean": "ended", "closed": "ended with the connection", "cut": "CUT",
            "reset": "RESET", "broken": "broke a rule"}.get(one.end, one.end)  # fmt: skip
    told.append(f"{ends} after {one.end_s:.2f} s")
    if one.is_cut:
        told.append(f"{one.idle_s:.2f} s after the last byte")
    return f"{name}: {', '.join(told)}"


def _ms(t_s: float | None) -> str:
    return "-" if t_s is None else f"{1000 * t_s:.0f} ms" if t_s < 10 else f"{t_s:.1f} s"
