"""W9: what permessage-deflate saves, and what it costs a server in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from labkit import loop
from labkit.charts import layout, style
from labkit.course.alone import started_now
from labkit.course.background import cancelled
from labkit.course.held import cpu_s, rss_bytes
from labkit.course.shown import Shown, as_table
from labkit.course.websocket.raw import RawSocket
from labkit.lab.lab import Lab
from labkit.progress import Progress
from labkit.wire.frames import Frame, Opcode, encode_frame

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

MODES = (("#858585", ""), ("#0072B2", "/"), ("#B58A00", "x"))
PLAIN, TAKEOVER, ALONE = "plain", "deflate, context kept", "deflate, each message alone"
OFFERS: dict[str, tuple[str, ...]] = {
    PLAIN: (),
    TAKEOVER: ("Sec-WebSocket-Extensions: permessage-deflate",),
    ALONE: ("Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover",),
}


@dataclass(frozen=True, repr=False)
class Deflated(Shown):
    """permessage-deflate in three modes. Everything is per message, but the memory, which is per connection.

    ``wire_bytes``: kind -> mode -> bytes on the wire of one echoed message, its frame header included.
    ``payload_bytes``: kind -> bytes. ``cpu_us``: mode -> CPU of the server's process, one value for each round.
    ``rss_bytes``: mode -> what one connection added to the server's resident memory.
    """

    index = "column"

    payload_bytes: Mapping[str, float]
    wire_bytes: Mapping[str, Mapping[str, float]]
    cpu_us: Mapping[str, Sequence[float]]
    rss_bytes: Mapping[str, float]
    connections: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    def cpu(self, mode: str) -> float:
        """CPU of the server's process for one message, the mean of the rounds, in µs."""
        return fmean(self.cpu_us[mode])

    def table(self) -> pd.DataFrame:
        rows = []
        for mode in self.cpu_us:
            sizes = [f"{self.wire_bytes[kind][mode]:.0f}" for kind in self.payload_bytes]
            rows.append([mode, *sizes, f"{self.cpu(mode):.0f}", f"{self.rss_bytes[mode] / 1024:.0f}"])
        kinds = [f"{kind}, {size:.0f} B" for kind, size in self.payload_bytes.items()]
        columns = ["", *kinds, "server CPU (µs a page)", "memory per connection (KiB)"]
        return as_table(rows, columns).set_index("")

    def chart(self) -> go.Figure:
        """What permessage-deflate leaves of each kind of message, and what it costs the server."""
        modes, kinds = list(self.cpu_us), list(self.payload_bytes)
        cpu = {mode: self.cpu(mode) for mode in modes}
        figure = layout.panels(
            "bytes on the wire (% of plain)", "server CPU (µs a message)", "memory (KiB a connection)",
            column_widths=[0.58, 0.21, 0.21], horizontal_spacing=0.09,
        )  # fmt: skip
        for (color, shape), mode in zip(MODES, modes, strict=True):
            fill = {
                "color": color,
                "pattern": {"shape": shape, "size": 6, "solidity": 0.25},
                "line": {"color": style.GREY.ink, "width": 0.7},
            }
            left = [100 * self.wire_bytes[kind][mode] / self.wire_bytes[kind][modes[0]] for kind in kinds]
            named = [f"{kind}<br>{self.payload_bytes[kind]:.0f} B" for kind in kinds]
            bars: list[tuple[int, list[str], list[float]]] = [
                (1, named, left), (2, ["page"], [cpu[mode]]), (3, [""], [self.rss_bytes[mode] / 1024])
            ]  # fmt: skip
            for column, x, y in bars:
                figure.add_bar(
                    x=x, y=y, marker=fill, name=mode, legendgroup=mode, showlegend=column == 1, row=1, col=column,
                    text=[style.number(v) for v in y], textposition="outside", textfont={"size": 10}, cliponaxis=False,
                    hovertemplate="%{y:.4~g}<extra>" + mode + "</extra>",
                )  # fmt: skip
        kept = modes[1]
        share = [100 * self.wire_bytes[kind][kept] / self.wire_bytes[kind][modes[0]] for kind in kinds]
        figure.update_annotations(font={"size": 12})
        figure.update_yaxes(rangemode="tozero")
        figure.update_xaxes(showgrid=False)
        return layout.dressed(
            figure,
            f"Deflate leaves {style.number(share[0])} % of {kinds[0]}, {style.number(share[1])} % of a {kinds[1]} and "
            f"{style.number(share[-1])} % of {kinds[-1]}",
            "echo at a server in a process of its own; CPU: mean of the rounds, of pages that came plain",
            height=400, margin=(52, 24, 112, 104), barmode="group",
        )  # fmt: skip


