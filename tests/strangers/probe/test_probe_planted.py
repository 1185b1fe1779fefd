"""Planted causes are named, or graded as what they are; none is named wrongly."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from planted_streams import (
    STEP_S,
    Answer,
    Step,
    chunk,
    compressed,
    copied,
    cut_at_random,
    cut_by_age,
    cut_when_idle,
    endless,
    event,
    events,
    flowing,
    head,
    held_whole,
    late_blank_line,
    ndjson,
    never,
    no_content,
    one_late_with_its_head,
    planted,
    recorded,
    refusing,
    replayed,
    saying,
    tool_run,
)
from steady import probed, rows

from labkit.strangers.probe.probing import probe

SEEN, CONSISTENT = "seen", "consistent with"


PLANTED: dict[str, tuple[Answer, int, str]] = {
    "row 1, head, events and end in one": (held_whole, 1, CONSISTENT),
    "row 3, compressor without flush": (compressed(False, False), 3, SEEN),
    "row 4, compressor flushed before each event": (compressed(False, True), 4, SEEN),
    "row 4, the same, and its head too": (one_late_with_its_head, 4, SEEN),
    "row 4, the blank line comes with the next event": (late_blank_line, 4, SEEN),
    "row 5, held for one Accept": (lambda asked: ndjson(asked, held_for_any=True), 5, SEEN),
    "row 7, no head at all": (never, 7, CONSISTENT),
    "row 15, answered 503": (refusing("503 Service Unavailable"), 15, SEEN),
    "row 15, answered 401": (refusing("401 Unauthorized"), 15, SEEN),
    "row 15, answered 204": (no_content, 15, SEEN),
    "row 15, another type": (saying(*events(), kind="text/plain"), 15, SEEN),
    "row 22, JSON without a field": (saying(*events(), b'{"n": 1}\n\n'), 22, SEEN),
    "row 22, a line that is not UTF-8": (saying(b"data: caf\xe9\n\n"), 22, SEEN),
    "row 22, the last block without its blank line": (saying(event(1), b"data: lost\n", ends=True), 22, SEEN),
    "row 24, generated first and replayed": (replayed, 24, CONSISTENT),
    "row 26, recorded by a cache": (recorded, 26, SEEN),
    "row 28, pieces of 4 096 bytes": (copied, 28, SEEN),
}


@pytest.mark.timing
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_cause_is_named_and_nothing_else(name: str) -> None:
    answer, row, grade = PLANTED[name]
    with planted(answer) as url:
        report = probed(url, [(row, grade)])
    assert rows(report) == [(row, grade)], str(report)
    assert report.status == (2 if "401" in name else 1)
    assert str(report).startswith(f"{grade}: ")
    assert str(report).splitlines()[1].startswith("  change: ")


@pytest.mark.timing
def test_two_cuts_a_constant_time_after_the_last_byte_are_an_idle_limit() -> None:
    with planted(cut_when_idle(itertools.cycle([3, 9]))) as url:
        (found,) = probed(url, [(8, SEEN)], 4).findings
    assert (found.row, found.grade) == (8, SEEN)


@pytest.mark.timing
def test_two_cuts_a_constant_time_after_the_start_are_a_lifetime() -> None:
    with planted(cut_by_age(itertools.cycle([0.13, 0.31]))) as url:
        (found,) = probed(url, [(9, SEEN)], 4).findings
    assert (found.row, found.grade) == (9, SEEN)


@pytest.mark.timing
def test_cuts_that_have_nothing_in_common_are_no_limit() -> None:
    with planted(cut_at_random(itertools.cycle([0.3, 1.5]))) as url:
        (found,) = probed(url, [(0, CONSISTENT)], 4).findings
    assert (found.row, found.grade) == (0, CONSISTENT)
    assert not any("limit" in cause for cause in found.left), found


@pytest.mark.timing
def test_a_cut_that_both_clocks_fit_is_not_decided() -> None:
    with planted(cut_when_idle(itertools.repeat(4))) as url:
        (found,) = probed(url, [(8, CONSISTENT)], 4).findings
    assert (found.row, found.grade) == (8, CONSISTENT)
    assert any("row 8" in cause for cause in found.left) and any("row 9" in cause for cause in found.left)


@pytest.mark.timing
def test_a_request_with_a_body_is_sent_exactly_once() -> None:
    asked: list[str] = []

    def once(request: str) -> object:
        asked.append(request)
        return tool_run(request)

    with planted(once) as url:  # type: ignore[arg-type]
        report = probed(url, [(8, CONSISTENT)], 4, paces=(1.0,), data='{"stream": true}')
    assert len(asked) == 1
    assert asked[0].startswith("POST / ") and "Accept: application/json, text/event-stream" in asked[0]
    (found,) = report.findings
    assert (found.row, found.grade) == (8, CONSISTENT)
    assert any("exactly once" in note.says for note in report.notes)


@pytest.mark.timing
def test_the_address_behind_decides_who_holds() -> None:
    with planted(held_whole) as held, planted(endless) as direct:
        (found,) = probed(held, [(1, SEEN)], also=direct).findings
    assert (found.row, found.grade) == (1, SEEN)
    assert held in found.says and direct in found.says


@pytest.mark.timing
def test_a_header_that_was_obeyed_and_eaten_is_not_the_servers_fault() -> None:
    def obeyed(_: str) -> object:
        yield head("200 OK", "text/event-stream", "X-Accel-Buffering: no")
        for one in events(100):
            yield STEP_S
            yield chunk(one)

    with planted(held_whole) as held, planted(obeyed) as direct:  # type: ignore[arg-type]
        (found,) = probed(held, [(2, SEEN)], also=direct).findings
    assert (found.row, found.grade) == (2, SEEN)
    assert "proxy_pass_header X-Accel-Buffering" in found.remedy[0]


@pytest.mark.timing
def test_a_hop_that_batches_what_has_a_type_with_a_parameter_is_named() -> None:
    kind = "text/event-stream; charset=utf-8"

    def direct_stream(_: str) -> Iterator[Step]:
        return flowing(100, kind=kind)

    def in_batches(_: str) -> Iterator[Step]:
        yield head("200 OK", kind)
        for at in range(0, 96, 6):
            yield 6 * STEP_S
            yield chunk(b"".join(events(96)[at : at + 6]))

    with planted(in_batches) as held, planted(direct_stream) as direct:
        alone, both = probed(held, []), probed(held, [(1, SEEN)], also=direct)
    assert alone.status == 0 and any("--also" in note.says for note in alone.notes), str(alone)
    (found,) = both.findings
    assert (found.row, found.grade) == (1, SEEN) and any("row 5" in line for line in found.evidence), str(both)


@pytest.mark.timing
def test_a_hop_that_holds_a_get_and_not_a_post_is_graded_as_what_it_is() -> None:
    def by_method(asked: str) -> Iterator[Step]:
        return endless(asked) if asked.startswith("POST") else never(asked)

    with planted(by_method) as hop, planted(endless) as direct:
        (alone,) = probed(hop, [(7, CONSISTENT)], 1).findings
        (both,) = probed(hop, [(1, SEEN)], 1, also=direct).findings
        assert probed(hop, [], 1, data="{}").status == 0
    assert (alone.row, alone.grade) == (7, CONSISTENT) and any("row 5" in cause for cause in alone.left)
    assert (both.row, both.grade) == (1, SEEN)


@pytest.mark.timing
def test_the_same_stream_from_both_addresses_is_no_finding() -> None:
    with planted(endless) as one, planted(endless) as other:
        assert probed(one, [], also=other).status == 0


def test_an_address_where_nobody_listens_could_not_be_asked() -> None:
    with planted(never) as url:
        pass
    assert probed(url, []).status == 2


@pytest.mark.timing
def test_no_secret_is_in_what_is_shown_or_saved() -> None:
    with planted(refusing("403 Forbidden")) as url:
        url = url.replace("http://", "http://me:hidden1@") + "?n=1&access_token=hidden3"
        said: list[str] = []
        report = probe(url, seconds=1, headers={"X-Key": "hidden2"}, say=said.append)
    told = f"{report}{report.as_json()}{said}"
    assert "hidden3" not in told and "n=1" in told
    assert "hidden1" not in told and "hidden2" not in told and "bWU6aGlkZGVuMQ" not in told


@pytest.mark.timing
def test_what_was_expected_and_is_not_so_counts() -> None:
    with planted(endless) as url:
        assert probed(url, [], 3, paces=(1.0,), expect="first-event=2900ms,gap=2900ms").status == 0
        report = probed(url, [], 1, expect="first-event=20ms")
    assert report.status == 1 and str(report).startswith("not as expected: first event ")
