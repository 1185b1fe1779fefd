"""P3: what polling clients cost a server in a process of its own, beside WebSockets that are held."""

from __future__ import annotations

import contextlib
import math
import sys
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from labkit.charts import layout, style
from labkit.claims import predicting
from labkit.course.alone import started_now
from labkit.course.held import NOT_LINUX, cpu_s, growth
from labkit.course.polling.load import Clients
from labkit.course.shown import Shown, as_table
from labkit.lab.lab import Lab
from labkit.lab.listening import available_connections
from labkit.progress import Progress
from labkit.sockets import kernel_bytes
from labkit.theory import Mark
from labkit.theory.path import HEARTBEAT_S

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

KINDS = KEPT, CLOSED, SOCKET = ("kept alive", "closed each time", "websocket")


@dataclass(frozen=True, repr=False)
class Burden(Shown):
    """What clients cost a server in a process of its own, by kind: polls on one connection kept alive, polls with a
    connection each, a WebSocket held and silent.

    ``memory_kib`` and ``descriptors`` for each client held, one value a batch; ``cpu_us`` for each poll (of the
    WebSocket: for each heartbeat), one value a round, the same rounds for all kinds. ``time_wait`` sockets were left
    by ``closed`` polls that closed. ``why`` it was not measured.
    """

    memory_kib: dict[str, tuple[float, ...]] = field(default_factory=dict)
    descriptors: dict[str, tuple[float, ...]] = field(default_factory=dict)
    cpu_us: dict[str, tuple[float, ...]] = field(default_factory=dict)
    heartbeat_s: float = HEARTBEAT_S
    time_wait: int = 0
    closed: int = 0
    kernel_bytes: int | None = None
    why: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def balance_s(self, kind: str) -> list[float]:
        """For each round, the interval at which polling costs as much CPU as the heartbeats of a WebSocket."""
        pairs = zip(self.cpu_us[kind], self.cpu_us[SOCKET], strict=True)
        return [self.heartbeat_s * poll / beat for poll, beat in pairs]

    def table(self) -> pd.DataFrame:
        """One row for each kind, means."""
        if self.why:
            return as_table({"not run": [self.why]})
        rows = []
        for kind, values in self.memory_kib.items():
            rows.append(
                {
                    "kind": kind,
                    "memory (KiB/client)": fmean(values),
                    "descriptors/client": fmean(self.descriptors[kind]),
                    "CPU (µs/poll or heartbeat)": fmean(self.cpu_us[kind]),
                }
            )
        return as_table(rows).set_index("kind")

    def chart(self) -> go.Figure:
        """Server CPU for each client over the poll interval, and the memory of a held client, by kind of client."""
        if self.why:
            return layout.dressed(layout.blank(), f"Not run: {self.why}", height=410, margin=(74, 60, 106, 98))
        kinds = {
            CLOSED: (Mark("#B84300", "circle", "solid"), "polls, closed each time"),
            KEPT: (Mark("#B58A00", "square", "dash"), "polls, kept alive"),
            SOCKET: (Mark("#00487F", "cross", "longdash"), "WebSocket, held"),
        }
        figure = layout.panels("CPU of the server", "memory of the server", column_widths=[0.6, 0.4],
                               horizontal_spacing=0.19)  # fmt: skip
        steps = [0.2, 300.0]
        for kind, (mark, name) in kinds.items():
            cost, held = fmean(self.cpu_us[kind]), kind == SOCKET
            figure.add_scatter(
                x=steps, y=[cost / (self.heartbeat_s if held else t) for t in steps], mode="lines", name=name,
                line={"color": mark.color, "width": 2, "dash": mark.dash}, row=1, col=1, hoverinfo="skip",
            )  # fmt: skip
            if not held:
                figure.add_scatter(
                    x=[fmean(self.balance_s(kind))], y=[fmean(self.cpu_us[SOCKET]) / self.heartbeat_s], mode="markers",
                    marker={"symbol": mark.symbol, "size": 11, "color": mark.color}, showlegend=False, row=1, col=1,
                    hovertemplate="equal at T = %{x:.0f} s<extra></extra>",
                )  # fmt: skip
            memory = fmean(self.memory_kib[kind])
            figure.add_bar(
                x=[memory], y=[name.replace(", ", ",<br>")], orientation="h", showlegend=False, row=1, col=2,
                marker={"color": mark.color}, text=[f"{style.number(memory)} KiB"], textposition="outside",
                cliponaxis=False,
            )  # fmt: skip
        guess = predicting.asked_here("P3", {})
        if guess is not None and guess.value > 0:
            figure.add_scatter(
                x=[min(300.0, max(0.2, guess.value))] * 2, y=[fmean(self.cpu_us[KEPT]) / t for t in steps],
                mode="lines", name="your prediction", row=1, col=1, hoverinfo="skip",
                line={"color": style.GREY.muted, "width": 1.5, "dash": "dot"},
            )  # fmt: skip
        figure.update_xaxes(type="log", title_text="poll interval T (s)", tickvals=[0.2, 1, 5, 20, 60, 300],
                            ticks="outside", range=[math.log10(0.2), math.log10(300)], col=1)  # fmt: skip
        figure.update_yaxes(type="log", title_text="µs of CPU in a second", tickvals=[0.1, 1, 10, 100, 1000], col=1)
        figure.update_xaxes(
            title_text="KiB for each client held", range=[0, 1.3 * fmean(self.memory_kib[SOCKET])], col=2
        )
        figure.update_yaxes(showgrid=False, col=2)
        at_s = fmean(self.balance_s(CLOSED))
        return layout.dressed(
            figure,
            f"A poller that closes each time holds no memory; below T = {style.seconds(at_s)} it costs more CPU",
            f"than a held WebSocket, silent but for a heartbeat every {self.heartbeat_s:g} s; "
            "CPU for one poll is measured, the lines divide it by T",
            height=410, margin=(74, 60, 106, 98), bargap=0.5,
        )  # fmt: skip


