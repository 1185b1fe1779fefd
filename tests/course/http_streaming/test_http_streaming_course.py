"""The experiments of 03_http_streaming run over real sockets; their checks tell a wrong world from a right one."""

from __future__ import annotations

import dataclasses
import math
import random
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import labkit
from conftest import UNIT
from labkit import theory
from labkit.client.ledger import Ledger
from labkit.course import claims, http_streaming
from labkit.course.answers import EXERCISES
from labkit.course.http_streaming import buffering
from labkit.course.http_streaming.borders import Boundaries, Path, Rechunked
from labkit.course.http_streaming.buffering import Drip, FirstShown, Reading
from labkit.course.http_streaming.ends import Endings, Seconds
from labkit.course.http_streaming.exercises import MESSAGES
from labkit.course.http_streaming.framing import Framings
from labkit.course.http_streaming.judges_reading import part_times
from labkit.course.http_streaming.judges_wire import byte_by_byte
from labkit.course.http_streaming.nagle import WAYS, Steps
from labkit.course.http_streaming.one_response import streams
from labkit.course.http_streaming.recycling import CLOSED, KEPT, Recycled, recycled_mean_s
from labkit.errors import LabClosed
from labkit.measuring.run import Run
from labkit.subscribing.contract.order import AWKWARD, check_all
from labkit.subscribing.contract.promise import attach


@pytest.fixture(scope="module")
def lab() -> Iterator[labkit.Lab]:
    with labkit.Lab("streaming-course-test") as lab:
        yield lab


def verdict(id: str, seen: Any) -> str:
    return claims.judge(id, seen).verdict


def with_changes(run: Run, change: Callable[[Any], Any]) -> Run:
    """The same run with other deliveries, and a machine that was not held up."""
    calm = {**run.settings, "held_up_ms": {"total": 0.0, "max": 0.0}}
    frame = change(run.deliveries.copy())
    frame["latency_ms"] = (frame["received_ns"] - frame["due_ns"]).astype(float) / 1e6
    return Run(frame, run.published, run.ledger, calm, [0.1] * 20, missing=run.missing)


# A stream that goes on


def test_a_stream_goes_on_in_one_response(lab: labkit.Lab) -> None:
    run = streams(lab)
    found = claims.judge("S1c", run)
    assert found.verdict == "refined" and found.measured == 5
    assert "one response" in found.reason and "chunked 5, eof 5" in found.reason
    for record in run.ledger.of("eof"):
        record.requests = record.responses = 5  # each event asked for
    assert verdict("S1c", run) == "refuted"


def test_a_stream_that_is_asked_for_again_does_not_go_on(lab: labkit.Lab) -> None:
    ending = http_streaming.variant("chunked", recycle=1)
    run = labkit.measure(lab, [ending], labkit.periodic(10, 0.5), topic="s1c", progress=False)
    assert verdict("S1c", run) == "refuted"
    short = labkit.measure(lab, [http_streaming.variant("chunked")], labkit.periodic(10, 0.2), progress=False)
    assert verdict("S1c", short) == "undecided"


# A stream that is recycled


@pytest.mark.parametrize("options", [{"recycle": 3}, {"recycle": 1}, {"recycle": 2, "framing": "eof"}])
def test_every_event_arrives_once_in_order_over_many_responses(lab: labkit.Lab, options: dict[str, Any]) -> None:
    topic = f"recycled-{options}"
    with attach(lab, http_streaming.variant("http-streaming", **options), topic=topic) as receiver:
        for data in AWKWARD:
            lab.publish(data, topic)
        receiver.wait_for(len(AWKWARD))
        check_all(receiver, list(AWKWARD))


@pytest.mark.parametrize("recycle", ["0", "-1", "x", "1.5", "1000000", "٣"])
def test_a_number_of_events_that_is_none_is_refused(lab: labkit.Lab, recycle: str) -> None:
    address = f"http://127.0.0.1:{lab.port}/http-streaming?recycle={urllib.request.quote(recycle)}"
    with pytest.raises(urllib.error.HTTPError) as refused, urllib.request.urlopen(address, timeout=5 * UNIT):
        pass
    with refused.value as answer:
        assert answer.code == 400 and b"recycle" in answer.read()


