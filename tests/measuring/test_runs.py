"""Runs: rows, connections, statistics; a file that gives the same run back; two runs side by side."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import os
import random
import re
import sys
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labkit.client.ledger import ConnectionRecord, Ledger, Transfer
from labkit.errors import LabkitError
from labkit.measuring import run_bytes, run_file, summaries
from labkit.measuring.joining import arrivals
from labkit.measuring.recording import COLUMNS
from labkit.measuring.rounding import plain as plain_table
from labkit.measuring.rounding import rounded
from labkit.measuring.run import Run, load
from labkit.measuring.tables import Table
from labkit.measuring.tallies import Group
from labkit.wire.spans import Exchange, Mark, Sighting
from marking import mark
from natures import told

S = 1_000_000_000
MS = 1_000_000
T0 = 2**60 + 1  # no float holds it: a column that goes through one would show


def row(event_id: int, latency_ms: float = 50.0, technique: str = "sse", **other: Any) -> dict[str, Any]:
    due_ns = T0 + event_id * S
    received_ns = due_ns + round(latency_ms * MS)
    return {
        "technique": technique,
        "client": "kernel",
        "http_version": "1.1",
        "topic": "",
        "subscriber": 0,
        "event_id": event_id,
        "wire_id": f"{event_id}@k3f9",
        "due_ns": due_ns,
        "published_ns": due_ns + MS,
        "received_ns": received_ns,
        "latency_ms": latency_ms,
        "transit_ms": latency_ms - 1,
        "clock_error_ms": 0.0,
        "bytes": 61,
        "payload_bytes": 20,
        "scheduled": True,
        "conflated": 0,
        **other,
    }


def published(n: int) -> dict[tuple[str, int], Any]:
    return {("", i): [T0 + i * S, T0 + i * S + MS] for i in range(1, n + 1)}


def connect(ledger: Ledger, technique: str = "sse", subscriber: int = 0, hop: str = "client") -> ConnectionRecord:
    record = ledger.opened(
        technique, subscriber, local=("127.0.0.1", 40_000), remote=("127.0.0.1", 80), t_ns=T0, hop=hop
    )
    record.connected_ns = T0 + MS
    record.transferred("out", b"GET /sse HTTP/1.1\r\n\r\n", T0 + 2 * MS)
    mark(record, "out", 0, 21, "headers", "GET /sse")
    record.transferred("in", b"HTTP/1.1 200 OK\r\n\r\ndata: h\xc3\xa9llo\n\n", T0 + 3 * MS)
    mark(record, "in", 0, 19, "headers", "200, headers")
    mark(record, "in", 19, 25, "framing", "data:", 1)
    mark(record, "in", 25, 31, "payload", "event 1", 1)
    mark(record, "in", 31, 33, "framing", "end", 1)
    record.requests, record.responses = 1, 1
    return record


def run_of(rows: Any, n: int = 3, **other: Any) -> Run:
    ledger = other.pop("ledger", None) or Ledger()
    settings = {"techniques": ["sse"], "one_way_s": 0.05, "started": "2026-01-02T03:04:05+00:00", "started_ns": T0}
    settings.update(other.pop("settings", {}))
    return Run(rows, published(n), ledger, told(settings), **other)


def summary_of(rows: Any, n: int = 3, **other: Any) -> dict[str, Any]:
    return run_of(rows, n, **other).summary().loc["sse"].to_dict()


def counts(summary: dict[str, Any]) -> tuple[int, ...]:
    names = ("events", "lost", "duplicated", "out_of_order", "gaps", "conflated")
    return tuple(int(summary[name]) for name in names)


# Rows


def test_deliveries_have_exactly_the_columns_in_the_order_of_arrival() -> None:
    frame = run_of([row(2), row(1)]).deliveries
    assert list(frame.columns) == list(COLUMNS)
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == COLUMNS
    assert frame["event_id"].tolist() == [1, 2]
    assert frame["due_ns"].tolist() == [T0 + S, T0 + 2 * S]


def test_integers_stay_exact_beside_missing_ones() -> None:
    frame = run_of([row(1), row(2) | {"due_ns": None, "latency_ms": None, "wire_id": None}]).deliveries
    assert frame["due_ns"][0] == T0 + S
    assert frame["due_ns"].isna().tolist() == [False, True]
    assert frame["latency_ms"].isna().tolist() == [False, True] == frame["wire_id"].isna().tolist()


@pytest.mark.parametrize("form", [list, iter, pd.DataFrame, lambda rows: pd.DataFrame(rows).to_dict("list")])
def test_rows_columns_or_a_frame_are_the_same_run(form: Any) -> None:
    rows = [row(1), row(2)]
    pd.testing.assert_frame_equal(run_of(form(rows)).deliveries, run_of(rows).deliveries)


@pytest.mark.parametrize("form", [list, pd.DataFrame, lambda rows: pd.DataFrame(rows).to_dict("list")])
@pytest.mark.parametrize("column", ["client", "topic", "subscriber", "scheduled", "conflated", "clock_error_ms"])
def test_a_column_that_is_not_given_is_as_one_in_which_nothing_is_known(form: Any, column: str) -> None:
    rows = [{name: value for name, value in row(i).items() if name != column} for i in (1, 2, 3)]
    run = run_of(form(rows))
    assert {name: str(dtype) for name, dtype in run.deliveries.dtypes.items()} == COLUMNS
    assert counts(run.summary().loc["sse"].to_dict()) == (3, 0, 0, 0, 0, 0)


def test_rows_that_can_be_read_once_are_there_for_all_that_asks() -> None:
    run = run_of(iter([row(1), row(2)]))
    assert len(list(run.columns("event_id"))) == len(run.deliveries) == 2


def test_a_run_without_a_delivery_has_its_columns_and_a_summary() -> None:
    run = run_of([])
    assert {name: str(dtype) for name, dtype in run.deliveries.dtypes.items()} == COLUMNS
    assert counts(run.summary().loc["sse"].to_dict()) == (0, 3, 0, 0, 0, 0)
    assert run.connections.empty and run._repr_html_()


def test_connections_are_the_clients_own() -> None:
    ledger = Ledger()
    record = connect(ledger)
    connect(ledger, "", 7, hop="link.near")
    record.closed_ns, record.closed_by = T0 + 2 * S, "server"
    record.segments_in, record.segments_out = 3, 4
    (only,) = run_of([row(1)], ledger=ledger).connections.to_dict("records")
    assert (only["bytes_out"], only["bytes_in"], only["headers"], only["framing"], only["payload"]) == (
        21,
        33,
        40,
        8,
        6,
    )
    assert (only["tcp_ip"], only["duration_ms"], only["closed_by"], only["requests"]) == (280, 2000, "server", 1)
    assert only["opened"] == pd.Timestamp("2026-01-02T03:04:05Z")


def test_segments_that_were_not_counted_are_missing() -> None:
    ledger = Ledger()
    connect(ledger)
    run = run_of([row(1)], ledger=ledger)
    assert run.connections["tcp_ip"].isna().all() and run.connections["duration_ms"].isna().all()
    assert math.isnan(run.summary().loc["sse", "tcp_ip_per_event"])


# Statistics


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row(1), row(2), row(3)], (3, 0, 0, 0, 0, 0)),
        ([row(1), row(3)], (2, 1, 0, 0, 0, 0)),
        ([row(1), row(2), row(3), row(3, 90)], (3, 0, 1, 0, 0, 0)),
        ([row(1), row(2, 2500), row(3)], (3, 0, 0, 1, 0, 0)),
        ([row(1), row(3, conflated=1)], (2, 0, 0, 0, 0, 1)),
        ([row(3, conflated=1)], (1, 1, 0, 0, 0, 1)),
        ([row(1), row(2), row(3), row(4, scheduled=False)], (3, 0, 0, 0, 0, 0)),
        ([row(1), row(2, topic="other"), row(3)], (3, 1, 0, 0, 0, 0)),
    ],
    ids="all lost duplicated out-of-order conflated conflated-and-lost not-ours other-topic".split(),
)
def test_what_arrived_is_counted(rows: list[dict[str, Any]], expected: tuple[int, ...]) -> None:
    assert counts(summary_of(rows)) == expected


def test_each_subscriber_must_get_each_event() -> None:
    run = run_of([row(1), row(2), row(3), row(1, subscriber=1)], settings={"subscribers": 3})
    assert counts(run.summary().loc["sse"].to_dict()) == (4, 5, 0, 0, 0, 0)
    by_subscriber = run.summary(by="subscriber")
    assert by_subscriber["lost"].to_dict() == {("sse", 0): 0, ("sse", 1): 2, ("sse", 2): 3}


def test_connections_are_gone_through_once_however_many_subscribers_there_are() -> None:
    looked = []

    class Watched(list[ConnectionRecord]):
        def __iter__(self) -> Iterator[ConnectionRecord]:
            looked.append(1)
            return super().__iter__()

    ledger = Ledger()
    for number in range(50):
        connect(ledger, subscriber=number).duplicates = number % 2
    group = Group("sse", False, {number: [] for number in range(50)}, Watched(ledger.connections), [])
    assert sum(each.duplicated for each in group.tallied(set())) == 25 and len(looked) == 1


def test_reported_gaps_are_counted_where_they_were_reported() -> None:
    gap = {"technique": "sse", "subscriber": 1, "after": "1@k3f9", "next": 3}
    run = run_of([row(1), row(1, subscriber=1)], settings={"subscribers": 2}, missing=[gap])
    assert run.summary().loc["sse", "gaps"] == 1
    assert run.summary(by="subscriber")["gaps"].to_dict() == {("sse", 0): 0, ("sse", 1): 1}


def test_latencies_are_of_first_arrivals_of_scheduled_events() -> None:
    rows = [row(1, 40), row(2, 50), row(3, 90), row(3, 500), row(4, 900, scheduled=False)]
    summary = summary_of(rows)
    assert [summary[name] for name in ("p50_ms", "p95_ms", "max_ms", "mean_ms")] == pytest.approx([50, 86, 90, 60])


@pytest.mark.parametrize(
    ("technique", "schedule", "expected_ms"),
    [
        ("sse", {"name": "periodic", "settings": {"rate_per_s": 5}}, 50),
        ("polling", {"name": "periodic", "settings": {"rate_per_s": 5}}, 550),
        ("long-polling", {"name": "periodic", "settings": {"rate_per_s": 5}}, math.nan),
        ("somebody-else", {"name": "poisson", "settings": {"rate_per_s": 5}}, math.nan),
    ],
)
def test_theory_stands_beside_the_measurement(technique: str, schedule: Any, expected_ms: float) -> None:
    settings = {"techniques": [technique], "schedule": schedule, "poll_interval_s": 1.0}
    run = run_of([row(1, technique=technique)], settings=settings)
    assert run.summary().loc[technique, "expected_mean_ms"] == pytest.approx(expected_ms, nan_ok=True)


@pytest.mark.parametrize(
    ("options", "expected_ms"),
    [
        ({"interval_s": 2.0}, 1050),
        ({"wait_after_answer": True}, 600),
        ({"wait_after_answer": True, "keep_alive": False}, 650),
    ],
)
def test_theory_follows_a_techniques_own_options(options: dict[str, Any], expected_ms: float) -> None:
    settings = {"techniques": ["polling"], "poll_interval_s": 1.0, "options": {"polling": options}}
    summary = run_of([row(1, technique="polling")], settings=settings).summary()
    assert summary.loc["polling", "expected_mean_ms"] == pytest.approx(expected_ms)


def test_long_polling_has_a_theory_for_poisson_events() -> None:
    settings = {"techniques": ["long-polling"], "schedule": {"name": "poisson", "rate_per_s": 5}, "hold_s": 30.0}
    run = run_of([row(1, technique="long-polling")], settings=settings)
    a = 5 * 0.1
    expected_ms = 50 + 50 * a / (a + math.exp(-a))
    assert run.summary().loc["long-polling", "expected_mean_ms"] == pytest.approx(expected_ms)


def test_bytes_per_event_are_the_ledgers_totals_over_all_events_delivered() -> None:
    ledger = Ledger()
    for subscriber in (0, 1):
        record = connect(ledger, subscriber=subscriber)
        record.segments_in = record.segments_out = 3
    summary = summary_of([row(1), row(1), row(2, scheduled=False)], ledger=ledger)
    names = ("bytes", "payload", "envelope", "framing", "headers", "tcp_ip")
    assert [summary[f"{name}_per_event"] for name in names] == [54, 6, 0, 8, 40, 240]
    assert (summary["requests"], summary["connections"]) == (2, 2)


def test_what_a_page_received_stands_apart_from_the_ledgers_bytes() -> None:
    ledger = Ledger()
    connect(ledger)
    run = run_of([row(1), row(2), row(3), row(1, client="browser")], ledger=ledger)
    summary = run.summary()
    assert summary.index.tolist() == ["sse", "sse (browser)"]
    assert summary["lost"].tolist() == [0, 2]
    assert summary.loc["sse", "bytes_per_event"] == 18 and math.isnan(summary.loc["sse (browser)", "bytes_per_event"])
    assert summary.loc["sse (browser)", ["requests", "connections"]].isna().all()


def test_a_technique_that_failed_says_why_and_one_that_never_ran_lost_nothing() -> None:
    ledger = Ledger()
    connect(ledger)
    settings = {"techniques": ["sse", "plugin-socket"]}
    failures = {"sse": "cut after 1 event", "plugin-socket": "not run: the intermediary speaks HTTP only"}
    summary = run_of([row(1)], ledger=ledger, settings=settings, failures=failures).summary()
    assert summary["lost"].to_dict() == {"sse": 2, "plugin-socket": 0}
    assert summary["failed"].to_dict() == failures


def test_a_server_that_is_not_ours_has_arrivals_and_no_latency() -> None:
    unknown = dict.fromkeys(("due_ns", "published_ns", "latency_ms", "transit_ms"))
    rows = [row(i, scheduled=False) | unknown for i in (1, 2)]
    run = Run(rows, {}, Ledger(), {"techniques": ["sse"], "server": "elsewhere", "one_way_s": 0})
    summary = run.summary().loc["sse"].to_dict()
    assert counts(summary) == (2, 0, 0, 0, 0, 0)
    assert math.isnan(summary["p50_ms"]) and math.isnan(summary["expected_mean_ms"])


def test_intervals_are_from_one_arrival_to_the_next_at_the_same_subscriber() -> None:
    """As a tap sees two clients of one stream: the second's arrival is no interval of the first's."""
    run = run_of([row(i, subscriber=subscriber) for i in (1, 2, 3) for subscriber in (0, 1)])
    told = run.intervals().loc["sse"]
    assert (told["events"], told["p50_ms"], told["mean_ms"], told["max_ms"]) == (6, 1000, 1000, 1000)


def test_figures_that_name_rows_are_rounded_only_where_they_stay_apart() -> None:
    for index in (pd.Index([1.001, 1.002]), pd.MultiIndex.from_product([[1.001, 1.002], ["a"]])):
        assert plain_table(pd.DataFrame({"n": [1, 2]}, index=index)).index.equals(index)
    assert list(plain_table(pd.DataFrame({"n": [1, 2, 3]}, index=[0.5, 1.0, 1.0])).index) == ["0.5", "1", "1"]


def test_the_floor() -> None:
    assert run_of([], floor_ms=[0.4, 0.1, 0.2]).floor == pytest.approx({"p50": 0.2, "p95": 0.38, "max": 0.4, "n": 3})
    assert run_of([]).floor["n"] == 0 and math.isnan(run_of([]).floor["p50"])


def test_the_floor_is_said_to_be_a_lower_bound_beside_what_the_streams_take() -> None:
    settings = told({"techniques": ["sse", "polling"], "one_way_s": 0.05})
    rows = [row(i, technique=name, latency_ms=50.0 + i) for i in (1, 2, 6) for name in ("sse", "polling")]
    (note,) = run_of(rows, settings=settings, floor_ms=[0.2]).notes
    assert note.startswith("Floor of the apparatus, a lower bound: ") and "median of 0.2 ms" in note
    assert note.endswith("comes on top: here, in the median, SSE 2 ms over theory.")
    (alone,) = run_of([row(1, technique="polling")], settings=settings, floor_ms=[0.2]).notes
    assert alone.endswith("comes on top.")


@pytest.mark.parametrize("jitter_s", [0.0, 0.02])
def test_what_a_stream_takes_beside_the_network_is_told_where_all_events_would_take_the_same(jitter_s: float) -> None:
    """With jitter a median may be below theory's mean, and no server takes less than nothing."""
    schedule = {"name": "poisson", "rate_per_s": 5.0}
    settings = told({"techniques": ["sse"], "one_way_s": 0.05, "jitter_s": jitter_s, "schedule": schedule})
    (note,) = run_of([row(i, latency_ms=52.0) for i in (1, 2, 3)], settings=settings, floor_ms=[0.2]).notes
    assert note.endswith("comes on top." if jitter_s else "comes on top: here, in the median, SSE 2 ms over theory.")


