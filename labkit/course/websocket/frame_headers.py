"""W3, W11: the headers of frames on the wire, from both sides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit import loop
from labkit.charts import layout, style
from labkit.client.ledger import Ledger
from labkit.client.websocket import WebSocketConnection
from labkit.client.wiring import Wiring
from labkit.course.alone import started_now
from labkit.course.shown import Shown, as_table
from labkit.course.websocket.raw import DOWN, UP
from labkit.lab.lab import Lab
from labkit.wire.frames import header_bytes

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

SIZES = (0, 125, 126, 65535, 65536)
PAYLOADS = (*(n * 10**power for power in range(6) for n in (1, 2, 5)), 1_000_000)
AXIS = (-0.08, 6.3)
"""The ends of the axis of payloads, as powers of ten."""
SHOWN = 20
"""The payload at which the slider begins."""


@dataclass(frozen=True)
class Header:
    """One frame as it lay on the wire, all of it: header, key and payload."""

    sender: str  # "client" or "server"
    payload_bytes: int
    frame_bytes: int

    @property
    def header_bytes(self) -> int:
        return self.frame_bytes - self.payload_bytes


@dataclass(frozen=True, repr=False)
class Headers(Shown):
    """The frames of several payload sizes, from both sides."""

    index = "column"

    frames: Sequence[Header]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """Header bytes, one row for each payload."""
        rows = [(f.payload_bytes, f"header from the {f.sender} (B)", f.header_bytes) for f in self.frames]
        frame = as_table(rows, ["payload (B)", "sender", "header (B)"])
        return frame.pivot(index="payload (B)", columns="sender", values="header (B)")

    def chart(self) -> go.Figure:
        """Header bytes over the payload, theory and wire; the slider moves a payload along both."""
        grey, figure = style.GREY, layout.blank()
        edges = [1, 125, 126, 65_535, 65_536, 2_000_000]
        for sender, mark in (("server", DOWN), ("client", UP)):
            figure.add_scatter(
                x=edges, y=[header_bytes(n, sender == "client") for n in edges], mode="lines", hoverinfo="skip",
                name=f"theory, from the {sender}", line={"color": mark.color, "width": 1.5, "dash": mark.dash},
            )  # fmt: skip
            wire = [f for f in self.frames if f.sender == sender]
            figure.add_scatter(
                x=[max(1, f.payload_bytes) for f in wire], y=[f.header_bytes for f in wire], mode="markers",
                name=f"on the wire, from the {sender}", customdata=[f.payload_bytes for f in wire],
                marker={"symbol": mark.symbol, "size": 11, "color": mark.color},
                hovertemplate="payload %{customdata} B<br>header %{y} B<extra></extra>",
            )  # fmt: skip
        fixed = len(figure.data)
        for payload in PAYLOADS:
            down, up = header_bytes(payload, False), header_bytes(payload, True)
            said = (
                f"{payload:,} B: ".replace(",", "\u202f") + f"+{_share(down, payload)} down, +{_share(up, payload)} up"
            )
            figure.add_scatter(
                x=[payload, payload, None, payload], y=[down, up, None, 12], mode="lines+markers+text",
                text=["", "", "", f" {said} "], textposition="middle left" if payload > 1000 else "middle right",
                marker={"symbol": "line-ew-open", "size": [14, 14, 0, 0], "color": grey.ink, "opacity": 1},
                line={"color": grey.ink, "width": 1}, showlegend=False, visible=payload == SHOWN,
                textfont={"color": grey.ink}, hoverinfo="skip", cliponaxis=False,
            )  # fmt: skip
        figure.update_xaxes(
            type="log", title_text="payload (B), logarithmic; 0 is drawn at 1", range=AXIS,
            tickvals=[10**n for n in range(7)], ticktext=[style.number(10.0**n) for n in range(7)],
        )  # fmt: skip
        figure.update_yaxes(title_text="header (B)", range=[0, 16], tickvals=[0, 2, 4, 6, 8, 10, 14])
        return layout.dressed(
            figure,
            f"From a client a header adds {_share(6, 20)} to 20 bytes, and {_share(8, 10_000)} to 10 000 bytes",
            "bytes that WebSocket adds to one message, either way",
            height=470, margin=(66, 30, 122, 150),
            legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
            sliders=layout.slider([f"{n}" for n in PAYLOADS], fixed, prefix="payload (B): ", pad=52,
                                  active=PAYLOADS.index(SHOWN), under=(_place(PAYLOADS[0]), _place(PAYLOADS[-1]))),
        )  # fmt: skip


def _place(payload: int) -> float:
    """Where a payload stands on the axis, from 0 to 1."""
    low, high = AXIS
    return (math.log10(payload) - low) / (high - low)


def _share(header: int, payload: int) -> str:
    return f"{style.number(100 * header / payload)}\u00a0%"


def headers(lab: Lab, sizes: Sequence[int] = SIZES) -> Headers:
    """Send binary messages of *sizes* bytes, get them back, and count what each took on the wire.

    The frames are those of labkit's client and of its server.

    Raises:
        LabClosed: the lab is closed.
    """
    return loop.run(_headers(lab, sizes))


async def _headers(lab: Lab, sizes: Sequence[int]) -> Headers:
    started, frames = started_now(), []
    url = f"http://127.0.0.1:{lab.port}/websocket/echo"
    socket = await WebSocketConnection.open(url, Wiring(Ledger(0), "websocket", 0))
    record = socket.record
    try:
        messages = socket.__aiter__()
        for size in sizes:
            before = record.bytes_out, record.bytes_in
            await socket.send(bytes(size))
            await anext(messages)
            frames.append(Header("client", size, record.bytes_out - before[0]))
            frames.append(Header("server", size, record.bytes_in - before[1]))
    finally:
        await socket.close()
    return Headers(tuple(frames), started)
