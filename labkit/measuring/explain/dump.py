"""A story as text and as HTML: what each side of each hop read or wrote, with a hex dump of each part."""

from __future__ import annotations

import html
from collections.abc import Iterator

from labkit.measuring.explain.story import Part, Step, Story

ROW_BYTES = 16
SHOWN_BYTES = 256
"""Bytes shown of one part; of a longer one, its beginning and its end."""

_HEADINGS = ("category", "label", "bytes", "hex", "text")


def story_lines(event_id: int, story: Story) -> Iterator[str]:
    """The annotated bytes of every hop, line by line, in the order of time."""
    yield f"event {event_id} over {story.heading}"
    timed: list[tuple[float, list[str]]] = [(ms, [f"{ms:9.3f} ms  {name}"]) for name, ms in story.milestones]
    for step in story.steps:
        lines = [f"{'':14}{line}" for part in step.parts for line in _part_lines(part)]
        timed.append((step.t_ms, [step.sentence, *lines]))
    for _, lines in sorted(timed, key=lambda entry: entry[0]):
        yield from lines
    yield from story.notes


def _part_lines(part: Part) -> Iterator[str]:
    name = f"{part.category:9} {part.label[:24]:24} {len(part.data):6}"
    for row in _dump(part.data):
        yield f"{name}  {row[0]:{3 * ROW_BYTES}} {row[1]}"
        name = " " * len(name)


def _dump(data: bytes) -> Iterator[tuple[str, str]]:
    """Hex and text of 16 bytes a row; the middle of long data is left out and counted."""
    half = SHOWN_BYTES // 2
    ends = [data] if len(data) <= SHOWN_BYTES else [data[:half], data[-half:]]
    for i, end in enumerate(ends):
        if i:
            yield f"... {len(data) - SHOWN_BYTES} bytes more ...", ""
        for at in range(0, len(end), ROW_BYTES):
            row = end[at : at + ROW_BYTES]
            yield row.hex(" "), "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)


def story_html(event_id: int, story: Story) -> str:
    """The same as a heading and a table."""
    body = "".join(_step_html(step) for step in story.steps)
    times = "; ".join(f"{name} at {ms:.3f} ms" for name, ms in story.milestones)
    head = "".join(f'<th scope="col" style="text-align: left">{name}</th>' for name in _HEADINGS)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if body else ""
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in story.notes)
    return f"<h4>Event {event_id} over {html.escape(story.heading)}</h4><p>{times}</p>{table}{notes}"


def _step_html(step: Step) -> str:
    what = (
        f'<tr><th colspan="5" scope="colgroup" style="text-align: left">{html.escape(step.sentence.strip())}</th></tr>'
    )
    return what + "".join(_part_html(part) for part in step.parts)


def _part_html(part: Part) -> str:
    dump = list(_dump(part.data))
    cells = [part.category, part.label, str(len(part.data))]
    columns = ["\n".join(row[i] for row in dump) for i in (0, 1)]
    plain = "".join(f'<td style="text-align: left; vertical-align: top">{html.escape(cell)}</td>' for cell in cells)
    left = 'style="text-align: left"'
    dumped = "".join(f"<td {left}><pre {left}>{html.escape(column)}</pre></td>" for column in columns)
    return f"<tr>{plain}{dumped}</tr>"
