"""W7: peers whose links go silent, and when the server notices."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit import loop
from labkit.charts import layout, style
from labkit.course.alone import started_now
from labkit.course.background import cancelled, lateness, quantile
from labkit.course.shown import Shown, as_table
from labkit.course.websocket.peers import named, stock_tornado
from labkit.course.websocket.raw import RawSocket
from labkit.lab.lab import Lab
from labkit.network.link import Link
from labkit.progress import Progress
from labkit.wire.events import now_ns
from labkit.wire.frames import Frame, Opcode

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

WATCH_S = 0.002


@dataclass(frozen=True)
class DeadPeer:
    """One peer whose link went silent. ``noticed_s``: until the server let it go, None if it did not in time."""

    implementation: str
    expected_s: float
    noticed_s: float | None


@dataclass(frozen=True, repr=False)
class DeadPeers(Shown):
    """Peers whose links went silent at one moment. Seconds from then; ``watched_s`` is how long it was watched.

    ``late_s``: the 95th percentile and the maximum of how late a timer of the same loop was.
    """

    index = "column"

    peers: Sequence[DeadPeer]
    interval_s: float
    timeout_s: float
    one_way_s: float
    watched_s: float
    late_s: tuple[float, float]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def of(self, implementation: str) -> list[DeadPeer]:
        return [peer for peer in self.peers if peer.implementation == implementation]

    def table(self) -> pd.DataFrame:
        rows = []
        for name in dict.fromkeys(peer.implementation for peer in self.peers):
            mine = self.of(name)
            noticed = [peer.noticed_s for peer in mine if peer.noticed_s is not None]
            first, last = (f"{min(noticed):.2f}", f"{max(noticed):.2f}") if noticed else ("never", "never")
            rows.append([name, len(mine), len(noticed), first, last])
        columns = ["", "peers", "noticed", "first after s", "last after s"]
        return as_table(rows, columns).set_index("")

    def chart(self) -> go.Figure:
        """When each peer whose link went silent was noticed, beside what its ping clock lets one expect."""
        grey, figure, rows = style.GREY, layout.blank(), list(self.peers)
        names = [f"peer {n}" if p.implementation == "labkit" else p.implementation for n, p in enumerate(rows, 1)]
        known = [(p.expected_s, n) for n, p in enumerate(rows) if math.isfinite(p.expected_s)]
        figure.add_scatter(
            x=[at for at, _ in known], y=[n for _, n in known], mode="markers", name="theory: next ping + its time-out",
            marker={"symbol": "diamond-open", "size": 13, "color": grey.ink, "line": {"width": 1.5}}, hoverinfo="skip",
        )  # fmt: skip
        noticed = [(p.noticed_s, n) for n, p in enumerate(rows) if p.noticed_s is not None]
        figure.add_scatter(
            x=[round(at, 4) for at, _ in noticed], y=[n for _, n in noticed], mode="markers", name="noticed",
            marker={"symbol": "cross", "size": 9, "color": "#0072B2"}, hovertemplate="%{x:.3f} s<extra></extra>",
        )  # fmt: skip
        limit_s = 1.1 * (self.interval_s + self.timeout_s)
        figure.add_vline(x=limit_s, line={"color": grey.muted, "width": 1, "dash": "dot"})
        figure.add_annotation(
            x=limit_s, y=1, yref="y domain", yanchor="bottom", xanchor="left", showarrow=False,
            text="interval + time-out + 10 %", font={"size": 11, "color": grey.muted},
        )  # fmt: skip
        for n, peer in enumerate(rows):
            if peer.noticed_s is None:
                figure.add_annotation(
                    x=self.watched_s, y=n, text=f"not noticed in {style.number(self.watched_s)} s \u25b8",
                    showarrow=False, xanchor="right", font={"size": 12, "color": grey.ink},
                )  # fmt: skip
        ours = [p.noticed_s for p in self.of("labkit") if p.noticed_s is not None]
        last = f"is noticed after {style.seconds(max(ours))}" if ours else "is not noticed"
        layout.name_rows(figure, names, room=(0.6, 0.6))
        figure.update_xaxes(title_text="after the links went silent (s)", range=[0, self.watched_s * 1.02])
        return layout.dressed(
            figure,
            f"With a ping every {style.seconds(self.interval_s)} the last of {len(ours)} dead peers {last}",
            f"all links go silent at 0; who has not answered a ping within {style.seconds(self.timeout_s)} is dead",
            height=180 + 26 * len(rows), margin=(150, 24, 92, 96),
        )  # fmt: skip


def dead_peers(*, peers: int = 8, heartbeat_s: float = 0.5, one_way_s: float = 0.05, stock: bool = True) -> DeadPeers:
    """Open sockets one after the other, let their links go silent at one moment, and watch when the server notices.

    Beside this kit's server, with pings: the same without (a heartbeat of 10 min), and Tornado's own.

    Args:
        peers: of this kit's server.
        heartbeat_s: the ping interval; the ping's time-out is as long.
        stock: with Tornado's own server, which is watched for 5 s more.

    Raises:
        ValueError: no peer, or no time between pings.
    """
    if peers < 1 or heartbeat_s <= 0:
        raise ValueError("there must be at least one peer, and heartbeat_s above 0")
    with Lab("dead-peers", heartbeat_s=heartbeat_s) as lab, Lab("never-pings", heartbeat_s=600.0) as mute:
        spread_s = [(number + 0.5) / peers * heartbeat_s for number in range(peers)]  # every phase of the pings
        return loop.run(_dead_peers(lab, mute, spread_s, heartbeat_s, one_way_s, stock))


async def _dead_peers(
    lab: Lab, mute: Lab, spread_s: Sequence[float], heartbeat_s: float, one_way_s: float, stock: bool
) -> DeadPeers:
    started, peers, progress = started_now(), len(spread_s), Progress()
    over: list[int] = []
    async with contextlib.AsyncExitStack() as stack:
        pings = {"websocket_ping_interval": heartbeat_s, "websocket_ping_timeout": heartbeat_s}
        tornado_port = await stack.enter_async_context(stock_tornado(lambda: over.append(now_ns()), **pings))
        late = await stack.enter_async_context(lateness())
        links: list[Link] = []
        begun_ns = now_ns()

        async def open_one(target: Lab | tuple[str, int], at_s: float) -> int:
            """Be a peer of *target* from then on; when it answered, in ns."""
            await asyncio.sleep(max(0.0, at_s - (now_ns() - begun_ns) / 1e9))
            link = await stack.enter_async_context(Link(target, one_way_s=one_way_s))
            links.append(link)
            socket = await RawSocket.open(link.address[1], "/websocket")
            stack.callback(socket.connection.close)
            opened_ns = now_ns() - int(one_way_s * 1e9)
            answering = asyncio.ensure_future(_answer_pings(socket))
            stack.push_async_callback(cancelled, answering)
            return opened_ns

        others: list[Lab | tuple[str, int]] = [mute, *([("127.0.0.1", tornado_port)] if stock else [])]
        opening = [open_one(lab, at_s) for at_s in spread_s] + [open_one(other, heartbeat_s) for other in others]
        opened = await asyncio.gather(*opening)
        await asyncio.sleep(1.5 * heartbeat_s)
        # no ping of any peer may be just about to leave or to be answered: then nobody could say which it will be
        step_s = heartbeat_s / peers
        since_s = (now_ns() - opened[0]) / 1e9 - 2 * one_way_s
        await asyncio.sleep((step_s / 2 - since_s) % step_s)
        for link in links:
            link.stall()
        stalled_ns = now_ns()
        expected = [_left_s(at_ns, stalled_ns, heartbeat_s, one_way_s) for at_ns in opened]
        watched_s = 2 * heartbeat_s * 1.5 + (5.5 if stock else 0.0)
        noticed: list[float] = []
        while (watching_s := (now_ns() - stalled_ns) / 1e9) < watched_s:
            progress.show(f"watching silent links: {watching_s:.0f} of {watched_s:.0f} s")
            gone = peers - lab.stats()["subscribers"]
            noticed += [watching_s] * (gone - len(noticed))
            if len(noticed) == peers and (len(over) or not stock):
                break
            await asyncio.sleep(WATCH_S)
        still_there = mute.stats()["subscribers"] == 1
    progress.done()
    stock_name = named("tornado", "stock Tornado")
    rows = [
        DeadPeer("labkit", expected_s, noticed[n] if n < len(noticed) else None)
        for n, expected_s in enumerate(sorted(expected[:peers]))
    ]
    rows.append(DeadPeer("labkit, without pings", float("inf"), None if still_there else watched_s))
    if stock:
        took_s = (over[0] - stalled_ns) / 1e9 if over else None
        rows.append(DeadPeer(stock_name, expected[-1] + 5.0, took_s))
    late_s = quantile(late, 0.95), max(late, default=0.0)
    return DeadPeers(tuple(rows), heartbeat_s, heartbeat_s, one_way_s, watched_s, late_s, started)


def _left_s(opened_ns: int, stalled_ns: int, heartbeat_s: float, one_way_s: float) -> float:
    """How long after the stall a peer can be known to be dead: the first ping that it cannot answer, and its time-out.

    Pings leave a heartbeat apart, the first one after the handshake; one that left less than two transits before the
    stall is not answered any more.
    """
    since_s = (stalled_ns - opened_ns) / 1e9
    last = max(0, int((since_s - 2 * one_way_s) / heartbeat_s))  # the newest ping that was answered
    return (last + 2) * heartbeat_s - since_s


async def _answer_pings(socket: RawSocket) -> None:
    while (frame := await socket.frame(3600.0)) is not None:
        if frame.opcode is Opcode.PING:
            await socket.send(Frame(Opcode.PONG, frame.payload, mask=os.urandom(4)))
