"""One direction of a WebSocket as somebody else exchanged it: messages, and where each of their bytes lay.

Frame headers and control frames are framing. A deflated message (RFC 7692) is payload as a whole: what in it was data
and what envelope can no longer be told apart, and its event is known by inflating. What a client publishes is no event
yet. Not here: the handshake, and whether the messages make sense.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from labkit.errors import WireError
from labkit.wire.envelope import told, told_binary
from labkit.wire.frames import LIMITS, Frame, FrameDecoder, Message, MessageAssembler, Opcode, PassedOver
from labkit.wire.spans import MAX_HELD_BYTES, TOO_LONG, UNREAD, Carrier, Item, Mark, Sighting

Tell = Callable[[Message], Item]
FROM_CLIENT = "message to the server"
_PIECE_BYTES = 1 << 16
_HEADERS = {opcode: f"{opcode.name.lower()} frame header" for opcode in Opcode}


def told_message(message: Message) -> Item:
    """What a message of a server says: labkit's JSON, or an event as a whole."""
    data = message.data
    if isinstance(data, str):
        return told(data.encode())
    return None, [(len(data), "payload", "", Sighting())]


def told_with_id(message: Message) -> Item:
    """The same where binary messages begin with 8 bytes of id (``?binary=1``)."""
    return told_binary(message.data) if isinstance(message.data, bytes) else told(message.data.encode())


class MessageReader:
    """The bytes of one direction of an open WebSocket in; what its messages say, and marks, out.

    Args:
        carrier: where the bytes of the message under way lie; its direction says whose messages these are.
        at: where the first byte lies.
        deflated: whether permessage-deflate was agreed.
        tell: reads a message of the server's.

    Attributes:
        complaint: why it cannot be read any further; empty while it can.
    """

    def __init__(self, carrier: Carrier, at: int, *, deflated: bool = False, tell: Tell = told_message) -> None:
        self.complaint = ""
        self._carrier = carrier
        self._at = at
        self._seen = at
        self._tell = tell
        self._inflate = _Inflate() if deflated else None
        self._assembler = MessageAssembler(max_message_bytes=MAX_HELD_BYTES, inflate=self._inflate)
        self._decoder = FrameDecoder(
            masked=carrier.direction == "out",
            max_payload_bytes=MAX_HELD_BYTES,
            reserved=frozenset({"rsv1"} if deflated else ()),
        )
        self._is_deflated = False  # the message under way
        self._is_too_long = False
        self._context_lost = False

    def feed(self, data: bytes, marks: list[Mark]) -> list[Any]:
        """Take what one read brought: what its messages say, and their marks appended to *marks*."""
        self._seen += len(data)
        if self.complaint:
            self._give_up(marks)
            return []
        broken = ""
        try:
            pieces = self._decoder.pieces(data)
        except WireError as error:
            pieces, broken = self._decoder.pieces_before_error, str(error)
        said: list[Any] = []
        for piece in pieces:
            if isinstance(piece, PassedOver):
                self._pass_over(piece, marks)
            elif piece.opcode.is_control:
                self._frame(piece, marks)
            else:
                self._data(piece, marks, said)
            if self.complaint:
                break
        self.complaint = self.complaint or broken
        if self.complaint:
            self._give_up(marks)
        return said

    def _mark(self, count: int, label: str, marks: list[Mark]) -> None:
        self._carrier.beside(self._at, self._at + count, "framing", label, marks)
        self._at += count

    def _frame(self, frame: Frame, marks: list[Mark]) -> None:
        self._mark(frame.header_bytes, _HEADERS[frame.opcode], marks)
        if frame.opcode.is_control:
            self._mark(len(frame.payload), frame.opcode.name.lower(), marks)
            return
        self._carrier.add(self._at, self._at + len(frame.payload))
        self._at += len(frame.payload)

    def _pass_over(self, piece: PassedOver, marks: list[Mark]) -> None:
        self._mark(piece.header_bytes, "long frame header", marks)
        self._carrier.add(self._at, self._at + piece.payload_bytes)
        self._at += piece.payload_bytes
        self._context_lost = True  # if it was deflated; no matter if not
        self._let_go(marks, ends=piece.fin)

    def _let_go(self, marks: list[Mark], *, ends: bool) -> None:
        """The message under way is too long to be read; what there is of it is payload."""
        self._carrier.lay_rest("payload", TOO_LONG, marks)
        self._is_too_long = not ends
        self._assembler = MessageAssembler(max_message_bytes=MAX_HELD_BYTES, inflate=self._inflate)

    def _data(self, frame: Frame, marks: list[Mark], said: list[Any]) -> None:
        self._frame(frame, marks)
        if frame.opcode is not Opcode.CONTINUATION:
            self._is_deflated = frame.rsv1
        if self._is_too_long:
            if self._is_deflated and self._inflate is not None:
                self._inflate(frame.payload, frame.fin)  # the messages after it need its context
            self._let_go(marks, ends=frame.fin)
            return
        if self._is_deflated and self._context_lost:
            self._carrier.lay_rest("payload", "deflated, after one too long to read", marks)
            return
        try:
            message = self._assembler.feed(frame)
        except zlib.error as error:
            self.complaint = f"not deflated: {error}"
        except WireError as error:
            if error.clause == LIMITS:
                self._let_go(marks, ends=frame.fin)
            else:
                self.complaint = str(error)
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

    def _give_up(self, marks: list[Mark]) -> None:
        """Nothing from here on can be read."""
        self._carrier.lay_rest("envelope", UNREAD, marks)
        self._mark(self._seen - self._at, UNREAD, marks)

    def end(self, marks: list[Mark]) -> None:
        """The connection has ended: what has not become whole is marked as unread."""
        self._give_up(marks)


class _Inflate:
    """Undo permessage-deflate (RFC 7692 section 7.2.2); a sender that drops its context needs nothing else.

    Of what is longer than a message may be, only so much is given that it is seen to be too long.
    """

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(-15)

    def __call__(self, payload: bytes, final: bool) -> bytes:
        found = bytearray()
        data = payload + (b"\x00\x00\xff\xff" if final else b"")
        while piece := self._inflater.decompress(data, _PIECE_BYTES):
            if len(found) <= MAX_HELD_BYTES:
                found += piece
            data = self._inflater.unconsumed_tail
        if self._inflater.eof:  # a block may say that it is the last one (section 7.2.3.4)
            self._inflater = zlib.decompressobj(-15)
        return bytes(found)
