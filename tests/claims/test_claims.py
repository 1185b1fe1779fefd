"""The rules of a verdict, and the file that keeps the verdicts."""

from __future__ import annotations

import ast
import json
import math
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

import labkit
from labkit.claims import judging, logbook, predicting, recording
from labkit.claims.confidence import (
    Interval,
    agrees,
    combine,
    count_interval,
    events_needed,
    mean_interval,
    median_interval,
    share_interval,
    within,
)
from labkit.claims.values import shown
from labkit.course.claims import CLAIMS
from labkit.errors import LabkitError


@pytest.fixture
def ledger(tmp_path, monkeypatch) -> Path:
    file = tmp_path / "verdicts" / "claims.jsonl"
    monkeypatch.setenv("LABKIT_CLAIMS", str(file))
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    return file


def written(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


# The rules


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (48, 52, "confirmed"),
        (45, 55, "confirmed"),
        (44, 52, "undecided"),
        (52, 58, "undecided"),
        (40, 60, "undecided"),
        (56, 60, "refuted"),
        (30, 44, "refuted"),
        (-math.inf, math.inf, "undecided"),
    ],
)
def test_a_tolerance_confirms_what_lies_inside_and_refutes_what_lies_outside(low, high, verdict):
    assert within(Interval((low + high) / 2, low, high, 40), 45, 55) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (540, 570, "confirmed"),
        (552, 554, "confirmed"),  # inside what the apparatus may add
        (556, 600, "refuted"),
        (400, 549, "refuted"),
        (200, 900, "undecided"),  # holds the value, and much else
        (-math.inf, math.inf, "undecided"),
    ],
)
def test_theory_is_confirmed_by_an_interval_that_holds_it_and_is_narrow_enough(low, high, verdict):
    assert agrees(Interval((low + high) / 2, low, high, 40), 550, 555, 300, 800) == verdict


@pytest.mark.parametrize(
    ("wide", "verdict"),
    [((560, 600), "refuted"), ((540, 620), "confirmed")],
)
def test_only_the_wide_interval_refutes_and_only_the_narrow_one_confirms(wide, verdict):
    found = Interval(580, 570, 590, 40, wide)
    assert agrees(found, 550, 555, 300, 800) == verdict
    assert within(found, 500, 555) == ("refuted" if verdict == "refuted" else "undecided")


def test_undecided_says_how_many_events_would_decide():
    assert events_needed(Interval(50, 40, 60, 100), 45, 55) == 400
    assert events_needed(Interval(50, 40, 60, 60), 45, 55, n=100) == 400
    assert events_needed(Interval(50, 40, 60, 100), 30, 70) == 100
    assert events_needed(Interval(50, 40, 60, 100), 50, 70) is None
    assert events_needed(Interval(50, -math.inf, math.inf, 3), 45, 55) is None


def test_how_many_events_would_decide_is_told_by_the_longer_side_of_a_medians_interval():
    """Undecided by its lower end: as many events as there were cannot decide."""
    found = Interval(10, 0, 11, 30, (-5, 12))
    assert agrees(found, 9, 11, 5, 15) == "undecided"
    assert events_needed(found, 5, 15) == 120


def test_an_endless_interval_is_one_of_too_few_events_and_at_no_edge():
    assert judging.more(median_interval([1.0] * 9), 0, 2, 9) == "; too few events to rule anything out"
    assert judging.more(Interval(50, 40, 60, 100), 50, 70, 100) == "; too close to the edge to say"


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        (["confirmed", "confirmed"], "confirmed"),
        (["confirmed", "undecided"], "undecided"),
        (["undecided", "refuted", "confirmed"], "refuted"),
        (["confirmed", "refined"], "refined"),
    ],
)
def test_a_claim_is_as_good_as_its_worst_part(parts, whole):
    assert combine(parts) == whole


def test_a_mean_has_students_intervals():
    values = [1.0, 2.0, 3.0, 4.0]
    interval, error = mean_interval(values), np.std(values, ddof=1) / 2
    assert (interval.value, interval.n) == (2.5, 4)
    assert interval.half_width == pytest.approx(10.2145 * error, rel=1e-4)  # of t with 3 degrees, one tail 0.001
    assert interval.highest - 2.5 == pytest.approx(129.6 * error, rel=1e-2)  # 0.000 000 5
    assert mean_interval(values, least_error=10).half_width == pytest.approx(102.145, rel=1e-4)


