"""W2: traffic both ways at once on one WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from labkit import loop
from labkit.charts import layout, style
from labkit.course.alone import started_now
from labkit.course.asking import expected
from labkit.course.background import cancelled, lateness, quantile, until
from labkit.course.shown import Shown, as_table
from labkit.course.websocket.raw import DOWN, UP, RawSocket
from labkit.lab.lab import Lab
from labkit.measuring import schedules
from labkit.measuring.rounding import counted
from labkit.network.link import Link
from labkit.techniques.websocket import WEBSOCKET
from labkit.theory import Path
from labkit.wire.events import Event, now_ns
from labkit.wire.frames import Opcode

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

ONE_WAY_S = 0.05


@dataclass(frozen=True, repr=False)
class BothWays(Shown):
    """Messages that crossed on one WebSocket. Times in seconds, from sent to held at the other end.

    ``up``, ``down``: (sent at, latency) from the client and from the server; ``lost`` how many never came,
    ``twice`` how many came again; ``late_s``: the 95th percentile of how late a timer of the same loop was.
    """

    index = "column"

    one_way_s: float
    up: Sequence[tuple[float, float]]
    down: Sequence[tuple[float, float]]
    lost: int
    late_s: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    twice: int = 0

    @property
    def crossed(self) -> int:
        """Messages from the client that were on their way while one from the server was."""
        down = [(at, at + took) for at, took in self.down]
        return sum(any(at < stop and start < at + took for start, stop in down) for at, took in self.up)

    def table(self) -> pd.DataFrame:
        rows = []
        for name, sent in (("client to server", self.up), ("server to client", self.down)):
            took_ms = [latency * 1e3 for _, latency in sent]
            rows.append([name, len(took_ms), *([f(took_ms) for f in (median, min, max)] if took_ms else [None] * 3)])
        return as_table(rows, ["", "messages", "median ms", "min ms", "max ms"]).set_index("")

    def chart(self) -> go.Figure:
        """Latency of each message over the time at which it was sent, both directions on one socket; theory is d."""
        figure, d_ms = layout.blank(), self.one_way_s * 1e3
        for name, sent, mark in (("client to server", self.up, UP), ("server to client", self.down, DOWN)):
            figure.add_scatter(
                x=[round(at, 4) for at, _ in sent], y=[round(took * 1e3, 3) for _, took in sent], mode="markers",
                name=name, marker={"symbol": mark.symbol, "size": 8, "color": mark.color},
                hovertemplate="sent at %{x:.3f} s<br>%{y:.4~g} ms<extra></extra>",
            )  # fmt: skip
        last_s = max([at for at, _ in (*self.up, *self.down)], default=1.0)
        mean_ms = expected(WEBSOCKET, {}, Path(self.one_way_s)).mean_s * 1e3
        layout.add_theory(figure, [0, last_s], [mean_ms, mean_ms], name="theory: one transit")
        medians = [median([took * 1e3 for _, took in sent]) for sent in (self.up, self.down) if sent]
        said = style.joined([style.ms(value) for value in medians]) or "nothing arrived"
        top = max([took * 1e3 for _, took in (*self.up, *self.down)], default=d_ms)
        figure.update_yaxes(title_text="latency (ms)", range=[0, max(2 * d_ms, top * 1.1)])
        figure.update_xaxes(title_text="sent, after the start (s)", showgrid=False, ticks="outside", ticklen=3)
        return layout.dressed(
            figure,
            f"Up and down at once: medians {said}, at most {style.ms(top)}",
            f"one WebSocket; {self.crossed} of {counted(len(self.up), 'message')} up crossed one that came down",
            height=360, margin=(66, 24, 84, 96),
        )  # fmt: skip


def both_ways(
    lab: Lab, *, rate_per_s: float = 20.0, duration_s: float = 4.0, one_way_s: float = ONE_WAY_S, seed: int = 5
) -> BothWays:
    """Both sides send at random times of their own on one WebSocket through a link.

    The client publishes on the socket; the lab publishes to it. A second subscriber, beside the server, tells when a
    message of the client's has reached it.

    Args:
        rate_per_s: messages of each side.
        one_way_s: one network transit.

    Raises:
        LabClosed: the lab is closed.
    """
    plans = (schedules.poisson(rate_per_s, duration_s, seed=seed + side).plan() for side in (0, 1))
    times = [[planned.offset_s for planned in plan] for plan in plans]
    return loop.run(_both_ways(lab, times, one_way_s))


async def _both_ways(lab: Lab, times: Sequence[list[float]], one_way_s: float) -> BothWays:
    started, topic = started_now(), f"both-ways-{random.getrandbits(32):08x}"
    sent: dict[str, int] = {}
    held: dict[str, int] = {}
    again: list[str] = []
    async with contextlib.AsyncExitStack() as stack:
        link = await stack.enter_async_context(Link(lab, one_way_s=one_way_s))
        far = await stack.enter_async_context(await RawSocket.open(link.ports["http"], f"/websocket?topic={topic}"))
        beside = await stack.enter_async_context(await RawSocket.open(lab.port, f"/websocket?topic={topic}"))
        late_s = await stack.enter_async_context(lateness())
        reading = [
            asyncio.ensure_future(_hold(far, "down", held, again)),
            asyncio.ensure_future(_hold(beside, "up", held, again)),
        ]
        begun_ns = now_ns()

        async def from_client() -> None:
            for number, at_s in enumerate(times[0]):
                await asyncio.sleep(begun_ns / 1e9 + at_s - now_ns() / 1e9)
                message = json.dumps({"publish": f"up {number}", "ref": number}).encode()
                sent[f"up {number}"] = await far.text(message)

        async def from_server() -> None:
            for number, at_s in enumerate(times[1]):
                await asyncio.sleep(begun_ns / 1e9 + at_s - now_ns() / 1e9)
                event: Event = lab.publish_event(f"down {number}", topic)
                sent[f"down {number}"] = event.published_ns

        await asyncio.gather(from_client(), from_server())
        await until(lambda: len(held) == len(sent), 1.0 + 6 * one_way_s)
        await cancelled(*reading)
    rows = {
        way: tuple(
            ((sent[name] - begun_ns) / 1e9, (held[name] - sent[name]) / 1e9)
            for name in sent
            if name.startswith(way) and name in held
        )
        for way in ("up", "down")
    }
    lost = len(sent.keys() - held.keys())
    return BothWays(one_way_s, rows["up"], rows["down"], lost, quantile(late_s, 0.95), started, len(again))


async def _hold(socket: RawSocket, way: str, held: dict[str, int], again: list[str]) -> None:
    """Put down when each event of one way was held here, and which came again."""
    while (frame := await socket.frame(3600.0)) is not None:
        if frame.opcode is not Opcode.TEXT:
            continue
        received_ns = socket.connection.received_ns
        data = json.loads(frame.payload).get("data", "")
        if data.startswith(way) and held.setdefault(data, received_ns) != received_ns:
            again.append(data)