def test_an_unknown_grouping_is_refused() -> None:
    with pytest.raises(LabkitError, match="by='topic', expected 'technique' or 'subscriber'"):
        run_of([]).summary(by="topic")  # type: ignore[arg-type]


def test_html_is_escaped_and_says_what_happened() -> None:
    evil = "<script>alert(1)</script>"
    settings = {"techniques": [evil]}
    run = run_of([row(1, technique=evil)], settings=settings, failures={evil: evil}, floor_ms=[0.1], interrupted=True)
    shown = run._repr_html_()
    assert "<script" not in shown and "&lt;script&gt;" in shown
    assert "Floor of the apparatus" in shown and "Interrupted" in shown and "interrupted" in repr(run)


def test_a_run_whose_machine_was_busy_says_for_how_long_and_in_how_many_stalls() -> None:
    settings = {"techniques": ["sse"], "duration_s": 10.0, "held_up_ms": {"total": 1300.0, "max": 210.0, "times": 45}}
    said = "the receiving loop stood still for 1.3 s in 45 stalls, the longest 210 ms"
    run = run_of([row(1)], settings=settings)
    assert run.stalls == said and f"This machine was busy: {said}." in run.notes
    once = {**settings, "held_up_ms": {"total": 700.0, "max": 700.0, "times": 1}}
    assert run_of([row(1)], settings=once).stalls == "the receiving loop stood still for 0.7 s at once"
    long = {**settings, "held_up_ms": {"total": 1300.0, "max": 1040.0, "times": 2}}
    assert run_of([row(1)], settings=long).stalls.endswith("in 2 stalls, the longest 1.04 s")
    calm = run_of([row(1)], settings={**settings, "duration_s": 100.0})
    assert not any("busy" in note for note in calm.notes)
    assert run_of([row(1)], settings={"techniques": ["sse"]}).stalls == ""


