"""A lab that speaks TLS is measured as any other: its bytes have a category more, its new connections a round trip."""

from __future__ import annotations

import pytest

import labkit
from labkit.errors import LabkitError
from labkit.techniques import find
from labkit.theory import Path, Stretch

pytest.importorskip("trustme", reason="trustme is not installed (pip install 'labkit[tls]')")
HTTP = ["polling", "long-polling", "http-streaming", "sse", "websocket"]


@pytest.mark.parametrize("process", [False, True])
def test_every_technique_receives_over_tls_and_what_tls_took_stands_apart(process: bool) -> None:
    schedule = labkit.periodic(rate_per_s=10, duration_s=1)
    with labkit.Lab("tls", tls=True, process=process) as lab:
        run = labkit.measure(lab, HTTP, schedule, poll_interval_s=0.3, one_way_s=0.005)
    table = run.summary()
    assert table["failed"].tolist() == [""] * len(HTTP) and (table["lost"] == 0).all() and (table["events"] == 10).all()
    for record in run.ledger.of():
        assert record.by_category["tls"] > 1000  # a handshake with a certificate
        assert sum(record.by_category.values()) == record.bytes_total


@pytest.mark.timing
def test_a_connection_each_time_costs_tls_a_round_trip_more_as_theory_has_it() -> None:
    options = {"long-polling": {"keep_alive": False}}
    with labkit.Lab("tls", tls=True) as lab:
        run = labkit.measure(
            lab, ["long-polling"], labkit.poisson(rate_per_s=15, duration_s=6), one_way_s=0.03, options=options
        )
    row = run.summary().loc["long-polling"]
    plain = Path.of({**run.settings, "path": [each for each in run.settings["path"] if not each["tls"]]})
    plain_ms = 1e3 * find("long-polling").expect({"keep_alive": False}, plain).mean_s
    assert plain_ms < 0.8 * row["expected_mean_ms"]
    assert abs(row["mean_ms"] - row["expected_mean_ms"]) < abs(row["mean_ms"] - plain_ms)


def test_theory_is_told_of_a_round_trip_of_the_whole_path() -> None:
    plain = [{"name": "a", "one_way_s": 0.02}, {"name": "b", "one_way_s": 0.03, "handshake": False}]
    told = {"one_way_s": 0.05, "path": plain}
    assert Path.of(told).handshake_s == pytest.approx(0.04)
    assert Path.of({**told, "path": [*plain, {"tls": True, "handshake": False}]}).handshake_s == pytest.approx(0.14)
    assert not Stretch().tls


def test_a_gateway_before_tls_is_refused_before_anything_starts() -> None:
    with labkit.Lab("tls", tls=True) as lab, pytest.raises(LabkitError, match="reads HTTP, and this lab speaks TLS"):
        labkit.measure(lab, ["sse"], labkit.periodic(10, 1), through=labkit.Intermediary())
