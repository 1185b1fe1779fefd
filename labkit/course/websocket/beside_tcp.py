"""W10: echo over a WebSocket, with bare TCP beside it."""

from __future__ import annotations

import asyncio
import math
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from labkit import loop
from labkit.charts import layout, style
from labkit.client.connection import Connection
from labkit.client.ledger import Ledger
from labkit.client.wiring import Wiring
from labkit.course.alone import started_now
from labkit.course.shown import Shown, as_table
from labkit.course.websocket.raw import RawSocket
from labkit.lab.lab import Lab
from labkit.network.link import Link
from labkit.wire.events import now_ns
from labkit.wire.frames import Frame, Opcode, header_bytes

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True, repr=False)
class Beside(Shown):
    """Echo over a WebSocket beside echo over bare TCP. ``bytes``: payload -> (WebSocket, TCP), both directions.

    ``trips_s``: payload -> pairs (WebSocket, TCP) of round trips through a link of ``one_way_s``; ``bare_s``: the
    same with no network between, one payload.
    """

    index = "column"

    one_way_s: float
    bytes: Mapping[int, tuple[int, int]]
    trips_s: Mapping[int, Sequence[tuple[float, float]]]
    bare_s: Sequence[tuple[float, float]]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def ratio_of_bytes(self, payload_bytes: int) -> float:
        websocket, tcp = self.bytes[payload_bytes]
        return websocket / tcp

    def table(self) -> pd.DataFrame:
        rows = []
        for size, (websocket, tcp) in self.bytes.items():
            trips = as_table(self.trips_s[size], columns=["websocket", "tcp"]).median() * 1e3
            ratios = [websocket / tcp, trips["websocket"] / trips["tcp"]]
            rows.append([size, websocket, tcp, trips["websocket"], trips["tcp"], *ratios])
        columns = ["payload (B)", "WebSocket (B)", "TCP (B)", "WebSocket (ms)", "TCP (ms)", "bytes ratio", "time ratio"]
        return as_table(rows, columns).set_index("payload (B)")

    def chart(self) -> go.Figure:
        """WebSocket over bare TCP: bytes and round trips, theory and measurement, beside the published bounds."""
        grey, figure, sizes = style.GREY, layout.blank(), list(self.bytes)
        steps = [10 ** (i / 12) for i in range(12 * 4 + 6)]
        layout.add_theory(
            figure, steps, [_byte_ratio(n) for n in steps], name="theory: (2n + headers) / 2n"
        )  # fmt: skip
        figure.add_scatter(
            x=sizes, y=[self.ratio_of_bytes(n) for n in sizes], mode="markers", name="bytes",
            marker={"symbol": "circle", "size": 10, "color": "#0072B2"},
            hovertemplate="payload %{x} B<br>%{y:.3f} times the bytes<extra></extra>",
        )  # fmt: skip
        times = [median(w / t for w, t in self.trips_s[n]) for n in sizes]
        figure.add_scatter(
            x=sizes, y=times, mode="markers", name=f"round trip across {style.ms(self.one_way_s * 1e3)}",
            marker={"symbol": "x", "size": 9, "color": "#B84300"},
            hovertemplate="payload %{x} B<br>%{y:.3f} times the time<extra></extra>",
        )  # fmt: skip
        for bound, text in ((5.0, "bytes: up to 5 times (Agarwal 2012)"), (3.0, "delay: up to 3 times (Agarwal 2012)")):
            figure.add_hline(y=bound, line={"color": grey.muted, "width": 1, "dash": "dot"})
            figure.add_annotation(
                x=1, xref="x domain", xanchor="right", y=bound, yanchor="bottom", text=text, showarrow=False,
                font={"size": 11, "color": grey.muted},
            )  # fmt: skip
        small, large = min(sizes), max(sizes)
        said = f"{self.ratio_of_bytes(small):.2f} times at {style.number(small)} B"
        said += f", {self.ratio_of_bytes(large):.2f} at {style.number(large)} B"
        figure.update_xaxes(
            type="log", title_text="payload (B), logarithmic", range=[-0.1, math.log10(large) + 0.15],
            tickvals=[1, 10, 100, 1000, 10_000],
        )  # fmt: skip
        figure.update_yaxes(title_text="times bare TCP", range=[0, 5.7])
        return layout.dressed(
            figure,
            f"Echo against bare TCP: bytes {said}; round trips {median(times):.2f} times",
            "both in the same run, through links of the same delay; the handshake is not counted",
            height=400, margin=(66, 24, 84, 104),
        )  # fmt: skip


