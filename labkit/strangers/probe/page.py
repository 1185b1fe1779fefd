"""One HTML page of what a probe has found: the finding first, the line to change second, then what it was seen by."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise

from labkit.strangers import over_time
from labkit.strangers.over_time import Row, drawn
from labkit.strangers.page import document, listed, table
from labkit.strangers.probe.finding import Finding, Note
from labkit.strangers.probe.observation import Event, Observation, Seen
from labkit.strangers.probe.telling import NOTHING, headline, measured, row_of
from labkit.wire.http1 import printable, without_controls

MOST_EVENTS = 200
SAID = 400
"""Characters of one text that came over the wire."""
_GAP = 1.5
"""So many times the median time between two arrivals is a gap that is shown."""
_STYLE = """h1 { font-size: 1.4rem; line-height: 1.3 }
.asked, .grade, h1 small { color: light-dark(#555, #aaa) }
.change { border-left: .25rem solid #0072b2; padding: .4rem .8rem; margin: 1rem 0 }
pre, code { font: .85rem/1.5 ui-monospace, monospace; white-space: pre-wrap; margin: 0 }
section { border-top: 1px solid light-dark(#ccc, #444); margin-top: 1.5rem } h2, h3 { font-size: 1.1rem }
.events :is(td, th):nth-child(n+5) { text-align: left; white-space: normal; min-width: 16rem }
"""


def page(
    seen: Seen, findings: Sequence[Finding], notes: Sequence[Note], unmet: Sequence[str], when: str
) -> str:  # fmt: skip
    """The page's text, of what a report has."""
    first, *rest = findings or (None,)
    body = [_above(seen.first, first, [f"not as expected: {each}" for each in unmet], when)]
    body += [f"<section>{_headline('h2', one)}{_below(one)}</section>" for one in rest if one is not None]
    shown = [one for one in seen if not one.name.startswith("parallel")]
    body += ["<section><h2>Over time</h2>", _over_time(shown), "</section>"]
    body += ["<section><h2>What was asked</h2>", listed(without_controls(measured(one)) for one in shown), "</section>"]
    if notes:
        told = listed(f"{without_controls(note.says)}{row_of(note.row)}" for note in notes)
        body.append(f"<section><h2>Risks, not findings</h2>{told}</section>")
    body += [_events(seen.first), _heads(seen.first)]
    return document(f"labkit probe: {headline(findings, unmet)}", "".join(body), _STYLE + over_time.STYLE)


def _above(first: Observation, finding: Finding | None, unmet: list[str], when: str) -> str:
    what = "a WebSocket" if first.kind == "messages" else first.method
    through = f" through the proxy {first.proxy}" if first.proxy else ""
    asked = f'<p class="asked">{escape(printable(f"{what} {first.address}{through}", SAID))}, {escape(when)}</p>'
    if finding is None:
        return f"<h1>{escape(unmet[0] if unmet else NOTHING)}</h1>{listed(unmet[1:])}{asked}"
    return f"{_headline('h1', finding)}{listed(unmet)}{_below(finding, asked)}"


def _headline(tag: str, finding: Finding) -> str:
    said = f"{escape(printable(finding.says, SAID))} <small>{escape(finding.grade)}{row_of(finding.row)}</small>"
    change = "\n".join(printable(line, 600) for line in finding.remedy)
    changed = f'<div class="change">change<pre>{escape(change)}</pre></div>' if change else ""
    return f"<{tag}>{said}</{tag}>{changed}"


def _below(finding: Finding, asked: str = "") -> str:
    parts = [asked]
    for head, texts in (
        ("What shows it", finding.evidence),
        ("The causes that are left", finding.left),
        ("Not from here", (finding.elsewhere,) if finding.elsewhere else ()),
    ):
        if texts:
            parts.append(f"<h3>{head}</h3>{listed(printable(each, 600) for each in texts)}")
    return "".join(parts)


# -- what came when ----------------------------------------------------------------------------------------------------


def _over_time(shown: Sequence[Observation]) -> str:
    legend = (
        "<p>Time since each request. A square is the head, ticks below the line are reads, discs are events, ticks "
        "across it heartbeats; a silence is dashed, and a cross is an end that was not whole.</p>"
    )
    rows = [_row(one) for one in shown]
    label = "; ".join(f"{row.name}: {len(row.events)} events in {row.ends_s:.3g} s" for row in rows)
    return legend + drawn(rows, label, row_height=30)


def _row(one: Observation) -> Row:
    return Row(
        printable(one.changed or "as asked", 36),
        0.0,
        max(one.end_s, one.pieces[-1].t_s if one.pieces else 0.0),
        events=[event.t_s for event in one.events],
        beats=one.heartbeats,
        reads=[piece.t_s for piece in one.pieces],
        head_s=one.head_s,
        gap=longest_gap(one),
        is_whole=one.end in ("open", "clean", "closed", "stopped"),
    )


def longest_gap(one: Observation) -> tuple[float, float] | None:
    """The longest time in which no byte came, the first one's included, if it is more than what is usual there."""
    came = [0.0, *([one.head_s] if one.head_s is not None else []), *(piece.t_s for piece in one.pieces), one.end_s]
    gaps = sorted(pairwise(sorted(came)), key=lambda gap: gap[1] - gap[0])
    longest, usual = gaps[-1], gaps[len(gaps) // 2]
    long_s = longest[1] - longest[0]
    return longest if long_s >= 0.05 and (len(gaps) < 4 or long_s > _GAP * (usual[1] - usual[0])) else None


def _events(first: Observation) -> str:
    if not first.events:
        return ""
    rows, before_s = list[tuple[str, ...]](), 0.0
    for event in first.events[:MOST_EVENTS]:
        rows.append(_told(event, before_s))
        before_s = event.t_s
    left = f", the first {len(rows)} of {len(first.events)}" if len(rows) < len(first.events) else ""
    heads = ("after", "since the one before", "bytes", "id", "it begins")
    return (
        f'<section class="events"><h2>Events of the first request{left}</h2>{table(heads, rows)}</section>'
    )  # fmt: skip


def _told(event: Event, before_s: float) -> tuple[str, ...]:
    text = printable(event.said, SAID)
    kind = f"({printable(event.type, 40)}) " if event.type not in ("", "message") else ""
    wire_id = printable(event.wire_id or "", 40)
    return f"{event.t_s:.3f} s", f"{1000 * (event.t_s - before_s):.0f} ms", str(event.size), wire_id, kind + text


def _heads(first: Observation) -> str:
    asked = [(name, printable(value, SAID)) for name, value in first.request.items()]
    came = [(name, printable(value, SAID)) for name, value in first.headers.items()]
    parts = [f"<h2>Fields of the request</h2>{table(('name', 'value'), asked)}" if asked else ""]
    parts += [f"<h2>Fields of the answer</h2>{table(('name', 'value'), came)}" if came else ""]
    return f"<section>{''.join(parts)}</section>" if any(parts) else ""
