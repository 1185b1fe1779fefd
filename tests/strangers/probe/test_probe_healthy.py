"""On healthy servers nothing is found."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest
from planted_streams import (
    LAST,
    STEP_S,
    Answer,
    Step,
    chunk,
    compressed,
    event,
    events,
    flowing,
    head,
    healthy,
    ndjson,
    planted,
    saying,
)
from steady import Pace, probed

from labkit.lab.lab import Lab


def bursts(_: str) -> Iterator[Step]:
    yield head()
    for number in range(5):
        yield 0.3
        for each in range(4):
            yield chunk(event(4 * number + each))
    yield 60.0


def large(_: str) -> Iterator[Step]:
    yield head()
    for number in range(10):
        yield STEP_S
        yield chunk(event(number, 20_000))
    yield LAST


def tokens(_: str) -> Iterator[Step]:
    """A language model's: the first one late, then one after the other."""
    yield head()
    yield 1.0
    for one in events(30):
        yield chunk(one)
        yield 0.02
    yield chunk(b"data: [DONE]\n\n") + LAST


def replay_first(_: str) -> Iterator[Step]:
    yield head() + chunk(b"".join(events(20)))
    for one in events(6):
        yield 0.3
        yield chunk(one)


def by_close(_: str) -> Iterator[Step]:
    yield b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    for one in events(6):
        yield STEP_S
        yield one


def in_characters(_: str) -> Iterator[Step]:
    said = "id: 1\r\nevent: tick\r\ndata: 한국어\r\n\r\n".encode()
    yield head()
    for at in range(0, 4 * len(said), 5):
        yield chunk((4 * said)[at : at + 5])
        yield 0.02
    yield LAST


def short(_: str) -> Iterator[Step]:
    """A language model's, which thinks longer than it speaks."""
    yield head()
    yield 0.8
    for said in (b'{"role": "assistant"}', b'{"content": "OK"}', b'{"finish_reason": "stop"}', b"[DONE]"):
        yield chunk(b"data: " + said + b"\n\n")
        yield 0.004
    yield LAST


def padded(_: str) -> Iterator[Step]:
    yield head() + chunk(b":" + b" " * 4094 + b"\n")
    yield 60.0


def file_of_lines(_: str) -> Iterator[Step]:
    said = b"".join(b'{"row": %d}\n' % row for row in range(20))
    fields = "Age: 3600\r\nX-Cache: HIT\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT"
    yield 0.8
    yield f"HTTP/1.1 200 OK\r\nContent-Type: application/jsonl\r\nContent-Length: {len(said)}\r\n{fields}".encode()
    yield b"\r\n\r\n" + said


def in_two_writes(_: str) -> Iterator[Step]:
    """The blank line in a write of its own, which waits for an acknowledgement from far away."""
    yield head()
    for number in range(5):
        yield 0.3
        yield chunk(event(number)[:-1])
        yield 0.1
        yield chunk(b"\n")
    yield 60.0


def large_and_slow(_: str) -> Iterator[Step]:
    """Records of 16 384 bytes, over a slow line."""
    yield head()
    for number in range(2):
        said = event(number, 65_000)
        for at in range(0, len(said), 16_384):
            yield 0.06
            yield chunk(said[at : at + 16_384])
    yield 60.0


def plain(kind: str, said: bytes) -> Answer:
    def answer(_: str) -> Iterator[Step]:
        yield f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(said)}\r\n\r\n".encode() + said

    return answer


def busy_for_a_while(_: str) -> Iterator[Step]:
    """What all ask for at the same time is the same: something at first, and then nothing for a long time."""
    yield head("200 OK", "application/x-ndjson")
    while (since_s := time.monotonic() - BEGAN.setdefault("s", time.monotonic())) < 1.2 * Pace.factor:
        yield chunk(b'{"at": %d}\n' % (1000 * since_s))
        yield 0.2
    yield 60.0


BEGAN: dict[str, float] = {}
HEALTHY: dict[str, Answer] = {
    "recycled": healthy,
    "bursts": bursts,
    "large events": large,
    "tokens": tokens,
    "history first": replay_first,
    "ended by the close": by_close,
    "split in characters, CRLF": in_characters,
    "gzip with a flush": compressed(True, False),
    "lines": lambda asked: ndjson(asked, held_for_any=False),
    "heartbeats alone": saying(b":\n", b": ok\n\n", b":\n"),
    "a parameter": lambda asked: flowing(20, kind="text/event-stream; charset=utf-8"),
    "comments, ids, retry and unknown fields": saying(
        b"retry: 2000\n\n", b": hi\nid: 4\ndata: x\nfoo: bar\n\n", b"id\n\n"
    ),
    "an answer at once": saying(*events(), ends=True),
    "an answer of a word": short,
    "padding": padded,
    "a file of lines": file_of_lines,
    "an image as text": plain("text/plain", b"data:image/png;base64,iVBORw0KGgo="),
    "YAML": plain("application/yaml", b"id: 5\nname: x\n"),
    "two writes for each event": in_two_writes,
    "large events, slowly": large_and_slow,
    "busy, and then not": busy_for_a_while,
}


@pytest.mark.timing
@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_found_on_a_healthy_stream(name: str) -> None:
    BEGAN.clear()
    with planted(HEALTHY[name]) as url:
        report = probed(url, [], 1.6)
    assert report.status == 0 and not report.findings, str(report)


ROUTES = ("/sse", "/http-streaming", "/http-streaming?format=multipart", "/http-streaming?framing=eof", "/polling",
          "/polling?etag=1", "/long-polling?after=0", "/websocket", "/sse?after=0", "/websocket?binary=1")  # fmt: skip


@contextlib.contextmanager
def publishing(lab: Lab) -> Iterator[None]:
    """An event each tenth of a second."""
    over = threading.Event()

    def publish() -> None:
        while not over.wait(0.1):
            lab.publish("one")

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.timing
def test_nothing_is_found_on_the_labs_own_routes() -> None:
    with Lab("probed") as lab, publishing(lab):
        for route in ROUTES:
            url = lab.url.rstrip("/") + route
            if "websocket" in route:
                url = url.replace("http://", "ws://")
            report = probed(url, [], 0.6)
            assert report.status == 0 and not report.findings, f"{route}: {report}"
