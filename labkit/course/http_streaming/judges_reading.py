"""The checks of 03_http_streaming about who holds a message back, or takes it apart: S5, S6, S8 and T2."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesFeedParser
from typing import TYPE_CHECKING, Any

from labkit.claims import confidence
from labkit.claims.confidence import Interval, Verdict
from labkit.claims.finding import Finding, NoVerdict
from labkit.claims.judging import LEAST_EVENTS, Part, listed
from labkit.claims.values import shown
from labkit.course.http_streaming.judges_wire import Tabled, is_message, said, told
from labkit.wire.chunks import Chunk, ChunkDecoder

if TYPE_CHECKING:
    import pandas as pd

    from labkit.client.ledger import ConnectionRecord
    from labkit.measuring.run import Run

# S5


@dataclass(frozen=True)
class Path:
    """What one path made of the same messages: the chunks that came, and what two parsers found in them."""

    title: str
    chunks: tuple[bytes, ...]
    messages: int
    rechunked: bool

    @property
    def by_chunk(self) -> int:
        """Messages found by a parser that takes each chunk for one message."""
        return sum(is_message(chunk) for chunk in self.chunks)

    @property
    def by_line(self) -> int:
        """Messages found by a parser that looks for line feeds in the bytes of all chunks."""
        return sum(is_message(line) for line in b"".join(self.chunks).split(b"\n"))


@dataclass(frozen=True, repr=False)
class Rechunked(Tabled):
    """The same messages over several paths."""

    paths: tuple[Path, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """One row per path: chunks, and messages found by either parser."""
        import pandas as pd

        rows = [(p.title, len(p.chunks), p.by_chunk, p.by_line, p.messages) for p in self.paths]
        columns = ["path", "chunks", "found: a chunk, a message", "found: by line feeds", "sent"]
        return pd.DataFrame(rows, columns=columns).set_index("path")


def chunks_are_not_messages(seen: Rechunked) -> Finding:
    """S5: where chunk borders were moved a chunk-as-message parser loses messages; one by delimiter loses none."""
    moved = [p for p in seen.paths if p.rechunked]
    if not moved or not all(p.messages for p in seen.paths):
        raise NoVerdict("not run", "needs messages, and a path that moves chunk borders")
    parts = [said(p.by_line == p.messages, f"{p.title}: {p.by_line} of {p.messages} by line feeds") for p in seen.paths]
    parts += [
        said(p.by_chunk < p.messages, f"{p.title}: {p.by_chunk} of {p.messages} by chunks, some lost") for p in moved
    ]
    verdict = confidence.combine(part.verdict for part in parts)
    shown: Verdict = "illustrated" if verdict == "confirmed" else verdict
    reason = told(parts)
    if verdict == "confirmed":
        lost = ", ".join(f"{p.by_chunk} of {p.messages} ({p.title})" for p in moved)
        reason = f"by line feeds every message on every path; by chunks {lost}"
    reason += "; the intermediary is this kit's own, and was told to"
    shares = {p.title: p.by_chunk / p.messages for p in seen.paths}
    return Finding(None, shares, None, sum(p.messages for p in seen.paths), shown, reason, "")


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
        record = next(seen.run.ledger.of(name), None)
        if record is None:
            raise NoVerdict("not run", f"the run has no stream called {name}")
        held = {"this kit": _received(seen.run, name), "Python's email parser": part_times(record)}
        for parser, received_ns in held.items():
            lag = confidence.median_interval(_lags(seen.run, received_ns))
            intervals[name, parser] = lag
            verdict = confidence.within(lag, expected - 0.5, expected + 0.5)
            parts.append(Part(verdict, f"{name}, {parser}: {shown(lag.value)} events late (n = {lag.n})"))
    verdict = confidence.combine(part.verdict for part in parts)
    found: Interval = intervals["leading", "this kit"]
    return Finding(1.0, found.value, found, found.n, verdict, told(parts), "events")


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
    medians = {key: confidence.median_interval(values) for key, values in seen.samples.items()}
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
