"""What theory expects: the closed forms of latency, requests and bytes.

Symbols, with the parameter that carries each: ``d`` one network transit (``one_way_s``), ``T`` the poll interval
(``poll_interval_s``), ``lambda`` the event rate (``rate_per_s``), ``H`` the hold time-out (``hold_s``), ``g`` the
gap (``gap_s``): the time from an answer's leaving the server to the next poll's arriving there.

Assumptions, unless a function says otherwise: transits take exactly d, processing takes no time, nothing is lost, an
answer carries everything that is queued, and the events' times have no relation to the polls' (a Poisson process, or
a periodic one that is dithered). A latency runs from the event's due time to its arrival at the subscriber.

Pure arithmetic. ``tests/theory`` holds each form against a simulation that knows none of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Expectation:
    """The latency that theory expects of one event, in seconds.

    Attributes:
        std_s: the mean of n events has the standard error ``std_s / sqrt(n)``. For polling and streaming that is one
            latency's standard deviation; for long polling it allows for the events that share an answer.
        quantile: share (0 to 1) -> latency in seconds below which that share lies.
        source: which formula, in one line.
    """

    mean_s: float
    min_s: float
    max_s: float
    std_s: float
    quantile: Callable[[float], float] | None
    source: str


def request_gap(one_way_s: float, fresh_connections: bool = False) -> float:
    """From an answer's leaving the server to the next request's arriving there, in seconds.

    The answer travels d and the request d; a new connection's handshake is a round trip before the request:
    2d kept alive, 4d with a connection each time. It is also the time from a request to its (instant) answer.
    """
    return (4 if fresh_connections else 2) * one_way_s


# Interval polling


def polling_period(poll_interval_s: float, one_way_s: float, *, fresh_connections: bool = False) -> float:
    """Seconds between the polls of a client that sends every T, or as soon as the last answer is there if later.

    max(T, 2d); max(T, 4d) with a connection each time.
    """
    return max(poll_interval_s, request_gap(one_way_s, fresh_connections))


def polling_period_when_waiting(poll_interval_s: float, one_way_s: float, *, fresh_connections: bool = False) -> float:
    """Seconds between the polls of a client that pauses T after each answer: T + 2d (T + 4d).

    Send, 2d until the answer, T of pause, send again.
    """
    return poll_interval_s + request_gap(one_way_s, fresh_connections)


def polling_latency(
    poll_interval_s: float, one_way_s: float, *, fresh_connections: bool = False, waiting: bool = False
) -> Expectation:
    """Latency of interval polling: uniform on [d, P + d], mean P/2 + d, P the period.

    Polls reach the server every P. An event lies uniformly between two of them, so the rest of its interval, which it
    waits for, is uniform on [0, P]; the answer that takes it along travels d more. P is T if the answer is back by
    then (:func:`polling_period`); for a client that pauses after each answer (*waiting*) it is T + 2d.
    """
    period = (polling_period_when_waiting if waiting else polling_period)(
        poll_interval_s, one_way_s, fresh_connections=fresh_connections
    )
    return Expectation(
        mean_s=one_way_s + period / 2,
        min_s=one_way_s,
        max_s=one_way_s + period,
        std_s=period / math.sqrt(12),
        quantile=lambda share: one_way_s + period * share,
        source=f"interval polling: uniform on [d, P + d], mean P/2 + d, period P = {period:g} s",
    )


def empty_answer_fraction(rate_per_s: float, period_s: float) -> float:
    """Share of polls that bring nothing: e^(-lambda P), the Poisson chance of no event in one period."""
    return math.exp(-rate_per_s * period_s)


def polling_requests_per_event(rate_per_s: float, period_s: float) -> float:
    """1 / (lambda P): a poll each P, lambda P events in it."""
    return math.inf if rate_per_s * period_s == 0 else 1 / (rate_per_s * period_s)


# Long polling
#
# One cycle runs from an answer's leaving to the next answer's leaving. First the gap g, in which a Poisson number of
# events, mean a = lambda g, is queued. If there is any, the poll is answered as it arrives and the cycle ends. If
# there is none, probability e^-a, the poll is parked until the first event, at most for H: it finds an event with
# probability 1 - e^(-lambda H). Each cycle starts anew, so means are ratios of means per cycle (renewal reward).


def _parked_events(rate_per_s: float, hold_s: float, gap_s: float) -> float:
    """Events that find a parked poll, per answer: e^-a (1 - e^(-lambda H)). Never more than one a cycle."""
    if rate_per_s == 0:
        return 0.0
    return math.exp(-rate_per_s * gap_s) * -math.expm1(-rate_per_s * hold_s)


def long_polling_events_per_answer(rate_per_s: float, hold_s: float, gap_s: float) -> float:
    """Events per answer, empty ones included: a + e^-a (1 - e^(-lambda H)); a are queued in the gap."""
    return rate_per_s * gap_s + _parked_events(rate_per_s, hold_s, gap_s)


def long_polling_empty_fraction(rate_per_s: float, hold_s: float, gap_s: float) -> float:
    """Share of answers that are empty: no event in the gap and none in the hold, e^(-a - lambda H)."""
    if rate_per_s == 0:
        return 1.0
    return math.exp(-rate_per_s * (gap_s + hold_s))


def long_polling_requests_per_event(
    rate_per_s: float, one_way_s: float, hold_s: float, gap_s: float | None = None
) -> float:
    """1 / (a + e^-a (1 - e^(-lambda H))): one request a cycle.

    With the gap 2d (unless *gap_s* says otherwise) and an endless hold: 1 / (2 lambda d + e^(-2 lambda d)).
    """
    events = long_polling_events_per_answer(rate_per_s, hold_s, request_gap(one_way_s) if gap_s is None else gap_s)
    return math.inf if events == 0 else 1 / events


def long_polling_requests_per_s(
    rate_per_s: float, one_way_s: float, hold_s: float, gap_s: float | None = None
) -> float:
    """1 / (g + e^-a (1 - e^(-lambda H)) / lambda): cycles per second, saturating at 1/g (1/(2d) kept alive).

    A cycle lasts g and, with probability e^-a, the wait min(exponential, H) with mean (1 - e^(-lambda H)) / lambda.
    """
    gap = request_gap(one_way_s) if gap_s is None else gap_s
    wait = hold_s if rate_per_s == 0 else _parked_events(rate_per_s, hold_s, gap) / rate_per_s
    return math.inf if gap + wait == 0 else 1 / (gap + wait)


def long_polling_parked_share(rate_per_s: float, hold_s: float, gap_s: float) -> float:
    """Share of events that find a parked poll; the limit H / (g + H), a random moment's, as lambda goes to 0."""
    if rate_per_s == 0 or gap_s + hold_s == 0:
        return 1.0 if gap_s == 0 or hold_s == math.inf else hold_s / (gap_s + hold_s)
    return _parked_events(rate_per_s, hold_s, gap_s) / long_polling_events_per_answer(rate_per_s, hold_s, gap_s)