def test_of_an_interrupted_run_what_is_newer_than_all_that_came_is_pending_and_the_rest_is_lost() -> None:
    rows = [row(1), row(3), row(1, technique="polling")]
    gap = {"technique": "polling", "subscriber": 0, "topic": "", "after": "1@k3f9", "next": 4}
    given = {"n": 5, "settings": {"techniques": ["sse", "polling"]}, "missing": [gap]}
    counted = run_of(rows, interrupted=True, **given).summary()[["events", "lost", "pending"]]
    assert counted.loc["sse"].tolist() == [2, 1, 2]
    assert counted.loc["polling"].tolist() == [1, 2, 2]
    whole = run_of(rows, **given).summary()[["lost", "pending"]]
    assert whole.loc["sse"].tolist() == [3, 0] and whole.loc["polling"].tolist() == [4, 0]
    failed = run_of(rows, interrupted=True, failures={"sse": "refused"}, **given).summary()
    assert failed.loc["sse", ["lost", "pending"]].tolist() == [3, 0]


@pytest.mark.parametrize("show", [lambda table: table._repr_html_(), repr])
def test_a_table_is_shown_rounded_and_holds_all_of_it(show: Any) -> None:
    table = run_of([row(1, 51.375808), row(2, 12_345.6789)]).summary()
    selected = table[["events", "p50_ms", "max_ms"]]
    for shown in (selected, selected.T, selected.sort_values("events")):
        assert "12,346" in show(shown) and not re.search(r"\d\.\d{2,}", show(shown))
    assert table.loc["sse", "max_ms"] == 12_345.6789
    both = summaries.compare(run_of([row(1, 51.375808)]), run_of([row(1, 50.25)])).loc[[("sse", "p50_ms")]]
    assert "51.4" in show(both) and "0.978" in show(both) and "0.9780" not in show(both)