def weigh(*, batch: int = 50, batches: int = 11, rounds: int = 6, heartbeat_s: float = 1.0) -> Burden:
    """Memory, descriptors and CPU of a server in a process of its own, for each kind of client.

    Args:
        batch, batches: clients are added so many at a time, and what each batch adds is read.
        rounds: of polls by *batch* clients, and of waiting through a second of heartbeats.
        heartbeat_s: of the held WebSockets; short, so that a second holds some. Their cost is then reckoned for the
            kit's own 15 s.
    """
    settings = started_now(batch=batch, batches=batches, rounds=rounds, heartbeat_s=heartbeat_s)
    if sys.platform != "linux":
        return Burden(why=NOT_LINUX, settings=settings)
    available_connections()
    progress, subjects = Progress(), dict[str, Clients]()
    memory, descriptors, cpu = (dict[str, tuple[float, ...]]() for _ in range(3))
    with contextlib.ExitStack() as stack:
        for kind in KINDS:
            progress.show(f"a server for clients of the kind: {kind}")
            beat_s = heartbeat_s if kind == SOCKET else 600.0
            lab = stack.enter_context(Lab(f"weighed-{kind}", process=True, heartbeat_s=beat_s))
            subjects[kind] = clients = stack.enter_context(Clients(lab, kind))
            memory[kind], descriptors[kind] = growth(lab, clients.add, batch, batches)
        for number in range(rounds):
            progress.show(f"round {number + 1} of {rounds}")
            for kind, clients in subjects.items():
                cpu[kind] = (*cpu.get(kind, ()), _round(clients, batch, heartbeat_s))
        time_wait = subjects[CLOSED].time_wait()
        closed = subjects[CLOSED].polls
    progress.done()
    return Burden(memory, descriptors, cpu, HEARTBEAT_S, time_wait, closed, kernel_bytes(), settings=settings)


def _round(clients: Clients, polls: int, heartbeat_s: float) -> float:
    """The server's CPU, in µs, for each poll of a round; of WebSockets for each heartbeat in a second."""
    before_s = cpu_s(clients.lab)
    if clients.kind == SOCKET:
        beats = clients.beats
        clients.stopped.wait(heartbeat_s)
        return (cpu_s(clients.lab) - before_s) / max(1, clients.beats - beats) * 1e6
    clients.poll(polls)
    return (cpu_s(clients.lab) - before_s) / polls * 1e6
