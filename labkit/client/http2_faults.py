"""Which clause of RFC 9113 a server has broken, by the frame that did it and by what ``h2`` says of it."""

from __future__ import annotations

from h2 import exceptions

from labkit.errors import ConnectionLost, WireError
from labkit.wire.http1 import printable
from labkit.wire.http2 import Frame, Kind, code_name

_BY_KIND = {
    Kind.DATA: "6.1",
    Kind.HEADERS: "6.2",
    Kind.PRIORITY: "6.3",
    Kind.RST_STREAM: "6.4",
    Kind.SETTINGS: "6.5",
    Kind.PUSH_PROMISE: "8.4",  # nobody allowed it
    Kind.PING: "6.7",
    Kind.GOAWAY: "6.8",
    Kind.WINDOW_UPDATE: "6.9",
    Kind.CONTINUATION: "6.10",
}
_BY_ERROR: tuple[tuple[type[exceptions.H2Error], str], ...] = (
    (exceptions.InvalidBodyLengthError, "8.1.1"),
    (exceptions.FlowControlError, "6.9.1"),
    (exceptions.StreamClosedError, "5.1"),
    (exceptions.NoSuchStreamError, "5.1.1"),
    (exceptions.StreamIDTooLowError, "5.1.1"),
    (exceptions.TooManyStreamsError, "5.1.2"),
    (exceptions.InvalidSettingsValueError, "6.5.2"),
    (exceptions.FrameTooLargeError, "4.2"),
)


def broken(frame: Frame, error: exceptions.H2Error) -> WireError:
    """What *frame* has broken."""
    found = next((section for kind, section in _BY_ERROR if isinstance(error, kind)), "")
    said = printable(str(error)) or type(error).__name__
    if not found and "invalid stream id" in said.lower():
        found = "5.1.1"
    if not found and frame.kind in (Kind.HEADERS, Kind.CONTINUATION):
        found = _of_fields(said.lower())
    if not found and frame.kind in tuple(Kind):
        found = _BY_KIND[Kind(frame.kind)]
    return WireError(f"{frame.name} on stream {frame.stream}: {said}", clause=f"RFC 9113 section {found or '5.4.1'}")


def _of_fields(said: str) -> str:
    if "pseudo" in said or ":status" in said or "mandatory" in said:
        return "8.3"
    if "decod" in said or "header block" in said or "hpack" in said:
        return "4.3"
    return "8.2" if "header" in said else ""


def gone_away(frame: Frame) -> tuple[ConnectionLost, int]:
    """What a GOAWAY says, and the last stream that goes on (RFC 9113 section 6.8).

    Raises:
        WireError: it is none.
    """
    said = frame.payload
    if frame.stream or len(said) < 8:
        raise WireError("a GOAWAY that is none", clause="RFC 9113 section 6.8")
    last, code = int.from_bytes(said[:4], "big") & 0x7FFFFFFF, int.from_bytes(said[4:8], "big")
    more = printable(said[8:].decode("utf-8", "replace"))
    why = f"the server goes away: {code_name(code)}{', ' * bool(more)}{more} (RFC 9113 section 6.8)"
    return ConnectionLost(why), last