@pytest.mark.parametrize("n", [2, 5, 30])
def test_a_means_narrow_interval_misses_it_twice_in_a_thousand_even_of_two_values(n):
    samples = np.random.default_rng(4).normal(0.0, 1.0, (20_000, n))
    intervals = [mean_interval(row.tolist()) for row in samples]
    missed = sum(not i.low <= 0 <= i.high for i in intervals)
    assert abs(missed - 40) <= 4 * math.sqrt(40)
    assert sum(not i.lowest <= 0 <= i.highest for i in intervals) == 0


@pytest.mark.parametrize(
    ("interval", "low", "high"),  # Clopper and Pearson's, Garwood's: one tail 0.001
    [
        (share_interval(0, 20), 0.0, 1 - 0.001 ** (1 / 20)),
        (share_interval(20, 20), 0.001 ** (1 / 20), 1.0),
        (count_interval(0), 0.0, -math.log(0.001)),
    ],
)
def test_counts_have_exact_limits(interval, low, high):
    assert (interval.low, interval.high) == (pytest.approx(low), pytest.approx(high))
    assert interval.lowest <= interval.low <= interval.value <= interval.high <= interval.highest


@pytest.mark.parametrize(("n", "share"), [(40, 0.02), (60, 0.5)])
def test_an_exact_share_is_missed_at_most_as_often_as_it_says(n, share):
    counts = np.random.default_rng(5).binomial(n, share, 20_000).tolist()
    missed = sum(not i.low <= share <= i.high for i in (share_interval(k, n) for k in counts))
    assert missed <= 40 + 4 * math.sqrt(40)


def test_values_of_one_group_count_as_one_sample():
    rng = np.random.default_rng(1)
    per_event = rng.uniform(0, 1, 300)
    copies = np.repeat(per_event, 5)
    alone, grouped = (
        mean_interval(list(per_event)),
        mean_interval(list(copies), groups=np.repeat(range(300), 5).tolist()),
    )
    assert grouped.n == 300
    assert grouped.half_width == pytest.approx(alone.half_width)
    assert mean_interval(list(copies)).half_width < 0.5 * alone.half_width


@pytest.mark.parametrize("values", [[], [1.0]])
def test_too_few_values_have_an_endless_interval(values):
    assert mean_interval(values).half_width == math.inf
    assert median_interval(values * 7).half_width == math.inf


@pytest.mark.parametrize(("n", "rank"), [(9, 0), (10, 1), (20, 3), (40, 10), (1001, 452)])
def test_a_medians_interval_lies_between_order_statistics(n, rank):
    interval = median_interval([float(i) for i in range(n, 0, -1)])
    assert interval.value == (n + 1) / 2
    if rank:
        assert (interval.low, interval.high) == (rank, n + 1 - rank)
    else:
        assert interval.half_width == math.inf
    assert (interval.highest < math.inf) == (n > 20)


@pytest.mark.parametrize("n", [10, 25, 60])
def test_a_medians_narrow_interval_misses_it_twice_in_a_thousand(n):
    samples = np.random.default_rng(2).exponential(1.0, (4000, n))
    intervals = [median_interval(row.tolist()) for row in samples]
    missed = sum(not i.low <= math.log(2) <= i.high for i in intervals)
    assert missed <= 4000 * 0.002 + 4 * math.sqrt(8)


