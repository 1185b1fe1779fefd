"""The exercises of 06_plugins_and_relatives."""

from __future__ import annotations

from labkit.claims.exercises import Drawn, Exercise


def _message_bytes(text: str) -> Exercise:
    message = f'{{"publish":"{text}"}}'

    def judge(count: float) -> str | None:
        if count == len(message) + 1:
            return None
        return f"{count:g} bytes are the JSON alone." if count == len(message) else f"Found {count:g}."

    return Exercise(
        "bytes",
        judge,
        f"{len(message)} bytes of JSON and one NUL: {len(message) + 1}. No other framing here is cheaper, WebSocket's "
        "included.",
        "count the characters of the JSON; what tells the other side that the message is whole?",
        question=f"An `XMLSocket` client publishes `{message}`. How many bytes go over the wire, TCP and IP not "
        "counted?",
    )


def _call_bytes(callback: str) -> Exercise:
    before = f"/**/{callback}("
    wanted = len(before) + len(");")
    return Exercise(
        "bytes",
        lambda count: None if count == wanted else f"Found {count:g}.",
        f"{len(before)} bytes before the JSON, {before}, and two behind it, );",
        "everything that is not the JSON between the braces makes it a script.",
        question=f'An empty JSONP answer is `{before}{{"events":[],"cursor":"17@k3f9"}});`. How many of its bytes are '
        "there only to make it a script?",
    )


EXERCISES: dict[str, Exercise | Drawn] = {
    "06.1": Drawn(_message_bytes, {"text": ("hi", "hello", "17.5", "goal", "sold out")}),
    "06.2": Drawn(_call_bytes, {"callback": ("labkit7", "cb", "take", "onPrice", "jsonp1234")}),
}
