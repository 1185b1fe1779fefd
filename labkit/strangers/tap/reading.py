"""What passed on one connection, as happenings: dissected beside the relay, after the bytes were passed on.

An event stream is read whatever method asked for it, its comments are heartbeats, and a body that is read no further
is told read by read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from labkit.client.ledger import ConnectionRecord
from labkit.network.observer import Observer
from labkit.strangers.tap.log import Log
from labkit.wire.bodies import LINES, AsItComes, Reading, reading_of
from labkit.wire.close_codes import decode_close
from labkit.wire.envelope import Answer, Closing, Received, Start
from labkit.wire.event_stream import StreamEvent
from labkit.wire.events import Gap, now_ns
from labkit.wire.fragments import Message
from labkit.wire.frames import Frame, Opcode
from labkit.wire.http1 import printable
from labkit.wire.messages import Tell
from labkit.wire.spans import MAX_HELD_BYTES, TOO_LONG, Direction, Exchange, Item, Mark, begins_head

EVENT_STREAM = "text/event-stream"
READ = (EVENT_STREAM, *LINES, "multipart/x-mixed-replace")
UNREADABLE = ("unknown coding", TOO_LONG)
"""Beginnings of the labels of what nobody reads."""
FOREIGN = (
    (b"\x16\x03", "speaks TLS to the tap, which listens in clear text: ask it by http:// or ws://"),
    (b"PRI * HTTP/2.0\r\n", "speaks HTTP/2 in clear text: it passes as it was sent"),
)
"""What a connection may begin with in place of a request, and what is said of it then."""
HALF_S = 1.0
"""A FIN is told by itself if the connection has not ended so much later."""
BEATS = frozenset({"ping", "heartbeat", "keepalive", "keep-alive"})
"""Types of events that say nothing but that the server is there."""


class Beat:
    """A heartbeat."""

    def __init__(self, size: int) -> None:
        self.size = size


class EventStream:
    """A reading of event streams that hands over their comments."""

    def __init__(self) -> None:
        self._reading = reading_of(EVENT_STREAM, max_item_bytes=MAX_HELD_BYTES)

    def items(self, data: bytes) -> list[Item]:
        return [self._heard(*item) for item in self._reading.items(data)]

    def end(self) -> list[Item]:
        return self._reading.end()

    def _heard(self, value: Any, runs: list[Any]) -> Item:
        is_comment = value is None and bool(runs) and runs[0][1:3] == ("framing", ":")
        return (Beat(sum(run[0] for run in runs)) if is_comment else value), runs


class Reader(Observer):
    """Dissects one connection and puts down what happens on it.

    Args:
        record: the near side's.
        log: where that goes.
        number: the connection's.
        count: gives each exchange its number.
        how: who has ended the connection, once it has ended.
    """

    def __init__(
        self, record: ConnectionRecord, log: Log, number: int, count: Callable[[], int], how: Callable[[], str]
    ) -> None:
        super().__init__(record, ())
        self._log = log
        self._connection = number
        self._count = count
        self._how = how
        self._numbers: dict[int, int] = {}  # of the whole tap, by those of this connection
        self._going: dict[int, Exchange] = {}
        self._client = "{}:{}".format(*record.remote)
        self._bodies: set[int] = set()
        self._values: list[tuple[Exchange, Direction, Any]] = []
        self._ended_by = ""
        self._so_far: dict[int, dict[str, Any]] = {}  # what was put down of the sizes of those that go on
        self._half: asyncio.TimerHandle | None = None  # since one side's FIN
        self._pieces: dict[int, tuple[Exchange, int]] = {}  # of the read that is being dissected

    def ending(self) -> None:
        self._half = asyncio.get_running_loop().call_later(HALF_S, self.catch_up)

    def passed(self, direction: Direction, data: bytes) -> None:
        if direction == "out" and self._record.bytes_out == len(data):
            for begins, text in FOREIGN:
                if data.startswith(begins):
                    self._log.put("note", now_ns(), text=f"{self._client} {text}")
        super().passed(direction, data)

    def catch_up(self) -> None:
        super().catch_up()
        for number, exchange in self._going.items():
            entry = self._so_far.setdefault(number, {}) or self._put("sizes", exchange, bytes={})
            entry.update(bytes=_sizes(exchange), t_ns=now_ns() - self._log.started_ns)
            self._so_far[number] = entry
        by, half = self._record.closed_by, self._half
        if half is None or by not in ("client", "server"):
            return
        half.cancel()
        self._half = None
        for number in self._going:
            self._log.put("fin", self._record.ended_ns or self._now_ns, x=self._numbers[number], by=by)

    def end(self) -> None:
        if self._is_over:
            return
        if self._half is not None:
            self._half.cancel()
            self._half = None
        self._now_ns = self._record.ended_ns or self._record.closed_ns or self._now_ns
        super().catch_up()
        self._now_ns = self._record.ended_ns or self._record.closed_ns or self._now_ns
        self._put_down(self._dissector.end(), ended=True)
        self._is_over, self._ended_by = True, self._how()
        if self._timer is not None:
            self._timer.cancel()
        for exchange in [*self._going.values()]:
            self._end(exchange)
        if not self._numbers and self._record.bytes_out:
            self._log.put("note", self._now_ns, text=self._unasked())
        self._log.put("closed", self._record.closed_ns or self._now_ns, c=self._connection, how=self._ended_by)

    def _unasked(self) -> str:
        sent, back = self._record.bytes_out, self._record.bytes_in
        return f"{self._client} sent {sent} B that were no whole request, and got {back} B ({self._ended_by})"

    def _next_piece(self) -> None:
        super()._next_piece()
        direction, _, t_ns = self._waiting[0] if self._waiting else ("", b"", 0)
        if t_ns != self._now_ns or direction != "in":  # else it is the rest of the same read
            self._put_pieces()

    def _put_pieces(self) -> None:
        pieces, self._pieces = self._pieces, {}
        for exchange, size in pieces.values():
            self._put("piece", exchange, bytes=size)

    def _add_to_piece(self, exchange: Exchange, size: int) -> None:
        _, before = self._pieces.get(exchange.number, (exchange, 0))
        self._pieces[exchange.number] = exchange, before + size

    def _reading(self, exchange: Exchange) -> Reading | None:
        head = exchange.response
        kind = (head.values.get("content-type", "") if head is not None else "").partition(";")[0].strip().lower()
        if kind == EVENT_STREAM:
            return EventStream()
        if kind in READ and head is not None:
            return reading_of(head.values["content-type"])
        return None if kind == "application/json" and exchange.method == "GET" else AsItComes("body")

    def _tell(self, exchange: Exchange) -> Tell | None:
        return None

    def _heard(self, exchange: Exchange, direction: Direction, value: Any) -> None:
        self._values.append((exchange, direction, value))

    def _put_down(self, marks: list[Mark], *, ended: bool = False) -> None:
        super()._put_down(marks)
        for mark in marks:
            exchange = mark.exchange
            if exchange is None or mark.start == mark.stop:
                continue
            if begins_head(mark):
                self._head(exchange, mark.direction)
            elif mark.direction == "in" and exchange.status and exchange.number not in self._bodies:
                if mark.category != "headers":
                    self._bodies.add(exchange.number)
                    self._put("body", exchange)
            if mark.own_label.startswith(UNREADABLE):
                self._add_to_piece(exchange, mark.stop - mark.start)
        values, self._values = self._values, []
        for exchange, direction, value in values:
            self._happened(exchange, direction, value)
        if any(each.is_whole for each in self._going.values()):
            self._put_pieces()
        if not ended:  # a close ends bodies of no length: whether as it should, is not said
            for exchange in [each for each in self._going.values() if each.is_whole]:
                self._end(exchange)

    def _head(self, exchange: Exchange, direction: Direction) -> None:
        if exchange.number not in self._numbers:
            self._numbers[exchange.number] = self._count()
            self._going[exchange.number] = exchange
        if direction == "out" and exchange.request is not None:
            target = self._log.target(exchange.request.target)
            fields = self._log.fields(exchange.request.fields)
            exchange.query = self._log.target(f"?{exchange.query}")[1:]  # it is in a run's file
            version = exchange.request.version
            more = {"method": exchange.method, "target": target, "version": version, "fields": fields}
            self._put("request", exchange, c=self._connection, **more)
        elif direction == "in" and exchange.response is not None:
            fields = self._log.fields(exchange.response.fields)
            version = exchange.response.version
            self._put("answer", exchange, status=exchange.status, version=version, fields=fields)

    def _put(self, what: str, exchange: Exchange, **more: Any) -> dict[str, Any]:
        return self._log.put(what, self._now_ns, x=self._numbers.get(exchange.number, 0), **more)

    def _happened(self, exchange: Exchange, direction: Direction, value: Any) -> None:
        carried = self._log.carried
        match value:
            case Frame():
                self._control(exchange, direction, value)
            case Message() if direction == "out":
                self._put("message", exchange, **carried(value.data))
            case Beat():
                self._put("beat", exchange, bytes=value.size)
            case StreamEvent() if value.type in BEATS:
                self._put("beat", exchange, **carried(value.data))
            case StreamEvent():
                self._put("event", exchange, id=value.wire_id, type=value.type, **carried(value.data))
            case Received():
                self._put("event", exchange, id=str(value.id), type="", **carried(value.data))
            case Answer():
                if value.gap is not None:
                    self._put("gap", exchange, after=value.gap.after, next=value.gap.next)
                for event in value.events:
                    self._put("event", exchange, id=str(event.id), type="", **carried(event.data))
            case Gap():
                self._put("gap", exchange, after=value.after, next=value.next)
            case Start():
                pass
            case Closing():
                self._log.put("note", self._now_ns, text=f"the lab ends the stream: {printable(value.reason)}")
            case bytes() | str() if direction == "in":
                self._carried(exchange, value)

    def _carried(self, exchange: Exchange, value: bytes | str) -> None:
        """An item of somebody else's: a message, a line, a part or an answer; or a read of a body of another type."""
        head = exchange.response
        kind = (head.values.get("content-type", "") if head is not None else "").partition(";")[0].strip().lower()
        if exchange.is_socket or kind in READ or (kind == "application/json" and exchange.method == "GET"):
            self._put("event", exchange, id=None, type="", **self._log.carried(value))
        else:
            self._add_to_piece(exchange, len(value))

    def _control(self, exchange: Exchange, direction: Direction, frame: Frame) -> None:
        more: dict[str, Any] = {}
        if frame.opcode is Opcode.CLOSE:
            code, reason = decode_close(frame.payload)
            more = {"code": code, "reason": printable(reason) if self._log.contents else ""}
        self._put("control", exchange, way=direction, op=frame.opcode.name.lower(), **more)

    def _end(self, exchange: Exchange) -> None:
        self._going.pop(exchange.number, None)
        head = exchange.response
        by_close = head is not None and not {"content-length", "transfer-encoding"} & head.values.keys()
        how = "whole" if exchange.is_whole and not (by_close and self._is_over) else self._ended_by
        whole = exchange.is_whole and (how == "whole" or (by_close and how == "server"))
        more = {"complaint": printable(exchange.complaint)} if exchange.complaint else {}
        self._put("end", exchange, how=how, whole=whole, bytes=_sizes(exchange), **more)


def _sizes(exchange: Exchange) -> dict[str, int]:
    return {str(name): size for name, size in exchange.by_category.items() if size}
