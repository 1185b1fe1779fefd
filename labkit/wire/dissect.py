"""What each byte was that two others exchanged over one connection: the decoders of this folder, driven from outside.

Three floors that know nothing of each other:

==========  ===================================================================================================
connection  this module: HTTP/1 exchanges (``http1``, ``chunks``), an Upgrade to WebSocket (``messages``, ``frames``),
            NUL-ended messages. It knows where bytes lay, and of which exchange they are
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

import json
from collections import deque
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from labkit.errors import WireError
from labkit.wire.bodies import Opaque, Reading, Told, decoded, reading_of
from labkit.wire.chunks import ChunkDecoder
from labkit.wire.delimited import Delimited
from labkit.wire.http1 import Head, body_length, head_end, read_request, read_response
from labkit.wire.messages import FROM_CLIENT, MessageReader, Tell, told_message
from labkit.wire.spans import MAX_HELD_BYTES, TOO_LONG, UNREAD, Carrier, Category, Direction, Exchange, Mark, Run

OwnReading = Callable[[Exchange], Reading | None]
OwnTell = Callable[[Exchange], Tell | None]
Heard = Callable[[Exchange, Direction, Any], None]


class _Lane:
    """One direction: what is held of it, where that lies, and what is done with it next."""

    def __init__(self, direction: Direction, step: Callable[[_Lane], bool]) -> None:
        self.direction = direction
        self.step = step
        self.buffer = bytearray()
        self.at = 0  # all bytes before have their marks or lie in the body's carrier
        self.seen = 0
        self.body: _Body | None = None
        self.reader: MessageReader | None = None


class _Body:
    """The body under way on a lane."""

    def __init__(self, carrier: Carrier, reading: Reading, length: int | str) -> None:
        self.carrier = carrier
        self.reading = reading
        self.left = length if isinstance(length, int) else None
        self.chunks = ChunkDecoder() if length == "chunked" else None


class Dissector:
    """Both directions of one connection in, in the order of time; a mark for every byte out.

    Args:
        reading: how the body of an exchange's answer is read, where a technique has its own way.
        tell: likewise, what a message of a server's says on a WebSocket.
        heard: told each value that was decoded: labkit's items, or what came as it came.
    """

    def __init__(
        self, *, reading: OwnReading | None = None, tell: OwnTell | None = None, heard: Heard | None = None
    ) -> None:
        self.exchanges = 0
        """How many there have been."""
        self._own_reading = reading or (lambda _: None)
        self._own_tell = tell or (lambda _: None)
        self._heard = heard or (lambda *_: None)
        self._lanes: dict[Direction, _Lane] = {
            "out": _Lane("out", self._begin),
            "in": _Lane("in", self._answer_head),
        }
        self._marks: list[Mark] = []
        self._unanswered: deque[Exchange] = deque()
        self._early: Exchange | None = None  # answered before its request's head was whole

    def feed(self, direction: Direction, data: bytes) -> list[Mark]:
        """Take what one read or write brought: the marks of what can be told by now, each byte once."""
        lane = self._lanes[direction]
        lane.buffer += data
        lane.seen += len(data)
        return self._run()

    def end(self) -> list[Mark]:
        """The connection has ended: the marks of all that had none."""
        self._run()
        marks = self._marks
        for lane in self._lanes.values():
            if lane.body is not None:
                if lane.body.left is None and lane.body.chunks is None:  # the close ends it (RFC 9112 section 6.3)
                    self._lay(lane, lane.body.reading.end())
                lane.body.carrier.lay_rest("envelope", UNREAD, marks)
            if lane.reader is not None:
                lane.reader.end(marks)
                lane.at = lane.seen
            lane.body, lane.reader, lane.step = None, None, self._unread
            self._unread(lane)
        self._marks = []
        return marks

    def _run(self) -> list[Mark]:
        out, back = self._lanes["out"], self._lanes["in"]
        while (out.buffer and out.step(out)) or (back.buffer and back.step(back)):
            pass
        marks, self._marks = self._marks, []
        return marks

    # -- marks -------------------------------------------------------------------------------------------------------

    def _mark(self, lane: _Lane, count: int, category: Category, label: str, exchange: Exchange | None) -> None:
        """Mark the next bytes of a lane, which are out of its buffer, or leave it."""
        carrier = Carrier(lane.direction, exchange)
        carrier.add(lane.at, lane.at + count)
        carrier.lay([(count, category, label, None)], self._marks)
        lane.at += count

    def _lay(self, lane: _Lane, items: list[tuple[Any, list[Run]]]) -> None:
        assert lane.body is not None
        carrier = lane.body.carrier
        for value, runs in items:
            carrier.lay(runs, self._marks)
            if value is not None and carrier.exchange is not None:
                self._heard(carrier.exchange, lane.direction, value)

    def _unread(self, lane: _Lane) -> bool:
        lane.buffer.clear()
        self._mark(lane, lane.seen - lane.at, "framing", UNREAD, None)
        return False

    def _give_up(self, lane: _Lane, exchange: Exchange | None, complaint: object) -> bool:
        """Nothing more of this direction can be read."""
        if exchange is not None:
            exchange.complaint = exchange.complaint or str(complaint)
        if lane.body is not None:
            lane.body.carrier.lay_rest("envelope", UNREAD, self._marks)
            lane.body = None
        lane.step = self._unread
        return self._unread(lane)

    # -- HTTP --------------------------------------------------------------------------------------------------------

    def _begin(self, lane: _Lane) -> bool:
        """The client's first byte: no HTTP request begins as a plugin socket's messages do."""
        if not lane.buffer.startswith((b"{", b"<")):
            lane.step = self._request_head
            return True
        exchange = self._next_exchange()
        first = _FirstMessage(exchange)
        lane.body = _Body(Carrier("out", exchange), first, "close")
        lane.step = self._body
        back = self._lanes["in"]

        def answers(_: _Lane) -> bool:
            if not first.is_whole:
                return False
            reading = Opaque("policy", "envelope") if first.is_policy else self._nul_ended(exchange)
            back.body = _Body(Carrier("in", exchange), reading, "close")
            back.step = self._body
            return True

        back.step = answers
        return True

    def _nul_ended(self, exchange: Exchange) -> Reading:
        return self._own_reading(exchange) or Told(Delimited(b"\0", "NUL", max_item_bytes=MAX_HELD_BYTES))

    def _next_exchange(self) -> Exchange:
        self.exchanges += 1
        return Exchange(self.exchanges)

    def _request_head(self, lane: _Lane) -> bool:
        exchange = self._early
        try:
            size = head_end(lane.buffer)
            if size is None:
                return False
            exchange, self._early = exchange or self._next_exchange(), None
            if not exchange.status:
                self._unanswered.append(exchange)
            head = read_request(bytes(lane.buffer[:size]))
            _ask(exchange, head)
            del lane.buffer[:size]
            upgrade = ", upgrade" if "upgrade" in head.values else ""
            self._mark(lane, size, "headers", f"{head.method} {exchange.path}{upgrade}", exchange)
            length = body_length(head)
        except WireError as error:
            if exchange is None:
                exchange = self._next_exchange()
                self._unanswered.append(exchange)
            return self._give_up(lane, exchange, error)
        after = self._upgrading if upgrade or head.method == "CONNECT" else self._request_head
        if length:
            lane.body = _Body(Carrier("out", exchange), Opaque("request body"), length)
            lane.step = self._body_then(after)
        else:
            lane.step = after
        return True

    def _upgrading(self, lane: _Lane) -> bool:
        """What follows a request to change the protocol waits for the answer, which sets the next step."""
        if len(lane.buffer) > MAX_HELD_BYTES:
            return self._give_up(lane, self._unanswered[-1] if self._unanswered else None, TOO_LONG)
        if self._unanswered:
            return False
        lane.step = self._request_head
        return True

    def _answer_head(self, lane: _Lane) -> bool:
        try:
            size = head_end(lane.buffer)
            if size is None:
                return False
            exchange = self._answered()
            if exchange is None:
                raise WireError("an answer, but nothing that was asked", clause="RFC 9112 section 9.3")
        except WireError as error:
            return self._give_up(lane, self._unanswered[0] if self._unanswered else None, error)
        try:
            head = read_response(bytes(lane.buffer[:size]))
            length = body_length(head, exchange.method)
        except WireError as error:
            return self._give_up(lane, exchange, error)
        del lane.buffer[:size]
        self._mark(lane, size, "headers", f"{head.status}, headers", exchange)
        if head.status < 200 and head.status != 101:
            return True  # the answer proper is still to come (RFC 9110 section 15.2)
        exchange.status, exchange.response = head.status, head
        if self._unanswered and self._unanswered[0] is exchange:
            self._unanswered.popleft()
        if head.status == 101:
            self._upgraded(exchange, head)
        elif length == "close" and exchange.method == "CONNECT":
            self._tunnel(exchange, "tunnel")
        elif length:
            lane.body = _Body(Carrier("in", exchange), self._reading(exchange, head), length)
            lane.step = self._body_then(self._answer_head)
        return True

    def _answered(self) -> Exchange | None:
        """Whose answer begins; it may be that of a request whose head is not whole yet, or of none (408)."""
        if self._unanswered:
            return self._unanswered[0]
        if self._lanes["out"].step == self._unread:
            return None
        self._early = self._early or self._next_exchange()
        return self._early

    def _reading(self, exchange: Exchange, head: Head) -> Reading:
        coding = head.values.get("content-encoding", "")
        if head.values.get("transfer-encoding", "chunked").lower() != "chunked":
            return Opaque(f"unknown coding {head.values['transfer-encoding']}")
        own = self._own_reading(exchange)
        if own is not None:
            return decoded(own, coding)
        if head.status != 200 or exchange.method != "GET":
            label = f"body of a {head.status}" if head.status != 200 else f"answer to {exchange.method or 'nothing'}"
            return Opaque(label, "envelope")
        return reading_of(head.values.get("content-type", ""), coding)

    # -- bodies ------------------------------------------------------------------------------------------------------

    def _body_then(self, after: Callable[[_Lane], bool]) -> Callable[[_Lane], bool]:
        def step(lane: _Lane) -> bool:
            if lane.body is None:
                lane.step = after
                return True
            return self._body(lane)

        return step

    def _body(self, lane: _Lane) -> bool:
        body = lane.body
        assert body is not None
        if body.chunks is not None:
            return self._chunked(lane, body, body.chunks)
        data = bytes(lane.buffer if body.left is None else lane.buffer[: body.left])
        del lane.buffer[: len(data)]
        self._carry(lane, body, data)
        if body.left is not None:
            body.left -= len(data)
            if not body.left:
                self._body_ends(lane, body)
        return True

    def _chunked(self, lane: _Lane, body: _Body, chunks: ChunkDecoder) -> bool:
        data = bytes(lane.buffer)
        lane.buffer.clear()
        error: WireError | None = None
        try:
            pieces = chunks.pieces(data)
        except WireError as raised:
            pieces, error = chunks.pieces_before_error, raised
        for framing, piece in pieces:
            if framing:
                self._mark(lane, framing, "framing", "chunk", body.carrier.exchange)
            if piece:
                self._carry(lane, body, piece)
        if error is not None:
            return self._give_up(lane, body.carrier.exchange, error)
        if chunks.done:
            lane.buffer += chunks.leftover
            self._body_ends(lane, body)
        return True

    def _carry(self, lane: _Lane, body: _Body, data: bytes) -> None:
        body.carrier.add(lane.at, lane.at + len(data))
        lane.at += len(data)
        self._lay(lane, body.reading.items(data))

    def _body_ends(self, lane: _Lane, body: _Body) -> None:
        self._lay(lane, body.reading.end())
        body.carrier.lay_rest("envelope", UNREAD, self._marks)
        lane.body = None

    # -- after an upgrade --------------------------------------------------------------------------------------------

    def _upgraded(self, exchange: Exchange, head: Head) -> None:
        if not head.has("upgrade", "websocket"):
            self._tunnel(exchange, f"upgraded to {head.values.get('upgrade', 'nothing')}")
            return
        deflated = "permessage-deflate" in head.values.get("sec-websocket-extensions", "")
        tell = self._own_tell(exchange) or told_message
        for lane in self._lanes.values():
            carrier = Carrier(lane.direction, exchange)
            lane.reader = MessageReader(carrier, lane.at, deflated=deflated, tell=tell)
            lane.step = self._messages(exchange, lane.reader)

    def _messages(self, exchange: Exchange, reader: MessageReader) -> Callable[[_Lane], bool]:
        def step(lane: _Lane) -> bool:
            data = bytes(lane.buffer)
            lane.buffer.clear()
            for value in reader.feed(data, self._marks):
                self._heard(exchange, lane.direction, value)
            exchange.complaint = exchange.complaint or reader.complaint
            lane.at = lane.seen
            return True

        return step

    def _tunnel(self, exchange: Exchange, label: str) -> None:
        for lane in self._lanes.values():
            lane.body = _Body(Carrier(lane.direction, exchange), Opaque(label), "close")
            lane.step = self._body


class _FirstMessage:
    """What a plugin socket's client sends: its policy request or its subscription, then what it publishes."""

    def __init__(self, exchange: Exchange) -> None:
        self.is_whole = self.is_policy = False
        self._exchange = exchange
        self._decoder = Delimited(b"\0", "NUL", max_item_bytes=MAX_HELD_BYTES)

    def items(self, data: bytes) -> list[tuple[Any, list[Run]]]:
        items = self._decoder.items(data)
        for index, (value, runs) in enumerate(items):
            category: Category = "payload" if self.is_whole else "envelope"
            label = FROM_CLIENT
            if not self.is_whole:
                label = self._first(value or b"")
            told: list[Run] = [
                (count, category if was == "payload" else was, label if was == "payload" else name, event)
                for count, was, name, event in runs
            ]
            items[index] = value, told
        return items

    def _first(self, raw: bytes) -> str:
        self.is_whole, self.is_policy = True, raw.startswith(b"<")
        try:
            topic = json.loads(raw)["subscribe"].get("topic", "")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            topic = ""
        self._exchange.topic = topic if isinstance(topic, str) else ""
        return "policy request" if self.is_policy else "subscribe"

    def end(self) -> list[tuple[Any, list[Run]]]:
        return []


def _ask(exchange: Exchange, head: Head) -> None:
    """Put down what a request asks for."""
    target = head.target
    if "://" in target.partition("?")[0]:  # the absolute form, to a proxy (RFC 9112 section 3.2.2)
        parts = urlsplit(target)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    exchange.request, exchange.method = head, head.method
    exchange.path, _, exchange.query = target.partition("?")
    topics = parse_qs(exchange.query).get("topic")
    exchange.topic = topics[-1] if topics else ""
