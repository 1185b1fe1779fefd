"""The experiments of 04_server_sent_events at a small size; their checks tell wrong worlds from right ones."""

from __future__ import annotations

import contextlib
import dataclasses
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import labkit
from conftest import UNIT
from labkit import loop
from labkit.course import case_server, claims, sse
from labkit.course.sse.beats import Beats, Heartbeats
from labkit.course.sse.claims import CLAIMS
from labkit.course.sse.decoders import Conformance, Outcome, fed
from labkit.course.sse.giving_up import Endings
from labkit.course.sse.judges import LEAST_BEATS
from labkit.course.sse.reconnections import Resumption, Returns
from labkit.course.sse.rules import RULES
from labkit.course.sse.with_page import BROWSER, OURS
from labkit.techniques import Delivery
from labkit.techniques.sse import SSE, subscribe
from labkit.wire.event_stream import EventStreamDecoder

Feed = Callable[[Sequence[bytes]], tuple[list[tuple[str, str, str]], int | None]]


@pytest.fixture(scope="module", autouse=True)
def headless() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("JPY_SESSION_NAME", raising=False)
        yield


@pytest.fixture(scope="module")
def lab() -> Iterator[labkit.Lab]:
    with labkit.Lab("sse-course") as lab:
        yield lab


# The playground


def test_each_line_is_named_with_what_it_does() -> None:
    stream = b"\xef\xbb\xbfid: 1\r\nretry:x\r:\nfoo\nevent:y\ndata: a\n\nid:2\x00\n\ndata:b"
    found = sse.dissect(stream)
    kinds = ["field", "ignored", "comment", "ignored", "field", "field", "blank", "ignored", "blank", "unfinished"]
    assert [line.kind for line in found.lines] == kinds
    assert b"".join(line.raw for line in found.lines) == stream
    assert "the last event id is now '1'" in found.lines[6].does
    assert list(found.table().columns) == ["bytes", "line", "what it does"]


@given(st.lists(st.sampled_from(["data", "id", "event", "retry", ":", " ", "a", "1", "\n", "\r", "\r\n", "\0"])))
def test_taking_apart_dispatches_what_decoding_does(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert list(sse.dissect(text).events) == EventStreamDecoder().feed(text.encode())


def test_only_bytes_and_text_can_be_taken_apart() -> None:
    with pytest.raises(TypeError, match="not int"):
        sse.dissect(17)  # type: ignore[arg-type]


def test_the_playground_is_driven_from_code() -> None:
    typed, crlf, shown = sse.playground("data: a").children
    assert "unfinished" in shown.value
    typed.value = "data: <b>\n\n"
    assert "dispatches" in shown.value and "&lt;b&gt;" in shown.value and "<b>" not in shown.value
    crlf.value = True
    assert r"\r\n" in shown.value


# The server of cases


def test_a_stranger_reports_nothing_and_finds_nothing() -> None:
    async def hear() -> tuple[int, int, int, bool]:
        async with case_server.CaseServer({}) as server:
            ask = loop.asyncio.to_thread
            strange = await ask(status, server.url("other/report"), b'{"page": "1", "browser": "x"}')
            own = await ask(status, server.url(f"{server.token}/report"), b'{"page": "1", "browser": "x"}')
            garbage = await ask(status, server.url(f"{server.token}/report"), b"{")
            return strange, own, garbage, server.reports.qsize() == 1

    assert loop.run(hear()) == (404, 204, 0, True)


def status(url: str, body: bytes) -> int:
    """The answer's status; 0 if the connection was closed instead."""
    try:
        with urllib.request.urlopen(url, data=body, timeout=5 * UNIT) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def test_an_interrupted_experiment_leaves_no_server() -> None:
    """The guard in conftest fails this test for a socket or a task that is left."""

    async def forever() -> None:
        async with case_server.CaseServer({}):
            await loop.asyncio.sleep(60)

    future = loop.submit(forever())
    future.cancel()
    with contextlib.suppress(Exception):
        future.result(UNIT)


# E1


@pytest.fixture(scope="module")
def conformance() -> Conformance:
    return sse.conformance()


def test_the_decoder_keeps_every_rule_and_absent_clients_are_named(conformance: Conformance) -> None:
    found = claims.judge("E1", conformance)
    assert found.verdict == "illustrated" and found.measured == len(RULES)
    assert "no page attached" in found.whole
    assert BROWSER in conformance.missing and BROWSER in conformance._repr_html_()
    assert len(conformance.table()) == len(RULES)


def wrong(change: Callable[[bytes], bytes]) -> Feed:
    """labkit's decoder, its reads changed before it sees them."""

    def feed(reads: Sequence[bytes]) -> tuple[list[tuple[str, str, str]], int | None]:
        decoder = EventStreamDecoder()
        events = [event for read in reads for event in decoder.feed(change(read))]
        return [(event.type, event.data, event.last_event_id) for event in events], decoder.retry_ms

    return feed


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        (lambda read: read.replace(b"  ", b" "), "one space after the colon"),
        (lambda read: read.replace(b"\r", b"\n"), "CRLF is one line end"),
        (lambda read: read if read.endswith(b"\n") else read + b"\n", "a line ends at LF"),  # a read is taken for lines
        (lambda read: read.replace(b"-", b""), "retry with a sign"),
        (lambda read: read.replace(b"\0", b""), "an id with a NUL"),
        (lambda read: read.replace(b"\xef\xbb\xbf", b""), "a second one is not"),
    ],
    ids=["strips spaces", "CR is LF", "reads are lines", "takes a sign", "drops NUL", "strips every BOM"],
)
def test_a_decoder_that_breaks_a_rule_is_refuted(
    conformance: Conformance, change: Callable[[bytes], bytes], broken: str
) -> None:
    outcomes = {OURS: {rule.key: fed(rule, wrong(change)) for rule in RULES}}
    found = claims.judge("E1", dataclasses.replace(conformance, outcomes=outcomes))
    assert found.verdict == "refuted" and broken in found.whole


