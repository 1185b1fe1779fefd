"""What theory expects: the closed forms of interval polling and of streams, and what a closed form gives.

Symbols, with the parameter that carries each: ``d`` one network transit (``one_way_s``), ``T`` the poll interval
(``poll_interval_s``), ``lambda`` the event rate (``rate_per_s``), ``H`` the hold time-out (``hold_s``), ``g`` the
gap (``gap_s``): the time from an answer's leaving the server to the next poll's arriving there; ``j`` the jitter
(``jitter_s``): each read takes d and a uniform part of j, and never overtakes the one before.

Assumptions, unless a function says otherwise: transits take exactly d (j = 0), processing takes no time, nothing is
lost, an answer carries everything that is queued, and the events' times have no relation to the polls' (a Poisson
process, or a periodic one that is dithered). A latency runs from the event's due time to its arrival at the subscriber.

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
            latency's standard deviation; for long polling it allows for the events that share an answer. With jitter,
            and of pipelined polls, it is one latency's: events that are close are late together, so that the mean of
            n is less certain than that.
        quantile: share (0 to 1) -> latency in seconds below which that share lies; None where it has no closed form.
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
    2d kept alive, 4d with a connection each time. It is also the time from a request to its (instant) answer. Of a
    whole path, whose relays may charge no handshake, :meth:`labkit.theory.Path.gap_s` tells it.
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
    poll_interval_s: float,
    one_way_s: float,
    *,
    fresh_connections: bool = False,
    waiting: bool = False,
    gap_s: float | None = None,
    jitter_s: float = 0.0,
) -> Expectation:
    """Latency of interval polling: uniform on [d, P + d], mean P/2 + d, P the period.

    Polls reach the server every P. An event lies uniformly between two of them, so the rest of its interval, which it
    waits for, is uniform on [0, P]; the answer that takes it along travels d more. P is T if the answer is back by
    then (:func:`polling_period`); for a client that pauses after each answer (*waiting*) it is T + 2d.

    With jitter the polls are P and j times the difference of two uniforms apart, or, where the answer sets the pace, P
    and j times the sum of two (its own transit's and the next request's): P grows by j then. Both have the variance
    v = j^2/6, so an event waits (P^2 + v) / 2P on average (the inspection paradox), and its answer takes d + j/2.

    Args:
        gap_s: where it is not 2d or 4d.
        jitter_s: j; an answer that may come after the next poll is due, T between g and g + 2j, has no closed form.
    """
    gap = request_gap(one_way_s, fresh_connections) if gap_s is None else gap_s
    period = poll_interval_s + gap if waiting else max(poll_interval_s, gap)
    if waiting or gap >= poll_interval_s:
        period += jitter_s
    wait_s = period / 2 + (jitter_s**2 / 12 / period if jitter_s else 0.0)  # without a period nothing waits
    square = period**2 / 3 + jitter_s**2 / 6  # E[X^3] / 3 E[X]: X is symmetric about P
    jittered = f"(P + j^2/6P)/2 + d + j/2, j = {jitter_s:g} s" if jitter_s else "uniform on [d, P + d], mean P/2 + d"
    return Expectation(
        mean_s=one_way_s + jitter_s / 2 + wait_s,
        min_s=one_way_s,
        max_s=one_way_s + period + 2 * jitter_s,
        std_s=math.sqrt(square - wait_s**2 + jitter_s**2 / 12),
        quantile=None if jitter_s else lambda share: one_way_s + period * share,
        source=f"interval polling: {jittered}, period P = {period:g} s",
    )


def newest_latency(rate_per_s: float, one_way_s: float, span_s: float, queued: float = 1.0) -> Expectation:
    """Latency where of all the events of a span only the newest is delivered (``conflate``), Poisson events.

    Back from the span's end, the first event is w away with the density lambda e^(-lambda w), cut off at the span s:
    mean 1/lambda - s / (e^(lambda s) - 1).

    Args:
        span_s: the period of interval polling; the gap of long polling.
        queued: share of the deliveries that waited so; the others wait for nothing.
    """
    x = rate_per_s * span_s
    if x < 1e-6:  # so few that none is conflated
        wait_s, square = span_s / 2, span_s**2 / 3
    else:
        left = 1 / math.expm1(x) if x < 500 else 0.0
        wait_s = 1 / rate_per_s - span_s * left
        square = 2 / rate_per_s**2 - (span_s**2 + 2 * span_s / rate_per_s) * left
    return Expectation(
        mean_s=one_way_s + queued * wait_s,
        min_s=one_way_s,
        max_s=one_way_s + span_s,
        std_s=math.sqrt(queued * square - (queued * wait_s) ** 2),
        quantile=None,
        source=f"the newest of each answer: d + 1/lambda - s / (e^(lambda s) - 1), span s = {span_s:g} s",
    )


def empty_answer_fraction(rate_per_s: float, period_s: float) -> float:
    """Share of polls that bring nothing: e^(-lambda P), the Poisson chance of no event in one period."""
    return math.exp(-rate_per_s * period_s)


def polling_requests_per_event(rate_per_s: float, period_s: float) -> float:
    """1 / (lambda P): a poll each P, lambda P events in it."""
    return math.inf if rate_per_s * period_s == 0 else 1 / (rate_per_s * period_s)


# Streaming, SSE, WebSocket, plugin socket


def streaming_latency(one_way_s: float, *, rate_per_s: float = 0.0, jitter_s: float = 0.0) -> Expectation:
    """d, always: the server writes as the event comes (RFC 6202 section 3.2, a stream that is never recycled).

    With jitter an event takes d + j/2 if it is alone. TCP keeps the order, so it also waits for those before it: with
    Poisson events it is there after d + x if its own jitter is below x (x/j) and none of those before it, s earlier,
    drew more than x + s: F(x) = (x/j) e^(-lambda (j - x)^2 / 2j). With a = lambda j and, integrated,
    A = sqrt(pi/2a) erf(sqrt(a/2)), B = (1 - e^(-a/2)) / a, the mean is d + j (1 - A + B); up to d + j for many events.
    """
    if not jitter_s:
        return Expectation(one_way_s, one_way_s, one_way_s, 0.0, lambda share: one_way_s, "streaming: one transit, d")
    a = max(rate_per_s * jitter_s, 1e-4)  # below that nobody waits for anybody
    zeroth, first = math.sqrt(math.pi / (2 * a)) * math.erf(math.sqrt(a / 2)), -math.expm1(-a / 2) / a
    second = (zeroth - math.exp(-a / 2)) / a
    mean, square = 1 - zeroth + first, 1 - 2 * (zeroth - 2 * first + second)
    return Expectation(
        mean_s=one_way_s + jitter_s * mean,
        min_s=one_way_s,
        max_s=one_way_s + jitter_s,
        std_s=jitter_s * math.sqrt(square - mean**2),
        quantile=None,
        source=f"streaming: d + j/2, and what those before it hold it up, jitter j = {jitter_s:g} s",
    )


def message_latency(one_way_s: float, *, jitter_s: float = 0.0, handshake: bool = False, asks: int = 0) -> float:
    """Mean latency of a message that a client sends, in seconds: d + j/2 on a connection that is there and free.

    Each question that is asked and answered before it (*asks*, a preflight) takes two such transits: 3(d + j/2). With
    a new connection it is 3d: the handshake's round trip is charged by a relay, which answers the SYN itself, as
    exactly 2d, and the request, on its way since then, is let through at 3d, whatever it drew up to j = 2d.
    """
    return 3 * one_way_s if handshake else (1 + 2 * asks) * (one_way_s + jitter_s / 2)
