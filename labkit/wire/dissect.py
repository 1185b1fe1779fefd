"""What each byte was that two others exchanged over one connection: the decoders of this folder, driven from outside.

Three floors that know nothing of each other:

==========  ===================================================================================================
connection  this module: HTTP/1 exchanges (``http1``, ``chunks``), an Upgrade to WebSocket (``messages``, ``frames``),
            NUL-ended messages; HTTP/2, known by its preface, in ``dissect_http2``. It knows where bytes lay, and of
            which exchange they are
body        ``bodies``: event stream, lines, parts, JSON answer, a technique's own; gzip before them. It cuts
event       ``envelope``: which bytes were data, and the event's id as it stood on the wire
==========  ===================================================================================================

The two upper floors say *runs* (so many bytes were ...), the lowest lays them over its ranges; the result are marks
(``spans``). A client of ours is the same three floors with a socket under them: its connection decodes once, hands over
the values and writes the marks into the ledger, once per read; its technique marks nothing. A relay passes bytes on
first and feeds its near side here afterwards, in the order in which it read and wrote them.

Nothing is guessed. What never became whole is ``unread``: of a body it is envelope, elsewhere framing. After an error,
which the exchange keeps as its complaint, all that follows in that direction is unread. An answer that is a refusal, or
answers anything but a GET, carries no event and is envelope. At most 2 MiB of each direction are held.

Not here: sockets, times, which row an event is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from labkit.errors import WireError
from labkit.wire.bodies import AsItComes, Opaque, Reading, Told, decoded, reading_of
from labkit.wire.delimited import Delimited
from labkit.wire.dissect_http2 import HTTP2Dissector
from labkit.wire.http1 import BLANKS, PROTOCOL, Head, body_length, head_end, is_tunnel, read_request, read_response
from labkit.wire.http2 import PREFACE
from labkit.wire.lane import Carrier, Lane, Step
from labkit.wire.messages import MessageReader, Tell
from labkit.wire.plugin_socket import FromClient
from labkit.wire.spans import MAX_HELD_BYTES, TOO_LONG, Direction, Exchange, Mark

OwnReading = Callable[[Exchange], Reading | None]
OwnTell = Callable[[Exchange], Tell | None]
Heard = Callable[[Exchange, Direction, Any], None]
_MOST_UNANSWERED = 256
"""Requests of one connection that wait for their answers: the head of each is held."""


class Dissector:
    """Both directions of one connection in, in the order of time; a mark for every byte out.

    Args:
        reading: how the body of an exchange's answer is read, where a technique has its own way.
        tell: likewise, what a message of a server's says on a WebSocket.
        heard: told each value that was decoded: labkit's items, or what came as it came.

    Attributes:
        exchanges: how many there have been.
    """

    def __init__(
        self, *, reading: OwnReading | None = None, tell: OwnTell | None = None, heard: Heard | None = None
    ) -> None:
        self.exchanges = 0
        self._own_reading = reading or (lambda _: None)
        self._own_tell = tell or (lambda _: None)
        self._heard = heard or (lambda *_: None)
        self._out = Lane("out", self._begin)
        self._in = Lane("in", self._answer_head)
        self._unanswered: deque[Exchange] = deque()
        self._early: Exchange | None = None  # answered before its request's head was whole
        self._readers: list[MessageReader] = []
        self._http2: HTTP2Dissector | None = None

    def feed(self, direction: Direction, data: bytes) -> list[Mark]:
        """Take what one read or write brought: the marks of what can be told by now, each byte once."""
        lane = self._out if direction == "out" else self._in
        lane.buffer += data
        lane.seen += len(data)
        while (self._out.buffer and self._out.step()) or (self._in.buffer and self._in.step()):
            pass
        return self._taken()

    def end(self) -> list[Mark]:
        """The connection has ended: the marks of all that had none."""
        for reader, lane in zip(self._readers, (self._out, self._in), strict=False):
            reader.end(lane.marks)
        self._readers = []
        if self._http2 is not None:
            self._http2.end()
        self._out.end()
        self._in.end()
        return self._taken()

    def _taken(self) -> list[Mark]:
        marks: list[Mark] = []
        for lane in (self._out, self._in):
            for exchange, value in lane.values:
                self._heard(exchange, lane.direction, value)
            marks += lane.marks
            lane.marks, lane.values = [], []
        return marks

    def _next_exchange(self) -> Exchange:
        self.exchanges += 1
        return Exchange(self.exchanges)

    # -- requests ----------------------------------------------------------------------------------------------------

    def _begin(self) -> bool:
        """The client's first byte: no HTTP request begins as a plugin socket's messages do."""
        lane = self._out
        if PREFACE.startswith(begun := bytes(lane.buffer[: len(PREFACE)])):
            if len(begun) < len(PREFACE):
                return False
            self._http2 = HTTP2Dissector(lane, self._in, self._next_exchange, self._reading, self._own_tell)
            return True
        if not lane.buffer.startswith((b"{", b"<")):
            lane.step = self._request_head
            return True
        exchange = self._next_exchange()
        asked = FromClient(exchange)

        def answer() -> bool:
            if asked.has_asked:
                lines = Told(Delimited(b"\0", "NUL", max_item_bytes=MAX_HELD_BYTES))
                reading = Opaque("policy", "envelope") if asked.is_policy else self._own_reading(exchange) or lines
                self._in.begin_body(exchange, reading, "close")
            return asked.has_asked

        lane.begin_body(exchange, asked, "close")
        self._in.step = answer
        return True

    def _request_head(self) -> bool:
        lane, exchange = self._out, None
        try:
            size = head_end(lane.buffer)
            if size is None:
                return False
            exchange = self._asked()
            head = read_request(bytes(lane.buffer[:size]))
            length = body_length(head)
        except WireError as error:
            return lane.give_up(exchange or self._asked(), error)
        exchange.ask(head)
        changes = "upgrade" in head.values
        lane.mark_head(size, f"{head.method} {exchange.path}{', upgrade' * changes}", exchange)
        if len(self._unanswered) > _MOST_UNANSWERED:
            return lane.give_up(exchange, f"more than {_MOST_UNANSWERED} requests wait for an answer")
        then = self._upgrading if changes or head.method == "CONNECT" else self._request_head
        lane.step = then
        if length:
            lane.begin_body(exchange, AsItComes("request body"), length, then)
        return True

    def _asked(self) -> Exchange:
        """The exchange of the request that is being read."""
        exchange, self._early = self._early or self._next_exchange(), None
        if not exchange.status:
            self._unanswered.append(exchange)
        return exchange

    def _upgrading(self) -> bool:
        """What follows a request to change the protocol waits for the answer, which may set the next step."""
        if not self._unanswered:
            self._out.step = self._request_head
            return True
        return len(self._out.buffer) > MAX_HELD_BYTES and self._out.give_up(self._unanswered[-1], TOO_LONG)

    # -- answers -----------------------------------------------------------------------------------------------------

    def _answer_head(self) -> bool:
        lane, exchange = self._in, None
        if self._out.step == self._begin and not b"HTTP/".startswith(bytes(lane.buffer[:5])):
            if len(lane.buffer) < MAX_HELD_BYTES:
                return False  # a server's HTTP/2 may come before the client's preface is whole
        try:
            size = head_end(lane.buffer)
            if size is None:
                return False
            exchange = self._answered()
            head = read_response(bytes(lane.buffer[:size]))
            length = body_length(head, exchange.method)
        except WireError as error:
            return lane.give_up(exchange or (self._unanswered[0] if self._unanswered else None), error)
        lane.mark_head(size, f"{head.status}, headers", exchange)
        if head.status < 200 and head.status != 101:
            return True  # the answer proper is still to come (RFC 9110 section 15.2)
        exchange.status, exchange.response = head.status, head
        if self._unanswered and self._unanswered[0] is exchange:
            self._unanswered.popleft()
        if head.status == 101:
            self._upgraded(exchange, head)
        elif is_tunnel(head, exchange.method):
            self._tunnel(exchange, "tunnel")
        elif length:
            lane.begin_body(exchange, self._reading(exchange, head), length, self._answer_head)
        else:
            exchange.is_whole = True
        return True

    def _answered(self) -> Exchange:
        """Whose answer begins; it may be that of a request whose head is not whole yet, or of none (408)."""
        if self._unanswered:
            return self._unanswered[0]
        if self._out.is_lost:
            raise WireError("an answer, but nothing that was asked", clause="RFC 9112 section 9.3")
        if self._early is None or self._early.status:
            self._early = self._next_exchange()
        return self._early

    def _reading(self, exchange: Exchange, head: Head) -> Reading:
        coding = head.values.get("content-encoding", "")
        transfer = head.values.get("transfer-encoding", "chunked").strip(BLANKS).lower()
        if transfer != "chunked":
            return Opaque(f"unknown coding {transfer}")
        if head.status != 200:
            return decoded(_no_event(f"body of a {head.status}"), coding)
        own = self._own_reading(exchange)
        if own is not None:
            return decoded(own, coding)
        if exchange.method != "GET":
            return decoded(_no_event(f"answer to {exchange.method or 'nothing'}"), coding)
        return reading_of(head.values.get("content-type", ""), coding)

    # -- after an upgrade --------------------------------------------------------------------------------------------

    def _upgraded(self, exchange: Exchange, head: Head) -> None:
        if not head.has("upgrade", PROTOCOL):
            self._tunnel(exchange, f"upgraded to {head.values.get('upgrade', 'nothing')}")
            return
        deflated = "permessage-deflate" in head.values.get("sec-websocket-extensions", "")
        for lane in (self._out, self._in):
            own = self._own_tell(exchange)
            reader = MessageReader(Carrier(lane.direction, exchange), lane.at, deflated=deflated, tell=own)
            self._readers.append(reader)
            lane.step = self._messages(lane, exchange, reader)

    def _messages(self, lane: Lane, exchange: Exchange, reader: MessageReader) -> Step:
        def step() -> bool:
            lane.values += ((exchange, value) for value in reader.feed(lane.taken(), lane.marks))
            lane.at = lane.seen  # the reader keeps where its own bytes lie
            if reader.error is not None:
                side = "client" if lane.direction == "out" else "server"
                exchange.complaint = exchange.complaint or f"its messages from the {side} end early: {reader.error}"
            return True

        return step

    def _tunnel(self, exchange: Exchange, label: str) -> None:
        for lane in (self._out, self._in):
            lane.begin_body(exchange, Opaque(label), "close")


def _no_event(label: str) -> Reading:
    """An answer that carries no event, handed over as it comes."""
    return AsItComes(label, "envelope")