def test_without_scipy_there_is_no_verdict_and_it_says_why(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(LabkitError, match="needs scipy"):
        share_interval(1, 17)


# The ledger


def test_a_record_is_kept_whole(ledger):
    kept = recording.record(
        "P1", 0.55, np.float64(0.5481), "confirmed", "near enough", interval=Interval(0.5481, 0.51, 0.58, 40), unit="s"
    )
    assert recording.records() == {"P1": kept}
    (entry,) = written(ledger)
    assert entry["source"] == "founding notes; RFC 6202 section 2.1"
    assert (entry["expected"], entry["measured"], entry["interval"], entry["n"]) == (0.55, 0.5481, [0.51, 0.58], 40)
    assert entry["verdict"] == "confirmed"
    assert entry["versions"]["python"]
    assert {"id", "reason", "notebook", "run", "time"} <= entry.keys()


def test_the_newest_record_of_an_id_counts_and_older_ones_stay(ledger):
    recording.record("P1", 1, 2, "refuted", "first")
    recording.record("X9", 1, 2, "derived", "other", source="somewhere")
    recording.record("P1", 1, 1, "confirmed", "second")
    assert [(r.id, r.reason) for r in recording.records().values()] == [("P1", "second"), ("X9", "other")]
    assert len(written(ledger)) == 3


def test_a_torn_line_is_skipped_and_the_next_record_does_not_stick_to_it(ledger):
    recording.record("P1", 1, 1, "confirmed", "whole")
    with ledger.open("ab") as file:
        file.write('{"id":"L1","verdict":"confirmed","reason":"전'.encode()[:-1])
    assert list(recording.records()) == ["P1"]
    recording.record("S3", 1, 1, "confirmed", "after")
    assert list(recording.records()) == ["P1", "S3"]


def test_a_file_that_may_not_be_read_is_said_and_keeps_no_run_from_being_drawn(ledger):
    ledger.mkdir(parents=True)
    with pytest.raises(LabkitError, match=r"cannot read .*claims.jsonl .*LABKIT_CLAIMS"):
        recording.records()
    logbook.predictions_path().mkdir()
    with pytest.raises(LabkitError, match=r"cannot read .*claims.predictions.jsonl"):
        predicting.prediction("P1", None)
    assert predicting.predicted_latency_s("polling", {"poll_interval_s": 1.0}) is None


def test_a_place_where_no_file_can_be_holds_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LABKIT_CLAIMS", str(tmp_path / "file" / "claims.jsonl"))
    assert recording.records() == {}


def test_lines_of_another_version_or_kind_do_no_harm(ledger):
    ledger.parent.mkdir()
    ledger.write_text(
        '[1]\n\n{"id": 3}\n{"id": "A1", "verdict": "maybe"}\n{"id": "A2", "verdict": "derived", "new": 1}\n'
    )
    (only,) = recording.records().values()
    assert (only.id, only.expected, only.interval) == ("A2", None, None)
    assert "A2" in str(only)


def test_no_file_is_no_records(ledger):
    assert recording.records() == {}
    assert predicting.prediction("P1", None) is None
    assert recording.table().empty


def test_numbers_that_json_has_not_are_kept_as_none(ledger):
    kept = recording.record(
        "S3", math.nan, {"p50": np.int64(3), "p95": math.inf}, "undecided", "too few", interval=(0.1, math.inf)
    )
    assert (kept.expected, kept.measured, kept.interval) == (None, {"p50": 3, "p95": None}, (0.1, None))
    assert kept == recording.records()["S3"]
    str(kept), kept._repr_html_()


def test_many_writers_leave_whole_lines(ledger):
    code = "from labkit import claims\nfor i in range(25): claims.record('C{0}', i, i, 'derived', 'x' * 3000)"
    workers = [subprocess.Popen([sys.executable, "-c", code.format(i)]) for i in range(2)]
    threads = [threading.Thread(target=exec, args=(code.format(i), {})) for i in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [worker.wait() for worker in workers] == [0, 0]
    assert len(written(ledger)) == 100
    assert {id: r.measured for id, r in recording.records().items()} == {f"C{i}": 24 for i in range(4)}


def test_nobody_writes_while_another_holds_the_lock(ledger, monkeypatch):
    recording.record("P1", 1, 1, "confirmed", "before")
    monkeypatch.setattr(logbook, "LOCK_TIMEOUT_S", 0.0)
    with FileLock(f"{ledger}.lock"), pytest.raises(LabkitError, match="cannot write"):
        recording.record("P1", 1, 1, "confirmed", "meanwhile")
    recording.record("P1", 1, 1, "confirmed", "after")
    assert [entry["reason"] for entry in written(ledger)] == ["before", "after"]


def test_without_the_variable_records_go_to_the_users_data_directory(monkeypatch, tmp_path):
    monkeypatch.delenv("LABKIT_CLAIMS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert logbook.path().name == "claims.jsonl"
    assert logbook.path().parent.name == "labkit"


def test_a_file_that_cannot_be_written_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LABKIT_CLAIMS", str(tmp_path / "file" / "claims.jsonl"))
    with pytest.raises(LabkitError, match="LABKIT_CLAIMS"):
        recording.record("P1", 1, 1, "confirmed", "why")


@pytest.mark.parametrize(
    ("verdict", "reason", "match"), [("true", "why", "confirmed, refuted"), ("not run", "", "reason")]
)
def test_a_verdict_is_one_of_seven_and_has_its_reason(ledger, verdict, reason, match):
    with pytest.raises(LabkitError, match=match):
        recording.record("P1", 1, 1, verdict, reason)
    assert not ledger.exists()


def test_a_record_names_the_notebook_that_asked(ledger, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "/somewhere/notebooks/01_polling.ipynb")
    assert recording.record("P1", 1, 1, "confirmed", "why").notebook == "01_polling"
    assert recording.record("P1", 1, 1, "confirmed", "why", notebook="mine").notebook == "mine"


def test_a_record_reads_well_in_a_terminal_and_in_a_notebook(ledger):
    predicting.predict("P1", 500, "ms")
    kept = recording.record("P1", 0.55, 0.548, "confirmed", "a < b & <script>", interval=(0.51, 1.04), n=40, unit="s")
    text, page = str(kept), kept._repr_html_()
    assert text.startswith("P1 ✓ confirmed\n")
    assert "548 ms (510 ms to 1.04 s, n = 40)" in text
    assert "500 ms, 1.1 times too low" in text
    assert "서버의 변경에" in text and "서버의 변경에" in page
    assert "a &lt; b &amp; &lt;script&gt;" in page and "<script>" not in page


def test_the_table_shows_records_beside_predictions(ledger):
    predicting.predict("P1", 0.5)
    recording.record("P1", 0.55, 0.5, "confirmed", "<b>", unit="s")
    recording.record("L1", "d", None, "not run", "no time")
    table = recording.table()
    told = ["550 ms", "500 ms", "500 ms", "right"]
    assert table.loc["P1", ["expected", "measured", "predicted", "missed"]].tolist() == told
    assert table.loc["L1", "verdict"] == "not run"
    assert "&lt;b&gt;" in table._repr_html_()


def test_a_record_shows_no_empty_row_and_one_of_a_thing(ledger):
    bare = recording.record("S2", None, None, "confirmed", "why", n=24)
    assert "expected" not in str(bare) and "expected" not in bare._repr_html_()
    assert "n:        24" in str(bare)
    assert "measured: 1 event (n = 3)" in str(recording.record("S8", 1, 1, "confirmed", "why", n=3, unit="events"))
    narrow = recording.record("A8", 1.5, 1.5012, "confirmed", "why", interval=(1.4989, 1.5021), n=120, unit="s")
    assert "measured: 1.5 s (n = 120)" in str(narrow)
    assert recording.table().loc["A8", "interval"] == "1.5 s"
    assert shown(1, "ms") == "1 ms" and shown(2, "events") == "2 events"


# Predictions


def test_a_prediction_is_kept_beside_the_claims_in_the_claims_unit(ledger):
    predicting.predict("P1", 0.4)
    predicting.predict("L1", 60, "ms")
    shown = predicting.predict("P1", 0.55)
    newest = predicting.prediction("P1", None)
    assert (newest.value, newest.unit) == (0.55, "s")
    assert predicting.prediction("L1", None).unit == "ms"
    assert str(shown) == "prediction for P1: 550 ms"
    assert shown._repr_html_() == "<p>prediction for P1: 550 ms</p>"
    assert not ledger.exists() and ledger.with_name("claims.predictions.jsonl").exists()


@pytest.mark.parametrize(
    ("measured", "unit", "value", "guess_unit", "said"),
    [
        (0.5, "s", 0.51, "s", "right"),
        (0.5, "s", 600, "ms", "1.2 times too high"),
        (12, "bytes", 6, "", "2 times too low"),
        (0.006, "s", 2.0, "s", "330 times too high"),
        (0.5, "s", 3, "bytes", ""),
        ("d", "s", 3, "s", ""),
        (0, "s", 3, "s", ""),
        (0.5, "s", -1, "s", ""),
    ],
)
def test_a_prediction_is_scored_by_the_factor_it_missed_by(ledger, measured, unit, value, guess_unit, said):
    kept = recording.record("Z1", 1, measured, "derived", "why", unit=unit)
    assert recording.missed(kept, predicting.predict("Z1", value, guess_unit)) == said


def test_three_dots_are_no_prediction_and_run_through(ledger):
    assert str(predicting.predict("P1", ..., unit="s")) == (
        "P1: no prediction yet. Type a number (s) in place of the dots and run this cell again."
    )
    assert "a number in place" in predicting.predict("P4", ...)._repr_html_()
    assert not ledger.with_name("claims.predictions.jsonl").exists()
    assert predicting.prediction("P1", None) is None


def test_of_a_claim_that_there_is_not_nothing_is_predicted(ledger):
    for value in (1, ...):
        with pytest.raises(LabkitError, match=r"no claim 'Q99' to predict; there are: P1, P2, .*, S7, .*, S9, .*"):
            predicting.predict("Q99", value)
    with pytest.raises(LabkitError, match="no condition colour; a question may name one_way_s, "):
        predicting.predict("P1", 1, colour=3)
    with pytest.raises(LabkitError, match="a number, not 'far'"):
        predicting.predict("P1", 1, one_way_s="far")
    recording.record("mine", 1, 1, "derived", "my own")
    assert predicting.predict("mine", 1).value == 1


def asked(notebook: str, monkeypatch) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", f"/somewhere/{notebook}.ipynb")


ASKED = {"one_way_s": 0.05, "poll_interval_s": 1.0, "schedule": {"rate_per_s": 8.0}}


@pytest.mark.parametrize(
    ("settings", "is_meant"),
    [
        (ASKED, True),
        ({**ASKED, "schedule": {"rate_per_s": 3.0}}, False),
        ({**ASKED, "one_way_s": 0.2}, False),
        ({**ASKED, "poll_interval_s": 0.5}, False),
        ({**ASKED, "steady": False}, False),
        ({**ASKED, "schedule": {"rate_per_s": None}}, False),
        ({}, False),
    ],
)
def test_a_prediction_is_for_the_conditions_of_its_question(ledger, monkeypatch, settings, is_meant):
    asked("00_start_here", monkeypatch)
    predicting.predict("P1", 400, "ms", one_way_s=0.05, poll_interval_s=1, rate_per_s=8)
    assert predicting.predicted_latency_s("polling", settings) == (0.4 if is_meant else None)
    assert predicting.predicted_latency_s("sse", settings) is None


def test_a_prediction_is_for_the_notebook_in_which_it_was_typed(ledger, monkeypatch):
    asked("00_start_here", monkeypatch)
    predicting.predict("P1", 0.4, one_way_s=0.05)
    asked("07_control_room", monkeypatch)
    assert predicting.predicted_latency_s("polling", ASKED) is None
    predicting.predict("P1", 0.5, one_way_s=0.05)
    assert predicting.predicted_latency_s("polling", ASKED) == 0.5
    asked("00_start_here", monkeypatch)
    assert predicting.predicted_latency_s("polling", ASKED) == 0.4
    assert [predicting.prediction("P1", name).value for name in ("00_start_here", "07_control_room")] == [0.4, 0.5]


def test_where_no_notebook_has_a_name_a_prediction_is_for_its_kernel(ledger, monkeypatch):
    predicting.predict("P1", 0.4, one_way_s=0.05)
    assert predicting.predicted_latency_s("polling", ASKED) == 0.4
    monkeypatch.setattr(predicting, "SESSION", "another kernel")  # or `labkit measure --html`
    assert predicting.predicted_latency_s("polling", ASKED) is None


def test_a_prediction_without_conditions_is_for_no_run_in_particular(ledger):
    predicting.predict("P1", 0.4)
    assert predicting.predicted_latency_s("polling", ASKED) is None
    assert predicting.asked_here("P1", {}).value == 0.4


def test_what_was_kept_before_predictions_were_typed_does_not_count(ledger):
    ledger.parent.mkdir()
    old = {"id": "P1", "value": 0.5, "unit": "s", "time": "2026-01-01T00:00:00"}
    ledger.with_name("claims.predictions.jsonl").write_text(json.dumps(old) + "\n")
    assert predicting.prediction("P1", None) is None


def test_where_the_question_asks_for_a_limit_a_prediction_is_scored_against_the_limit(ledger):
    kept = recording.record("W7", 1.0, 0.872, "confirmed", "why", unit="s")
    assert recording.missed(kept, predicting.predict("W7", 1.0)) == "right"
    assert recording.missed(kept, predicting.predict("W7", 0.5)) == "2 times too low"


def test_a_reason_is_one_part_a_line_and_what_holds_is_folded_away(ledger):
    kept = recording.record("P1", 1, 2, "refuted", "first\n<second>", holds=["third", "fourth & fifth"])
    assert kept == recording.records()["P1"]
    assert str(kept).split("\n")[-3:] == [
        "  reason:   first",
        "            <second>",
        "            and 2 more that hold",
    ]
    page = kept._repr_html_()
    assert "<div>first</div><div>&lt;second&gt;</div>" in page
    assert (
        "<details><summary>and 2 more that hold</summary><div>third</div><div>fourth &amp; fifth</div></details>"
        in page
    )


@pytest.mark.parametrize("value", ["half a second", None, math.nan, 10**400, True])
def test_a_prediction_is_a_number(ledger, value):
    with pytest.raises(LabkitError, match="a number"):
        predicting.predict("P1", value)


@pytest.mark.parametrize(
    ("id", "unit", "said"),
    [("P1", "min", "P1 is predicted in s, ms, us, not in 'min'"), ("P4", "s", "P4 is predicted without a unit")],
)
def test_a_prediction_in_a_unit_that_cannot_be_compared_is_refused(ledger, id, unit, said):
    """It would be drawn as so many seconds, and scored by nothing."""
    with pytest.raises(LabkitError, match=said):
        predicting.predict(id, 5, unit, one_way_s=0.05)
    assert predicting.predict("P2", 5, "bytes").unit == "bytes"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0503, "s", "50.3 ms"),
        (0.9996, "s", "1000 ms"),
        (1.0501, "s", "1.05 s"),
        (0, "s", "0 ms"),
        (7, "", "7"),
        (4148, "bytes", "4148 bytes"),
        (4148.4, "bytes", "4150 bytes"),
        (1, "bytes", "1 byte"),
        (1, "requests/s", "1 request/s"),
        (1, "ms", "1 ms"),
        (0.9999, "times", "1 time"),
        (np.int64(3), "events", "3 events"),
        (float("inf"), "bytes", "inf bytes"),
        ("d", "s", "d"),
        (None, "s", ""),
    ],
)
def test_values_are_shown_with_three_digits(value, unit, text):
    assert shown(value, unit) == text


def test_the_module_loads_nothing_heavy():
    code = (
        "import labkit.claims.recording, labkit.claims.checking, labkit.theory, sys\n"
        "print(*{'pandas', 'scipy', 'filelock', 'platformdirs', 'tornado'} & sys.modules.keys())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def predict_cells() -> list[tuple[str, str]]:
    """(notebook, source) of each cell that asks for a prediction."""
    found = []
    for path in sorted(NOTEBOOKS.glob("**/*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "code" and "labkit.predict(" in source:
                found.append((path.stem, source))
    return found


@pytest.mark.parametrize(("notebook", "source"), predict_cells())
def test_predict_cells_come_empty_and_name_the_conditions_of_what_is_drawn(ledger, notebook, source):
    call = ast.parse(source).body[0].value
    id, number = call.args[:2]
    assert isinstance(number, ast.Constant) and number.value is ...
    assert "#" in source  # the question
    conditions = {keyword.arg for keyword in call.keywords} - {"unit"}
    assert bool(conditions) == bool(CLAIMS[id.value].latency_of)
    assert isinstance(eval(source, {"labkit": labkit}), predicting.Blank)
