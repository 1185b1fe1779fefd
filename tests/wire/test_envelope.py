"""The JSON that carries events, cursors and gaps, both ways, and bodies that are not ours."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.wire.envelope import (
    Answer,
    Closing,
    Received,
    Start,
    answer,
    decode,
    decode_answer,
    encode,
    event_json,
    told_binary,
)
from labkit.wire.events import ID_LIMIT, Cursor, Event, EventLog, Gap, Page

GAP = Gap("17@k3f9", 42, "41@p7q2")

ITEMS = [
    (Event(17, "hello", 5), '{"id":17,"data":"hello"}', Received(17, "hello")),
    (Event(1, "", 5), '{"id":1,"data":""}', Received(1, "")),
    (Event(2, '안녕 "\\\u2028', 5), '{"id":2,"data":"안녕 \\"\\\\\u2028"}', Received(2, '안녕 "\\\u2028')),
    (Event(3, "a\r\n\0b", 5), '{"id":3,"data":"a\\r\\n\\u0000b"}', Received(3, "a\r\n\0b")),
    (Event(4, b"\x00\xff", 5), '{"id":4,"base64":"AP8="}', Received(4, b"\x00\xff")),
    (Event(5, b"", 5), '{"id":5,"base64":""}', Received(5, b"")),
    (Start("17@k3f9"), '{"cursor":"17@k3f9"}', Start("17@k3f9")),
    (GAP, '{"gap":{"after":"17@k3f9","next":42},"cursor":"41@p7q2"}', GAP),
    (Closing("slow subscriber"), '{"closing":"slow subscriber"}', Closing("slow subscriber")),
]


@pytest.mark.parametrize(("item", "text", "value"), ITEMS)
def test_an_item_has_exactly_this_json_and_comes_back(item, text: str, value) -> None:
    assert encode(item) == text
    assert decode(text) == decode(text.encode()) == value
    json.loads(text)


def test_a_gap_keeps_the_cursor_as_it_was_received() -> None:
    odd = Gap("not a cursor \u2603", 1, "0@k3f9")
    assert decode(encode(odd)) == odd


PAGES = [
    (Page(None, [], "0@k3f9"), '{"events":[],"cursor":"0@k3f9"}', Answer((), "0@k3f9")),
    (
        Page(None, [Event(1, "a", 5), Event(2, b"b", 5)], "2@k3f9"),
        '{"events":[{"id":1,"data":"a"},{"id":2,"base64":"Yg=="}],"cursor":"2@k3f9"}',
        Answer((Received(1, "a"), Received(2, b"b")), "2@k3f9"),
    ),
    (
        Page(GAP, [Event(42, "a", 5)], "42@p7q2"),
        '{"events":[{"id":42,"data":"a"}],"cursor":"42@p7q2","gap":{"after":"17@k3f9","next":42}}',
        Answer((Received(42, "a"),), "42@p7q2", GAP),
    ),
    (
        Page(GAP, [], "41@p7q2"),
        '{"events":[],"cursor":"41@p7q2","gap":{"after":"17@k3f9","next":42}}',
        Answer((), "41@p7q2", GAP),
    ),
    (
        Page(None, [Event(1, "a", 5)], "1@k3f9", more=True),
        '{"events":[{"id":1,"data":"a"}],"cursor":"1@k3f9","more":true}',
        Answer((Received(1, "a"),), "1@k3f9", more=True),
    ),
    (
        Page(GAP, [Event(42, "a", 5)], "42@p7q2", more=True),
        '{"events":[{"id":42,"data":"a"}],"cursor":"42@p7q2","more":true,"gap":{"after":"17@k3f9","next":42}}',
        Answer((Received(42, "a"),), "42@p7q2", GAP, more=True),
    ),
]


@pytest.mark.parametrize(("page", "text", "value"), PAGES)
def test_an_answer_has_exactly_this_json_and_comes_back(page: Page, text: str, value: Answer) -> None:
    assert answer(page) == text
    assert decode_answer(text) == decode_answer(text.encode()) == value
    json.loads(text)


def test_an_answer_takes_events_that_are_already_encoded() -> None:
    held = {1: '{"id":1,"data":"held"}'}
    page = Page(None, [Event(1, "a", 5)], "1@k3f9")
    assert answer(page, render=lambda event: held[event.id]) == '{"events":[{"id":1,"data":"held"}],"cursor":"1@k3f9"}'


def test_the_gap_of_an_answer_lies_just_before_its_first_event() -> None:
    log = EventLog(epoch="p7q2", max_events=3)
    for n in range(5):
        log.append(f"{n}", 0)
    page = log.since(Cursor(1, "p7q2"))
    assert decode_answer(answer(page)).gap == page.gap == Gap("1@p7q2", 3, "2@p7q2")


FOREIGN = [
    "",
    " ",
    "hello",
    "17",
    "null",
    "true",
    "[]",
    '"17@k3f9"',
    "{}",
    '{"id":17}',
    '{"id":17,"data":"a"',
    '{"id":17,"data":"a"}{"id":18,"data":"b"}',
    '{"id":17,"data":"a","extra":1}',
    '{"id":17,"id":18,"data":"a"}',
    '{"id":17,"data":"a","data":"b"}',
    '{"id":"17","data":"a"}',
    '{"id":17.0,"data":"a"}',
    '{"id":true,"data":"a"}',
    '{"id":false,"data":"a"}',
    '{"id":0,"data":"a"}',
    '{"id":-1,"data":"a"}',
    '{"id":' + "9" * 5000 + ',"data":"a"}',
    '{"id":17,"data":1}',
    '{"id":17,"data":null}',
    '{"id":17,"data":NaN}',
    '{"id":17,"data":{"a":"b"}}',
    '{"id":17,"data":"\\ud800"}',
    '{"id":17,"data":"a\nb"}',
    '{"id":17,"data":"a","base64":"AA=="}',
    '{"id":17,"base64":"A"}',
    '{"id":17,"base64":"AA"}',
    '{"id":17,"base64":"A A="}',
    '{"id":17,"base64":"A A=="}',
    '{"id":17,"base64":"가"}',
    '{"id":17,"base64":5}',
    '{"cursor":"17"}',
    '{"cursor":"x@k3f9"}',
    '{"cursor":17}',
    '{"cursor":"17@k3f9","more":1}',
    '{"gap":{"after":"17@k3f9","next":42}}',
    '{"gap":{"after":"17@k3f9","next":0},"cursor":"41@p7q2"}',
    '{"gap":{"after":"17@k3f9","next":true},"cursor":"41@p7q2"}',
    '{"gap":{"after":17,"next":42},"cursor":"41@p7q2"}',
    '{"gap":{"after":"17@k3f9","next":42,"more":1},"cursor":"41@p7q2"}',
    '{"gap":{"after":"17@k3f9","next":42},"cursor":41}',
    '{"gap":{"after":"17@k3f9","next":42},"cursor":"41@p7q2","more":1}',
    '{"gap":null,"cursor":"41@p7q2"}',
    '{"closing":1}',
    '{"closing":"x","more":1}',
    '{"published":18,"ref":1}',
    "\ufeff" + '{"id":17,"data":"a"}',
    "[" * 100_000,
    '{"a":' * 100_000,
]


@pytest.mark.parametrize("text", FOREIGN, ids=lambda text: text[:60])
def test_what_is_not_ours_is_none_and_never_an_error(text: str) -> None:
    assert decode(text) is None
    assert decode_answer(text) is None


@pytest.mark.parametrize("raw", [b"\xff", b'{"id":1,"data":"\xff"}', '{"id":1,"data":"a"}'.encode("utf-16")])
def test_bytes_that_are_not_utf_8_are_not_ours(raw: bytes) -> None:
    assert decode(raw) is None
    assert decode_answer(raw) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"events":[]}',
        '{"events":{},"cursor":"1@k3f9"}',
        '{"events":[],"cursor":"1"}',
        '{"events":[],"cursor":1}',
        '{"events":[1],"cursor":"1@k3f9"}',
        '{"events":[{"id":1,"data":"a"},{"id":2}],"cursor":"2@k3f9"}',
        '{"events":[{"id":1,"id":1,"data":"a"}],"cursor":"1@k3f9"}',
        '{"events":[],"cursor":"1@k3f9","most":1}',
        '{"events":[{"id":1,"data":"a"}],"cursor":"1@k3f9","more":1}',
        '{"events":[{"id":1,"data":"a"}],"cursor":"1@k3f9","more":false}',
        '{"events":[],"cursor":"1@k3f9","more":true}',  # asked again at once, that would have no end
        '{"events":[],"cursor":"1@k3f9","gap":null}',
        '{"events":[],"cursor":"1@k3f9","gap":{"after":"1","next":0}}',
        '{"events":[],"events":[],"cursor":"1@k3f9"}',
    ],
)
def test_an_answer_that_is_not_exactly_ours_is_none(text: str) -> None:
    assert decode_answer(text) is None


def test_items_and_answers_are_not_taken_for_each_other() -> None:
    assert all(decode_answer(text) is None for _, text, _ in ITEMS)
    assert all(decode(text) is None for _, text, _ in PAGES)


no_surrogates = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ids = st.integers(1, ID_LIMIT - 1)
events = st.builds(Event, ids, no_surrogates | st.binary(max_size=30), st.just(0))
cursors = st.builds(Cursor, st.integers(0, 10**19 - 1), st.from_regex(r"[a-z0-9]{4,12}", fullmatch=True)).map(str)
items = st.one_of(
    events, st.builds(Start, cursors), st.builds(Gap, no_surrogates, ids, cursors), st.builds(Closing, no_surrogates)
)


@given(items)
def test_items_come_back_and_fit_one_line(item) -> None:
    text = encode(item)
    assert not set("\n\r\0") & set(text)
    back = Received(item.id, item.data) if isinstance(item, Event) else item
    assert decode(text) == decode(text.encode()) == back


@given(events)
def test_event_json_is_what_the_json_module_writes_compactly(event: Event) -> None:
    if isinstance(event.data, str):
        expected = json.dumps({"id": event.id, "data": event.data}, ensure_ascii=False, separators=(",", ":"))
        assert event_json(event) == expected


@given(st.lists(events, max_size=4), cursors)
def test_answers_come_back(held, cursor: str) -> None:
    got = decode_answer(answer(Page(None, held, cursor)))
    assert got == Answer(tuple(Received(e.id, e.data) for e in held), cursor)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.sampled_from(["17@k3f9", "AA=="]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["id", "data", "base64", "cursor", "gap", "after", "next", "closing", "events"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@given(json_values | st.binary(max_size=20) | st.text(max_size=20))
def test_nothing_foreign_raises(value) -> None:
    text = value if isinstance(value, bytes) else json.dumps(value)
    decode(text)
    decode_answer(text)


@pytest.mark.parametrize(("first", "is_ours"), [(b"\x7f", True), (b"\x80", False)])
def test_a_binary_message_whose_id_no_table_holds_is_somebody_elses(first: bytes, is_ours: bool) -> None:
    raw = first + b"\xff" * 7 + b"data"
    value, runs = told_binary(raw)
    assert value == (Received(ID_LIMIT - 1, b"data") if is_ours else None)
    assert sum(run[0] for run in runs) == len(raw)


@pytest.mark.parametrize("text", ['{"id":%d,"data":"x"}', '{"gap":{"after":"1@abcd","next":%d},"cursor":"1@abcd"}'])
def test_ids_end_where_no_table_holds_them(text: str) -> None:
    assert decode(text % (ID_LIMIT - 1)) is not None
    assert decode(text % ID_LIMIT) is None
