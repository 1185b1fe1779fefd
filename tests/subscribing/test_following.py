"""Coming back to a server that is gone, refuses or has nothing to say: how often, for how long, and what ends it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from conftest import UNIT
from labkit import loop
from labkit.client import backoff
from labkit.client.backoff import Backoff
from labkit.client.ledger import Ledger
from labkit.errors import LabkitError
from labkit.measuring.listening import listen
from labkit.subscribing.contract.receiver import Receiver, check_marks
from labkit.subscribing.following import follow
from labkit.techniques import TECHNIQUES, Technique, exhibits, find
from labkit.wire.events import now_ns
from wait import TIMEOUT_S, read_until, serving

CLOSE = b"Connection: close\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + CLOSE
NEWS = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n" + CLOSE + b"news"
EMPTY = {
    204: b"HTTP/1.1 204 No Content\r\n" + CLOSE,
    408: b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 7\r\n" + CLOSE + b"too bad",
    200: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + CLOSE,
    502: b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n" + CLOSE,
    503: b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n" + CLOSE,
}
BY_HTTP = [t for t in (*TECHNIQUES, *exhibits.EXHIBITS) if t.port == "http"]


def answering(answer: bytes, asked: list[int] | None = None) -> Callable[[socket.socket], None]:
    """A connection's script: one request, one answer, and the end."""

    def script(sock: socket.socket) -> None:
        if read_until(sock, b"\r\n\r\n") and asked is not None:
            asked.append(now_ns())
        sock.sendall(answer)

    return script


def closing(asked: list[int]) -> Callable[[socket.socket], None]:
    """A relay whose target is gone: it takes the connection, and ends it at the first byte."""

    def script(sock: socket.socket) -> None:
        sock.recv(1)
        asked.append(now_ns())

    return script


