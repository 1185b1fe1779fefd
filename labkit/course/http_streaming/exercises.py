"""The exercises of 03_http_streaming."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from labkit.claims.exercises import Exercise
from labkit.course.http_streaming.recycling import recycled_mean_s
from labkit.wire.chunks import encode_chunk

PAYLOAD = b"x" * 300
RATE_PER_S, ONE_WAY_S, MOST_S = 8.0, 0.05, 0.052 + 1e-9
MESSAGES = ["first", "é, ü and 語", "a longer one, cut wherever a proxy likes", "last"]
_Cutter = Callable[[list[bytes]], Any]


def _chunk_framing(count: float) -> str | None:
    wanted = len(encode_chunk(PAYLOAD)) - len(PAYLOAD)
    return None if count == wanted else f"Found {count:g}."


def _recycle_interval(events: float) -> str | None:
    if not events >= 1 or math.isinf(events) or events != int(events):
        return f"{events:g} is not a number of events."
    means = [recycled_mean_s(RATE_PER_S, ONE_WAY_S, int(n)) for n in (events, max(1, events - 1))]
    if means[0] > MOST_S:
        return f"Ended every {events:g} events, the mean is {means[0] * 1e3:.2f} ms."
    return None if means[1] > MOST_S else f"Every {events - 1:g} events is still within 52 ms."


def _parser(parse: _Cutter) -> str | None:
    """What a learner's parser makes of the same body in reads of every size."""
    body = "".join(f"{message}\n" for message in MESSAGES).encode()
    for size in range(1, len(body) + 1):
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        try:
            found = [m.decode() if isinstance(m, bytes) else m for m in parse(pieces)]
        except Exception as error:  # it is somebody's first attempt
            return f"With pieces of {size} bytes it raised {type(error).__name__}: {error}."
        if found != MESSAGES:
            return f"With pieces of {size} bytes it found {len(found)} messages, the first {found[:1]!r:.60}."
    return None


def _callable(value: Any) -> _Cutter:
    if not callable(value):
        raise TypeError("not a function")
    return value  # type: ignore[no-any-return]


EXERCISES: dict[str, Exercise] = {
    "03.1": Exercise(
        "bytes",
        _chunk_framing,
        "300 is 12c in hexadecimal: three digits, CR LF, and another CR LF behind the data: 7 bytes.",
        "a chunk is its size in hexadecimal, CR LF, the data, CR LF.",
    ),
    "03.2": Exercise(
        "events",
        _recycle_interval,
        "Every 20 events: a = 0.8 events fall into a gap of 2d and wait 50 ms each; 50 ms x 0.8 / 20 = 2 ms.",
        "the events of one gap wait d each on average, and share that cost with all N of their cycle.",
    ),
    "03.3": Exercise(
        "",
        _parser,
        "It finds the four messages in reads of any size, in the middle of a character too.",
        "keep what follows the last line feed until the next piece; decode a whole line, never a piece.",
        read=_callable,
        kind="a function from a list of bytes to a list of messages",
    ),
}
