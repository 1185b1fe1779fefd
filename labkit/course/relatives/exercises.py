"""The exercises of 06_plugins_and_relatives."""

from __future__ import annotations

from labkit.claims.exercises import Exercise

MESSAGE = b'{"publish":"hi"}\0'
CALL = '/**/labkit7({"events":[],"cursor":"17@k3f9"});'


def _message_bytes(count: float) -> str | None:
    if count == len(MESSAGE):
        return None
    if count == len(MESSAGE) - 1:
        return f"{count:g} bytes are the JSON alone."
    return f"Found {count:g}."


def _call_bytes(count: float) -> str | None:
    wanted = CALL.index("{") + len(CALL) - 1 - CALL.rindex("}")
    return None if count == wanted else f"Found {count:g}."


EXERCISES: dict[str, Exercise] = {
    "06.1": Exercise(
        "bytes",
        _message_bytes,
        "Sixteen bytes of JSON and one NUL: 17. No other framing here is as cheap, WebSocket's included.",
        "count the characters of the JSON; what tells the other side that the message is whole?",
    ),
    "06.2": Exercise(
        "bytes",
        _call_bytes,
        "Twelve bytes before the JSON, /**/labkit7(, and two behind it, );",
        "everything that is not the JSON between the braces makes it a script.",
    ),
}
