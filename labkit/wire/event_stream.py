"""Server-Sent Events on the wire: an encoder, and a decoder to the letter of WHATWG HTML 9.2.5 and 9.2.6.

Not here: HTTP, reconnecting, and what labkit puts into the data (``envelope.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from labkit.errors import WireError
from labkit.wire.spans import MAX_ITEM_BYTES, TOO_LONG, Item, Run, Sighting

PARSING = "WHATWG HTML 9.2.5"
INTERPRETING = "WHATWG HTML 9.2.6"

_BOM = b"\xef\xbb\xbf"
_RUN_BYTES = 16  # of a block for each of its runs, on average, or it is too long: a run takes more room than its line
_SHORT_RUNS = 64
_RETRY_LIMIT_MS = 10**15  # 30 000 years; int() refuses the longest digit strings that the grammar allows


def _line(name: str, value: str, forbidden: str) -> str:
    for char in forbidden:
        if char in value:
            raise WireError(f"a field {name!r} cannot carry {char!r}", clause=INTERPRETING if char == "\0" else PARSING)
    return f"{name}: {value}\n"


def _bytes(block: str) -> bytes:
    try:
        return block.encode()
    except UnicodeEncodeError:
        raise WireError("text with a lone surrogate cannot be UTF-8", clause=PARSING) from None


def encode_event(data: str, *, event: str | None = None, id: str | None = None, retry_ms: int | None = None) -> bytes:
    """One block that a decoder dispatches as one event.

    Args:
        data: the event's text, split into ``data:`` lines at LF. Text with a CR cannot be carried: a decoder
            would read it as the end of a line.
        event: the event type; a decoder takes ``message`` without one.
        id: the new last event id; empty clears it, None leaves it alone.
        retry_ms: the reconnection time to use from now on, in milliseconds.

    Returns:
        The block in UTF-8, with the blank line that ends it.

    Raises:
        WireError: CR in *data*, CR or LF in *event*, CR, LF or NUL in *id*, a negative *retry_ms*, and text that
            is no Unicode (WHATWG HTML 9.2.5).
    """
    head = "" if event is None else _line("event", event, "\r\n")
    if id is not None:
        head += _line("id", id, "\r\n\0")
    if retry_ms is not None:
        if retry_ms < 0:
            raise WireError(f"retry takes ASCII digits only, not {retry_ms}", clause=INTERPRETING)
        head += f"retry: {retry_ms:d}\n"
    if "\r" in data:
        raise WireError("data with a CR cannot be carried raw; send it as JSON", clause=PARSING)
    return _bytes(head + "data: " + data.replace("\n", "\ndata: ") + "\n\n")


def encode_id(id: str) -> bytes:
    """A block of only an id: it sets the last event id and dispatches nothing (WHATWG HTML 9.2.6).

    Raises:
        WireError: CR, LF or NUL in *id*.
    """
    return _bytes(_line("id", id, "\r\n\0") + "\n")


def encode_comment(text: str = "") -> bytes:
    """A comment, which decoders ignore: keep-alive, or padding against buffers (WHATWG HTML 9.2.7).

    No blank line after it: there is nothing to dispatch, and some clients make an empty event of a block without data.

    Args:
        text: one comment line for each of its lines, split at LF.

    Raises:
        WireError: CR in *text*.
    """
    if "\r" in text:
        raise WireError("a comment cannot carry a CR", clause=PARSING)
    lines = (f": {line}\n" if line else ":\n" for line in text.split("\n"))
    return _bytes("".join(lines))


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One dispatched event.

    Attributes:
        type: ``message`` unless the block named another.
        data: its ``data`` lines, joined by LF.
        last_event_id: the stream's last event id when this was dispatched; may come from an earlier block.
        wire_id: the id that this block itself carried; None if it carried none.
    """

    type: str
    data: str
    last_event_id: str
    wire_id: str | None


Tell = Callable[[StreamEvent | str, list[Run]], Item]
"""Takes the first block, and each that is no plain event (one with a type, or a lone id), with its runs; gives what it
says, and theirs."""


