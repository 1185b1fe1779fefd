"""Events, cursors and the log of a topic: pure."""

from __future__ import annotations

import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import CursorError
from labkit.wire.events import Cursor, Event, EventLog, Gap, Page, new_epoch, size_bytes


def a_log(count: int = 0, **options: int) -> EventLog:
    log = EventLog(epoch="k3f9", **options)
    for n in range(1, count + 1):
        log.append(f"e{n}", n)
    return log


def ids(events: list[Event]) -> list[int]:
    return [event.id for event in events]


# -- cursors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "cursor"),
    [
        ("0", Cursor(0)),
        ("17", Cursor(17)),
        ("17@k3f9", Cursor(17, "k3f9")),
        ("0@k3f9", Cursor(0, "k3f9")),
        ("9223372036854775807@abcdefghij01", Cursor(9223372036854775807, "abcdefghij01")),
    ],
)
def test_a_cursor_is_read_and_written_back_as_it_was(text: str, cursor: Cursor) -> None:
    assert Cursor.parse(text) == cursor
    assert str(cursor) == text


@pytest.mark.parametrize(
    "text",
    (
        "",
        "x",
        "-1",
        "+1",
        " 1",
        "1 ",
        "01",
        "1.0",
        "1e3",
        "1@",
        "@k3f9",
        "1@abc",
        "1@abcdefghij012",
        "1@K3F9",
        "1@k3f9@k3f9",
        "1@k3f9\n",
        "1\n",
        "1@k3-9",
        "\u0661",
        "\uff11",
        "1" * 20,
        "0x1",
        "1_0",
        "1@k3f\u0661",
    ),
)
def test_anything_else_is_no_cursor_and_the_error_names_it(text: str) -> None:
    with pytest.raises(CursorError, match="not a cursor"):
        Cursor.parse(text)


def test_the_error_of_a_long_text_is_short() -> None:
    with pytest.raises(CursorError) as caught:
        Cursor.parse("x" * 10_000)
    assert len(str(caught.value)) < 200


@given(st.integers(0, 10**18), st.none() | st.from_regex(r"[a-z0-9]{4,12}", fullmatch=True))
def test_every_cursor_survives_the_wire(n: int, epoch: str | None) -> None:
    assert Cursor.parse(str(Cursor(n, epoch))) == Cursor(n, epoch)


def test_a_new_epoch_fits_the_wire_and_is_another_each_time() -> None:
    epochs = {new_epoch() for _ in range(100)}
    assert len(epochs) > 95
    assert all(Cursor.parse(f"1@{epoch}").epoch == epoch for epoch in epochs)


# -- appending and the bounds --------------------------------------------------------------------------------------


def test_ids_start_at_1_and_have_no_holes() -> None:
    log = a_log()
    assert (log.newest, log.oldest, str(log.cursor())) == (0, 1, "0@k3f9")
    assert [log.append("x", 7) for _ in range(3)] == [Event(1, "x", 7), Event(2, "x", 7), Event(3, "x", 7)]
    assert (log.newest, log.oldest, str(log.cursor())) == (3, 1, "3@k3f9")
    assert log.cursor(2) == Cursor(2, "k3f9")


@pytest.mark.parametrize(
    ("data", "size"), [("", 0), ("abc", 3), ("é", 2), ("한", 3), ("𝄞", 4), (b"", 0), (b"\0\xff", 2), ("\u2028", 3)]
)
def test_sizes_are_those_on_the_wire(data: str | bytes, size: int) -> None:
    assert size_bytes(data) == size == Event(1, data, 0).size_bytes


def test_history_is_bounded_by_count() -> None:
    log = a_log(10, max_events=4)
    assert (log.oldest, log.newest) == (7, 10)
    assert ids(log.after(0)) == [7, 8, 9, 10]


def test_history_is_bounded_by_bytes_of_utf_8() -> None:
    log = EventLog(max_bytes=10)
    for _ in range(5):
        log.append("한", 0)
    assert ids(log.after(0)) == [3, 4, 5] and log.held_bytes == 9


def test_the_newest_event_is_held_however_large_it_is() -> None:
    log = EventLog(max_bytes=10)
    log.append("x", 0)
    log.append("y" * 100, 0)
    assert ids(log.after(0)) == [2] and log.held_bytes == 100
    log.append("z", 0)
    assert ids(log.after(0)) == [3] and log.held_bytes == 1


def test_what_is_pinned_is_held_beyond_the_bounds_until_it_is_let_go() -> None:
    log = a_log(4, max_events=4)
    log.pin(2)
    for _ in range(10):
        log.append("x", 0)
    assert (log.oldest, log.newest) == (3, 14)
    log.pin(8)
    assert log.oldest == 9
    log.pin(None)
    assert log.oldest == 11
    log.pin(14)
    assert log.oldest == 11, "a pin holds events, it does not drop any"


# -- after, since --------------------------------------------------------------------------------------------------


@given(st.integers(0, 30), st.integers(1, 10), st.integers(0, 40), st.none() | st.integers(0, 40), st.integers(1, 40))
def test_after_is_what_a_filter_of_all_that_is_held_gives(
    count: int, held: int, n: int, upto: int | None, limit: int
) -> None:
    log = a_log(count, max_events=held)
    expected = [i for i in range(max(1, count - held + 1), count + 1) if i > n and (upto is None or i <= upto)]
    assert ids(log.after(n, upto=upto, limit=limit)) == expected[:limit]


