"""One client's hour: gathered writes against a simulation, fan-out, TLS, messages upstream, cuts, upkeep."""

from __future__ import annotations

import random
from typing import Any

import pytest

import labkit
from labkit.choosing import MEASURED, Choice, Option, hours
from labkit.choosing.figures import SPAN, TLS
from labkit.techniques import find

CALM: dict[str, Any] = {"rate_per_s": 1.0, "staleness_s": 2.0}


def option(choice: Choice, technique: str) -> Option:
    return next(o for o in choice.options if o.technique == technique)


def gathered(rate_per_s: float, window_s: float, events: int) -> tuple[float, float, float]:
    """Writes a second, mean wait, and mean wait of the newest of each write, of Poisson events gathered so."""
    rng, t, due = random.Random(7), 0.0, list[float]()
    for _ in range(events):
        t += rng.expovariate(rate_per_s)
        due.append(t)
    writes, waits, newest, at = 0, 0.0, 0.0, 0
    while at < len(due):
        write_s, first = due[at] + window_s, at
        while at < len(due) and due[at] <= write_s:
            at += 1
        writes += 1
        waits += sum(write_s - each for each in due[first:at])
        newest += write_s - due[at - 1]
    return writes / t, waits / events, newest / writes


@pytest.mark.parametrize(("rate_per_s", "staleness_s"), [(20.0, 0.3), (8.0, 1.5), (2.0, 1.05)])
def test_gathered_writes_are_those_of_a_simulation(rate_per_s: float, staleness_s: float) -> None:
    every, newest = (
        option(labkit.choose(rate_per_s=rate_per_s, staleness_s=staleness_s, clients=1, latest_only=only), "sse")
        for only in (False, True)
    )
    assert every.window_s == pytest.approx(staleness_s - 0.05, rel=1e-3)
    writes, wait_s, newest_s = gathered(rate_per_s, every.window_s, 40_000)
    assert every.mean_s == pytest.approx(0.05 + wait_s, rel=0.02)
    assert newest.mean_s == pytest.approx(0.05 + newest_s, rel=0.02)
    sse = MEASURED["sse"]
    assert newest.bytes_per_h == pytest.approx(3600 * writes * (20 + sse.event_bytes), rel=0.03)
    written_us = every.cpu_s_per_h * 1e6 / 3600 - rate_per_s * sse.further_us.value
    assert written_us == pytest.approx(writes * sse.event_us.value, rel=0.1)


def test_nothing_is_gathered_where_nothing_further_would_come() -> None:
    """A stream that waits five minutes for an event an hour saves nothing and is late."""
    rare = option(labkit.choose(rate_per_s=1 / 3600, staleness_s=300, clients=1), "sse")
    assert rare.window_s == 0 and rare.worst_s == pytest.approx(0.05, abs=1e-3)


def test_the_worst_latency_has_the_fan_out_in_it() -> None:
    needs: dict[str, Any] = {"rate_per_s": 0.1, "staleness_s": 5, "servers": 1}
    one, many = (option(labkit.choose(clients=n, **needs), "sse") for n in (1, 20_000))
    span_us = SPAN * MEASURED["sse"].event_us.value
    assert many.worst_s - one.worst_s == pytest.approx(19_999 * span_us / 1e6) == pytest.approx(0.13, rel=0.1)
    held = option(labkit.choose(clients=20_000, **needs), "long-polling")
    assert held.worst_s > 0.15 + 1
    shared = option(labkit.choose(clients=20_000, **needs | {"servers": 4}), "sse")
    assert shared.fan_out_s == pytest.approx(many.fan_out_s / 4)


def test_servers_that_encrypt_write_each_client_for_itself() -> None:
    needs: dict[str, Any] = {"rate_per_s": 0.1, "staleness_s": 5, "clients": 10_000}
    plain, ended, tls = (
        option(labkit.choose(**needs, **more), "sse") for more in ({}, {"tls": True, "path": "ends-tls"}, {"tls": True})
    )
    assert ended.fan_out_s == plain.fan_out_s and ended.cpu_s_per_h == plain.cpu_s_per_h
    assert tls.fan_out_s - plain.fan_out_s == pytest.approx(10_000 * TLS.write_us.value / 1e6)
    assert tls.memory_mib > plain.memory_mib and tls.again_s > plain.again_s
    assert ended.bytes_per_h == tls.bytes_per_h > plain.bytes_per_h
    assert tls.after_cut_s == pytest.approx(plain.after_cut_s + 0.1)


