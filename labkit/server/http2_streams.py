"""The streams of one HTTP/2 connection: each carries an exchange, and ends by itself (RFC 9113 section 5).

What is received is given back to the stream's window when its handler has taken it. Who reads nothing of a stream for
as long as a handler waits, and never says that it has left, has its stream reset.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Callable
from contextlib import suppress

from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset, WindowUpdated
from h2.exceptions import ProtocolError
from tornado.httputil import HTTPInputError, HTTPMessageDelegate
from tornado.iostream import StreamClosedError

from labkit.server.carrier import Fields
from labkit.server.exchange import Exchange, Limits, Room
from labkit.server.http1 import LINGER_S
from labkit.server.http2_limits import ANSWERED, Allowance
from labkit.server.http2_requests import Refused, request_of
from labkit.server.http2_sending import WINDOW_BYTES, Sender, Sending

MAX_STREAMS = 100  # at a time (RFC 9113 section 6.5.2 recommends no fewer)


class Stream(Sending):
    """One stream, as the carrier of its exchange."""

    __slots__ = ("exchange", "heard", "lingers", "owed", "stopped", "streams")

    def __init__(self, streams: Streams, number: int) -> None:
        super().__init__(number)
        self.streams = streams
        self.exchange: Exchange
        self.heard = False  # what is received has ended
        self.stopped = False  # nothing more of what is received is wanted
        self.lingers: asyncio.TimerHandle | None = None  # until that is said
        self.owed = 0  # bytes taken that the peer was not told of

    def begin(self, status: int, fields: Fields, *, ends: bool) -> None:
        told = [(":status", str(status)), *fields]
        coded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in told]  # as Tornado has them
        self.streams.send_head(self, coded, ends=ends)

    def write(self, data: bytes, *, ends: bool = False) -> Future[None]:
        return self.streams.send(self, data, ends)

    def taken(self, size: int) -> None:
        self.owed += size
        if self.owed >= WINDOW_BYTES // 2:
            self.streams.give_back(self, self.owed)
            self.owed = 0

    def stop(self) -> None:
        self.streams.stop(self)

    def reset(self, *, fault: bool = False) -> None:
        self.streams.reset(self, ErrorCodes.INTERNAL_ERROR if fault else ErrorCodes.CANCEL)

    def all_sent(self) -> None:
        self.streams.answered(self)

    def give_up(self) -> None:
        self.streams.give_up(self, ErrorCodes.INTERNAL_ERROR)

    def not_taken(self) -> None:
        self.streams.give_up(self, ErrorCodes.CANCEL)


class Streams:
    """Those of one connection.

    Args:
        h2: keeps their states.
        sender: frames what they send.
        allowance: is paid for answers.
        start: makes what an exchange's request is told to.
        context: of each exchange.
        limits: of a request's body.
        room: for the streams of all connections.
        rest: called when one has ended.

    Attributes:
        open: those that there are, by their numbers.
    """

    def __init__(
        self,
        h2: H2Connection,
        sender: Sender,
        allowance: Allowance,
        start: Callable[[Exchange], HTTPMessageDelegate],
        context: object,
        limits: Limits,
        room: Room,
        rest: Callable[[], None],
    ) -> None:
        self.open: dict[int, Stream] = {}
        self._h2 = h2
        self._sender = sender
        self._allowance = allowance
        self._start = start
        self._context = context
        self._limits = limits
        self._room = room
        self._rest = rest
        self._loop = asyncio.get_running_loop()

    # -- what is received ---------------------------------------------------------------------------------------

    def begin(self, event: RequestReceived, last: int | None) -> None:
        """A request; none is taken behind the stream *last*."""
        assert event.stream_id is not None and event.headers is not None
        has_room = self._room.is_left()
        self.open[event.stream_id] = stream = Stream(self, event.stream_id)
        self._room.taken += 1
        stream.exchange = exchange = Exchange(stream, self._context, self._limits)
        self._end_what_lingers()
        if len(self.open) > MAX_STREAMS or (last is not None and event.stream_id > last):
            self.reset(stream, ErrorCodes.REFUSED_STREAM)  # nothing was done: ask elsewhere
            return
        if not has_room:
            exchange.refuse(503, [("retry-after", "1")])
            return
        try:
            request = request_of(event.headers, ends=event.stream_ended is not None)
        except Refused as refused:
            exchange.refuse(refused.status)
        except HTTPInputError:
            exchange.refuse(400)
        else:
            exchange.begin(self._start(exchange), request.line, request.headers, tunnel=request.websocket)

    def _end_what_lingers(self) -> None:
        """Reset a stream whose answer is whole, where another needs its place.

        Its client has begun another because it counts that one as closed, and some never say so: Firefox of a WebSocket
        that was closed. What the answer has paid is taken back, or a flood of requests that do not end would pay.
        """
        if len(self.open) > MAX_STREAMS:
            lingers = next((one for one in self.open.values() if one.lingers is not None), None)
            if lingers is not None:
                self._allowance.charge(ANSWERED, "streams that do not end")
                self.reset(lingers, ErrorCodes.NO_ERROR)

    def received(self, event: DataReceived, size: int) -> None:
        """DATA, of *size* bytes as the windows count them."""
        if (stream := self.open.get(event.stream_id or 0)) is not None:
            stream.exchange.received(event.data or b"", size)

    def ended(self, event: StreamEnded) -> None:
        if (stream := self.open.get(event.stream_id or 0)) is not None:
            stream.heard = True
            stream.exchange.ended()
            self._forget_if_over(stream)

    def was_reset(self, event: StreamReset) -> None:
        if (stream := self.open.get(event.stream_id or 0)) is not None:
            self._forget(stream)
            stream.exchange.lost()

    def given_back(self, event: WindowUpdated) -> None:
        """A stream's window has grown."""
        if (stream := self.open.get(event.stream_id or 0)) is not None:
            self._sender.given_back(stream, event.delta or 0)

    # -- what is sent -------------------------------------------------------------------------------------------

    def send_head(self, stream: Stream, fields: list[tuple[bytes, bytes]], *, ends: bool) -> None:
        if stream.id not in self.open:
            return
        try:
            self._h2.send_headers(stream.id, fields, end_stream=ends)
        except ProtocolError:  # it was reset, which comes next, or these are no fields
            self._loop.call_soon(stream.give_up)
            return
        self._sender.collect()
        if ends:
            self.answered(stream)
        self._sender.flush_soon()

    def send(self, stream: Stream, data: bytes, ends: bool) -> Future[None]:
        if stream.id in self.open and not stream.ended:
            return self._sender.send(stream, data, ends=ends)
        future: Future[None] = self._loop.create_future()
        future.set_exception(StreamClosedError())
        future.exception()
        return future

    def stop(self, stream: Stream) -> None:
        """Take no more of what is received on the stream, and say so when its answer has had time to be read.

        RFC 9113 section 8.1 allows it at once, but curl and browsers then may forget the answer.
        """
        stream.stopped = True
        if stream.ended and not stream.heard and stream.lingers is None:
            stream.lingers = self._loop.call_later(LINGER_S, self.reset, stream, ErrorCodes.NO_ERROR)

    def reset(self, stream: Stream, code: ErrorCodes) -> None:
        if self.open.get(stream.id) is stream:
            self._forget(stream)
            with suppress(ProtocolError):
                self._h2.reset_stream(stream.id, code)
            self._sender.collect()
            self._sender.flush_soon()

    def give_up(self, stream: Stream, code: ErrorCodes) -> None:
        if self.open.get(stream.id) is stream:
            self.reset(stream, code)
            stream.exchange.lost()

    def give_back(self, stream: Stream, size: int) -> None:
        """Let the peer send as many more bytes on the stream."""
        if stream.id not in self.open or stream.heard or stream.stopped:
            return
        with suppress(ProtocolError):
            self._h2.increment_flow_control_window(size, stream.id)
            self._sender.collect()
            self._sender.flush_soon()

    # -- ends ---------------------------------------------------------------------------------------------------

    def answered(self, stream: Stream) -> None:
        """All of the answer is framed."""
        stream.ended = True
        self._allowance.earn(ANSWERED)
        self._forget_if_over(stream)
        if stream.stopped:
            self.stop(stream)

    def _forget_if_over(self, stream: Stream) -> None:
        if stream.ended and stream.heard and self.open.get(stream.id) is stream:
            self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        del self.open[stream.id]
        if stream.lingers is not None:
            stream.lingers.cancel()
        self._room.taken -= 1
        self._sender.forget(stream)
        self._rest()

    def end(self) -> None:
        """The connection has ended."""
        streams = list(self.open.values())
        self.open.clear()
        self._room.taken -= len(streams)
        for stream in streams:
            stream.fail()
            stream.exchange.lost()
