"""The checks of 03_http_streaming: S1, S1b, S2, S3, S5, S6, S8, T2.

S3 is judged here where a stream was recycled, else as in the start notebook. Those that read bytes are in
:mod:`labkit.checks.http_streaming_wire`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesFeedParser
from typing import TYPE_CHECKING, Any

from labkit import claims, models
from labkit.checks.common import LEAST_EVENTS, Finding, NoVerdict, Part, Seen, listed, lost_part, median_part, see
from labkit.checks.http_streaming_wire import (
    Tabled,
    a_fault_looks_like_the_end,
    chunks_are_not_messages,
    told,
    which_framing_can_stream,
    which_framing_keeps_the_connection,
)
from labkit.checks.latency import streaming_is_one_transit
from labkit.claims import Interval, Verdict, shown
from labkit.wire.chunks import Chunk, ChunkDecoder

if TYPE_CHECKING:
    import pandas as pd

    from labkit.ledger import ConnectionRecord
    from labkit.runs import Run

# S3


def recycled_mean_s(rate_per_s: float, one_way_s: float, every: int, gap_s: float | None = None) -> float:
    """Mean latency of a stream that is ended every N events, in seconds: d + (g/2) a / E[max(N, K)].

    K, the events queued during the gap g, is Poisson with the mean a = lambda g, each of them waiting g/2 on average.
    The next response takes them along and ends at once if they are N or more: a cycle has max(N, K) events. With
    N = 1 it is long polling; with N without end, d.
    """
    gap = models.request_gap(one_way_s) if gap_s is None else gap_s
    a = rate_per_s * gap
    chance, events = math.exp(-a), 0.0
    for k in range(int(a + 12 * math.sqrt(a) + 12)):
        events += max(every, k) * chance
        chance *= a / (k + 1)
    return one_way_s + gap / 2 * a / events


@dataclass(frozen=True)
class Recycled:
    """One run in which an event follows each end at once: never recycled, every N events, and so with EOF."""

    run: Run
    every: int

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.run.settings)


KEPT, CLOSED = "recycled", "recycled, EOF"


def streaming_and_its_ends(seen: Any) -> Finding:
    """S3: one transit while the stream lasts; three for what comes right after its end, five where EOF ended it."""
    if not isinstance(seen, Recycled):
        return streaming_is_one_transit(seen)
    base = streaming_is_one_transit(seen.run)
    kept, closed = see(seen.run, KEPT), see(seen.run, CLOSED)
    parts = [Part(base.verdict, f"never recycled: {base.reason}")]
    for name, saw, fresh in ((KEPT, kept, False), (CLOSED, closed, True)):
        whole_s = _after_ends(seen.run, name, saw)
        expected_s = models.recycled_stream_max(saw.one_way_s, fresh_connections=fresh)
        spike = median_part(saw, whole_s, expected_s, "of what came right after an end, counted from the end")
        parts += [Part(spike.verdict, f"{name}: {spike.text}"), lost_part(saw)]
    verdict = claims.combine(part.verdict for part in parts)
    guilty = [p.text for p in parts if p.verdict == verdict] + [p.text for p in parts if p.verdict != verdict]
    return Finding(base.expected, base.measured, base.interval, base.n, verdict, "; ".join(guilty))


def _after_ends(run: Run, technique: str, seen: Seen) -> pd.Series[float]:
    """From each end's leaving the server to the arrival of the event that was published right after it, in seconds.

    When an end left is told from the ledger: one transit before the client asked again, or connected again.
    """
    import pandas as pd

    soon_ns, events = (
        seen.one_way_s * 1e9 / 2,
        sorted(zip(seen.frame["published_ns"], seen.frame["received_ns"], strict=True)),
    )
    whole_s = []
    for asked_ns in _asked_again(run, technique):
        ended_ns = asked_ns - seen.one_way_s * 1e9
        received = next((r for published, r in events if 0 <= published - ended_ns <= soon_ns), None)
        whole_s += [] if received is None else [(received - ended_ns) / 1e9]
    return pd.Series(whole_s, dtype=float)


def _asked_again(run: Run, technique: str) -> list[int]:
    records = sorted(run.ledger.of(technique), key=lambda record: record.opened_ns)
    again = [record.opened_ns for record in records[1:]]
    for record in records:
        again += [t.t_ns for t in record.transfers if t.direction == "out"][1:]
    return again


# S6


@dataclass(frozen=True)
class Shown:
    """How much a server had written when one client showed the first event.

    ``body_bytes``: None if nothing showed before the response ended, at ``limit_bytes``.
    """

    client: str
    framing: str
    body_bytes: int | None
    event_bytes: int
    limit_bytes: int


@dataclass(frozen=True, repr=False)
class FirstShown(Tabled):
    """Real clients, each with its default reading. ``missing``: those that could not be tried, and why."""

    cases: tuple[Shown, ...]
    missing: Mapping[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """One row per client: body bytes written when the first event showed, chunked and EOF."""
        import pandas as pd

        rows: dict[str, dict[str, str]] = {}
        for case in self.cases:
            text = f"{case.body_bytes} B" if case.body_bytes is not None else "not before the end"
            rows.setdefault(case.client, {})[case.framing] = text
        for client, why in self.missing.items():
            rows[client] = dict.fromkeys(("chunked", "eof"), f"not run: {why}")
        return pd.DataFrame.from_dict(rows, orient="index").fillna("")


def clients_may_buffer(seen: FirstShown) -> Finding:
    """S6: some real client shows the first event only after many more, or not before the end; another at once.

    ``measured``: the most bytes that a client wanted which showed anything before the end.
    """
    if not seen.cases:
        raise NoVerdict("not run", "no client could be tried")
    at_once = [c for c in seen.cases if c.body_bytes is not None and c.body_bytes <= 2 * c.event_bytes]
    late = [c for c in seen.cases if c.body_bytes is None or c.body_bytes >= LEAST_EVENTS * c.event_bytes]
    between = [c for c in seen.cases if c not in at_once and c not in late]
    verdict: Verdict = "confirmed" if late and at_once else "refuted" if not late and not between else "undecided"
    held = [f"{c.client} ({c.framing}) {_wanted(c)}" for c in late]
    reason = f"{', '.join(held) or 'none'}; at once: {', '.join(dict.fromkeys(c.client for c in at_once)) or 'none'}"
    if verdict == "undecided" and not at_once:
        reason = f"none showed the first event at once, so the server or the machine may have been slow; {reason}"
    most = max((c.body_bytes for c in seen.cases if c.body_bytes is not None), default=None)
    return Finding(None, most, None, len(seen.cases), verdict, reason, "bytes")


def _wanted(case: Shown) -> str:
    return "nothing before the end" if case.body_bytes is None else f"after {case.body_bytes} B"


# S8


@dataclass(frozen=True)
class Boundaries:
    """One run with a part's boundary behind it (``trailing``) and before it (``leading``)."""

    run: Run

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.run.settings)


