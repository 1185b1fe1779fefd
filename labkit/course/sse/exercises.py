"""The exercises of 04_server_sent_events."""

from __future__ import annotations

from typing import Any

from labkit.claims.exercises import Exercise
from labkit.wire.event_stream import EventStreamDecoder

BLOCK = b"data:  a\ndata\ndata:b\n\n"
SMALLEST = b"event:end\ndata\n\n"
NOTICED_S = 20.0
MISSED = 3


def _data(text: str) -> str | None:
    wanted = EventStreamDecoder().feed(BLOCK)[0].data
    if text == wanted:
        return None
    if text == wanted.strip():
        return f"{text!r} has lost its leading space: one is removed, there were two."
    if text == wanted.replace("\n\n", "\n"):
        return f"In {text!r} the second line is missing: a field without a colon has an empty value."
    return f"Found {text!r}."


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _block(raw: bytes) -> str | None:
    events = [(event.type, event.data) for event in EventStreamDecoder().feed(raw)]
    if events != [("end", "")]:
        return f"{raw!r} dispatches {events or 'nothing'}."
    return None if len(raw) <= len(SMALLEST) else f"It works, with {len(raw)} bytes; {len(SMALLEST)} are enough."


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else _text(value).encode()


def _interval(beat_s: float) -> str | None:
    if beat_s <= 0:
        return "An interval is above 0."
    mean_s = (MISSED - 0.5) * beat_s
    if abs(mean_s - NOTICED_S) <= 0.02 * NOTICED_S:
        return None
    return f"With a heartbeat every {beat_s:g} s it takes {mean_s:g} s on average, expected {NOTICED_S:g} s."


EXERCISES: dict[str, Exercise] = {
    "04.1": Exercise(
        "",
        _data,
        "' a\\n\\nb': one space of two is removed, the bare field adds an empty line, LF joins the three.",
        "take it apart with sse.dissect, field by field.",
        read=_text,
        kind="a text, such as 'a'",
    ),
    "04.2": Exercise(
        "",
        _block,
        "b'event:end\\ndata\\n\\n', 16 bytes: a data field is needed, but neither its colon nor a value.",
        "the block needs a data field, or nothing is dispatched; which of its characters does it need?",
        read=_bytes,
        kind="bytes, such as b'data:x\\n\\n'",
    ),
    "04.3": Exercise(
        "seconds",
        _interval,
        "A heartbeat every 8 s: the watchdog goes off 16 to 24 s after the link has stalled, 20 s on average.",
        "the last heartbeat came up to one interval before the stall, half of one on average.",
    ),
}
