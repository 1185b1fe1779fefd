"""What a tap says at its end of streams that stalled, lost ids, or came back together."""

from __future__ import annotations

import pytest
from test_tap_compare import answer, beat, end, event, log, request

from labkit.strangers.tap.exchanges import exchanges_of
from labkit.strangers.tap.log import Entry
from labkit.strangers.tap.summing import HEADS, notes, rows


def said(*entries: Entry, until_ms: int) -> list[str]:
    return notes(exchanges_of(log(*entries)[1]), until_ms * 1_000_000)


STREAM = [request(0), answer(1), *(event(100 * n, f"{n}@e") for n in range(1, 6))]


def test_a_stream_that_goes_on_as_it_did_is_not_spoken_of() -> None:
    assert said(*STREAM, until_ms=600) == []


@pytest.mark.parametrize(
    ("more", "until_ms", "told"),
    [
        pytest.param([], 20_500, "#1 /s: open, and nothing has come for 20.00 s.", id="silent"),
        pytest.param([event(15_500, "6@e")], 15_600, "#1 /s: stalled for 15.00 s, then went on.", id="stalled"),
        pytest.param([event(600, "9@e")], 700, "#1 /s: ids jump from 5 to 9.", id="left out"),
        pytest.param([event(600, "5@e")], 700, "#1 /s: ids jump from 5 to 5.", id="twice"),
    ],
)
def test_silence_and_jumping_ids_are(more: list[Entry], until_ms: int, told: str) -> None:
    assert said(*STREAM, *more, until_ms=until_ms) == [told]


def test_items_that_are_too_long_to_be_read_are_told() -> None:
    piece = {"t_ns": 600_000_000, "what": "piece", "x": 1, "bytes": 5_000_000}
    assert said(*STREAM, piece, until_ms=700) == [
        "#1 /s: 5000000 B were of items over 2 MiB, and are not read as events."
    ]


def test_heartbeats_keep_a_stream_from_being_called_silent() -> None:
    assert said(*STREAM, *(beat(5_000 * n) for n in range(1, 5)), until_ms=20_500) == []


def test_those_that_come_back_together_are_counted() -> None:
    gone = [e for x in range(1, 6) for e in (request(0, x=x), answer(1, x=x), end(100, "server", x=x))]
    back = [e for x in range(6, 11) for e in (request(5_100 + x, x=x), answer(5_120, x=x))]
    assert said(*gone, *back, until_ms=6_000)[-1] == "5 of 5 came back within 100 ms of each other."


def test_many_other_requests_are_one_row() -> None:
    pages = [e for x in range(2, 9) for e in (request(x, x=x, target=f"/{x}.js"), end(x + 1, x=x))]
    found = rows(exchanges_of(log(*STREAM, *pages)[1]))
    assert [row[:3] for row in found] == [("sse", "/s", "1"), ("request", "(7 paths)", "7")]
    assert {len(row) for row in found} == {len(HEADS)}