class EventStreamDecoder:
    """Bytes of one ``text/event-stream`` response in, dispatched events out.

    A line counts as soon as its CR or LF is there. A block that the stream's end cuts short is never dispatched.

    Args:
        last_event_id: what the stream starts with. The standard says empty; a client that reconnects passes
            what it held, as browsers do, so that a stream without ids does not lose it.
        max_item_bytes: the longest block that is held; of a longer one, or of one with as many short lines, nothing
            counts but a ``retry`` before that length. None: any.
        tell: knows what is in events that have a type, what a lone id says, and whose stream begins as this one does.

    Attributes:
        last_event_id: as of the last blank line, also one that dispatched nothing.
        retry_ms: the reconnection time that the stream asked for, in milliseconds; None if it did not. At most
            10**15.
    """

    def __init__(
        self, last_event_id: str = "", *, max_item_bytes: int | None = MAX_ITEM_BYTES, tell: Tell | None = None
    ) -> None:
        self.last_event_id = last_event_id
        self.retry_ms: int | None = None
        self._line = bytearray()
        self._first_line = True
        self._after_cr = False
        self._id_buffer = last_event_id
        self._wire_id: str | None = None
        self._type = ""
        self._data: list[str] = []
        self._sighting = Sighting()
        self._runs: list[Run] = []
        self._last_end = -1  # of the runs: the line end of the newest data line
        self._most_bytes = math.inf if max_item_bytes is None else max_item_bytes
        self._most_runs = _SHORT_RUNS + self._most_bytes // _RUN_BYTES
        self._tell = tell
        self._has_begun = False
        self._held_bytes = 0  # of whole lines
        self._skipping = False
        self._at_line_start = True  # while skipping

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Take what one read brought and return the events that it completed, in order."""
        return [event for event, _ in self.items(data) if isinstance(event, StreamEvent)]

    def items(self, data: bytes) -> list[Item]:
        """The same with what each byte was for; a block that dispatched nothing is its id, or None if it has none.

        Field names and line ends are framing, an id is envelope, data is payload, also the line end that joins two
        lines of it. A block is whole at its blank line; the LF of a CRLF that comes after that is a run of its own.
        """
        items: list[Item] = []
        if self._after_cr and data:
            self._after_cr = False
            if data[0] == 0x0A:  # the LF of a CRLF whose CR came with the read before
                data = data[1:]
                self._late_lf(items)
        if not data:
            self._give_up_if_too_long(items)
            return items
        lines = data.splitlines(keepends=True)  # of bytes: at CR, LF and CRLF only
        rest = b"" if data.endswith((b"\r", b"\n")) else lines.pop()
        self._after_cr = data.endswith(b"\r")
        for line in lines:
            if self._skip(line, items) if self._skipping else self._end_of_line(line):
                items.append(self._dispatch())
                if line.endswith(b"\r\n"):
                    self._late_lf(items)
        if self._skipping:
            self._skip(rest, items)
        else:
            self._line += rest
            self._give_up_if_too_long(items)
        return items

    def _give_up_if_too_long(self, items: list[Item]) -> None:
        """Let go what there is of a block that is too long, and read on at the next blank line."""
        if self._held_bytes + len(self._line) <= self._most_bytes and len(self._runs) <= self._most_runs:
            return
        self._skipping, self._at_line_start, self._first_line = True, not self._line, False
        items.append((None, [(self._held_bytes + len(self._line), "payload", TOO_LONG, None)]))
        self._line.clear()
        self._id_buffer = self.last_event_id
        self._type, self._data, self._wire_id = "", [], None
        self._runs, self._last_end, self._held_bytes = [], -1, 0

    def _skip(self, line: bytes, items: list[Item]) -> bool:
        """Pass over a line or the beginning of one; whether it was the blank line."""
        text = line.rstrip(b"\r\n")
        if not text and line and self._at_line_start:
            self._skipping = False
            self._runs.append((1, "framing", "line end", self._sighting))
            return True
        if line:
            items.append((None, [(len(line), "payload", TOO_LONG, None)]))
            self._at_line_start = len(text) < len(line)
        return False

    def _late_lf(self, items: list[Item]) -> None:
        if self._skipping:
            items.append((None, [(1, "payload", TOO_LONG, None)]))
        elif self._runs:
            self._runs.append((1, "framing", "line end", self._sighting))
            self._held_bytes += 1
        else:
            items.append((None, [(1, "framing", "line end", None)]))

    def _end_of_line(self, end: bytes) -> bool:
        """Take one line with its end; whether all up to it is told: it was the blank one, or a comment of no block."""
        raw = end
        if self._line:
            raw = bytes(self._line + end)
            self._line.clear()
        line = raw.rstrip(b"\r\n")
        behind = len(raw) - len(line)
        runs, sighting = self._runs, self._sighting
        if self._first_line:
            self._first_line = False
            if line.startswith(_BOM):
                line = line[3:]
                runs.append((3, "framing", "byte order mark", sighting))
        if not line:
            runs.append((1, "framing", "line end", sighting))
            return True
        is_long = self._held_bytes + len(raw) - behind > self._most_bytes or len(runs) > self._most_runs
        if line.startswith(b":") and not self._held_bytes and not is_long:  # a heartbeat: no event waits for it
            text = line[1:].removeprefix(b" ")
            runs.append((len(line) - len(text), "framing", ":", None))
            runs += [(len(text), "framing", "value", None)] if text else []
            runs.append((1, "framing", "line end", None))
            return True
        self._held_bytes += len(raw)
        if not is_long:  # else :meth:`_dispatch` lets it go
            self._field(line)
        runs.append((behind, "framing", "line end", sighting))
        return False

    def _field(self, line: bytes) -> None:
        """Take one field: what it means (WHATWG HTML 9.2.6) and what its bytes were for. A comment's name is empty."""
        # CR and LF are never inside a UTF-8 sequence, so decoding line by line is decoding the stream.
        name, colon, raw = line.partition(b":")
        if raw.startswith(b" "):
            raw = raw[1:]
        field, value = name.decode("utf-8", "replace"), raw.decode("utf-8", "replace")
        runs, sighting = self._runs, self._sighting
        runs.append((len(line) - len(raw), "framing", f"{field}:" if colon else field, sighting))
        if field == "data":
            self._data.append(value)
            if self._last_end >= 0:  # its first byte is the LF that joins the two lines
                count = runs[self._last_end][0]
                joined: list[Run] = [(1, "payload", "", sighting), (count - 1, "framing", "line end", sighting)]
                runs[self._last_end : self._last_end + 1] = joined
            runs.append((len(raw), "payload", "", sighting))
            self._last_end = len(runs)
            return
        if raw:
            runs.append((len(raw), "envelope" if field == "id" else "framing", "value", sighting))
        if field == "event":
            self._type = value
        elif field == "id":
            if "\0" not in value:
                self._id_buffer = self._wire_id = value
        elif field == "retry" and value.isascii() and value.isdigit():
            digits = value.lstrip("0")
            self.retry_ms = int(digits or "0") if len(digits) <= 15 else _RETRY_LIMIT_MS

    def _dispatch(self) -> Item:
        """The end of a block: the event that it dispatched, if it did, and the runs of all its lines."""
        event: StreamEvent | str | None = None
        runs = self._runs
        if self._held_bytes > self._most_bytes or len(runs) > self._most_runs:
            self._id_buffer = self.last_event_id
            runs = [(self._held_bytes, "payload", TOO_LONG, None), (1, "framing", "line end", None)]
        elif self._data:
            event = StreamEvent(self._type or "message", "\n".join(self._data), self._id_buffer, self._wire_id)
            self._sighting.wire_id = self._wire_id
            self._sighting = Sighting()
        else:
            runs = [(count, category, label, None) for count, category, label, _ in runs]
            event = self._wire_id or None
        self.last_event_id = self._id_buffer
        is_plain = event is None or not (self._type or isinstance(event, str))
        self._type, self._data, self._wire_id = "", [], None
        self._runs, self._last_end, self._held_bytes = [], -1, 0
        if event is None or (is_plain and self._has_begun) or self._tell is None:
            return event, runs
        self._has_begun = True
        return self._tell(event, runs)

    def end(self) -> list[Item]:
        """The stream has ended: a block without its blank line is never dispatched."""
        return []
