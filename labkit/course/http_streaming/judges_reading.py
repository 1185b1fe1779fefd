"""The checks of 03_http_streaming about who holds a message back, or takes it apart: S5, S6, S8 and T2."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from email.message import Message
from email.parser import BytesFeedParser
from typing import TYPE_CHECKING, Any

from labkit.claims import confidence
from labkit.claims.confidence import Interval, Verdict
from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.judging import LEAST_EVENTS, Part, guilty, listed, near, said, timed, together
from labkit.claims.seen import too_busy
from labkit.claims.values import shown
from labkit.course.http_streaming.borders import Boundaries, Rechunked
from labkit.course.http_streaming.buffering import FirstShown, Reading
from labkit.course.http_streaming.nagle import STEP_S, Steps
from labkit.wire.whole_chunks import Chunk, ChunkDecoder

if TYPE_CHECKING:
    from labkit.client.ledger import ConnectionRecord
    from labkit.measuring.run import Run

# S5


def chunks_are_not_messages(seen: Rechunked) -> Finding:
    """S5: where chunk borders were moved a chunk-as-message parser loses messages; one by delimiter loses none."""
    moved = [p for p in seen.paths if p.rechunked]
    if not moved or not all(p.messages for p in seen.paths):
        raise NoVerdict("not run", "needs messages, and a path that moves chunk borders")
    parts = [said(p.by_line == p.messages, f"{p.title}: {p.by_line} of {p.messages} by line feeds") for p in seen.paths]
    parts += [said(p.by_chunk < p.messages, f"{p.title}: {p.by_chunk} of {p.messages} by chunks, fewer") for p in moved]
    verdict, reason = together(parts).verdict, guilty(parts)
    if verdict == "confirmed":
        lead = "who takes each chunk for a message finds fewer than were sent, who looks for line feeds finds all"
        verdict, reason = "illustrated", f"{lead}; the intermediary is this kit's own, and was told to\n{reason}"
    shares = {p.title: p.by_chunk / p.messages for p in seen.paths}
    return Finding(None, shares, None, sum(p.messages for p in seen.paths), verdict, reason, "")


# S6


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
    named = dict.fromkeys(c.client for c in at_once)
    lead = f"{len(late)} of {len(seen.cases)} clients hold a first event back, {len(at_once)} show it at once"
    reason = "\n".join(
        [lead, *(f"{c.client} ({c.framing}): {_wanted(c)}" for c in late), *(f"{c}: at once" for c in named)]
    )
    if verdict == "undecided" and not at_once:
        reason = f"none showed the first event at once, so the server or the machine may have been slow\n{reason}"
    most = max((c.body_bytes for c in seen.cases if c.body_bytes is not None), default=None)
    return Finding(None, most, None, len(seen.cases), verdict, reason, "bytes")


def _wanted(case: Reading) -> str:
    return "nothing before the end" if case.body_bytes is None else f"after {case.body_bytes} B"


# S8

BOUNDARY = {"trailing": "boundary behind each part", "leading": "boundary before each part"}


def multipart_lags(seen: Boundaries) -> Finding:
    """S8: with a leading boundary a part is whole one event later, for the kit's client and for Python's own parser."""
    noise, parts, intervals = too_busy(seen.run.settings), list[Part](), dict[tuple[str, str], Interval]()
    for name, expected in (("trailing", 0), ("leading", 1)):
        record = next(seen.run.ledger.of(name), None)
        if record is None:
            raise NoVerdict("not run", f"the run has no stream called {name}")
        held = {"this kit": _received(seen.run, name), "Python's email parser": part_times(record)}
        for parser, received_ns in held.items():
            lag = confidence.median_interval(_lags(seen.run, received_ns))
            intervals[name, parser] = lag
            text = f"{BOUNDARY[name]}, {parser}: a part is whole {shown(lag.value)} events late, by theory {expected} "
            text += f"(n = {lag.n})"
            parts.append(timed(near(lag, expected, 0.25, 0.5, text), noise))
    found = intervals["leading", "this kit"]
    return Finding(1.0, found.value, found, found.n, together(parts).verdict, guilty(parts), "events")


def _received(run: Run, technique: str) -> dict[int, int]:
    mine = run.deliveries[run.deliveries["technique"] == technique]
    return dict(zip(listed(mine["event_id"]), listed(mine["received_ns"]), strict=True))


def _lags(run: Run, received_ns: Mapping[int, int]) -> list[float]:
    """For each event, how many later ones had been published and were here when it was held; noise counts none."""
    transit_ns = float(run.settings["one_way_s"]) * 0.9e9
    here_ns = {event_id: times[1] + transit_ns for (_, event_id), times in run.published.items()}
    return [
        float(sum(here_ns[other] <= at_ns for other in here_ns if other > event_id))
        for event_id, at_ns in received_ns.items()
        if event_id in here_ns
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


def nagle_adds_a_step(seen: Steps) -> Finding:
    """T2: two writes wait for a delayed acknowledgement; TCP_NODELAY or one write takes the wait away.

    A step is there if the median's interval lies above half of 40 ms, and not there if it lies below a quarter. In one
    write there is nothing to wait for: what takes as long there is the machine's.
    """
    medians = {key: confidence.median_interval(values) for key, values in seen.samples.items()}
    if few := [median.n for median in medians.values() if math.isinf(median.half_width)]:
        raise NoVerdict("undecided", f"too few latencies for a median's interval, {min(few)}", min(few))
    steps = {pattern: medians[pattern, "two writes"] for pattern in ("asked", "stream")}
    there = {pattern: _is_step(median) for pattern, median in steps.items()}
    if any(_is_step(m) is not False for (_, way), m in medians.items() if way == "one write"):
        raise NoVerdict("undecided", "this machine is too busy: one write takes as long", len(medians))
    cures = [_is_step(m) for (_, way), m in medians.items() if way != "two writes"]
    text = ", ".join(f"{pattern} {shown(m.value, 's')}" for pattern, m in steps.items())
    others = shown(max(m.value for (_, way), m in medians.items() if way != "two writes"), "s")
    reason = f"two writes: {text}; with TCP_NODELAY or in one write at most {others}"
    verdict: Verdict = "undecided"
    if None not in (*there.values(), *cures):
        if any(cures):
            verdict, reason = "refuted", f"the wait is there without Nagle as well\n{reason}"
        elif all(there.values()):
            verdict = "confirmed"
        elif there["asked"]:
            verdict = "refined"
            reason = (
                "only where the client has just asked, as in polling; on a stream this system acknowledges what the "
                f"program has read at once\n{reason}"
            )
        elif there["stream"]:
            verdict, reason = "refined", f"only on a stream\n{reason}"
        else:
            verdict, reason = "refuted", f"not on this system\n{reason}"
    median = steps["asked"]
    return Finding(STEP_S, median.value, median, median.n, verdict, reason, "s")


def _is_step(median: Interval) -> bool | None:
    if median.low > STEP_S / 2:
        return True
    return False if median.high < STEP_S / 4 else None