def test_recycling_after_each_event_is_long_polling_to_the_formula() -> None:
    for rate in (0.5, 8.0, 40.0):
        long_polling = theory.long_polling_mean(rate, 0.05, math.inf, 0.1)
        assert recycled_mean_s(rate, 0.05, 1) == pytest.approx(long_polling, rel=1e-9)


@pytest.mark.parametrize("every", [1, 3, 10])
def test_the_mean_of_a_recycled_stream_agrees_with_a_simulation(every: int) -> None:
    rng, d, rate, now, latencies = random.Random(every), 0.05, 16.0, 0.0, []
    times = [now := now + rng.expovariate(rate) for _ in range(60_000)]
    at, open_s = 0, 0.0  # the response is at the server from open_s on
    while at + every < len(times):
        last_s = max(times[at + every - 1], open_s)
        batch = [t for t in times[at : at + every + 200] if t <= last_s]
        latencies += [max(t, open_s) + d - t for t in batch]
        at, open_s = at + len(batch), last_s + 2 * d
    assert sum(latencies) / len(latencies) == pytest.approx(recycled_mean_s(rate, d, every), rel=0.02)


# S1


@pytest.fixture(scope="module")
def framings(lab: labkit.Lab) -> Framings:
    return http_streaming.framings(lab)


def test_all_framings_stream_and_the_claim_is_refined(framings: Framings) -> None:
    assert verdict("S1", framings) == "refined"
    assert len(framings.table()) == 4 and "chunk framing" in framings.raw("HTTP/1.1, chunked")._repr_html_()


def test_the_lines_survive_reads_of_one_byte(framings: Framings) -> None:
    assert [line for line in byte_by_byte(framings["HTTP/1.1, chunked"]) if b'"id":2' in line] == [
        b'{"id":2,"data":"1"}'
    ]


def change_framing(seen: Framings, title: str, **changes: Any) -> Framings:
    cases = tuple(dataclasses.replace(c, **changes) if c.title == title else c for c in seen.cases)
    return dataclasses.replace(seen, cases=cases)


def test_framings_in_wrong_worlds(framings: Framings) -> None:
    chunked, eof, length = "HTTP/1.1, chunked", "HTTP/1.0, EOF", "HTTP/1.0, Content-Length"
    assert verdict("S1", change_framing(framings, eof, streamed=0)) == "refuted"
    assert verdict("S1", change_framing(framings, chunked, head=framings[eof].head)) == "refuted"
    assert verdict("S1", change_framing(framings, eof, body=framings[eof].body[:-4])) == "refuted"
    assert verdict("S1", change_framing(framings, length, streamed=0)) == "confirmed"
    assert verdict("S1", dataclasses.replace(framings, cases=framings.cases[:3])) == "undecided"


# S1b


@pytest.fixture(scope="module")
def seconds(lab: labkit.Lab) -> Seconds:
    return http_streaming.seconds(lab)


def test_only_a_chunked_stream_leaves_its_connection_to_another_request(seconds: Seconds) -> None:
    assert verdict("S1b", seconds) == "refined"
    assert list(seconds.table()["answer to the second"]) == ["HTTP/1.1 200 OK", "none", "none"]


def test_seconds_in_wrong_worlds(seconds: Seconds) -> None:
    def world(**answers: str) -> Seconds:
        return Seconds(tuple(dataclasses.replace(c, answer=answers[c.framing]) for c in seconds.cases))

    assert verdict("S1b", world(chunked="", eof="")) == "refuted"
    assert verdict("S1b", world(chunked="HTTP/1.1 200 OK", eof="HTTP/1.1 200 OK")) == "confirmed"
    assert verdict("S1b", Seconds(seconds.cases[:1])) == "not run"


# S2


@pytest.fixture(scope="module")
def endings(lab: labkit.Lab) -> Endings:
    return http_streaming.endings(lab)


def test_with_eof_a_cut_looks_like_the_end(endings: Endings) -> None:
    found = claims.judge("S2", endings)
    assert found.verdict == "confirmed" and "this kit" in found.whole
    assert {c.error for c in endings.cases if (c.framing, c.how) == ("eof", "fin")} == {""}


