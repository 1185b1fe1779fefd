"""Each condition of a rule, over recorded observations: what comes as near to it as possible and is something else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_probe_rules import stream

from labkit.strangers.probe.finding import Finding
from labkit.strangers.probe.observation import Event, Observation, Piece, Seen, Violation
from labkit.strangers.probe.rules import all_notes, findings

TICKS = [0.25 * n for n in range(1, 9)]
GZIP = {"content-type": "text/event-stream", "content-encoding": "gzip"}
FLOWS = stream(TICKS)
HELD = stream([1.0] * 8, end="clean", end_s=1.0, head_s=1.0)
EMPTY = stream([1.0], events=(), pieces=(), end_s=3.0)
SILENT = Observation("first", "http://x/", end="silent", end_s=3.0)
SOCKET = stream(TICKS, kind="messages", status=101)
Rows = list[tuple[int, str]]


def found(first: Observation, **others: Observation) -> list[Finding]:
    return findings(Seen(first, {name: replace(one, name=name) for name, one in others.items()}))


def rows(first: Observation, **others: Observation) -> Rows:
    return [(each.row, each.grade) for each in found(first, **others)]


def pieces_of(first: Observation, *stops: int) -> Observation:
    """The same events, in pieces that end there, half a second apart."""
    starts = (0, *stops)
    pieces = tuple(Piece(0.5 * n, a, b - a) for n, (a, b) in enumerate(zip(starts, stops, strict=False), 1))
    return replace(first, pieces=pieces, end_s=pieces[-1].t_s + 1)


def sized(size: int, count: int, **said: object) -> Observation:
    """Events of *size* bytes, each with a heartbeat of 96 bytes behind it."""
    events = tuple(Event(0.5 * n, 0.5 * n, n * (size + 96) + size, size, f"id {n}", str(n)) for n in range(count))
    return stream([0.5 * n for n in range(count)], events=events, **said)


NOTHING: dict[str, tuple[Observation, dict[str, Observation]]] = {
    "two events at once are no stream that is held": (stream([1.0] * 2, end="clean", end_s=1.0, head_s=1.0), {}),
    "a history at the beginning of a stream that goes on": (replace(HELD, end="open", end_s=1.02), {}),
    "a whole answer that came at once": (stream([0.1] * 8, end="clean", end_s=0.1, head_s=0.1), {}),
    "events at once, and a silence behind them": (replace(HELD, end_s=3.0), {}),
    "messages at once, and a close": (replace(HELD, kind="messages", status=101, close_code=1000), {}),
    "a JSON answer out of a cache": (Observation("first", "http://x/", status=200, headers={"age": "41"}), {}),
    "a cache of that name, which has nothing of it": (
        replace(FLOWS, headers={"cache-status": "white.example; fwd=uri-miss"}), {}),
    "a return where all events have one id": (
        replace(FLOWS, events=tuple(replace(event, wire_id="run-1") for event in FLOWS.events)),
        {"return": replace(FLOWS, request={"Last-Event-ID": "run-1"}, events=tuple(
            replace(event, wire_id="run-1") for event in FLOWS.events))}),
    "a cache that has nothing of it": (replace(FLOWS, headers={"x-cache": "MISS", "age": "0"}), {}),
    "a hop that adds the same to each event": (stream([t + 0.5 for t in TICKS]), {"also": FLOWS}),
    "a hop that sends two at a time, at once": (
        stream([0.1 * (n | 1) for n in range(8)]), {"also": stream([0.1 * n for n in range(8)])}),
    "nothing here, and hardly more behind": (EMPTY, {"also": stream([0.5, 2.5])}),
    "another Accept gets a page": (
        stream(TICKS, kind="lines"), {"accept": Observation("accept", "http://x/", status=200, end="clean")}),
    "another Accept is refused": (
        stream(TICKS, kind="lines"), {"accept": Observation("accept", "http://x/", status=406, end="clean")}),
    "coded, and as silent as it is plain": (replace(EMPTY, headers=GZIP), {"identity": EMPTY}),
    "coded, and each event half a period later": (
        stream([t + 0.125 for t in TICKS], headers=GZIP), {"identity": FLOWS}),
    "coded, and fast": (
        stream([0.02 * n + 0.02 for n in range(9)], headers=GZIP), {"identity": stream([0.02 * n for n in range(9)])}),
    "coded, with events, and not asked again": (replace(FLOWS, headers=GZIP), {}),
    "coded, silent behind more than a compressor's first bytes": (
        replace(EMPTY, headers=GZIP, pieces=(Piece(0.1, 0, 200),)), {}),
    "text that looks like events, asked for as any type": (
        Observation("first", "http://x/", status=200, request={"Accept": "*/*"}, words="data: x", end="clean"), {}),
    "pieces of 4 096 bytes that end with events": (pieces_of(sized(4000, 5), 4096, 8192, 12288), {}),
    "one piece of eight that ends at 4 096": (pieces_of(sized(3000, 9), 100, 900, 1700, 4096, 5000, 5900), {}),
    "pieces of 4 096 coded bytes": (pieces_of(sized(3000, 9, headers=GZIP), 4096, 8192, 12288), {}),
    "pieces of 4 096 bytes of a download": (
        pieces_of(stream([1.0], kind="whole", events=()), 4096, 8192, 12288), {}),
    "a blank line late for two events": (
        stream([1.0, 2.0], events=tuple(Event(t, t - 0.5, 20, 20, f"id {t}") for t in (1.0, 2.0))), {}),
    "steps of 40 ms on any connection": (
        stream([0.04, 0.08, 0.12]), {"kept": stream([0.04, 0.08, 0.12]), "kept again": stream([0.04, 0.08, 0.12])}),
    "steps of 40 ms on one used connection of two": (
        stream([0.2, 0.4]), {"kept": stream([0.2, 0.24, 0.4]), "kept again": stream([0.2, 0.4])}),
    "304": (Observation("first", "http://x/", status=304, end="clean"), {}),
    "206 of a range that was asked for": (Observation("first", "http://x/", status=206, end="clean"), {}),
    "202 to a POST": (Observation("first", "http://x/", method="POST", status=202, end="clean"), {}),
    "an address behind that answers 404 to an Upgrade": (
        SOCKET, {"also": replace(SOCKET, status=404, events=(), end="clean")}),
    "heartbeats of two kinds of body": (
        stream(TICKS), {"also": stream(TICKS, kind="lines", heartbeats=(0.1, 0.35, 0.6, 0.85))}),
    "heartbeats and no event in common": (
        EMPTY, {"also": stream([0.5, 1.0], heartbeats=(0.1, 0.2, 0.3, 0.4), end_s=3.0)}),
    "a clean end, and another one behind it": (
        replace(FLOWS, end="clean", end_s=2.1), {"also": replace(FLOWS, end="clean", end_s=2.1)}),
    "a length that was said, and a cut behind it": (
        replace(FLOWS, end="clean", end_s=2.1, headers={"content-length": "160"}),
        {"also": replace(FLOWS, end="cut", end_s=2.1)}),
    "another host over https": (
        replace(HELD, address="http://x/", end="open", end_s=1.2), {"also": replace(FLOWS, address="https://y/")}),
    "held behind, and not here": (FLOWS, {"also": HELD}),
    "an event of exactly 4 096 bytes": (
        pieces_of(stream([0.5], events=(Event(0.5, 0.5, 4096, 4096, "id 1", "1"),)), 4096), {}),
    "a large event in reads of 4 096 bytes": (
        stream([0.5], events=(Event(0.5, 0.5, 20000, 20000, "id 1", "1"),), pieces=tuple(
            Piece(0.5, 4096 * n, 4096 if n < 4 else 3616) for n in range(5))), {}),
    "a last piece that is as long as a buffer, and the end": (
        replace(pieces_of(sized(3000, 9), 4096), end="clean", end_s=0.5), {}),
    "steps of 40 ms on the other used connection alone": (
        stream([0.2, 0.4]), {"kept": stream([0.2, 0.4]), "kept again": stream([0.2, 0.24, 0.28, 0.4])}),
    "nothing yet behind a return": (FLOWS, {"return": replace(EMPTY, request={"Last-Event-ID": "4"})}),
    "heartbeats that mostly come with events": (
        replace(FLOWS, heartbeats=tuple(TICKS)), {"also": replace(FLOWS, heartbeats=(*TICKS, 0.6, 0.8, 1.1))}),
    "a clean end, and a cut of something else": (
        replace(FLOWS, end="clean", end_s=2.1),
        {"also": stream([0.3, 0.6], end="cut", end_s=0.7, events=(Event(0.3, 0.3, 0, 9, "other"),))}),
    "large events in records of 16 384 bytes, over a slow line": (
        pieces_of(replace(FLOWS, events=tuple(Event(2.0 * n, 2.0 * n, 65536 * n, 65536, f"id {n}") for n in (1, 2))),
                  *(16384 * n for n in range(1, 9))), {}),
    "one that is not whole yet": (
        pieces_of(stream([0.5], events=(), begun=0, pieces=()), 16384, 32768, 49152, 60000), {}),
    "a blank line late, in a write of its own": (
        stream([1.0, 2.0, 3.0, 4.0], events=tuple(
            Event(n + 0.1, float(n), 20 * n, 20, f"id {n}") for n in range(1, 5)), pieces=tuple(
            Piece(n + 0.1 * last, 20 * n - 20 + 19 * last, 1 if last else 19) for n in range(1, 5) for last in (0, 1))),
        {}),
    "a slow path that holds nothing": (stream([t + 0.4 for t in TICKS]), {}),
    "an answer so short that it is made in a moment": (
        stream([0.8, 0.801, 0.804, 0.81, 0.82], end="clean", end_s=0.82, head_s=0.01), {}),
    "the same, coded, and not asked again": (
        stream([0.8, 0.801, 0.804, 0.81], end="clean", end_s=0.82, head_s=0.01, headers=GZIP), {}),
    "lines whose length is known before they begin": (
        stream([0.8] * 20, kind="lines", end="clean", end_s=0.8, head_s=0.8, headers={"content-length": "400"}), {}),
    "a file of lines, out of a cache": (
        stream([0.1] * 20, kind="lines", end="clean", end_s=0.1, headers={
            "content-length": "400", "etag": '"1"', "age": "3600", "x-cache": "HIT"}), {}),
    "a cache that passes it on": (stream([0.1, 0.4], headers={"x-cache": "hit-for-pass"}), {}),
    "a comment through a compressor, and nothing yet": (
        replace(EMPTY, headers=GZIP, pieces=(Piece(0.1, 0, 22),), heartbeats=(0.1,), decoded_bytes=6), {}),
    "padding of 4 096 bytes, and nothing yet": (replace(EMPTY, pieces=(Piece(0.1, 0, 4096),)), {}),
    "text that begins as an event stream does": (
        Observation("first", "http://x/", status=200, request={"Accept": "text/event-stream"}, end="clean",
                    words="data:image/png;base64,iVBORw0KGgo="), {}),
    "204 to a poll": (Observation("first", "http://x/", status=204, request={"Accept": "*/*"}, end="clean"), {}),
    "another Accept, and nothing happened meanwhile": (
        stream(TICKS, kind="lines"), {"accept": replace(EMPTY, kind="lines", started_s=4.0)}),
    "nothing happened, and with another Accept later": (
        replace(EMPTY, kind="lines"), {"accept": stream(TICKS, kind="lines", started_s=4.0)}),
    "another Accept, and the same beside it": (
        replace(EMPTY, kind="lines"), {"accept": stream(TICKS, kind="lines"), "beside": stream(TICKS, kind="lines")}),
    "nothing behind in time": (replace(EMPTY, end_s=0.5), {"also": FLOWS}),
    "an end while many are asked at once": (FLOWS, {"parallel 1": replace(SILENT, end="stopped", end_s=0.1)}),
    "a return that is not over": (
        FLOWS, {"return": replace(stream([0.1], request={"Last-Event-ID": "4"}), events=(
            Event(0.1, 0.1, 0, 20, "id 5", "5"),))}),
}  # fmt: skip


@pytest.mark.parametrize("name", NOTHING)
def test_a_near_neighbour_is_nothing(name: str) -> None:
    first, others = NOTHING[name]
    expected = {"another host over https": [(1, "seen")]}.get(name, [])
    assert rows(first, **others) == expected


def test_a_long_poll_waits_for_its_first_event() -> None:
    asked = Seen(SILENT, holds=True)
    assert findings(asked) == [] and any("a long poll waits" in note.says for note in all_notes(asked))


def cut(times: list[float], after_s: float, **said: object) -> Observation:
    return stream(times, end="cut", end_s=times[-1] + after_s, **said)


def pinged(count: int, pings: int, each_s: float, after_s: float) -> Observation:
    """A WebSocket: messages, pings behind them, and then the end of it."""
    times = [0.5 * n for n in range(1, count + 1)]
    beats = tuple(times[-1] + each_s * n for n in range(1, pings + 1))
    last = beats[-1] if beats else times[-1]
    return stream(times, kind="messages", status=101, heartbeats=beats, last_s=last, end="cut", end_s=last + after_s)


SOMETHING: dict[str, tuple[Observation, dict[str, Observation], Rows]] = {
    "no head, and hardly more behind": (SILENT, {"also": stream([0.5, 2.5])}, [(7, "consistent with")]),
    "no head from either": (SILENT, {"also": SILENT}, [(7, "consistent with")]),
    "held, coded or not": (replace(HELD, headers=GZIP), {"identity": HELD}, [(1, "consistent with")]),
    "held, coded, and not asked again": (replace(HELD, headers=GZIP), {}, [(3, "consistent with")]),
    "coded, its head there, and not asked again": (
        replace(HELD, headers=GZIP, head_s=0.0), {}, [(3, "consistent with")]),
    "coded, ten bytes and silence, not asked again": (
        replace(EMPTY, headers=GZIP, pieces=(Piece(0.1, 0, 10),)), {}, [(3, "consistent with")]),
    "a cache in the way of a stream that flows": (replace(FLOWS, headers={"age": "5"}), {}, [(26, "consistent with")]),
    "a page here, an event stream behind": (
        Observation("first", "http://x/", status=200, words="<html>", end="clean"), {"also": FLOWS}, [(15, "seen")]),
    "reset before an answer": (
        Observation("first", "http://x/", end="reset", end_s=0.1), {"also": FLOWS}, [(0, "consistent with")]),
    "a redirection": (Observation("first", "http://x/", status=302, headers={"location": "/login"}, end="clean"), {},
                      [(0, "seen")]),
    "many at once, some refused": (
        FLOWS, {"parallel 1": FLOWS, "parallel 2": Observation("parallel 2", "http://x/", status=503, head_s=0.01)},
        [(25, "seen")]),
    "many at once, one much later": (
        FLOWS, {"parallel 1": FLOWS, "parallel 2": replace(FLOWS, head_s=2.0)}, [(25, "seen")]),
    "no head, and many at once": (SILENT, {"parallel 1": SILENT}, [(7, "consistent with")]),
    "a return that is refused": (
        FLOWS, {"return": Observation("return", "http://x/", request={"Last-Event-ID": "4"}, status=503)},
        [(15, "seen")]),
    "a return that passes over one": (
        FLOWS, {"return": replace(stream([0.1] * 8, request={"Last-Event-ID": "4"}), events=tuple(
            Event(0.1, 0.1, 0, 20, f"id {n}", str(n)) for n in (5, 7)))}, [(14, "seen")]),
    "a return that has each twice": (
        FLOWS, {"return": replace(stream([0.1] * 8, request={"Last-Event-ID": "4"}), events=tuple(
            Event(0.1, 0.1, 0, 20, f"id {n}", str(n)) for n in (5, 5, 6, 6, 7, 7)))}, [(14, "seen")]),
    "cut at once behind a byte, each time elsewhere": (
        cut([0.5, 1.0], 0.1), {"again": cut([0.5, 1.0, 1.6], 0.1)}, [(0, "consistent with")]),
    "cut in a silence, and a longer one survived": (
        cut([0.5, 1.0], 2.0), {"again": stream([0.5, 1.0], end_s=9.0)}, [(0, "consistent with")]),
    "cut in a silence, and a shorter one survived": (
        cut([0.5, 1.0], 4.0), {"again": stream([0.5, 1.5, 3.0], end_s=4.0)}, [(8, "consistent with")]),
    "pings behind the last message, and a lifetime": (
        pinged(3, 5, 0.3, 0.1), {"again": pinged(2, 7, 0.3, 0.0)}, [(9, "seen")]),
    "pings as seldom as the limit": (
        pinged(3, 2, 1.0, 1.0), {"again": pinged(7, 2, 1.0, 1.0)}, [(12, "consistent with")]),
    "pings behind the last message, cut once": (pinged(3, 5, 0.3, 0.1), {}, [(12, "consistent with")]),
    "pings behind the last message, cut twice": (
        pinged(3, 5, 0.3, 0.1), {"again": pinged(9, 5, 0.3, 0.1)}, [(12, "seen")]),
    "pings behind the last message, each time another while": (
        pinged(3, 5, 0.3, 0.1), {"again": pinged(9, 9, 0.3, 0.1)}, [(12, "consistent with")]),
    "pings behind the last message, and both clocks fit": (
        pinged(3, 5, 0.3, 0.1), {"again": pinged(3, 5, 0.3, 0.1)}, [(12, "consistent with")]),
    "two slow pings, and a cut right behind the second": (
        pinged(3, 2, 1.0, 0.1), {"again": pinged(9, 2, 1.0, 0.1)}, [(12, "seen")]),
    "heartbeats of an event stream, and a cut": (
        replace(pinged(3, 5, 0.3, 0.1), kind="event-stream", status=200),
        {"again": replace(pinged(9, 5, 0.3, 0.1), kind="event-stream", status=200)}, [(0, "consistent with")]),
    "cut in silences of different length": (
        cut([0.5, 1.0], 2.0), {"again": cut([0.5, 1.0, 1.5], 4.0)}, [(0, "consistent with")]),
    "cut in a silence, and refused afterwards": (
        cut([0.5, 1.0], 2.0),
        {"again": Observation("again", "http://x/", status=503, end="clean", end_s=9.0)}, [(8, "consistent with")]),
    "cut twice right behind the same byte": (
        cut([0.5, 1.0, 1.5], 0.02), {"again": cut([0.5, 1.0, 1.5], 0.02)}, [(9, "consistent with")]),
    "cut twice at the same age, behind other events": (
        cut([0.5, 1.0, 1.5], 0.02), {"again": cut([0.4, 0.7, 1.0, 1.5], 0.02)}, [(9, "seen")]),
    "cut in a pause that is too short for a limit": (
        cut([0.5, 0.52, 0.54], 0.2, head_s=0.49), {}, [(9, "consistent with")]),
    "cut here and behind": (
        cut([0.5, 1.0], 2.0), {"also": replace(cut([0.5, 1.0], 2.0), address="http://y/")}, [(8, "consistent with")]),
    "one buffer, and the rest with the end": (
        replace(pieces_of(sized(3000, 2), 4096, 6096), end="clean", end_s=1.0), {}, [(28, "seen")]),
    "one buffer, and silence": (pieces_of(sized(3000, 9), 4096), {}, [(28, "seen")]),
    "buffers behind a first one that was not empty": (
        pieces_of(sized(3000, 9), 4044, 8140, 12236), {}, [(28, "seen")]),
    "an Upgrade refused here and behind": (
        replace(SOCKET, status=400, events=(), end="clean"),
        {"also": replace(SOCKET, status=404, events=(), end="clean")}, [(20, "consistent with")]),
    "small writes that wait for 200 ms": (
        stream([0.1 * n + (0.2, 0.1, 0.0)[n % 3] for n in range(9)]),
        {"also": replace(stream([0.1 * n for n in range(9)]), address="http://y/")}, [(23, "consistent with")]),
    "a buffer that waits for half a second": (
        stream([0.1 * n + (0.5, 0.4, 0.3, 0.2, 0.1, 0.0)[n % 6] for n in range(12)]),
        {"also": replace(stream([0.1 * n for n in range(12)]), address="http://y/")}, [(1, "seen")]),
    "pings that had stopped": (pinged(3, 3, 0.2, 2.0), {"again": pinged(9, 3, 0.2, 2.0)}, [(8, "seen")]),
    "one ping behind the last message": (pinged(3, 1, 0.5, 2.0), {"again": pinged(9, 1, 0.5, 2.0)}, [(8, "seen")]),
}  # fmt: skip


@pytest.mark.parametrize("name", SOMETHING)
def test_what_is_left_is_graded_as_that(name: str) -> None:
    first, others, expected = SOMETHING[name]
    assert rows(first, **others) == expected


def test_the_same_events_once_more_are_the_caches_evidence() -> None:
    cached = stream([0.01] * 4, headers={"age": "41"}, end="clean")
    (one,) = found(cached, again=cached)
    assert one.evidence[-1] == "asked again: the same 4 events"
    (other,) = found(replace(cached, headers={"x-cache": "TCP_HIT"}), again=stream([0.01] * 5))
    assert not any("asked again" in line for line in other.evidence)


def test_a_gap_that_is_said_aloud_is_no_loss() -> None:
    again = replace(stream([0.1] * 3, request={"Last-Event-ID": "4"}), events=tuple(
        Event(0.1, 0.1, 0, 20, f"id {n}", str(n), kind) for n, kind in ((9, "gap"), (10, ""), (11, ""))))  # fmt: skip
    assert rows(FLOWS, **{"return": again}) == []


def test_a_stream_without_ids_is_a_finding_where_a_return_was_asked_for() -> None:
    bare = replace(FLOWS, events=tuple(replace(event, wire_id=None) for event in FLOWS.events))
    assert [(one.row, one.grade) for one in findings(Seen(bare, returns=True))] == [(13, "seen")]
    assert not findings(Seen(bare)) and 13 in {note.row for note in all_notes(Seen(bare))}
    assert not findings(Seen(replace(bare, kind="lines"), returns=True))
    assert not findings(Seen(replace(bare, events=()), returns=True))


@pytest.mark.parametrize(
    ("said", "one"),
    [
        ("several events have the id 'a'", replace(FLOWS, events=tuple(replace(e, wire_id="a") for e in FLOWS.events))),
        ("2 reads end within a character", replace(FLOWS, split_characters=2)),
        ("an unknown field", replace(FLOWS, violations=(Violation("9.2.6", "an unknown field", 0, "'x'", False),))),
        ("no event within 3 s", EMPTY),
        ("no stream of events", Observation("first", "http://x/", status=200, end="clean")),
        ("a heartbeat each 0.5 s", replace(FLOWS, heartbeats=(0.5, 1.0, 1.5))),
        ("no heartbeat in a silence of 7 s", stream([1.0], end_s=8.0)),
        (
            "some hops stream text/event-stream alone",
            replace(FLOWS, headers={"content-type": "text/event-stream; a=b"}),
        ),
    ],
)
def test_what_is_worth_knowing_is_a_note(said: str, one: Observation) -> None:
    assert any(said in note.says for note in all_notes(Seen(one))) and not findings(Seen(one))
    assert not any(said in note.says for note in all_notes(Seen(FLOWS)))


@pytest.mark.parametrize(
    ("published", "expected"),
    [
        ({0.3: 2.0, 0.55: 2.0, 0.8: 2.0, 1.05: 2.0}, [(1, "seen")]),
        ({0.3: 0.31, 0.55: 0.56, 0.8: 0.81, 1.05: 1.06}, []),
        ({0.3: 0.8, 0.55: 1.05, 0.8: 1.3, 1.05: 1.55}, []),
        ({0.3: 2.0, 0.55: 2.0}, []),
        ({0.3: 0.35, 0.31: 0.35, 0.8: 0.85, 0.81: 0.85}, []),
        ({0.3: None, 0.55: None, 0.8: None}, [(1, "seen")]),
        ({0.3: None, 2.9: None, 2.95: None}, []),
    ],
    ids=["in a lump", "at once", "a slow path", "too few", "in pairs, at once", "none came", "none came yet"],
)
def test_what_the_probe_has_published_itself_is_held_against_its_own_posts(
    published: dict[float, float | None], expected: Rows
) -> None:
    posted = {f"probe {n}": t for n, t in enumerate(published)}
    came = [Event(t, t, 0, 20, said, None, "", f'"{said}"')
            for said, t in zip(posted, published.values(), strict=True) if t is not None]  # fmt: skip
    seen = Seen(stream([0.1], events=tuple(came), pieces=(), end_s=3.0), published=posted)
    assert [(one.row, one.grade) for one in findings(seen)] == expected


@pytest.mark.parametrize("status", [200, 404])
def test_the_same_in_http_1_is_evidence_where_it_was_answered(status: int) -> None:
    first = Observation("first", "https://x/", http_version="2", end="broken", complaint="connection: keep-alive")
    (one,) = found(first, **{"http/1.1": Observation("http/1.1", "https://x/", status=status)})
    assert one.row == 19 and any("HTTP/1.1 is answered" in line for line in one.evidence) is (status == 200)


def test_an_address_that_answers_404_holds_nothing_of_what_was_published() -> None:
    first = Observation("first", "http://x/", status=404, head_s=0.01, end="clean", end_s=3.0)
    (one,) = findings(Seen(first, published={"a": 0.3, "b": 0.6, "c": 0.9, "d": 1.2}))
    assert one.row == 15


@pytest.mark.parametrize(
    ("kind", "end", "ended", "beat"),
    [
        ("event-stream", "cut", "FIN without an end of the body", "(a comment line: `:` LF)"),
        ("event-stream", "reset", "reset", "(a comment line: `:` LF)"),
        ("lines", "cut", "FIN without an end of the body", "(an empty line or part)"),
        ("messages", "cut", "1006: no close frame", "(a ping)"),
    ],
)
def test_an_idle_limit_is_told_in_the_words_of_what_was_cut(kind: str, end: str, ended: str, beat: str) -> None:
    status = 101 if kind == "messages" else 200
    (one,) = found(cut([0.5, 1.0], 2.0, kind=kind, status=status) if end == "cut" else replace(
        cut([0.5, 1.0], 2.0), end="reset"))  # fmt: skip
    assert (one.row, one.evidence[0].startswith(f"{ended}, 2.00 s after the last byte")) == (8, True)
    assert one.remedy[0] == f"send a heartbeat each 0.8 s {beat}"


def test_a_header_that_came_through_unread_is_no_proof_against_a_proxy() -> None:
    (one,) = found(replace(HELD, headers={"x-accel-buffering": "no"}))
    assert one.row == 1 and any("(row 2)" in cause for cause in one.left)
    (other,) = found(HELD)
    assert not any("(row 2)" in cause for cause in other.left)


def test_an_answer_from_behind_is_evidence_where_there_was_none_here() -> None:
    (one,) = found(Observation("first", "http://x/", end="cut", end_s=30.0), also=FLOWS)
    assert any("answered 200" in line for line in one.evidence) and any("(row 8)" in cause for cause in one.left)
    (other,) = found(Observation("first", "http://x/", end="cut", end_s=0.1), also=SILENT)
    assert not any("answered" in line for line in other.evidence) and not any("row 8" in cause for cause in other.left)


def test_a_504_says_how_long_a_hop_has_waited() -> None:
    (one,) = found(Observation("first", "http://x/", status=504, head_s=60.0, end="clean"))
    assert one.row == 15 and "60.0 s" in one.evidence[-1]
    (other,) = found(Observation("first", "http://x/", status=502, head_s=60.0, end="clean"))
    assert len(other.evidence) == 1