def raises(_: Sequence[bytes]) -> tuple[list[tuple[str, str, str]], int | None]:
    raise UnicodeError


def test_a_decoder_that_raises_breaks_the_rule() -> None:
    assert str(fed(RULES[0], raises)) == "✗ UnicodeError"


@pytest.mark.parametrize(("broken", "verdict"), [(0, "confirmed"), (1, "refined"), (5, "refuted")])
def test_a_browser_is_judged_by_how_many_rules_it_breaks(conformance: Conformance, broken: int, verdict: str) -> None:
    page = {rule.key: Outcome(n >= broken, True, True, "nothing") for n, rule in enumerate(RULES)}
    seen = dataclasses.replace(conformance, outcomes={**conformance.outcomes, BROWSER: page})
    found = claims.judge("E1", seen)
    assert (found.verdict, found.measured) == (verdict, len(RULES) - broken)


def test_a_browser_that_did_not_tell_in_time_is_undecided(conformance: Conformance) -> None:
    page = {rule.key: Outcome(None, None, None) for rule in RULES}
    seen = dataclasses.replace(conformance, outcomes={**conformance.outcomes, BROWSER: page})
    assert claims.judge("E1", seen).verdict == "undecided"


# E2


@pytest.fixture(scope="module")
def returns() -> Returns:
    return sse.returns({0.1: 24, 0.2: 24})


@pytest.fixture(scope="module")
def resumption(lab: labkit.Lab, returns: Returns) -> Resumption:
    return Resumption(returns, sse.cut(lab, duration_s=2.6))


def test_the_client_is_back_after_retry_and_misses_nothing(resumption: Resumption) -> None:
    found = claims.judge("E2", resumption)
    assert found.verdict in ("refined", "undecided"), found.reason
    assert "26 events over a cut link" in found.whole
    assert resumption.returns.resumed == {OURS: True}


def stretched(returns: Returns, factor: float, late_s: float = 0.001) -> Returns:
    gaps_s = {retry_s: tuple(factor * retry_s for _ in gaps) for retry_s, gaps in returns.gaps_s[OURS].items()}
    return dataclasses.replace(returns, gaps_s={OURS: gaps_s}, late_s=(late_s,) * 20)


@pytest.mark.parametrize(
    ("factor", "late_s", "verdict"),
    [
        (1.02, 0.001, "refined"),
        (1.5, 0.001, "refuted"),  # half of it added
        (2.0, 0.001, "refuted"),  # backs off at once
        (0.5, 0.001, "refuted"),
        (0.5, 0.5, "refuted"),  # no busy machine makes a client early
        (1.5, 0.5, "undecided"),  # the machine's own timers are as late
    ],
)
def test_a_client_that_stays_away_longer_or_shorter_is_refuted(
    resumption: Resumption, factor: float, late_s: float, verdict: str
) -> None:
    seen = dataclasses.replace(resumption, returns=stretched(resumption.returns, factor, late_s))
    assert claims.judge("E2", seen).verdict == verdict


def test_a_client_that_forgets_its_last_event_id_is_refuted(resumption: Resumption) -> None:
    returns = dataclasses.replace(stretched(resumption.returns, 1.0), resumed={OURS: False})
    found = claims.judge("E2", dataclasses.replace(resumption, returns=returns))
    assert found.verdict == "refuted" and "not so" in found.whole