def messages(kind: str, count: int, seed: int = 5) -> list[bytes]:
    """Payloads to compress: ``ticks`` (small JSON, much alike), ``page`` (2 KB of JSON), ``noise`` (cannot shrink)."""
    plan = random.Random(seed)
    if kind == "ticks":
        return [_tick(plan, number) for number in range(count)]
    if kind == "page":
        return [b"[" + b",".join(_tick(plan, number * 40 + row) for row in range(40)) + b"]" for number in range(count)]
    return [plan.randbytes(96) for _ in range(count)]


def _tick(plan: random.Random, number: int) -> bytes:
    price = 100 + plan.random()
    return f'{{"symbol":"LAB","n":{number},"price":{price:.2f},"size":{plan.randrange(100)}}}'.encode()


def deflate(*, count: int = 800, rounds: int = 6, connections: int = 30) -> Deflated:
    """Echo messages plain, deflated with the context kept, and each deflated alone, at a server of its own process.

    The client sends plain in every mode (a client may); what comes back is counted.

    Args:
        count: messages of each round and mode.
        rounds: how often CPU is measured in each mode.
        connections: opened in each mode to see what one adds to the server's memory.
    """
    with Lab("deflate", process=True) as lab:
        return loop.run(_deflate(lab, count, rounds, connections))


async def _deflate(lab: Lab, count: int, rounds: int, connections: int) -> Deflated:
    started, progress = started_now(), Progress()
    kinds = ("ticks", "page", "noise")
    payloads = {kind: messages(kind, 200) for kind in kinds}
    wire: dict[str, dict[str, float]] = {kind: {} for kind in kinds}
    for kind in kinds:
        for mode in OFFERS:
            wire[kind][mode] = await _echoed(lab, mode, payloads[kind])
    cpu_us: dict[str, list[float]] = {mode: [] for mode in OFFERS}
    page = messages("page", 40) * (count // 40)
    await _echoed(lab, PLAIN, page)  # what is done once is done
    for number in range(rounds):
        for mode in OFFERS:
            progress.show(f"measuring the CPU of the server, round {number + 1} of {rounds}")
            before_s = cpu_s(lab)
            await _echoed(lab, mode, page)
            cpu_us[mode].append((cpu_s(lab) - before_s) / len(page) * 1e6)
    rss = {}
    async with contextlib.AsyncExitStack() as stack:
        for mode in OFFERS:
            before = rss_bytes(lab)
            for _ in range(connections):
                socket = await stack.enter_async_context(
                    await RawSocket.open(lab.port, _path(mode), fields=OFFERS[mode])
                )
                await socket.text(page[0])
                await socket.frame()
            rss[mode] = (rss_bytes(lab) - before) / connections
    progress.done()
    sizes = {kind: sum(map(len, data)) / len(data) for kind, data in payloads.items()}
    return Deflated(sizes, wire, cpu_us, rss, connections, started)


def _path(mode: str) -> str:
    return "/websocket/echo" if mode == PLAIN else "/websocket/echo?deflate=1"


async def _echoed(lab: Lab, mode: str, payloads: Sequence[bytes]) -> float:
    """Echo all of them; bytes on the wire of one answer, on average."""
    key = os.urandom(4)
    async with await RawSocket.open(lab.port, _path(mode), fields=OFFERS[mode]) as socket:
        asked = b"".join(encode_frame(Frame(Opcode.BINARY, payload, mask=key)) for payload in payloads)
        sending = asyncio.ensure_future(socket.send(asked))
        try:
            for _ in payloads:
                await socket.frame()
        finally:
            await cancelled(sending)
        return len(socket.raw) / len(payloads)
