"""What came when, drawn: a row for each exchange, on one axis of time. Text and shapes alone, no script."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

MOST_ROWS = 60
_WIDTH, _LEFT, _FOOT = 1000, 210, 20
STYLE = """svg { min-width: 40rem; font: 11px system-ui, sans-serif } svg text { fill: currentColor }
.span { stroke: currentColor; stroke-width: 1; opacity: .5 } .event { fill: #0072b2 } .message { fill: #009e73 }
.beat { stroke: #d55e00; stroke-width: 1.5 } .end { stroke: currentColor; stroke-width: 1.5; fill: none }
.read { stroke: currentColor; stroke-width: 1; opacity: .7 } .head { fill: none; stroke: currentColor }
.gap { stroke: #d55e00; stroke-width: 2; stroke-dasharray: 2 3 }
@media (prefers-color-scheme: dark) { .event { fill: #56b4e9 } .beat, .gap { stroke: #e69f00 } }"""
Place = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Row:
    """One exchange; all times in seconds on the axis.

    Attributes:
        events: that came; messages: that a client sent; beats: heartbeats; reads: what single reads brought.
        head_s: when its head was there, where that is shown.
        gap: a silence that is shown, from when to when.
        is_whole: whether it had a right end, or none yet.
    """

    name: str
    begins_s: float
    ends_s: float
    events: Sequence[float] = ()
    messages: Sequence[float] = ()
    beats: Sequence[float] = ()
    reads: Sequence[float] = ()
    head_s: float | None = None
    gap: tuple[float, float] | None = None
    is_whole: bool = True


def drawn(rows: Sequence[Row], label: str, *, row_height: int = 18) -> str:
    """The rows from the earliest beginning to the latest end, as an ``svg`` that may be wider than the page.

    Args:
        label: what it is to somebody who does not see it.
        row_height: in pixels.
    """
    rows = rows[:MOST_ROWS]
    begin_s = min(row.begins_s for row in rows)
    span_s = max(max(row.ends_s for row in rows) - begin_s, 1e-9)
    height = row_height * len(rows) + 2 * _FOOT

    def x(t_s: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - 20) * min(1.0, (t_s - begin_s) / span_s), 1)

    parts = [
        f'<text x="{x(t)}" y="{height - 4}" text-anchor="middle">{t:.3g} s</text>'
        for t in (begin_s + span_s * quarter / 4 for quarter in range(5))
    ]
    parts += [_row(x, row, _FOOT + row_height * place) for place, row in enumerate(rows)]
    return (
        f'<div class="wide"><svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg></div>"
    )


def _row(x: Place, row: Row, y: int) -> str:
    parts = [f'<text x="4" y="{y + 4}">{escape(row.name)}</text>']
    parts.append(f'<line class="span" x1="{x(row.begins_s)}" x2="{x(row.ends_s)}" y1="{y}" y2="{y}"/>')
    if row.gap is not None:
        begin, end = map(x, row.gap)
        parts.append(f'<line class="gap" x1="{begin}" x2="{end}" y1="{y}" y2="{y}"/>')
        said = f"{row.gap[1] - row.gap[0]:.3g} s"
        parts.append(f'<text x="{(begin + end) / 2:.1f}" y="{y - 5}" text-anchor="middle">{said}</text>')
    parts += [f'<path class="read" d="M{at} {y + 1}v7"/>' for at in _places(x, row.reads)]
    if row.head_s is not None:
        parts.append(f'<rect class="head" x="{x(row.head_s) - 3}" y="{y - 3}" width="6" height="6"/>')
    parts += [f'<path class="beat" d="M{at} {y - 5}v10"/>' for at in _places(x, row.beats)]
    parts += [f'<circle class="event" cx="{at}" cy="{y}" r="3"/>' for at in _places(x, row.events)]
    parts += [f'<path class="message" d="M{at} {y - 4}l4 4l-4 4l-4-4z"/>' for at in _places(x, row.messages)]
    if not row.is_whole:
        parts.append(f'<path class="end" d="M{x(row.ends_s) - 4} {y - 4}l8 8m0-8l-8 8"/>')
    return "".join(parts)


def _places(x: Place, times_s: Iterable[float]) -> list[float]:
    """Where marks stand, each place once: of more than there are pixels, no eye tells them apart."""
    return list({round(at): at for at in map(x, times_s)}.values())