def multipart_lags(seen: Boundaries) -> Finding:
    """S8: with a leading boundary a part is whole one event later, for the kit's client and for Python's own parser."""
    parts, intervals = [], {}
    for name, expected in (("trailing", 0), ("leading", 1)):
        saw = see(seen.run, name, noise_limit_s=math.inf)
        record = next(seen.run.ledger.of(name))
        held = {"this kit": _received(saw), "Python's email parser": part_times(record)}
        for parser, received_ns in held.items():
            lag = claims.median_interval(_lags(seen.run, received_ns, saw.one_way_s))
            intervals[name, parser] = lag
            verdict = claims.within(lag, expected - 0.5, expected + 0.5)
            parts.append(Part(verdict, f"{name}, {parser}: {shown(lag.value)} events late (n = {lag.n})"))
    verdict = claims.combine(part.verdict for part in parts)
    found: Interval = intervals["leading", "this kit"]
    return Finding(1.0, found.value, found, found.n, verdict, told(parts), "events")


def _received(seen: Seen) -> dict[int, int]:
    return dict(zip(listed(seen.frame["event_id"]), listed(seen.frame["received_ns"]), strict=True))


def _lags(run: Run, received_ns: Mapping[int, int], one_way_s: float) -> list[float]:
    """For each event, how many later ones had been published and were here when it was held."""
    published = {event_id: run.published["", event_id][1] for _, event_id in run.published}
    arrived = {event_id: t_ns + one_way_s * 0.9e9 for event_id, t_ns in published.items()}
    return [
        float(sum(arrived[other] <= at_ns for other in arrived if other > event_id))
        for event_id, at_ns in received_ns.items()
        if event_id in arrived
    ]


