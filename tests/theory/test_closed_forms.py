"""The closed forms against a seeded simulation that is written from the techniques' rules and knows no formula."""

from __future__ import annotations

import math

import numpy as np
import pytest

from labkit import theory
from simulations import poisson_times, simulate_long_polling, simulate_polling, simulate_streaming


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


def test_a_streams_latency_is_one_transit_and_three_when_recycled():
    expected, world = theory.streaming_latency(0.05), simulate_streaming(poisson_times(5, 5), 0.05)
    assert (min(world.latencies), max(world.latencies)) == (expected.min_s, expected.max_s)
    assert expected.mean_s == expected.quantile(0.99) == 0.05
    assert theory.recycled_stream_max(0.05) == pytest.approx(0.15)
    assert theory.recycled_stream_max(0.05, fresh_connections=True) == pytest.approx(0.25)


@pytest.mark.parametrize("name", ["one_way_s", "jitter_s", "rate_per_s", "hold_s"])
@pytest.mark.parametrize("value", [-1.0, math.nan])
def test_a_path_names_the_parameter_that_makes_no_sense(name, value):
    with pytest.raises(ValueError, match=name):
        theory.Path(**{name: value})


def test_a_path_is_what_a_runs_settings_say():
    schedule = {"name": "poisson", "rate_per_s": 5.0, "settings": {"seed": 1}}
    settings = {"one_way_s": 0.05, "jitter_s": 0.01, "hold_s": 0.0, "keep_alive": False, "steady": False}
    assert theory.Path.of({**settings, "schedule": schedule}) == theory.Path(
        0.05, 0.01, fresh_connections=True, hold_s=0.0, rate_per_s=5.0, poisson=True, changed=True
    )
    assert theory.Path.of({}) == theory.Path()
