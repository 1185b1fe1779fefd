"""Which technique an exchange was, by what it is easily taken for."""

from __future__ import annotations

import pytest
from test_tap_compare import MS, answer, end, event, log, request

from labkit.strangers.tap.exchanges import exchanges_of, reconnections
from labkit.strangers.tap.log import Entry
from labkit.strangers.tap.making import subscribers


def piece(ms: int, x: int = 1) -> Entry:
    return {"t_ns": ms * MS, "what": "piece", "x": x, "bytes": 10}


def said(*entries: Entry) -> list[str]:
    return [seen.technique for seen in exchanges_of(log(*entries)[1])]


def headed(ms: int, *fields: list[str], status: int = 200, x: int = 1) -> Entry:
    return {"t_ns": ms * MS, "what": "answer", "x": x, "status": status, "version": "HTTP/1.1", "fields": [*fields]}


TEXT, LENGTH = ["Content-Type", "text/plain"], ["Content-Length", "20"]


@pytest.mark.parametrize(
    ("entries", "technique"),
    [
        pytest.param([request(0), answer(1), event(2, "1")], "sse", id="event stream"),
        pytest.param([request(0), answer(1, status=503)], "request", id="an error of that type"),
        pytest.param([request(0), headed(1, ["Upgrade", "websocket"], status=101)], "websocket", id="WebSocket"),
        pytest.param([request(0), headed(1, ["Upgrade", "h2c"], status=101)], "request", id="another protocol"),
        pytest.param([request(0), headed(1, TEXT), piece(2), piece(1100)], "http-streaming", id="goes on for long"),
        pytest.param([request(0), headed(1, TEXT), piece(2), piece(900)], "request", id="is over soon"),
        pytest.param([request(0), headed(1, TEXT, LENGTH), piece(2), piece(1100)], "request", id="of a known length"),
    ],
)
def test_what_one_exchange_was(entries: list[Entry], technique: str) -> None:
    assert said(*entries) == [technique]


def asked(times: list[tuple[int, int]], method: str = "GET") -> list[Entry]:
    """Requests and their answers."""
    return [
        entry
        for x, (at, until) in enumerate(times, 1)
        for entry in ({**request(at, x=x), "method": method}, headed(until, TEXT, LENGTH, x=x))
    ]


def test_polls_are_held_where_the_client_waits_longer_for_answers_than_between_them() -> None:
    assert said(*asked([(0, 900), (910, 1900), (1910, 2800)])) == ["long-polling"] * 3
    assert said(*asked([(0, 100), (1000, 1100), (2000, 2100)])) == ["polling"] * 3


def test_answers_at_once_were_not_held_however_soon_the_next_is_asked_for() -> None:
    assert said(*asked([(0, 5), (6, 11), (12, 17)])) == ["polling"] * 3


def test_what_is_asked_twice_or_by_post_is_no_poll() -> None:
    assert said(*asked([(0, 5), (1000, 1005)])) == ["request"] * 2
    assert said(*asked([(0, 5), (1000, 1005), (2000, 2005)], "POST")) == ["request"] * 3


def test_another_program_comes_back_for_nobody() -> None:
    first = [request(0, ["User-Agent", "a"]), answer(1), end(100, "server")]
    for agent, count in (("a", 1), ("b", 0)):
        found = exchanges_of(log(*first, request(200, ["User-Agent", agent], x=2), answer(201, x=2))[1])
        assert len(reconnections(found)) == count


def test_one_that_polls_and_one_that_comes_back_are_one_subscriber() -> None:
    polls = exchanges_of(log(*asked([(0, 5), (1000, 1005), (2000, 2005)]))[1])
    assert subscribers(polls) == {1: 0, 2: 0, 3: 0}
    streams = [request(0), answer(1), request(2, x=2), answer(3, x=2), end(100, "server")]
    back = [request(200, x=3), answer(201, x=3)]
    assert subscribers(exchanges_of(log(*streams, *back)[1])) == {1: 0, 2: 1, 3: 0}