@pytest.mark.parametrize(
    ("cursor", "page_ids"),
    [
        ("6@k3f9", [7, 8, 9, 10]),
        ("6", [7, 8, 9, 10]),
        ("9@k3f9", [10]),
        ("10@k3f9", []),
        ("10", []),
        ("0", [7, 8, 9, 10]),
    ],
)
def test_a_cursor_that_can_be_continued_from_has_no_gap(cursor: str, page_ids: list[int]) -> None:
    page = a_log(10, max_events=4).since(Cursor.parse(cursor))
    assert page.gap is None and ids(page.events) == page_ids and page.cursor == "10@k3f9"


@pytest.mark.parametrize(
    "cursor", ["5@k3f9", "5", "0@k3f9", "1", "11@k3f9", "11", "999", "8@zzzz", "0@zzzz", "10@zzzz"]
)
def test_any_other_is_a_gap_and_goes_on_from_the_oldest_held(cursor: str) -> None:
    page = a_log(10, max_events=4).since(Cursor.parse(cursor))
    assert page.gap == Gap(cursor, 7, "6@k3f9")
    assert ids(page.events) == [7, 8, 9, 10] and page.cursor == "10@k3f9"


def test_going_on_from_a_gaps_cursor_is_no_gap() -> None:
    log = a_log(10, max_events=4)
    gap = log.since(Cursor(1, "zzzz")).gap
    assert gap is not None
    assert log.since(Cursor.parse(gap.cursor)) == Page(None, log.after(6), "10@k3f9")


@pytest.mark.parametrize(("cursor", "is_gap"), [("0", False), ("0@k3f9", False), ("1", True), ("0@zzzz", True)])
def test_an_empty_log_names_1_as_next(cursor: str, is_gap: bool) -> None:
    page = a_log().since(Cursor.parse(cursor))
    assert page == Page(Gap(cursor, 1, "0@k3f9") if is_gap else None, [], "0@k3f9")


@given(
    st.lists(st.integers(0, 9), max_size=12), st.integers(0, 12), st.integers(1, 20), st.integers(1, 12), st.booleans()
)
def test_pages_from_any_cursor_are_all_that_is_held_in_order_within_their_bound(
    sizes: list[int], after: int, max_bytes: int, max_events: int, foreign: bool
) -> None:
    log = EventLog(epoch="k3f9", max_events=max_events)
    for size in sizes:
        log.append("x" * size, 0)
    whole = log.since(cursor := Cursor(after, "zzzz" if foreign else "k3f9"))
    page = log.since(cursor, max_bytes=max_bytes)
    assert page.gap == whole.gap
    events = list(page.events)
    while page.more:
        assert len(page.events) == 1 or sum(e.size_bytes for e in page.events) <= max_bytes
        page = log.since(Cursor.parse(page.cursor), max_bytes=max_bytes)
        assert page.events and page.gap is None
        assert events[-1].size_bytes + page.events[0].size_bytes > 0
        events += page.events
    assert events == whole.events and page.cursor == whole.cursor and not whole.more


def test_a_page_is_as_full_as_can_be_and_a_larger_event_comes_alone() -> None:
    log = EventLog(epoch="k3f9")
    for size in (4, 6, 1, 11, 10, 0, 0):
        log.append("x" * size, 0)
    pages, cursor = [], Cursor(0)
    while not pages or pages[-1].more:
        pages.append(log.since(cursor, max_bytes=10))
        cursor = Cursor.parse(pages[-1].cursor)
    assert [ids(page.events) for page in pages] == [[1, 2], [3], [4], [5, 6, 7]]


def test_conflated_it_is_the_newest_of_all_that_is_held() -> None:
    page = a_log(10, max_events=4).since(Cursor(1), max_bytes=1, conflate=True)
    assert (ids(page.events), page.cursor, page.more, page.conflated) == ([10], "10@k3f9", False, 3)
    assert page.gap == Gap("1", 7, "6@k3f9")
    assert a_log(3).since(Cursor(3), conflate=True) == Page(None, [], "3@k3f9")


def test_what_is_let_go_is_the_oldest_the_newest_too_and_nothing_above_a_pin() -> None:
    log = a_log(6)
    cost = log.cost_bytes // 6
    log.let_go(6, cost + 1)
    assert log.oldest == 3
    log.let_go(3, 100 * cost)
    assert log.oldest == 4
    log.pin(4)
    log.let_go(6, 100 * cost)
    assert log.oldest == 5 and log.cost_bytes == 2 * cost
    log.pin(None)
    log.let_go(6, 100 * cost)
    assert (log.oldest, log.newest, log.cost_bytes, log.after(0)) == (7, 6, 0, [])
    assert log.append("x", 0).id == 7 and log.since(Cursor(5, "k3f9")).gap == Gap("5@k3f9", 7, "6@k3f9")


def test_a_foreign_cursor_is_always_a_gap_that_says_what_was_received() -> None:
    page = a_log(3).since(Cursor.foreign("what?"))
    assert page.gap == Gap("what?", 1, "0@k3f9") and ids(page.events) == [1, 2, 3]


def test_0_at_the_epoch_is_a_gap_once_the_first_event_is_gone() -> None:
    assert a_log(4, max_events=4).since(Cursor(0, "k3f9")).gap is None
    assert a_log(5, max_events=4).since(Cursor(0, "k3f9")).gap == Gap("0@k3f9", 2, "1@k3f9")


# -- threads -------------------------------------------------------------------------------------------------------


def test_threads_that_append_at_once_leave_no_hole() -> None:
    log = EventLog(max_events=100_000)
    given: list[list[int]] = [[] for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=lambda mine=mine: mine.extend(log.append("x", 0).id for _ in range(2000)))
            for mine in given
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            page = log.since(Cursor(0))
            assert ids(page.events) == list(range(1, len(page.events) + 1))
            assert page.cursor == f"{len(page.events)}@{log.epoch}"
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert sorted(id for mine in given for id in mine) == list(range(1, 8001))
    assert all(mine == sorted(mine) for mine in given)
