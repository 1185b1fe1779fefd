"""One HTML page of what a tap has seen: its table, what happened over time, and each line as it passed."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from labkit.measuring.rounding import counted
from labkit.strangers.over_time import MOST_ROWS, STYLE, Row, drawn
from labkit.strangers.page import document, listed, table
from labkit.strangers.tap.exchanges import OTHER, TUNNEL, Seen
from labkit.wire.http1 import printable

MOST_LINES = 5_000


def page(
    title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str], lines: Sequence[str],
    found: Sequence[Seen], until_ns: int,
) -> str:  # fmt: skip
    """The page's text.

    Args:
        lines: what has happened, a line each; the newest are shown.
        until_ns: until when it was seen, from the beginning.
    """
    shown = lines[-MOST_LINES:]
    left = f"<p>The newest {len(shown)} of {counted(len(lines), 'line')}.</p>" if len(shown) < len(lines) else ""
    passed = escape("\n".join(shown))
    return document(
        title,
        f"<h1>{escape(title)}</h1>{table(heads, rows)}{listed(notes)}{_over_time(found, until_ns)}"
        f'<h2>As it passed</h2>{left}<pre class="wide">{passed}</pre>',
        STYLE,
    )


def _over_time(found: Sequence[Seen], until_ns: int) -> str:
    """The exchanges over time: of each a line, with its events, messages and heartbeats on it."""
    rows = [
        _row(seen, until_ns) for seen in found if seen.technique not in (OTHER, TUNNEL) and seen.asked_ns >= 0
    ][:MOST_ROWS]  # fmt: skip
    if not rows:
        return ""
    span_s = max(row.ends_s for row in rows) - min(row.begins_s for row in rows)
    return (
        "<h2>Over time</h2><p>Discs are events, diamonds a client&#x27;s messages, ticks heartbeats; "
        "a cross is an end that was not whole.</p>"
        + drawn(rows, f"{counted(len(rows), 'exchange')} over {span_s:.3g} s")
    )


def _row(seen: Seen, until_ns: int) -> Row:
    end_ns = until_ns if seen.is_open else seen.ended_ns
    return Row(
        f"#{seen.number} {seen.technique} {printable(seen.path, 18)}",
        seen.asked_ns / 1e9,
        end_ns / 1e9,
        events=[e["t_ns"] / 1e9 for e in seen.events],
        messages=[e["t_ns"] / 1e9 for e in seen.sent],
        beats=[e["t_ns"] / 1e9 for e in (*seen.beats, *seen.pings)],
        is_whole=seen.is_open or seen.whole,
    )
