"""Theory beside real runs: of several options at once, with jitter, over paths of several relays; and where it ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import labkit
from conftest import UNIT
from labkit.charts.rows import rows_of
from labkit.measuring.natures import Natures
from labkit.techniques import Technique, find
from labkit.techniques.exhibits import EXHIBITS
from labkit.techniques.exhibits.forever_frame import FOREVER_FRAME
from labkit.theory import Expectation, Silent

D = 0.1 * UNIT
RATE = 0.8 / D
FOR_S = 80 * D


def variant(name: str, technique: str, **options: Any) -> Technique:
    return find(technique).variant(name, **options)


PLAIN = (
    variant("every 3d", "polling", interval_s=3 * D),
    variant("3d after the answer", "polling", interval_s=3 * D, wait_after_answer=True),
    variant("the newest of 5d", "polling", interval_s=5 * D, conflate=True),
    variant("a connection each", "polling", interval_s=D, keep_alive=False),
    variant("held", "long-polling"),
    variant("held for d", "long-polling", hold_s=D),
    variant("held, HTTP/1.0", "long-polling", http_version="1.0"),
    variant("pipelined", "long-polling", pipelined=True),
    variant("pipelined over HTTP/1.0", "long-polling", pipelined=True, http_version="1.0"),
    variant("held, the newest", "long-polling", conflate=True),
    variant("ended after 1", "http-streaming", recycle=1),
    variant("ended after 3", "http-streaming", recycle=3),
    variant("closed after 2", "http-streaming", recycle=2, framing="eof"),
    variant("in parts", "http-streaming", format="multipart"),
    EXHIBITS[2].variant("told to pause", advised_interval_s=3 * D),
)


@pytest.fixture
def lab() -> Iterator[labkit.Lab]:
    with labkit.Lab("theory", techniques=(*labkit.TECHNIQUES, *EXHIBITS)) as lab:
        yield lab


def expected(run: labkit.Run, technique: str) -> Expectation:
    found = Natures(run.settings).expected(technique)
    assert isinstance(found, Expectation), f"{technique}: {found}"
    return found


def why(run: labkit.Run, technique: str) -> str:
    found = Natures(run.settings).expected(technique)
    assert isinstance(found, Silent)
    return found.why


def latency_s(run: labkit.Run, technique: str) -> Any:
    frame = run.deliveries
    return frame[frame["technique"] == technique]["latency_ms"] / 1e3


def off(run: labkit.Run, stream: str, *others: str) -> list[str]:
    """Whose mean is not as expected, and by how much: 4 standard errors, 0.2 d and what the machine adds are allowed.

    What it adds to a transit is told by the run's *stream*, of which some events must be undisturbed.
    """
    streamed, mean_s = latency_s(run, stream), expected(run, stream).mean_s
    late_s = max(0.0, float(streamed.mean()) - mean_s)
    told = [] if streamed.quantile(0.05) <= mean_s + 0.2 * D else [f"{stream} is late"]
    for technique in (stream, *others):
        theory, measured = expected(run, technique), latency_s(run, technique)
        off_s, error_s = float(measured.mean()) - theory.mean_s, 4 * theory.std_s / len(measured) ** 0.5
        if not -error_s - 0.05 * D <= off_s <= error_s + 0.2 * D + 3 * late_s or measured.min() < theory.min_s * 0.98:
            told.append(f"{technique}: {off_s / D:+.2f} d off {theory.mean_s / D:.2f} d, {stream} {late_s / D:+.2f} d")
    return told


@pytest.mark.timing
def test_fifteen_options_are_as_theory_has_them(lab: labkit.Lab) -> None:
    run = labkit.measure(lab, PLAIN, labkit.poisson(RATE, FOR_S, seed=4), D, progress=False)
    assert not off(run, "in parts", *(technique.name for technique in PLAIN))


@pytest.mark.timing
def test_table_and_chart_have_the_theory_of_the_options_that_a_run_had(lab: labkit.Lab) -> None:
    options = {"polling": {"interval_s": 2 * D}}
    schedule = labkit.poisson(2 / D, 15 * D, seed=3)
    run = labkit.measure(lab, ["polling", "sse"], schedule, D, options=options, progress=False)
    assert run.summary().loc["polling", "expected_mean_ms"] == pytest.approx(2 * D * 1e3)
    assert [row.expected_ms for row in rows_of(run)] == pytest.approx([2 * D * 1e3, D * 1e3])
    assert not off(run, "sse", "polling")


@pytest.mark.timing
def test_jitter_of_the_size_of_a_transit_is_in_theory(lab: labkit.Lab) -> None:
    names = ["sse", "http-streaming", "websocket", "polling", "long-polling"]
    schedule = labkit.poisson(RATE, FOR_S, seed=5)
    run = labkit.measure(lab, names, schedule, D, jitter_s=2 * D, poll_interval_s=7 * D, progress=False)
    assert not off(run, *names)


@pytest.mark.timing
def test_a_path_of_several_relays_is_their_sum_and_handshakes_count_where_they_are_charged(lab: labkit.Lab) -> None:
    path = [labkit.Link(one_way_s=0.6 * D, handshake=False), labkit.Intermediary(), labkit.Link(one_way_s=0.4 * D)]
    fresh = variant("a connection each", "long-polling", keep_alive=False)
    schedule = labkit.poisson(RATE, FOR_S, seed=6)
    run = labkit.measure(lab, [fresh, "long-polling", "sse", "websocket"], schedule, through=path, progress=False)
    assert expected(run, fresh.name).max_s == pytest.approx((1 + 2 + 0.8) * D)
    assert not off(run, "sse", "websocket", "long-polling", fresh.name)


def short(lab: labkit.Lab, *names: str, **more: Any) -> labkit.Run:
    return labkit.measure(lab, names, labkit.poisson(20, 0.3 * UNIT, seed=1), progress=False, **more)


def test_of_a_path_with_an_obstacle_nothing_is_expected(lab: labkit.Lab) -> None:
    with labkit.Link(lab) as bound:
        at_work, elsewhere = labkit.Intermediary(idle_timeout_s=20, merge_s=0.01), ("127.0.0.1", bound.ports["http"])
        assert "limited rate" in why(short(lab, "sse", through=labkit.Link(rate_bytes_per_s=9e5)), "sse")
        assert "holds what it gets" in why(short(lab, "sse", through=at_work), "sse")
        assert "what is behind" in why(short(lab, "sse", through=elsewhere), "sse")
        both = [labkit.Link(one_way_s=0, jitter_s=0.01), labkit.Link(one_way_s=0, jitter_s=0.01)]
        assert "more than one link" in why(short(lab, "sse", through=both), "sse")
        idle = short(lab, "long-polling", "sse", through=labkit.Intermediary(idle_timeout_s=20))
        assert "quiet for 20 s" in why(idle, "long-polling") and expected(idle, "sse").mean_s == 0


def test_beside_its_table_a_run_says_why_it_has_no_theory(lab: labkit.Lab) -> None:
    run = short(lab, "sse", "websocket", "polling", options={"polling": {"conflate": True}},
                through=labkit.Link(one_way_s=0, jitter_s=0.01))  # fmt: skip
    assert [note for note in run.notes if note.startswith("No theory")] == [
        "No theory for polling: conflated, with jitter: the closed form is about periods that are all the same."
    ]
    slow = short(lab, "sse", "websocket", through=labkit.Link(rate_bytes_per_s=9e5))
    assert "No theory for SSE, WebSocket: link has a limited rate" in slow._repr_html_()
    assert not [note for note in short(lab, "sse").notes if note.startswith("No theory")]


def test_a_path_goes_on_behind_a_relay_that_is_bound(lab: labkit.Lab) -> None:
    with labkit.Link(lab, one_way_s=0.02) as behind, labkit.Link(behind, one_way_s=0.01) as bound:
        assert expected(short(lab, "sse", through=bound), "sse").mean_s == pytest.approx(0.03)
    address = ("127.0.0.1", lab.port)
    assert expected(short(lab, "sse", through=[labkit.Link(one_way_s=0.02), address]), "sse").mean_s == 0.02


def test_where_a_link_was_cut_or_set_otherwise_nothing_is_expected(lab: labkit.Lab) -> None:
    link = labkit.Link(one_way_s=0.01)
    fault = {0.1 * UNIT: lambda: link.cut(), 0.15 * UNIT: link.heal}
    assert "cut" in why(short(lab, "sse", through=link, at=fault), "sse")
    again = {0.1 * UNIT: lambda: setattr(link, "one_way_s", 0.02), 0.2 * UNIT: lambda: setattr(link, "one_way_s", 0.01)}
    assert "changed" in why(short(lab, "sse", through=link, at=again), "sse")
    assert expected(short(lab, "sse", through=link), "sse").mean_s == 0.01


def test_heartbeats_count_where_connections_must_not_be_quiet() -> None:
    with labkit.Lab("often", heartbeat_s=1.0, techniques=(*labkit.TECHNIQUES, FOREVER_FRAME)) as lab:
        run = short(lab, "sse", "http-streaming", "forever-frame", through=labkit.Intermediary(idle_timeout_s=5),
                    options={"http-streaming": {"format": "multipart"}})  # fmt: skip
    assert expected(run, "sse").mean_s == expected(run, "http-streaming").mean_s == 0
    assert "quiet for 5 s" in why(run, "forever-frame")
