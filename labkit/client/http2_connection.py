"""HTTP/2 over one counted connection: many streams, that are begun, fed and left (RFC 9113).

One task reads on for as long as the connection lasts, so that pings are answered and a server that goes away is
noticed; what it reads waits at its stream for whoever wants it, and a window is given back as that is taken: a reader
that stands still holds up its own stream, and no other. What breaks a rule ends the connection with a ``WireError``
that names the clause.

Not here: frames and what their bytes were for (``http2_reading.py``, ``http2_writing.py``), what a stream is to a
client (``http2_exchanges.py``), and when HTTP/2 is spoken at all (``speaking.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from labkit.client.connection import Connection
from labkit.client.http2_reading import Incoming
from labkit.client.http2_stream import HTTP2Stream, Piece
from labkit.client.http2_writing import Outgoing, split_runs
from labkit.errors import ConnectionLost, LabkitError, Refused, WireError
from labkit.wire.spans import Exchange, Mark, Run

Fields = Sequence[tuple[bytes, bytes]]
_FIRST_WINDOW = 65_535  # of a connection, until it is enlarged (section 6.9.2)


@dataclass(frozen=True, slots=True)
class Windows:
    """How much a server may send before it is taken (RFC 9113 section 5.2).

    Attributes:
        stream_bytes: of each stream: what a reader that stands still makes this side hold, at most.
        connection_bytes: of all streams together. One of no more than a stream's lets one stream starve the others.
    """

    stream_bytes: int = 1 << 20
    connection_bytes: int = 1 << 24


class HTTP2Connection:
    """One connection. It belongs to whoever closes it.

    Attributes:
        error: why it has ended; None while it has not.
        settled: set once the server's SETTINGS are there, or the connection has ended.
    """

    def __init__(self, connection: Connection, windows: Windows | None = None) -> None:
        windows = windows or Windows()
        self.connection = connection
        self.record = connection.record
        connection.read_silence_s = None  # each stream has its own patience
        self.error: LabkitError | None = None
        self._streams: dict[int, HTTP2Stream] = {}
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._in = Incoming(connection, self._h2, self._streams)
        self.settled = self._in.settled
        self._is_flushing = False
        self._out = Outgoing(connection, self._h2, self._exchange_of)
        self._tasks: set[asyncio.Task[None]] = set()
        self._begin(windows)

    def _begin(self, windows: Windows) -> None:
        """Preface and SETTINGS, which leave with the first request (section 3.4)."""
        kept = {SettingCodes.ENABLE_PUSH: 0, SettingCodes.INITIAL_WINDOW_SIZE: windows.stream_bytes}
        self._h2.local_settings = Settings(
            client=True, initial_values={**kept, SettingCodes.MAX_HEADER_LIST_SIZE: 1 << 16}
        )
        self._h2.initiate_connection()
        if windows.connection_bytes > _FIRST_WINDOW:
            self._h2.increment_flow_control_window(windows.connection_bytes - _FIRST_WINDOW)
        self._start(self._read_on())

    def _exchange_of(self, number: int) -> Exchange | None:
        stream = self._streams.get(number)
        return None if stream is None else stream.exchange

    # -- streams -----------------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        return self.connection.closed

    @property
    def goes_away(self) -> ConnectionLost | None:
        """Why no further stream can be begun: the server has said so; None while it has not."""
        return self._in.goes_away

    @property
    def has_room(self) -> bool:
        """Whether another stream can be begun now."""
        if self.closed or self.goes_away is not None:
            return False
        return self._h2.open_outbound_streams < self.most_streams

    @property
    def most_streams(self) -> int:
        """How many streams there may be at once (RFC 9113 section 5.1.2); ask when it is ``settled``."""
        return int(self._h2.remote_settings.max_concurrent_streams)

    @property
    def allows_connect(self) -> bool:
        """Whether the server takes an extended CONNECT (RFC 8441 section 3); ask when it is ``settled``."""
        return bool(self._h2.remote_settings.enable_connect_protocol)

    async def begin(self, fields: Fields, exchange: Exchange, *, ends: bool) -> HTTP2Stream:
        """Send a request's head.

        Args:
            ends: whether no body follows.

        Raises:
            ConnectionLost: the connection has ended, or takes no further stream.
            WireError: what has no place in a head; nothing was sent, and the connection has ended.
        """
        if self.goes_away is not None:
            raise self.goes_away
        if self.closed:
            raise ConnectionLost("the connection has ended")
        if not self.has_room:
            most = f"the server allows no more than {self.most_streams} streams at once"
            raise ConnectionLost(f"{most} (RFC 9113 section 5.1.2)")
        number = self._h2.get_next_available_stream_id()
        try:
            self._h2.send_headers(number, fields, end_stream=ends)
        except H2Error as error:  # with a part of it coded, the table of fields is not the server's any more
            wrong = WireError(f"not to be sent: {error}", clause="RFC 9113 section 8.2")
            self._end(wrong)
            raise wrong from None
        stream = self._streams[number] = HTTP2Stream(number, exchange)
        stream.is_said = ends
        self.record.requests += 1
        self._out.head(exchange, [name.decode("latin-1") for name, _ in fields])
        try:
            await self.flush()
        except BaseException:
            self.leave(stream)
            raise
        return stream

    async def send(self, stream: HTTP2Stream, data: bytes, runs: Sequence[Run], *, ends: bool = False) -> None:
        """Send the next of what a stream carries, as its window allows.

        Args:
            runs: what these bytes are for.

        Raises:
            ConnectionLost: the stream or the connection has ended, or the server takes nothing for too long.
        """
        left, stream.is_partial = list(runs), ends
        while data or ends:
            stream.check_open()
            if stream.is_said:  # the server has reset it behind its whole answer (section 8.1)
                raise ConnectionLost("the server takes no more of the stream")
            self._in.room.clear()
            try:
                room = min(self._h2.local_flow_control_window(stream.number), self._h2.max_outbound_frame_size)
                if data and room <= 0:
                    await self._wait_for_room(stream)
                    continue
                piece, data = data[: max(0, room)], data[max(0, room) :]
                if piece:
                    self._h2.send_data(stream.number, piece, end_stream=ends and not data)
                else:
                    self._h2.end_stream(stream.number)  # which asks for no window, in whatever release
            except H2Error:
                raise ConnectionLost("the stream has ended") from None
            taken, left = split_runs(left, len(piece))
            self._out.data(stream.exchange, taken)
            stream.is_said = ends and not data
            ends = ends and bool(data)
            await self.flush()

    async def _wait_for_room(self, stream: HTTP2Stream) -> None:
        if stream.has_ended:  # its answer is whole, and nothing is owed to the server that it has not asked for
            raise ConnectionLost("the server has answered, and takes no more of the stream")
        silence_s = self.connection.silence_s
        try:
            async with asyncio.timeout(silence_s):
                await self._in.room.wait()
        except TimeoutError:
            raise ConnectionLost(f"the server has opened no window for {silence_s:.3g} s") from None

    def leave(self, stream: HTTP2Stream) -> None:
        """Nobody wants a stream any more: RST_STREAM if it goes on (RFC 9113 section 5.4.2). What came is let go."""
        if self._streams.pop(stream.number, None) is None:
            return
        marks: list[Mark] = []
        stream.let_go(marks)
        self.record.mark_all(marks)
        if self.closed:
            return
        is_open = not stream.is_said and stream.error is None  # this side of it
        if not stream.has_ended or (is_open and stream.is_partial):  # half a body is no body that has ended
            self._h2.reset_stream(stream.number, 8)  # CANCEL
        elif is_open:
            self._h2.end_stream(stream.number)
            self._out.data(stream.exchange, [])
        for piece in stream.taken():  # its room in the connection's window
            self.give_back(stream, piece)
        self._flush_soon()
        self._end_if_idle()

    async def consumed(self, stream: HTTP2Stream, piece: Piece) -> None:
        """A piece has been taken: its room is given back, and the server told when that is worth a frame.

        Where the connection has ended, its stream says so when all that has come is taken.
        """
        self.give_back(stream, piece)
        with suppress(LabkitError):
            await self.flush()

    def give_back(self, stream: HTTP2Stream, piece: Piece) -> None:
        """The same, told with what is written next."""
        if not self.closed and piece.flow_bytes:
            self._h2.acknowledge_received_data(piece.flow_bytes, stream.number)

    # -- reading -----------------------------------------------------------------------------------------------------

    async def _read_on(self) -> None:
        try:
            while data := await self.connection.read():
                self._in.take(data)
                self._flush_soon()
                self._end_if_idle()
            error: LabkitError = self.goes_away or ConnectionLost("the server closed the connection")
            self._end(error, by="server")
        except LabkitError as error:
            self._end(error)

    def _end_if_idle(self) -> None:
        if self.goes_away is not None and all(stream.has_ended for stream in self._streams.values()):
            self.close()

    # -- writing -----------------------------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Write what there is to write. Raises ConnectionLost when the other side is gone, or takes nothing.

        Whoever writes, the end of the connection is every stream's.
        """
        try:
            await self._out.flush()
        except LabkitError as error:
            self._end(error)
            raise self.error or error from None
        finally:
            if self.closed:
                self._end(ConnectionLost("the connection was given up in the middle of a frame"))

    def _flush_soon(self) -> None:
        if not self._is_flushing and self._out.waits:
            self._is_flushing = True
            self._start(self._flush_alone())

    async def _flush_alone(self) -> None:
        try:
            with suppress(LabkitError):  # the streams hear of it
                while self._out.waits and not self.closed:
                    await self.flush()
        finally:
            self._is_flushing = False

    # -- its end -----------------------------------------------------------------------------------------------------

    def close(self, by: str = "client") -> None:
        """End the connection, GOAWAY said (RFC 9113 section 6.8); the second call does nothing."""
        self._end(ConnectionLost("the connection was closed"), by)

    def _end(self, error: LabkitError, by: str = "client") -> None:
        if self.error is None:
            self.error = error
            if not self.closed and by == "client" and not isinstance(error, Refused):
                if not self._in.has_erred:
                    self._h2.close_connection(int(isinstance(error, WireError)))  # NO_ERROR, PROTOCOL_ERROR
                self._out.say_last()
            for task in self._tasks:
                task.cancel()
            self.connection.close(by)
            marks: list[Mark] = []
            self._out.end(marks)
            self._in.end(marks)
            self.record.mark_all(marks)
        self.settled.set()
        self._in.room.set()
        for stream in self._streams.values():
            stream.fail(error)

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
