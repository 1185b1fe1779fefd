"""S7: one stream over HTTP/1.1 and over HTTP/2, the same events at the same moments, and every frame of the second."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit import loop
from labkit.charts import layout
from labkit.course.alone import ready, started_now
from labkit.course.background import lateness, quantile, until
from labkit.course.later_http import edges, raw
from labkit.course.later_http.marks import MARKS, NEW, OLD
from labkit.course.later_http.not_run import or_says_why
from labkit.course.shown import Shown, as_table
from labkit.lab.lab import Lab
from labkit.network.link import Link
from labkit.wire.events import now_ns
from labkit.wire.http2 import END_HEADERS, Kind

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

ONE_WAY_S = 0.05
EVENTS, EVERY_S = 40, 0.05
TOPIC = "14-same"


@dataclass(frozen=True, repr=False)
class SameStream(Shown):
    """One stream over two versions.

    Attributes:
        published: ids, in their order.
        got: by version, the ids that came, in theirs.
        latency_s: by version, of each event that came.
        fields: by version, the header fields of the answer, names in small letters.
        frames: of the HTTP/2 stream, in their order.
        timers_s: how late timers of the loop were, at 95 %.
    """

    index = "column"
    left = True

    published: Sequence[int]
    got: Mapping[str, Sequence[int]]
    latency_s: Mapping[str, Sequence[float]]
    fields: Mapping[str, Mapping[str, str]]
    frames: Sequence[raw.Seen]
    one_way_s: float
    timers_s: float
    edge: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def note(self) -> str:
        return f"the stream's first frames, of {len(self.frames)}; a frame header takes 9 bytes of each"

    def table(self) -> pd.DataFrame:
        """One row for each of the stream's first frames."""
        began_ns = self.frames[0].t_ns
        rows = [
            (f"{(seen.t_ns - began_ns) / 1e6:.0f}", seen.sender, seen.frame.name, _flags(seen), seen.bytes, _says(seen))
            for seen in self.frames[:7]
        ]
        return as_table(rows, columns=["ms", "sent by", "frame", "flags", "bytes", "carries"]).set_index("ms")

    def chart(self) -> go.Figure:
        """Latency of each event over both versions, along time."""
        figure = layout.blank()
        for version, latency_s in self.latency_s.items():
            mark = MARKS[version]
            figure.add_scatter(
                x=[round(EVERY_S * n, 2) for n in range(len(latency_s))], y=[round(1e3 * s, 1) for s in latency_s],
                mode="markers", name=version, hovertemplate="%{y:.1f} ms<extra></extra>",
                marker={"symbol": mark.symbol if version == NEW else "square-open", "size": 9, "color": mark.color},
            )  # fmt: skip
        layout.add_theory(figure, [0, EVERY_S * EVENTS], [1e3 * self.one_way_s] * 2, name="theory: one transit")
        most = max((s for late in self.latency_s.values() for s in late), default=self.one_way_s)
        figure.update_yaxes(title_text="latency (ms)", range=[0, 1.2e3 * max(most, 2 * self.one_way_s)])
        figure.update_xaxes(title_text="due, after the first event (s)")
        came = ", ".join(f"{len(self.got[name])} of {len(self.published)} over {name}" for name in self.got)
        return layout.dressed(figure, f"The same stream, events that came: {came}", self.edge, height=380,
                              margin=(66, 24, 84, 84))  # fmt: skip


def _flags(seen: raw.Seen) -> str:
    frame, named = seen.frame, []
    if frame.ends_stream:
        named.append("END_STREAM")
    if frame.kind == Kind.HEADERS and frame.flags & END_HEADERS:
        named.append("END_HEADERS")
    return ", ".join(named)


def _says(seen: raw.Seen) -> str:
    frame = seen.frame
    if frame.kind == Kind.DATA:
        text = frame.content.decode("utf-8", "replace").strip()
        return text if len(text) <= 60 else text[:57] + "..."
    return "the fields, coded" if frame.kind == Kind.HEADERS else f"{int.from_bytes(frame.payload, 'big'):,}"


@or_says_why
def same_stream(lab: Lab, *, one_way_s: float = ONE_WAY_S, events: int = EVENTS) -> SameStream:
    """Follow one topic over both versions, each through a link of its own."""
    ready(lab, events=(events, 1))
    with edges.secure(lab) as edge, contextlib.ExitStack() as stack:
        edge.check()
        old, new = (
            stack.enter_context(Link(target, one_way_s=one_way_s)) for target in (lab, ("127.0.0.1", edge.port))
        )
        return loop.run(_same_stream(lab, edge, old, new, one_way_s, events))


async def _same_stream(lab: Lab, edge: edges.Edge, old: Link, new: Link, one_way_s: float, events: int) -> SameStream:
    path, pieces = f"/http-streaming?topic={TOPIC}", list[tuple[int, bytes]]()
    async with raw.followed(old.address[1], path, pieces), raw.talk(edge.through(new), cafile=edge.cafile) as talk:
        stream = talk.ask(path)
        await until(lambda: bool(pieces and stream.pieces), raw.WAIT_S)
        published, due_ns = [], dict[int, int]()
        async with lateness() as timers_s:
            for number in range(events):
                at_ns = now_ns()
                id = lab.publish(f"event {number}", TOPIC)
                published.append(id)
                due_ns[id] = at_ns
                await asyncio.sleep(EVERY_S)
            ways = {OLD: pieces, NEW: stream.pieces}
            await until(lambda: all(len(raw.arrivals(way)) >= events for way in ways.values()), raw.WAIT_S)
        got = {name: raw.ids(way) for name, way in ways.items()}
        latency_s = {
            name: [(t - due_ns[id]) / 1e9 for id, t in zip(got[name], raw.arrivals(way), strict=True) if id in due_ns]
            for name, way in ways.items()
        }
        head = b"".join(data for _, data in pieces).partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head)}
        frames = [seen for seen in talk.frames if seen.frame.stream == stream.id]
    return SameStream(
        published, got, latency_s, {OLD: fields, NEW: dict(stream.headers)}, frames, one_way_s,
        quantile(timers_s, 0.95), edge.name, started_now(edge=edge.name, one_way_s=one_way_s),
    )  # fmt: skip
