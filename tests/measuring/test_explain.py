"""Explanations: which bytes of which hop belong to one event, and what is said when that is not known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from feeding import assert_cost_is_linear
from labkit import charts
from labkit.client.ledger import ConnectionRecord, Ledger
from labkit.errors import LabkitError, UnknownTechnique
from labkit.measuring.explain import Explanation, Passage
from labkit.measuring.run import Run
from labkit.wire.spans import Mark, Sighting
from marking import mark
from natures import told

MS = 1_000_000
T0 = 5_000_000_000
CLIENT, RELAY = ("127.0.0.1", 40_000), ("127.0.0.1", 50_000)
HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
GET = b"GET /sse HTTP/1.1\r\n\r\n"


def row(event_id: int, at_ms: float, technique: str = "sse", **other: Any) -> dict[str, Any]:
    known = {"due_ns": T0, "published_ns": T0 + MS, "received_ns": T0 + round(at_ms * MS)}
    named = {"technique": technique, "event_id": event_id, "subscriber": 0, "topic": ""}
    return named | known | other


def run_of(rows: list[dict[str, Any]], ledger: Ledger, n: int = 3, **settings: Any) -> Run:
    published = {("", i): None for i in range(1, n + 1)}
    return Run(rows, published, ledger, told({"techniques": ["sse"]} | settings))


def connect(ledger: Ledger, technique: str = "sse", port: int = 40_000, subscriber: int = 0) -> ConnectionRecord:
    return ledger.opened(technique, subscriber, local=("127.0.0.1", port), remote=RELAY, t_ns=T0 - 100 * MS)


def read(record: ConnectionRecord, at_ms: float, data: bytes, *marks: tuple[int, str, str, int | None]) -> None:
    """One read, and what its bytes are: (how many, category, label, event)."""
    start = record.carried_in
    record.transferred("in", data, T0 + round(at_ms * MS))
    for size, category, label, event_id in marks:
        mark(record, "in", start, start + size, category, label, event_id)  # type: ignore[arg-type]
        start += size


def write(record: ConnectionRecord, at_ms: float, data: bytes, label: str = "GET /sse") -> None:
    start = record.carried_out
    record.transferred("out", data, T0 + round(at_ms * MS))
    mark(record, "out", start, start + len(data), "headers", label)


def stream(ledger: Ledger, n: int = 3, **where: Any) -> ConnectionRecord:
    """A subscription: its request, the head of the answer, an event every 10 ms from 50 ms on."""
    record = connect(ledger, **where)
    write(record, -90, GET)
    read(record, -50, HEAD, (19, "headers", "200, headers", None))
    for i in range(1, n + 1):
        data = b"c\r\n" + b"data: ev-%d\n\n" % i + b"\r\n"
        marks = [(3, "framing", "chunk", None), (6, "framing", "data:", i), (4, "payload", f"event {i}", i)]
        read(record, 40 + 10 * i, data, *marks, (2, "framing", "end", i), (2, "framing", "chunk", None))
    return record


def relay(ledger: Ledger, client: ConnectionRecord, name: str = "link", delay_ms: float = 20) -> None:
    """A relay's two records of a client's connection, as a relay puts them down."""
    mine: dict[str, Any] = {"technique": "", "subscriber": 0, "t_ns": client.opened_ns}
    near = ledger.opened(**mine, local=client.remote, remote=client.local, hop=f"{name}.near")
    far = ledger.opened(**mine, local=("127.0.0.1", 40_777), remote=("127.0.0.1", 80), hop=f"{name}.far")
    for t in client.transfers:
        sign = 1 if t.direction == "out" else -1
        near.transferred(t.direction, t.data, t.t_ns + sign * MS)
        far.transferred(t.direction, t.data, t.t_ns + sign * round(delay_ms * MS))


def parts(passage: Passage) -> list[tuple[str, bytes, bool]]:
    return [(part.category, part.data, part.own) for part in passage.parts]


def only(explanation: Explanation) -> tuple[Passage, ...]:
    (story,) = explanation.stories
    return story.passages


def times(passage: Passage) -> list[tuple[float, str, str]]:
    return [(step.t_ms, step.hop, step.verb) for step in passage.steps]


EVENT_2 = [
    ("framing", b"c\r\n", False),
    ("framing", b"data: ", True),
    ("payload", b"ev-2", True),
    ("framing", b"\n\n", True),
    ("framing", b"\r\n", False),
]


# Which bytes


def test_the_request_that_opened_a_stream_its_head_and_the_chunk_of_the_event() -> None:
    ledger = Ledger()
    stream(ledger)
    asked, head, came = only(run_of([row(1, 50), row(2, 60), row(3, 70)], ledger).explain(2))
    assert (asked.name, asked.direction, times(asked)) == ("request", "out", [(-90, "client", "wrote")])
    assert parts(asked) == [("headers", GET, False)]
    assert (head.name, times(head), parts(head)) == (
        "head of the answer", [(-50, "client", "read")], [("headers", HEAD, False)],
    )  # fmt: skip
    assert (came.name, came.start, came.events, times(came)) == ("chunk", 36, ("2",), [(60, "client", "read")])
    assert parts(came) == EVENT_2


def test_each_passage_once_with_both_sides_of_each_hop_in_the_order_of_time() -> None:
    ledger = Ledger()
    relay(ledger, stream(ledger))
    asked, _, came = only(run_of([row(2, 60)], ledger).explain(2))
    assert times(asked) == [(-90, "client", "wrote"), (-89, "link.near", "read"), (-70, "link.far", "wrote")]
    assert times(came) == [(40, "link.far", "read"), (59, "link.near", "wrote"), (60, "client", "read")]
    assert parts(came) == EVENT_2


def test_two_relays_in_a_row() -> None:
    ledger = Ledger()
    client = stream(ledger)
    relay(ledger, client, "a")
    ledger.connections[-1].local = ("127.0.0.1", 41_000)
    relay(ledger, ledger.connections[-1], "b")
    came = only(run_of([row(2, 60)], ledger).explain(2))[-1]
    assert [hop for _, hop, _ in times(came)] == ["b.far", "b.near", "a.far", "a.near", "client"]


def test_a_relay_is_found_by_port_and_time() -> None:
    ledger = Ledger()
    earlier = stream(ledger, technique="polling")
    earlier.opened_ns -= 10_000 * MS
    relay(ledger, earlier, delay_ms=1)
    other = stream(ledger, port=40_001, subscriber=1)
    for record in (other, stream(ledger)):
        relay(ledger, record)
    for number, record in enumerate(r for r in ledger.connections if r.hop.startswith("link")):
        record.subscriber = number // 2
    ledger.connections.sort(key=lambda r: -r.subscriber if r.hop == "link.far" else 0)  # dialled in another order
    asked, _, came = only(run_of([row(2, 60)], ledger).explain(2))
    assert [t_ms for p in (asked, came) for t_ms, hop, _ in times(p) if hop == "link.far"] == [-70, 40]


def test_the_charged_handshake_is_said_in_words() -> None:
    ledger = Ledger()
    relay(ledger, stream(ledger))
    ledger.connections[-1].opened_ns += 15 * MS
    told = run_of([row(2, 60)], ledger).explain(2)
    asked, _, came = only(told)
    said = [step.remark for step in asked.steps]
    assert said[:2] == ["", ""] and "held until the far side was opened, 15.0 ms after the near one" in said[2]
    assert not any(step.remark for step in came.steps)
    assert "The handshake is charged: " in told.text


def test_an_event_split_over_reads_and_writes() -> None:
    ledger = Ledger()
    record = connect(ledger)
    read(record, 10, b"data: pa")
    read(record, 30, b"yload\n\n")
    mark(record, "in", 0, 6, "framing", "data:", 1)
    mark(record, "in", 6, 13, "payload", "event 1", 1)
    mark(record, "in", 13, 15, "framing", "end", 1)
    (came,) = only(run_of([row(1, 30)], ledger).explain(1))
    assert times(came) == [(30, "client", "read")] and came.steps[0].sentence.endswith("client read, in 2 reads")
    assert parts(came)[1] == ("payload", b"payload", True)


POLLED = HEAD + b"[e1,e2]"


def polled(ledger: Ledger) -> ConnectionRecord:
    """A poll whose answer has two events, and the next poll, written before that answer came."""
    record = connect(ledger, "long-polling")
    write(record, -90, b"GET 1", "GET /long-polling")
    write(record, 1, b"GET 2", "GET /long-polling")
    marks = [(19, "headers", "200, headers", None), (1, "envelope", "JSON", None), (2, "payload", "event 1", 1)]
    more = [(1, "envelope", "JSON", None), (2, "payload", "event 2", 2), (1, "envelope", "JSON", None)]
    read(record, 20, POLLED, *marks, *more)
    read(record, 30, HEAD + b"[]", (19, "headers", "200, headers", None), (2, "envelope", "JSON", None))
    return record


@pytest.mark.parametrize("event_id", [1, 2])
def test_of_a_poll_request_and_answer_are_whole_whichever_of_its_events_is_meant(event_id: int) -> None:
    ledger = Ledger()
    polled(ledger)
    run = run_of([row(i, 20, "long-polling") for i in (1, 2)], ledger, techniques=["long-polling"])
    asked, answer = only(run.explain(event_id))
    assert (asked.name, asked.data) == ("request", b"GET 1")
    assert (answer.name, answer.data, answer.events) == ("answer", POLLED, ("1", "2"))
    assert [part.data for part in answer.parts if part.own] == [b"e%d" % event_id]
    assert "2 events share it: 1, 2" in run.explain(event_id).text


def test_a_chunk_that_events_share_is_whole_and_its_neighbours_are_not_in_it() -> None:
    ledger = Ledger()
    record = stream(ledger, n=1)
    data = b"4\r\ne2e3\r\n1\r\n"
    ends = [(2, "payload", "event 3", 3), (5, "framing", "chunk", None)]
    read(record, 60, data, (3, "framing", "chunk", None), (2, "payload", "event 2", 2), *ends)
    read(record, 70, b"x\r\n", (1, "payload", "event 4", 4), (2, "framing", "chunk", None))
    run = run_of([row(i, 60) for i in (2, 3)] + [row(4, 70)], ledger, n=4)
    for event_id in (2, 3):
        came = only(run.explain(event_id))[-1]
        assert (came.data, came.events) == (b"4\r\ne2e3\r\n", ("2", "3"))
    assert only(run.explain(4))[-1].data == b"1\r\nx\r\n"


def test_a_chunk_of_which_the_end_comes_later_is_timed_by_the_event() -> None:
    ledger = Ledger()
    record = stream(ledger, n=0)
    read(record, 60, b"2\r\nev", (3, "framing", "chunk", None), (2, "payload", "event 1", 1))
    read(record, 90, b"\r\n", (2, "framing", "chunk", None))
    came = only(run_of([row(1, 60)], ledger).explain(1))[-1]
    assert (came.data, times(came)) == (b"2\r\nev\r\n", [(60, "client", "read")])


def test_an_event_in_two_chunks_has_both() -> None:
    ledger = Ledger()
    record, event = stream(ledger, n=0), Sighting("1", 1)
    read(record, 60, b"1\r\ne\r\n1\r\nv\r\n", (3, "framing", "chunk", None))
    ranges = [
        (22, 23, "payload", event),
        (23, 28, "framing", None),
        (28, 29, "payload", event),
        (29, 31, "framing", None),
    ]
    record.mark_all([Mark("in", a, b, category, "chunk", event) for a, b, category, event in ranges])  # type: ignore[arg-type]
    came = only(run_of([row(1, 60)], ledger).explain(1))[-1]
    assert (came.name, came.data) == ("chunks", b"1\r\ne\r\n1\r\nv\r\n")


def test_a_frame_has_its_header_and_not_the_next_one_s() -> None:
    ledger = Ledger()
    record = connect(ledger, "websocket")
    header, rest = (2, "framing", "text frame header", None), (1, "envelope", "JSON", None)
    read(record, 10, b"H1a}H2b}", *[m for i in (1, 2) for m in (header, (1, "payload", f"event {i}", i), rest)])
    run = run_of([row(i, 10, "websocket") for i in (1, 2)], ledger, techniques=["websocket"])
    assert [only(run.explain(i))[-1].data for i in (1, 2)] == [b"H1a}", b"H2b}"]


def test_a_line_has_its_end_and_not_the_heartbeat_behind_it() -> None:
    ledger = Ledger()
    record = connect(ledger, "plugin-socket")
    end = (1, "framing", "NUL", None)
    read(record, 10, b"e1}00", (2, "payload", "event 1", 1), (1, "envelope", "JSON", None), end, end)
    run = run_of([row(1, 10, "plugin-socket")], ledger, techniques=["plugin-socket"])
    assert only(run.explain(1))[-1].data == b"e1}0"


def test_an_event_of_many_lines_costs_what_their_number_does() -> None:
    def prepared(size: int) -> Callable[[], object]:
        ledger = Ledger(keep_bytes=1 << 30)
        record = connect(ledger)
        line = (6, "framing", "data:", 1), (1, "payload", "event 1", 1), (1, "framing", "line end", 1)
        read(record, 10, b"data: x\n" * size, *line * size)
        return partial(run_of([row(1, 10)], ledger).explain, 1)

    assert_cost_is_linear(prepared, 300)


def test_bytes_that_no_mark_names_are_shown_as_unmarked() -> None:
    ledger = Ledger()
    record = connect(ledger)
    read(record, 10, b"\x00\x01payload")
    mark(record, "in", 2, 4, "payload", "event 1", 1)
    mark(record, "in", 7, 9, "payload", "event 1", 1)
    (came,) = only(run_of([row(1, 10)], ledger).explain(1))
    assert parts(came) == [("payload", b"pa", True), ("unmarked", b"ylo", False), ("payload", b"ad", True)]


def test_a_rewritten_stream_shows_its_payload_alone() -> None:
    ledger = Ledger()
    client = stream(ledger)
    relay(ledger, client)
    far = ledger.connections[-1]
    far.transfers.clear()
    far.carried_in = 0
    far.transferred("in", b"another head, " + b"data: ev-1\n\ndata: ev-2\n\n", T0 + 30 * MS)
    (story,) = run_of([row(2, 60)], ledger).explain(2).stories
    there = story.passages[-1]
    assert (there.name, times(there), parts(there)) == (
        "payload on link.far", [(30, "link.far", "read")], [("payload", b"ev-2", True)],
    )  # fmt: skip
    assert any("link.far carries another stream" in note for note in story.notes)


def test_ids_of_several_topics_are_told_apart_by_when_they_arrived() -> None:
    ledger = Ledger()
    for port, at_ms, text in ((1, 10, b"one"), (2, 20, b"two")):
        record = connect(ledger, port=port)
        read(record, at_ms, text, (3, "payload", "event 1", 1))
    rows = [row(1, 10, topic="job-1"), row(1, 20, topic="job-2")]
    run = Run(rows, {("job-1", 1): None, ("job-2", 1): None}, ledger, {"techniques": ["sse"]})
    assert parts(only(run.explain(1, topic="job-1"))[-1]) == [("payload", b"one", True)]
    assert parts(only(run.explain(1, topic="job-2"))[-1]) == [("payload", b"two", True)]
    with pytest.raises(LabkitError, match=r"in 2 topics \(job-1, job-2\): say which, with topic="):
        run.explain(1)


def test_an_event_that_came_twice_is_the_first_arrival() -> None:
    ledger = Ledger()
    record = connect(ledger)
    for at_ms in (10, 90):
        read(record, at_ms, HEAD + b"ev", (19, "headers", "200, headers", None), (2, "payload", "event 1", 1))
    assert times(only(run_of([row(1, 90), row(1, 10)], ledger).explain(1))[-1]) == [(10, "client", "read")]


def test_every_technique_that_delivered_it_unless_one_is_named() -> None:
    ledger = Ledger()
    for technique in ("websocket", "sse"):
        stream(ledger, technique=technique)
    rows = [row(2, 61, "websocket"), row(2, 60), row(2, 60, subscriber=3)]
    run = run_of(rows, ledger, techniques=["sse", "websocket"])
    assert [story.technique for story in run.explain(2).stories] == ["sse", "websocket"]
    assert [story.technique for story in run.explain(2, "websocket").stories] == ["websocket"]
    assert [story.subscriber for story in run.explain(2, "sse", subscriber=3).stories] == [3]


# How it is shown


def test_text_has_times_categories_hex_and_characters_and_its_words_are_explained() -> None:
    ledger = Ledger()
    relay(ledger, stream(ledger))
    text = run_of([row(2, 60)], ledger).explain(2).text
    lines = text.splitlines()
    assert lines[0] == "event 2 over sse, subscriber 0"
    assert "    0.000 ms  due" in lines and "    1.000 ms  published" in lines
    assert (
        "chunk: 17 bytes, 12 of them the event's own, from byte 36 of what the server sent on this connection" in lines
    )
    assert "   60.000 ms  client read" in lines and "   59.000 ms  link.near wrote" in lines
    assert [line.split() for line in lines if "payload" in line] == [
        [">", "payload", "event", "2", "4", "65", "76", "2d", "32", "ev-2"]
    ]
    assert "near and far are the two sides of a relay" in lines[-1]
    assert str(run_of([row(2, 60)], ledger).explain(2)) == text


def test_without_a_relay_it_says_that_the_server_s_times_are_not_known() -> None:
    ledger = Ledger()
    stream(ledger)
    text = run_of([row(2, 60)], ledger).explain(2).text
    assert text.endswith("so that only the client's times are known.") and "near" not in text


def test_long_parts_are_whole_and_in_html_folded() -> None:
    ledger = Ledger()
    read(connect(ledger), 10, b"A" * 5000 + b"Z", (5001, "payload", "event 1", 1))
    told = run_of([row(1, 10)], ledger).explain(1)
    assert told.text.count("A") >= 5000 and "AAAAAAAAZ" in told.text
    shown = told._repr_html_()
    assert shown.count("A") >= 5000 and "<summary>4745 bytes more</summary>" in shown


def test_html_is_escaped() -> None:
    evil = "<img src=x onerror=alert(1)>"
    ledger = Ledger()
    record = connect(ledger, evil)
    read(record, 10, evil.encode(), (len(evil), "payload", evil, 1))
    shown = run_of([row(1, 10, evil, topic=evil)], ledger, techniques=[evil]).explain(1, topic=evil)._repr_html_()
    assert "<img" not in shown and "&lt;img" in shown
    assert shown.count("<table>") == 1


def test_its_figure_is_the_sequence_chart_of_its_techniques() -> None:
    ledger = Ledger()
    stream(ledger)
    run = run_of([row(2, 60)], ledger)
    drawn = charts.sequence(run.explain(2))
    assert drawn == charts.sequence(run, event_id=2, techniques=["sse"], subscriber=0)
    assert "event 2" in str(drawn.layout.yaxis.title.text)


def test_figure_and_bytes_are_of_one_delivery_and_have_its_times() -> None:
    ledger = Ledger()
    for number, later_ms in ((0, 80), (3, 0)):  # the one that is not the first received it first
        record = stream(ledger, port=40_000 + number, subscriber=number)
        for at, transfer in enumerate(record.transfers):
            record.transfers[at] = replace(transfer, t_ns=transfer.t_ns + later_ms * MS)
        relay(ledger, record)
        ledger.connections[-1].subscriber = ledger.connections[-2].subscriber = number
    run = run_of([row(2, 140), row(2, 60, subscriber=3)], ledger)
    explained = run.explain(2)
    (story,) = explained.stories
    assert story.subscriber == 3
    for figure in (charts.sequence(run, event_id=2), charts.sequence(explained)):
        (carrier,) = (trace for trace in figure.data if trace.name == "sse: event 2")
        far, _, client = (step.t_ms for step in story.passages[-1].steps)
        assert carrier.y[:2] == (far, client) and "after 60" in figure.layout.title.text
        asked_ms = story.passages[0].steps[0].t_ms
        assert f"\u2191 asked at \u2212{-asked_ms:.1f}\u00a0ms" in [a.text for a in figure.layout.annotations]


# What is not known


def test_an_unknown_id_says_which_are_known() -> None:
    with pytest.raises(LabkitError, match="no event 99 in this run; it has 1 to 17, 19"):
        run_of([row(19, 10)], Ledger(), n=17).explain(99)
    with pytest.raises(LabkitError, match="no event 1 in this run; it has none"):
        run_of([], Ledger(), n=0).explain(1)
    with pytest.raises(LabkitError, match="it has 8 ids from 1 to 15"):
        run_of([row(i, 10) for i in range(1, 16, 2)], Ledger(), n=0).explain(2)


def test_an_event_that_never_arrived_says_what_did() -> None:
    with pytest.raises(LabkitError, match="event 2 was published but never arrived over sse; arrived there: 1, 3"):
        run_of([row(1, 10), row(3, 10)], Ledger()).explain(2, "sse")
    with pytest.raises(LabkitError, match="never arrived over any technique, subscriber 4; arrived there: nothing"):
        run_of([row(1, 10)], Ledger()).explain(1, subscriber=4)


def test_an_unknown_topic_says_so() -> None:
    with pytest.raises(LabkitError, match="no event 1 in topic 'other' of this run; it has none"):
        run_of([row(1, 10)], Ledger()).explain(1, topic="other")


def test_an_unknown_technique_lists_those_of_the_run() -> None:
    with pytest.raises(UnknownTechnique, match="no 'smoke' in this run; it had sse"):
        run_of([row(1, 10)], Ledger()).explain(1, "smoke")


def test_bytes_that_were_let_go_are_said_to_be() -> None:
    ledger = Ledger(keep_bytes=30)
    stream(ledger)
    (story,) = run_of([row(1, 50)], ledger).explain(1).stories
    assert story.passages == ()
    assert "The bytes were let go: each connection keeps its newest 30 (keep_bytes)." in story.notes[0]
    assert story.milestones == (("due", 0), ("published", 1), ("received", 50))


def test_a_request_that_was_let_go_is_said_to_be() -> None:
    ledger = Ledger(keep_bytes=40)
    stream(ledger)
    (story,) = run_of([row(3, 70)], ledger).explain(3).stories
    assert [passage.name for passage in story.passages] == ["chunk"]
    assert "Of the request the bytes were let go: each connection keeps its newest 40 (keep_bytes)." in story.notes


def test_a_hop_that_let_its_bytes_go_is_said_to_have() -> None:
    ledger = Ledger()
    relay(ledger, stream(ledger))
    ledger.connections[-1].transfers.clear()
    (story,) = run_of([row(2, 60)], ledger).explain(2).stories
    assert "link.far" not in {step.hop for passage in story.passages for step in passage.steps}
    assert any("link.far no longer holds these bytes" in note for note in story.notes)


def test_a_page_has_no_bytes_in_the_ledger() -> None:
    ledger = Ledger()
    stream(ledger)
    (story,) = run_of([row(2, 60, client="browser")], ledger).explain(2).stories
    assert story.passages == () and "A page received it" in story.notes[0]


def test_against_a_server_that_is_not_ours_time_runs_from_the_arrival() -> None:
    ledger = Ledger()
    stream(ledger)
    run = Run([row(2, 60, due_ns=None, published_ns=None)], {}, ledger, {"techniques": ["sse"], "server": "elsewhere"})
    (story,) = run.explain(2).stories
    assert story.milestones == (("received", 0),)
    assert [step.t_ms for passage in story.passages for step in passage.steps] == [-150, -110, 0]


def test_a_page_with_the_same_number_does_not_take_the_place_of_the_kernel_s_client() -> None:
    ledger = Ledger()
    stream(ledger)
    found = run_of([row(2, 999, client="browser"), row(2, 60, client="kernel")], ledger).explain(2)
    assert found.stories[0].milestones[-1] == ("received", 60.0)
    assert found.stories[0].passages
