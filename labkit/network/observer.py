"""What each byte of somebody else's connection was, said beside a relay: the bytes are passed on first.

Dissecting waits until what was to be passed on has been, and gives the loop back after a millisecond. How the body of
an answer is read is known by its content type, or by the route, where a technique of the lab has a reading of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Container, Iterable
from typing import Any
from urllib.parse import parse_qs

from labkit.client.ledger import ConnectionRecord
from labkit.techniques import Technique
from labkit.wire.bodies import Reading
from labkit.wire.dissect import Dissector
from labkit.wire.events import now_ns
from labkit.wire.first_word import Messages
from labkit.wire.messages import Tell
from labkit.wire.spans import Direction, Exchange, Mark, begins_head

AFTER_S = 0.01
TURN_S = 0.001
PIECE_BYTES = 4096
MAX_WAITING_BYTES = 16 << 20


class Observer:
    """Dissects what went over one connection. Belongs to the lab loop.

    Args:
        record: the near side's, where the marks go.
        techniques: those behind the relay.
        skips: addresses of clients that keep a ledger of their own; nothing is dissected then.
    """

    def __init__(
        self, record: ConnectionRecord, techniques: Iterable[Technique], skips: Container[object] = ()
    ) -> None:
        self._record = record
        self._by_route = {technique.route: technique for technique in techniques}
        self._skips = skips
        self._dissector = Dissector(reading=self._reading, tell=self._tell, heard=self._heard)
        self._waiting: deque[tuple[Direction, bytes, int]] = deque()
        self._now_ns = 0  # when the bytes that are being dissected passed
        self._waiting_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False

    def passed(self, direction: Direction, data: bytes) -> None:
        """These bytes were read from the client, or written to it."""
        if self._record.remote in self._skips:  # asked at the first byte: by then it surely has its ledger
            self._is_over = True
        self._skips = ()
        if self._is_over:
            return
        self._waiting.append((direction, data, now_ns()))
        self._waiting_bytes += len(data)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(AFTER_S, self._go_on)
        if self._waiting_bytes > MAX_WAITING_BYTES:
            self.catch_up()

    def ending(self) -> None:
        """The first FIN or RST has come, of either side: ``closed_by`` of the record says whose."""

    def catch_up(self) -> None:
        """Dissect all that has passed, at once."""
        while self._waiting:
            self._next_piece()

    def end(self) -> None:
        """The connection has ended."""
        if not self._is_over:
            self.catch_up()
            self._put_down(self._dissector.end())
            self._is_over = True
            if self._timer is not None:
                self._timer.cancel()

    def _go_on(self) -> None:
        self._timer, until_s = None, time.perf_counter() + TURN_S
        while self._waiting and time.perf_counter() < until_s:
            self._next_piece()
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(AFTER_S, self._go_on)

    def _next_piece(self) -> None:
        direction, data, self._now_ns = self._waiting.popleft()
        piece, rest = data[:PIECE_BYTES], data[PIECE_BYTES:]
        if rest:
            self._waiting.appendleft((direction, rest, self._now_ns))
        self._waiting_bytes -= len(piece)
        try:
            marks = self._dissector.feed(direction, piece)
        except Exception:  # a learner's own reading may do anything: what it did not tell is unread
            marks = self._dissector.end()
        self._put_down(marks)

    def _put_down(self, marks: list[Mark]) -> None:
        record = self._record
        record.mark_all(marks)
        for mark in marks:
            exchange = mark.exchange
            if exchange is None:
                continue
            counts = record.by_route.setdefault(f"{exchange.path} {exchange.topic}", {"requests": 0})
            counts[mark.category] = counts.get(mark.category, 0) + mark.stop - mark.start
            if begins_head(mark):
                counts["requests"] += mark.direction == "out"
                record.requests += mark.direction == "out"
                record.responses += mark.direction == "in" and mark.label.startswith((f"{exchange.status},", ":status"))

    def _heard(self, exchange: Exchange, direction: Direction, value: Any) -> None:
        """What was carried, for those who ask."""

    def _reading(self, exchange: Exchange) -> Reading | None:
        technique = self._by_route.get(exchange.path)
        return technique.body() if technique is not None and callable(technique.body) else None

    def _tell(self, exchange: Exchange) -> Tell | None:
        technique = self._by_route.get(exchange.path)
        with_id = technique is not None and technique.binary and parse_qs(exchange.query).get("binary") == ["1"]
        return Messages(with_id=True).message if with_id else None
