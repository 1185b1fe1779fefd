"""HTTP/2 as two others exchanged it: the frames of both directions, sorted into exchanges, beside ``dissect``.

Streams are exchanges, numbered as they were begun; a WebSocket over HTTP/2 (RFC 8441) is one. Fields are read by
``hpack``, which comes with the extra ``http2``: without it, and behind anything that breaks a rule, both directions are
unread, since neither fields nor streams can be followed any further. A stream that was reset has not become whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labkit.errors import WireError
from labkit.wire.bodies import AsItComes, Opaque, Reading
from labkit.wire.handshake import DEFLATE
from labkit.wire.hpack import runs_of_fields
from labkit.wire.http1 import Head
from labkit.wire.http2 import Block, Frame, FrameCutter, Kind, Places, code_name, head_of
from labkit.wire.lane import Carrier, Lane
from labkit.wire.messages import MessageReader, Tell
from labkit.wire.spans import MAX_HELD_BYTES, TOO_LONG, UNREAD, Direction, Exchange

COMPRESSED = "RFC 9113 section 4.3"
_MAX_STREAMS = 10_000  # that are remembered at once


class _Side:
    """One direction of one stream."""

    def __init__(self, direction: Direction, exchange: Exchange) -> None:
        self.carrier = Carrier(direction, exchange)
        self.reading: Reading | None = None
        self.messages: MessageReader | None = None
        self.places = Places()
        self.ended = False


class _Stream:
    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.sides: dict[Direction, _Side] = {"out": _Side("out", exchange), "in": _Side("in", exchange)}


class HTTP2Dissector:
    """Both directions of one HTTP/2 connection.

    Args:
        out, into: the lanes; what they hold is read, marks and values are put into them.
        next_exchange: begins one.
        reading: how the body of an answer is read.
        tell: what a message of a server's says on a WebSocket; None: what a lab says in its JSON.
    """

    def __init__(
        self,
        out: Lane,
        into: Lane,
        next_exchange: Callable[[], Exchange],
        reading: Callable[[Exchange, Head], Reading],
        tell: Callable[[Exchange], Tell | None],
    ) -> None:
        self._lanes: dict[Direction, Lane] = {"out": out, "in": into}
        self._cutters = {way: FrameCutter(way, MAX_HELD_BYTES, lane.at) for way, lane in self._lanes.items()}
        self._next_exchange, self._reading, self._tell = next_exchange, reading, tell
        self._at = {way: lane.at for way, lane in self._lanes.items()}
        """Where the first byte lies that nothing knows what it was for."""
        self._streams: dict[int, _Stream] = {}
        self._newest = 0
        self._blocks: dict[Direction, Block] = {}
        self._decoders: dict[Direction, Any] = {}
        out.step, into.step = (lambda: self._step("out")), (lambda: self._step("in"))

    def _step(self, way: Direction) -> bool:
        """Read what a lane holds."""
        lane, cutter = self._lanes[way], self._cutters[way]
        frames = cutter.feed(lane.taken(), lane.marks)
        try:
            for frame in frames:
                self._at[way] = frame.start
                self._frame(way, frame)
            self._at[way] = cutter.at
            if cutter.error is not None:
                raise cutter.error
        except WireError as error:
            self.end(str(error))
            for each in self._lanes.values():
                each.give_up(None, "")
        lane.at = lane.seen if lane.is_lost else cutter.at
        return True

    def end(self, why: str = "") -> None:
        """The connection has ended, or cannot be read any further."""
        for stream in self._streams.values():
            self._let_go(stream, why)
        self._streams.clear()
        for way, block in self._blocks.items():
            block.carrier.lay_rest("headers", UNREAD, self._lanes[way].marks)
        self._blocks.clear()
        for way, lane in self._lanes.items():
            self._cutters[way].end(lane.marks, self._at[way])
            lane.at = lane.seen
            self._at[way] = lane.seen

    def _let_go(self, stream: _Stream, why: str) -> None:
        for way, side in stream.sides.items():
            marks = self._lanes[way].marks
            if side.messages is not None:
                own: list[Any] = []
                side.messages.end(own)
                marks += side.places.laid(own)
            side.carrier.lay_rest("envelope", UNREAD, marks)
        stream.exchange.complaint = stream.exchange.complaint or why

    # -- frames ------------------------------------------------------------------------------------------------------

    def _frame(self, way: Direction, frame: Frame) -> None:
        block = self._blocks.get(way)
        if (block is not None) != (frame.kind == Kind.CONTINUATION) or (block and block.first.stream != frame.stream):
            raise WireError("a field block that is cut by other frames", clause="RFC 9113 section 6.10")
        if frame.kind in (Kind.HEADERS, Kind.PUSH_PROMISE):
            block = self._begin(way, frame)
        stream = self._streams.get(frame.stream)
        exchange = block.carrier.exchange if block is not None else stream.exchange if stream is not None else None
        frame.beside(Carrier(way, exchange), self._lanes[way].marks)
        self._at[way] = frame.stop
        if block is not None:
            block.add(frame)
            if len(block.coded) > MAX_HELD_BYTES:
                raise WireError(f"a field block {TOO_LONG}", clause=COMPRESSED)
            if frame.ends_block:
                self._fields(way, block)
                del self._blocks[way]
        elif frame.kind == Kind.DATA:
            self._data(way, frame, stream)
        elif frame.kind == Kind.RST_STREAM and stream is not None:
            code = int.from_bytes(frame.payload[:4], "big")
            who = "client" if way == "out" else "server"
            done = stream.exchange.is_whole and code == 0
            self._let_go(stream, "" if done else f"reset by the {who}: {code_name(code)}")
            del self._streams[frame.stream]

    def _begin(self, way: Direction, frame: Frame) -> Block:
        number = frame.stream
        if frame.kind == Kind.PUSH_PROMISE:
            number = int.from_bytes(frame.raw[9 + frame.before - 4 : 9 + frame.before], "big") & 0x7FFFFFFF
        if number not in self._streams and number > self._newest:
            self._newest = number
            self._streams[number] = _Stream(self._next_exchange())
            if len(self._streams) > _MAX_STREAMS:
                self._let_go(self._streams.pop(next(iter(self._streams))), "too many streams to follow")
        stream = self._streams.get(number)
        block = self._blocks[way] = Block(way, stream.exchange if stream is not None else None, frame)
        return block

    def _fields(self, way: Direction, block: Block) -> None:
        """A whole field block: a head, or trailers."""
        lane, fields = self._lanes[way], self._decoded(way, block.coded)
        block.carrier.lay(runs_of_fields(block.coded, [name for name, _ in fields]), lane.marks)
        exchange, first = block.carrier.exchange, block.first
        if exchange is None:
            return  # of a stream that one side has left already
        head = head_of(fields, len(block.coded))
        stream = self._streams.get(first.stream)
        if head.method and exchange.request is None:
            exchange.ask(head)
            if stream is not None and way == "out":
                stream.sides["out"].reading = AsItComes("request body")
        elif head.status >= 200 and stream is not None:
            self._answered(stream, head)
        if first.ends_stream and stream is not None:
            self._side_ends(way, first.stream, stream)

    def _answered(self, stream: _Stream, head: Head) -> None:
        exchange = stream.exchange
        exchange.status, exchange.response = head.status, head
        if exchange.method == "CONNECT" and not exchange.is_socket and head.status < 300:
            for side in stream.sides.values():
                side.reading = Opaque("tunnel")
        elif not exchange.is_socket:
            stream.sides["in"].reading = self._reading(exchange, head)
        else:
            self._upgraded(stream, head)

    def _upgraded(self, stream: _Stream, head: Head) -> None:
        exchange = stream.exchange
        deflated = DEFLATE in head.values.get("sec-websocket-extensions", "")
        for way, side in stream.sides.items():
            carrier = Carrier(way, exchange)
            side.messages = MessageReader(carrier, 0, deflated=deflated, tell=self._tell(exchange))

    def _data(self, way: Direction, frame: Frame, stream: _Stream | None) -> None:
        lane = self._lanes[way]
        if stream is None:  # of a stream that one side has left already
            Carrier(way, None).beside(*frame.place, "envelope", UNREAD, lane.marks)
            return
        side, data = stream.sides[way], frame.content
        start, stop = frame.place
        if side.messages is not None:
            side.places.add(start, len(data))
            own: list[Any] = []
            lane.values += ((stream.exchange, value) for value in side.messages.feed(data, own))
            lane.marks += side.places.laid(own)
            if side.messages.error is not None:
                who = "client" if way == "out" else "server"
                stream.exchange.complaint = (
                    stream.exchange.complaint or f"its messages from the {who} end early: {side.messages.error}"
                )
        else:
            side.carrier.add(start, stop)
            if side.reading is None:  # before any answer
                side.carrier.lay_rest("envelope", UNREAD, lane.marks)
            else:
                lane.lay(side.carrier, side.reading.items(data))
        if frame.ends_stream:
            self._side_ends(way, frame.stream, stream)

    def _side_ends(self, way: Direction, number: int, stream: _Stream) -> None:
        side, lane = stream.sides[way], self._lanes[way]
        side.ended = True
        if side.reading is not None:
            lane.lay(side.carrier, side.reading.end())
            side.carrier.lay_rest("envelope", UNREAD, lane.marks)
        if way == "in":
            stream.exchange.is_whole = True
        if all(each.ended for each in stream.sides.values()):
            self._let_go(stream, "")
            del self._streams[number]

    def _decoded(self, way: Direction, block: bytes) -> list[tuple[str, str]]:
        try:
            from hpack import Decoder
            from hpack.exceptions import HPACKError
        except ImportError:
            needs = 'HTTP/2 fields are read with hpack: pip install "labkit[http2]"'
            raise WireError(needs, clause="RFC 7541") from None
        if way not in self._decoders:
            self._decoders[way] = Decoder(max_header_list_size=MAX_HELD_BYTES)
            self._decoders[way].max_allowed_table_size = 1 << 20  # as SETTINGS may allow
        try:
            fields = self._decoders[way].decode(block, raw=True)
        except HPACKError as error:
            raise WireError(f"a field block that does not decode: {error}", clause=COMPRESSED) from None
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