def test_runs_of_no_technique_are_compared_to_an_empty_table() -> None:
    run = Run([], {}, Ledger(), {"techniques": []})
    table = summaries.compare(run, run)
    assert table.empty and list(table.columns) == ["a", "b", "ratio"] and table.index.names == ["technique", "measure"]


def test_what_is_nearly_one_is_not_shown_as_one() -> None:
    shown = [rounded(value) for value in (1, 5.0, 1.0034, 0.99987, 1.047, 9.996, 0.0451)]
    assert shown == ["1", "5", "1.00", "1.00", "1.05", "10.0", "0.0451"]
    table = Table({"ratio": [1.0034, 1.25]}, index=pd.Index([0.5, 2.5], name="T"))
    assert "1.00" in repr(table) and "0.5 " in repr(table) and "2.5 " in repr(table)


def test_what_is_not_known_of_a_page_is_left_empty() -> None:
    run = run_of([row(1), row(1, client="browser")])
    assert run.summary()["requests"].isna().any()
    for shown in (run._repr_html_(), run.summary()._repr_html_()):
        assert "<td></td>" in shown and "NA" not in shown and "NaN" not in shown


# Files


def whole_run() -> Run:
    ledger = Ledger(keep_bytes=40)
    for subscriber in (0, 1):
        connect(ledger, subscriber=subscriber)
    for data in (b"ab", b"cd"):
        ledger.connections[1].transferred("in", data, T0 + 5 * MS)
    connect(ledger, "", 0, hop="link.far").transferred("in", bytes(range(256)), T0 + S)
    ledger.connections[0].closed_ns, ledger.connections[0].closed_by = T0 + 2 * S, "reset"
    ledger.connections[0].segments_in = ledger.connections[0].segments_out = 5
    return run_of(
        [row(1), row(2, clock_error_ms=math.nan, wire_id=None), row(3, due_ns=None, http_version=None, topic="토픽")],
        ledger=ledger,
        settings={"schedule": {"name": "poisson", "settings": {"rate_per_s": 5, "seed": 0}}, "jitter_s": 0.1},
        floor_ms=[0.1, 1 / 3],
        failures={"polling": "cut"},
        interrupted=True,
        missing=[{"technique": "sse", "subscriber": 0, "after": "1@k3f9", "next": 3}],
        versions={"python": "3.11.7"},
    )


