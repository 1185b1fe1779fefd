"""What a client reads over one HTTP/2 connection, frame by frame: what it was for, and what it tells each stream.

What is right and what is not is ``h2``'s affair, which is fed each frame; where bytes lay is said by ``wire.http2``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    InformationalResponseReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import H2Error

from labkit.client.connection import Connection
from labkit.client.http2_faults import broken, gone_away
from labkit.client.http2_stream import HTTP2Stream, Piece
from labkit.errors import ConnectionLost, Refused, WireError
from labkit.wire.hpack import runs_of_fields
from labkit.wire.http1 import printable
from labkit.wire.http2 import Block, Frame, FrameCutter, Kind, code_name, head_of
from labkit.wire.lane import Carrier
from labkit.wire.spans import UNREAD, Mark

_NO_HTTP2 = b"HTTP/"


class Incoming:
    """The direction from the server.

    Args:
        h2: reads the frames.
        streams: those that there are, by their numbers.

    Attributes:
        goes_away: why no further stream can be begun: the server has said so; None while it has not.
        has_erred: whether the server has broken a rule that ``h2`` knows, which has then made a GOAWAY of its own.
        settled: set once the server's SETTINGS are there.
        room: set when a window may have become larger, or nobody needs it any more.
    """

    def __init__(self, connection: Connection, h2: H2Connection, streams: Mapping[int, HTTP2Stream]) -> None:
        self._connection, self._record, self._h2 = connection, connection.record, h2
        self._streams = streams
        self.goes_away: ConnectionLost | None = None
        self.has_erred = False
        self.settled = asyncio.Event()
        self.room = asyncio.Event()
        self._cutter = FrameCutter("in", at=connection.begins_in)
        self._block: Block | None = None  # of fields
        self._first = b""  # of what has come before SETTINGS

    def take(self, data: bytes) -> None:
        """Read what came; the marks of what came before an error are put down as well.

        Raises:
            WireError: the server has broken a rule.
            Refused: it does not speak HTTP/2.
        """
        marks: list[Mark] = []
        at = self._cutter.at
        if not self.settled.is_set():
            self._first = (self._first + data)[:60]
        try:
            for frame in self._cutter.feed(data, marks):
                at = frame.start
                events = self._events(frame)
                at = frame.stop
                self._frame(frame, events, marks)
            if self._cutter.error is not None:
                raise self._cutter.error
        except WireError:
            self._cutter.end(marks, at)
            if self._first.startswith(_NO_HTTP2):
                raise Refused(
                    f"the server answers in HTTP/1 ({printable(self._first.decode('latin-1'))}), and was spoken to in "
                    "HTTP/2 by prior knowledge (RFC 9113 section 3.3): ask for http=1"
                ) from None
            raise
        finally:
            self._record.mark_all(marks)

    def end(self, marks: list[Mark]) -> None:
        """Nothing more comes: the marks of what has come in no whole frame."""
        self._cutter.end(marks)
        if self._block is not None:
            self._block.carrier.lay_rest("headers", UNREAD, marks)

    def _events(self, frame: Frame) -> Sequence[Any]:
        """What ``h2`` makes of a frame."""
        if not self.settled.is_set() and frame.kind not in (Kind.SETTINGS, Kind.GOAWAY):  # which says why not
            raise WireError(f"{frame.name} where SETTINGS must be first", clause="RFC 9113 section 3.4")
        if frame.kind == Kind.GOAWAY:  # h2 would have every stream end with it (RFC 9113 section 6.8 has not)
            self._told_to_go(frame)
            return ()
        try:
            return self._h2.receive_data(frame.raw)
        except H2Error as error:
            self.has_erred = True
            raise broken(frame, error) from None

    def _frame(self, frame: Frame, events: Sequence[Any], marks: list[Mark]) -> None:
        stream = self._streams.get(frame.stream)
        exchange = None if stream is None else stream.exchange
        frame.beside(Carrier("in", exchange), marks)
        if frame.kind in (Kind.HEADERS, Kind.CONTINUATION):
            self._fields(frame, stream, events, marks)
        elif frame.kind == Kind.DATA and (stream is None or not any(isinstance(e, DataReceived) for e in events)):
            Carrier("in", exchange).beside(*frame.place, "envelope", UNREAD, marks)
        for event in events:
            self._event(event, frame)

    def _event(self, event: Any, frame: Frame) -> None:
        stream = self._streams.get(getattr(event, "stream_id", None) or 0)
        if isinstance(event, DataReceived) and stream is not None:
            if event.flow_controlled_length:  # one of nothing takes no room, and so none is kept
                data, start = event.data or b"", frame.place[0]
                stream.came(Piece(self._connection.received_ns, start, data, event.flow_controlled_length))
        elif isinstance(event, StreamEnded) and stream is not None:
            stream.ended()
        elif isinstance(event, StreamReset) and stream is not None:
            code = int(event.error_code or 0)
            stream.fail(ConnectionLost(f"the server reset the stream: {code_name(code)} (RFC 9113 section 5.4.2)"))
            stream.is_said = True
        if isinstance(event, WindowUpdated | RemoteSettingsChanged | StreamReset | StreamEnded):
            self.room.set()
        if isinstance(event, RemoteSettingsChanged):
            self._record.http_version = "2"
            self.settled.set()

    def _fields(self, frame: Frame, stream: HTTP2Stream | None, events: Sequence[Any], marks: list[Mark]) -> None:
        if frame.kind == Kind.HEADERS or self._block is None:
            self._block = Block("in", stream.exchange if stream is not None else None, frame)
        block = self._block
        block.add(frame)
        if not frame.ends_block:
            return
        told: list[tuple[str, str]] = []
        for event in events:
            if isinstance(event, ResponseReceived | InformationalResponseReceived | TrailersReceived):
                told = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in event.headers or ()]
        block.carrier.lay(runs_of_fields(block.coded, [name for name, _ in told]), marks)
        self._block = None
        if stream is not None and told:
            head = head_of(told, len(block.coded))
            if head.status < 100 and (said := head.values.get(":status")) is not None:  # trailers have none
                raise WireError(f"{printable(said, 20)!r} is no status", clause="RFC 9113 section 8.3.2")
            stream.answered(head)

    def _told_to_go(self, frame: Frame) -> None:
        """GOAWAY: what it names goes on to its end, what lies behind was not begun (RFC 9113 section 6.8)."""
        self.goes_away, last = gone_away(frame)
        for number, stream in list(self._streams.items()):
            if number > last:
                stream.fail(self.goes_away)
        self.room.set()
