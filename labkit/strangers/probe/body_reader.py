"""A body as it comes, told as events with their times, and clause by clause what is wrong with an event stream.

Beside the kit's decoders, which pass over what a browser passes over, this says what was passed over.
"""

from __future__ import annotations

import hashlib

from labkit.errors import WireError
from labkit.strangers.probe.observation import Event, Kind, Violation
from labkit.wire.bodies import LINES
from labkit.wire.event_stream import INTERPRETING, PARSING, EventStreamDecoder, StreamEvent
from labkit.wire.multipart import PartDecoder, boundary_of

FIELDS = (b"data", b"event", b"id", b"retry")
MOST_VIOLATIONS = 5
_BOM = b"\xef\xbb\xbf"
SHOWN = 60


def kind_of(content_type: str) -> Kind:
    """How a body of this type is read."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return "event-stream"
    if kind in (*LINES, "application/json-seq", "application/stream+json"):
        return "lines"
    return "parts" if kind.startswith("multipart/x-mixed-replace") and boundary_of(content_type) else "whole"


def reads_as_events(body: bytes) -> bool:
    """Whether all lines of it are an event stream's, and it dispatches an event."""
    reader = BodyReader("event-stream")
    reader.feed(0.0, body)
    return bool(reader.events) and not reader.violations


def key_of(wire_id: str | None, said: bytes) -> str:
    return f"id {wire_id}" if wire_id else hashlib.sha256(said).hexdigest()[:16]


