"""Server-Sent Events on the wire: an encoder, and a decoder to the letter of WHATWG HTML 9.2.5 and 9.2.6.

Not here: HTTP, reconnecting, and what labkit puts into the data (``envelope.py``).
"""

from __future__ import annotations

from dataclasses import dataclass

from labkit.errors import WireError

PARSING = "WHATWG HTML 9.2.5"
INTERPRETING = "WHATWG HTML 9.2.6"

_BOM = b"\xef\xbb\xbf"
_RETRY_LIMIT_MS = 10**15  # 30 000 years; int() refuses the longest digit strings that the grammar allows


def _field(name: str, value: str, forbidden: str) -> str:
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
    head = "" if event is None else _field("event", event, "\r\n")
    if id is not None:
        head += _field("id", id, "\r\n\0")
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
    return _bytes(_field("id", id, "\r\n\0") + "\n")


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


class EventStreamDecoder:
    """Bytes of one ``text/event-stream`` response in, dispatched events out.

    A line counts as soon as its CR or LF is there. A block that the stream's end cuts short is never dispatched.

    Args:
        last_event_id: what the stream starts with. The standard says empty; a client that reconnects passes
            what it held, as browsers do, so that a stream without ids does not lose it.

    Attributes:
        last_event_id: as of the last blank line, also one that dispatched nothing.
        retry_ms: the reconnection time that the stream asked for, in milliseconds; None if it did not. At most
            10**15.
    """

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.retry_ms: int | None = None
        self._line = bytearray()
        self._first_line = True
        self._after_cr = False
        self._id_buffer = last_event_id
        self._wire_id: str | None = None
        self._type = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Take what one read brought and return the events that it completed, in order."""
        if self._after_cr and data:
            self._after_cr = False
            if data[0] == 0x0A:  # the LF of a CRLF whose CR came with the read before
                data = data[1:]
        if not data:
            return []
        lines = data.splitlines()  # of bytes: at CR, LF and CRLF only
        rest = b"" if data.endswith((b"\r", b"\n")) else lines.pop()
        self._after_cr = data.endswith(b"\r")
        events = []
        for line in lines:
            event = self._end_of_line(line)
            if event is not None:
                events.append(event)
        self._line += rest
        return events

    def _end_of_line(self, end: bytes) -> StreamEvent | None:
        line = end
        if self._line:
            line = bytes(self._line + end)
            self._line.clear()
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        # CR and LF are never inside a UTF-8 sequence, so decoding line by line is decoding the stream.
        name, _, value = line.decode("utf-8", "replace").partition(":")
        self._interpret(name, value.removeprefix(" "))  # a comment has no name, and so is no field
        return None

    def _interpret(self, name: str, value: str) -> None:
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id":
            if "\0" not in value:
                self._id_buffer = self._wire_id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            digits = value.lstrip("0")
            self.retry_ms = int(digits or "0") if len(digits) <= 15 else _RETRY_LIMIT_MS

    def _dispatch(self) -> StreamEvent | None:
        self.last_event_id = self._id_buffer
        event = None
        if self._data:
            event = StreamEvent(self._type or "message", "\n".join(self._data), self.last_event_id, self._wire_id)
        self._type, self._data, self._wire_id = "", [], None
        return event
