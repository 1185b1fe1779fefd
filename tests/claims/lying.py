"""A lie for a lab in a process of its own: planted there when its techniques are read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from labkit.server import websocket
from labkit.techniques import TECHNIQUES
from labkit.wire.frames import Frame, Opcode, encode_frame


class Planting(str):
    """A text that plants a lie wherever it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return never_deflate, (str(self),)


def never_deflate(text: str) -> str:
    """From now on a WebSocket of this process agrees to deflate and does not."""

    def frame(_: Any, message: str | bytes) -> bytes:
        is_text = isinstance(message, str)
        payload = message.encode() if isinstance(message, str) else message
        return encode_frame(Frame(Opcode.TEXT if is_text else Opcode.BINARY, payload))

    websocket.CorrectedProtocol.frame = frame  # type: ignore[attr-defined]
    return text


NEVER_DEFLATING = tuple(replace(one, hint=Planting(one.hint)) for one in TECHNIQUES)
