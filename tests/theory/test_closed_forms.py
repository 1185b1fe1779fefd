"""The closed forms against a seeded simulation that is written from the techniques' rules and knows no formula."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest

from labkit import theory
from simulations import (
    EVENTS,
    Line,
    poisson_times,
    simulate_long_polling,
    simulate_polling,
    simulate_recycled,
    simulate_streaming,
)


def close(measured: float, expected: float, error: float) -> bool:
    return abs(measured - expected) <= 4 * error + 1e-9


POLLING = [
    # lambda, d, T
    (0.3, 0.05, 1.0),
    (5.0, 0.05, 1.0),
    (40.0, 0.05, 0.3),
    (2.0, 0.4, 0.5),  # 2d is more than T: the answer sets the period
    (1.0, 0.0, 2.0),
]


@pytest.mark.parametrize(("rate", "d", "interval"), POLLING)
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("waiting", [False, True])
def test_polling_latency_is_uniform_over_one_period(rate, d, interval, fresh, waiting):
    transits = 3 if fresh else 1  # the handshake is a round trip before the request
    world = simulate_polling(poisson_times(rate, 1), d, interval, waiting=waiting, request_transits=transits)
    expected = theory.polling_latency(interval, d, fresh_connections=fresh, waiting=waiting)
    latencies = np.array(world.latencies)
    n, period = len(latencies), expected.max_s - expected.min_s

    assert close(latencies.mean(), expected.mean_s, expected.std_s / math.sqrt(n))
    assert latencies.std() == pytest.approx(expected.std_s, rel=0.03)
    assert latencies.min() >= expected.min_s - 1e-9
    assert expected.max_s - 0.01 * period <= latencies.max() <= expected.max_s + 1e-9
    for share in (0.1, 0.5, 0.95):
        found = (latencies <= expected.quantile(share)).mean()
        assert close(found, share, math.sqrt(share * (1 - share) / n))


@pytest.mark.parametrize(("rate", "d", "interval"), POLLING)
@pytest.mark.parametrize("waiting", [False, True])
def test_polling_requests_and_empty_answers(rate, d, interval, waiting):
    world = simulate_polling(poisson_times(rate, 2), d, interval, waiting=waiting)
    period = (theory.polling_period_when_waiting if waiting else theory.polling_period)(interval, d)
    polls, events = len(world.batches), len(world.latencies)
    empty = theory.empty_answer_fraction(rate, period)

    assert close(world.batches.count(0) / polls, empty, math.sqrt(empty * (1 - empty) / polls))
    per_event = theory.polling_requests_per_event(rate, period)
    assert close(polls / events, per_event, per_event / math.sqrt(events))


LONG_POLLING = [
    # lambda, d, H
    (0.02, 0.05, 30.0),
    (0.5, 0.05, 1.0),  # holds run out again and again
    (5.0, 0.05, 30.0),
    (5.0, 0.05, 0.1),
    (20.0, 0.05, 30.0),
    (60.0, 0.1, 30.0),
    (3.0, 0.3, 0.5),
]


@pytest.mark.parametrize(("rate", "d", "hold"), LONG_POLLING)
@pytest.mark.parametrize("fresh", [False, True])
def test_long_polling_latency(rate, d, hold, fresh):
    gap = theory.request_gap(d, fresh)
    world = simulate_long_polling(poisson_times(rate, 3), d, hold, request_transits=3 if fresh else 1)
    expected = theory.long_polling_latency(rate, d, hold, gap)
    latencies, parked = np.array(world.latencies), np.array(world.parked)
    mean, error = world.mean_and_error()
    n = len(latencies)

    assert close(mean, expected.mean_s, expected.std_s / math.sqrt(n))
    queued = n - parked.sum()  # the few that waited decide how well the error is known
    assert error == pytest.approx(expected.std_s / math.sqrt(n), rel=0.015 + 1 / math.sqrt(queued))
    assert expected.mean_s == pytest.approx(theory.long_polling_mean(rate, d, hold, gap))
    assert latencies[parked] == pytest.approx(d)
    assert latencies.min() >= d - 1e-9
    assert expected.max_s - 0.05 * gap <= latencies.max() <= expected.max_s + 1e-9
    share = theory.long_polling_parked_share(rate, hold, gap)
    events_per_answer = theory.long_polling_events_per_answer(rate, hold, gap)
    assert close(parked.mean(), share, 2 * math.sqrt(events_per_answer / n))
    for q in (0.3, 0.6, 0.97):
        value = expected.quantile(q)
        found = (latencies <= value + 1e-9).mean()
        wanted = q if value > d else share
        assert close(found, wanted, math.sqrt((1 + rate * gap) / n))


@pytest.mark.parametrize(("rate", "d", "hold"), LONG_POLLING)
def test_long_polling_requests_and_empty_answers(rate, d, hold):
    gap = theory.request_gap(d)
    world = simulate_long_polling(poisson_times(rate, 4), d, hold)
    answers, events = len(world.batches), len(world.latencies)
    empty = theory.long_polling_empty_fraction(rate, hold, gap)

    assert close(world.batches.count(0) / answers, empty, math.sqrt(empty * (1 - empty) / answers))
    error = np.std(world.batches) / math.sqrt(answers)
    per_answer = events / answers
    assert close(per_answer, theory.long_polling_events_per_answer(rate, hold, gap), error)
    assert close(1 / theory.long_polling_requests_per_event(rate, d, hold), per_answer, error)
    assert close(
        answers / world.span_s,
        theory.long_polling_requests_per_s(rate, d, hold),
        3 * theory.long_polling_requests_per_s(rate, d, hold) / math.sqrt(answers),
    )


def test_long_polling_has_its_limits():
    d = 0.05
    assert theory.long_polling_mean(0, d, 30, 2 * d) == pytest.approx(d + d * 0.1 / 30.1)
    assert theory.long_polling_mean(1e-9, d, 30, 2 * d) == pytest.approx(theory.long_polling_mean(0, d, 30, 2 * d))
    assert theory.long_polling_mean(0, d, math.inf, 2 * d) == d
    assert theory.long_polling_mean(1e4, d, 30, 2 * d) == pytest.approx(2 * d)
    assert theory.long_polling_mean(5, 0, 30, 0) == 0
    assert theory.long_polling_requests_per_s(1e4, d, 30) == pytest.approx(1 / (2 * d))
    assert theory.long_polling_requests_per_s(0, d, 30) == pytest.approx(1 / (30 + 2 * d))
    a = 2 * 7 * d
    assert theory.long_polling_requests_per_event(7, d, math.inf) == pytest.approx(1 / (a + math.exp(-a)))
    assert theory.long_polling_latency(0, d, 30, 2 * d).std_s == pytest.approx(
        theory.long_polling_latency(1e-7, d, 30, 2 * d).std_s, rel=1e-3
    )


def test_requests_per_event_fall_with_the_rate_under_long_polling():
    per_event = [theory.long_polling_requests_per_event(rate, 0.05, 30) for rate in (1, 5, 20, 100)]
    assert per_event == sorted(per_event, reverse=True)
    assert per_event[-1] == pytest.approx(1 / 10, rel=0.01)


def test_a_streams_latency_is_one_transit():
    expected, world = theory.streaming_latency(0.05), simulate_streaming(poisson_times(5, 5), 0.05)
    assert (min(world.latencies), max(world.latencies)) == pytest.approx((expected.min_s, expected.max_s))
    assert expected.mean_s == expected.quantile(0.99) == 0.05


@pytest.mark.parametrize("name", ["one_way_s", "jitter_s", "rate_per_s", "hold_s", "handshake_s", "heartbeat_s"])
@pytest.mark.parametrize("value", [-1.0, math.nan])
def test_a_path_names_the_parameter_that_makes_no_sense(name, value):
    with pytest.raises(ValueError, match=name):
        theory.Path(**{name: value})


def test_a_path_is_what_a_runs_settings_say():
    schedule = {"name": "poisson", "rate_per_s": 5.0, "settings": {"seed": 1}}
    settings = {"one_way_s": 0.05, "jitter_s": 0.01, "hold_s": 0.0, "keep_alive": False, "heartbeat_s": 2.0}
    assert theory.Path.of({**settings, "schedule": schedule}) == theory.Path(
        0.05, 0.01, fresh_connections=True, hold_s=0.0, rate_per_s=5.0, poisson=True, heartbeat_s=2.0
    )
    assert "changed" in theory.Path.of({"steady": False}).obstacle
    assert theory.Path.of({}) == theory.Path()


def test_a_path_is_the_sum_of_its_relays():
    near = theory.Stretch("a", 0.02, handshake=False, idle_timeout_s=60)
    far = theory.Stretch("b", 0.03, jitter_s=0.01)
    gate = theory.Stretch("g", gateway=True, idle_timeout_s=5)
    path = theory.Path.of({"one_way_s": 0.05, "path": [asdict(near), asdict(far), asdict(gate)]})
    assert (path.handshake_s, path.gateway, path.idle_timeout_s, path.obstacle) == (0.06, True, 5, "")
    assert path.gap_s(fresh=False) == pytest.approx(0.1)
    assert path.gap_s(fresh=True) == pytest.approx(0.16)
    jittery = theory.Path.of({"path": [asdict(far), asdict(far)]})
    assert "more than one link has jitter" in jittery.obstacle
    assert theory.Path.of({"path": [asdict(theory.Stretch(obstacle="it rains"))]}).obstacle == "it rains"


@pytest.mark.parametrize(("rate", "d", "hold"), [(rate, d, hold) for rate, d, hold in LONG_POLLING if hold >= 2 * d])
def test_pipelined_polls_wait_for_what_is_left_of_a_gap(rate, d, hold):
    gap = theory.request_gap(d)
    world = simulate_long_polling(poisson_times(rate, 6), d, hold, ahead=1)
    expected = theory.long_polling_pipelined_latency(rate, d, hold, gap)
    mean, error = world.mean_and_error()
    assert close(mean, expected.mean_s, max(error, expected.std_s / math.sqrt(EVENTS)))
    assert np.std(world.latencies) == pytest.approx(expected.std_s, rel=0.1, abs=d / 50)
    assert max(world.latencies) <= expected.max_s + 1e-9


@pytest.mark.parametrize(("rate", "gap"), [(1000.0, 1.5), (1000.0, 4.0), (75.0, 20.0)])
def test_pipelined_polls_of_very_many_events_wait_for_a_quarter_of_a_gap(rate, gap):
    """Each answer takes along what half a gap has queued: the two polls take turns."""
    expected = theory.long_polling_pipelined_latency(rate, gap / 2, 30.0, gap)
    assert expected.mean_s - gap / 2 == pytest.approx(gap / 4, rel=0.01)
    assert expected.std_s == pytest.approx(gap / 2 / math.sqrt(12), rel=0.01)


def test_without_a_network_nothing_waits_for_a_poll_that_is_always_there():
    pipelined = theory.long_polling_pipelined_latency(5.0, 0.0, 0.0, 0.0)
    for expected in (pipelined, theory.polling_latency(0.0, 0.0)):
        assert (expected.mean_s, expected.max_s, expected.std_s) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("rate", [2.0, 10.0, 60.0])
@pytest.mark.parametrize("every", [1, 2, 7, 30])
@pytest.mark.parametrize("fresh", [False, True])
def test_a_recycled_stream_is_long_polling_of_several_events(rate, every, fresh):
    d = 0.05
    gap = theory.request_gap(d, fresh)
    world = simulate_recycled(poisson_times(rate, 7), d, every, request_transits=3 if fresh else 1)
    expected = theory.recycled_stream_latency(rate, d, every, gap)
    mean, error = world.mean_and_error()
    latencies = np.array(world.latencies)
    assert close(mean, expected.mean_s, expected.std_s / math.sqrt(EVENTS))
    queued = EVENTS * (expected.mean_s - d) / (gap / 2)  # the few that waited decide how well the error is known
    assert error == pytest.approx(expected.std_s / math.sqrt(EVENTS), rel=0.06 + 1.5 / math.sqrt(queued))
    assert (latencies.min(), latencies.max()) == pytest.approx((d, d + gap), rel=0.02)
    for q in (0.9, 0.97):
        value = expected.quantile(q)
        if value > d + 1e-9:
            assert close((latencies <= value).mean(), q, math.sqrt((1 + rate * gap) / EVENTS))


def test_ended_after_each_event_a_stream_is_long_polling():
    once, held = theory.recycled_stream_latency(8, 0.05, 1, 0.1), theory.long_polling_latency(8, 0.05, math.inf, 0.1)
    assert (once.mean_s, once.std_s, once.max_s) == pytest.approx((held.mean_s, held.std_s, held.max_s))
    assert theory.recycled_stream_latency(8, 0.05, 10**6, 0.1).mean_s == pytest.approx(0.05, rel=1e-5)


@pytest.mark.parametrize("rate", [0.0, 1e-7, 2.0, 20.0, 300.0])
def test_a_stream_with_jitter_keeps_its_order(rate):
    d, jitter = 0.05, 0.1
    expected = theory.streaming_latency(d, rate_per_s=rate, jitter_s=jitter)
    if rate < 1:
        assert expected.mean_s == pytest.approx(d + jitter / 2, rel=1e-5)
        assert expected.std_s == pytest.approx(jitter / math.sqrt(12), rel=1e-3)
        return
    latencies = np.array(simulate_streaming(poisson_times(rate, 8), d, jitter_s=jitter).latencies)
    blocks = latencies.reshape(-1, 200).mean(axis=1)
    assert close(latencies.mean(), expected.mean_s, blocks.std() / math.sqrt(len(blocks)))
    assert latencies.std() == pytest.approx(expected.std_s, rel=0.06)
    assert (latencies.min() >= d, latencies.max() <= d + jitter) == (True, True)


JITTERED = [
    # lambda, d, j, T or H, waiting
    (0.5, 0.05, 0.1, 0.5, False),
    (8.0, 0.05, 0.1, 0.3, False),
    (8.0, 0.2, 0.1, 0.3, False),  # the answer sets the pace
    (8.0, 0.05, 0.3, 0.2, True),
    (60.0, 0.02, 0.1, 0.05, True),
]


@pytest.mark.parametrize(("rate", "d", "jitter", "span", "waiting"), JITTERED)
def test_polls_with_jitter(rate, d, jitter, span, waiting):
    polls = simulate_polling(poisson_times(rate, 9), d, span, waiting=waiting, jitter_s=jitter)
    held = simulate_long_polling(poisson_times(rate, 9), d, span, jitter_s=jitter)
    for world, expected in (
        (polls, theory.polling_latency(span, d, waiting=waiting, jitter_s=jitter)),
        (held, theory.long_polling_latency(rate, d, span, 2 * d, jitter_s=jitter)),
    ):
        mean, error = world.mean_and_error()
        assert close(mean, expected.mean_s, error)
        assert np.std(world.latencies) == pytest.approx(expected.std_s, rel=0.05)
        assert min(world.latencies) >= d - 1e-9
        assert expected.max_s * 0.85 <= max(world.latencies) <= expected.max_s + 1e-9


@pytest.mark.parametrize(("rate", "d", "hold"), LONG_POLLING)
def test_of_conflated_polls_the_newest_event_is_delivered(rate, d, hold):
    polls = simulate_polling(poisson_times(rate, 10), d, 0.7, waiting=False, conflate=True)
    held = simulate_long_polling(poisson_times(rate, 10), d, hold, conflate=True)
    for world, expected in (
        (polls, theory.newest_latency(rate, d, max(0.7, 2 * d))),
        (held, theory.long_polling_newest_latency(rate, d, hold, 2 * d)),
    ):
        latencies = world.latencies[:-1]  # after the last of all there is none that would have been newer
        assert close(np.mean(latencies), expected.mean_s, expected.std_s / math.sqrt(len(latencies)))
        assert np.std(latencies) == pytest.approx(expected.std_s, rel=0.12)
        assert max(latencies) <= expected.max_s + 1e-9


def test_few_events_are_not_conflated():
    rare, polled = theory.newest_latency(1e-9, 0.05, 0.7), theory.polling_latency(0.7, 0.05)
    assert (rare.mean_s, rare.std_s) == pytest.approx((polled.mean_s, polled.std_s))
    assert theory.newest_latency(0.0, 0.05, 0.7).mean_s == rare.mean_s
    assert theory.newest_latency(1e4, 0.05, 0.7).mean_s == pytest.approx(0.0501)


@pytest.mark.parametrize("jitter", [0.0, 0.02, 0.1])
def test_messages_up_take_a_transit_a_handshake_or_a_question_more(jitter):
    d, n = 0.05, 20_000
    up, down = Line(d, jitter, 1), Line(d, jitter, 2)
    starts = [10.0 * k for k in range(n)]  # one at a time
    kept = [up.carry(at) - at for at in starts]
    up, down = Line(d, jitter, 3), Line(d, jitter, 4)
    asked = [up.carry(down.carry(up.carry(at))) - at for at in starts]
    # a relay lets the first bytes of a connection through when TCP's handshake and they themselves would be through
    opened = [max(3 * d, Line(d, jitter, k).carry(0.0)) for k in range(200)]
    for found, given in ((kept, {}), (asked, {"asks": 1}), (opened, {"handshake": True})):
        expected = theory.message_latency(d, jitter_s=jitter, **given)
        assert close(np.mean(found), expected, np.std(found) / math.sqrt(len(found)))