def test_a_run_comes_back_from_its_file_exactly(tmp_path: Path) -> None:
    run = whole_run()
    back = load(run.save(tmp_path / "run.parquet"))
    pd.testing.assert_frame_equal(back.deliveries, run.deliveries)
    pd.testing.assert_frame_equal(back.connections, run.connections)
    pd.testing.assert_frame_equal(back.summary(), run.summary())
    for name in ("published", "settings", "floor_ms", "failures", "interrupted", "missing", "versions"):
        assert getattr(back, name) == getattr(run, name), name
    assert back.ledger.keep_bytes == run.ledger.keep_bytes
    assert list(map(plain, back.ledger.connections)) == list(map(plain, run.ledger.connections))
    assert back.ledger.connections[0].dropped_bytes == 21
    assert load(back.save(tmp_path / "again.parquet")).settings == run.settings
    assert {path.name for path in tmp_path.iterdir()} == {"run.parquet", "again.parquet"}


def plain(record: ConnectionRecord) -> tuple[Any, ...]:
    """All of a record, transfers with their bytes and marks with what event and exchange they are of."""
    marks = [
        (
            *m[:4],
            m.label,
            m.event and (m.event.wire_id, m.event.number),
            m.exchange and (m.exchange.path, m.exchange.topic),
        )
        for m in record.marks
    ]
    return dataclasses.replace(record, marks=deque()), marks


