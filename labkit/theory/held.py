"""What theory expects of a server that holds a request: long polling, pipelined or not, and streams that are ended.

One cycle runs from an answer's leaving to the next answer's leaving. First the gap g, in which a Poisson number of
events, mean a = lambda g, is queued. If there is any, the poll is answered as it arrives and the cycle ends. If there
is none, probability e^-a, the poll is parked until the first event, at most for H: it finds an event with probability
1 - e^(-lambda H). Each cycle starts anew, so means are ratios of means per cycle (renewal reward). Symbols and
assumptions are those of ``closed_forms``; the events are a Poisson process.
"""

from __future__ import annotations

import math

from labkit.theory.closed_forms import Expectation, newest_latency, request_gap

STEPS = 400
"""Of the integrals over a gap: even, as Simpson's rule has it."""


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


def long_polling_latency(
    rate_per_s: float, one_way_s: float, hold_s: float, gap_s: float, *, jitter_s: float = 0.0
) -> Expectation:
    """Latency of long polling: exactly d for the parked share, uniform on [d, d + g] for the rest.

    RFC 6202 section 2.2 has its ends: one transit, and three (g = 2d) for an event just after an answer.

    Args:
        jitter_s: j, of the answer's and of the next request's transit: the gap is g + j (U + U').
    """
    if jitter_s:
        return _jittered(rate_per_s, one_way_s, hold_s, gap_s, jitter_s)
    parked = long_polling_parked_share(rate_per_s, hold_s, gap_s)
    std_s = _long_polling_std(rate_per_s * gap_s, parked, gap_s)
    source = "long polling: d + (g/2) a / (a + e^-a (1 - e^(-lambda H)))"
    return _queued_or_not(one_way_s, gap_s, parked, std_s, source)