async def dropping(*args: Any, **options: Any) -> AsyncGenerator[Any, None]:
    async for item in subscribe(*args, **options):
        if not (isinstance(item, Delivery) and item.event_id == 7):
            yield item


async def repeating(*args: Any, **options: Any) -> AsyncGenerator[Any, None]:
    async for item in subscribe(*args, **options):
        yield item
        if isinstance(item, Delivery) and item.event_id == 7:
            yield item


@pytest.mark.parametrize(("client", "said"), [(dropping, "sse: 1 event lost"), (repeating, "sse: 1 event came twice")])
def test_a_client_that_drops_or_repeats_one_id_is_refuted(returns: Returns, client: Any, said: str) -> None:
    with labkit.Lab("sse-wrong", techniques=(dataclasses.replace(SSE, client=client),)) as wrong_lab:
        run = sse.cut(wrong_lab, duration_s=2.6)
    found = claims.judge("E2", Resumption(stretched(returns, 1.0), run))
    assert found.verdict == "refuted" and said in found.whole


def test_a_run_without_a_cut_decides_nothing(lab: labkit.Lab, returns: Returns) -> None:
    run = labkit.measure(lab, ["sse"], labkit.periodic(rate_per_s=20, duration_s=0.5), progress=False)
    assert "no connection was cut" in claims.judge("E2", Resumption(stretched(returns, 1.0), run)).whole


@pytest.mark.parametrize("retries", [{}, {0.0: 1}, {0.1: 0}, {0.00015: 1}])
def test_reconnection_times_that_cannot_be_are_refused(retries: dict[float, int]) -> None:
    with pytest.raises(ValueError, match="retries"):
        sse.returns(retries)


# E3


@pytest.fixture(scope="module")
def endings() -> Endings:
    return sse.endings(0.8)


def test_a_204_stops_the_client_and_another_type_fails_it(endings: Endings) -> None:
    found = claims.judge("E3", endings)
    assert found.verdict in ("illustrated", "undecided"), found.reason
    assert len(endings.table()) == 5 and "gives up" in endings._repr_html_()


def changed(endings: Endings, answer: str, **changes: Any) -> Endings:
    ours = tuple(dataclasses.replace(e, **changes) if e.answer == answer else e for e in endings.clients[OURS])
    return dataclasses.replace(endings, clients={OURS: ours})


@pytest.mark.parametrize(
    ("answer", "changes", "verdict"),
    [
        ("204 at once", {"requests": 5, "given_up": False}, "refuted"),
        ("200, then 204", {"requests": 3}, "refuted"),
        ("200 as text/plain", {"events": 1}, "refuted"),
        ("500", {"requests": 2}, "refuted"),
        ("200, then 204", {"requests": 1, "given_up": False}, "undecided"),
        ("200 with charset=utf-8, again and again", {"requests": 1}, "undecided"),
    ],
)
def test_a_client_that_asks_again_or_reads_what_it_must_not_is_refuted(
    endings: Endings, answer: str, changes: dict[str, Any], verdict: str
) -> None:
    assert claims.judge("E3", changed(endings, answer, **changes)).verdict == verdict


def test_endings_are_watched_for_a_while() -> None:
    with pytest.raises(ValueError, match="watched_s"):
        sse.endings(0.1)


# E5


@pytest.fixture(scope="module")
def framing(lab: labkit.Lab) -> Any:
    return sse.framing(lab, events=10, one_way_s=0.0)


def test_seven_bytes_are_the_least(framing: Any) -> None:
    found = claims.judge("E5", framing)
    assert (found.verdict, found.measured, found.expected) == ("refuted", 7.0, 5.0)
    assert framing.bare == {"data:": 5.0, "line ends of the block": 2.0}
    parts = {
        "data:": 5.0,
        "a space after it": 1.0,
        "line ends of the block": 2.0,
        "id: and its line end": 5.0,
        "chunk": 6.0,
    }
    assert {part: framing.lab[part] for part in parts} == parts
    assert framing.lab_bytes == 19.0 + framing.lab["the id itself"]
    assert set(framing.shorter.values()) == {0}


@pytest.mark.parametrize(
    "changes", [{"bare": {"data:": 5.0}}, {"shorter": {b"data:a": 1}}], ids=["no line ends", "dispatched at the end"]
)
def test_where_less_is_enough_the_five_bytes_are_confirmed(framing: Any, changes: dict[str, Any]) -> None:
    assert claims.judge("E5", dataclasses.replace(framing, **changes)).verdict == "confirmed"


def test_two_events_are_too_few_to_count_between(lab: labkit.Lab) -> None:
    with pytest.raises(ValueError, match="at least 3"):
        sse.framing(lab, events=2)


