"""The exercises of 03_http_streaming."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from labkit.claims.exercises import Drawn, Exercise
from labkit.course.http_streaming.recycling import recycled_mean_s
from labkit.measuring.rounding import counted
from labkit.wire.chunks import encode_chunk

LATER_S = 0.002  # than one transit, on average
MESSAGES = ["first", "é, ü and 語", "a longer one, cut wherever a proxy likes", "last"]
_Cutter = Callable[[list[bytes]], Any]


def _chunk_framing(data_bytes: int) -> Exercise:
    wanted, digits = len(encode_chunk(b"x" * data_bytes)) - data_bytes, f"{data_bytes:x}"
    return Exercise(
        "bytes",
        lambda count: None if count == wanted else f"Found {count:g}.",
        f"{data_bytes} is {digits} in hexadecimal: {counted(len(digits), 'digit')}, CR LF, and another CR LF behind "
        f"the data: {wanted} bytes.",
        "a chunk is its size in hexadecimal, CR LF, the data, CR LF.",
        question=f"How many bytes of framing does a chunk with {data_bytes} bytes of data have?",
    )


def _recycle_interval(rate_per_s: float, one_way_s: float) -> Exercise:
    most_s = one_way_s + LATER_S + 1e-9

    def mean_s(events: float) -> float:
        return recycled_mean_s(rate_per_s, one_way_s, int(events))

    def judge(events: float) -> str | None:
        if not events >= 1 or math.isinf(events) or events != int(events):
            return f"{events:g} is not a number of events."
        if mean_s(events) > most_s:
            return f"Ended every {events:g} events, the mean is {mean_s(events) * 1e3:.2f} ms."
        if mean_s(max(1, events - 1)) > most_s:
            return None
        return f"Every {events - 1:g} events is still within {most_s * 1e3:.0f} ms."

    d_ms, queued = f"{one_way_s * 1e3:g} ms", 2 * rate_per_s * one_way_s
    fewest = next(n for n in range(1, 10_000) if mean_s(n) <= most_s)
    return Exercise(
        "events",
        judge,
        f"Every {fewest} events: a = {queued:g} events fall into a gap of 2d and wait {d_ms} each; "
        f"{d_ms} x {queued:g} / {fewest} = {one_way_s * 1e3 * queued / fewest:.3g} ms.",
        "the events of one gap wait d each on average, and share that cost with all N of their cycle.",
        question=f"At {rate_per_s:g} events a second and d = {d_ms}: after how many events, at the least, may the "
        f"server end the stream if the mean is to stay within {most_s * 1e3:.0f} ms?",
    )


def _parser(parse: _Cutter) -> str | None:
    """What a learner's parser makes of the same body in reads of every size."""
    body = "".join(f"{message}\n" for message in MESSAGES).encode()
    for size in range(1, len(body) + 1):
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        try:
            found = [m.decode() if isinstance(m, bytes) else m for m in parse(pieces)]
        except Exception as error:  # it is somebody's first attempt
            return f"With pieces of {counted(size, 'byte')} it raised {type(error).__name__}: {error}."
        if found != MESSAGES:
            return (
                f"With pieces of {counted(size, 'byte')} it found {len(found)} messages, the first {found[:1]!r:.60}."
            )
    return None


def _callable(value: Any) -> _Cutter:
    if not callable(value):
        raise TypeError("not a function")
    return value  # type: ignore[no-any-return]


EXERCISES: dict[str, Exercise | Drawn] = {
    "03.1": Drawn(_chunk_framing, {"data_bytes": (300, 12, 5000, 70_000, 2_000_000)}),
    "03.2": Drawn(_recycle_interval, {"rate_per_s": (8.0,), "one_way_s": (0.05,)}),
    "03.3": Exercise(
        "",
        _parser,
        "It finds the four messages in reads of any size, in the middle of a character too.",
        "keep what follows the last line feed until the next piece; decode a whole line, never a piece.",
        read=_callable,
        kind="a function from a list of bytes to a list of messages",
    ),
}
