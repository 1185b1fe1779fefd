"""What a client half makes of what it is told: nothing at or before its cursor is handed over again."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.client.ledger import Ledger
from labkit.errors import ConnectionLost
from labkit.techniques import Delivery
from labkit.techniques.reading import Reader
from labkit.wire.envelope import Answer, Received, Start
from labkit.wire.events import Gap


def events(*ids: int) -> tuple[Received, ...]:
    return tuple(Received(n, f"é{n}") for n in ids)


def read(*said: Any, after: str | None = None) -> tuple[list[int | Gap], str, list[int]]:
    """Ids and gaps that are handed over, the cursor at the end, and the sizes of what was held back."""
    held: list[int] = []
    reader, items = Reader(after, None, held.append), list[Any]()
    for each in said:
        items += reader.take_answer(each, 0) if isinstance(each, Answer) else [reader.take(each, 0)]
    return [each.event_id if isinstance(each, Delivery) else each for each in items if each], reader.cursor, held


GAP = Gap("7@old1", 1, "0@abcd")


@pytest.mark.parametrize(
    ("said", "after", "items", "cursor", "held"),
    [
        # a stream that goes on from too far back, and one that repeats itself
        ([Start("1@abcd"), *events(2, 3, 4, 5)], "3@abcd", [4, 5], "5@abcd", 2),
        ([Start("0@abcd"), *events(1, 2, 2, 1, 3)], None, [1, 2, 3], "3@abcd", 2),
        # two polls that were sent with the same cursor, and answered with the same
        ([Answer(events(1, 2), "2@abcd"), Answer(events(1, 2), "2@abcd")], "0", [1, 2], "2@abcd", 2),
        ([Answer(events(1, 2), "2@abcd"), Answer(events(1, 2, 3), "3@abcd")], "0", [1, 2, 3], "3@abcd", 2),
        # an old answer, out of a cache
        ([Answer(events(8, 9), "9@abcd"), Answer(events(8), "8@abcd"), Answer((), "7@abcd")], None,
         [8, 9], "9@abcd", 1),
        # the same gap in both; the second tells of nothing new
        ([Answer((), "0@abcd", GAP), Answer((), "0@abcd", GAP)], "7@old1", [GAP], "0@abcd", 0),
        ([Answer(events(1), "1@abcd", GAP)] * 2, "7@old1", [GAP, 1], "1@abcd", 1),
        # another epoch begins anew, whether a gap says so or not
        ([Start("5@abcd"), *events(6), Gap("6@abcd", 2, "1@next"), *events(2)], None,
         [6, Gap("6@abcd", 2, "1@next"), 2], "2@next", 0),
        ([Answer(events(6), "6@abcd"), Answer(events(1), "1@next")], None, [6, 1], "1@next", 0),
        # a cursor beyond the newest is answered by a gap that leads back in the same epoch
        ([Gap("99@abcd", 1, "0@abcd"), *events(1, 2)], "99@abcd", [Gap("99@abcd", 1, "0@abcd"), 1, 2], "2@abcd", 0),
        # ids that were dropped in mid-stream
        ([Start("0@abcd"), *events(1), Gap("1@abcd", 5, "4@abcd"), *events(5, 4)], None,
         [1, Gap("1@abcd", 5, "4@abcd"), 5], "5@abcd", 1),
    ],
)  # fmt: skip
def test_what_lies_at_or_before_the_cursor_is_held_back(
    said: list[Any], after: str | None, items: list[Any], cursor: str, held: int
) -> None:
    found, at, sizes = read(*said, after=after)
    assert (found, at) == (items, cursor)
    assert sizes == [3] * held, "payload bytes, in UTF-8"


def test_more_is_asked_for_at_once_only_where_the_answer_brought_something() -> None:
    reader = Reader("0", None)
    cut = Answer(events(1, 2), "2@abcd", more=True)
    reader.take_answer(cut, 0)
    assert reader.more and reader.brought
    reader.take_answer(cut, 0)
    assert not reader.more and not reader.brought


def test_of_somebody_elses_the_same_answer_again_brings_nothing() -> None:
    reader = Reader(None, None)
    brought = []
    for said in (b"a", b"a", b"b", None):
        reader.take_answer(said, 0)
        brought.append(reader.brought)
    assert brought == [True, False, True, False] and reader.count == 3


def test_what_no_lab_says_is_no_event_where_a_lab_was_heard() -> None:
    reader = Reader(None, None)
    reader.take_answer(Answer((), "0@abcd"), 0)
    with pytest.raises(ConnectionLost, match="what no lab says: '<html>"):
        reader.take_answer(b"<html>please log in", 0)


def test_what_is_held_back_is_put_down_on_the_newest_connection_of_that_client() -> None:
    ledger = Ledger()
    for subscriber in (0, 1, 0):
        ledger.opened("sse", subscriber, local=("", 0), remote=("", 0), t_ns=0)
    ledger.held_back("sse", 0, 5)
    ledger.held_back("sse", 0, 6)
    assert [(r.duplicates, r.duplicate_bytes) for r in ledger.connections] == [(0, 0), (0, 0), (2, 11)]
