"""On healthy servers nothing is found."""

from __future__ import annotations

import contextlib
import threading
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
from steady import probed

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
}


@pytest.mark.timing
@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_found_on_a_healthy_stream(name: str) -> None:
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