def _queued_or_not(one_way_s: float, gap_s: float, parked: float, std_s: float, source: str) -> Expectation:
    """d for the parked share, uniform on [d, d + g] for the rest."""
    queued = 1 - parked
    return Expectation(
        mean_s=one_way_s + gap_s / 2 * queued,
        min_s=one_way_s,
        max_s=one_way_s + gap_s,
        std_s=std_s,
        quantile=lambda share: one_way_s + (gap_s * max(0.0, share - parked) / queued if queued else 0.0),
        source=f"{source}, a = lambda g, gap g = {gap_s:g} s",
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


def _jittered(rate_per_s: float, one_way_s: float, hold_s: float, gap_s: float, jitter_s: float) -> Expectation:
    """Long polling with a gap that differs each time: of the gap only its moments matter, and E[e^(-lambda g)].

    Per cycle lambda E[g] events are queued, which wait lambda E[g^2] / 2 in all. g + j (U + U') has the mean g + j, the
    variance j^2/6, no skew, and E[e^(-lambda g)] = e^(-lambda g) ((1 - e^-b) / b)^2, b = lambda j.
    """
    rate, mean, variance = max(rate_per_s, 1e-9), gap_s + jitter_s, jitter_s**2 / 6
    b = rate * jitter_s
    none_queued = math.exp(-rate * gap_s) * (-math.expm1(-b) / b) ** 2
    events = rate * mean + none_queued * -math.expm1(-rate * hold_s)
    wait_s = rate * (mean**2 + variance) / 2 / events
    square = rate * (mean**3 + 3 * mean * variance) / 3 / events
    return Expectation(
        mean_s=one_way_s + jitter_s / 2 + wait_s,
        min_s=one_way_s,
        max_s=one_way_s + gap_s + 3 * jitter_s,
        std_s=math.sqrt(square - wait_s**2 + jitter_s**2 / 12),
        quantile=None,
        source="long polling: d + j/2 + (lambda E[g^2] / 2) / (lambda E[g] + E[e^(-lambda g)] (1 - e^(-lambda H))), "
        f"gap g from {gap_s:g} s to {gap_s + 2 * jitter_s:g} s",
    )


def long_polling_newest_latency(rate_per_s: float, one_way_s: float, hold_s: float, gap_s: float) -> Expectation:
    """Latency of conflated long polling: of what the gap queued only the newest; of a parked poll, its event.

    An answer brings one event, or none with the probability e^(-a - lambda H).
    """
    brings = 1 - long_polling_empty_fraction(rate_per_s, hold_s, gap_s)
    queued = -math.expm1(-rate_per_s * gap_s) / brings if brings else 0.0
    return newest_latency(rate_per_s, one_way_s, gap_s, queued)


def long_polling_pipelined_latency(rate_per_s: float, one_way_s: float, hold_s: float, gap_s: float) -> Expectation:
    """Latency of long polling with one more poll behind the parked one (RFC 6202 section 5.2), H of g or more.

    Each of two polls is back at the server g after it was answered. So after an answer nobody is there for the rest r
    of the gap that the answer before began: the next one leaves x later and leaves r' = max(0, g - x). If the rest
    queues an event (1 - e^(-lambda r)), it leaves as the rest ends: r' = g - r. Else it leaves at the next event. In
    the steady state this has the distribution F(y) = e^(-lambda (g - y)) + (1 - e^(-lambda (g - y))) (1 - e^(-lambda
    y)) F(y), which is F(y) = e^(-lambda (g - y)) / (e^(-lambda y) + e^(-lambda (g - y)) - e^(-lambda g)). A cycle has
    lambda E[r] queued events, which wait lambda E[r^2] / 2 in all, and E[e^(-lambda r)] (1 - e^(-lambda H)) that find a
    poll parked. With H below g a rest could outlast two polls.
    """
    if not gap_s:
        return _queued_or_not(one_way_s, 0.0, 1.0, 0.0, "pipelined long polling: without a gap one transit, d")
    rate, step_s = max(rate_per_s, 1e-9), gap_s / STEPS
    first = second = third = transform = 0.0  # of r: E[r], E[r^2], E[r^3], (1 - E[e^(-lambda r)]) / lambda
    for n in range(STEPS + 1):
        y, weight = n * step_s, (1 if n in (0, STEPS) else 4 if n % 2 else 2) * step_s / 3
        tail = weight * _is_left(rate, gap_s, y)
        first, second, third = first + tail, second + 2 * y * tail, third + 3 * y * y * tail
        transform += math.exp(-rate * y) * tail
    events = rate * first + (1 - rate * transform) * -math.expm1(-rate * hold_s)
    wait_s, square = rate * second / 2 / events, rate * third / 3 / events
    return Expectation(
        mean_s=one_way_s + wait_s,
        min_s=one_way_s,
        max_s=one_way_s + gap_s,
        std_s=math.sqrt(max(0.0, square - wait_s**2)),
        quantile=None,
        source="pipelined long polling: d + (lambda E[r^2] / 2) / (lambda E[r] + E[e^(-lambda r)] (1 - e^(-lambda H))),"
        f" r what is left of the gap g = {gap_s:g} s of the answer before the last",
    )


def _is_left(rate_per_s: float, gap_s: float, y: float) -> float:
    """1 - F(y): the chance that more than y is left of a gap.

    F's numerator over the rest of its denominator is e^(-lambda (g - 2y)) / (1 - e^(-lambda (g - y))): one power, which
    says the same of any lambda g, where all three of F are 0 of a large one.
    """
    none_in_rest = -math.expm1(-rate_per_s * (gap_s - y))
    power = min(rate_per_s * (2 * y - gap_s), 700.0)  # beyond it nothing is left
    return none_in_rest / (none_in_rest + math.exp(power))


def recycled_stream_latency(rate_per_s: float, one_way_s: float, every: int, gap_s: float) -> Expectation:
    """Latency of a stream that is ended every N events and asked for again: mean d + (g/2) a / E[max(N, K)].

    K, the events queued during the gap g, is Poisson with the mean a = lambda g, each of them waiting g/2 on average.
    The next response takes them along and ends at once if they are N or more: a cycle has max(N, K) events. With
    N = 1 it is long polling without a hold time-out; with N without end, d. The variance is that of whole cycles, as
    under long polling: a g^2/12 + E[(K g/2 - r max(N, K))^2], r the mean wait.
    """
    a = rate_per_s * gap_s
    chances = _poisson(a)
    events = sum(max(every, k) * chance for k, chance in enumerate(chances))
    r = gap_s / 2 * a / events
    square = a * gap_s**2 / 12
    square += sum(chance * (k * gap_s / 2 - r * max(every, k)) ** 2 for k, chance in enumerate(chances))
    source = f"a stream ended every {every} events: d + (g/2) a / E[max(N, K)], K Poisson of mean a"
    return _queued_or_not(one_way_s, gap_s, 1 - a / events, math.sqrt(square / events), source)


def _poisson(mean: float) -> list[float]:
    """The chances of 0, 1, 2, ... events, as far as they matter."""
    upto = int(mean + 12 * math.sqrt(mean) + 12)
    return [math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) if mean else float(k == 0) for k in range(upto)]