def part_times(record: ConnectionRecord) -> dict[int, int]:
    """When each part was whole for Python's ``email`` parser, which reads the bytes as they came: id -> ns."""
    found: dict[int, int] = {}
    now_ns = 0

    class Noting(Message):
        def set_payload(self, payload: Any, charset: Any = None) -> None:
            super().set_payload(payload, charset)
            if isinstance(payload, str) and payload.startswith('{"id"'):
                found.setdefault(json.loads(payload)["id"], now_ns)

    parser, decoder, head = BytesFeedParser(Noting), ChunkDecoder(), b""
    is_body = False
    for transfer in (t for t in record.transfers if t.direction == "in"):
        now_ns, data = transfer.t_ns, transfer.data
        if not is_body:
            head += data
            fields, blank, data = head.partition(b"\r\n\r\n")
            is_body = bool(blank)
            if not is_body:
                continue
            kind = next(f for f in fields.split(b"\r\n") if f.lower().startswith(b"content-type:"))
            parser.feed(kind + b"\r\n\r\n")
        for chunk in decoder.feed(data):
            parser.feed(chunk.data if isinstance(chunk, Chunk) else b"")
    return found


# T2


@dataclass(frozen=True, repr=False)
class Steps(Tabled):
    """Latencies in seconds of a header and its payload, by pattern and way of writing, without any injected delay.

    Patterns: ``stream`` (the server writes by itself) and ``asked`` (each answer follows a request, as in long
    polling). Ways: ``two writes``, ``two writes, TCP_NODELAY``, ``one write``.
    """

    samples: Mapping[tuple[str, str], tuple[float, ...]]
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """Median latency in ms: a row per way of writing, a column per pattern."""
        import pandas as pd

        rows: dict[str, dict[str, float]] = {}
        for (pattern, way), values in self.samples.items():
            rows.setdefault(way, {})[f"{pattern}, median ms"] = round(sorted(values)[len(values) // 2] * 1e3, 2)
        return pd.DataFrame.from_dict(rows, orient="index")


STEP_S = 0.04
"""Linux's shortest delayed acknowledgement (TCP_DELACK_MIN)."""


def nagle_adds_a_step(seen: Steps) -> Finding:
    """T2: two writes wait for a delayed acknowledgement; TCP_NODELAY or one write takes the wait away.

    A step is there if the median's interval lies above half of 40 ms, and not there if it lies below a quarter.
    """
    medians = {key: claims.median_interval(values) for key, values in seen.samples.items()}
    steps = {pattern: medians[pattern, "two writes"] for pattern in ("asked", "stream")}
    there = {pattern: _is_step(median) for pattern, median in steps.items()}
    cures = [_is_step(m) for (_, way), m in medians.items() if way != "two writes"]
    text = ", ".join(f"{pattern} {shown(m.value, 's')}" for pattern, m in steps.items())
    others = shown(max(m.value for (_, way), m in medians.items() if way != "two writes"), "s")
    reason = f"two writes: {text}; with TCP_NODELAY or in one write at most {others}"
    verdict: Verdict = "undecided"
    if None not in (*there.values(), *cures):
        if any(cures):
            verdict, reason = "refuted", f"the wait is there without Nagle as well; {reason}"
        elif all(there.values()):
            verdict = "confirmed"
        elif there["asked"]:
            verdict = "refined"
            reason = (
                "only where the client has just asked, as in polling; on a stream this system acknowledges what the "
                f"program has read at once; {reason}"
            )
        elif there["stream"]:
            verdict, reason = "refined", f"only on a stream; {reason}"
        else:
            verdict, reason = "refuted", f"not on this system; {reason}"
    median = steps["asked"]
    return Finding(STEP_S, median.value, median, median.n, verdict, reason, "s")


def _is_step(median: Interval) -> bool | None:
    if median.low > STEP_S / 2:
        return True
    return False if median.high < STEP_S / 4 else None


CHECKS: dict[str, Callable[[Any], Finding]] = {
    "S1": which_framing_can_stream,
    "S1b": which_framing_keeps_the_connection,
    "S2": a_fault_looks_like_the_end,
    "S3": streaming_and_its_ends,
    "S5": chunks_are_not_messages,
    "S6": clients_may_buffer,
    "S8": multipart_lags,
    "T2": nagle_adds_a_step,
}
