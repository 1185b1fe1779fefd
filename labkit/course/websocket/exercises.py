"""The exercises of 05_websocket."""

from __future__ import annotations

from labkit.claims.exercises import Drawn, Exercise
from labkit.measuring.rounding import counted
from labkit.wire.frames import Frame, Opcode, encode_frame, header_bytes


def _frame(value: object) -> bytes:
    """Bytes, or text in hex."""
    if isinstance(value, bytes | bytearray | list | tuple):
        return bytes(value)
    if isinstance(value, str):
        return bytes.fromhex(value)
    raise TypeError(value)


def _masked_word(word: str, key: str) -> Exercise:
    mask = bytes.fromhex(key)
    right, unmasked = (encode_frame(Frame(Opcode.TEXT, word.encode(), mask=one)) for one in (mask, None))

    def judge(frame: bytes) -> str | None:
        if frame == right:
            return None
        if frame == unmasked:
            return "That is how the server sends it: nothing is masked."
        if len(frame) != len(right):
            return f"Found {counted(len(frame), 'byte')}, expected {len(right)}."
        wrong = next(at for at, (found, wanted) in enumerate(zip(frame, right, strict=True)) if found != wanted)
        return f"Byte {wrong} is {frame[wrong]:02x}, which is not right; those before it are."

    return Exercise(
        "",
        judge,
        f"81 {right[1]:02x}, the key, and {counted(len(word), 'byte')} of the word, each xored with a byte of the key.",
        "81 says: whole, text; the top bit of the next byte says: masked; then length, key, payload xor key.",
        read=_frame,
        kind="a frame, as bytes or in hex",
        question=f"Write the frame in which a client sends the text `{word}` with the key `{key}`, as bytes or in hex.",
    )


def _both_headers(payload_bytes: int) -> Exercise:
    up, down = header_bytes(payload_bytes, True), header_bytes(payload_bytes, False)
    short = header_bytes(1, True) + header_bytes(1, False)

    def judge(count: float) -> str | None:
        if count == up + down:
            return None
        if count == short:
            return f"{short} bytes are those of a payload under 126: its length fits into the second byte."
        return f"Found {count:g}."

    length = down - 2
    return Exercise(
        "bytes",
        judge,
        f"Up 2 + {length} + 4, down 2 + {length}: {up + down} bytes beside {2 * payload_bytes} of payload.",
        f"{payload_bytes} does not fit into seven bits; who masks?",
        question=f"A message of {payload_bytes} bytes goes up and comes back. How many bytes of frame header is that, "
        "both frames together?",
    )


def _longest_unnoticed(interval_s: int, wait_s: int) -> Exercise:
    def judge(seconds: float) -> str | None:
        if seconds == interval_s + wait_s:
            return None
        if seconds in (interval_s, wait_s):
            return f"{seconds:g} s is right only if a ping was just about to leave."
        return f"Found {seconds:g} s."

    return Exercise(
        "seconds",
        judge,
        f"Up to {interval_s} s until the next ping leaves, and {wait_s} s in which its pong may still come: "
        f"{interval_s + wait_s} s.",
        "the link dies right after a pong; when does the next ping leave, and how long is its answer waited for?",
        question=f"A server pings every {interval_s} s and waits {wait_s} s for a pong. How many seconds can a peer be "
        "dead, at the most, before the server knows? (The network's own time not counted.)",
    )


EXERCISES: dict[str, Exercise | Drawn] = {
    "05.1": Drawn(
        _masked_word,
        {"word": ("yes", "ack", "bid", "pong"), "key": ("0f f0 55 aa", "37 fa 21 3d", "12 34 56 78", "c0 01 d0 0d")},
    ),
    "05.2": Drawn(_both_headers, {"payload_bytes": (300, 130, 70_000, 1000, 1_000_000)}),
    "05.3": Drawn(_longest_unnoticed, {"interval_s": (20, 15, 25, 30, 45), "wait_s": (20, 5, 10)}),
}