def test_a_fan_out_that_is_too_late_gets_more_servers() -> None:
    needs: dict[str, Any] = {"rate_per_s": 0.1, "staleness_s": 0.08, "clients": 20_000}
    found = option(labkit.choose(**needs), "sse")
    assert found.servers > 1 and found.worst_s <= 0.08 * (1 + 1e-9)
    assert "fan-out" in option(labkit.choose(**needs, servers=1), "sse").why_not
    assert "fan-out" in option(labkit.choose(**needs | {"staleness_s": 0.0501}), "sse").why_not


@pytest.mark.parametrize(("upstream_per_s", "held"), [(1 / 60, 100), (0.02, 100), (0.5, 200)])
def test_a_post_now_and_then_holds_no_second_connection(upstream_per_s: float, held: float) -> None:
    choice = labkit.choose(**CALM, clients=100, upstream_per_s=upstream_per_s)
    assert option(choice, "sse").connections == pytest.approx(held, rel=0.01)
    assert option(choice, "websocket").connections == 100
    shared = labkit.choose(**CALM, clients=100, upstream_per_s=upstream_per_s, path="http2-edge")
    assert option(shared, "sse").connections == 100


def test_a_heartbeat_is_as_often_as_the_path_asks_or_as_is_said() -> None:
    def beat(**more: Any) -> float:
        return option(labkit.choose(**CALM, **more), "sse").every_s

    assert (beat(), beat(path="idle-timeout:10"), beat(heartbeat_s=40)) == (15, 8, 40)
    assert (beat(mobile=True, path="idle-timeout:240"), beat(mobile=True)) == (192, 240)
    rare = option(labkit.choose(**CALM, heartbeat_s=40, path="idle-timeout:30"), "sse")
    assert rare.why_not == "a heartbeat each 40 s is too rare for what ends a connection after 30 s"


def test_a_websockets_ping_goes_out_among_events_as_well() -> None:
    calm, busy = (labkit.choose(rate_per_s=rate, staleness_s=0.06, clients=1) for rate in (0.001, 2))
    ping_s = 240 * MEASURED["websocket"].heartbeat_us.value / 1e6
    for choice in (calm, busy):
        events = choice.needs.rate_per_s * 3600 * MEASURED["websocket"].event_us.value / 1e6
        assert option(choice, "websocket").cpu_s_per_h == pytest.approx(ping_s + events, rel=0.02)
    assert option(busy, "sse").cpu_s_per_h < ping_s + events


def test_what_is_asked_a_thousand_times_for_one_event_does_not_pay() -> None:
    asked = option(labkit.choose(rate_per_s=1 / 86_400, staleness_s=60), "sse")
    assert asked.why_not == "does not pay: 5,760 heartbeats for one event"
    assert option(labkit.choose(rate_per_s=1 / 86_400, staleness_s=60, heartbeat_s=3600), "sse").feasible


def test_a_stream_that_a_post_begins_is_nobodys_fan_out() -> None:
    one, many = (
        option(labkit.choose(rate_per_s=50, staleness_s=1, finite=True, clients=n), "http-streaming") for n in (1, 900)
    )
    assert one.worst_s == many.worst_s and many.upkeep == 0 and not many.burden


def test_what_is_asked_of_those_who_build_it_goes_behind_what_is_not() -> None:
    choice = labkit.choose(**CALM, upstream_per_s=0.1, ordered=True)
    assert choice.winner == "websocket" and not choice.alike
    assert "overtake" in option(choice, "sse").burden and option(choice, "sse").feasible
    only = labkit.choose(**CALM, upstream_per_s=0.1, ordered=True, path="blocks-upgrade")
    assert only.winner == "sse" and any("Mind, POSTs" in said for said in only.reasons)
    assert not any("Order is the reason" in said for said in only.reasons)


def test_the_ranges_of_an_hour_are_around_its_value() -> None:
    for name, figures in MEASURED.items():
        choice = labkit.choose(rate_per_s=5, staleness_s=2, tls=True, upstream_per_s=1)
        low, value, high = (
            hours.hour_of(find(name), choice.needs, figures, which, 1).cpu_us for which in ("low", "value", "high")
        )
        assert low <= value <= high
