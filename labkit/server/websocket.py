"""Tornado's WebSocket server, corrected where it is laxer than RFC 6455. A learner never needs to open this file.

Written against Tornado 6.6.1; only what is wrong there is overridden.

================================================================  ===========================  ====================
what a client sends                                               Tornado                      here
================================================================  ===========================  ====================
a frame that is not masked (section 5.1)                          takes it                     fails, 1002
a length that is not in its shortest form (5.2)                   takes it                     fails, 1002
a 64-bit length with its top bit set (5.2)                        1009                         fails, 1002
reserved bits; a reserved opcode, once its frame begins (5.2)     ends without a word          fails, 1002
RSV1 on a control frame where deflate was agreed (7692 6.1)       takes it                     fails, 1002
a control frame over 125 bytes, or in fragments (5.5)             ends without a word          fails, 1002
a continuation of nothing, a message inside a message (5.4)       ends without a word          fails, 1002
a ping between the fragments of a deflated message (5.4)          forgets that it is deflated  pong, then message
a ping between fragments that come near the limit (5.4)           1009                         pong, then message
text that is not UTF-8 (8.1)                                      ends without a word          fails, 1007
a close frame of one byte (5.5.1)                                 takes it                     fails, 1002
a close code that may not travel (7.4)                            sends it back                fails, 1002
a close reason that is not UTF-8 (8.1)                            ends without a word          fails, 1007
deflated data that is none (7692 7.2.2)                           logs a fault, ends           fails, 1002
a deflated message whose last block says so (7692 7.2.3.5)        takes the next for empty     goes on
more than the limit (10.4)                                        1009, which a reset may eat  fails, 1009
an offer to deflate each message alone (7692 7.1.1)               overlooks it                 agrees
an offer to deflate with what cannot be (7692 7.1)                answers 500                  declines it
================================================================  ===========================  ====================

And a peer that leaves a ping unanswered is let go when the ping's time-out is over, not 5 s later (5.5.2).

The private names of Tornado used here: ``_receive_frame``, ``_read_bytes``, ``_handle_message``, ``_run_callback``,
``_abort``, ``_parse_extensions_header``, ``_create_decompressor``, ``_DecompressTooLargeError``, and the attributes
``_decompressor``, ``_frame_compressed``, ``_fragmented_message_buffer``, ``_fragmented_message_opcode``,
``_message_bytes_in``, ``_compressor``.

Not here: the opening handshake, which is Tornado's but for what ``socket_route.py`` asks of it first.
"""

from __future__ import annotations

import asyncio
import zlib
from asyncio import Future
from contextlib import suppress
from typing import Any

from tornado.httputil import HTTPHeaders
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketHandler, WebSocketProtocol, WebSocketProtocol13, _DecompressTooLargeError

from labkit.errors import WireError
from labkit.server.http1 import LabStream, accepted
from labkit.wire.close_codes import decode_close, failure_code
from labkit.wire.frames import (
    COMPRESSION,
    CONTROL,
    FRAGMENTATION,
    FRAMING,
    LIMITS,
    MASKING,
    UTF8,
    Frame,
    Opcode,
    apply_mask,
    encode_frame,
)

ANSWER_S = 5.0  # for the answer to a close frame
FAREWELL_S = 2.0
"""How long a close frame that fails the connection may take to leave."""
_OPCODES = frozenset(Opcode)
_REASON_BYTES = 123  # section 5.5: 125 for a control frame, less the two of the code
_AGREEABLE: dict[str, set[str | None]] = {
    "server_no_context_takeover": {None},
    "client_no_context_takeover": {None},
    "server_max_window_bits": {str(bits) for bits in range(9, 16)},  # 8 is valid, but zlib deflates with no such window
    "client_max_window_bits": {None, *(str(bits) for bits in range(8, 16))},
}
"""What an offer of permessage-deflate may ask for (RFC 7692 section 7.1); any other is declined."""


class CorrectedHandler(WebSocketHandler):
    """A handler whose connection is a :class:`CorrectedProtocol`."""

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        stock = super().get_websocket_protocol()
        return CorrectedProtocol(self, False, stock.params) if isinstance(stock, WebSocketProtocol13) else stock


