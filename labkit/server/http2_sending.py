"""What an HTTP/2 server sends: the frames of many streams, through the peer's windows and one socket (RFC 9113).

What is sent goes through two windows, its stream's and the connection's, and that is the backpressure: a handler waits
until what it wrote has a place, and what has none yet waits here, in its stream. Streams that have something to send
take turns, a frame each. One response that nobody reads must not take the whole connection's window from its siblings
(section 5.2): no stream holds more than half of it. (At half of a window clients say at the latest that they have read
it; with a smaller part one that reads could be left waiting.)
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import deque

from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from tornado.iostream import StreamClosedError

from labkit.server.http1 import LabStream, accepted
from labkit.server.http2_limits import SMALL_BYTES, Allowance

WINDOW_BYTES = 65_535
"""Of each direction of a connection, and of a stream, until either side makes it larger (section 6.9.2)."""
FRAME_BYTES = 16 << 10  # of a DATA frame: then it is another stream's turn
ROOM_BYTES = 64 << 10  # framed ahead of the system's taking them
UNSENT_BYTES = 1 << 20  # beyond it a peer that takes nothing is not read either: it could make us answer for ever


class Sending:
    """A stream, as far as it is sent."""

    __slots__ = ("ended", "given", "id", "waiting")

    def __init__(self, number: int) -> None:
        self.id = number
        self.waiting: deque[tuple[memoryview, bool, Future[None]]] = deque()  # with END_STREAM or not
        self.ended = False  # with END_STREAM
        self.given = 0  # bytes sent, less those that the peer's updates say it has read

    def fail(self) -> None:
        """Nothing more of it will be sent."""
        while self.waiting:
            future = self.waiting.popleft()[2]
            if not future.done():
                future.set_exception(StreamClosedError())
                future.exception()

    def all_sent(self) -> None:
        """END_STREAM is framed."""
        raise NotImplementedError

    def give_up(self) -> None:
        """It cannot be sent: it was reset, which comes next, or is wrong."""
        raise NotImplementedError

    def not_taken(self) -> None:
        """Its peer has not let its end be sent in time."""
        raise NotImplementedError


class Sender:
    """One connection's way out.

    Args:
        h2: frames what is sent, and keeps the windows.
        tcp: takes the frames.
        write_timeout_s: a peer that takes nothing of them for so long is let go, and so is a stream whose end it does
            not take.
        allowance: is paid for what a peer may say to what is sent.
    """

    def __init__(self, h2: H2Connection, tcp: LabStream, write_timeout_s: float, allowance: Allowance) -> None:
        self._h2 = h2
        self._tcp = tcp
        self._write_timeout_s = write_timeout_s
        self._allowance = allowance
        self._loop = asyncio.get_running_loop()
        self._out = bytearray()
        self._flushing: asyncio.Handle | None = None
        self._writing: Future[None] | None = None
        self._queue: deque[Sending] = deque()  # have something to send
        self._blocked: dict[Sending, None] = {}  # would have, but for a window
        self._widest = WINDOW_BYTES  # that the peer's window for the connection has been

    def send(self, stream: Sending, data: bytes, *, ends: bool) -> Future[None]:
        """Send DATA in its turn; done when all of it is framed.

        Behind the end of an answer nobody waits any more: it is given up here when no window lets it go in time.
        """
        future: Future[None] = self._loop.create_future()
        stream.waiting.append((memoryview(data), ends, future))
        if len(stream.waiting) == 1:
            self._queue.append(stream)
            self._take_turns()
            self.flush_soon()
        if ends and not future.done():
            late = self._loop.call_later(self._write_timeout_s, stream.not_taken)
            future.add_done_callback(lambda _: late.cancel())
        return future

    def say(self, frame: bytes) -> None:
        """Send what is framed already, behind what ``h2`` has framed."""
        self.collect()
        self._out += frame

    def collect(self) -> None:
        """Take what ``h2`` has framed: it forgets that when its peer says GOAWAY."""
        self._out += self._h2.data_to_send()

    def collect_up_to_fault(self, size: int) -> None:
        """The same without its last *size* bytes, in which ``h2`` says what was wrong."""
        self._out += self._h2.data_to_send()[:-size]

    def forget(self, stream: Sending) -> None:
        """Send nothing more of the stream."""
        self._blocked.pop(stream, None)
        stream.fail()

    def given_back(self, stream: Sending, size: int) -> None:
        """The peer has read so much of the stream, or will take so much more."""
        stream.given = max(0, stream.given - size)
        self._unblock(stream)

    def windows_changed(self) -> None:
        """The connection's window has grown, or all streams' have changed."""
        self._widest = max(self._widest, self._h2.outbound_flow_control_window)
        self._unblock(*self._blocked)

    def go_on(self) -> None:
        """Send what may be sent now."""
        self._take_turns()
        self.flush()

    def flush_soon(self) -> None:
        """Write what all streams have to say in this turn of the loop at once."""
        if self._flushing is None:
            self._flushing = self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Have the system take what is framed."""
        self.stop()
        self.collect()
        if not self._out or self._tcp.closed() or (self._writing is not None and not self._writing.done()):
            return
        data, self._out = bytes(self._out), bytearray()
        self._writing = self._tcp.write(data)
        if not self._writing.done():
            late = self._loop.call_later(self._write_timeout_s, self._tcp.close)
            self._writing.add_done_callback(lambda done: self._written(done, late))
        elif self._queue:
            self._loop.call_soon(self.go_on)

    async def taken(self) -> None:
        """Wait if the peer takes too little of what is framed.

        Raises:
            TimeoutError: it takes nothing.
        """
        if self._writing is not None and len(self._out) > UNSENT_BYTES:
            await accepted(self._writing, self._write_timeout_s)

    def stop(self) -> None:
        """Nothing is flushed by itself any more."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None

    def _written(self, done: Future[None], late: asyncio.TimerHandle) -> None:
        late.cancel()
        if not done.cancelled() and done.exception() is None:
            self.go_on()

    def _take_turns(self) -> None:
        while self._queue and not self._is_full():
            stream = self._queue.popleft()
            if stream.waiting and self._send_frame(stream) and stream.waiting:
                self._queue.append(stream)

    def _send_frame(self, stream: Sending) -> bool:
        """Send one frame of what waits in the stream; False if it cannot go on."""
        data, ends, future = stream.waiting[0]
        try:
            size = min(len(data), max(0, self._window(stream)), FRAME_BYTES)  # it may be below 0 (6.9.2)
            if size == 0 < len(data):
                self._blocked[stream] = None
                return False
            last = size == len(data)
            if size:
                self._h2.send_data(stream.id, data[:size], end_stream=ends and last)
            elif ends:
                self._h2.end_stream(stream.id)  # which asks for no window, in whatever release
            self.collect()
            stream.given += size
            if last or size >= SMALL_BYTES:
                self._allowance.sent()
        except ProtocolError:
            stream.fail()
            self._loop.call_soon(stream.give_up)
            return False
        if not last:
            stream.waiting[0] = data[size:], ends, future
            return True
        stream.waiting.popleft()
        if not future.done():
            future.set_result(None)
        if ends:
            stream.all_sent()
        return True

    def _window(self, stream: Sending) -> int:
        """How many bytes the stream may send now."""
        out = self._widest - self._h2.outbound_flow_control_window  # of all streams, not given back
        share = (self._widest + 1) // 2 - min(stream.given, out)
        return min(self._h2.local_flow_control_window(stream.id), share)

    def _unblock(self, *streams: Sending) -> None:
        for stream in streams:
            if stream in self._blocked:
                del self._blocked[stream]
                self._queue.append(stream)

    def _is_full(self) -> bool:
        return len(self._out) >= ROOM_BYTES or (self._writing is not None and not self._writing.done())