def _byte_ratio(payload: float) -> float:
    both = header_bytes(int(payload), True) + header_bytes(int(payload), False)
    return (2 * payload + both) / (2 * payload)


class _Echo(asyncio.Protocol):
    """Bare TCP: what comes goes back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


def against_tcp(
    lab: Lab,
    *,
    sizes: Sequence[int] = (1, 4, 16, 128, 1024, 16384),
    trips: int = 16,
    bare_trips: int = 150,
    one_way_s: float = 0.05,
) -> Beside:
    """Echo over a WebSocket and over bare TCP at the same time, through links of the same delay and with none.

    Args:
        sizes: payloads, in bytes.
        trips: round trips of each size through the links.
        bare_trips: round trips of 128 bytes with no network between.

    Raises:
        LabClosed: the lab is closed.
        ValueError: a payload of less than one byte, which bare TCP cannot echo.
    """
    if min(sizes) < 1:
        raise ValueError("bare TCP has no message of 0 bytes: sizes start at 1")
    return loop.run(_against_tcp(lab, sizes, trips, bare_trips, one_way_s))


async def _against_tcp(lab: Lab, sizes: Sequence[int], trips: int, bare_trips: int, one_way_s: float) -> Beside:
    started = started_now()
    server = await asyncio.get_running_loop().create_server(_Echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with (
            Link(lab, one_way_s=one_way_s) as near_lab,
            Link(("127.0.0.1", port), one_way_s=one_way_s) as near_tcp,
        ):
            found = await asyncio.gather(*(_pair(near_lab.address[1], near_tcp.address[1], n, trips) for n in sizes))
        _, bare = await _pair(lab.port, port, 128, bare_trips, together=False)
    finally:
        server.close()
    counted = {size: result[0] for size, result in zip(sizes, found, strict=True)}
    taken = {size: result[1] for size, result in zip(sizes, found, strict=True)}
    return Beside(one_way_s, counted, taken, bare, started)


async def _pair(
    websocket_port: int, tcp_port: int, size: int, trips: int, *, together: bool = True
) -> tuple[tuple[int, int], list[tuple[float, float]]]:
    """Bytes of one trip over each, and the pairs of round trips, the WebSocket's first."""
    payload = random.Random(size).randbytes(size)
    bare = await Connection.open("127.0.0.1", tcp_port, Wiring(Ledger(0), "tcp", 0))
    try:
        async with await RawSocket.open(websocket_port, "/websocket/echo") as socket:
            await _trip(bare, payload)  # the link charges a handshake to what is sent first
            before = socket.record.bytes_total, bare.record.bytes_total
            pairs = []
            for _ in range(trips):
                over_websocket, over_tcp = _message(socket, payload), _trip(bare, payload)
                if together:
                    pairs.append(await asyncio.gather(over_websocket, over_tcp))
                else:
                    pairs.append((await over_websocket, await over_tcp))
            websocket_bytes = (socket.record.bytes_total - before[0]) // trips
            return (websocket_bytes, (bare.record.bytes_total - before[1]) // trips), pairs
    finally:
        bare.close()


async def _message(socket: RawSocket, payload: bytes) -> float:
    begun_ns = now_ns()
    await socket.send(Frame(Opcode.BINARY, payload, mask=os.urandom(4)))
    await socket.frame()
    return (now_ns() - begun_ns) / 1e9


async def _trip(connection: Connection, payload: bytes) -> float:
    begun_ns, left = now_ns(), len(payload)
    await connection.write(payload)
    while left > 0:
        left -= len(await connection.read())
    return (now_ns() - begun_ns) / 1e9
