"""HTTP/2 on a server's connection (RFC 9113, on ``h2``): from its preface to its GOAWAY.

Its streams are in ``http2_streams.py``; what is sent, and how they share the way out, is in ``http2_sending.py``.

What is received is given back to the connection's window at once, and not when a handler has taken it: there it can
hold up others, and streams times their windows is what one connection can make the server keep.

At the end, GOAWAY says which streams were begun; they may end in their time (section 6.8).

``h2`` keeps the connection's states and HPACK's tables. Its private names are not used; ``state_machine`` is put back
after a peer's GOAWAY, which for ``h2`` is the end, and for the RFC only of what is new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hpack import HPACKError
from hyperframe.frame import GoAwayFrame, SettingsFrame
from tornado.httputil import HTTPMessageDelegate
from tornado.iostream import StreamClosedError, UnsatisfiableReadError

from labkit.server.exchange import Exchange, Limits, Room
from labkit.server.http1 import HEAD_S, LabStream
from labkit.server.http2_limits import Allowance, Fault, Gate
from labkit.server.http2_sending import WINDOW_BYTES, Sender
from labkit.server.http2_streams import MAX_STREAMS, Streams
from labkit.sockets import READ_BYTES, limit_unread
from labkit.wire.http2 import PREFACE

MAX_FIELDS_BYTES = 64 << 10  # of a field block, as Tornado has it for a head
MAX = SettingCodes.MAX_CONCURRENT_STREAMS
SETTINGS = {
    MAX: MAX_STREAMS,
    SettingCodes.MAX_HEADER_LIST_SIZE: MAX_FIELDS_BYTES,
    SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,  # RFC 8441
}
IDLE_S = 600.0  # without an exchange
TURN_S = 0.002  # of the loop for one connection's frames
AFTER_LINE = b"SM\r\n\r\n"


class _H2(H2Connection):
    MAX_CLOSED_STREAMS = 10 * MAX_STREAMS  # that are remembered: 65 536 take 6 MB


class Connection:
    """One client's connection.

    Args:
        tcp: what it runs on; the preface's first line has been read from it, and no more.
        start: makes what an exchange's request is told to.
        context: of each exchange.
        limits: of a request's body.
        write_timeout_s: who takes nothing for so long is let go.
        room: for the streams of all connections.
    """

    def __init__(
        self,
        tcp: LabStream,
        start: Callable[[Exchange], HTTPMessageDelegate],
        context: object,
        limits: Limits,
        write_timeout_s: float,
        room: Room,
    ) -> None:
        self.tcp = tcp
        self._write_timeout_s = write_timeout_s
        self._loop = asyncio.get_running_loop()
        self._h2 = _H2(H2Configuration(client_side=False, header_encoding=None))
        self._h2.local_settings = Settings(client=False, initial_values=dict(SETTINGS))
        self._owed = 0
        self._last: int | None = None  # the last stream that was begun, once no more are
        self._idle: asyncio.TimerHandle | None = None
        allowance = Allowance(self._loop.time)
        self._sender = Sender(self._h2, tcp, write_timeout_s, allowance)
        self._streams = Streams(self._h2, self._sender, allowance, start, context, limits, room, self._rest)
        self._gate = Gate(AFTER_LINE, allowance, self._streams.open)
        self._late: tuple[int, asyncio.TimerHandle] | None = None  # what must end in its time
        self._handlers: dict[type[Event], Callable[..., None]] = {
            RequestReceived: self._on_request,
            DataReceived: self._on_data,
            StreamEnded: self._streams.ended,
            StreamReset: self._streams.was_reset,
            WindowUpdated: self._on_window,
            RemoteSettingsChanged: self._on_settings,
            ConnectionTerminated: self._on_goaway,
        }

    async def serve(self) -> None:
        """Serve until either side has ended the connection."""
        limit_unread(self.tcp.socket, self._write_timeout_s)
        try:
            self._h2.initiate_connection()
            self._sender.collect()
            # h2 would end the connection for one stream too many, which is refused here instead
            self._h2.local_settings = Settings(client=False, initial_values=SETTINGS | {MAX: 2 * MAX_STREAMS})
            self._rest()
            self._h2.receive_data(PREFACE)
            while True:
                self._time_what_waits()
                await self._receive(await self.tcp.read_bytes(READ_BYTES, partial=True))
                await self._sender.taken()
                await asyncio.sleep(0)
        except (StreamClosedError, UnsatisfiableReadError, TimeoutError):
            pass
        finally:
            self._end()

    def go_away(self) -> None:
        """Begin no more streams, and end with the last of those that there are (RFC 9113 section 6.8)."""
        if self._last is None and not self.tcp.closed():
            self._last = max(self._h2.highest_inbound_stream_id, 0)
            self._say_goaway(self._last, ErrorCodes.NO_ERROR)
            self._rest()

    def flush(self) -> None:
        """Have the system take what is framed."""
        self._sender.flush()

    # -- what is received ---------------------------------------------------------------------------------------

    async def _receive(self, data: bytes) -> None:
        """Take it a few frames at a time: between them the loop may belong to others."""
        begun_s = self._loop.time()
        try:
            for frames in self._gate.feed(data):
                self._take(frames)
                if self.tcp.closed():
                    return
                if self._loop.time() - begun_s > TURN_S:
                    await asyncio.sleep(0)
                    begun_s = self._loop.time()
        except Fault as fault:
            self._fail(fault.code)

    def _time_what_waits(self) -> None:
        """Give what the peer has begun its time (a preface, a field block), unless it has it already."""
        number = self._gate.waits
        if self._late is not None and self._late[0] != number:
            self._late[1].cancel()
            self._late = None
        if self._late is None and number:
            self._late = number, self._loop.call_later(HEAD_S, self._fail, ErrorCodes.ENHANCE_YOUR_CALM)

    def _fail(self, code: ErrorCodes) -> None:
        """End the connection for a fault of the peer's (RFC 9113 section 5.4.1)."""
        if not self.tcp.closed():
            self._say_goaway(max(self._h2.highest_inbound_stream_id, 0), code)
            self.tcp.lingering = True
            self.tcp.close()

    def _say_goaway(self, last: int, code: ErrorCodes) -> None:
        self._sender.say(GoAwayFrame(0, last_stream_id=last, error_code=code).serialize())
        self._sender.flush()

    def _take(self, data: bytes) -> None:
        self._sender.collect()
        try:
            events = self._h2.receive_data(data)
        except ProtocolError as error:
            self._sender.collect_up_to_fault(len(GoAwayFrame(0).serialize()))  # h2's own has not this code
            code = ErrorCodes(error.error_code)
            if code is ErrorCodes.PROTOCOL_ERROR and isinstance(error.__cause__, HPACKError):
                code = ErrorCodes.COMPRESSION_ERROR
            self._fail(code)
            return
        if self._h2.state_machine.state is ConnectionState.CLOSED:
            self._h2.state_machine.state = ConnectionState.SERVER_OPEN
        for event in events:
            if (handler := self._handlers.get(type(event))) is not None:
                handler(event)
        self._sender.go_on()

    def _on_request(self, event: RequestReceived) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._streams.begin(event, self._last)

    def _on_data(self, event: DataReceived) -> None:
        size = event.flow_controlled_length or 0
        self._owed += size
        if self._owed >= WINDOW_BYTES // 2:
            self._h2.increment_flow_control_window(self._owed)
            self._owed = 0
        self._streams.received(event, size)

    def _on_window(self, event: WindowUpdated) -> None:
        if not event.stream_id:
            self._sender.windows_changed()
        else:
            self._streams.given_back(event)

    def _on_settings(self, event: RemoteSettingsChanged) -> None:
        self._sender.windows_changed()

    def _on_goaway(self, event: ConnectionTerminated) -> None:
        """The peer begins nothing more, or has seen a fault; what it has begun goes on."""
        if self._last is None:
            self._last = self._h2.highest_inbound_stream_id
        self._rest()

    # -- ends ---------------------------------------------------------------------------------------------------

    def _rest(self) -> None:
        """Without a stream: end the connection if that was said, or some time later."""
        if self._streams.open or self.tcp.closed():
            return
        if self._last is not None:
            self._loop.call_soon(self._close)
        elif self._idle is None:
            self._idle = self._loop.call_later(IDLE_S, self.go_away)

    def _close(self) -> None:
        if not self._streams.open:
            self._sender.flush()
            self.tcp.lingering = True
            self.tcp.close()

    def _end(self) -> None:
        self.tcp.close()
        self._sender.stop()
        for handle in (self._idle, self._late and self._late[1]):
            if handle is not None:
                handle.cancel()
        self._streams.end()


def turned_away(why: bytes) -> bytes:
    """What a connection is told that there is no room for: none of its streams was begun."""
    goaway = GoAwayFrame(0, last_stream_id=0, error_code=ErrorCodes.ENHANCE_YOUR_CALM, additional_data=why)
    return SettingsFrame(0).serialize() + goaway.serialize()
