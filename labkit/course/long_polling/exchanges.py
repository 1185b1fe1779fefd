"""L4, L5, L10: what one exchange costs in bytes; a connection for all of them, or for each; polls pipelined on one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from labkit import loop, theory
from labkit.charts import layout, style
from labkit.client.ledger import ConnectionRecord
from labkit.course.asking import at_rate
from labkit.course.long_polling.polls import ENDLESS_S, LONG, ONE_WAY_S
from labkit.course.shown import OfRun, Shown, as_table
from labkit.course.variants import client_of, several, topic_of, variant
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.measurement import measure
from labkit.measuring.run import Run
from labkit.measuring.schedules import Planned, Schedule
from labkit.network.link import Link
from labkit.techniques.long_polling import LONG_POLLING

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


# L4: the payload swept

SIZES = (1, 20, 200, 1000, 2000)


@dataclass(frozen=True, repr=False)
class Sizes(OfRun, Shown):
    """Long polling with events of several sizes, one an answer. ``sizes``: topic -> payload, bytes."""

    run: Run
    sizes: dict[str, int]

    def table(self) -> pd.DataFrame:
        """One row for each size: bytes of an exchange by category, the share of headers, the answer's own size."""
        return as_table(list(self._rows())).set_index("payload_bytes")

    def _rows(self) -> Iterator[dict[str, float]]:
        for topic, size in self.sizes.items():
            records = [r for r in self.run.ledger.of(LONG) if topic_of(r) == topic]
            answered = sum(r.responses for r in records)
            total = {
                name: sum(r.by_category[name] for r in records) / answered
                for name in ("payload", "envelope", "headers")
            }
            per_request = sum(r.bytes_out for r in records) / sum(r.requests for r in records)
            # one request more than answers is held: its head is no part of an exchange
            held = per_request * (sum(r.requests for r in records) - answered) / answered
            headers = total["headers"] - held
            whole = total["payload"] + total["envelope"] + headers
            answer = sum(r.bytes_in for r in records) / answered
            heads = sum(heads_of(r) for r in records) / answered - held
            yield {
                "payload_bytes": size, "answers": answered, "headers": headers, "heads": heads,
                "envelope": total["envelope"],
                "share_of_headers": headers / whole, "answer_bytes": answer, "segments": -(-answer // 1460),
            }  # fmt: skip

    def chart(self) -> go.Figure:
        """Bytes of one exchange by payload: payload, envelope, headers; and how many segments its answer fills."""
        table, figure = self.table(), layout.blank()
        names = [f"{int(size)} B" for size in table.index]
        parts = {"payload": table.index.to_series(), "envelope": table["envelope"], "headers": table["headers"]}
        for category, values in parts.items():
            figure.add_bar(
                y=names, x=[round(float(v), 1) for v in values], orientation="h", name=style.CATEGORY_TITLES[category],
                marker=style.filled(category), hovertemplate="%{x:.0f} bytes<extra>%{y}</extra>",
            )  # fmt: skip
        whole = sum(parts.values())
        for name, at, (_, row) in zip(names, whole, table.iterrows(), strict=True):
            packets = "one packet" if row["segments"] == 1 else f"{row['segments']:.0f} packets"
            figure.add_annotation(
                x=at, y=name, showarrow=False, xanchor="left", xshift=6,
                text=f"{row['share_of_headers']:.0%} headers; the answer in {packets}",
                font={"color": style.GREY.ink, "size": 12},
            )  # fmt: skip
        figure.update_xaxes(title_text="bytes of one exchange, both directions", range=[0, whole.max() * 1.42])
        figure.update_yaxes(title_text="payload", autorange="reversed")
        return layout.dressed(
            figure,
            f"Headers take {table['headers'].mean():.0f} bytes of each exchange, whatever it carries",
            "request and answer; one event an answer; TCP/IP not counted; packets: of 1460 bytes at most, derived",
            height=340, margin=(70, 24, 84, 96), barmode="stack",
            legend={**layout.LEGEND, "traceorder": "normal"},
        )  # fmt: skip


def heads_of(record: ConnectionRecord) -> int:
    """The bytes of every head that went over a connection, to the empty line that ends it: of requests, which have no
    body, and of answers, whose body has the length that its head says."""
    sides = {way: b"".join(t.data for t in record.transfers if t.direction == way) for way in ("out", "in")}
    count, (head, end, rest) = len(sides["out"]), sides["in"].partition(b"\r\n\r\n")
    while end:
        count += len(head) + len(end)
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        head, end, rest = rest[int(length.partition(b":")[2]) :].partition(b"\r\n\r\n")
    return count


def payloads(
    lab: Lab, *, sizes: tuple[int, ...] = SIZES, duration_s: float = 2.8, one_way_s: float = ONE_WAY_S
) -> Sizes:
    """Events of several sizes, so rare that each has an answer to itself; of Korean text where there is room for it."""
    topics = {f"{size} bytes": _korean(schedules.periodic(2.5, duration_s, size, seed=size), size) for size in sizes}
    run = measure(lab, [LONG], several(topics), one_way_s=one_way_s, hold_s=ENDLESS_S)
    return Sizes(run, dict(zip(topics, sizes, strict=True)))


def _korean(schedule: Schedule, size_bytes: int) -> Schedule:
    """The same events as text beyond ASCII, which JSON may carry as it is and may escape, of as many bytes in UTF-8."""
    text = "글" * (size_bytes // 3) + "." * (size_bytes % 3)
    return replace(schedule, _planner=lambda: (replace(planned, data=text) for planned in schedule.plan()))


# L5: connections

KEPT, FRESH = "kept alive", "opened anew"


@dataclass(frozen=True)
class Connections(OfRun):
    """One run of long polls over one connection, and over a new one each time."""

    run: Run

    @property
    def rate_per_s(self) -> float:
        return float(self.run.settings["schedule"]["rate_per_s"])

    def theory(self, fresh: bool) -> theory.Expectation:
        return at_rate(LONG_POLLING, self.rate_per_s, self.one_way_s, hold_s=ENDLESS_S, keep_alive=not fresh)

    def chart(self) -> go.Figure:
        """Latencies over one connection and over a new one each time; theory's range and mean beside them."""
        figure, frame, dot = layout.blank(), self.run.deliveries, {"size": 5}
        means = [
            layout.add_strip(
                figure, row, frame[frame["technique"] == name]["latency_ms"], self.theory(fresh), LONG_POLLING.mark,
                dot=dot,
            )
            for row, (name, fresh) in enumerate(((KEPT, False), (FRESH, True)))
        ]  # fmt: skip
        figure.update_xaxes(title_text="latency (ms)", rangemode="tozero", ticks="outside")
        layout.name_rows(figure, [KEPT, FRESH])
        d_ms = self.one_way_s * 1e3
        return layout.dressed(
            figure,
            f"One connection: {style.ms(means[0])} on average; a connection each time: {style.ms(means[1])}",
            f"shaded: what theory expects, d to 3d and d to 5d; d = {style.ms(d_ms)}, "
            f"{self.rate_per_s:g} events a second",
            height=310, margin=(100, 24, 84, 96),
        )  # fmt: skip


def connections(
    lab: Lab, *, rate_per_s: float = 8.0, duration_s: float = 6.0, one_way_s: float = ONE_WAY_S
) -> Connections:
    """One connection for all polls, beside a connection for each of them."""
    both = [variant(KEPT, LONG), variant(FRESH, LONG, keep_alive=False)]
    topics = {f"{n}": schedules.poisson(rate_per_s, duration_s, seed=5 + n) for n in range(2)}
    schedule = several(topics, rate_per_s, name="poisson")
    return Connections(measure(lab, both, schedule, one_way_s=one_way_s, hold_s=ENDLESS_S))


# L10: pipelined polls


ARRIVING = {"pairs": "events in pairs", "poisson": "events at random"}
"""What the events of a topic are, by the word that its name begins with."""


@dataclass(frozen=True, repr=False)
class Pipelined(OfRun, Shown):
    """Pipelined long polls: a run with topics of ``pairs`` and of ``poisson``, and a GET behind a parked poll.

    ``behind_s``: how long a plain GET took behind a poll held for ``hold_s``; ``beside_s``: on a connection of its own.
    """

    run: Run
    behind_s: float
    beside_s: float
    hold_s: float

    def topics(self, kind: str) -> list[str]:
        return [topic for topic in self.run.settings["schedule"]["settings"]["topics"] if topic.startswith(kind)]

    def table(self) -> pd.DataFrame:
        """One row for each kind of event, and for the GET on either connection: ms."""
        frame = self.run.deliveries
        latency = frame.groupby(frame["topic"].str.split(",").str[0])["latency_ms"]
        rows = {ARRIVING[topic]: (each.median(), each.max()) for topic, each in latency}
        rows["a GET beside the poll"] = (self.beside_s * 1e3,) * 2
        rows["a GET behind the poll"] = (self.behind_s * 1e3,) * 2
        return as_table(list(rows.values()), ["median (ms)", "longest (ms)"]).set_axis(list(rows))


def pipelined(lab: Lab, *, duration_s: float = 4.8, one_way_s: float = ONE_WAY_S, hold_s: float = 1.0) -> Pipelined:
    """Pipelined polls: pairs of events closer than a gap, and Poisson events; then a GET behind a parked poll."""
    topics = {f"pairs, {n}": _pairs(duration_s, one_way_s, 2 * n * one_way_s) for n in range(4)}
    topics |= {f"poisson, {n}": schedules.poisson(10, duration_s, seed=10 + n) for n in range(2)}
    plan = several(topics)
    options = {LONG: {"pipelined": True}}
    run = measure(lab, [LONG], plan, one_way_s=one_way_s, hold_s=ENDLESS_S, options=options)
    with Link(lab, one_way_s=one_way_s) as link:
        behind_s, beside_s = loop.run(_behind(link.address[1], hold_s))
    return Pipelined(run, behind_s, beside_s, hold_s)


def _pairs(duration_s: float, one_way_s: float, after_s: float) -> Schedule:
    """Two events within 2d, then none for longer than that; the first *after_s* from the start."""

    def planner() -> Iterator[Planned]:
        step_s = 8 * one_way_s
        for number in range(int(duration_s / step_s)):
            yield Planned(after_s + number * step_s, f"first of pair {number}")
            yield Planned(after_s + (number + 0.6 / 8) * step_s, f"second of pair {number}")

    return Schedule("pairs", {}, duration_s + after_s, None, False, planner)


async def _behind(port: int, hold_s: float) -> tuple[float, float]:
    """How long a GET takes behind a parked poll on the same connection, and on one of its own."""
    clock = asyncio.get_running_loop().time
    paths = f"/long-polling?timeout={hold_s:g}", "/polling"
    parked, other = (client_of(f"http://127.0.0.1:{port}{path}", LONG) for path in paths)
    try:
        await other.ask({})
        await other.answer()  # connected
        began_s = clock()
        await other.ask({})
        await other.answer()
        beside_s = clock() - began_s
        http = await parked.connected()
        await parked.ask({})
        began_s = clock()
        await http.request("GET", "/polling", parked.headers)
        await parked.answer()
        await parked.answer()
        return clock() - began_s, beside_s
    finally:
        parked.close()
        other.close()
