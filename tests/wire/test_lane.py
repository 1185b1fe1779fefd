"""Runs laid over ranges: what a decoder says of lengths becomes marks of places."""

from __future__ import annotations

from labkit.wire.lane import Carrier
from labkit.wire.spans import Exchange, Mark, Run, Sighting


def laid(carrier: Carrier, *runs: Run) -> list[tuple[int, int, str, str]]:
    marks: list[Mark] = []
    carrier.lay(runs, marks)
    return [(mark.start, mark.stop, mark.category, mark.label) for mark in marks]


def test_runs_are_laid_one_behind_the_other_and_cut_where_the_ranges_are() -> None:
    carrier = Carrier("in", Exchange(1))
    for start, stop in ((10, 12), (20, 23), (30, 40)):
        carrier.add(start, stop)
    assert laid(carrier, (1, "framing", "a", None), (5, "payload", "b", None)) == [
        (10, 11, "framing", "a"),
        (11, 12, "payload", "b"),
        (20, 23, "payload", "b"),
        (30, 31, "payload", "b"),
    ]
    assert carrier.held_bytes == 9
    marks: list[Mark] = []
    carrier.lay_rest("envelope", "unread", marks)
    assert [(mark.start, mark.stop) for mark in marks] == [(31, 40)] and carrier.held_bytes == 0


def test_where_a_read_ended_is_no_place_to_cut_a_mark() -> None:
    carrier = Carrier("in", None)
    carrier.add(0, 3)
    carrier.add(3, 3)
    carrier.add(3, 5)
    assert laid(carrier, (5, "payload", "a", None)) == [(0, 5, "payload", "a")]


def test_an_event_is_numbered_by_its_first_mark_and_has_a_place_without_bytes() -> None:
    exchange = Exchange(1)
    carrier = Carrier("in", exchange)
    carrier.add(0, 4)
    first, second = Sighting("17@k3f9"), Sighting()
    runs: list[Run] = [(1, "framing", "id:", first), (3, "payload", "", first), (0, "payload", "", second)]
    assert laid(carrier, *runs) == [
        (0, 1, "framing", "id:"),
        (1, 4, "payload", "event 17"),
        (4, 4, "payload", "event 2"),
    ]
    assert (first.number, second.number, exchange.events) == (1, 2, 2)
    assert exchange.by_category["payload"] == 3 and exchange.by_category["framing"] == 1


def test_an_event_whose_data_is_empty_has_no_mark_for_it_beside_its_others() -> None:
    carrier, event = Carrier("in", Exchange(1)), Sighting("1")
    carrier.add(0, 2)
    assert laid(carrier, (2, "framing", "data:", event), (0, "payload", "", event)) == [(0, 2, "framing", "data:")]


def test_an_event_of_an_empty_message_has_its_place_where_the_message_lay() -> None:
    carrier, event = Carrier("in", Exchange(1)), Sighting("1")
    carrier.add(7, 7)
    assert laid(carrier, (0, "payload", "", event)) == [(7, 7, "payload", "event 1")]
