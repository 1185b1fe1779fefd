"""A story as text and as HTML: each passage once, when each hop had it, and a hex dump of each of its parts."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from labkit.measuring.explain.story import Part, Passage, Story
from labkit.measuring.rounding import counted

ROW_BYTES = 16
FOLDED_BYTES = 256
"""From how many bytes on the rest of a part is folded away in HTML. Text has all of them."""

OWN = ">"
_HEADINGS = ("", "category", "label", "bytes", "hex and text")
_LEFT = 'style="text-align: left; vertical-align: top"'
_PRE = 'style="text-align: left; margin: 0; white-space: pre; overflow-x: auto; background: none"'


def story_lines(event_id: int, story: Story) -> Iterator[str]:
    """Every byte, once, with its times on each hop, line by line."""
    yield f"event {event_id} over {story.heading}"
    yield from (f"{ms:9.3f} ms  {name}" for name, ms in story.milestones)
    for passage in story.passages:
        yield ""
        yield passage.sentence
        yield from (step.sentence for step in passage.steps)
        yield from (f"{'':12}{line}" for part in passage.parts for line in _part_lines(part))
    yield from ["", *story.notes] if story.notes else []


def words(stories: Sequence[Story]) -> list[str]:
    """What the words of these stories mean, as far as they use them."""
    steps = [step for story in stories for passage in story.passages for step in passage.steps]
    if not steps:
        return []
    found = [
        f"{OWN} stands before the event's own bytes. A time is that of a hop's last read of the bytes, or of its first "
        "write, from when the event was due. Bytes are counted from 0 at the beginning of the connection, each way."
    ]
    if not any(step.hop.endswith(".far") for step in steps):
        alone = "No relay of the kit stands between client and server, so that only the client's times are known."
        return [*found, alone]
    found.append(
        "near and far are the two sides of a relay: near is the client's, far the server's. The server's own times are "
        "not recorded; on one machine they are within microseconds of those of the last far side."
    )
    if any(step.remark for step in steps):
        found.append(
            "The handshake is charged: a relay answers the client's TCP handshake itself and at once. So that it takes "
            "its time all the same, a link holds the first bytes of a connection for as long."
        )
    return found


def _part_lines(part: Part) -> Iterator[str]:
    name = f"{OWN if part.own else ' '} {part.category:9} {part.label[:24]:24} {len(part.data):6}"
    for row in _dump(part.data):
        yield f"{name}  {row}"
        name = " " * len(name)


def _dump(data: bytes) -> Iterator[str]:
    """Hex and text of 16 bytes a row."""
    for at in range(0, len(data), ROW_BYTES):
        row = data[at : at + ROW_BYTES]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{row.hex(' '):{3 * ROW_BYTES}} {text}"


def story_html(event_id: int, story: Story) -> str:
    """The same as headings and tables."""
    times = "; ".join(f"{name} at {ms:.3f} ms" for name, ms in story.milestones)
    body = "".join(_passage_html(passage) for passage in story.passages)
    return f"<h4>Event {event_id} over {html.escape(story.heading)}</h4><p>{times}</p>{body}{notes_html(story.notes)}"


def notes_html(notes: Sequence[str]) -> str:
    """One paragraph each."""
    return "".join(f"<p>{html.escape(note)}</p>" for note in notes)


def _passage_html(passage: Passage) -> str:
    name, _, what = passage.sentence.partition(": ")
    steps = _pre([step.sentence for step in passage.steps])
    head = "".join(f'<th scope="col" {_LEFT}>{name}</th>' for name in _HEADINGS)
    parts = "".join(_part_html(part) for part in passage.parts)
    return (
        f"<p><b>{html.escape(name)}</b>: {html.escape(what)}</p>{steps}"
        f"<table><thead><tr>{head}</tr></thead><tbody>{parts}</tbody></table>"
    )


def _part_html(part: Part) -> str:
    cells = [OWN if part.own else "", part.category, part.label, str(len(part.data))]
    weight = "b" if part.own else "span"
    plain = "".join(f"<td {_LEFT}><{weight}>{html.escape(cell)}</{weight}></td>" for cell in cells)
    rows = list(_dump(part.data))
    first = len(rows) if len(part.data) <= FOLDED_BYTES else FOLDED_BYTES // ROW_BYTES
    dumped = _pre(rows[:first])
    if rows[first:]:
        more = counted(len(part.data) - FOLDED_BYTES, "byte")
        dumped += f"<details><summary>{more} more</summary>{_pre(rows[first:])}</details>"
    return f"<tr>{plain}<td {_LEFT}>{dumped}</td></tr>"


def _pre(lines: Sequence[str]) -> str:
    return f"<pre {_PRE}>" + "\n".join(html.escape(line) for line in lines) + "</pre>"