def test_endings_in_wrong_worlds(endings: Endings) -> None:
    def world(framing: str, how: str, **changes: Any) -> Endings:
        cases = [
            dataclasses.replace(c, **changes) if (c.framing, c.how) == (framing, how) else c for c in endings.cases
        ]
        return dataclasses.replace(endings, cases=tuple(cases))

    assert verdict("S2", world("eof", "fin", error="it knew")) == "refuted"
    assert verdict("S2", world("chunked", "fin", error="")) == "refuted"
    assert verdict("S2", world("eof", "reset", error="")) == "refuted"
    assert verdict("S2", world("eof", "fin", events=0)) == "undecided"


# S3


@pytest.fixture(scope="module")
def recycled(lab: labkit.Lab) -> Recycled:
    return http_streaming.recycled(lab, bursts=12)


def test_an_event_right_after_an_end_takes_three_transits_and_five_after_a_close(recycled: Recycled) -> None:
    assert verdict("S3", recycled) in ("confirmed", "undecided")
    slowest = recycled.run.deliveries.groupby("technique")["latency_ms"].max()
    assert slowest[CLOSED] > slowest[KEPT] > 2 * 50
    assert len(recycled.chart().data) == 3


def ideal(technique: str, times_s: list[float], gap_s: float, ledger: Ledger, more_s: float = 0.0) -> list[float]:
    """When each event arrives, d = 50 ms, in a world without noise; *more_s* is what the server adds after an end."""
    every, d, open_s, count, arrivals = 3 if gap_s else 10**6, 0.05, 0.0, 0, list[float]()
    record = ledger.opened(technique, 0, local=("", 1), remote=("", 2), t_ns=0)
    record.transferred("out", b"GET", 0)
    for at_s, next_s in zip(times_s, [*times_s[1:], math.inf], strict=True):
        queued = at_s < open_s
        arrivals.append(max(at_s, open_s) + d + more_s * queued)
        count += 1
        if count >= every and not (queued and next_s < open_s):  # what is queued goes along
            ended_s, count = max(at_s, open_s), 0
            open_s, asked_ns = ended_s + gap_s, int((ended_s + d) * 1e9)
            if gap_s > 2 * d:
                record = ledger.opened(technique, 0, local=("", 1), remote=("", 2), t_ns=asked_ns)
            record.transferred("out", b"GET", asked_ns)
    return arrivals


def ideal_run(*, every_more_s: float = 0.0, kept_more_s: float = 0.0, deaf_at: int = -1) -> Recycled:
    """A run of three streams in which only what is planted is wrong."""
    times_s, ledger, rows = [0.4 * burst + 0.01 * n for burst in range(30) for n in range(4)], Ledger(), []
    for technique, gap_s in (("http-streaming", 0.0), (KEPT, 0.1), (CLOSED, 0.2)):
        arrivals = ideal(technique, times_s, gap_s, ledger, kept_more_s if technique == KEPT else 0.0)
        for number, (due_s, received_s) in enumerate(zip(times_s, arrivals, strict=True), 1):
            due_ns, received_ns = int(due_s * 1e9), int((received_s + every_more_s) * 1e9)
            row = {"technique": technique, "event_id": number, "due_ns": due_ns, "published_ns": due_ns}
            row |= {"received_ns": received_ns, "latency_ms": (received_ns - due_ns) / 1e6, "client": "kernel"}
            rows += [] if technique == CLOSED and number == deaf_at else [row]
    published = {("", number): (int(t * 1e9), int(t * 1e9)) for number, t in enumerate(times_s, 1)}
    settings = {"one_way_s": 0.05, "duration_s": times_s[-1], "techniques": ["http-streaming", KEPT, CLOSED]}
    return Recycled(Run(rows, published, ledger, settings, [0.1] * 20), 3)


def test_recycled_streams_in_wrong_worlds() -> None:
    assert verdict("S3", ideal_run()) == "confirmed"
    assert verdict("S3", ideal_run(kept_more_s=0.06)) == "refuted"  # a server that sits on what it held
    assert verdict("S3", ideal_run(every_more_s=0.05)) == "refuted"  # or waits for another transit each time
    assert verdict("S3", ideal_run(deaf_at=7)) == "refuted"  # a client that drops one id


