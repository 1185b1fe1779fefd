"""The chooser: its arithmetic, what it refuses, where its answer changes, and the record it writes."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import labkit
from labkit import choosing, theory
from labkit.choosing import MEASURED, Choice, Option, Range
from labkit.errors import LabkitError

ROOT = Path(__file__).parents[2]
CALM: dict[str, Any] = {"rate_per_s": 1.0, "staleness_s": 2.0}


def option(choice: Choice, technique: str) -> Option:
    return next(o for o in choice.options if o.technique == technique)


# What it answers


def test_interval_polling_is_the_answer_where_events_are_rare_and_much_is_tolerated() -> None:
    choice = labkit.choose(rate_per_s=1 / 3600, staleness_s=300)
    assert choice.winner == "polling"
    assert choice.sentence.startswith("Interval polling is the right answer: a poll every 300")


def test_a_stream_that_gathers_its_events_is_the_answer_where_dozens_of_them_would_share_an_answer() -> None:
    choice = labkit.choose(rate_per_s=8, staleness_s=30)
    assert choice.winner == "sse" and option(choice, "polling").cost > 1.5 * option(choice, "sse").cost


def test_a_stream_is_the_answer_where_little_is_tolerated() -> None:
    assert labkit.choose(rate_per_s=1, staleness_s=0.1).winner in ("sse", "http-streaming", "websocket")


def test_a_websocket_is_the_answer_where_clients_have_much_to_say() -> None:
    assert labkit.choose(**CALM, upstream_per_s=1, clients=500).winner == "websocket"


def test_long_polling_is_the_answer_where_the_path_forbids_the_others() -> None:
    choice = labkit.choose(rate_per_s=0.1, staleness_s=0.3, path=("buffering-proxy", "blocks-upgrade"))
    assert choice.winner == "long-polling"
    assert "holds an answer back" in option(choice, "sse").why_not
    assert "Upgrade" in option(choice, "websocket").why_not


def test_more_streams_than_a_browser_has_connections_want_http2_at_the_edge_or_a_websocket() -> None:
    needs: dict[str, Any] = {"rate_per_s": 1, "staleness_s": 0.3, "held_per_browser": 8}
    old = labkit.choose(**needs)
    assert old.winner == "websocket" and "6 connections" in option(old, "sse").why_not
    assert all(o.feasible for o in labkit.choose(**needs, path=("http2-edge",)).options if o.technique != "polling")
    assert "8 streams or held requests" in old.to_adr()


@pytest.mark.parametrize(
    ("winner", "path", "is_said"),
    [
        ("sse", (), True),
        ("sse", ("http2-edge",), False),
        ("long-polling", ("buffering-proxy", "blocks-upgrade"), True),
        ("long-polling", ("buffering-proxy", "blocks-upgrade", "http2-edge"), False),
    ],
)
def test_a_record_tells_of_six_connections_where_they_count(winner: str, path: tuple[str, ...], is_said: bool) -> None:
    choice = labkit.choose(rate_per_s=0.1, staleness_s=0.3, path=path)
    assert choice.winner == winner and ("has six connections to a host" in choice.to_adr()) is is_said


def test_at_an_http2_edge_a_poll_costs_a_third_of_its_bytes_or_less() -> None:
    old, new = (labkit.choose(rate_per_s=0.001, staleness_s=60, path=path) for path in ("plain", "http2-edge"))
    share = option(new, "polling").bytes_per_h / option(old, "polling").bytes_per_h
    assert 0.3 < share < 0.4 and option(new, "sse").bytes_per_h == option(old, "sse").bytes_per_h
    with pytest.raises(LabkitError, match="held_per_browser=0"):
        labkit.choose(**CALM, held_per_browser=0)


def test_nothing_is_an_answer_too() -> None:
    choice = labkit.choose(rate_per_s=1, staleness_s=0.01, one_way_s=0.05)
    assert choice.winner == "nothing"
    assert choice.sentence.startswith("No technique can do this")
    assert not choice.alike


def test_what_is_paid_for_decides() -> None:
    needs: dict[str, Any] = {"rate_per_s": 8, "staleness_s": 30}
    assert labkit.choose(**needs | {"staleness_s": 120}).winner == "polling"
    assert labkit.choose(**needs | {"staleness_s": 120}, prices={"per_million_requests": 1}).winner != "polling"
    assert labkit.choose(**needs, prices={"per_gb": 0}).sentence
    priced = labkit.choose(**needs, prices={"per_gb": 2.0})
    assert option(priced, "sse").cost == pytest.approx(option(priced, "sse").bytes_per_h / 1e9 * 2)


# Its numbers


def test_polling_asks_as_often_as_the_tolerated_staleness_wants() -> None:
    polling = option(labkit.choose(rate_per_s=1, staleness_s=2.05, one_way_s=0.05, clients=1), "polling")
    assert polling.every_s == pytest.approx(2.0)
    assert polling.worst_s == pytest.approx(2.05)
    assert polling.mean_s == pytest.approx(theory.polling_latency(2.0, 0.05).mean_s)
    assert polling.requests_per_h == pytest.approx(1800)
    b = MEASURED["polling"]
    assert polling.bytes_per_h == pytest.approx(1800 * b.exchange_bytes.value + 3600 * (20 + b.event_bytes))


def test_long_polling_has_the_closed_forms() -> None:
    found = option(labkit.choose(rate_per_s=3, staleness_s=1, one_way_s=0.05, clients=1), "long-polling")
    assert found.requests_per_h == pytest.approx(3600 * theory.long_polling_requests_per_s(3, 0.05, 30))
    assert found.mean_s == pytest.approx(theory.long_polling_mean(3, 0.05, 30, 0.1), rel=0.01)
    answer_s = MEASURED["long-polling"].exchange_us.value / 1e6
    assert found.worst_s == pytest.approx(0.15 + answer_s)


def test_polling_cannot_ask_before_it_is_answered() -> None:
    found = option(labkit.choose(rate_per_s=1, staleness_s=0.14, one_way_s=0.05), "polling")
    assert "later than is tolerated" in found.why_not
    assert option(labkit.choose(rate_per_s=0.1, staleness_s=0.151, one_way_s=0.05, clients=9), "polling").feasible


def test_newest_only_spares_polling_what_nobody_wants() -> None:
    every, newest = (labkit.choose(rate_per_s=50, staleness_s=5, clients=9, latest_only=only) for only in (False, True))
    assert option(newest, "polling").bytes_per_h < option(every, "polling").bytes_per_h / 5
    assert option(newest, "sse").bytes_per_h < option(every, "sse").bytes_per_h / 5


def test_a_short_idle_time_out_makes_holds_and_heartbeats_shorter() -> None:
    tight, plain = (labkit.choose(rate_per_s=0.001, staleness_s=1, path=p) for p in ("idle-timeout:10", "plain"))
    assert option(tight, "long-polling").every_s == pytest.approx(8)
    assert option(tight, "long-polling").requests_per_h > 3 * option(plain, "long-polling").requests_per_h
    assert option(tight, "websocket").bytes_per_h > option(plain, "websocket").bytes_per_h


def test_heartbeats_fill_only_what_is_silent() -> None:
    """One for each whole 15 s without an event: 240 an hour in silence, none among many events."""
    heartbeat = MEASURED["sse"].heartbeat_bytes
    silent = option(labkit.choose(rate_per_s=1e-9, staleness_s=1, clients=1), "sse")
    assert silent.bytes_per_h == pytest.approx(240 * heartbeat + MEASURED["sse"].open_bytes, rel=1e-3)
    busy = option(labkit.choose(rate_per_s=100, staleness_s=1, clients=1), "sse")
    assert busy.bytes_per_h == pytest.approx(
        360_000 * (20 + MEASURED["sse"].event_bytes) + MEASURED["sse"].open_bytes, rel=1e-6
    )


def test_tls_adds_a_record_to_each_write_and_hides_the_http() -> None:
    plain, tls = (labkit.choose(rate_per_s=1, staleness_s=1, clients=1, tls=t) for t in (False, True))
    added = option(tls, "sse").bytes_per_h - option(plain, "sse").bytes_per_h
    assert added == pytest.approx(22 * 3600 + 4000, rel=1e-3)
    through = labkit.choose(**CALM, tls=True, path=("buffering-proxy", "blocks-upgrade"))
    assert option(through, "sse").feasible and option(through, "websocket").feasible
    ended = labkit.choose(**CALM, tls=True, path=("buffering-proxy", "blocks-upgrade", "ends-tls"))
    assert not option(ended, "sse").feasible and not option(ended, "websocket").feasible


def test_messages_by_post_take_requests_and_a_connection_of_their_own() -> None:
    choice = labkit.choose(**CALM, clients=100, upstream_per_s=0.5)
    assert option(choice, "sse").requests_per_h == pytest.approx(100 * (1 + 1800))
    assert option(choice, "sse").connections == pytest.approx(200)
    assert option(choice, "websocket").requests_per_h == pytest.approx(100)
    assert option(choice, "websocket").connections == pytest.approx(100)


def test_one_process_has_its_limits_and_more_processes_move_them() -> None:
    needs: dict[str, Any] = {"rate_per_s": 0.001, "staleness_s": 0.3, "clients": 30_000}
    few = option(labkit.choose(**needs, servers=1), "sse")
    assert few.why_not == "needs 2 servers for its 30,000 connections, 1 given"
    assert option(labkit.choose(**needs, servers=2), "sse").feasible
    assert option(labkit.choose(**needs), "sse").servers == 2


def test_every_number_has_a_formula_and_a_notebook_that_is_there() -> None:
    table = labkit.choose(**CALM).formulas()
    assert set(table.index.get_level_values("technique")) == set(MEASURED)
    assert table["formula"].str.len().min() > 0 and table["value"].notna().all()
    for notebook in set(table["measured in"]):
        assert (ROOT / "notebooks" / f"{notebook}.ipynb").exists()


def test_a_figure_lies_within_its_range() -> None:
    for figures in MEASURED.values():
        for name in ("exchange_bytes", "exchange_us", "event_us", "message_us", "memory_kib"):
            found = getattr(figures, name)
            assert found.low <= found.value <= found.high
    for found in labkit.choose(**CALM).options:
        assert found.cost_low <= found.cost <= found.cost_high


def test_every_figure_says_where_it_is_from(run: labkit.Run) -> None:
    """Measured here, measured by the kit, or estimated; in the table of figures and beside each formula."""
    kit, own = labkit.choose(**CALM), labkit.choose(**CALM, run=run)
    assert set(kit.sources()["origin"]) == {"measured by the kit", "estimated"}
    assert own.sources().loc[("sse", "event_bytes"), "origin"] == "measured here"
    assert own.sources().loc[("sse", "event_us"), "origin"] == "measured by the kit"
    assert "measured here" in own.formulas().loc[("polling", "bytes/h"), "figures"]
    assert kit.formulas().loc[("polling", "worst"), "figures"] == "computed"
    assert set(labkit.choose(**CALM, tls=True).sources().loc["TLS"]["origin"]) == {"measured by the kit"}
    for date_machine_version in (r"on 20\d\d-\d\d-\d\d", "Intel", "Python 3", "Tornado 6", "labkit 0"):
        assert re.search(date_machine_version, kit.note)


def test_a_run_on_a_busy_machine_makes_nothing_alike_that_is_not() -> None:
    """An interval from next to nothing to several times the value overlaps with everything."""
    wide = replace(MEASURED["polling"], exchange_us=Range(400, 1, 5000))
    choice = Choice(labkit.choose(rate_per_s=8, staleness_s=1.5).needs, MEASURED | {"polling": wide})
    polling, best = option(choice, "polling"), choice.options[0]
    assert polling.cost_low < best.cost_high and polling.cost > 10 * best.cost
    assert choice.winner == "sse" and "polling" not in choice.alike
    held = replace(MEASURED["websocket"], memory_kib=Range(900, 0, 9000))
    wide_next = Choice(choice.needs, {**choice.figures, "websocket": held})
    assert "by the figures' ranges anything from" in wide_next.sentence


# A run of one's own


@pytest.fixture(scope="module")
def run() -> labkit.Run:
    with labkit.Lab("choosing") as lab:
        schedule = labkit.poisson(rate_per_s=20, duration_s=1.5, seed=3)
        return labkit.measure(lab, schedule=schedule, one_way_s=0.01, poll_interval_s=0.2)


def test_the_kits_figures_are_those_that_a_run_measures(run: labkit.Run) -> None:
    """Bytes are counted, so they must agree but for the digits of ids and ports."""
    for technique, own in choosing.choice.figures_of(run).items():
        kit = MEASURED[technique]
        assert own.event_bytes == pytest.approx(kit.event_bytes, abs=3)
        assert own.exchange_bytes.value == pytest.approx(kit.exchange_bytes.value, rel=0.03)
        assert own.open_bytes == pytest.approx(kit.open_bytes, rel=0.1)


def test_a_runs_bytes_give_that_runs_bytes_back(run: labkit.Run) -> None:
    figures = choosing.choice.figures_of(run)["websocket"]
    row = run.summary().loc["websocket"]
    again = 20 + figures.event_bytes + figures.open_bytes / row["events"]
    assert again == pytest.approx(row["bytes_per_event"], rel=0.01)


@pytest.mark.parametrize("run", [3, "run", object()])
def test_what_is_no_run_is_refused(run: Any) -> None:
    with pytest.raises(LabkitError, match="run="):
        labkit.choose(**CALM, run=run)


# What it refuses


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("rate_per_s", 0),
        ("rate_per_s", -1),
        ("rate_per_s", "often"),
        ("rate_per_s", math.nan),
        ("rate_per_s", True),
        ("staleness_s", 0),
        ("staleness_s", math.inf),
        ("payload_bytes", -1),
        ("clients", 0),
        ("clients", None),
        ("latest_only", "yes"),
        ("upstream_per_s", -0.1),
        ("one_way_s", -0.05),
        ("tls", 1),
        ("path", "a-dragon"),
        ("path", ("plain", "idle-timeout")),
        ("path", "idle-timeout:soon"),
        ("path", "idle-timeout:0"),
        ("path", 5),
        ("prices", {}),
        ("prices", {"per_tb": 1}),
        ("prices", {"per_gb": -1}),
        ("prices", 0.09),
        ("servers", 0),
        ("servers", "many"),
        ("servers", 1.5),
        ("held_per_browser", 2.5),
        ("heartbeat_s", 0),
        ("ordered", 1),
        ("finite", None),
        ("mobile", "yes"),
        ("rate_per_s", 1e308),
        ("rate_per_s", 10**400),
        ("rate_per_s", 5e-324),
        ("staleness_s", 1e300),
        ("clients", 1e300),
        ("one_way_s", 1e300),
        ("heartbeat_s", 1e-300),
        ("upstream_per_s", 1e300),
        ("path", "idle-timeout:1e-300"),
        ("prices", {"per_gb": math.nan}),
    ],
)
def test_bad_input_is_one_error_that_names_the_parameter(parameter: str, value: Any) -> None:
    with pytest.raises(LabkitError, match=f"choose: {parameter}"):
        labkit.choose(**{**CALM, parameter: value})


@pytest.mark.parametrize("rate_per_s", [1e-9, 1, 1e12])
@pytest.mark.parametrize("staleness_s", [1e-9, 1, 1e12])
@pytest.mark.parametrize("one_way_s", [0, 1e-9, 1, 1e12])
def test_at_its_bounds_the_arithmetic_holds(rate_per_s: float, staleness_s: float, one_way_s: float) -> None:
    for more in ({"clients": 1e12, "upstream_per_s": 1e12}, {"payload_bytes": 1e12, "heartbeat_s": 1e-9}):
        choice = labkit.choose(rate_per_s=rate_per_s, staleness_s=staleness_s, one_way_s=one_way_s, **more)
        assert all(math.isfinite(option.cost) for option in choice.options) and "inf" not in choice.sentence.split()


def test_an_idle_limit_that_ends_one_technique_leaves_the_others() -> None:
    choice = labkit.choose(rate_per_s=1, staleness_s=0.5, one_way_s=0.3, path="idle-timeout:0.5")
    (polling,) = [option for option in choice.options if option.technique == "polling"]
    assert not polling.feasible and choice.winner == "sse"
    labkit.choose(rate_per_s=0.013, staleness_s=0.556, one_way_s=0.021, path="idle-timeout:1.24").flips()


def test_a_record_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(LabkitError, match="cannot be written"):
        labkit.choose(**CALM).to_adr(tmp_path / "not" / "there.md")


# How it shows


def test_it_shows_its_sentence_its_ranking_and_its_formulas() -> None:
    choice = labkit.choose(**CALM)
    shown = choice._repr_html_()
    assert choice.table()["rank"].tolist()[0] == 1
    for text in ("times as much", "01_polling", "T + d = S", "measured by the kit on 20", "could change the answer"):
        assert text in shown


def test_the_record_says_why_and_what_was_not_run(run: labkit.Run, tmp_path: Path) -> None:
    text = labkit.choose(**CALM, run=run, tls=True).to_adr(tmp_path / "adr.md")
    assert (tmp_path / "adr.md").read_text(encoding="utf-8") == text
    for part in ("## Context", "## Options", "## Decision", "## Consequences", "## Evidence", "Not run:", "seed 3"):
        assert part in text
    assert f"labkit {labkit.__version__}" in text and "TLS: yes" in text
    dear = labkit.choose(rate_per_s=8, staleness_s=1.5, clients=100_000).to_adr()
    assert not re.search(r"\de[+-]\d|\(([^ ]+) to \1\)", text + dear), "no power of ten, no interval between one number"