class CorrectedProtocol(WebSocketProtocol13):
    """The server's side of one connection. It keeps its state in Tornado's own attributes."""

    __slots__ = ()

    def _parse_extensions_header(self, headers: HTTPHeaders) -> list[tuple[str, dict[str, Any]]]:
        """What the client offers and can be agreed to; a parameter without a value counts (RFC 7692 section 7.1.1)."""
        offers: list[tuple[str, dict[str, Any]]] = []
        for offer in headers.get("Sec-WebSocket-Extensions", "").split(","):
            name, *parameters = (part.strip() for part in offer.split(";"))
            pairs = (parameter.partition("=") for parameter in parameters)
            asked = [(key.strip(), value.strip(' "') if equals else None) for key, equals, value in pairs]
            known = all(value in _AGREEABLE.get(key, ()) for key, value in asked) and len(dict(asked)) == len(asked)
            if known or name != "permessage-deflate":
                offers.append((name, dict(asked)))
        return offers

    async def _receive_frame(self) -> None:
        """Read one frame, and handle it if it is a control frame or ends a message (sections 5.1 to 5.5)."""
        try:
            opcode, final, size = await self._read_head()
            mask = await self._read_bytes(4)
            data = apply_mask(await self._read_bytes(size), mask) if size else b""
            whole = self._assembled(opcode, final, data)
            handled = self._handle_message(*whole) if whole is not None else None
        except WireError as error:
            await self._fail(error)
            return
        if handled is not None:
            await handled

    async def _read_head(self) -> tuple[int, bool, int]:
        """Opcode, FIN and payload length; whatever forbids the frame is known before its payload is read."""
        first, second = await self._read_bytes(2)
        opcode, final, length = first & self.OPCODE_MASK, bool(first & self.FIN), second & 0x7F
        self._check_first(first, opcode)
        if not second & 0x80:
            raise WireError("a client's frame is masked, this one is not", clause=MASKING)
        if opcode >= Opcode.CLOSE and (length > 125 or not final):
            raise WireError("a control frame has at most 125 bytes, and is no fragment", clause=CONTROL)
        under_way = self._fragmented_message_buffer
        if opcode == Opcode.CONTINUATION and under_way is None:
            raise WireError("a continuation, but no message is under way", clause=FRAGMENTATION)
        if opcode in (Opcode.TEXT, Opcode.BINARY):
            if under_way is not None:
                raise WireError("a new message inside another", clause=FRAGMENTATION)
            self._frame_compressed = bool(first & self.RSV1)  # of the message: control frames say nothing about it
        size = length if length < 126 else await self._read_length(2 if length == 126 else 8)
        message_bytes = size + (len(under_way) if under_way is not None and opcode < Opcode.CLOSE else 0)
        if message_bytes > self.params.max_message_size:
            raise WireError(f"a message over {self.params.max_message_size} bytes", clause=LIMITS)
        return opcode, final, size

    def _check_first(self, first: int, opcode: int) -> None:
        """Reserved bits and opcodes (section 5.2); what permessage-deflate has agreed on RSV1 (RFC 7692 section 6)."""
        if opcode not in _OPCODES:
            raise WireError(f"opcode {opcode:#x} is reserved", clause=FRAMING)
        reserved = first & self.RSV_MASK
        if reserved & self.RSV1 and self._decompressor is not None:
            if opcode not in (Opcode.TEXT, Opcode.BINARY):
                raise WireError("RSV1 belongs on the first frame of a message", clause=COMPRESSION)
            reserved &= ~self.RSV1
        if reserved:
            raise WireError("a reserved bit is set", clause=FRAMING)

    async def _read_length(self, length_bytes: int) -> int:
        size = int.from_bytes(await self._read_bytes(length_bytes), "big")
        if size >> 63:
            raise WireError("a 64-bit length has its top bit set", clause=FRAMING)
        if size < (126 if length_bytes == 2 else 1 << 16):
            raise WireError(f"length {size} is not in its shortest form", clause=FRAMING)
        return size

    def _assembled(self, opcode: int, final: bool, data: bytes) -> tuple[int, bytes] | None:
        """The control frame, or the message that this frame ends; None while it goes on (section 5.4)."""
        if opcode >= Opcode.CLOSE:
            return opcode, data
        if opcode != Opcode.CONTINUATION:
            if final:
                return opcode, data
            self._fragmented_message_opcode = opcode  # type: ignore[assignment]
            self._fragmented_message_buffer = bytearray(data)
            return None
        assert self._fragmented_message_buffer is not None and self._fragmented_message_opcode is not None
        self._fragmented_message_buffer += data
        if not final:
            return None
        data, self._fragmented_message_buffer = bytes(self._fragmented_message_buffer), None
        return self._fragmented_message_opcode, data

    def _handle_message(self, opcode: int, data: bytes) -> Future[None] | None:
        """Inflate it; check text (section 8.1) and close frames (5.5.1, 7.4); the rest is Tornado's."""
        if self.client_terminated:
            return None
        if opcode == Opcode.CLOSE:
            decode_close(data)
        if opcode >= Opcode.CLOSE:
            compressed, self._frame_compressed = self._frame_compressed, False  # Tornado would inflate a ping
            handled = super()._handle_message(opcode, data)
            self._frame_compressed = compressed
            return handled
        if self._frame_compressed:
            data = self._inflated(data)
        self._message_bytes_in += len(data)
        message: str | bytes = data
        if opcode == Opcode.TEXT:
            try:
                message = data.decode()
            except UnicodeDecodeError as error:
                raise WireError(f"text is not UTF-8: {error.reason}", clause=UTF8) from None
        return self._run_callback(self.handler.on_message, message)

    def _inflated(self, data: bytes) -> bytes:
        assert self._decompressor is not None
        kept = self._decompressor._decompressor  # None: each message is inflated alone
        try:
            inflated = self._decompressor.decompress(data)
        except _DecompressTooLargeError:
            raise WireError("a message over the limit, once inflated", clause=LIMITS) from None
        except zlib.error as error:
            raise WireError(f"not deflated data: {error}", clause=COMPRESSION) from None
        if getattr(kept, "eof", False):  # a block was marked as the last: whatever comes now begins anew
            self._decompressor._decompressor = self._decompressor._create_decompressor()
        return inflated

    @property
    def deflates(self) -> bool:
        """Whether the two have agreed on permessage-deflate."""
        return self._compressor is not None

    def frame(self, message: str | bytes) -> bytes:
        """A message in one frame, deflated if that was agreed: then frames are to be written in the order of making."""
        opcode, payload = (Opcode.TEXT, message.encode()) if isinstance(message, str) else (Opcode.BINARY, message)
        if self._compressor is not None:
            return encode_frame(Frame(opcode, self._compressor.compress(payload), rsv1=True))
        return encode_frame(Frame(opcode, payload))

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Nothing follows a close frame (section 5.5.1): what is fanned out directly neither."""
        if isinstance(self.stream, LabStream):
            self.stream.part()
        super().close(code, reason)

    async def answered(self) -> None:
        """Keep the connection for the peer's answer to a close frame; whoever waits is ended with the handler.

        Ended without it, the connection is not closed cleanly (section 7.1.4).
        """
        if not self.stream.closed():
            await asyncio.sleep(ANSWER_S)

    async def _fail(self, error: WireError) -> None:
        """Say why in a close frame, and end the connection; nothing more of it is read (section 7.1.7).

        What the peer still sends is thrown away for a while: the system would answer it with a reset, which may
        overtake the close frame (section 7.1.1).
        """
        with suppress(StreamClosedError, TimeoutError):
            self.close(failure_code(error), str(error).encode()[:_REASON_BYTES].decode("utf-8", "ignore"))
            await accepted(self.stream.write(b""), FAREWELL_S)  # done when all that is before it has left
        if isinstance(self.stream, LabStream):
            self.stream.lingering = True
        self._abort()

    async def periodic_ping(self) -> None:
        """Ping, and let go of a peer that does not answer in time (section 5.5.2).

        Tornado's own returns once it has sent a close frame, and would wait 5 s for an answer: of such a peer, in vain.
        """
        await super().periodic_ping()
        self._abort()
