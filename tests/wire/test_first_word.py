"""Whose words: a lab is known by how it begins, and nobody is taken for one by what he says later."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.wire.bodies import Told, reading_of
from labkit.wire.delimited import Delimited
from labkit.wire.envelope import Answer, Closing, Received, Start
from labkit.wire.event_stream import EventStreamDecoder, StreamEvent
from labkit.wire.events import Gap
from labkit.wire.first_word import Blocks, Messages, Words, answers
from labkit.wire.fragments import Message

START, GAP = b'{"cursor":"0@abcd"}', b'{"gap":{"after":"9@zzzz","next":1},"cursor":"0@abcd"}'
EVENT, END = b'{"id":1,"data":"x"}', b'{"closing":"slow subscriber"}'


@pytest.mark.parametrize("first", [START, GAP])
def test_who_begins_as_a_lab_is_one_to_the_end(first: bytes) -> None:
    words = Words()
    said = [words(raw)[0] for raw in (first, EVENT, b"theirs", END)]
    assert said[1:] == [Received(1, "x"), None, Closing("slow subscriber")] and words.is_lab is True


@pytest.mark.parametrize("first", [EVENT, END, b"hello", b'{"cursor":"17"}', b'{"cursor":"a@abcd"}'])
def test_who_begins_otherwise_is_somebody_else_whatever_he_says_later(first: bytes) -> None:
    words = Words()
    for raw in (first, START, GAP, EVENT, END):
        value, runs = words(raw)
        assert value is None and [run[:2] for run in runs] == [(len(raw), "payload")]
        assert runs[0][3] is not None and runs[0][3].wire_id is None, "an event, and its id is not looked for"
    assert words.is_lab is False


def test_whoever_was_asked_for_no_cursor_has_no_gap_to_tell() -> None:
    for words in (Words(goes_on=False), Messages(goes_on=False)):
        assert words(GAP)[0] is None and words.is_lab is False
    assert isinstance(Words(goes_on=False)(START)[0], Start)
    told = Blocks(goes_on=False)
    assert isinstance(EventStreamDecoder(tell=told).feed(b"event: gap\ndata: " + GAP + b"\n\n")[0], StreamEvent)
    assert told.is_lab is False


def test_lines_of_somebody_elses_are_handed_over_as_they_came() -> None:
    items = Told(Delimited()).items(EVENT + b"\n" + START + b"\n")
    assert [value for value, _ in items] == [EVENT, START]


def test_the_first_answer_to_a_poll_is_its_server_s_word() -> None:
    ours = b'{"events":[],"cursor":"0@abcd"}'
    lab, other = answers(), answers()
    assert isinstance(lab(ours)[0], Answer) and lab(b"<html>")[0] is None and isinstance(lab(ours)[0], Answer)
    assert other(b'{"events":[]}')[0] is None and other(ours)[0] is None


@pytest.mark.parametrize("with_id", [False, True])
def test_binary_messages_have_ids_only_from_a_lab_that_was_asked_for_them(with_id: bool) -> None:
    raw = Message(False, b"\0\0\0\0\0\0\0\x07hi")
    lab, other = Messages(with_id=with_id), Messages(with_id=with_id)
    assert lab.message(Message(True, START.decode()))[0] == Start("0@abcd")
    assert lab.message(raw)[0] == (Received(7, b"hi") if with_id else None)
    assert [other.message(m)[0] for m in (raw, Message(True, START.decode()), raw)] == [None] * 3


def blocks(*wire: bytes) -> tuple[list[Any], bool | None]:
    """What the blocks of a stream say, and whose it is; byte by byte, since cuts mean nothing."""
    told = Blocks()
    decoder = EventStreamDecoder(tell=told)
    joined = b"".join(wire)
    items = [item for i in range(len(joined)) for item in decoder.items(joined[i : i + 1])]
    return [value for value, _ in items if value is not None], told.is_lab


OURS = b'event: json\nid: 8@k3f9\ndata: {"id":8,"data":"\\r"}\n\n', b'event: closing\ndata: {"closing":"x"}\n\n'


@pytest.mark.parametrize(
    ("first", "word"),
    [
        (b"id: 7@k3f9\n\n", Start("7@k3f9")),
        (b": hi\n\nid: 7@k3f9\n\n", Start("7@k3f9")),
        (
            b'event: gap\nid: 7@k3f9\ndata: {"gap":{"after":"1@zzzz","next":8},"cursor":"7@k3f9"}\n\n',
            Gap("1@zzzz", 8, "7@k3f9"),
        ),
    ],
)
def test_an_event_stream_that_begins_with_a_lab_s_cursor_or_gap_is_a_lab_s(first: bytes, word: object) -> None:
    said, is_lab = blocks(first, *OURS)
    assert said == [word, Received(8, "\r"), Closing("x")] and is_lab is True


@pytest.mark.parametrize(
    "first",
    [b"data: x\n\n", b"id: 7\n\n", b"id: 7@k3f9\ndata: x\n\n", b"event: gap\ndata: between the trains\n\n", *OURS],
)
def test_an_event_stream_that_begins_otherwise_keeps_its_own_types_and_ids(first: bytes) -> None:
    said, is_lab = blocks(first, b"id: 9@k3f9\n\n", *OURS)
    assert all(isinstance(each, StreamEvent) for each in said) and is_lab is False
    assert [(each.type, each.wire_id) for each in said[-2:]] == [("json", "8@k3f9"), ("closing", None)]


def test_bodies_that_others_exchanged_are_read_by_the_same_rule() -> None:
    for kind, ours in (("application/x-ndjson", EVENT + b"\n"), ("text/event-stream", OURS[0])):
        assert not isinstance(reading_of(kind).items(ours)[0][0], Received)
