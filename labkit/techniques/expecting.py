"""What several techniques have in common in what latency to expect of them: of a stream, and of a request that is held.

Each descriptor's own ``expect`` says which of these it is with which options, and where there is no theory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from labkit.theory import Expectation, Path, Silent, long_polling_latency, recycled_stream_latency, streaming_latency

Theory = Callable[[Mapping[str, Any], Path], Expectation | Silent]
"""What latency to expect with these options (all of them, defaults filled in) on a path, or why that is unknown."""
POISSON = Silent("the closed form is about Poisson events")


def no_theory(_options: Mapping[str, Any], _path: Path) -> Silent:
    """Of a technique that states none."""
    return Silent("it states no theory")


def one_transit(_options: Mapping[str, Any], path: Path, *, beats: bool = True) -> Expectation | Silent:
    """Of a server that writes as events come: d, and what jitter adds.

    Args:
        beats: whether it sends heartbeats when there are no events.
    """
    if why := path.why_not(quiet_s=path.heartbeat_s if beats else math.inf):
        return Silent(why)
    if path.jitter_s and (path.rate_per_s is None or not path.poisson):
        return Silent(f"with jitter {POISSON.why}")
    return streaming_latency(path.one_way_s, rate_per_s=path.rate_per_s or 0.0, jitter_s=path.jitter_s)


def recycled(options: Mapping[str, Any], path: Path, endless: Expectation | Silent) -> Expectation | Silent:
    """Of a stream whose server ends the response after ``options["recycle"]`` events, whose client then asks again.

    Args:
        endless: what to expect of the same response if it does not end, as it does not where nothing is to be recycled.
    """
    if isinstance(endless, Silent) or not options["recycle"]:
        return endless
    if path.rate_per_s is None or not path.poisson:
        return POISSON
    if path.jitter_s or options["conflate"]:
        return Silent("recycled: the closed form is about every event, without jitter")
    ends_by_closing = options["http_version"] == "1.0" or options["framing"] == "eof"
    if ends_by_closing and path.gateway:
        return Silent("recycled: an intermediary closes only the connection behind it")
    return recycled_stream_latency(path.rate_per_s, path.one_way_s, options["recycle"], path.gap_s(ends_by_closing))


def held_request(
    path: Path, hold_s: float | None, *, pause_s: float = 0.0, fresh: bool = False
) -> Expectation | Silent:
    """Of a server that holds each request until there is something, and a client that asks again after *pause_s*."""
    held_s = path.hold_s if hold_s is None else hold_s
    if why := path.why_not(quiet_s=max(held_s, pause_s), fresh=fresh):
        return Silent(why)
    if path.rate_per_s is None or not path.poisson:
        return POISSON
    gap_s = path.gap_s(fresh) + pause_s
    return long_polling_latency(path.rate_per_s, path.one_way_s, held_s, gap_s, jitter_s=path.jitter_s)