def test_a_run_without_recycling_is_judged_as_in_the_start_notebook() -> None:
    assert "theory 50 ms" in claims.judge("S3", ideal_run().run).whole


def test_the_sweep_draws_theory_for_each_rate_of_its_slider(lab: labkit.Lab) -> None:
    swept = http_streaming.sweep(lab, duration_s=1.5)
    figure = swept.chart()
    (slider,) = figure.layout.sliders
    assert [step.label for step in slider.steps] == ["1", "2", "4", "8", "16", "32", "64"]
    assert all(sum(step.args[0]["visible"]) == 2 for step in slider.steps)
    assert swept.run.summary()["lost"].sum() == 0


# S5


@pytest.fixture(scope="module")
def rechunked(lab: labkit.Lab) -> Rechunked:
    return http_streaming.rechunked(lab, events=12)


def test_moved_chunk_borders_fool_one_parser_and_not_the_other(rechunked: Rechunked) -> None:
    assert verdict("S5", rechunked) == "illustrated"
    assert list(rechunked.table()["messages, split at line feeds"]) == [12] * 4


def test_rechunked_messages_in_wrong_worlds(rechunked: Rechunked) -> None:
    def world(change: Callable[[Path], Path]) -> Rechunked:
        return Rechunked(tuple(change(path) for path in rechunked.paths))

    whole = next(path.chunks for path in rechunked.paths if path.title == "direct")
    assert verdict("S5", world(lambda p: dataclasses.replace(p, chunks=p.chunks[:-1]))) == "refuted"
    assert verdict("S5", world(lambda p: dataclasses.replace(p, chunks=whole))) == "refuted"
    assert verdict("S5", Rechunked(rechunked.paths[:1])) == "not run"


# S6


def test_some_clients_hold_the_first_event_back_and_others_do_not() -> None:
    seen = http_streaming.first_shown()
    assert verdict("S6", seen) == "confirmed"
    assert seen.missing["the page's fetch"] == "no page attached"
    assert "not before the end" in seen.table().loc["urllib, read()"].tolist()
    assert len(seen.chart().data) == 4


def test_a_client_that_gives_up_is_told_and_the_others_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(url: str) -> None:
        raise RuntimeError("timed out")

    def quick(url: str) -> None:
        urllib.request.urlopen(url, timeout=5 * UNIT).close()

    monkeypatch.setattr(buffering, "clients", lambda missing: iter([("slow", slow), ("quick", quick)]))
    seen = buffering.first_shown()
    assert [(case.client, case.framing) for case in seen.cases] == [("quick", "chunked"), ("quick", "eof")]
    assert seen.missing["slow, eof"] == "gave up: timed out"


def test_clients_in_wrong_worlds() -> None:
    def world(*shown_bytes: int | None) -> FirstShown:
        return FirstShown(tuple(Reading(f"client {n}", "eof", count, 68, 8192) for n, count in enumerate(shown_bytes)))

    assert verdict("S6", world(68, 4096)) == "confirmed"
    assert verdict("S6", world(68, None)) == "confirmed"
    assert verdict("S6", world(68, 68)) == "refuted"
    assert verdict("S6", world(68, 204)) == "undecided"
    assert verdict("S6", world(4096, None)) == "undecided"
    assert verdict("S6", FirstShown(())) == "not run"


def test_a_page_that_is_not_there_is_said_at_once(lab: labkit.Lab) -> None:
    page = labkit.BrowserSubscriber(lab, "http-streaming", topic="03-page")
    try:
        assert http_streaming.in_the_page(lab, page) == "no page attached"
    finally:
        page.close()


def test_a_drip_that_nobody_asks_leaves_nothing() -> None:
    with Drip("eof") as drip:
        socket.create_connection(("127.0.0.1", int(drip.url.rpartition(":")[2][:-1])), 5 * UNIT).close()


# S8


@pytest.fixture(scope="module")
def boundaries(lab: labkit.Lab) -> Boundaries:
    return http_streaming.boundaries(lab, events=24)


def test_a_leading_boundary_lags_by_one_event_for_pythons_parser_too(boundaries: Boundaries) -> None:
    assert verdict("S8", boundaries) == "confirmed"
    record = next(boundaries.run.ledger.of("leading"))
    assert len(part_times(record)) == 23  # of 24
    assert len(boundaries.chart().data) == 2