def test_events_of_one_exchange_are_told_apart_after_a_save(tmp_path: Path) -> None:
    ledger, exchange = Ledger(), Exchange(2, "GET", "/sse", topic="a")
    record = connect(ledger)
    events = Sighting("7@k3f9", 1), Sighting(None, 2)
    record.mark_all([Mark("in", 33 + n, 34 + n, "payload", "x", events[n // 2], exchange) for n in range(4)])
    run = run_of([row(1)], ledger=ledger)
    back = list(load(run.save(tmp_path / "run.parquet")).ledger.connections[0].marks)[-4:]
    assert plain(record)[1][-1] == (*record.marks[-1][:4], record.marks[-1].label, (None, 2), ("/sse", "a"))
    assert [mark.event is back[0].event for mark in back] == [True, True, False, False]
    assert {mark.exchange for mark in back} == {back[0].exchange}


def older(run: Run, path: Path, version: int) -> Path:
    """The file that an older labkit made of a run: all but the table stood in the metadata."""
    records = []
    for record in run.ledger.connections:
        data = b"".join(transfer.data for transfer in record.transfers)
        records.append({**run_bytes.packed(record), "data": base64.b64encode(data).decode()})
        if version == 1:  # which named events by their numbers alone
            del records[-1]["exchanges"]
            records[-1]["marks"] = [(*mark[:5], mark.event and mark.event.number) for mark in record.marks]
    ledger = json.dumps({"keep_bytes": run.ledger.keep_bytes, "connections": records}).encode()
    packed = {
        "format": version,
        "published": [[*key, value] for key, value in run.published.items()],
        **{name: getattr(run, name) for name in "settings floor_ms failures interrupted missing versions".split()},
        "ledger": base64.b64encode(zlib.compress(ledger)).decode(),
    }
    table = pa.Table.from_pandas(run.deliveries, preserve_index=False)
    metadata = {**(table.schema.metadata or {}), b"labkit": json.dumps(packed).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


@pytest.mark.parametrize("version", [1, 2])
def test_older_files_are_read(tmp_path: Path, version: int) -> None:
    run = whole_run()
    back = load(older(run, tmp_path / "run.parquet", version))
    pd.testing.assert_frame_equal(back.deliveries, run.deliveries)
    for name in ("published", "settings", "floor_ms", "failures", "interrupted", "missing", "versions"):
        assert getattr(back, name) == getattr(run, name), name
    assert [c.transfers for c in back.ledger.connections] == [c.transfers for c in run.ledger.connections]


def test_of_a_file_of_format_1_events_are_known_by_their_numbers() -> None:
    record = connect(Ledger())
    plain = {**run_bytes.packed(record), "transfers": []}
    del plain["exchanges"]
    plain["marks"] = [
        ["in", 0, 19, "headers", "200, headers", None],
        ["in", 19, 25, "framing", "data:", 1],
        ["out", 0, 21, "headers", "GET /sse", None],
        ["in", 25, 31, "payload", "event 1", 1],
        ["in", 31, 33, "headers", "200, headers", None],
        ["in", 33, 34, "payload", "event 1", 1],
    ]
    back = run_bytes.unpacked(json.loads(json.dumps(plain)), b"")
    first, again = (marks for _, marks in arrivals([back], {"topic": "", "event_id": 1, "wire_id": "1"}))
    assert [mark.stop for mark in first] == [25, 31] and [mark.stop for mark in again] == [34]


def test_any_reader_of_parquet_opens_a_run_whatever_it_has_captured(tmp_path: Path) -> None:
    run = whole_run()
    small = pq.read_metadata(run.save(tmp_path / "small.parquet"))
    data = random.Random(1).randbytes(6 << 20)  # as good as any to compress
    connect(run.ledger).transfers.append(Transfer(T0, "in", 0, data))
    run.floor_ms = [n / 7 for n in range(100_000)]
    run.published = {("", n): [n, n] for n in range(100_000)}
    path = run.save(tmp_path / "large.parquet")
    assert path.stat().st_size > len(data)
    assert pq.read_metadata(path).serialized_size < small.serialized_size + 100
    pd.testing.assert_frame_equal(
        pd.read_parquet(path)[["event_id", "wire_id"]], run.deliveries[["event_id", "wire_id"]]
    )
    back = load(path)
    assert back.ledger.connections[-1].transfers[-1].data == data
    assert back.floor_ms == run.floor_ms and back.published == run.published


def test_a_descriptor_of_the_kernel_is_no_file_and_stays_open(tmp_path: Path) -> None:
    whole_run().save(tmp_path / "run.parquet")
    with (tmp_path / "run.parquet").open("rb") as file:
        with pytest.raises(LabkitError, match=r"no file's name: expected the path"):
            load(file.fileno())  # type: ignore[arg-type]
        os.fstat(file.fileno())


def test_a_damaged_file_is_refused_wherever_the_damage_is(tmp_path: Path) -> None:
    whole = whole_run().save(tmp_path / "run.parquet").read_bytes()
    path = tmp_path / "damaged.parquet"
    for at in [*range(0, len(whole), 29), *range(len(whole) - 8, len(whole))]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        with pytest.raises(LabkitError, match=r"damaged\.parquet is (damaged|not a saved run)"):
            load(path)
    for stop in range(0, len(whole), 501):
        path.write_bytes(whole[:stop])
        with pytest.raises(LabkitError, match="is not a saved run"):
            load(path)


def test_a_file_that_has_lost_its_digest_is_damaged(tmp_path: Path) -> None:
    path = whole_run().save(tmp_path / "run.parquet")
    path.write_bytes(path.read_bytes().replace(b"labkit.sha256", b"labkit.sha257"))
    with pytest.raises(LabkitError, match=r"run\.parquet is damaged"):
        load(path)


@pytest.mark.skipif(sys.platform == "win32", reason="no limit for the size of files")
def test_a_save_that_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    import resource

    run = whole_run()
    path = run.save(tmp_path / "run.parquet")
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))  # as a full disk
    try:
        with pytest.raises(LabkitError, match=r"run\.parquet cannot be written: File too large; nothing was changed"):
            run.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [each.name for each in tmp_path.iterdir()] == ["run.parquet"] and path.read_bytes() == before
    with pytest.raises(LabkitError, match=r"run\.parquet cannot be written: No such file"):
        run.save(tmp_path / "nowhere" / "run.parquet")


def test_an_interrupted_save_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(run: Run, ledger: Ledger, out: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_bytes, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        whole_run().save(tmp_path / "run.parquet")
    assert not list(tmp_path.iterdir())


def test_anyone_can_read_the_table(tmp_path: Path) -> None:
    table = pq.read_table(whole_run().save(tmp_path / "run.parquet"))
    assert table.column_names == list(COLUMNS)
    assert table.column("event_id").to_pylist() == [1, 2, 3]


def test_settings_are_plain_data_from_the_beginning(tmp_path: Path) -> None:
    settings = {"techniques": ("sse",), "through": tmp_path, "one_way_s": 0.05}
    run = Run([], {}, Ledger(), settings)
    assert run.settings == {"techniques": ["sse"], "through": str(tmp_path), "one_way_s": 0.05}


def parquet(path: Path, metadata: dict[bytes, bytes]) -> None:
    pq.write_table(pa.table({"x": [1]}).replace_schema_metadata(metadata), path)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("offset_s,data\n0,a\n"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"PAR1" + b"\0" * 40 + b"PAR1"),
        lambda path: parquet(path, {}),
        lambda path: parquet(path, {b"labkit": b"not json"}),
        lambda path: parquet(path, {b"labkit": b"[1]"}),
        lambda path: parquet(path, {b"labkit": b'{"format": 1}'}),
        lambda path: parquet(path, {b"labkit": b'{"format": "one"}'}),
        lambda path: parquet(path, {b"labkit": b'{"format": 1, "ledger": "AAAA", "published": []}'}),
    ],
    ids="text empty torn no-metadata not-json a-list no-ledger odd-format broken-ledger".split(),
)
def test_something_else_is_not_a_saved_run(tmp_path: Path, write: Any) -> None:
    write(tmp_path / "other.parquet")
    with pytest.raises(LabkitError, match=r"other\.parquet is not a saved run \(.*write one with run\.save\(path\)"):
        load(tmp_path / "other.parquet")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(LabkitError, match="cannot be read: No such file"):
        load(tmp_path / "none.parquet")


def test_a_newer_format_says_so(tmp_path: Path) -> None:
    path = whole_run().save(tmp_path / "run.parquet")
    table = pq.read_table(path)
    packed = {
        **json.loads(table.schema.metadata[b"labkit"]),
        "format": run_file.FORMAT + 1,
        "ledger": {"of": "another shape"},
    }
    pq.write_table(table.replace_schema_metadata({b"labkit": json.dumps(packed).encode()}), path)
    with pytest.raises(
        LabkitError, match=rf"newer labkit \(format {run_file.FORMAT + 1}; this one reads {run_file.FORMAT}\)"
    ):
        load(path)


# Side by side


def test_two_runs_side_by_side_have_ratios() -> None:
    table = summaries.compare(
        run_of([row(1, 50), row(2, 50)]), run_of([row(1, 100), row(2, 100)]), names=["near", "far"]
    )
    assert list(table.columns) == ["near", "far", "ratio"]
    assert table.index.names == ["technique", "measure"]
    assert table.loc[("sse", "p50_ms")].tolist() == [50, 100, 2]
    assert table.loc[("sse", "lost")].tolist() == [1, 1, 1]
    assert math.isnan(table.loc[("sse", "duplicated"), "ratio"])


def test_techniques_of_only_one_run_are_there_too() -> None:
    other = run_of([row(1, technique="polling")], settings={"techniques": ["polling"]})
    table = summaries.compare(run_of([row(1)]), other)
    assert table.loc[("polling", "events")].isna().tolist() == [True, False, True]
    assert list(summaries.compare(other, other, other).columns) == ["a", "b", "c"]


@pytest.mark.parametrize("names", [["a"], ["a", "a"], ["a", "ratio"]])
def test_names_that_do_not_fit_are_refused(names: list[str]) -> None:
    with pytest.raises(LabkitError, match="expected at least two, each with its own name"):
        summaries.compare(run_of([]), run_of([]), names=names)
