"""Ten thousand dissected events, each joined to its row: by id, by place where there is none, by topic."""

from __future__ import annotations

import itertools
import random
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from json_seq import texts

from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.measuring.joining import arrivals, joined
from labkit.wire.chunks import encode_chunk, encode_last
from labkit.wire.dissect import Dissector
from labkit.wire.envelope import encode
from labkit.wire.event_stream import encode_event
from labkit.wire.events import Event
from labkit.wire.frames import Frame, Opcode, encode_frame
from labkit.wire.spans import Direction

EVENTS = 10_000
UPGRADE = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%b\r\n"
FIRST_WORD = b'{"cursor":"0@k3f9"}'  # by which a lab is known
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n"

Talk = list[tuple[Direction, bytes]]


def data_of(number: int, topic: str = "") -> str:
    return f"{topic}{number} é"


def learners(events: range, topic: str) -> Talk:
    """JSON text sequences, with a reading of its own."""
    said = (FIRST_WORD, *(encode(Event(n, data_of(n, topic), 0)).encode() for n in events))
    body = (b"\x1e" + text + b"\n" for text in said)
    asked = f"GET /json-seq?topic={topic} HTTP/1.1\r\n\r\n".encode()
    return [("out", asked), ("in", CHUNKED % b"application/json-seq" + b"".join(map(encode_chunk, body)))]


def deflated(events: range, topic: str) -> Talk:
    """One context over all messages (RFC 7692 section 7.2.1)."""
    packer, frames = zlib.compressobj(wbits=-15), bytearray()
    for raw in (FIRST_WORD, *(encode(Event(n, data_of(n, topic), 0)).encode() for n in events)):
        payload = (packer.compress(raw) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
        frames += encode_frame(Frame(Opcode.TEXT, payload, rsv1=True))
    asked = f"GET /websocket?topic={topic} HTTP/1.1\r\nUpgrade: websocket\r\n\r\n".encode()
    return [("out", asked), ("in", UPGRADE % b"Sec-WebSocket-Extensions: permessage-deflate\r\n" + bytes(frames))]


def foreign(events: range, topic: str) -> Talk:
    """A server that is no lab: blocks without ids, and a new response for every thousand."""
    talk: Talk = []
    for first in events[::1000]:
        body = b"".join(encode_chunk(encode_event(data_of(n, topic))) for n in range(first, first + 1000))
        talk.append(("out", f"GET /ticks?topic={topic} HTTP/1.1\r\n\r\n".encode()))
        talk.append(("in", CHUNKED % b"text/event-stream" + body + encode_last()))
    return talk


def polled(events: range, topic: str) -> Talk:
    """Answers to polls of two topics by turns, over one connection, with equal ids."""
    talk: Talk = []
    for first in events[::1000]:
        for name in ("a", "b"):
            inside = ",".join(encode(Event(n, data_of(n, name), 0)) for n in range(first, first + 1000))
            body = f'{{"events":[{inside}],"cursor":"{first + 999}@k3f9"}}'.encode()
            talk.append(("out", f"GET /polling?topic={name} HTTP/1.1\r\n\r\n".encode()))
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            talk.append(("in", head + body))
    return talk


def dissected(talk: Talk, seed: int = 1) -> ConnectionRecord:
    """Fed in reads of any size, as one of a relay's near sides."""
    random_, dissector = random.Random(seed), Dissector(reading=lambda e: texts() if e.path == "/json-seq" else None)
    record = Ledger(1 << 30).opened("", 0, local=("", 0), remote=("", 0), t_ns=0, hop="link.near")
    for way, data in talk:
        at = 0
        while at < len(data):
            piece = data[at : at + random_.randint(1, 3000)]
            at += len(piece)
            record.transferred(way, piece, 0)
            record.mark_all(dissector.feed(way, piece))
    record.mark_all(dissector.end())
    return record


@pytest.mark.parametrize("talk", [learners, deflated, foreign, polled], ids=lambda t: t.__name__)
def test_ten_thousand_events_are_joined_to_their_rows(talk: Callable[[range, str], Talk]) -> None:
    record = dissected(talk(range(1, EVENTS + 1), "a"))
    stream = b"".join(t.data for t in record.transfers if t.direction == "in")
    topics = ("a", "b") if talk is polled else ("a",)
    rows: list[dict[str, Any]] = [
        {"topic": topic, "event_id": n, "wire_id": None if talk is foreign else str(n)}
        for topic, n in itertools.product(topics, range(1, EVENTS + 1))
    ]
    found = joined([record], rows)
    assert len(found) == len(rows)
    for row, marks in zip(rows, found, strict=True):
        assert len(marks) >= 1, row
        payload = b"".join(stream[m.start : m.stop] for m in marks if m.category == "payload")
        if talk is not deflated:
            assert payload.decode() == data_of(row["event_id"], row["topic"]), row
        else:
            assert payload and marks[0].label == f"event {row['event_id']}, deflated"


def test_one_that_came_twice_is_found_twice() -> None:
    record = dissected([*polled(range(1, 1001), ""), *polled(range(1, 1001), "")])
    row = {"topic": "b", "event_id": 17, "wire_id": "17"}
    assert len(arrivals([record], row)) == 2


def test_behind_marks_that_were_let_go_a_place_is_not_known() -> None:
    """Then it is not guessed: an event without an id is joined to no row."""
    record = dissected(foreign(range(1, 2001), "a"))
    row = {"topic": "a", "event_id": 1500, "wire_id": None}
    assert len(arrivals([record], row)) == 1
    while record.marks[0].exchange.number == 1:  # type: ignore[union-attr]
        record.marks.popleft()
    assert arrivals([record], row) == []
