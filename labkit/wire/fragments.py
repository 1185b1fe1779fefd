"""WebSocket messages: what their frames amount to (RFC 6455 sections 5.4 and 8.1).

Compression (RFC 7692) is not done here: :class:`MessageAssembler` takes a function for it.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass

from labkit.errors import WireError
from labkit.wire.frames import COMPRESSION, FRAGMENTATION, LIMITS, UTF8, Frame, Opcode


@dataclass(frozen=True, slots=True)
class Message:
    """One whole message: ``data`` is str if it is text, else bytes."""

    text: bool
    data: str | bytes


class MessageAssembler:
    """Frames in; messages, and the control frames that came between their fragments, out.

    Args:
        max_message_bytes: the largest message, all fragments together, after *inflate*.
        inflate: where compression was agreed: takes the payload of one frame of a compressed message and whether
            it is the last one, and returns it decompressed.
    """

    def __init__(
        self,
        *,
        max_message_bytes: int = 1 << 24,
        inflate: Callable[[bytes, bool], bytes] | None = None,
    ) -> None:
        self._max_message_bytes = max_message_bytes
        self._inflate = inflate
        self._opcode: Opcode | None = None  # of the message under way
        self._compressed = False
        self._texts: list[str] = []
        self._blobs: list[bytes] = []
        self._message_bytes = 0
        self._utf8 = codecs.getincrementaldecoder("utf-8")()

    def feed(self, frame: Frame) -> Message | Frame | None:
        """Take one frame; return the message that it ends, itself if it is a control frame, else None.

        Raises:
            WireError: a continuation with nothing to continue, a new message inside another (RFC 6455 section
                5.4), a message over the limit, and text that is not UTF-8, as soon as that is certain (section
                8.1).
        """
        if frame.opcode.is_control:
            return frame
        self._begin(frame)
        payload = frame.payload
        if self._compressed and self._inflate is not None:
            payload = self._inflate(payload, frame.fin)
        self._message_bytes += len(payload)
        if self._message_bytes > self._max_message_bytes:
            raise WireError(f"message over {self._max_message_bytes} bytes", clause=LIMITS)
        if self._opcode is Opcode.TEXT:
            self._texts.append(self._decode(payload, frame.fin))
        elif payload:
            self._blobs.append(payload)
        return self._end() if frame.fin else None

    def _begin(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CONTINUATION:
            if self._opcode is None:
                raise WireError("a continuation frame, but no message is under way", clause=FRAGMENTATION)
            return
        if self._opcode is not None:
            raise WireError("a new message inside the fragments of another", clause=FRAGMENTATION)
        if frame.rsv1 and self._inflate is None:
            raise WireError("a compressed message, but compression was not agreed", clause=COMPRESSION)
        self._opcode, self._compressed = frame.opcode, frame.rsv1

    def _decode(self, payload: bytes, final: bool) -> str:
        try:
            text = self._utf8.decode(payload, final)
        except UnicodeDecodeError as error:
            raise WireError(f"text is not UTF-8: {error.reason}", clause=UTF8) from None
        if b"\xed\xa0" <= self._utf8.getstate()[0] < b"\xee":  # Python waits for the third byte of a surrogate
            raise WireError("text is not UTF-8: a surrogate", clause=UTF8)
        return text

    def _end(self) -> Message:
        text = self._opcode is Opcode.TEXT
        message = Message(text, "".join(self._texts) if text else b"".join(self._blobs))
        self._opcode, self._texts, self._blobs, self._message_bytes = None, [], [], 0
        return message