# E6


@pytest.fixture(scope="module")
def beats() -> Heartbeats:
    return sse.heartbeats(rounds=1)


def of_page(beats: Heartbeats, kind: str = "", **changes: Any) -> Heartbeats:
    """What was seen, as if the page had been the client, and one of its streams changed."""
    streams = tuple(
        dataclasses.replace(s, client=BROWSER, **(changes if s.kind == kind else {})) for s in beats.streams
    )
    return dataclasses.replace(beats, streams=streams, browser="Chrome/1", why="")


def test_without_a_page_it_is_not_run_and_the_emulation_is_told(beats: Heartbeats) -> None:
    found = claims.judge("E6", beats)
    assert found.verdict == "not run" and "no page attached\nan emulation" in found.whole
    comment, named = beats.streams
    assert (comment.seen_ns, beats.noticed_s(comment)) == ((), [None])
    assert len(named.seen_ns) > 5 and beats.noticed_s(named) != [None]


def test_a_page_that_sees_events_and_no_comments_confirms(beats: Heartbeats) -> None:
    assert claims.judge("E6", of_page(beats)).verdict in ("confirmed", "undecided")


ENOUGH_NS = tuple(range(LEAST_BEATS))  # a machine that is busy may have sent fewer


def noticed_after(beats: Heartbeats, after_s: float) -> tuple[int, ...]:
    return tuple(began_ns + int(after_s * 1e9) for began_ns, _ in beats.stalls_ns)


@pytest.mark.parametrize(
    ("kind", "changes", "verdict"),
    [
        ("comment", lambda beats: {"seen_ns": (1, 2, 3)}, "refuted"),
        ("comment", lambda beats: {"errors_ns": noticed_after(beats, 0.1)}, "refuted"),
        ("named event", lambda beats: {"seen_ns": (), "sent_ns": ENOUGH_NS}, "refuted"),
        ("named event", lambda beats: {"alarms_ns": (), "sent_ns": ENOUGH_NS}, "refuted"),
        ("named event", lambda beats: {"alarms_ns": noticed_after(beats, 0.05)}, "undecided"),
        ("comment", lambda beats: {"sent_ns": (1, 2)}, "undecided"),
    ],
    ids=["comments are seen", "comments notice", "events are not seen", "no alarm", "alarm too early", "too few"],
)
def test_a_page_of_another_kind_changes_the_verdict(
    beats: Heartbeats, kind: str, changes: Callable[[Heartbeats], dict[str, Any]], verdict: str
) -> None:
    assert claims.judge("E6", of_page(beats, kind, **changes(beats))).verdict == verdict


@pytest.mark.parametrize("settings", [{"rounds": 0}, {"beat_s": 0.01}, {"beat_s": 61}])
def test_heartbeats_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="rounds="):
        sse.heartbeats(**settings)


# Charts


def test_the_charts_say_what_is_seen(returns: Returns, framing: Any, beats: Heartbeats) -> None:
    assert "labkit at most" in returns.chart().layout.title.text
    assert "7 bytes of framing" in framing.chart().layout.title.text
    assert "sees 0" in beats.chart().layout.title.text
    assert len(of_page(beats).chart().layout.yaxis.ticktext) == 2
    slider = beats.noticing().layout.sliders[0]
    assert slider.steps[slider.active].label == "15"


def test_a_stream_without_a_notice_can_be_drawn(beats: Heartbeats) -> None:
    silent = Beats(OURS, "named event", (1,), (), ())
    dataclasses.replace(beats, streams=(silent,)).noticing()
    dataclasses.replace(beats, streams=(silent,)).chart()


# Exercises


@pytest.mark.parametrize(
    ("id", "answer", "right"),
    [
        ("04.1", " a\n\nb", True),
        ("04.1", "a\n\nb", False),
        ("04.1", " a\nb", False),
        ("04.1", 3, False),
        ("04.2", b"event:end\ndata\n\n", True),
        ("04.2", "event:end\rdata\r\r", True),
        ("04.2", b"event: end\ndata: \n\n", False),
        ("04.2", b"event:end\n\n", False),
        ("04.2", b"event:end\ndata:x\n\n", False),
        ("04.3", 8, True),
        ("04.3", 20 / 3, False),
        ("04.3", -1, False),
    ],
)
def test_exercises_know_right_from_wrong(id: str, answer: Any, right: bool) -> None:
    assert labkit.answer(id, answer).right is right


def test_every_claim_has_an_experiment_and_a_check() -> None:
    assert [claim.id for claim in CLAIMS] == ["E1", "E2", "E3", "E5", "E6"]
    assert all(claim.experiment and claim.judge for claim in CLAIMS)