def test_boundaries_in_wrong_worlds(boundaries: Boundaries) -> None:
    def by_length(frame: Any) -> Any:
        """A client that knows a part's length needs no boundary."""
        mine = frame["technique"] == "leading"
        frame.loc[mine, "received_ns"] = frame.loc[mine, "published_ns"].astype("int64") + 51_000_000
        return frame

    assert verdict("S8", Boundaries(with_changes(boundaries.run, by_length))) == "refuted"


# T2


def test_two_writes_are_told_apart_by_who_has_spoken_last() -> None:
    seen = http_streaming.two_writes(events=8)
    assert verdict("T2", seen) in ("confirmed", "refined", "refuted", "undecided")  # it is about this system
    assert max(seen.samples["asked", "one write"]) < 10 * UNIT and len(seen.table()) == 3
    assert "Two writes take" in seen.chart().layout.title.text


def test_too_few_latencies_are_not_taken_for_a_busy_machine() -> None:
    ways = ("two writes", "two writes, TCP_NODELAY", "one write")
    found = claims.judge("T2", Steps({(pattern, way): (1e-4,) * 8 for pattern in ("asked", "stream") for way in ways}))
    assert (found.verdict, found.reason) == ("undecided", "too few latencies for a median's interval, 8")


@pytest.mark.parametrize(
    ("stream_ms", "asked_ms", "cured_ms", "expected"),
    [
        (0.1, 44, 0.1, "refined"),
        (44, 44, 0.1, "confirmed"),
        (44, 0.1, 0.1, "refined"),
        (0.1, 0.1, 0.1, "refuted"),
        (0.1, 44, 44, "refuted"),
        (0.1, 15, 0.1, "undecided"),
    ],
)
def test_steps_in_other_worlds(stream_ms: float, asked_ms: float, cured_ms: float, expected: str) -> None:
    samples = {
        (p, way): (1e-4 if way == "one write" else cured_ms / 1e3,) * 24 for p in ("stream", "asked") for way in WAYS
    }
    samples["stream", "two writes"] = (stream_ms / 1e3,) * 24
    samples["asked", "two writes"] = (asked_ms / 1e3,) * 24
    assert verdict("T2", Steps(samples)) == expected


# What is not to be had


@pytest.mark.parametrize(
    "call",
    [
        lambda lab: http_streaming.framings(lab, events=0),
        lambda lab: http_streaming.seconds(lab, events=0),
        lambda lab: http_streaming.endings(lab, events=0),
        lambda lab: http_streaming.recycled(lab, every=0),
        lambda lab: http_streaming.recycled(lab, one_way_s=0.0),
        lambda lab: http_streaming.rechunked(lab, events=0),
        lambda lab: http_streaming.boundaries(lab, events=1),
        lambda _: http_streaming.two_writes(events=4),
        lambda _: http_streaming.exchanges("shouted", 0, 2, 8),
    ],
)
def test_a_parameter_that_means_nothing_is_refused(lab: labkit.Lab, call: Callable[[labkit.Lab], Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        call(lab)


@pytest.mark.parametrize("name", ["framings", "seconds", "endings", "recycled", "sweep", "rechunked", "boundaries"])
def test_a_closed_lab_is_said(name: str) -> None:
    with labkit.Lab("closed-streaming-test") as closed:
        pass
    with pytest.raises(LabClosed):
        getattr(http_streaming, name)(closed)


# Exercises


@pytest.mark.parametrize(
    ("id", "value", "right"),
    [
        ("03.1", 7, True),
        ("03.1", 4, False),
        ("03.2", 20, True),
        ("03.2", 19, False),
        ("03.2", 30, False),
        ("03.2", math.inf, False),
        ("03.3", lambda pieces: b"".join(pieces).decode().split("\n")[:-1], True),
        ("03.3", lambda pieces: [piece.decode() for piece in pieces], False),
        ("03.3", lambda pieces: 1 / 0, False),
        ("03.3", lambda pieces: MESSAGES[:-1], False),
        ("03.3", 5, False),
    ],
)
def test_an_answer_is_reported_on_and_never_raises(id: str, value: Any, right: bool) -> None:
    assert id in EXERCISES
    assert labkit.answer(id, value).right is right
