"""One direction of a WebSocket as somebody else exchanged it: messages, and where each of their bytes lay.

Frame headers and control frames are framing. A deflated message (RFC 7692) is payload as a whole: what in it was data
and what envelope can no longer be told apart, and its event is known by inflating. What a client publishes is no event
yet. Not here: the handshake, and whether the messages make sense.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

from labkit.errors import WireError
from labkit.wire.first_word import Messages
from labkit.wire.fragments import Message, MessageAssembler
from labkit.wire.frames import LIMITS, Frame, FrameDecoder, Opcode, PassedOver
from labkit.wire.lane import Carrier
from labkit.wire.spans import MAX_HELD_BYTES, TOO_LONG, UNREAD, Item, Mark

Tell = Callable[[Message], Item]
DEFLATE = "RFC 7692 section 7.2.2"
FROM_CLIENT = "message to the server"
_PIECE_BYTES = 1 << 16
_HEADERS = {opcode: f"{opcode.name.lower()} frame header" for opcode in Opcode}


class MessageReader:
    """The bytes of one direction of an open WebSocket in; what its messages say, and marks, out.

    Args:
        carrier: where the bytes of the message under way lie; its direction says whose messages these are.
        at: where the first byte lies.
        deflated: whether permessage-deflate was agreed.
        tell: reads a message of the server's; by default, what a lab says in its JSON.
        max_message_bytes: the longest message that is held, after inflating.
        passes_over: let a longer one pass unread, as an observer does; False: it breaks the rules.

    Attributes:
        error: why it cannot be read any further; None while it can.
    """

    def __init__(
        self,
        carrier: Carrier,
        at: int,
        *,
        deflated: bool = False,
        tell: Tell | None = None,
        max_message_bytes: int = MAX_HELD_BYTES,
        passes_over: bool = True,
    ) -> None:
        self.error: WireError | None = None
        self._max_message_bytes = max_message_bytes
        self._passes_over = passes_over
        self._carrier = carrier
        self._at = at
        self._seen = at
        self._tell = tell or Messages().message
        self._inflate = _Inflate(max_message_bytes) if deflated else None
        self._assembler = MessageAssembler(max_message_bytes=max_message_bytes, inflate=self._inflate)
        self._decoder = FrameDecoder(
            masked=carrier.direction == "out",
            max_payload_bytes=max_message_bytes,
            reserved=frozenset({"rsv1"} if deflated else ()),
        )
        self._is_deflated = False  # the message under way
        self._is_too_long = False
        self._context_lost = False

    def feed(self, data: bytes, marks: list[Mark]) -> list[Any]:
        """Take what one read brought, and append its marks to *marks*.

        Returns:
            In the order of their ends: what messages say, a client's as they are, and control frames.
        """
        self._seen += len(data)
        if self.error is None:
            said = self._read(data, marks)
            if self.error is None:
                return said
        else:
            said = []
        self.end(marks)
        return said

    def _read(self, data: bytes, marks: list[Mark]) -> list[Any]:
        said: list[Any] = []
        pieces: Sequence[Frame | PassedOver]
        broken: WireError | None = None
        try:
            pieces = self._decoder.pieces(data) if self._passes_over else self._decoder.feed(data)
        except WireError as error:
            pieces, broken = self._decoder.pieces_before_error or self._decoder.before_error, error
        for piece in pieces:
            if isinstance(piece, PassedOver):
                self._pass_over(piece, marks)
            else:
                self._frame(piece, marks, said)
            if self.error is not None:
                return said
        self.error = broken
        return said

    def _mark(self, count: int, label: str, marks: list[Mark]) -> None:
        self._carrier.beside(self._at, self._at + count, "framing", label, marks)
        self._at += count

    def _frame(self, frame: Frame, marks: list[Mark], said: list[Any]) -> None:
        self._mark(frame.header_bytes, _HEADERS[frame.opcode], marks)
        size = len(frame.payload)
        if frame.opcode.is_control:
            self._mark(size, frame.opcode.name.lower(), marks)
            said.append(frame)
            return
        self._carrier.add(self._at, self._at + size)
        self._at += size
        if frame.opcode is not Opcode.CONTINUATION:
            self._is_deflated = frame.rsv1
        if self._is_too_long:
            self._go_past(frame, marks)
        elif self._is_deflated and self._context_lost:
            self._carrier.lay_rest("payload", "deflated, after one too long to read", marks)
        else:
            self._assemble(frame, marks, said)

    def _go_past(self, frame: Frame, marks: list[Mark]) -> None:
        try:
            if self._is_deflated and self._inflate is not None and not self._context_lost:
                self._inflate(frame.payload, frame.fin)  # the messages after it need its context
        except WireError as error:
            self.error = error
        else:
            self._let_go(marks, ends=frame.fin)

    def _pass_over(self, piece: PassedOver, marks: list[Mark]) -> None:
        self._mark(piece.header_bytes, "long frame header", marks)
        self._carrier.add(self._at, self._at + piece.payload_bytes)
        self._at += piece.payload_bytes
        if piece.opcode is not Opcode.CONTINUATION:
            self._is_deflated = piece.rsv1
        self._context_lost |= self._is_deflated
        self._let_go(marks, ends=piece.fin)

    def _let_go(self, marks: list[Mark], *, ends: bool) -> None:
        """The message under way is too long to be read; what there is of it is payload."""
        self._carrier.lay_rest("payload", TOO_LONG, marks)
        self._is_too_long = not ends
        self._assembler = MessageAssembler(max_message_bytes=self._max_message_bytes, inflate=self._inflate)

    def _assemble(self, frame: Frame, marks: list[Mark], said: list[Any]) -> None:
        try:
            message = self._assembler.feed(frame)
        except WireError as error:
            if error.clause == LIMITS and self._passes_over:
                self._let_go(marks, ends=frame.fin)
            else:
                self.error = error
        else:
            if isinstance(message, Message):
                said.append(self._told(message, marks))

    def _told(self, message: Message, marks: list[Mark]) -> Any:
        if self._carrier.direction == "out":
            self._carrier.lay_rest("payload", FROM_CLIENT, marks)
            return message
        said, runs = self._tell(message)
        if self._is_deflated:
            event = next((run[3] for run in runs if run[3] is not None), None)
            label = "deflated" if event is None else f"{event.label}, deflated"
            runs = [(self._carrier.held_bytes, "payload", label, event)]
        self._carrier.lay(runs, marks)
        return message.data if said is None else said

    def end(self, marks: list[Mark]) -> None:
        """Nothing from here on can be read, or comes: what has not become whole is unread."""
        self._carrier.lay_rest("envelope", UNREAD, marks)
        self._mark(self._seen - self._at, UNREAD, marks)


class _Inflate:
    """Undo permessage-deflate (RFC 7692 section 7.2.2); a sender that drops its context needs nothing else.

    Of what is longer than a message may be, only so much is given that it is seen to be too long.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._inflater = zlib.decompressobj(-15)

    def __call__(self, payload: bytes, final: bool) -> bytes:
        found = bytearray()
        data = payload + (b"\x00\x00\xff\xff" if final else b"")
        try:
            while piece := self._inflater.decompress(data, _PIECE_BYTES):
                if len(found) <= self._max_bytes:
                    found += piece
                data = self._inflater.unconsumed_tail
        except zlib.error as error:
            raise WireError(f"not deflated: {error}", clause=DEFLATE) from None
        if self._inflater.eof:  # a block may say that it is the last one (section 7.2.3.4)
            self._inflater = zlib.decompressobj(-15)
        return bytes(found)