def long_polling_mean(rate_per_s: float, one_way_s: float, hold_s: float, gap_s: float) -> float:
    """Mean latency per event in seconds: d + (g/2) a / (a + e^-a (1 - e^(-lambda H))).

    Per cycle, a events are queued, each uniform in the gap, so that it waits g/2 on average until the poll is there;
    an event that finds a parked poll waits for nothing. Divided by the events per cycle; the answer then travels d.
    """
    return one_way_s + gap_s / 2 * (1 - long_polling_parked_share(rate_per_s, hold_s, gap_s))


def long_polling_latency(rate_per_s: float, one_way_s: float, hold_s: float, gap_s: float) -> Expectation:
    """Latency of long polling: exactly d for the parked share, uniform on [d, d + g] for the rest.

    RFC 6202 section 2.2 has its ends: one transit, and three (g = 2d) for an event just after an answer.
    """
    parked = long_polling_parked_share(rate_per_s, hold_s, gap_s)
    mean_s = long_polling_mean(rate_per_s, one_way_s, hold_s, gap_s)
    queued_share = 1 - parked

    def quantile(share: float) -> float:
        return one_way_s + gap_s * max(0.0, share - parked) / queued_share if queued_share else one_way_s

    return Expectation(
        mean_s=mean_s,
        min_s=one_way_s,
        max_s=one_way_s + gap_s,
        std_s=_long_polling_std(rate_per_s * gap_s, parked, gap_s),
        quantile=quantile,
        source="long polling: d + (g/2) a / (a + e^-a (1 - e^(-lambda H))), a = lambda g, gap g = " + f"{gap_s:g} s",
    )


def _long_polling_std(a: float, parked: float, gap_s: float) -> float:
    """The effective standard deviation of a latency, from the variance of whole cycles.

    With r the mean wait, N events queued and S their summed wait, a cycle's S - r N has the mean square
    a g^2/12 + (a + a^2)(g/2 - r)^2 (given N, the waits are independent and uniform), plus r^2 if the poll was parked.
    The mean over many cycles has that variance over the events per cycle (a / queued share), squared, per cycle.
    """
    queued = 1 - parked
    if queued <= 0:
        return 0.0
    r = gap_s / 2 * queued
    if a == 0:
        return math.sqrt(queued * gap_s**2 / 3 - r**2)
    square = a * gap_s**2 / 12 + (a + a * a) * (gap_s / 2 - r) ** 2 + a * parked / queued * r**2
    return math.sqrt(square * queued / a)


# Streaming, SSE, WebSocket, plugin socket


def streaming_latency(one_way_s: float) -> Expectation:
    """d, always: the server writes as the event comes (RFC 6202 section 3.2, a stream that is never recycled)."""
    return Expectation(one_way_s, one_way_s, one_way_s, 0.0, lambda share: one_way_s, "streaming: one transit, d")


def recycled_stream_max(one_way_s: float, *, fresh_connections: bool = False) -> float:
    """The largest latency of a stream that is ended and asked for again, in seconds: d + g, 3d kept alive.

    An event just after the old stream's end waits, as under a long poll, until the next request is there
    (RFC 6202 section 3.2).
    """
    return one_way_s + request_gap(one_way_s, fresh_connections)
