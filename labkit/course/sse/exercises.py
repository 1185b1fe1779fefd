"""The exercises of 04_server_sent_events."""

from __future__ import annotations

from typing import Any

from labkit.claims.exercises import Drawn, Exercise
from labkit.wire.event_stream import EventStreamDecoder


def _data(first: str, last: str) -> Exercise:
    block = f"data:  {first}\ndata\ndata:{last}\n\n".encode()
    wanted = EventStreamDecoder().feed(block)[0].data

    def judge(text: str) -> str | None:
        if text == wanted:
            return None
        if text == wanted.strip():
            return f"{text!r} has lost its leading space: one is removed, there were two."
        if text == wanted.replace("\n\n", "\n"):
            return f"In {text!r} the second line is missing: a field without a colon has an empty value."
        return f"Found {text!r}."

    return Exercise(
        "",
        judge,
        f"{wanted!r}: one space of two is removed, the bare field adds an empty line, LF joins the three.",
        "take it apart with sse.dissect, field by field.",
        read=_text,
        kind="a text, such as 'a'",
        question=f"What is `event.data` of the event that comes of `{block!r}`? A text.",
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _block(kind: str) -> Exercise:
    smallest = f"event:{kind}\ndata\n\n".encode()

    def judge(raw: bytes) -> str | None:
        events = [(event.type, event.data) for event in EventStreamDecoder().feed(raw)]
        if events != [(kind, "")]:
            return f"{raw!r} dispatches {events or 'nothing'}."
        return None if len(raw) <= len(smallest) else f"It works, with {len(raw)} bytes; {len(smallest)} are enough."

    return Exercise(
        "",
        judge,
        f"{smallest!r}, {len(smallest)} bytes: a data field is needed, but neither its colon nor a value.",
        "the block needs a data field, or nothing is dispatched; which of its characters does it need?",
        read=_bytes,
        kind="bytes, such as b'data:x\\n\\n'",
        question=f"Write the shortest block that dispatches an event of the type `{kind}` with empty data.",
    )


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else _text(value).encode()


def _interval(noticed_s: int, missed: int) -> Exercise:
    right_s = noticed_s / (missed - 0.5)

    def judge(beat_s: float) -> str | None:
        if beat_s <= 0:
            return "An interval is above 0."
        mean_s = (missed - 0.5) * beat_s
        if abs(mean_s - noticed_s) <= 0.02 * noticed_s:
            return None
        return f"With a heartbeat every {beat_s:g} s it takes {mean_s:g} s on average, expected {noticed_s:g} s."

    return Exercise(
        "seconds",
        judge,
        f"A heartbeat every {right_s:.3g} s: the watchdog goes off {(missed - 1) * right_s:.3g} to "
        f"{missed * right_s:.3g} s after the link has stalled, {noticed_s} s on average.",
        "the last heartbeat came up to one interval before the stall, half of one on average.",
        question=f"A page is to notice a dead link after {noticed_s} s on average, with a watchdog of {missed} "
        "intervals. How many seconds may lie between two heartbeats?",
    )


EXERCISES: dict[str, Exercise | Drawn] = {
    "04.1": Drawn(_data, {"first": ("a", "red", "17", "x"), "last": ("b", "blue", "18", "y")}),
    "04.2": Drawn(_block, {"kind": ("end", "stop", "done", "bye", "closed")}),
    "04.3": Drawn(_interval, {"noticed_s": (20, 15, 25, 30, 45), "missed": (3, 2, 4)}),
}
