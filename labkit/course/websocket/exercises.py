"""The exercises of 05_websocket."""

from __future__ import annotations

from labkit.claims.exercises import Exercise
from labkit.wire.frames import Frame, Opcode, encode_frame, header_bytes

WORD = b"yes"
KEY = b"\x0f\xf0\x55\xaa"
PAYLOAD_BYTES = 300
INTERVAL_S = 20.0


def _frame(value: object) -> bytes:
    """Bytes, or text in hex."""
    if isinstance(value, bytes | bytearray | list | tuple):
        return bytes(value)
    if isinstance(value, str):
        return bytes.fromhex(value)
    raise TypeError(value)


def _masked_yes(frame: bytes) -> str | None:
    right = encode_frame(Frame(Opcode.TEXT, WORD, mask=KEY))
    if frame == right:
        return None
    if frame == encode_frame(Frame(Opcode.TEXT, WORD)):
        return "That is how the server sends it: nothing is masked."
    if len(frame) != len(right):
        return f"Found {len(frame)} bytes, expected {len(right)}."
    wrong = next(at for at, (found, wanted) in enumerate(zip(frame, right, strict=True)) if found != wanted)
    return f"Byte {wrong} is {frame[wrong]:02x}, which is not right; those before it are."


def _both_headers(count: float) -> str | None:
    wanted = header_bytes(PAYLOAD_BYTES, True) + header_bytes(PAYLOAD_BYTES, False)
    if count == wanted:
        return None
    if count == 8:
        return "8 bytes are those of a payload under 126: its length fits into the second byte."
    return f"Found {count:g}."


def _longest_unnoticed(seconds: float) -> str | None:
    if seconds == 2 * INTERVAL_S:
        return None
    if seconds == INTERVAL_S:
        return f"{seconds:g} s is right only if a ping was just about to leave."
    return f"Found {seconds:g} s."


EXERCISES: dict[str, Exercise] = {
    "05.1": Exercise(
        "",
        _masked_yes,
        "81 83, the key, and three bytes of the word, each xored with a byte of the key.",
        "81 says: whole, text; the top bit of the next byte says: masked; then length, key, payload xor key.",
        read=_frame,
        kind="a frame, as bytes or in hex",
    ),
    "05.2": Exercise(
        "bytes",
        _both_headers,
        "Up 2 + 2 + 4, down 2 + 2: 12 bytes beside 600 of payload.",
        "300 does not fit into seven bits; who masks?",
    ),
    "05.3": Exercise(
        "seconds",
        _longest_unnoticed,
        "Up to 20 s until the next ping leaves, and 20 s in which its pong may still come: 40 s.",
        "the link dies right after a pong; when does the next ping leave, and how long is its answer waited for?",
    ),
}