class BodyReader:
    """Takes the pieces of one body, in order, with their times."""

    def __init__(self, kind: Kind, content_type: str = "") -> None:
        self.kind = kind
        self.events: list[Event] = []
        self.heartbeats: list[float] = []
        self.violations: list[Violation] = []
        self.split_characters = 0
        self.at = 0
        self._stream = EventStreamDecoder()
        self._parts = PartDecoder(content_type) if kind == "parts" else None
        self._line = bytearray()
        self._after_cr = False
        self._open = False  # within a block
        self._has_data = False
        self._bare_s = 0.0
        self._previous_s = 0.0
        self._block_start = 0
        self._is_first = True

    @property
    def begun(self) -> int | None:
        """Where an event begins that is not whole; None where none is under way, as behind a comment."""
        if self.kind == "event-stream" and self._open:
            return self._block_start
        if self.kind == "parts":  # its boundary comes behind it
            stop = self.events[-1].stop if self.events else 0
            return stop if self.at > stop else None
        is_event = bool(self._line.strip()) and not (self.kind == "event-stream" and self._line.startswith(b":"))
        return self.at - len(self._line) if is_event else None

    @property
    def retry_ms(self) -> int | None:
        return self._stream.retry_ms

    def feed(self, t_s: float, data: bytes) -> None:
        if self.kind == "event-stream":
            self._feed_stream(t_s, data)
        elif self.kind == "lines":
            self._feed_lines(t_s, data)
        elif self._parts is not None:
            self._feed_parts(t_s, data)
        self.at += len(data)
        self._previous_s = t_s
        self.split_characters += self.kind in ("event-stream", "lines") and _ends_within_character(data)

    def end(self, *, is_whole: bool) -> None:
        """The body has ended; a block without its blank line is lost, if it was meant to be whole."""
        if is_whole and self.kind == "event-stream" and (self._has_data or self._line.startswith(b"data")):
            self._violation(PARSING, "the stream ended inside of a block: this event is never dispatched, its blank "
                            "line is missing", bytes(self._line) or b"(end)")  # fmt: skip

    # -- event streams -----------------------------------------------------------------------------------------------

    def _feed_stream(self, t_s: float, data: bytes) -> None:
        at = self.at
        for line in data.splitlines(keepends=True):  # of bytes: at CR, LF and CRLF only
            if line == b"\n" and self._after_cr:
                self._after_cr = False
                self._stream.feed(line)
                at += 1
                continue
            self._after_cr = line.endswith(b"\r")
            at += len(line)
            text = line.rstrip(b"\r\n")
            self._line += text
            if text:
                self._bare_s = t_s
            if len(text) < len(line):
                self._line_ends(t_s, bytes(self._line), at)
                self._line.clear()
            for event in self._stream.feed(line):
                self._dispatched(t_s, event, at)

    def _line_ends(self, t_s: float, line: bytes, at: int) -> None:
        if self._is_first:
            line, self._is_first = line.removeprefix(_BOM), False
        if not line:
            self._open = self._has_data = False
            return
        if line.startswith(b":"):
            self.heartbeats.append(t_s)
            return
        if not self._open:
            self._open, self._block_start = True, at - len(line)
        name, colon, value = line.partition(b":")
        value = value.removeprefix(b" ")
        self._has_data |= name == b"data"
        self._check(line, name, bool(colon), value)

    def _check(self, line: bytes, name: bytes, has_colon: bool, value: bytes) -> None:
        """One line by the rules of WHATWG HTML 9.2.5 and 9.2.6."""
        try:
            line.decode()
        except UnicodeDecodeError:
            self._violation(PARSING, "a line is not UTF-8, and clients put U+FFFD in its place", line)
        if name not in FIELDS:
            if not has_colon:
                self._violation(INTERPRETING, "a line without a field name is passed over: `data: ` is missing before "
                                "it", line)  # fmt: skip
            elif name.strip().lower() in FIELDS or name.startswith(_BOM):
                self._violation(INTERPRETING, "a field name that is not exactly data, event, id or retry is passed "
                                "over", line)  # fmt: skip
            elif line[:1] in b"{[":
                self._violation(INTERPRETING, "a bare line of JSON is passed over: `data: ` is missing before it", line)
            else:
                self._violation(INTERPRETING, "an unknown field is passed over", line, loses=False)
        elif name == b"retry" and not (value.isdigit() and value.isascii()):
            self._violation(INTERPRETING, "retry takes digits alone, and is passed over", line)
        elif name == b"id" and b"\0" in value:
            self._violation(INTERPRETING, "an id with a NUL is passed over", line)

    def _dispatched(self, t_s: float, event: StreamEvent, at: int) -> None:
        said = event.data.encode("utf-8", "replace")
        self.events.append(
            Event(t_s, self._bare_s, at, at - self._block_start, key_of(event.wire_id, said), event.wire_id,
                  event.type, event.data[:SHOWN])
        )  # fmt: skip

    # -- others ------------------------------------------------------------------------------------------------------

    def _feed_lines(self, t_s: float, data: bytes) -> None:
        at = self.at
        for line in data.splitlines(keepends=True) if b"\r" not in data else data.replace(b"\r", b" ").splitlines(True):
            at += len(line)
            self._line += line
            if line.strip():
                self._bare_s = t_s
            if line.endswith(b"\n"):
                said = bytes(self._line).strip(b"\r\n \x1e")
                if said:
                    self._add(t_s, self._bare_s, at, said)
                else:
                    self.heartbeats.append(t_s)
                self._line.clear()

    def _feed_parts(self, t_s: float, data: bytes) -> None:
        assert self._parts is not None
        at = self.at
        begins = data.lstrip(b"\r\n").startswith(b"--")
        try:
            items = self._parts.items(data)
        except WireError as error:
            self._violation(error.clause, str(error), data)
            return
        for value, runs in items:
            at += sum(run[0] for run in runs)
            if isinstance(value, bytes):
                self._add(t_s, self._previous_s if begins and self._previous_s else t_s, at, value)
            begins = False

    def _add(self, t_s: float, bare_s: float, at: int, said: bytes) -> None:
        shown = said[:SHOWN].decode("utf-8", "replace")
        self.events.append(Event(t_s, bare_s, at, len(said), key_of(None, said), None, "", shown))

    def _violation(self, clause: str, what: str, line: bytes, *, loses: bool = True) -> None:
        if len(self.violations) < MOST_VIOLATIONS and all(what != each.what for each in self.violations):
            shown = repr(line[:SHOWN])[1:] + ("..." if len(line) > SHOWN else "")
            self.violations.append(Violation(clause, what, self.at, shown, loses))


def _ends_within_character(data: bytes) -> bool:
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            return False
        if byte >= 0xC0:
            return back < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4)
    return False
