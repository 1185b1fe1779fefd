"""What ``explain`` shows is all there is: its bytes are those of a relay's own capture, cut by parsers of their own."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

import pytest

from conftest import UNIT
from labkit.client.ledger import ConnectionRecord
from labkit.lab.lab import Lab
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.measuring.schedules import burst, payload
from labkit.network.link import Link
from labkit.techniques import TECHNIQUES, find

EVENTS = 50
SIZE = 40
SCHEDULE = burst(events=4, every_s=0.05 * UNIT, duration_s=UNIT, payload_bytes=SIZE)
POLLS = ("polling", "long-polling")
CASES: list[tuple[str, dict[str, Any]]] = [
    *((technique.name, {}) for technique in TECHNIQUES),
    ("polling", {"keep_alive": False}),
    ("long-polling", {"http_version": "1.0"}),
    ("long-polling", {"pipelined": True}),
    ("http-streaming", {"framing": "eof"}),
    ("http-streaming", {"format": "multipart"}),
    ("sse", {"http_version": "1.0"}),
    ("websocket", {"deflate": True}),
]


def way(record: ConnectionRecord, direction: str) -> bytes:
    return b"".join(t.data for t in record.transfers if t.direction == direction)


def answers(stream: bytes) -> Iterator[bytes]:
    """The answers of a connection of polls, which all have a length."""
    while stream:
        head = stream.index(b"\r\n\r\n") + 4
        found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", stream[:head])
        assert found is not None
        yield stream[: head + int(found[1])]
        stream = stream[head + int(found[1]) :]


def requests(stream: bytes) -> Iterator[bytes]:
    yield from (request + b"\r\n\r\n" for request in stream.split(b"\r\n\r\n")[:-1])


def chunks(body: bytes) -> Iterator[bytes]:
    while body:
        line = body.index(b"\r\n") + 2
        size = line + int(body[:line], 16) + 2
        yield body[:size]
        body = body[size:]


def frames(body: bytes) -> Iterator[bytes]:
    while len(body) >= 2:
        size = 2 + (body[1] if body[1] < 126 else int.from_bytes(body[2:4], "big") + 2)
        yield body[:size]
        body = body[size:]


def pieces(name: str, head: bytes, body: bytes) -> Iterator[bytes]:
    """What a stream's body is made of."""
    if name == "websocket":
        yield from frames(body)
    elif b"chunked" in head:
        yield from chunks(body)
    elif name == "sse":
        yield from (block + b"\n\n" for block in body.split(b"\n\n")[:-1])
    else:
        end = b"\0" if name == "plugin-socket" else b"\n"
        yield from (line + end for line in body.split(end)[:-1])


def captured(name: str, near: ConnectionRecord) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Request, head and what carries events, of all that one connection had."""
    sent, came = way(near, "out"), way(near, "in")
    if name in POLLS:
        yield from ((request, b"", answer) for request, answer in zip(requests(sent), answers(came), strict=False))
        return
    if name == "plugin-socket":
        request, head = sent[: sent.index(b"\0") + 1], b""
    else:
        request, head = sent[: sent.index(b"\r\n\r\n") + 4], came[: came.index(b"\r\n\r\n") + 4]
    yield from ((request, head, piece) for piece in pieces(name, head, came[len(head) :]))


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join((case[0], *case[1])))
def measured(request: Any) -> tuple[str, bool, Run]:
    name, options = request.param
    with Lab("explained") as lab:
        link, polls = Link(one_way_s=0.002, name="wire"), {"options": {name: options}} if options else {}
        run = measure(
            lab, [find(name)], SCHEDULE, poll_interval_s=0.15 * UNIT, through=link, progress=False, **polls
        )  # fmt: skip
    return name, options.get("deflate", False), run


def test_the_bytes_of_fifty_random_events_are_those_of_the_relay_s_capture(measured: tuple[str, bool, Run]) -> None:
    name, is_deflated, run = measured
    nears = [record for record in run.ledger.connections if record.hop == "wire.near"]
    there = [found for near in nears for found in captured(name, near)]
    rows = random.Random(name).sample(run.deliveries.to_dict("records"), EVENTS)
    carried = set()
    for row in rows:
        (story,) = run.explain(row["event_id"], name).stories
        shown = tuple(b"".join(p.data for p in story.passages if p.name in names) for names in (
            ["request"], ["head of the answer"], ["answer", "chunk", "chunks", "frame", "event"],
        ))  # fmt: skip
        assert shown in there, story
        assert is_deflated or payload(row["event_id"], SIZE).encode() in shown[2], "it is another event's"
        carried.add(shown[2])
        assert not story.notes
        for passage in story.passages:
            assert {step.hop for step in passage.steps} == {"client", "wire.near", "wire.far"}
            total = sum(len(part.data) for part in passage.parts)
            assert total == len(passage.data) and all(part.category != "unmarked" for part in passage.parts)
            near = next(r for r in nears if passage.data in way(r, passage.direction))
            assert way(near, passage.direction)[passage.start :][:total] == passage.data
    assert len(carried) > (5 if name in POLLS else 20)
