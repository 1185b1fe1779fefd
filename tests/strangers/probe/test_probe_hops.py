"""What only the address behind a hop decides: rows 6, 11 and 27, each beside a neighbour that is healthy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from planted_hops import dying, ending_it_cleanly, keeping_small_writes, with_heartbeats
from planted_streams import CUT, RESET, Step, endless, flowing, held_whole, planted

from labkit.strangers.probe.probing import probe
from labkit.strangers.probe.report import Report
from tls import Authority


def rows(report: Report) -> list[tuple[int, str]]:
    return [(found.row, found.grade) for found in report.findings]


def notes(report: Report) -> set[int]:
    return {note.row for note in report.notes}


@pytest.mark.timing
def test_heartbeats_that_stay_in_a_hop_are_named() -> None:
    with planted(with_heartbeats()) as direct, keeping_small_writes(direct) as hop:
        alone, both = probe(hop, seconds=2.5, say=None), probe(hop, also=direct, seconds=2.5, say=None)
    assert rows(both) == [(11, "seen")], str(both)
    assert alone.status == 0, str(alone)


@pytest.mark.timing
@pytest.mark.parametrize("period", [6, 2], ids=["heartbeats cross", "a heartbeat with each event"])
def test_heartbeats_that_cross_a_hop_are_nothing(period: int) -> None:
    with planted(with_heartbeats(period)) as direct, keeping_small_writes(direct, 1) as hop:
        report = probe(hop, also=direct, seconds=2.5, say=None)
    assert report.status == 0, str(report)


@pytest.mark.timing
@pytest.mark.parametrize("how", [CUT, RESET])
def test_a_crash_that_a_hop_makes_a_clean_end_is_named(how: str) -> None:
    with planted(dying(how)) as direct, planted(ending_it_cleanly()) as hop:
        alone, both = probe(hop, seconds=2.5, say=None), probe(hop, also=direct, seconds=2.5, say=None)
    assert rows(both) == [(27, "seen")], str(both)
    assert alone.status == 0 and any(n.row == 27 and "labkit tap --to" in n.says for n in alone.notes), str(alone)


@pytest.mark.timing
def test_a_clean_end_and_a_cut_elsewhere_may_be_two_things() -> None:
    with planted(dying(CUT, 5)) as direct, planted(ending_it_cleanly()) as hop:
        report = probe(hop, also=direct, seconds=2.5, say=None)
    assert rows(report) == [(27, "consistent with")], str(report)


@pytest.mark.timing
@pytest.mark.parametrize("last", [b"data: [DONE]\n\n", b"event: done\ndata: 8\n\n"])
def test_an_end_that_says_so_is_one(last: bytes) -> None:
    with planted(dying()) as direct, planted(ending_it_cleanly(8, last)) as hop:
        alone, both = probe(hop, seconds=2.5, say=None), probe(hop, also=direct, seconds=2.5, say=None)
    assert alone.status == both.status == 0 and 27 not in notes(alone) | notes(both), f"{alone}\n{both}"


@pytest.mark.timing
def test_what_is_held_over_http_and_not_over_https_is_graded(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with planted(held_whole) as clear, planted(endless, authority.context()) as secure, planted(endless) as flows:
        for url, also in ((clear, secure), (secure, clear)):
            report = probe(url, also=also, seconds=2.5, cafile=authority.cafile, say=None)
            assert rows(report) == [(6, "consistent with")], str(report)
            assert any("row 1)" in cause for cause in report.findings[0].left)
        both = probe(flows, also=secure, seconds=1, cafile=authority.cafile, say=None)
        assert both.status == 0, str(both)
    with planted(held_whole, authority.context()) as secure, planted(endless) as clear:
        report = probe(secure, also=clear, seconds=2.5, cafile=authority.cafile, say=None)
    assert rows(report) == [(1, "seen")], str(report)


@pytest.mark.timing
@pytest.mark.parametrize(("name", "noted"), [("Avast Web/Mail Shield", True), ("Presets and Resets Ltd", False)])
def test_a_certificate_that_an_inspecting_program_has_made_is_worth_a_note(
    tmp_path: Path, name: str, noted: bool
) -> None:
    authority = Authority(tmp_path, name)
    with planted(lambda _: flowing(3), authority.context()) as url:
        report = probe(url, seconds=0.6, cafile=authority.cafile, say=None)
    assert report.seen.first.issuer == name
    assert report.status in (0, 1) and (6 in notes(report)) is noted, str(report)


@pytest.mark.timing
@pytest.mark.parametrize("scheme", ["http:", "ws:"])
@pytest.mark.parametrize("how", [CUT, RESET])
def test_a_connection_that_ends_before_an_answer_is_not_healthy(scheme: str, how: str) -> None:
    def unanswered(_: str) -> Iterator[Step]:
        yield 0.05
        yield how

    with planted(unanswered) as url:
        report = probe(url.replace("http:", scheme), seconds=1, say=None)
    assert rows(report) == [(0, "consistent with")] and "labkit tap" in report.findings[0].elsewhere, str(report)