def followed(technique: Technique, url: str, for_s: float = math.inf, **options: Any) -> tuple[list[Any], str | None]:
    """What came within *for_s* seconds, and why it ended, if it did."""
    items: list[Any] = []

    async def receive() -> str | None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(for_s, TIMEOUT_S)):
                try:
                    async for item in follow(technique, url, **options):
                        items.append(item)
                except LabkitError as error:
                    return str(error)
                return "ended"
        return None

    return items, loop.run(receive())


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No jitter: every wait is its longest, so that attempts can be counted."""
    monkeypatch.setattr(backoff.random, "uniform", lambda low, high: high)
    yield


# -- the waits -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("eager")
def test_waits_double_up_to_2_s_and_an_answer_that_brought_something_resets_them() -> None:
    waits = Backoff()
    assert [waits.next_s() for _ in range(8)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    waits.answered(0.0, brought=True)
    assert waits.next_s() == 0.05


@pytest.mark.usefixtures("eager")
def test_an_answer_that_ended_at_once_and_brought_nothing_resets_no_wait() -> None:
    waits = Backoff()
    assert waits.next_s() == 0.05
    waits.answered(0.01, brought=False)
    assert waits.next_s() == 0.1
    waits.answered(30.0, brought=False)
    assert waits.next_s() == 0.05


# -- giving up -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("technique", BY_HTTP, ids=lambda t: t.name)
def test_an_upstream_that_is_dead_is_asked_ever_more_rarely_and_given_up(technique: Technique) -> None:
    asked: list[int] = []
    with serving(answering(EMPTY[502], asked)) as url:
        items, why = followed(technique, url, after="1@abcd", give_up_s=0.4)
    assert items == [] and why is not None and "answered 502" in why
    assert len(asked) <= 5, "0, 0.05, 0.15, 0.35 and 0.75 s: the wait grows whatever was written"


@pytest.mark.usefixtures("eager")
def test_a_server_that_asks_for_no_wait_is_asked_with_backoff_all_the_same() -> None:
    asked: list[int] = []
    with serving(answering(EMPTY[503], asked)) as url:
        _, why = followed(find("polling"), url, give_up_s=0.4)
    assert why is not None and "503" in why and len(asked) <= 5


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("technique", BY_HTTP, ids=lambda t: t.name)
def test_a_relay_whose_target_is_gone_is_given_up(technique: Technique) -> None:
    asked: list[int] = []
    with serving(closing(asked)) as url:
        _, why = followed(technique, url, after="1@abcd", give_up_s=0.4)
    assert why not in (None, "ended") and len(asked) <= 5


@pytest.mark.usefixtures("eager")
def test_an_answer_that_is_a_success_resets_waiting_and_giving_up() -> None:
    asked: list[int] = []
    dead, alive = answering(EMPTY[502], asked), answering(NEWS, asked)
    with serving(dead, dead, dead, dead, alive, dead) as url:
        items, why = followed(find("long-polling"), url, after="1@abcd", give_up_s=0.8)
    assert len(items) == 1 and why is not None and "502" in why
    gaps_s = [(b - a) / 1e9 for a, b in itertools.pairwise(asked)]
    assert gaps_s[3] >= 0.4 and gaps_s[5] < gaps_s[3] / 2, "after the news it begins anew"
    assert (asked[-1] - asked[4]) / 1e9 > 0.7, "and has its whole time again"


def test_a_stream_that_was_idle_for_longer_than_give_up_is_asked_again() -> None:
    ended = threading.Event()

    def idle(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + CLOSE)
        ended.wait(0.5 * UNIT)  # how long this server says nothing

    lines = answering(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + CLOSE + b"line\n")
    with serving(idle, lines) as url:
        items, _ = followed(find("http-streaming"), url, for_s=1.5 * UNIT, give_up_s=0.3 * UNIT)
    assert items and items[0].data == "line"


def test_a_parked_poll_is_told_before_it_is_answered_and_is_no_success() -> None:
    told: list[str] = []
    parked = threading.Event()

    def hold(sock: socket.socket) -> None:
        read_until(sock, b"\r\n\r\n")
        parked.wait(TIMEOUT_S)

    async def begin(url: str, ledger: Ledger) -> None:
        items = follow(find("long-polling"), url, after="1@abcd", on_open=told.append, ledger=ledger)
        waiting = asyncio.ensure_future(anext(items))
        while not told:  # noqa: ASYNC110  what is waited for is the callback itself
            await asyncio.sleep(0.002)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await items.aclose()

    ledger = Ledger(0)
    with serving(hold) as url:
        loop.run(asyncio.wait_for(begin(url, ledger), TIMEOUT_S))
        parked.set()
    assert told == ["1@abcd"] and ledger.accepted_ns == 0


# -- long polls that ran out -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 204, 408])
def test_a_long_poll_that_ran_out_asks_again_and_its_body_is_no_event(status: int) -> None:
    scripts = answering(EMPTY[status]), answering(EMPTY[status]), answering(NEWS)
    with serving(*scripts) as url, Receiver(find("long-polling"), url, after="1@abcd") as receiver:
        receiver.wait_for(1)
        assert {d.data for d in receiver.deliveries} == {"news"}
    for record in receiver.ledger.connections:
        check_marks(record)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("status", [200, 204, 408])
def test_polls_that_run_out_at_once_are_asked_ever_more_rarely(status: int) -> None:
    asked: list[int] = []
    with serving(answering(EMPTY[status], asked)) as url:
        items, why = followed(find("long-polling"), url, for_s=0.5)
    assert items == [] and why is None
    assert len(asked) <= 4, "0, 0.05, 0.15 and 0.35 s"


def test_204_is_an_empty_answer_to_an_interval_poll() -> None:
    scripts = answering(EMPTY[204]), answering(NEWS)
    with serving(*scripts) as url, Receiver(find("polling"), url, interval_s=0.01 * UNIT) as receiver:
        receiver.wait_for(1)


# -- event sources -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("eager")
def test_retry_0_does_not_storm_a_server_that_lives_and_ends_every_stream() -> None:
    asked: list[int] = []
    with serving(answering(STREAM + b"retry: 0\ndata: x\n\n", asked)) as url:
        items, _ = followed(find("sse"), url, for_s=0.5)
    assert 2 <= len(items) <= 11, "0.05 s apart at the least"


@pytest.mark.usefixtures("eager")
def test_retry_0_does_not_storm_a_dead_server_and_it_is_given_up() -> None:
    ledger = Ledger(0)
    asked: list[int] = []
    with serving(answering(STREAM + b"retry: 0\ndata: x\n\n"), closing(asked)) as url:
        items, why = followed(find("sse"), url, give_up_s=0.4, ledger=ledger)
    assert len(items) == 1 and why not in (None, "ended")
    assert len(asked) <= 6


def test_204_ends_an_event_source_for_good() -> None:
    asked: list[int] = []
    scripts = answering(STREAM + b"retry: 50\ndata: x\n\n", asked), answering(EMPTY[204], asked)
    with serving(*scripts) as url:
        items, why = followed(find("sse"), url)
    assert (len(items), why, len(asked)) == (1, "ended", 2)


# -- listening -----------------------------------------------------------------------------------------------------


def silent(sock: socket.socket) -> None:
    read_until(sock, b"\r\n\r\n")
    sock.recv(1)


@pytest.mark.parametrize(
    ("technique", "script", "words"),
    [
        ("sse", silent, "the server has sent nothing"),
        ("sse", answering(EMPTY[204]), "the server answered, but with nothing that a client of sse"),
        ("polling", answering(EMPTY[502]), "nothing came: the server answered 502"),
        ("http-streaming", answering(EMPTY[200]), "nothing came: .* ended the connection"),
        ("long-polling", answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n" + CLOSE), "answered 404"),
        ("websocket", answering(EMPTY[200]), "answered 200"),
    ],
)
def test_where_nothing_came_the_run_says_why(technique: str, script: Any, words: str) -> None:
    with serving(script) as url:
        run = listen(url, technique, seconds=0.3 * UNIT, progress=False)
    assert len(run.deliveries) == 0
    (why,) = run.failures.values()
    assert re.search(words, why), why
    assert why in run._repr_html_() and "<table" not in run._repr_html_()


def test_what_was_lost_at_last_is_noted_beside_what_came() -> None:
    with serving(answering(NEWS), answering(EMPTY[502])) as url:
        run = listen(url, "polling", seconds=0.5 * UNIT, progress=False, interval_s=0.02 * UNIT)
    assert len(run.deliveries) == 1 and run.failures == {}
    assert any("lost at last" in note and "502" in note for note in run.notes)
