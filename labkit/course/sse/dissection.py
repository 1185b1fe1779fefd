"""An event stream taken apart line by line: what each line is, what it changes, and what a blank line dispatches."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.course.shown import as_table
from labkit.wire.event_stream import EventStreamDecoder, StreamEvent

if TYPE_CHECKING:
    import pandas as pd

EXAMPLE = "retry: 3000\n: a comment\nid: 1\ndata: first line\ndata: second line\n\nevent: beat\ndata\n\ndata: cut sho"
BOM = b"\xef\xbb\xbf"
_LINE = re.compile(rb"([^\r\n]*)(\r\n|\r|\n|$)")


@dataclass(frozen=True)
class Line:
    """One line of an event stream, and what it does."""

    raw: bytes
    kind: str
    """``comment``, ``field``, ``ignored``, ``blank`` or ``unfinished``."""
    does: str
    event: StreamEvent | None = None


@dataclass(frozen=True)
class Dissection:
    """The lines of a stream; ``events`` are what it dispatched."""

    lines: tuple[Line, ...]

    @property
    def events(self) -> tuple[StreamEvent, ...]:
        return tuple(line.event for line in self.lines if line.event is not None)

    def table(self) -> pd.DataFrame:
        """One row for each line."""
        rows = [[repr(line.raw)[2:-1], line.kind, line.does] for line in self.lines]
        return as_table(rows, ["bytes", "line", "what it does"])

    def __repr__(self) -> str:
        return "\n".join(f"{line.raw!r:<32} {line.kind:<10} {line.does}" for line in self.lines) or "no bytes"

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='text-align:left'>{name}</th>" for name in ("bytes", "line", "what it does"))
        return f"<table><tr>{head}</tr>{''.join(map(_row, self.lines))}</table>"


def dissect(raw: bytes | str) -> Dissection:
    """Take an event stream apart.

    Args:
        raw: the bytes, or text that is to be sent as UTF-8.

    Raises:
        TypeError: neither bytes nor text.
    """
    if isinstance(raw, str):
        raw = raw.encode("utf-8", "replace")
    if not isinstance(raw, bytes):
        raise TypeError(f"an event stream is bytes or text, not {type(raw).__name__}")
    decoder = EventStreamDecoder()
    found = (line for line in _LINE.finditer(raw) if line[0])
    return Dissection(tuple(_line(decoder, line[0], line[1], line[2], first=not line.start()) for line in found))


def _line(decoder: EventStreamDecoder, raw: bytes, text: bytes, end: bytes, *, first: bool) -> Line:
    if not end:
        return Line(raw, "unfinished", "no end of line: if the stream ends here, it and its block are discarded")
    held = decoder.last_event_id
    dispatched = decoder.feed(raw)
    text = text.removeprefix(BOM) if first else text
    if not text:
        return _blank(raw, dispatched[0] if dispatched else None, decoder.last_event_id, held)
    name, colon, value = text.decode("utf-8", "replace").partition(":")
    value = value.removeprefix(" ")
    if colon and not name:
        return Line(raw, "comment", "nothing; keeps the connection busy")
    if name == "retry":
        valid = value.isascii() and value.isdigit()
        does = f"from now on, reconnect after {decoder.retry_ms} ms" if valid else "not a number of milliseconds"
        return Line(raw, "field" if valid else "ignored", does)
    return _field(raw, name, value)


def _field(raw: bytes, name: str, value: str) -> Line:
    match name:
        case "data":
            return Line(raw, "field", f"adds {value!r} and a line feed to the data")
        case "event":
            return Line(raw, "field", f"the type of this block's event is {value or 'message'!r}")
        case "id" if "\0" not in value:
            return Line(raw, "field", f"at the next blank line the last event id becomes {value!r}")
        case "id":
            return Line(raw, "ignored", "an id with a NUL")
    return Line(raw, "ignored", f"no field is called {name!r}")


def _blank(raw: bytes, event: StreamEvent | None, last_event_id: str, held: str) -> Line:
    moved = f"; the last event id is now {last_event_id!r}" if last_event_id != held else ""
    if event is None:
        return Line(raw, "blank", f"dispatches nothing: the block had no data{moved}")
    return Line(raw, "blank", f"dispatches {event.type!r} with the data {event.data!r}{moved}", event)


def _row(line: Line) -> str:
    weight = "bold" if line.event is not None else "normal"
    cells = (f"<code>{html.escape(repr(line.raw)[2:-1])}</code>", line.kind, html.escape(line.does))
    row = "".join(f"<td style='text-align:left'>{cell}</td>" for cell in cells)
    return f"<tr style='font-weight:{weight}'>{row}</tr>"


def playground(text: str = EXAMPLE) -> Any:
    """A field to type a stream into, taken apart at every key. ``.children[0].value`` drives it from code."""
    import ipywidgets

    typed = ipywidgets.Textarea(value=text, rows=text.count("\n") + 2, layout={"width": "auto"})
    crlf = ipywidgets.Checkbox(value=False, description="lines end with CR LF", indent=False)
    shown = ipywidgets.HTML()
    shown.add_class("jp-RenderedHTMLCommon")  # JupyterLab's own tables

    def show(_: object = None) -> None:
        stream = typed.value.replace("\n", "\r\n") if crlf.value else typed.value
        shown.value = dissect(stream)._repr_html_().replace("<table", "<table style='margin-left: 0'", 1)

    for control in (typed, crlf):
        control.observe(show, names="value")
    show()
    return ipywidgets.VBox([typed, crlf, shown])
